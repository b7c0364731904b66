"""Many events in one transaction leave what each of them alone would have left, on every store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.risk import History
from services.dispatcher.domain.rules import Rules
from services.dispatcher.domain.signals import Evidence, Panel, Place, Signal, SignalKind, Use
from services.dispatcher.domain.silences import Silence, SilencedWord
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, MaintenanceChanged, SignalArrived, SilenceMade
from services.dispatcher.engine.ports import Footprint, Outcome, Page, Store, Withdrawal
from services.dispatcher.processes.cli_migrate import upgrade
from tests import builders
from tests.builders import (
    MALL,
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    STREET,
    CountingIds,
    StoppedClock,
    Town,
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


def any_signal(random: Random, number: int) -> Signal:
    """A fire or a warning; keys, references and devices come again and again."""
    use = random.choice((Use.ACTUAL, Use.ACTUAL, Use.EXERCISE))
    if random.random() < 0.6:
        return fire_signal(
            f"gb26875/mall-panel/{random.randrange(30)}",
            use=use,
            device=f"smoke-{random.randrange(4)}",
            evidence=random.choice((Evidence.DETECTOR, Evidence.DETECTOR, Evidence.CALL_POINT, Evidence.FAULT)),
            test_bit=random.random() < 0.2,
            observed_us=NOON_US + number,
        )
    kind = random.choice((SignalKind.ALERT, SignalKind.ALERT, SignalKind.UPDATE, SignalKind.CANCEL))
    return storm_signal(
        f"cap/weather/bureau,a{random.randrange(8)},{random.randrange(3)}",
        use=use,
        kind=kind,
        references=(f"cap/weather/bureau,a{random.randrange(8)},1",) if kind is not SignalKind.ALERT else (),
        place=Place(areas=(random.choice((STREET, OTHER_STREET)),)),
        observed_us=NOON_US + number,
    )


def any_event(random: Random, number: int) -> Event:
    if random.random() < 0.1:
        until_us = random.choice((None, NOON_US + 600 * SECOND_US))
        return MaintenanceChanged(Panel, "mall-panel", "chen", "a test of the detectors", until_us)
    if random.random() < 0.05:
        device, until_us = f"smoke-{random.randrange(4)}", NOON_US + 600 * SECOND_US
        return SilenceMade(Silence("", Use.ACTUAL, "chen", "it is being repaired", 0, until_us, "mall-panel", device))
    return SignalArrived(any_signal(random, number))


def left_by(store: Store, clock: StoppedClock, groups: Sequence[Sequence[Event]]) -> list[Any]:
    """Every row, every signal's incident and every line of the log."""
    town: Town = builders.town(store, clock)
    with store.write() as tx:
        tx.put(panel(), History("actual/mall-panel", confirmed=3), History("actual/weather", refuted=9))
    playbooks = (storm_playbook(), fire_playbook(standing=standing_order()))
    engine = Engine(store, CountingIds(), playbooks, rules=RULES)
    told = Outcome()
    for group in groups:
        outcome = engine.handle(group)
        told.created += outcome.created
        told.incidents += outcome.incidents
        told.repeated += outcome.repeated
    with town.store.read() as read:
        rows = [[replace(row, version=0) if hasattr(row, "version") and kind is not Panel else row
                 for row in read.find(kind, ALL)] for kind in KINDS]  # fmt: skip
        signals = [(s, read.signal_incident(s.key)) for s in read.signals_since(0, "", 10_000)]
        log = [(line.kind, line.subject, line.body) for line in read.log_of(None)]
    return [*rows, signals, log, told]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_group_leaves_what_its_events_leave_one_by_one(kind: str, seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    events = [any_event(random, number) for number in range(EVENTS)]
    groups, at = [], 0
    while at < len(events):
        size = random.choice((1, 3, 20))
        groups.append(events[at : at + size])
        at += size

    def store(name: str) -> tuple[Store, StoppedClock]:
        clock = StoppedClock()
        if kind == "memory":
            return MemoryStore(clock), clock
        url = f"sqlite:///{tmp_path / name}.db"
        upgrade(url)
        return SqlStore(url, clock), clock

    alone = left_by(*store("alone"), [[event] for event in events])
    together = left_by(*store("together"), groups)
    assert alone[0], "nothing was opened"
    for one, other in zip(alone, together, strict=True):
        assert one == other


def test_a_word_silenced_in_a_group_is_heard_with_a_second_one_in_it() -> None:
    silence = Silence("", Use.ACTUAL, "chen", "it is being repaired", 0, NOON_US + 600 * SECOND_US, device="smoke-1")
    events: list[Event] = [
        SignalArrived(fire_signal("gb26875/0", use=Use.EXERCISE)),
        SilenceMade(silence),
        SignalArrived(fire_signal("gb26875/1", device="smoke-1")),
        SignalArrived(fire_signal("gb26875/2", device="smoke-2")),
    ]
    clock = StoppedClock()
    rows, *_ = left_by(MemoryStore(clock), clock, [events])
    assert [len(incident.witnesses) for incident in rows if incident.use is Use.ACTUAL] == [2]


def test_a_reporters_history_in_drills_is_not_its_history_in_earnest(tmp_path: Path) -> None:
    clock = StoppedClock()
    town = builders.town(MemoryStore(clock), clock)
    with town.store.write() as tx:
        tx.put(History("actual/mall-panel", confirmed=3))
    fires = [fire_signal("gb26875/1"), fire_signal("gb26875/2", use=Use.EXERCISE, place=Place(venue=MALL))]
    actual, drill = town.engine.handle([SignalArrived(fire) for fire in fires]).incidents
    assert "this reporter: 3 confirmed, 0 refuted of 3" in town.incident(actual).reasons
    assert not any("confirmed" in reason for reason in town.incident(drill).reasons)
