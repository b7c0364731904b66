"""Replay: recorded signals through the real engine in memory, once by the rules in force and once by others.

It reads and never writes, and nothing it does leaves the process. Offices answer nothing here: what is compared is
what the rules do by themselves. Histories of reporters are today's in both runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace

from ..adapters.memory import MemoryStore
from ..domain.broadcasts import Broadcast, BroadcastState
from ..domain.incidents import Incident
from ..domain.places import Area, Office, Speaker, Venue
from ..domain.playbook import Playbook
from ..domain.risk import History
from ..domain.rules import Rules
from ..domain.signals import Panel, Sensor, Signal
from ..domain.silences import Silence
from ..engine.cities import begin_world
from ..engine.engine import Engine
from ..engine.events import SignalArrived, TimerDue
from ..engine.ports import Page, Read, Store
from ..engine.rows import CitySettings, TimerRow

ROWS_MAX = 200_000
CHUNK = 500
SIGNALS_MAX = 200_000
TIMERS_EVERY_US = 1_000_000
TIMERS_MAX = 500
MINUTES_AFTER_US = 3_600_000_000
"""Deadlines are followed so long after the last signal."""


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one incident in a run. `level` is the gravest it reached; `signals` are keys, its first first."""

    hazard: str
    use: str
    level: int
    reasons: tuple[str, ...]
    asked: bool
    drafted: bool
    aired: bool
    inhibited: bool
    signals: tuple[str, ...]

    @property
    def acts(self) -> tuple[object, ...]:
        """What people would notice."""
        return self.level, self.asked, self.drafted, self.aired, self.inhibited, frozenset(self.signals)


@dataclass(frozen=True, slots=True)
class Difference:
    """One incident, named by its first signal, that other rules treat otherwise; None where it is none of its own."""

    signal: str
    before: Fate | None
    after: Fate | None
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A whole comparison. `incidents` counts those of the run by the rules in force, and of the other."""

    since_us: int
    signals: int
    more: bool
    rules: str
    other: str
    incidents: tuple[int, int]
    differences: tuple[Difference, ...]


@dataclass(slots=True)
class _Clock:
    us: int

    def now_us(self) -> int:
        return self.us

    def mono_us(self) -> int:
        return self.us


class _Ids:
    def __init__(self) -> None:
        self._last = 0

    def new(self) -> str:
        self._last += 1
        return f"{self._last:032x}"


@dataclass(slots=True)
class _Seen:
    level: int
    asked: bool = False
    drafted: bool = False
    aired: bool = False
    inhibited: bool = False
    signals: list[str] = field(default_factory=list)


def compare(read: Read, since_us: int, playbooks: Sequence[Playbook], rules: Rules, other: Rules) -> Replayed:
    """Run the signals since then by both sets of rules and say where they differ."""
    signals, more = _recorded(read, since_us)
    world = list(_world(read, since_us))
    fates = [_run(signals, world, playbooks, each, since_us) for each in (rules, other)]
    return Replayed(
        since_us, len(signals), more, rules.version, other.version, (len(fates[0]), len(fates[1])),
        tuple(_differences(*fates)),
    )  # fmt: skip


def _recorded(read: Read, since_us: int) -> tuple[list[Signal], bool]:
    signals: list[Signal] = []
    at_us, key = since_us - 1, "\U0010ffff"
    while len(signals) < SIGNALS_MAX:
        found = read.signals_since(at_us, key, CHUNK)
        signals += found
        if len(found) < CHUNK:
            return signals, False
        at_us, key = found[-1].received_us, found[-1].key
    return signals[:SIGNALS_MAX], True


def _world(read: Read, since_us: int) -> Iterator[object]:
    """The rows that decisions rest on: the city, its panels, what is known of reporters, and people's silences."""
    for kind in (CitySettings, Area, Venue, Office, Speaker, Panel, Sensor, History):
        order = "code" if kind is Area else "id"
        yield from read.find(kind, Page(limit=ROWS_MAX, order=order))
    for silence in read.find(Silence, Page(limit=ROWS_MAX)):
        until_us = silence.ended_us or silence.until_us
        if until_us > since_us:
            yield replace(silence, active=True, until_us=until_us, count=0, passed=0)


def _run(
    signals: Sequence[Signal], world: Sequence[object], playbooks: Sequence[Playbook], rules: Rules, since_us: int
) -> dict[str, Fate]:
    clock = _Clock(since_us)
    store: Store = MemoryStore(clock)
    begin_world(store, world)
    engine = Engine(store, _Ids(), playbooks, rules=rules)
    seen: dict[str, _Seen] = {}
    timers_us = 0
    for signal in signals:
        clock.us = max(clock.us, signal.received_us)
        if clock.us - timers_us >= TIMERS_EVERY_US:
            timers_us = clock.us
            _pass_timers(engine, store, clock.us)
        for id in engine.handle([SignalArrived(signal)]).incidents:
            _look(store, id, seen).signals.append(signal.key)
    clock.us += MINUTES_AFTER_US
    _pass_timers(engine, store, clock.us)
    with store.read() as read:
        incidents = {i.id: i for i in read.find(Incident, Page(limit=ROWS_MAX))}
    for id in incidents:
        _look(store, id, seen)
    return {
        s.signals[0]: Fate(
            incidents[id].hazard, str(incidents[id].use), s.level, incidents[id].reasons, s.asked, s.drafted, s.aired,
            s.inhibited, tuple(s.signals),
        )
        for id, s in seen.items()
        if s.signals
    }  # fmt: skip


def _look(store: Store, id: str, seen: dict[str, _Seen]) -> _Seen:
    with store.read() as read:
        incident = read.get(Incident, id)
        assert incident is not None
        alert = read.get(Broadcast, incident.alert) if incident.alert else None
    s = seen.setdefault(id, _Seen(incident.level))
    s.level = min(s.level, incident.level)
    s.asked = s.asked or bool(incident.task)
    s.drafted = s.drafted or alert is not None
    s.aired = s.aired or incident.alerted or (alert is not None and alert.state is BroadcastState.ON_AIR)
    s.inhibited = s.inhibited or bool(incident.inhibited_by)
    return s


def _pass_timers(engine: Engine, store: Store, now_us: int) -> None:
    """Whatever was due by now, in its order; a deadline that sets another one in the past comes up again."""
    for _ in range(TIMERS_MAX):
        with store.read() as read:
            due: list[TimerRow] = read.due_timers(now_us, TIMERS_MAX)
        if not due:
            return
        for timer in due:
            engine.handle([TimerDue(timer)])


def _differences(before: dict[str, Fate], after: dict[str, Fate]) -> Iterator[Difference]:
    for key in dict.fromkeys((*before, *after)):
        one, other = before.get(key), after.get(key)
        if one is not None and other is not None and one.acts == other.acts:
            continue
        yield Difference(key, one, other, tuple(_changed(one, other)))


def _changed(one: Fate | None, other: Fate | None) -> Iterator[str]:
    """The difference in words."""
    if one is None or other is None:
        yield "would join another incident, or be none" if other is None else "would be an incident of its own"
        return
    if one.level != other.level:
        yield f"level {other.level} instead of {one.level}"
    words = {
        "asked": "ask an office", "drafted": "draft an alert", "aired": "go on air by standing order",
        "inhibited": "be muted by a graver one",
    }  # fmt: skip
    for name, what in words.items():
        if getattr(one, name) != getattr(other, name):
            yield f"would {what}" if getattr(other, name) else f"would not {what}"
    if frozenset(one.signals) != frozenset(other.signals):
        yield f"{len(other.signals)} signals instead of {len(one.signals)}"


def as_json(replayed: Replayed) -> dict[str, object]:
    """The comparison as plain values."""
    return asdict(replayed)
