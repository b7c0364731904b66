"""A speaker on virtual time: the real machine between a disk, a loudspeaker and a link that may fail at any effect.

A crash may come between any two effects and in the middle of writing; then the group being written is lost whole, as
the journal's checksum makes it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from devices.protocols.documents import LinkKey
from devices.speaker import events as e
from devices.speaker.machine import State, blank
from devices.speaker.reconnect import CONNECT_US_MAX, Dial, wait_us
from devices.speaker.state import Mark
from simulators.clock import Call, VirtualClock
from simulators.network import Broker, Connection

Decide = Callable[[State, e.Event], tuple[State, list[e.Effect]]]

SPREAD_S = 20
MONO_START_US = 5_000_000
PROGRESS_PERCENTS = (20, 40, 60, 80)
FOR_EVER = 2**62


class Dead(Exception):
    """The speaker lost its power between two effects."""


@dataclass(slots=True)
class Heard:
    """One stretch of sound as the street heard it, in true µs. `end` is end, cut, crash or failed; "" while it sounds.

    `durable` is the progress in per cent whose journal entry was surely written. `timed` says that the speaker's clock
    was verified when it began.
    """

    journal: str
    plan: e.SoundPlan
    began_us: int
    ms: int
    ended_us: int = 0
    end: str = ""
    durable: int = 0
    timed: bool = False


class Street(Protocol):
    """Who watches speakers."""

    def say(self, subject: str, words: str) -> None: ...
    def began(self, speaker: SimulatedSpeaker, heard: Heard) -> None: ...
    def ended(self, speaker: SimulatedSpeaker, heard: Heard) -> None: ...
    def took(self, speaker: SimulatedSpeaker, topic: str, payload: bytes, before: State, whole: bool) -> None: ...
    def held_back(self, speaker: SimulatedSpeaker, order: str, rev: int) -> None: ...


@dataclass(slots=True)
class Trouble:
    """What may go wrong here, in per cent of the loads and plays; `wall_error_us` is how wrong its wall clock is."""

    load_percent: int = 0
    play_percent: int = 0
    wall_error_us: int = 0


@dataclass(slots=True)
class Disk:
    """What outlives a crash: the journal's facts in the order last written, and the audio."""

    journal: str
    facts: dict[tuple[str, str], str] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)

    def image(self) -> e.Image:
        return e.Image(
            self.journal, tuple(e.JournalEntry(kind, key, value) for (kind, key), value in self.facts.items())
        )

    def write(self, entries: tuple[e.JournalEntry, ...]) -> None:
        for entry in entries:
            self.facts.pop((entry.kind, entry.key), None)
            if entry.value is not None:
                self.facts[entry.kind, entry.key] = entry.value


class SimulatedSpeaker:
    """One speaker. `decide` is the machine; `mic` says whether it has a microphone."""

    def __init__(
        self, name: str, mic: bool, root: LinkKey, clock: VirtualClock, broker: Broker, street: Street,
        decide: Decide, rng: Random,
    ) -> None:  # fmt: skip
        self.id, self._mic, self._root = name, mic, root
        self._clock, self._broker, self._street, self._decide, self._rng = clock, broker, street, decide, rng
        self.trouble = Trouble()
        self.disk = Disk(f"{rng.getrandbits(128):032x}")
        self.journals = [self.disk.journal]
        self.state = blank(name, root)
        self.alive = False
        self.online_since_us = FOR_EVER
        self.heard: list[Heard] = []
        self.sound_failed_us = 0
        self.moved_us = 0
        self._life = 0
        self._dials = 0
        self._boot_us = 0
        self._dies_after: int | None = None
        self._reset()

    def _reset(self) -> None:
        self._events: deque[tuple[Any, dict[str, Any]]] = deque()
        self._busy = False
        self._connection: Connection | None = None
        self._dial = Dial()
        self._wake: Call | None = None
        self._loaded: dict[int, e.SoundPlan] = {}
        self._sounding: tuple[int, Heard] | None = None

    # Life

    def boot(self) -> None:
        """Power comes."""
        if self.alive:
            return
        self._life += 1
        self._reset()
        self.alive, self._boot_us = True, self._clock.us
        self.state = blank(self.id, self._root)
        self._street.say(self.id, "boots")
        cached = tuple(sorted(self.disk.cached))
        self._feed(e.Booted, image=self.disk.image(), seed=f"{self._rng.getrandbits(64):016x}", cached=cached)
        self._wait()

    def die_after(self, effects: int) -> None:
        """Lose power in front of the n-th effect from now; in the middle of writing when that is a write."""
        if self.alive:
            self._dies_after = effects

    def spare(self) -> None:
        """It will not lose power after all."""
        self._dies_after = None

    def power_off(self) -> None:
        """Lose power now."""
        if not self.alive:
            return
        self.alive = False
        self._dies_after = None
        self._life += 1
        self.online_since_us = FOR_EVER
        self._street.say(self.id, "loses power")
        if self._connection is not None:
            self._broker.clock.later(self._rng.randint(100_000, 30_000_000), self._connection.end)
            self._connection.cut = True
        if self._sounding is not None:
            self._silence("crash")
        if self._wake is not None:
            self._wake.cancel()

    def wipe(self) -> None:
        """The store is lost with its journal id; only while the power is off."""
        assert not self.alive
        self.disk = Disk(f"{self._rng.getrandbits(128):032x}")
        self.journals.append(self.disk.journal)
        self._street.say(self.id, "comes back with an empty disk")

    @property
    def microphone(self) -> bool:
        """Whether it has a microphone."""
        return self._mic

    @property
    def boots(self) -> int:
        """How many lives it has had."""
        return self._life

    @property
    def booted_us(self) -> int:
        """When this life began, in true µs."""
        return self._boot_us

    @property
    def link(self) -> Connection | None:
        return self._connection

    @property
    def sounding(self) -> Heard | None:
        return self._sounding[1] if self._sounding else None

    # The machine

    def _feed(self, event_type: Any, **fields: Any) -> None:
        self._events.append((event_type, fields))
        if self._busy or not self.alive:
            return
        self._busy = True
        try:
            while self._events and self.alive:
                kind, known = self._events.popleft()
                mono_us = self._clock.us - self._boot_us + MONO_START_US
                event = kind(at_us=max(1, self._clock.us + self.trouble.wall_error_us), mono_us=mono_us, **known)
                before = self.state
                self.state, effects = self._decide(before, event)
                self._carry_out(event, before, effects)
        except Dead:
            self.power_off()
        finally:
            self._busy = False

    def _carry_out(self, event: e.Event, before: State, effects: list[e.Effect]) -> None:
        whole = False
        try:
            for effect in effects:
                self._do(effect)
            whole = True
        finally:
            if isinstance(event, e.Message):
                self._street.took(self, event.topic, event.payload, before, whole)
        # What the journal says at a boot was said in an earlier life.
        for key, mark in self.state.marks.items() if not isinstance(event, e.Booted) else ():
            if mark.limited_rev > before.marks.get(key, Mark()).limited_rev:
                self._street.held_back(self, key, mark.limited_rev)

    def _do(self, effect: e.Effect) -> None:
        if self._dies_after is not None:
            self._dies_after -= 1
            if self._dies_after < 0:
                raise Dead
        match effect:
            case e.Persist(entries):
                self.disk.write(entries)
            case e.Publish():
                self._publish(effect)
            case e.Subscribe(topics):
                if self._connection is not None:
                    self._connection.subscribe(topics)
            case e.Unsubscribe(topics):
                if self._connection is not None:
                    self._connection.unsubscribe(topics)
            case e.Connect():
                self._connect(effect)
            case e.WakeSpeakerAt(mono_us):
                if self._wake is not None:
                    self._wake.cancel()
                self._wake = self._at(mono_us - MONO_START_US + self._boot_us, lambda: self._feed(e.Tick))
            case e.Load(ticket, plan):
                self._loaded[ticket] = plan
                self._later(self._rng.randint(5_000, 400_000), lambda: self._load(ticket))
            case e.Play(ticket):
                self._play(ticket)
            case e.Stop(ticket):
                self._loaded.pop(ticket, None)
                if self._sounding is not None and self._sounding[0] == ticket:
                    self._silence("cut")
            case e.Fetch():
                self._at(
                    effect.not_before_us - MONO_START_US + self._boot_us + self._rng.randint(50_000, 900_000),
                    lambda: self._fetched(effect.sha256),
                )

    def _at(self, us: int, action: Callable[[], None]) -> Call:
        """Do it in this life of the speaker only."""
        life = self._life
        return self._clock.at(us, lambda: action() if self._life == life else None)

    def _later(self, after_us: int, action: Callable[[], None]) -> Call:
        return self._at(self._clock.us + after_us, action)

    # The link

    def _wait(self) -> None:
        self._later(wait_us(self._dial, SPREAD_S, self._rng.random()), lambda: self._feed(e.Connecting))

    def _connect(self, effect: e.Connect) -> None:
        self._dial = self._dial.connecting()
        self._later(self._rng.randint(5_000, 200_000), lambda: self._dialled((effect.will_topic, effect.will_payload)))

    def _dialled(self, will: tuple[str, bytes]) -> None:
        self._dials += 1
        connection = self._broker.connect(self.id, _Side(self, self._dials), will)
        if connection is None:
            self._dial = self._dial.lost()
            self._later(self._rng.randint(0, CONNECT_US_MAX), self._wait)
            return
        self._dial = self._dial.up()
        self._connection = connection
        self.online_since_us = self._clock.us
        self._feed(e.Connected)

    def link_lost(self, dial: int) -> None:
        if dial != self._dials or self._connection is None:
            return
        self._connection = None
        self.online_since_us = FOR_EVER
        self._dial = self._dial.lost()
        self._feed(e.Disconnected)
        self._wait()

    def receive(self, dial: int, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        if dial == self._dials and self._connection is not None:
            self._feed(e.Message, topic=topic, payload=payload, retain=retain)
            ack()

    def _publish(self, effect: e.Publish) -> None:
        if self._connection is None:
            return
        life, seq = self._life, effect.seq

        def acked() -> None:
            if seq and life == self._life:
                self._feed(e.Acknowledged, seq=seq)

        self._connection.publish(effect.topic, effect.payload, effect.retain, acked)

    def _fetched(self, sha256: str) -> None:
        if self._rng.randrange(100) < self.trouble.load_percent:
            self._feed(e.AudioFailed, sha256=sha256, reason="unreachable")
        else:
            self.disk.cached.add(sha256)
            self._feed(e.AudioStored, sha256=sha256)

    # The loudspeaker

    def _load(self, ticket: int) -> None:
        plan = self._loaded.get(ticket)
        if plan is None:
            return
        if self._rng.randrange(100) < self.trouble.load_percent:
            del self._loaded[ticket]
            self.sound_failed_us = self._clock.us
            self._feed(e.SoundFailed, ticket=ticket, reason="render_failed")
        else:
            self._feed(e.SoundLoaded, ticket=ticket, ms=plan.ms)

    def _play(self, ticket: int) -> None:
        plan = self._loaded.pop(ticket)
        heard = Heard(self.disk.journal, plan, self._clock.us, plan.ms, timed=self.state.clock.verified)
        self.heard.append(heard)
        self._street.began(self, heard)
        if self._sounding is not None:
            self._silence("cut")
        self._sounding = (ticket, heard)
        mic_db = 70 if self._mic else None
        self._later(0, lambda: self._while(ticket, e.SoundBegan, mic_db=mic_db))
        for percent in PROGRESS_PERCENTS:
            self._later(plan.ms * percent * 10, lambda percent=percent: self._progress(ticket, percent))  # type: ignore[misc]
        if self._rng.randrange(100) < self.trouble.play_percent:
            self._later(plan.ms * self._rng.randrange(50, 950), lambda: self._break(ticket))
        self._later(plan.ms * 1_000, lambda: self._end(ticket))

    def _while(self, ticket: int, event_type: Any, **fields: Any) -> None:
        if self._sounding is not None and self._sounding[0] == ticket:
            self._feed(event_type, ticket=ticket, **fields)

    def _progress(self, ticket: int, percent: int) -> None:
        if self._sounding is None or self._sounding[0] != ticket:
            return
        heard = self._sounding[1]
        self._feed(e.SoundProgress, ticket=ticket, percent=percent, mic_db=70 if self._mic else None)
        if self.alive:
            heard.durable = percent

    def _end(self, ticket: int) -> None:
        if self._sounding is not None and self._sounding[0] == ticket:
            ms = self._sounding[1].ms
            self._silence("end")
            self._feed(e.SoundEnded, ticket=ticket, ms=ms, mic_db=70 if self._mic else None)

    def _break(self, ticket: int) -> None:
        if self._sounding is not None and self._sounding[0] == ticket:
            self.sound_failed_us = self._clock.us
            self._silence("failed")
            self._feed(e.SoundFailed, ticket=ticket, reason="sound_card_failed")

    def _silence(self, how: str) -> None:
        assert self._sounding is not None
        heard = self._sounding[1]
        self._sounding = None
        heard.end, heard.ended_us = how, self._clock.us
        self._street.ended(self, heard)


@dataclass(frozen=True, slots=True)
class _Side:
    """The speaker's end of one connection; what an earlier one still says reaches nobody."""

    speaker: SimulatedSpeaker
    dial: int

    def received(self, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        self.speaker.receive(self.dial, topic, payload, retain, ack)

    def lost(self) -> None:
        self.speaker.link_lost(self.dial)
