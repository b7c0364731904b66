"""Many events in one transaction leave what each of them alone would have left, on every store."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.risk import History
from services.dispatcher.domain.signals import Place, Use
from services.dispatcher.domain.silences import Silence
from services.dispatcher.engine.events import Event, SignalArrived, SilenceMade
from services.dispatcher.engine.writing import WritableStore
from services.dispatcher.processes.cli_migrate import upgrade
from tests import builders
from tests.builders import MALL, NOON_US, SECOND_US, StoppedClock, fire_signal
from tests.engine.groups import any_events, in_groups, left_by


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_a_group_leaves_what_its_events_leave_one_by_one(kind: str, seed: int, tmp_path: Path) -> None:
    random = Random(seed)
    events = any_events(random)
    groups = in_groups(random, events)

    def store(name: str) -> tuple[WritableStore, StoppedClock]:
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
