"""Silences: what they keep quiet, what they never may, and that nothing silenced is lost."""

from __future__ import annotations

from typing import Any

import pytest

from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.refusals import NotFound, WrongState
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.domain.silences import ACTIVE_MAX, Silence, SilenceRefused, TooManySilences
from services.dispatcher.engine.events import SignalArrived, SilenceEnded, SilenceMade, TimerDue
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import TimerRow
from services.dispatcher.engine.signals.corrections import PASSED_LOGGED_MAX
from tests import builders
from tests.builders import (
    MALL,
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    STREET,
    StoppedClock,
    Town,
    fire_playbook,
    fire_signal,
    panel,
    standing_order,
    storm_playbook,
    storm_signal,
)

HOUR_US = 3_600 * SECOND_US


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def town(clock: StoppedClock) -> Town:
    return builders.town(clock=clock)


def silence(town: Town, **changes: Any) -> str:
    """Somebody silences for an hour; its id."""
    asked: dict[str, Any] = {"until_us": town.clock.now_us() + HOUR_US, **changes}
    made = Silence("", Use.ACTUAL, "li", "巡检", 0, **asked)
    (id,) = town.engine.handle([SilenceMade(made)]).created
    return id


def incidents(town: Town) -> list[Incident]:
    with town.store.read() as read:
        return read.find(Incident, Page())


def arrives(town: Town, *signals: Signal) -> list[str]:
    return town.engine.handle([SignalArrived(s) for s in signals]).incidents


def counts(town: Town, id: str) -> tuple[int, int]:
    """How many it kept quiet, and how many were heard all the same."""
    row = town.get(Silence, id)
    return row.count, row.passed


def second(**changes: Any) -> Signal:
    return fire_signal("panel/mall/2", **{"device": "smoke-2", **changes})


@pytest.mark.parametrize(
    "matcher",
    [{"reporter": "weather"}, {"device": "bureau"}, {"hazard": "rainstorm"}, {"area": builders.DISTRICT}],
    ids=lambda matcher: next(iter(matcher)),
)
def test_a_silenced_signal_is_stored_and_counted_and_opens_nothing(town: Town, matcher: dict[str, str]) -> None:
    id = silence(town, **matcher)
    assert arrives(town, storm_signal(claimed_level=3)) == []
    assert (incidents(town), counts(town, id)) == ([], (1, 0))
    with town.store.read() as read:
        assert read.signal_incident("cap/weather/1") == ""


@pytest.mark.parametrize(
    "matcher",
    [
        {"reporter": "other"},
        {"reporter": "weather", "device": "other"},
        {"hazard": "typhoon"},
        {"area": OTHER_STREET},
    ],
)
def test_every_matcher_must_fit(town: Town, matcher: dict[str, str]) -> None:
    silence(town, **matcher)
    assert len(arrives(town, storm_signal(claimed_level=3, place=Place(areas=(STREET,))))) == 1


def test_a_silenced_signal_of_an_open_incident_shows_there_and_changes_nothing(town: Town) -> None:
    incident = town.signal(storm_signal(claimed_level=3))
    before = town.incident(incident)
    silence(town, reporter="weather")
    arrives(town, storm_signal("cap/weather/2", claimed_level=2, device="other"))
    now = town.incident(incident)
    assert (now.silenced, now.signal_count, now.witnesses) == (1, 2, before.witnesses)
    assert town.kinds(incident)[-1] == "incident.silenced"


def test_a_silenced_signal_is_no_last_word_about_an_incident(town: Town) -> None:
    incident = town.signal(storm_signal(claimed_level=3))
    silence(town, reporter="weather")
    arrives(town, storm_signal("cap/weather/2", claimed_level=2, received_us=NOON_US + SECOND_US))
    assert town.incident(incident).last_signal_us == NOON_US


@pytest.mark.parametrize(
    "signal",
    [
        fire_signal(evidence=Evidence.CALL_POINT),
        fire_signal(evidence=Evidence.PERSON),
        fire_signal(claimed_level=1),
        storm_signal(),
    ],
    ids=["call point", "a person's word of fire", "red", "the bureau's red"],
)
def test_what_no_silence_covers_is_heard_and_said(town: Town, signal: Signal) -> None:
    id = silence(town, reporter=signal.reporter)
    assert len(arrives(town, signal)) == 1
    assert counts(town, id) == (0, 1)
    assert town.kinds(id) == ["silence.made", "silence.passed"]


def test_a_storm_that_no_silence_covers_is_counted_and_does_not_fill_the_log(town: Town) -> None:
    id = silence(town, hazard="fire")
    arrives(town, *(fire_signal(f"panel/mall/{n}", evidence=Evidence.CALL_POINT) for n in range(200)))
    assert (counts(town, id), town.kinds(id).count("silence.passed")) == ((0, 200), PASSED_LOGGED_MAX)


def test_a_cancel_is_never_silenced(town: Town) -> None:
    incident = town.signal(storm_signal())
    silence(town, reporter="weather")
    arrives(town, storm_signal("c", kind=SignalKind.CANCEL, references=("cap/weather/1",)))
    assert town.incident(incident).held


def test_a_silenced_detector_that_another_one_corroborates_is_heard(town: Town) -> None:
    incident = town.signal(fire_signal())
    id = silence(town, device="smoke-2")
    assert arrives(town, second()) == [incident]
    assert (town.incident(incident).level, counts(town, id)) == (2, (0, 1))


def test_a_silenced_detector_is_heard_with_one_that_joins_an_incident_which_was_open_before(town: Town) -> None:
    incident = town.signal(fire_signal("panel/mall/0", device="1-1", evidence=Evidence.PANEL))
    silence(town, device="smoke-1")
    arrives(town, fire_signal())
    assert town.incident(incident).level == 3
    arrives(town, second())
    assert (town.incident(incident).level, len(town.incident(incident).witnesses)) == (2, 3)
    assert town.kinds(incident).count("incident.silence_broken") == 1


def test_a_silenced_detector_that_takes_its_word_back_is_no_second_witness(town: Town) -> None:
    silence(town, device="smoke-1")
    arrives(town, fire_signal())
    arrives(town, fire_signal("panel/mall/9", kind=SignalKind.CANCEL))
    (incident,) = arrives(town, second())
    assert (town.incident(incident).level, len(town.incident(incident).witnesses)) == (3, 1)


def test_a_fire_bit_is_heard_from_a_second_device_though_the_first_was_silenced(town: Town) -> None:
    silence(town, device="smoke-1")
    assert arrives(town, fire_signal()) == []
    (incident, *_) = arrives(town, second())
    assert town.incident(incident).level == 2
    assert {w.device for w in town.incident(incident).witnesses} == {"smoke-1", "smoke-2"}
    assert "incident.silence_broken" in town.kinds(incident)


def test_what_was_silenced_counts_for_a_second_device_also_when_the_silence_is_over(
    town: Town, clock: StoppedClock
) -> None:
    silence(town, device="smoke-1", until_us=clock.now_us() + 60 * SECOND_US)
    arrives(town, fire_signal())
    clock.advance(61)
    town.pass_timers()
    (incident, *_) = arrives(town, second(received_us=clock.now_us()))
    assert town.incident(incident).level == 2


def test_two_silenced_detectors_of_one_place_break_the_silence_together(town: Town) -> None:
    id = silence(town, reporter="mall-panel")
    assert arrives(town, fire_signal(), fire_signal("again")) == []
    (incident, *_) = arrives(town, second())
    assert (town.incident(incident).level, counts(town, id)) == (2, (2, 1))


def test_a_panel_that_may_repeat_its_detector_breaks_no_silence(town: Town) -> None:
    silence(town, reporter="mall-panel")
    assert arrives(town, fire_signal(), second(evidence=Evidence.PANEL)) == []


def test_what_was_silenced_long_ago_corroborates_nothing(town: Town, clock: StoppedClock) -> None:
    silence(town, reporter="mall-panel", until_us=clock.now_us() + 20 * HOUR_US)
    arrives(town, fire_signal())
    clock.advance(2 * 3_600)
    assert arrives(town, second(received_us=clock.now_us())) == []


def test_a_silenced_device_never_acts_by_itself() -> None:
    playbook = fire_playbook(standing=standing_order())
    town = builders.town(playbooks=(storm_playbook(), playbook))
    with town.store.write() as tx:
        tx.put(panel())
    silence(town, device="smoke-1")
    arrives(town, fire_signal())
    (incident, *_) = arrives(town, second())
    assert (town.incident(incident).level, town.incident(incident).alerted) == (2, False)
    assert town.incident(incident).task


def test_a_silence_of_a_drill_covers_nothing_real(town: Town) -> None:
    made = Silence("", Use.EXERCISE, "li", "演练", 0, NOON_US + HOUR_US, reporter="mall-panel")
    (id,) = town.engine.handle([SilenceMade(made)]).created
    assert len(arrives(town, fire_signal())) == 1
    assert counts(town, id) == (0, 0)


def test_it_ends_by_its_timer_and_says_what_it_kept_quiet(town: Town, clock: StoppedClock) -> None:
    id = silence(town, hazard="rainstorm")
    arrives(town, storm_signal(claimed_level=3))
    clock.advance(3_600)
    town.pass_timers()
    row = town.get(Silence, id)
    assert (row.active, row.ended_by, row.ended_us) == (False, "", clock.now_us())
    assert town.whys(id, "silence.ended") == ["its time is over"]
    assert len(arrives(town, storm_signal("later", claimed_level=3, received_us=clock.now_us()))) == 1


def test_it_covers_nothing_past_its_end_though_its_timer_is_late(town: Town, clock: StoppedClock) -> None:
    silence(town, hazard="rainstorm")
    clock.advance(3_600)
    assert len(arrives(town, storm_signal(claimed_level=3, received_us=clock.now_us()))) == 1


def test_a_person_ends_it_early_once(town: Town) -> None:
    id = silence(town, hazard="rainstorm")
    town.engine.handle([SilenceEnded(id, "zhao", "巡检结束")])
    assert (town.get(Silence, id).active, town.get(Silence, id).ended_by) == (False, "zhao")
    assert len(arrives(town, storm_signal(claimed_level=3))) == 1
    with pytest.raises(WrongState):
        town.engine.handle([SilenceEnded(id, "zhao", "again")])
    with pytest.raises(NotFound):
        town.engine.handle([SilenceEnded("unknown", "zhao", "again")])
    town.engine.handle([TimerDue(TimerRow(Timer.SILENCE_END, id, 1, 2))])


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hazard": "fire", "until_us": NOON_US},
        {"hazard": "fire", "until_us": NOON_US + 24 * HOUR_US + 1},
        {"area": "999999999999"},
    ],
    ids=["nothing to match", "over already", "longer than a day", "no such area"],
)
def test_what_may_not_be_silenced(town: Town, changes: dict[str, Any]) -> None:
    with pytest.raises(SilenceRefused):
        silence(town, **changes)


def test_a_silence_needs_a_reason(town: Town) -> None:
    with pytest.raises(SilenceRefused):
        town.engine.handle([SilenceMade(Silence("", Use.ACTUAL, "li", " ", 0, NOON_US + 1, reporter="x"))])


def test_the_number_of_silences_is_bounded(town: Town) -> None:
    for number in range(ACTIVE_MAX):
        silence(town, device=f"smoke-{number}")
    with pytest.raises(TooManySilences):
        silence(town, device="one more")


def test_a_silenced_fire_at_one_venue_breaks_no_silence_at_another(town: Town) -> None:
    silence(town, hazard="fire")
    arrives(town, fire_signal())
    assert arrives(town, second(place=Place(venue=builders.SQUARE), reporter="square-panel")) == []
    assert MALL != builders.SQUARE
