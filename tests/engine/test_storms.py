"""Storms: thousands of related signals are one incident, few log lines, few drafts, and every signal is kept."""

from __future__ import annotations

from typing import Any

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.incident_decisions import REDRAFT_WAITS_US
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.joining import PLACE_SHAPES_MAX
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind
from services.dispatcher.engine.events import IncidentClosed, SignalArrived
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Footprint
from tests import builders
from tests.builders import MALL, SECOND_US, StoppedClock, Town, fire_signal, storm_signal

MANY = 400


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def town(clock: StoppedClock) -> Town:
    return builders.town(clock=clock)


def detector(number: int, **changes: Any) -> Signal:
    return fire_signal(f"panel/mall/{number}", **{"device": f"smoke-{number}", **changes})


def storm_of(town: Town, count: int = MANY) -> str:
    """That many detectors of one mall; the one incident they make."""
    done = town.engine.handle([SignalArrived(detector(n)) for n in range(count)])
    (incident,) = set(done.incidents)
    return incident


def test_a_storm_is_one_incident_with_every_signal_kept(town: Town) -> None:
    incident = storm_of(town)
    with town.store.read() as read:
        assert len(read.signals_of(incident, MANY + 1)) == MANY
    assert (town.incident(incident).signal_count, town.incident(incident).level) == (MANY, 2)


def test_after_so_many_in_a_minute_the_others_share_one_line(town: Town, clock: StoppedClock) -> None:
    incident = storm_of(town)
    logged = town.engine.rules.signals_a_minute_logged
    assert town.kinds(incident).count("incident.signal") == logged
    clock.advance(60)
    town.pass_timers()
    assert town.whys(incident, "incident.storm") == [f"{MANY - logged} further signals within a minute, {MANY} in all"]
    assert town.incident(incident).unlogged == 0


def test_the_line_of_a_minute_is_written_though_the_storm_has_ended_and_only_once(
    town: Town, clock: StoppedClock
) -> None:
    incident = storm_of(town, 21)
    clock.advance(3_600)
    town.pass_timers()
    town.pass_timers()
    assert town.kinds(incident).count("incident.storm") == 1


def test_the_next_minute_is_told_one_by_one_again(town: Town, clock: StoppedClock) -> None:
    incident = storm_of(town)
    clock.advance(61)
    before = town.kinds(incident).count("incident.signal")
    town.signal(detector(MANY))
    assert town.kinds(incident).count("incident.signal") == before + 1


def test_what_raises_the_level_in_a_storm_is_told_and_drafted_at_once(town: Town) -> None:
    town.engine.handle([SignalArrived(detector(n, device="smoke-0")) for n in range(100)])
    incident = town.signal(detector(100, device="smoke-1"))
    assert town.alert(incident).level == 2
    assert town.whys(incident, "incident.signal")[-1].startswith("2 witnesses: two different detectors")


def test_a_storm_opens_one_task_and_a_bounded_number_of_effects(town: Town) -> None:
    incident = storm_of(town)
    task = town.incident(incident).task
    with town.store.read() as read:
        lanes = {effect.lane for effect in read.open_effects()}
    assert f"office_task:{task}" in lanes
    assert sum(1 for lane in lanes if lane.startswith("office_task:")) == 1
    assert sum(1 for lane in lanes if lane.startswith("render_audio:")) <= 12


def test_many_new_places_make_one_new_draft(town: Town, clock: StoppedClock) -> None:
    shapes = [Circle(389_000_000 + n * 1_000, 1_216_000_000, 500 + n) for n in range(60)]
    signals = [
        storm_signal(f"hotline/{n}", device=f"caller-{n}", place=Place(shapes=(shape,)))
        for n, shape in enumerate(shapes)
    ]
    (incident,) = set(town.engine.handle([SignalArrived(s) for s in signals]).incidents)
    alert = town.incident(incident).alert
    logged = town.engine.rules.signals_a_minute_logged
    drafted = town.kinds(alert).count("broadcast.drafted")
    assert drafted <= logged
    clock.advance(REDRAFT_WAITS_US / SECOND_US)
    town.pass_timers()
    assert town.kinds(alert).count("broadcast.drafted") == drafted + 1
    assert town.alert(incident).selector.shapes == town.incident(incident).place.shapes
    assert len(town.incident(incident).place.shapes) == 60


def test_more_places_than_an_incident_holds_are_a_further_incident_and_nothing_is_lost(town: Town) -> None:
    shapes = [Circle(389_000_000 + n, 1_216_000_000, 500 + n) for n in range(PLACE_SHAPES_MAX + 10)]
    town.engine.handle(
        [SignalArrived(storm_signal(f"h/{n}", place=Place(shapes=(shape,)))) for n, shape in enumerate(shapes)]
    )
    with town.store.read() as read:
        found = read.find(Incident, Page())
    assert {shape for i in found for shape in i.place.shapes} == set(shapes)
    assert [len(i.place.shapes) for i in found] == [PLACE_SHAPES_MAX, 10]


def test_one_call_point_is_never_pushed_out_by_many_detectors(town: Town) -> None:
    incident = town.signal(detector(0, device="button", evidence=Evidence.CALL_POINT))
    town.engine.handle([SignalArrived(detector(n)) for n in range(1, 200)])
    assert "button" in {w.device for w in town.incident(incident).witnesses}


def test_a_storm_of_cancels_ends_with_nothing_standing(town: Town) -> None:
    incident = storm_of(town, 100)
    back = [
        detector(1_000 + n, kind=SignalKind.CANCEL, device=f"smoke-{n}", references=(f"panel/mall/{n}",))
        for n in range(100)
    ]
    town.engine.handle([SignalArrived(s) for s in back])
    assert (town.incident(incident).witnesses, town.incident(incident).held) == ((), True)


def test_an_incident_is_listed_where_it_is_and_a_closed_one_nowhere(town: Town) -> None:
    incident = storm_of(town, 2)
    with town.store.read() as read:
        cells = {f.cell for f in read.find(Footprint, Page(), incident=incident)}
        levels = {f.level for f in read.find(Footprint, Page(), incident=incident)}
    assert {f"venue/{MALL}", f"under/{builders.CITY}"} <= cells
    assert levels == {2}
    town.engine.handle([IncidentClosed(incident, "li", "over")])
    with town.store.read() as read:
        assert read.find(Footprint, Page()) == []
