"""Events of every kind, drawn at random, and everything that they leave behind them in a store."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.domain.incidents import Incident, Verdict
from services.dispatcher.domain.refusals import Refused
from services.dispatcher.domain.risk import History
from services.dispatcher.domain.rules import Rules
from services.dispatcher.domain.signals import BY_HAND, Evidence, Panel, Place, Problem, Signal, SignalKind, Use
from services.dispatcher.domain.silences import Silence, SilencedWord
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import (
    Event,
    IncidentClosed,
    MaintenanceChanged,
    Outcome,
    SignalArrived,
    SilenceMade,
    TaskAnswered,
    TimerDue,
)
from services.dispatcher.engine.ports import Page, Read
from services.dispatcher.engine.rows import Footprint, Withdrawal
from services.dispatcher.engine.writing import WritableStore
from tests import builders
from tests.builders import (
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    STREET,
    CountingIds,
    StoppedClock,
    fire_playbook,
    fire_signal,
    panel,
    standing_order,
    storm_playbook,
    storm_signal,
)

ALL = Page(limit=10_000)
KINDS: tuple[type[Any], ...] = (Incident, Broadcast, Task, Footprint, Withdrawal, Silence, SilencedWord, History, Panel)
RULES = Rules(version="tried", signals_a_minute_logged=6)
EVENTS = 40


DAY_US = 86_400 * SECOND_US


class Ids(CountingIds):
    """Ids that count up, and count again what a refusal took back."""

    def back_to(self, last: int) -> None:
        self._last = last

    @property
    def last(self) -> int:
        return self._last


def any_signal(random: Random, at_us: int) -> Signal:
    """A fire or a warning; keys, references and devices come again and again."""
    use = random.choice((Use.ACTUAL, Use.ACTUAL, Use.EXERCISE))
    if random.random() < 0.6:
        other = f"gb26875/mall-panel/{random.randrange(30)}"
        return fire_signal(
            f"gb26875/mall-panel/{random.randrange(30)}",
            use=use,
            device=f"smoke-{random.randrange(4)}",
            evidence=random.choice((Evidence.DETECTOR, Evidence.DETECTOR, Evidence.CALL_POINT, Evidence.FAULT)),
            test_bit=random.random() < 0.2,
            observed_us=at_us,
            received_us=at_us,
            other_key=other if random.random() < 0.2 else "",
        )
    kind = random.choice((SignalKind.ALERT, SignalKind.ALERT, SignalKind.UPDATE, SignalKind.CANCEL))
    by_hand = (Problem("warning", BY_HAND, "", "handed in"),)
    return storm_signal(
        f"cap/weather/bureau,a{random.randrange(8)},{random.randrange(3)}",
        use=use,
        kind=kind,
        references=(f"cap/weather/bureau,a{random.randrange(8)},1",) if kind is not SignalKind.ALERT else (),
        place=Place(areas=(random.choice((STREET, OTHER_STREET)),)),
        observed_us=at_us,
        received_us=at_us,
        problems=by_hand if random.random() < 0.2 else (),
    )


def any_event(random: Random, read: Read, at_us: int, *, timers: bool) -> Event:
    """What may happen next where so much is in the store."""
    match random.random():
        case lot if lot < 0.08:
            until_us = random.choice((None, at_us + 600 * SECOND_US))
            return MaintenanceChanged(Panel, "mall-panel", "chen", "a test of the detectors", until_us)
        case lot if lot < 0.12:
            device, until_us = f"smoke-{random.randrange(4)}", at_us + 600 * SECOND_US
            return SilenceMade(
                Silence("", Use.ACTUAL, "chen", "it is being repaired", 0, until_us, "mall-panel", device)
            )
        case lot if lot < 0.2 and (tasks := read.find(Task, ALL, state=TaskState.ASKED)):
            task = random.choice(tasks)
            return TaskAnswered(task.id, "chen", task.office, random.choice(tuple(Verdict)))
        case lot if lot < 0.25 and (incidents := [i for i in read.find(Incident, ALL) if i.open]):
            return IncidentClosed(random.choice(incidents).id, "chen", "it is over")
        case lot if lot < 0.32 and timers and (due := read.due_timers(at_us + DAY_US, 100)):
            return TimerDue(random.choice(due))
    return SignalArrived(any_signal(random, at_us))


def any_events(random: Random, from_us: int = NOON_US, *, timers: bool = True) -> list[Event]:
    """A day's events, none of which is refused when it happens after those before it. A timer names the time of its
    row, which is another one where the store has a clock of its own: no timers then."""
    clock = StoppedClock(from_us)
    store, ids = MemoryStore(clock), Ids()
    engine = a_days_engine(store, clock, ids)
    events: list[Event] = []
    for number in range(EVENTS):
        with store.read() as read:
            event = any_event(random, read, from_us + number, timers=timers)
        last = ids.last
        try:
            engine.handle([event])
        except Refused:
            ids.back_to(last)
        else:
            events.append(event)
    return events


def in_groups(random: Random, events: Sequence[Event]) -> list[Sequence[Event]]:
    groups, at = [], 0
    while at < len(events):
        size = random.choice((1, 3, 20))
        groups.append(events[at : at + size])
        at += size
    return groups


def a_days_engine(store: WritableStore, clock: StoppedClock, ids: CountingIds) -> Engine:
    """The small city with its panel, and reporters about whom something is known."""
    builders.town(store, clock)
    with store.write() as tx:
        tx.put(panel(), History("actual/mall-panel", confirmed=3), History("actual/weather", refuted=9))
    return Engine(store, ids, (storm_playbook(), fire_playbook(standing=standing_order())), rules=RULES)


def left_by(store: WritableStore, clock: StoppedClock, groups: Sequence[Sequence[Event]]) -> list[Any]:
    """Every row, every signal's incident and every line of the log."""
    engine = a_days_engine(store, clock, CountingIds())
    told = Outcome()
    for group in groups:
        outcome = engine.handle(group)
        told.created += outcome.created
        told.incidents += outcome.incidents
        told.repeated += outcome.repeated
    with store.read() as read:
        rows = [read.find(kind, ALL) for kind in KINDS]
        signals = [(s, read.signal_incident(s.key)) for s in read.signals_since(0, "", 10_000)]
        log = [(line.kind, line.subject, line.body) for line in read.log_of(None)]
    return [*rows, signals, log, told]
