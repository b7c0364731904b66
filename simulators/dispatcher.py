"""The dispatcher on virtual time: the real engine, relay, timers, chain and receipts in a gateway that can be killed.

It is what the gateway process wires together, with the network and the clock replaced; every rule is the product's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Protocol

from prometheus_client import CollectorRegistry

from devices.protocols import speaker_link
from devices.protocols.canary import ALL_CANARIES
from devices.protocols.gb26875 import Frame
from services.dispatcher.adapters.broker_copies import BrokerCopies
from services.dispatcher.adapters.canaries import Canaries
from services.dispatcher.adapters.gb26875_centre import PanelCentre
from services.dispatcher.adapters.intake import TOPICS, SpeakerIntake
from services.dispatcher.adapters.intake_journal import commit_or_keep
from services.dispatcher.adapters.manifests import ARRIVED_SETTLE_US, SpeakerSide
from services.dispatcher.adapters.metrics import KeyMetrics
from services.dispatcher.adapters.offices import OfficeTasks
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.playbook import Playbook
from services.dispatcher.domain.signals import Panel, Signal, Unread
from services.dispatcher.engine import clock as clocks
from services.dispatcher.engine.air import publishing, receipts, signing_keys, streams
from services.dispatcher.engine.air.staging import Staging
from services.dispatcher.engine.chain import chain_pass
from services.dispatcher.engine.clock import GuardedClock
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, Outcome, SignalArrived, UnreadArrived
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Clock, Ids, Store, StoreUnavailable
from services.dispatcher.engine.relay import Carrier, CarryFailed, NotYet, Relay
from services.dispatcher.engine.rows import Asset, EffectRow
from services.dispatcher.engine.timers import TimerPass
from simulators import city
from simulators.canary import VirtualKeyFiles
from simulators.city import Keys
from simulators.clock import Call, VirtualClock
from simulators.database import Killed, Process
from simulators.door import PanelDoor
from simulators.network import Broker
from simulators.voice import CANARIES, VirtualInlet, VirtualLink, spreads

CLIENT = "gw-0"
SETTLE_US = 300_000
COMPARE_US = 60_000_000
COPIES_LOOK_US = 1_000_000
LEASE_US = 15_000_000
AUDIO_BASE = "http://127.0.0.1/audio"
INTAKE_US = 20_000
AWAY_US = 500_000
ALL_CONFIGS = "tocsin/v1/speaker/+/config"
ROUNDS_MAX = 200


@dataclass(frozen=True, slots=True)
class Parts:
    """What the dispatcher is built of, so that a test can put a broken part in its place."""

    engine: type[Engine] = Engine
    relay: type[Relay] = Relay
    timers: type[TimerPass] = TimerPass
    guard: type[GuardedClock] = GuardedClock
    sign: Callable[..., streams.Signed] = publishing.sign
    keep_receipts: Callable[..., receipts.Counted] = receipts.keep_receipts
    centre: type[PanelCentre] = PanelCentre
    report_keys: Callable[[Store, str, Sequence[signing_keys.KeyReport], int], None] = signing_keys.report
    copies: type[BrokerCopies] = BrokerCopies


class Surroundings(Protocol):
    """What the gateway needs of the world beside it."""

    def say(self, subject: str, words: str) -> None: ...
    def confirmed(self, panel: str, frame: Frame, signals: Sequence[Signal]) -> None: ...
    def wants_audio(self, wording: str) -> bool: ...
    def handling(self, event: Event, mono_us: int) -> None: ...
    def handled(self, whole: bool) -> None: ...
    def passes(self, client: str) -> None: ...
    def gateway_died(self, gateway: Gateway, why: str) -> None: ...


@dataclass(slots=True)
class Disk:
    """What a gateway's machine keeps beside the database: the synced intake journal."""

    journal: list[Signal] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)

    def waiting(self) -> bool:
        return bool(self.journal or self.unread)

    def keep(self, signals: Sequence[Signal], unread: Sequence[Unread] = ()) -> None:
        self.journal.extend(signals)
        self.unread.extend(unread)

    def empty(self) -> None:
        self.journal, self.unread = [], []


def make_engine(
    parts: Parts, store: Store, ids: Ids, playbooks: Sequence[Playbook], wake: Callable[[], None]
) -> Engine:
    """An engine with audio that is served nowhere."""
    return parts.engine(store, ids, playbooks, wake)


class Gateway:
    """One life of a gateway process, from start to kill. Only the database and `disk` outlive it."""

    def __init__(
        self, parts: Parts, process: Process, disk: Disk, clock: VirtualClock, broker: Broker, keys: Keys,
        ids: Ids, playbooks: Sequence[Playbook], world: Surroundings, rng: Random, client: str = CLIENT,
    ) -> None:  # fmt: skip
        self.process, self.client = process, client
        wall = process.clock
        self._parts, self._disk, self._clock, self._wall, self._broker = parts, disk, clock, wall, broker
        self._keys, self._world, self._rng, self._playbooks = keys, world, rng, playbooks
        self.engine = make_engine(parts, process, ids, playbooks, self.wake)
        self.link, self._inlet = VirtualLink(broker, process.boundary), VirtualInlet(process.boundary)
        self.side = SpeakerSide(
            process, keys, self.link, self.engine.read_city, wall, spreads(), AUDIO_BASE, sign=parts.sign,
            compare_wait_s=0,
        )  # fmt: skip
        self._intake = SpeakerIntake(
            process, self._inlet, self.engine.read_city, self.side.answer_hello, wall.now_us,
            compared=lambda: self.side.reconciled, keep_receipts=parts.keep_receipts, pause=lambda wait_s: None,
        )  # fmt: skip
        self._copies = parts.copies(process, self.side, keys, self.link, client, wall)
        carriers: dict[str, Carrier] = {
            Carry.PUBLISH_CONFIG: self.side.publish_config,
            Carry.ASK_MISSING: self.side.ask_missing,
            Carry.OFFICE_TASK: OfficeTasks(process, self.link.publish_soon).carry,
            Carry.RENDER_AUDIO: self._render,
            Carry.RENDER_AHEAD: self._render,
        }
        on_air: dict[str, Carrier] = {Carry.PUBLISH_STREAM: self.side.publish_stream}
        owner = f"{client}/{rng.getrandbits(32):08x}"
        self._relays = (
            parts.relay(process, self.engine, on_air, owner, wall),
            parts.relay(process, self.engine, carriers, owner, wall),
        )
        self._timers = parts.timers(_Announced(self.engine, world, wall), process, wall)  # type: ignore[arg-type]
        numbers = count()
        self._canaries = Canaries(
            process.quiet, VirtualKeyFiles(keys, wall), self.side, self.link, client, wall,
            KeyMetrics(CollectorRegistry()), nonce=lambda length: f"{next(numbers):022}", report=parts.report_keys,
        )  # fmt: skip
        self._round: Call | None = None
        self._door = PanelDoor(
            parts.centre, city.panels(), wall.now_us, self._commit, process.boundary, world.confirmed
        )
        self._connections = 0
        self._staging = Staging(process)
        self._chained_at = -1

    # Life

    def start(self) -> None:
        self._world.say(self.client, "starts")
        self._do(self._look_at_clocks)
        self._do(self._housekeeping)
        self._dial()
        self._do(self._look_at_copies)
        self.wake()

    def kill(self, why: str) -> None:
        """Killed from outside, between two steps."""
        if self.process.alive:
            self.process.kill()
            self._gone(why)

    def _gone(self, why: str) -> None:
        if (connection := self.link.connection) is not None:
            self._clock.later(self._rng.randint(1_000, 20_000_000), connection.end)
            connection.cut = True
        self._world.gateway_died(self, why)

    def _do(self, action: Callable[[], None]) -> None:
        """One step of the process: it may be killed in it, and goes on later when the database is away."""
        if not self.process.alive:
            return
        try:
            action()
        except Killed:
            self._gone(self.process.died_at)
        except StoreUnavailable:
            self._clock.later(AWAY_US, self.wake)

    def later(self, after_us: int, action: Callable[[], None]) -> None:
        self._clock.later(after_us, lambda: self._do(action))

    # Rounds: relay, timers and chain, whenever something may be due

    def wake(self) -> None:
        """Something was committed, or time has jumped: look soon."""
        self._look_at(self._clock.us + 2_000)

    def _look_at(self, us: int) -> None:
        if self._round is not None:
            self._round.cancel()
        self._round = self._clock.at(us, lambda: self._do(self._pass))

    def _pass(self) -> None:
        clocks.clock_pass(self.process)
        self._world.passes(self.client)
        self._timers.run()
        for relay in self._relays:
            for _ in range(ROUNDS_MAX):
                if not relay.waiting() or not relay.run():
                    break
        if self.process.commits != self._chained_at:
            chain_pass(self.process)
            self._chained_at = self.process.commits
        if self._disk.waiting():
            self._replay()
        self._look_at(self._next_us())

    def _next_us(self) -> int:
        with self.process.read() as read:
            now_us = read.now_us()
            due = [max(e.not_before_us, e.leased_until_us) for e in read.open_effects()]
            timers = read.due_timers(2**62, 1)
        due += [timer.due_us for timer in timers]
        wait_us = min(due, default=now_us + COMPARE_US) - now_us
        return self._clock.us + min(max(wait_us, 5_000), COMPARE_US)

    def _look_at_clocks(self) -> None:
        clocks.begin(self.process)

    def _housekeeping(self) -> None:
        self._staging.look_again(everywhere=True)
        while self._staging.step(self.engine.read_city(), self._playbooks).more:
            pass

    def _replay(self) -> None:
        self.engine.handle([*map(SignalArrived, self._disk.journal), *map(UnreadArrived, self._disk.unread)])
        self._disk.empty()

    # The broker

    def _dial(self) -> None:
        if not self.process.alive or self.link.connected:
            return
        self._connections += 1
        connection = self._broker.connect(self.client, _Side(self, self._connections), clean=False)
        if connection is None:
            self._clock.later(self._rng.randint(1_000_000, 5_000_000), self._dial)
            return
        self.link.connection = connection
        self.side.forget_seen()
        connection.subscribe(
            (
                *TOPICS,
                speaker_link.ALL_AREA_MANIFESTS,
                speaker_link.ALL_SPEAKER_MANIFESTS,
                speaker_link.KEYS_TOPIC,
                ALL_CONFIGS,
                ALL_CANARIES,
            )
        )
        number = self._connections
        self.later(SETTLE_US, lambda: self._compare_on(number))

    def link_lost(self, number: int) -> None:
        if number == self._connections and self.process.alive:
            self.link.connection = None
            self._clock.later(self._rng.randint(1_000_000, 5_000_000), self._dial)

    def receive(self, number: int, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        if number != self._connections or not self.process.alive:
            return
        if topic.startswith(CANARIES):
            self._canaries.heard(topic, payload)
            ack()
            return
        if "/manifest/" in topic or topic == speaker_link.KEYS_TOPIC or topic.endswith("/config"):
            self.side.seen(topic, payload)
            ack()
            if "/manifest/" in topic:
                self.later(ARRIVED_SETTLE_US, self._compare_arrived)
            return
        if not self._inlet.waiting:
            self.later(INTAKE_US, self._take_in)
        self._inlet.came(topic, payload, retain, ack)

    def _compare_arrived(self) -> None:
        if not self.link.connected or not self.side.reconciled:
            return
        try:
            self.side.compare_arrived()
        except CarryFailed:
            self._world.say(self.client, "could not replace a manifest of somebody else")

    def _take_in(self) -> None:
        """One step of the loop of what speakers say."""
        again_us = INTAKE_US
        try:
            self._intake.run()
        except StoreUnavailable:
            again_us = AWAY_US
        if self._inlet.waiting:
            self.later(again_us, self._take_in)
        # What speakers say may set a timer.
        self._look_at(self._next_us())

    # Carriers

    def _render(self, effect: EffectRow) -> None:
        with self.process.read() as read:
            asset = read.get(Asset, effect.subject)
        if asset is None:
            if not self._world.wants_audio(effect.subject):
                raise CarryFailed("the task queue is away")
            raise NotYet

    # The broker's copies

    def _compare_on(self, number: int) -> None:
        if number != self._connections or not self.link.connected:
            return
        again_us = 1_000_000
        try:
            self.side.reconcile()
            self._housekeeping()
            again_us = COMPARE_US
            self.wake()
        except CarryFailed:
            self._world.say(self.client, "could not compare the broker's copies")
        finally:
            self.later(again_us, lambda: self._compare_on(number))

    def _look_at_copies(self) -> None:
        try:
            self._copies.step()
        finally:
            self.later(COPIES_LOOK_US, self._look_at_copies)

    def watch_keys(self) -> None:
        """Renew the lease, and one step of the loop of canaries. What these write is no commit that anybody waits for,
        and nobody is killed in it."""
        hold(self.process.quiet, self.client, self.client, LEASE_US)
        self._canaries.step()
        # A key that is not listed any more has streams signed anew.
        self._look_at(self._next_us())

    def keys_changed(self) -> None:
        """The key document is another one: the loop of canaries looks before its time."""
        self.later(100_000, self.watch_keys)

    # Fire panels

    def panel_connects(self, panel: str, answer: Callable[[bytes], None]) -> None:
        self._door.connects(panel, answer)

    def panel_sends(self, panel: Panel, raw: bytes) -> None:
        """Bytes of one panel's connection."""
        self._do(lambda: self._door.takes(panel.id, raw))

    def _commit(self, events: Sequence[Event]) -> Outcome:
        outcome = commit_or_keep(events, self.engine.handle, self._disk)
        if self._disk.waiting():
            self.wake()
        return outcome


class _Announced:
    """The engine as the timer pass sees it: the world is told which timer is being handled."""

    def __init__(self, engine: Engine, world: Surroundings, wall: Clock) -> None:
        self._engine, self._world, self._wall = engine, world, wall

    def handle(self, events: Sequence[Event]) -> object:
        self._world.handling(events[0], self._wall.mono_us())
        whole = False
        try:
            outcome = self._engine.handle(events)
            whole = True
            return outcome
        finally:
            self._world.handled(whole)


@dataclass(frozen=True, slots=True)
class _Side:
    """The gateway's end of one connection."""

    gateway: Gateway
    number: int

    def received(self, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        self.gateway.receive(self.number, topic, payload, retain, ack)

    def lost(self) -> None:
        self.gateway.link_lost(self.number)
