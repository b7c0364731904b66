"""The dispatcher on virtual time: the real engine, relay, timers, chain and receipts in a gateway that can be killed.

It does what the gateway process and its speaker side do, with the network replaced; every rule is the engine's own.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from random import Random
from typing import Protocol

from devices.protocols import asking, speaker_link
from devices.protocols.asking import SpeakerAnswer
from devices.protocols.gb26875 import Frame
from devices.protocols.speaker_link import SpeakerState
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.playbook import Playbook
from services.dispatcher.domain.signals import Panel, Signal, Unread
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine import clock as clocks
from services.dispatcher.engine.air import broker_copies, receipts, signing_keys, streams
from services.dispatcher.engine.air.given_out import Remembered
from services.dispatcher.engine.air.sighted import SETTLED_US, UNSETTLED_US
from services.dispatcher.engine.air.staging import Staging
from services.dispatcher.engine.chain import chain_pass
from services.dispatcher.engine.clock import GuardedClock
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, SignalArrived
from services.dispatcher.engine.ports import Clock, Ids, Store, StoreUnavailable
from services.dispatcher.engine.relay import Carrier, CarryFailed, NotYet, Relay
from services.dispatcher.engine.rows import Asset, EffectRow
from services.dispatcher.engine.timers import TimerPass
from simulators.canary import Report, SimulatedCanaries
from simulators.city import Keys
from simulators.clock import Call, VirtualClock
from simulators.database import Killed, Process
from simulators.door import PanelDoor
from simulators.network import Broker, Connection, NotTaken
from simulators.voice import Voice

CLIENT = "gw-0"
SETTLE_US = 300_000
COMPARE_US = 60_000_000
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
    sign_stream: Callable[..., streams.Signed] = streams.sign_stream
    keep_receipts: Callable[..., receipts.Counted] = receipts.keep_receipts
    confirms_first: bool = False
    report_keys: Report = signing_keys.report
    looks_afresh: bool = True


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
        self.voice = Voice(
            process, keys, self.engine.read_city, self._send, self._send_soon, parts.sign_stream, AUDIO_BASE
        )
        carriers: dict[str, Carrier] = {
            Carry.PUBLISH_CONFIG: self.voice.publish_config,
            Carry.ASK_MISSING: self.voice.ask_missing,
            Carry.OFFICE_TASK: self._office_task,
            Carry.RENDER_AUDIO: self._render,
            Carry.RENDER_AHEAD: self._render,
        }
        on_air: dict[str, Carrier] = {Carry.PUBLISH_STREAM: self.voice.publish_stream}
        owner = f"{client}/{rng.getrandbits(32):08x}"
        self._relays = (
            parts.relay(process, self.engine, on_air, owner, wall),
            parts.relay(process, self.engine, carriers, owner, wall),
        )
        self._carries = (tuple(on_air), tuple(carriers))
        self._timers = parts.timers(_Announced(self.engine, world, wall), process, wall)  # type: ignore[arg-type]
        self._canaries = SimulatedCanaries(process.quiet, keys, broker, wall, client, parts.report_keys)
        self._connection: Connection | None = None
        self._waiting: list[tuple[str, bytes, bool, Callable[[], None]]] = []
        self._round: Call | None = None
        self._door = PanelDoor(wall, self._commit, process.boundary, world.confirmed, parts.confirms_first)
        self._connections = 0
        self._staging = Staging(process)
        self._chained_at = -1
        self._remembered = Remembered()

    # Life

    def start(self) -> None:
        self._world.say(self.client, "starts")
        self._do(self._look_at_clocks)
        self._do(self._housekeeping)
        self._dial()
        self.wake()

    def kill(self, why: str) -> None:
        """Killed from outside, between two steps."""
        if self.process.alive:
            self.process.kill()
            self._gone(why)

    def _gone(self, why: str) -> None:
        if self._connection is not None:
            self._clock.later(self._rng.randint(1_000, 20_000_000), self._connection.end)
            self._connection.cut = True
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
        if self._disk.journal:
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
        self.engine.handle([SignalArrived(signal) for signal in self._disk.journal])
        self._disk.journal = []

    # The broker

    def _dial(self) -> None:
        if not self.process.alive or self._connection is not None:
            return
        self._connections += 1
        connection = self._broker.connect(self.client, _Side(self, self._connections), clean=False)
        if connection is None:
            self._clock.later(self._rng.randint(1_000_000, 5_000_000), self._dial)
            return
        self._connection = connection
        self.voice.forget_seen()
        connection.subscribe(
            (
                speaker_link.ALL_RECEIPTS,
                speaker_link.ALL_STATES,
                speaker_link.ALL_HELLOS,
                speaker_link.ALL_ANSWERS,
                speaker_link.ALL_AREA_MANIFESTS,
                speaker_link.ALL_SPEAKER_MANIFESTS,
                speaker_link.KEYS_TOPIC,
                ALL_CONFIGS,
            )
        )
        number = self._connections
        self.later(SETTLE_US, lambda: self._compare_on(number))

    def link_lost(self, number: int) -> None:
        if number == self._connections and self.process.alive:
            self._connection = None
            self._clock.later(self._rng.randint(1_000_000, 5_000_000), self._dial)

    def receive(self, number: int, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        if number != self._connections or not self.process.alive:
            return
        if "/manifest/" in topic or topic == speaker_link.KEYS_TOPIC or topic.endswith("/config"):
            self.voice.seen(topic, payload)
            ack()
            if "/manifest/" in topic:
                self.later(SETTLE_US, self._compare_arrived)
            return
        if not self._waiting:
            self.later(INTAKE_US, self._take_in)
        self._waiting.append((topic, payload, retain, ack))

    def _compare_arrived(self) -> None:
        if self._connection is None:
            return
        try:
            self.voice.compare_arrived()
        except CarryFailed:
            self._world.say(self.client, "could not replace a manifest of somebody else")

    def _send(self, topic: str, payload: bytes, retain: bool = False) -> None:
        """Publish until the broker has it. Raises CarryFailed."""
        self.process.boundary("before publish")
        if self._connection is None:
            raise CarryFailed("the broker is not connected")
        try:
            self._connection.publish_and_wait(topic, payload, retain)
        except NotTaken as failed:
            raise CarryFailed(str(failed)) from failed
        self.process.boundary("after publish")

    def _send_soon(self, topic: str, payload: bytes) -> None:
        if self._connection is not None and self._connection.passes:
            self._broker.publish(topic, payload, False)

    # What speakers say

    def _take_in(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        try:
            self._keep(batch)
        except StoreUnavailable:
            self._waiting = batch + self._waiting
            self.later(AWAY_US, self._take_in)
            return
        # What speakers say may set a timer.
        self._look_at(self._next_us())
        self.process.boundary("before ack")
        for *_, ack in batch:
            ack()
            self.process.boundary("between acks")

    def _keep(self, batch: Sequence[tuple[str, bytes, bool, Callable[[], None]]]) -> None:
        arrived: list[receipts.Arrived] = []
        states: list[tuple[bool, str, SpeakerState]] = []
        answers: list[tuple[str, SpeakerAnswer]] = []
        unread: list[Unread] = []
        city = self.engine.read_city()
        speakers = city.speakers
        for topic, payload, retain, _ in batch:
            speaker, branch = speaker_link.parse_speaker_topic(topic)
            reason = "" if speaker in speakers and speakers[speaker].enrolled else "speaker_not_enrolled"
            try:
                if reason:
                    pass
                elif branch == "receipt":
                    receipt = speaker_link.decode_receipt(payload)
                    arrived.append(receipts.Arrived(speaker, receipt, payload, speakers[speaker].microphone))
                elif branch == "state":
                    states.append((retain, speaker, speaker_link.decode_state(payload)))
                elif branch == "answer":
                    answers.append((speaker, asking.decode_answer(payload)))
                else:
                    self.voice.answer_hello(speaker, speaker_link.decode_hello(payload))
            except speaker_link.Refused as refused:
                reason = str(refused.reason)
            if reason:
                unread.append(Unread("mqtt", topic, reason, payload, self._wall.now_us()))
        settled_us = SETTLED_US if self.voice.compared else UNSETTLED_US
        if arrived:
            self._parts.keep_receipts(self.process, arrived, settled_us)
        for retained, run in groupby(states, key=itemgetter(0)):
            said = [(speaker, state) for _, speaker, state in run]
            receipts.hear_speakers(self.process, said, self._remembered, settled_us, retained=retained, city=city)
        if answers:
            receipts.settle_gone(self.process, answers)
        if unread:
            receipts.keep_unread(self.process, unread)

    # Carriers

    def _office_task(self, effect: EffectRow) -> None:
        with self.process.read() as read:
            task = read.get(Task, effect.subject)
        if task is None:
            return
        payload = json.dumps({"task": task.id, "kind": task.kind, "state": task.state, "rung": task.rung}).encode()
        for office in sorted(set(task.offices[: task.rung + 1])):
            self._send(f"tocsin/v1/office/{office}/task", payload)

    def _render(self, effect: EffectRow) -> None:
        with self.process.read() as read:
            asset = read.get(Asset, effect.subject)
        if asset is None:
            if not self._world.wants_audio(effect.subject):
                raise CarryFailed("the task queue is away")
            raise NotYet

    # The broker's copies

    def _compare_on(self, number: int) -> None:
        if number != self._connections or self._connection is None:
            return
        again_us = 1_000_000
        try:
            self.voice.reconcile()
            if self._parts.looks_afresh:
                found = self.voice.look(self._broker.retained.get)
                broker_copies.note(self.process.quiet, self.client, found)
            self._housekeeping()
            again_us = COMPARE_US
            self.wake()
        except CarryFailed:
            self._world.say(self.client, "could not compare the broker's copies")
        finally:
            self.later(again_us, lambda: self._compare_on(number))

    def watch_keys(self) -> None:
        """One step of the loop of canaries."""
        self._canaries.step(self._connection is not None and self._connection.passes)
        # A key that is not listed any more has streams signed anew.
        self._look_at(self._next_us())

    def keys_changed(self) -> None:
        """The key document is another one: it is published at once, and the keys are tried."""
        self._canaries.round_now()
        self.later(100_000, self._take_keys)

    def _take_keys(self) -> None:
        if self.voice.compared:
            try:
                self.voice.publish_keys()
            except CarryFailed:
                self._world.say(self.client, "could not publish the key document")
        self.watch_keys()
        self.wake()

    # Fire panels

    def panel_connects(self, panel: str, answer: Callable[[bytes], None]) -> None:
        self._door.connects(panel, answer)

    def panel_sends(self, panel: Panel, raw: bytes) -> None:
        """Bytes of one panel's connection."""
        self._do(lambda: self._door.takes(panel, raw))

    def _commit(self, signals: Sequence[Signal]) -> None:
        events: list[Event] = [SignalArrived(signal) for signal in signals]
        try:
            if self._disk.journal:
                raise StoreUnavailable("earlier signals wait in the journal")
            self.engine.handle(events)
        except StoreUnavailable:
            self._disk.journal.extend(signals)
            self.wake()


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
