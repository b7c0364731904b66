"""The gateway: MQTT in and out, fire panels over TCP, relay, timers, chainer, and the only signer."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry, start_http_server

from devices.protocols import speaker_link, topics

from ..adapters.celery_app import make_celery
from ..adapters.gb26875_metrics import PanelMetrics
from ..adapters.gb26875_server import PanelServer
from ..adapters.intake import TOPICS, SpeakerIntake
from ..adapters.intake_journal import IntakeJournal
from ..adapters.keystore import KeyFolder, KeySigner
from ..adapters.manifests import SpeakerSide, Spreads
from ..adapters.metrics import GatewayMetrics, shadow_counter
from ..adapters.mqtt import Delivery, MqttLink
from ..adapters.mqtt_inlet import MqttInlet
from ..adapters.offices import OfficeTasks
from ..adapters.playbooks import read_playbooks
from ..adapters.store import SqlStore
from ..adapters.tasks import WorkerTasks
from ..domain.effects import Carry, WakeAt
from ..domain.refusals import NotFound
from ..domain.signals import Panel, Signal, Unread
from ..engine.chain import chain_pass
from ..engine.engine import EVENTS_MAX
from ..engine.events import Event, SignalArrived, UnreadArrived
from ..engine.leases import hold
from ..engine.ports import EffectRow, Page, StoreUnavailable
from ..engine.relay import Carrier, CarryFailed, NotYet, Relay
from ..engine.staging import stage
from ..engine.timers import TimerPass
from ..feeds import gb26875
from .enrolment import intake_account
from .settings import Settings
from .wiring import Loop, SystemClock, make_engine, make_store, start_logging

log = structlog.get_logger(__name__)

LEASE_US = 3_000_000
SETTLE_S = 0.3
RECONCILE_EVERY_S = 60.0
PANELS_EVERY_S = 1.0
PANELS_MAX = 50_000

app = typer.Typer(
    help="The gateway: MQTT, fire panels, relay, timers, signer. 网关：MQTT、消防主机、执行、定时、签名。"
)


class Panels:
    """Enrolled panels by address, in memory, because every frame asks."""

    def __init__(self, store: SqlStore) -> None:
        self._store = store
        self._by_address: dict[str, Panel] = {}

    def load(self) -> None:
        with self._store.read() as read:
            rows = read.find(Panel, Page(limit=PANELS_MAX))
        self._by_address = {p.address: p for p in rows if p.enabled}

    def of(self, address: str) -> Panel | None:
        return self._by_address.get(address)


class Gateway:
    """All parts of one gateway process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry)
        self.store = make_store(settings)
        self.loops: list[Loop] = []
        self.changes = self.store.changes()
        self.owner = f"{socket.gethostname()}/{os.getpid()}"
        self.engine = make_engine(settings, self.store, self._wake, shadow_counter(self.registry))
        self.signer = KeySigner(KeyFolder(settings.keys))
        self.panels = Panels(self.store)
        self.journal = IntakeJournal(settings.var / "intake.journal")
        self.client_id = self._lease_client()
        self.inlet = self._make_inlet()
        self.intake = SpeakerIntake(self.store, self.inlet, self.engine.read_city, self._hello, self.metrics.counted)
        self.link = self._make_link()
        self.side = SpeakerSide(self.store, self.signer, self.link, self.engine.read_city, Spreads())
        carriers = self._carriers()
        # Manifests have a relay of their own: an alarm never waits behind three hundred configs.
        on_air: dict[str, Carrier] = {Carry.PUBLISH_STREAM: carriers.pop(Carry.PUBLISH_STREAM)}
        self.air_relay = Relay(self.store, self.engine, on_air, self.owner)
        self.relay = Relay(self.store, self.engine, carriers, self.owner)
        self.timers = TimerPass(self.engine, self.store, SystemClock())
        self._staged = -1
        self._compare_at = float("inf")
        self.loops += [
            Loop("air", partial(_pass, self.air_relay), 0.5),
            Loop("relay", partial(_pass, self.relay), 0.5),
            Loop("receipts", self.intake.run, 0.0),
            Loop("timers", self._timers, 0.2),
            Loop("chainer", self._chain, 1.0),
            Loop("panels", self._housekeeping, PANELS_EVERY_S),
            Loop("reconcile", self._reconcile, 0.05),
            Loop("changes", self._watch, 0.0),
        ]

    def run(self) -> None:
        """Run until the process is told to stop."""
        self.panels.load()
        with self.store.write() as tx:
            now_us = tx.now_us()
            tx.wake_at(WakeAt("worker", "worker", "canary", now_us, now_us + 10 * 365 * 86_400_000_000))
        start_http_server(self.settings.gateway_metrics_port, self.settings.panel_host, self.registry)
        for loop in self.loops:
            loop.start()
        self.link.start(self.settings.mqtt_host, self.settings.mqtt_port)
        log.info("gateway started", client=self.client_id, keys=",".join(self.signer.uses()))
        asyncio.run(self._serve_panels())
        self.link.stop()
        for loop in self.loops:
            loop.stop()
        self.inlet.close()
        # What was written last must not stay outside the chain while the system is down.
        chain_pass(self.store)

    async def _serve_panels(self) -> None:
        server = PanelServer(
            panel_of=self.panels.of,
            read=gb26875.signals,
            commit=self._commit,
            now_us=SystemClock().now_us,
            metrics=PanelMetrics(self.registry),
        )
        await server.start(self.settings.panel_host, self.settings.panel_port)
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
        await server.stop()

    def _commit(self, signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        """Commit what panels said; while the database is away the synced journal counts as commit."""
        try:
            if self.journal.waiting():
                raise StoreUnavailable("earlier signals wait in the journal")
            self._handle(signals, unread)
        except StoreUnavailable:
            self.journal.keep(signals, unread)
            self.metrics.journal.inc(len(signals))

    def _handle(self, signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        events: list[Event] = [*map(SignalArrived, signals), *map(UnreadArrived, unread)]
        for start in range(0, len(events), EVENTS_MAX):
            self.engine.handle(events[start : start + EVENTS_MAX])

    def _make_inlet(self) -> MqttInlet:
        """What speakers say comes by a connection of its own, so that no herd of receipts holds a manifest up."""
        client_id = intake_account(self.client_id)
        host, port = self.settings.mqtt_host, self.settings.mqtt_port
        return MqttInlet(client_id, self.settings.secret(client_id), TOPICS, host, port)

    def _make_link(self) -> MqttLink:
        subscriptions = [
            (speaker_link.ALL_AREA_MANIFESTS, 1),
            (speaker_link.ALL_SPEAKER_MANIFESTS, 1),
            (speaker_link.KEYS_TOPIC, 1),
            (f"{topics.ROOT}/speaker/+/config", 0),
        ]
        password = self.settings.secret(self.client_id)
        return MqttLink(self.client_id, password, subscriptions, self._deliver, self._connected)

    def _deliver(self, delivery: Delivery) -> None:
        """In the network thread: what the broker holds, to be compared."""
        self.side.seen(delivery.topic, delivery.payload)
        delivery.ack()

    def _connected(self) -> None:
        self.side.forget_seen()
        self._compare_at = time.monotonic() + SETTLE_S

    def _carriers(self) -> dict[str, Carrier]:
        tasks = WorkerTasks(self.store, make_celery(self.settings.secret("redis_url")))
        offices = OfficeTasks(self.store, lambda topic, payload: self.link.publish(topic, payload))
        carriers: dict[str, Carrier] = {
            Carry.PUBLISH_STREAM: self.side.publish_stream,
            Carry.PUBLISH_CONFIG: self.side.publish_config,
            Carry.ASK_MISSING: self.side.ask_missing,
            Carry.OFFICE_TASK: offices.carry,
            Carry.RENDER_AUDIO: tasks.render,
            Carry.CANARY: tasks.canary,
        }
        return {carry: partial(self._timed, carrier) for carry, carrier in carriers.items()}

    def _timed(self, carrier: Carrier, effect: EffectRow) -> None:
        started, result = time.perf_counter(), "done"
        try:
            carrier(effect)
        except CarryFailed:
            result = "failed"
            raise
        except NotYet:
            result = "handed_on"
            raise
        finally:
            self.metrics.effects.labels(effect.carry, result).inc()
            self.metrics.carry_s.labels(effect.carry).observe(time.perf_counter() - started)

    def _wake(self) -> None:
        """Called after every commit of this process's engine."""
        for loop in self.loops[:2]:
            loop.wake()

    def _watch(self) -> bool:
        """Other processes' commits wake the relay too."""
        if self.changes.wait(1.0):
            self._wake()
        return True

    def _timers(self) -> bool:
        due = self.timers.run()
        self.metrics.timers.inc(due)
        return due > 0

    def _chain(self) -> bool:
        linked = chain_pass(self.store)
        self.metrics.chained.inc(linked)
        return False

    def _housekeeping(self) -> bool:
        """Renew the lease, take up new panels, replay the journal, and stage plans when the city has changed."""
        if not hold(self.store, self.client_id, self.owner, LEASE_US):
            log.critical("another gateway holds this client id", client=self.client_id)
            os._exit(71)
        self.panels.load()
        self.metrics.broker.set(1 if self.link.connected and self.inlet.connected else 0)
        if self.journal.waiting():
            replayed = self.journal.replay(self._handle, SystemClock().now_us())
            log.info("the intake journal was replayed", signals=replayed)
        try:
            city = self.engine.read_city()
        except NotFound:
            return False
        if city.version != self._staged:
            self._staged = city.version
            made = stage(self.store, city, read_playbooks(self.settings.playbooks))
            log.info("plans staged", city=city.code, plans=made)
            self._wake()
        return False

    def _reconcile(self) -> bool:
        if time.monotonic() < self._compare_at or not self.link.connected:
            return False
        self._compare_at = time.monotonic() + RECONCILE_EVERY_S
        try:
            self.side.reconcile()
        except (CarryFailed, NotFound) as failed:
            log.warning("the broker's copies could not be compared", reason=str(failed))
            self._compare_at = time.monotonic() + 1.0
        self._wake()
        return False

    def _hello(self, speaker_id: str, nonce: str) -> None:
        self.side.answer_hello(speaker_id, nonce)

    def _lease_client(self) -> str:
        """The first client id nobody holds; a gateway that died frees its id when its lease runs out."""
        while True:
            for number in range(self.settings.gateway_clients):
                client_id = f"gw-{number}"
                try:
                    if hold(self.store, client_id, self.owner, LEASE_US):
                        return client_id
                except StoreUnavailable as away:
                    log.warning("the database is away", reason=str(away))
            threading.Event().wait(0.2)


def _pass(relay: Relay) -> bool:
    return relay.waiting() and relay.run() > 0


@app.callback(invoke_without_command=True)
def main(check: Annotated[bool, typer.Option(help="Only read settings and keys, then end.")] = False) -> None:
    """Run the gateway until it is told to stop."""
    start_logging("gateway")
    settings = Settings()
    if check:
        typer.echo(",".join(KeySigner(KeyFolder(settings.keys)).uses()))
        return
    Gateway(settings).run()
