"""A city-wide red mutes the blue beneath it, and lets it be heard again when it ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Phase
from devices.protocols.selector import Circle
from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.playbook import Corroboration
from services.dispatcher.domain.rules import InhibitionRule, Rules
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import IncidentClosed, SignalArrived
from services.dispatcher.engine.ports import Page
from tests import builders
from tests.builders import (
    CITY,
    MALL,
    OTHER_STREET,
    STREET,
    CountingIds,
    StoppedClock,
    Town,
    fire_playbook,
    storm_playbook,
    storm_signal,
)

RULE = InhibitionRule(level=1, mutes_levels=(4,))
HOLD_S = RULE.hold_s


def town_with(*rules: InhibitionRule, clock: StoppedClock | None = None) -> Town:
    """The small town where blue storms have a playbook of their own, and these rules of muting."""
    clock = clock or StoppedClock()
    plain = builders.town(clock=clock)
    blue = storm_playbook(id="storm-blue", claimed_levels=(4,), level_suspected=4, level_corroborated=4)
    red = storm_playbook(claimed_levels=(1,))
    fire = fire_playbook(level_suspected=4, level_corroborated=4)
    engine = Engine(plain.store, CountingIds(), (red, blue, fire), rules=Rules(inhibition=rules or (RULE,)))
    return replace(plain, engine=engine)


@pytest.fixture
def town() -> Town:
    return town_with()


def red(key: str = "red", **changes: Any) -> Signal:
    return storm_signal(key, **{"place": Place(areas=(CITY,)), **changes})


def blue(key: str = "blue", **changes: Any) -> Signal:
    plain: dict[str, Any] = {"reporter": "street", "device": "street", "claimed_level": 4, "headline": "蓝色"}
    return storm_signal(key, **{**plain, "place": Place(areas=(STREET,)), **changes})


def states(town: Town, id: str) -> tuple[str, IncidentState, bool, str]:
    """What mutes it, its state, whether somebody is asked, and what became of its alert."""
    i = town.incident(id)
    asked = bool(i.task) and town.get(Task, i.task).state == "asked"
    return i.inhibited_by, i.state, asked, str(town.alert(id).state) if i.alert else ""


def test_a_blue_under_a_standing_red_is_kept_and_shown_and_asks_and_drafts_nothing(town: Town) -> None:
    greater = town.signal(red())
    lesser = town.signal(blue())
    assert lesser != greater
    assert states(town, lesser) == (greater, IncidentState.SUSPECTED, False, "")
    assert town.kinds(lesser) == ["incident.opened", "incident.inhibited", "incident.signal"]
    assert town.incident(lesser).inhibited_why == (
        "a rainstorm of level 1 stands for the whole of its area: 暴雨红色预警"
    )


def test_a_red_that_comes_later_mutes_what_is_asked_and_drafted_already(town: Town) -> None:
    lesser = town.signal(blue())
    assert states(town, lesser) == ("", IncidentState.VERIFYING, True, "draft")
    greater = town.signal(red())
    assert states(town, lesser) == (greater, IncidentState.SUSPECTED, False, "held")


def test_when_the_red_closes_what_was_put_off_is_done(town: Town) -> None:
    greater = town.signal(red())
    lesser = town.signal(blue())
    town.engine.handle([IncidentClosed(greater, "li", "over")])
    assert states(town, lesser) == ("", IncidentState.VERIFYING, True, "draft")
    assert "incident.uninhibited" in town.kinds(lesser)


@pytest.mark.parametrize("ending", ["refuted", "taken back", "all clear"])
def test_whatever_ends_the_red_lets_the_blue_be_heard(town: Town, ending: str) -> None:
    greater = town.signal(red())
    lesser = town.signal(blue())
    if ending == "refuted":
        town.answer(greater, Verdict.REFUTE)
    elif ending == "taken back":
        town.engine.handle([SignalArrived(red("back", kind=SignalKind.CANCEL, references=("red",)))])
    else:
        alert = town.release(town.alert(greater).id, "li", "zhao")
        town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "li")
    assert states(town, lesser)[:3] == ("", IncidentState.VERIFYING, True)


def test_a_red_that_nobody_speaks_of_any_more_mutes_no_longer_than_its_rule_says() -> None:
    clock = StoppedClock()
    town = town_with(clock=clock)
    greater = town.signal(red())
    lesser = town.signal(blue())
    clock.advance(HOLD_S)
    town.pass_timers()
    assert town.incident(lesser).inhibited_by == greater
    clock.advance(1)
    town.pass_timers()
    assert states(town, lesser)[:3] == ("", IncidentState.VERIFYING, True)


def test_a_fresh_word_about_the_red_keeps_the_blue_muted() -> None:
    clock = StoppedClock()
    town = town_with(clock=clock)
    greater = town.signal(red())
    lesser = town.signal(blue())
    clock.advance(HOLD_S - 10)
    town.signal(red("again", kind=SignalKind.UPDATE, references=("red",), received_us=clock.now_us()))
    clock.advance(20)
    town.pass_timers()
    assert town.incident(lesser).inhibited_by == greater


@pytest.mark.parametrize(
    "changes",
    [
        {"use": Use.EXERCISE},
        {"hazard": "typhoon"},
        {"claimed_level": 1, "reporter": "other", "place": Place(areas=(OTHER_STREET,))},
        {"hazard": "fire", "evidence": Evidence.DETECTOR, "place": Place(venue=MALL)},
        {"hazard": "fire"},
    ],
    ids=["a drill", "another hazard", "as grave", "a fire at a venue", "any fire"],
)
def test_what_is_never_muted(town: Town, changes: dict[str, Any]) -> None:
    town.signal(red())
    lesser = town.signal(blue(**changes))
    assert town.incident(lesser).inhibited_by == ""
    assert town.incident(lesser).task


def test_a_blue_outside_the_reds_area_is_heard(town: Town) -> None:
    town.signal(red(place=Place(areas=(OTHER_STREET,))))
    assert town.incident(town.signal(blue())).inhibited_by == ""


def test_a_shape_is_muted_only_by_the_whole_city(town: Town) -> None:
    drawn = Place(shapes=(Circle(389_000_000, 1_216_000_000, 500),))
    town.signal(red(place=Place(areas=(STREET, OTHER_STREET))))
    assert town.incident(town.signal(blue(place=drawn))).inhibited_by == ""
    whole = town.signal(red("all", reporter="flood", device="flood", received_us=builders.NOON_US + 1))
    lesser = town.signal(blue("blue-2", place=replace(drawn, shapes=(Circle(391_000_000, 1_216_000_000, 500),))))
    assert town.incident(lesser).inhibited_by == whole


def test_a_blue_that_grows_graver_is_heard_at_once(town: Town) -> None:
    town.signal(red())
    lesser = town.signal(blue())
    guard = blue("graver", reporter="bureau", device="bureau", claimed_level=2)
    town.signal(replace(guard, kind=SignalKind.UPDATE))
    assert town.incident(lesser).level == 2
    assert states(town, lesser)[:3] == ("", IncidentState.VERIFYING, True)


def test_a_person_who_confirms_a_muted_incident_all_the_same_is_heard(town: Town) -> None:
    lesser = town.signal(blue())
    confirmed = town.answer(lesser, Verdict.CONFIRM)
    assert confirmed.state is IncidentState.CONFIRMED
    town.signal(red())
    assert states(town, lesser)[0] == ""
    assert town.alert(lesser).state == "draft"


def test_what_is_on_air_is_not_muted(town: Town) -> None:
    lesser = town.signal(blue())
    town.release(town.alert(lesser).id, "li")
    town.signal(red())
    assert states(town, lesser)[0] == ""


def test_a_rule_by_name_mutes_another_hazard_at_a_venue() -> None:
    by_name = InhibitionRule(1, (4,), hazards=("rainstorm",), mutes_hazards=("fire",), venues=True)
    town = town_with(by_name)
    greater = town.signal(red())
    lesser = town.signal(builders.fire_signal())
    assert town.incident(lesser).inhibited_by == greater


def test_another_red_takes_over_when_the_first_ends(town: Town) -> None:
    first = town.signal(red())
    lesser = town.signal(blue())
    far = red("other", reporter="flood", device="flood", received_us=builders.NOON_US + 3_601 * builders.SECOND_US)
    second = town.signal(far)
    assert second != first
    town.engine.handle([IncidentClosed(first, "li", "over")])
    assert town.incident(lesser).inhibited_by == second


def test_closing_a_muted_incident_leaves_nothing_behind(town: Town) -> None:
    greater = town.signal(red())
    lesser = town.signal(blue())
    town.engine.handle([IncidentClosed(lesser, "li", "over")])
    town.engine.handle([IncidentClosed(greater, "li", "over")])
    assert states(town, lesser)[:2] == ("", IncidentState.CLOSED)
    with town.store.read() as read:
        assert len(read.find(Incident, Page())) == 2


def test_no_standing_order_acts_while_muted() -> None:
    by_name = InhibitionRule(1, (4,), mutes_hazards=("fire",), venues=True)
    plain = town_with(by_name)
    standing = builders.standing_order(Corroboration.TWO_DETECTORS)
    fire = fire_playbook(level_suspected=4, level_corroborated=4, standing=standing)
    red_book = storm_playbook(claimed_levels=(1,))
    engine = Engine(plain.store, CountingIds(), (red_book, fire), rules=Rules(inhibition=(by_name,)))
    town = replace(plain, engine=engine)
    with town.store.write() as tx:
        tx.put(builders.panel())
    town.signal(red())
    lesser = town.signal(builders.fire_signal())
    town.signal(builders.fire_signal("panel/mall/2", device="smoke-2"))
    assert town.incident(lesser).alerted is False
