"""The gateway: MQTT in and out, fire panels over TCP, relay, timers, chainer, and the only signer."""

from __future__ import annotations

import asyncio
import os
import resource
import secrets
import signal
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated

import structlog
import typer
from prometheus_client import CollectorRegistry, start_http_server

from devices.protocols import speaker_link, topics
from devices.protocols.canary import ALL_CANARIES

from ..adapters.broker_copies import BrokerCopies
from ..adapters.canaries import Canaries
from ..adapters.celery_app import make_celery
from ..adapters.gb26875_metrics import PanelMetrics
from ..adapters.gb26875_server import PanelServer
from ..adapters.intake import SpeakerIntake
from ..adapters.intake_journal import IntakeJournal, commit_or_keep
from ..adapters.keystore import KeyFolder, KeySigner, KeysMissing
from ..adapters.manifests import SpeakerSide, Spreads
from ..adapters.metrics import GatewayMetrics, KeyMetrics, jump_gauge, shadow_counter
from ..adapters.mqtt import Delivery, MqttLink
from ..adapters.mqtt_inlet import MqttInlet
from ..adapters.offices import OfficeTasks
from ..adapters.sensor_intake import SensorIntake, Sensors
from ..adapters.tasks import WorkerTasks
from ..domain.effects import Carry
from ..domain.refusals import NotFound, Refused
from ..domain.signals import Panel, Signal, Unread
from ..engine import clock
from ..engine.air import refused_documents
from ..engine.air.signing_keys import nothing_signs
from ..engine.air.staging import Staging
from ..engine.chain import chain_pass
from ..engine.due import start_canary
from ..engine.events import Event, Outcome, SignalArrived, UnreadArrived
from ..engine.leases import GATEWAY_LEASE_US, Duty, gateway_client, hold
from ..engine.ports import Page, Store, StoreUnavailable
from ..engine.relay import Carrier, CarryFailed, Finish, NotYet, Relay
from ..engine.rows import EffectRow
from ..engine.timers import TimerPass
from ..feeds import gb26875, mqtt_sensor
from .duties import Duties
from .enrolment import INTAKE_TOPICS, RECEIPTS_ACCOUNT, SENSORS_ACCOUNT
from .panel_desk import PanelDesk
from .settings import Settings
from .taken_accounts import TakenAccounts
from .watch import WATCH_EVERY_S, Watch
from .wiring import HostClock, LoopThread, make_engine, make_store, start_logging

log = structlog.get_logger(__name__)

SETTLE_S = 0.3
RECONCILE_EVERY_S = 60.0
LEASE_EVERY_S = 0.5
PANELS_EVERY_S = 1.0
CLOCK_EVERY_S = 0.5
KEYS_EVERY_S = 2.0
HEAD_START_S = 0.5
STAGE_EVERY_S = 1.0
STAGE_AUDIO_EVERY_S = 10.0
COMPARE_AUDIO_EVERY_S = 600.0
CANARY_LOOK_S = 0.5
COUNT_REFUSING_EVERY_S = 10.0
PANELS_MAX = 50_000
CANARIES = ALL_CANARIES.removesuffix("+")

app = typer.Typer(
    add_completion=False,
    help="The gateway: MQTT, fire panels, relay, timers, signer. 网关：MQTT、消防主机、执行、定时、签名。",
)


class Panels:
    """Enrolled panels by address, in memory, because every frame asks."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_address: dict[str, Panel] = {}

    def load(self) -> None:
        with self._store.read() as read:
            rows = read.find(Panel, Page(limit=PANELS_MAX))
        self._by_address = {p.address: p for p in rows if p.enabled}

    def of(self, address: str) -> Panel | None:
        return self._by_address.get(address)

    def all(self) -> list[Panel]:
        return list(self._by_address.values())


class Gateway:
    """All parts of one gateway process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registry = CollectorRegistry()
        self.metrics = GatewayMetrics(self.registry)
        self.store = make_store(settings)
        jump_gauge(self.registry, self.store.clock)
        self.loops: list[LoopThread] = []
        self.changes = self.store.changes()
        # Two machines may have one name, and a process may be given the number of one that has died.
        self.owner = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self.duties = Duties(self.store, self.owner, self.store.clock, self.metrics.duty_held)
        self.engine = make_engine(settings, self.store, self._wake, shadow_counter(self.registry))
        clock.begin(self.store)
        now_us = self.store.clock.now_us
        self.signer = self._make_signer()
        self.panels = Panels(self.store)
        self.journal = IntakeJournal(settings.var / "intake.journal")
        self.sensors = Sensors(self.store)
        self.client_id = self._lease_client()
        self.desk = PanelDesk(self.store, self.engine, self.client_id, self._wake_desk)
        self.taken = TakenAccounts(
            self.store, self.engine, self._lease_of, self.owner,
            lambda account: self.metrics.taken.labels(account).inc(), lambda: self.taken_loop.wake(),
            (self.client_id, *INTAKE_TOPICS),
        )  # fmt: skip
        self.taken_loop = LoopThread("accounts", self.taken.step, 0.5)
        # What speakers and sensors say comes by connections of their own, so that no herd of receipts holds a manifest
        # or an alarm up. A sensor's retained message is no news.
        self.inlet = self._make_inlet(RECEIPTS_ACCOUNT)
        self.sensor_inlet = self._make_inlet(SENSORS_ACCOUNT, retained=False)
        self.sensor_intake = SensorIntake(
            self.store, self.engine, self.sensor_inlet, self.sensors, mqtt_sensor.signals_of, now_us,
            lambda result: self.metrics.sensors.labels(result).inc(),
        )  # fmt: skip
        self.watch = Watch(
            self.store, self.engine, self.panels.all, self.sensors.all, lambda: self.sensor_inlet.connected, now_us
        )
        self.intake = SpeakerIntake(
            self.store, self.inlet, self.engine.read_city, self._hello, now_us, self.metrics.counted,
            self.metrics.connections_odd, lambda: self.side.reconciled,
        )  # fmt: skip
        self.link = self._make_link()
        self.side = SpeakerSide(
            self.store, self.signer, self.link, self.engine.read_city, self.store.clock, Spreads(), settings.audio_base,
            unknown=self.metrics.unknown_streams.set,
        )  # fmt: skip
        key_metrics = KeyMetrics(self.registry)
        self.canaries = Canaries(
            self.store, self.signer, self.side, self.link, self.client_id, self.store.clock, key_metrics,
            settings.canary_every_s,
        )  # fmt: skip
        self.copies = BrokerCopies(
            self.store, self.side, self.signer, self.link, self.client_id, self.store.clock, key_metrics.copies,
            settings.compare_every_s,
        )  # fmt: skip
        # Manifests have a relay of their own, so that an alarm never waits behind ten thousand configs; and so has what
        # goes to the workers, because a queue that is away takes its time to say so.
        self.relays = tuple(
            Relay(self.store, self.engine, carriers, self.owner, self.store.clock) for carriers in self._carriers()
        )
        self.timers = TimerPass(self.engine, self.store, self.store.clock)
        self._clock_jumped = False
        self.staging = Staging(self.store)
        self._stage_audio_at = self._compare_audio_at = 0.0
        self._compare_at = float("inf")
        self.desk_loop = LoopThread("desk", self.desk.run, 0.5)
        self.loops += [
            *(
                LoopThread(name, partial(self._carry, relay), 0.5)
                for name, relay in zip(("air", "relay", "work"), self.relays, strict=True)
            ),
            LoopThread("receipts", self._take_receipts, 0.0),
            LoopThread("sensors", self._take_sensors, 0.0),
            LoopThread("rhythm", self._watch_sources, WATCH_EVERY_S),
            LoopThread("timers", partial(self.duties.step, Duty.TIMERS, self._timers), 0.2),
            LoopThread("clock", self._look_at_clocks, CLOCK_EVERY_S),
            LoopThread("keys", self._look_at_keys, KEYS_EVERY_S),
            LoopThread("chainer", partial(self.duties.step, Duty.CHAINING, self._chain), 1.0),
            LoopThread("lease", self._renew, LEASE_EVERY_S),
            LoopThread("panels", self.panels.load, PANELS_EVERY_S),
            LoopThread("journal", self._replay_journal, PANELS_EVERY_S),
            LoopThread("staging", partial(self.duties.step, Duty.STAGING, self._stage), STAGE_EVERY_S),
            LoopThread("reconcile", self._look_at_copies, 0.05),
            LoopThread("canaries", self.canaries.step, CANARY_LOOK_S),
            LoopThread("copies", partial(self.duties.step, Duty.COMPARING, self.copies.step, self._may_speak), 0.2),
            LoopThread("changes", self._watch, 0.0),
            self.taken_loop,
            LoopThread("refusing", self._count_refusing, COUNT_REFUSING_EVERY_S),
            self.desk_loop,
        ]

    def run(self) -> None:
        """Run until the process is told to stop."""
        self.panels.load()
        self.sensors.load()
        start_canary(self.store)
        start_http_server(self.settings.gateway_metrics_port, self.settings.panel_host, self.registry)
        self.link.start(self.settings.mqtt_host, self.settings.mqtt_port)
        for loop in self.loops:
            loop.start()
        log.info("gateway started", client=self.client_id, keys=",".join(self.signer.uses()))
        asyncio.run(self._serve_panels())
        for loop in self.loops:
            loop.stop()
        self.link.stop()
        self.inlet.close()
        self.sensor_inlet.close()
        # What was written last must not stay outside the chain while the system is down.
        self.duties.finish(Duty.CHAINING, partial(chain_pass, self.store))
        self.duties.let_go()

    async def _serve_panels(self) -> None:
        server = PanelServer(
            panel_of=self.panels.of,
            read=gb26875.signals,
            commit=self._commit,
            now_us=self.store.clock.now_us,
            metrics=PanelMetrics(self.registry),
        )
        await server.start(self.settings.panel_host, self.settings.panel_port)
        self.desk.open(server, asyncio.get_running_loop())
        ended = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, ended.set)
        await ended.wait()
        await server.stop()

    def _commit(self, events: Sequence[Event]) -> Outcome:
        return commit_or_keep(events, self.engine.handle, self.journal, self.metrics.journal.inc)

    def _handle(self, signals: Sequence[Signal], unread: Sequence[Unread]) -> None:
        self.engine.handle([*map(SignalArrived, signals), *map(UnreadArrived, unread)])

    def _make_signer(self) -> KeySigner:
        """The signer. Raises KeysMissing, which is written down first: health must not show what was known before."""
        try:
            return KeySigner(KeyFolder(self.settings.keys), self.store.clock.now_us)
        except KeysMissing:
            try:
                nothing_signs(self.store)
            except Exception as unnoted:  # noqa: BLE001 - that the keys are missing is what has to be said
                log.debug("it could not be written down", reason=str(unnoted))
            raise

    def _make_inlet(self, client_id: str, *, retained: bool = True) -> MqttInlet:
        host, port = self.settings.mqtt_host, self.settings.mqtt_port
        return MqttInlet(
            client_id, self.settings.secret(client_id), INTAKE_TOPICS[client_id], host, port, retained=retained,
            on_taken=partial(self.taken.lost, client_id), on_cut=partial(self.taken.cut, client_id),
        )  # fmt: skip

    def _take_receipts(self) -> bool:
        inlet = self.inlet
        return self.duties.step(
            Duty.RECEIPTS, self.intake.run, self._may_speak, lost=inlet.close, away=partial(inlet.rest, 0.0)
        )

    def _take_sensors(self) -> bool:
        inlet = self.sensor_inlet
        return self.duties.step(
            Duty.SENSORS, self.sensor_intake.run, self._reaches_broker,
            taken=self.sensor_intake.begin, lost=inlet.close, away=partial(inlet.rest, 0.0),
        )  # fmt: skip

    def _reaches_broker(self) -> bool:
        """Another gateway may, where this one does not."""
        return self.link.connected

    def _may_speak(self) -> bool:
        """Whether what this gateway signs, answers to hellos too, is by the newest key document that a gateway has."""
        return self.link.connected and not self.side.behind()

    def _look_at_keys(self) -> bool:
        self.side.looks_behind()
        return False

    def _lease_of(self, account: str) -> str:
        """The lease under which this gateway connects with an account; empty while it has none, and does not."""
        duty = {RECEIPTS_ACCOUNT: Duty.RECEIPTS, SENSORS_ACCOUNT: Duty.SENSORS}.get(account)
        if duty is None:
            return self.client_id
        return duty if self.duties.holds(duty) else ""

    def _make_link(self) -> MqttLink:
        subscriptions = [
            (speaker_link.ALL_AREA_MANIFESTS, 1),
            (speaker_link.ALL_SPEAKER_MANIFESTS, 1),
            (speaker_link.KEYS_TOPIC, 1),
            (f"{topics.ROOT}/speaker/+/config", 0),
            # Nothing is kept of these for a gateway that is away.
            (ALL_CANARIES, 0),
        ]
        password = self.settings.secret(self.client_id)
        lost = partial(self.taken.lost, self.client_id)
        cut = partial(self.taken.cut, self.client_id)
        return MqttLink(self.client_id, password, subscriptions, self._deliver, self._connected, lost, cut)

    def _deliver(self, delivery: Delivery) -> None:
        """In the network thread: canaries that come home, and what the broker holds, to be compared."""
        if delivery.topic.startswith(CANARIES):
            self.canaries.heard(delivery.topic, delivery.payload)
        else:
            self.side.seen(delivery.topic, delivery.payload)
        delivery.ack()

    def _connected(self) -> None:
        self.side.forget_seen()
        self._compare_at = time.monotonic() + SETTLE_S

    def _carriers(self) -> tuple[dict[str, Carrier], ...]:
        """What each relay carries out."""
        tasks = WorkerTasks(self.store, make_celery(self.settings.secret("redis_url")))
        offices = OfficeTasks(self.store, self.link.publish_soon)
        on_air: dict[str, Carrier] = {Carry.PUBLISH_STREAM: self.side.publish_stream}
        rest: dict[str, Carrier] = {
            Carry.PUBLISH_CONFIG: self.side.publish_config,
            Carry.ASK_MISSING: self.side.ask_missing,
            Carry.OFFICE_TASK: offices.carry,
        }
        work: dict[str, Carrier] = {
            Carry.RENDER_AUDIO: tasks.render,
            Carry.RENDER_AHEAD: tasks.render_ahead,
            Carry.CANARY: tasks.canary,
            Carry.POLL_FEED: tasks.poll,
        }
        return tuple(
            {carry: partial(self._timed, carrier) for carry, carrier in carriers.items()}
            for carriers in (on_air, rest, work)
        )

    def _carry(self, relay: Relay) -> bool:
        """One pass of a relay. A gateway with a newer key document goes first: this one takes what that one leaves."""
        if self.side.behind():
            time.sleep(HEAD_START_S)
        return relay.waiting() and relay.run() > 0

    def _timed(self, carrier: Carrier, effect: EffectRow) -> Finish | None:
        started = time.perf_counter()
        with self._counted(effect, started):
            finish = carrier(effect)
        if finish is not None:
            return partial(self._finish, effect, started, finish)
        self._count(effect, started, "done")
        return None

    def _finish(self, effect: EffectRow, started: float, finish: Finish) -> None:
        with self._counted(effect, started):
            finish()
        self._count(effect, started, "done")

    @contextmanager
    def _counted(self, effect: EffectRow, started: float) -> Iterator[None]:
        """Count an effect that is not carried out."""
        try:
            yield
        except CarryFailed:
            self._count(effect, started, "failed")
            raise
        except NotYet:
            self._count(effect, started, "handed_on")
            raise

    def _count(self, effect: EffectRow, started: float, result: str) -> None:
        self.metrics.effects.labels(effect.carry, result).inc()
        self.metrics.carry_s.labels(effect.carry).observe(time.perf_counter() - started)

    def _wake(self) -> None:
        """Called after every commit of this process's engine."""
        for loop in self.loops[: len(self.relays)]:
            loop.wake()

    def _wake_desk(self) -> None:
        self.desk_loop.wake()

    def _watch(self) -> bool:
        """Other processes' commits wake the relay too."""
        if self.changes.wait(1.0):
            self._wake()
        return True

    def _timers(self) -> bool:
        due = self.timers.run()
        self.metrics.timers.inc(due)
        return due > 0

    def _look_at_clocks(self) -> bool:
        moment = clock.clock_pass(self.store)
        jumped = bool(moment.state.since_us)
        if jumped and not self._clock_jumped:
            log.critical("a clock has jumped: the last trusted time goes on", why=clock.in_words(moment.state))
        elif self._clock_jumped and not jumped:
            log.info("the clock is in order again")
        self._clock_jumped = jumped
        return False

    def _watch_sources(self) -> bool:
        """Take up new sensors, and watch over the rhythm of every source."""
        self.sensors.load()
        self.metrics.watched.set(self.watch.step())
        return False

    def _chain(self) -> bool:
        linked = chain_pass(self.store)
        self.metrics.chained.inc(linked)
        return False

    def _renew(self) -> bool:
        """Renew the lease of the client id. Nothing slow is done in this loop."""
        lease = hold(self.store, self.client_id, self.owner, GATEWAY_LEASE_US)
        if lease.holder != self.owner:
            log.critical("another gateway holds this client id", client=self.client_id, held_by=lease.holder)
            os._exit(71)
        if not self.link.alive:
            log.critical("nothing reaches the broker any more: the process ends so that it starts whole")
            os._exit(70)
        inlets = ((Duty.RECEIPTS, self.inlet), (Duty.SENSORS, self.sensor_inlet))
        connected = [inlet.connected for duty, inlet in inlets if self.duties.holds(duty)]
        self.metrics.broker.set(1 if self.link.connected and all(connected) else 0)
        return False

    def _replay_journal(self) -> bool:
        if self.journal.waiting():
            replayed = self.journal.replay(self._handle, self.store.clock.now_us())
            log.info("the intake journal was replayed", signals=replayed)
        return False

    def _stage(self) -> bool:
        """One bite of what is to be ready before an alarm."""
        try:
            city = self.engine.read_city()
        except NotFound:
            return False
        now_s = time.monotonic()
        if now_s >= self._stage_audio_at:
            everywhere = now_s >= self._compare_audio_at
            self.staging.look_again(everywhere=everywhere)
            self._stage_audio_at = now_s + STAGE_AUDIO_EVERY_S
            self._compare_audio_at = now_s + COMPARE_AUDIO_EVERY_S if everywhere else self._compare_audio_at
        done = self.staging.step(city, self.engine.playbooks)
        if done.plans or done.venues:
            log.debug("staged", city=city.code, plans=done.plans, venues=done.venues)
            self._wake()
        return done.more

    def _count_refusing(self) -> bool:
        with self.store.read() as read:
            self.metrics.refusing(refused_documents.refused_now(read, self.engine.city_of(read)))
        return False

    def _look_at_copies(self) -> bool:
        """Every gateway compares the broker's copies once before it publishes; from then on one does for all."""
        if not self.side.reconciled:
            return self._reconcile()
        return self.duties.step(Duty.RECONCILING, self._reconcile, self._may_speak)

    def _reconcile(self) -> bool:
        if time.monotonic() < self._compare_at or not self.link.connected:
            self._compare_arrived()
            return False
        self._compare_at = planned = time.monotonic() + RECONCILE_EVERY_S
        try:
            self.side.reconcile()
        except (CarryFailed, NotFound) as failed:
            log.warning("the broker's copies could not be compared", reason=str(failed))
            self._compare_at = time.monotonic() + 1.0
        except StoreUnavailable:
            # A connection made meanwhile has set a time of its own, when it has been told everything.
            if self._compare_at == planned:
                self._compare_at = time.monotonic()
            raise
        self._wake()
        return False

    def _compare_arrived(self) -> None:
        if not self.side.reconciled or not self.link.connected:
            return
        try:
            self.side.compare_arrived()
        except CarryFailed as failed:
            log.warning("a manifest of somebody else could not be replaced", reason=str(failed))
            self._compare_at = time.monotonic() + 1.0

    def _hello(self, speaker_id: str, nonce: str) -> None:
        self.side.answer_hello(speaker_id, nonce)

    def _lease_client(self) -> str:
        """The first client id nobody holds; a gateway that died frees its id when its lease runs out."""
        names = [gateway_client(number) for number in range(self.settings.gateway_clients)]
        held_by: dict[str, str] = {}
        while True:
            try:
                for name in names:
                    lease = hold(self.store, name, self.owner, GATEWAY_LEASE_US)
                    if lease.holder == self.owner:
                        return name
                    if held_by.get(name) != lease.holder:
                        log.info("this gateway waits for a client id", client=name, held_by=lease.holder)
                    held_by[name] = lease.holder
            except StoreUnavailable as away:
                log.warning("the database is away", reason=str(away))
            threading.Event().wait(0.2)


@app.callback(invoke_without_command=True)
def main(
    check: Annotated[bool, typer.Option(help="Only read settings and keys, then end. 仅检查设置与密钥。")] = False,
) -> None:
    """Run the gateway until it is told to stop."""
    start_logging("gateway")
    settings = Settings()
    if check:
        try:
            typer.echo(",".join(KeySigner(KeyFolder(settings.keys), HostClock().now_us).uses()))
        except Refused as refused:
            raise _ended(refused.code, refused.sentence) from refused
        return
    # Every fire panel has a descriptor, and what a process starts with is often 1,024.
    _, descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    try:
        KeyFolder(settings.keys).document()  # Before the database is looked at: an empty folder has neither.
        gateway = Gateway(settings)
    except Refused as refused:
        raise _ended(refused.code, refused.sentence) from refused
    except StoreUnavailable as away:
        raise _ended("store_unavailable", str(away)) from away
    gateway.run()


def _ended(code: str, sentence: str) -> typer.Exit:
    typer.echo(f"{code}: {sentence}", err=True)
    return typer.Exit(1)
