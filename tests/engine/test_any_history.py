"""Any mixture of reports, updates, cancels, verdicts and silences: what holds of every incident, on every store."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState
from services.dispatcher.domain.incidents import Incident, Verdict
from services.dispatcher.domain.inhibition import inhibits
from services.dispatcher.domain.risk import may_draft
from services.dispatcher.domain.rules import Areas, InhibitionRule, JoinRule, Rules
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.domain.silences import Silence
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, IncidentClosed, SignalArrived, SilenceMade, TaskAnswered
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Footprint
from services.dispatcher.engine.writing import WritableStore
from services.dispatcher.processes.cli_migrate import upgrade
from tests import builders
from tests.builders import (
    CITY,
    DISTRICT,
    MALL,
    OTHER_STREET,
    SECOND_US,
    SQUARE,
    STREET,
    CountingIds,
    StoppedClock,
    Town,
    fire_playbook,
    fire_signal,
    storm_playbook,
    storm_signal,
)

STEPS = 60
KINDS: tuple[type[Any], ...] = (Incident, Task, Broadcast, Silence, Footprint)
ALL = Page(limit=10_000)
RULES = Rules(
    version="tried",
    joining={"rainstorm": JoinRule(areas=Areas.OVERLAP)},
    inhibition=(InhibitionRule(1, (3, 4)),),
    signals_a_minute_logged=5,
)
PLACES = (
    Place(areas=(CITY,)),
    Place(areas=(DISTRICT,)),
    Place(areas=(STREET,)),
    Place(areas=(STREET, OTHER_STREET)),
    Place(shapes=(Circle(389_000_000, 1_216_000_000, 400),)),
    Place(names=("区划02001",)),
    Place(),
)


def engine(store: WritableStore) -> Engine:
    levels = {
        n: storm_playbook(id=f"storm-{n}", claimed_levels=(n,), level_suspected=n, level_corroborated=n) for n in (1, 4)
    }
    return Engine(store, CountingIds(), (*levels.values(), fire_playbook(venue_kinds=None)), rules=RULES)


def a_signal(rng: Random, number: int, now_us: int, said: list[str]) -> Signal:
    """A storm warning or a detector, perhaps about something said before."""
    kind = rng.choice([SignalKind.ALERT] * 4 + [SignalKind.UPDATE, SignalKind.CANCEL, SignalKind.INFO])
    references = tuple(rng.sample(said, min(len(said), rng.randint(1, 2)))) if kind is not SignalKind.ALERT else ()
    reporter = rng.choice(["weather", "street"])
    plain = storm_signal if rng.random() < 0.6 else fire_signal
    return plain(
        f"cap/{reporter}/bureau,m{number},{number}",
        reporter=reporter,
        kind=kind,
        use=rng.choice([Use.ACTUAL] * 4 + [Use.EXERCISE]),
        evidence=rng.choice(list(Evidence)),
        place=rng.choice([*PLACES, Place(venue=MALL), Place(venue=SQUARE)]),
        device=rng.choice(["a", "b", "c"]),
        claimed_level=rng.choice([1, 4, None]),
        references=references,
        received_us=now_us,
        observed_us=now_us - rng.randint(0, 600) * SECOND_US,
    )


def an_event(rng: Random, number: int, town: Town, said: list[str]) -> Event | None:
    now_us = town.clock.now_us()
    with town.store.read() as read:
        tasks = read.find(Task, ALL, state=TaskState.ASKED)
        incidents = [i for i in read.find(Incident, ALL) if i.open]
    match rng.choice(["signal"] * 12 + ["verdict", "close", "silence"]):
        case "verdict" if tasks:
            task = rng.choice(tasks)
            return TaskAnswered(task.id, "chen", task.office, rng.choice(list(Verdict)))
        case "close" if incidents:
            return IncidentClosed(rng.choice(incidents).id, "li", "over")
        case "silence":
            asked = Silence("", Use.ACTUAL, "li", "巡检", 0, now_us + 60 * SECOND_US, device=rng.choice(["a", "b"]))
            return SilenceMade(asked)
    signal = a_signal(rng, number, now_us, said)
    said.append(signal.key)
    return SignalArrived(signal)


def lived(seed: int, store: WritableStore, clock: StoppedClock) -> Town:
    """A town after some minutes of anything."""
    rng, said = Random(seed), ["cap/weather/bureau,never,1"]
    plain = builders.town(store, clock)
    town = replace(plain, engine=engine(store))
    for number in range(STEPS):
        event = an_event(rng, number, town, said)
        if event is not None:
            town.engine.handle([event])
        clock.advance(rng.choice([0, 0, 1, 30, 400]))
        if rng.random() < 0.3:
            town.pass_timers()
        holds(town)
    return town


def holds(town: Town) -> None:
    """What is true of every incident after every step."""
    with town.store.read() as read:
        incidents = {i.id: i for i in read.find(Incident, ALL)}
        broadcasts = {b.id: b for b in read.find(Broadcast, ALL)}
        tasks = {t.id: t for t in read.find(Task, ALL)}
        listed = {f.incident for f in read.find(Footprint, ALL)}
    city = town.engine.read_city()
    assert listed == {i.id for i in incidents.values() if i.open}
    for i in incidents.values():
        alert = broadcasts.get(i.alert)
        drafted = alert is not None and alert.state is BroadcastState.DRAFT
        if i.inhibited_by:
            greater = incidents[i.inhibited_by]
            assert greater.use is i.use
            assert not drafted
            assert not i.task or tasks[i.task].state is not TaskState.ASKED
            assert not greater.open or inhibits(greater, i, RULES, city.tree, greater.last_signal_us)
        if drafted and i.witnesses:
            playbook = town.engine._playbooks[i.playbook]
            assert may_draft(i.witnesses, playbook, i.venue, i.state == "confirmed")
        assert not (drafted and i.held)


@pytest.mark.parametrize("seed", range(40))
def test_whatever_comes_no_promise_is_broken(seed: int) -> None:
    clock = StoppedClock()
    lived(seed, MemoryStore(clock), clock)


@pytest.mark.parametrize("seed", range(3))
def test_every_store_tells_the_same_story(seed: int, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    clock, other_clock = StoppedClock(), StoppedClock()
    on_disk = SqlStore(url, other_clock)
    towns = lived(seed, MemoryStore(clock), clock), lived(seed, on_disk, other_clock)
    stories = []
    for town in towns:
        with town.store.read() as read:
            rows = [row for kind in KINDS for row in read.find(kind, ALL)]
            lines = [(line.kind, line.subject, line.body) for line in read.log_of(None, 0, 100_000)]
            stories.append((rows, lines))
    assert stories[0] == stories[1]
    on_disk.close()
