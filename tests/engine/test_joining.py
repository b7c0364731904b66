"""Near or not: which signals make one incident, by the rules of their hazard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.nearness import points_near
from services.dispatcher.domain.playbook import Corroboration
from services.dispatcher.domain.rules import Areas, JoinRule, Rules
from services.dispatcher.domain.signals import Evidence, Place, Signal
from services.dispatcher.domain.spots import Spot, lock_cells, look_cells
from services.dispatcher.engine.engine import Engine
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
    Town,
    fire_playbook,
    fire_signal,
    storm_playbook,
    storm_signal,
)

MALL_LAT, MALL_LON = 389_200_000, 1_216_000_000
KM = 90_000
OVERLAP = Rules(joining_default=JoinRule(areas=Areas.OVERLAP))


def town_by(rules: Rules, *playbooks: Any) -> Town:
    plain = builders.town()
    books = playbooks or (storm_playbook(), fire_playbook(venue_kinds=None))
    return replace(plain, engine=Engine(plain.store, CountingIds(), books, rules=rules))


def caller(key: str = "call", **changes: Any) -> Signal:
    """A resident reports a fire near the mall, by position."""
    plain: dict[str, Any] = {"reporter": "hotline", "device": key, "evidence": Evidence.PERSON}
    place = Place(shapes=(Circle(MALL_LAT + KM // 2, MALL_LON, 100),))
    return fire_signal(key, **{**plain, "place": place, **changes})


def together(town: Town, *signals: Signal) -> bool:
    return len({town.signal(signal) for signal in signals}) == 1


@pytest.mark.parametrize(("distance_m", "one"), [(3_000, True), (2_000, False)])
def test_venues_join_within_the_distance_of_their_hazard(distance_m: int, one: bool) -> None:
    town = town_by(Rules(joining={"fire": JoinRule(distance_m=distance_m)}))
    assert together(town, fire_signal(), fire_signal("square", place=Place(venue=SQUARE), reporter="other")) is one


def test_without_a_playbook_the_rule_says_for_how_long() -> None:
    town = town_by(Rules(joining={"gas": JoinRule(within_s=60)}))
    gas = fire_signal(hazard="gas")
    late = replace(gas, key="late", received_us=gas.received_us + 60 * SECOND_US)
    too_late = replace(gas, key="too late", received_us=late.received_us + 60 * SECOND_US + 1)
    assert together(town, gas, late)
    assert not together(town, replace(late, key="same minute"), too_late)


@pytest.mark.parametrize(
    ("rules", "one"), [(Rules(), False), (OVERLAP, True)], ids=["a code in common", "one holds the other"]
)
def test_areas_join_by_a_code_in_common_or_when_one_holds_the_other(rules: Rules, one: bool) -> None:
    street, district = Place(areas=(STREET,)), Place(areas=(DISTRICT,))
    for first, second in ((street, district), (district, street)):
        signals = storm_signal(place=first), storm_signal("other", place=second, reporter="other")
        assert together(town_by(rules), *signals) is one


def test_areas_side_by_side_never_join() -> None:
    for rules in (Rules(), OVERLAP):
        signals = storm_signal(place=Place(areas=(STREET,))), storm_signal("x", place=Place(areas=(OTHER_STREET,)))
        assert not together(town_by(rules), *signals)


def test_shapes_join_when_they_come_within_the_distance() -> None:
    ring = Polygon(((MALL_LAT, MALL_LON), (MALL_LAT, MALL_LON + KM), (MALL_LAT + KM, MALL_LON)))
    near, far = Circle(MALL_LAT - KM, MALL_LON, 100), Circle(MALL_LAT - 3 * KM, MALL_LON, 100)
    town = town_by(Rules())
    shapes: tuple[Shape, ...] = (ring, near, far)
    drawn = [storm_signal(f"s-{n}", place=Place(shapes=(shape,))) for n, shape in enumerate(shapes)]
    first, second, third = (town.signal(signal) for signal in drawn)
    assert (second == first, third == first) == (True, False)


@pytest.mark.parametrize("wide_first", [True, False])
def test_a_shape_as_wide_as_a_province_meets_the_small_ones_in_it(wide_first: bool) -> None:
    wide = storm_signal("wide", place=Place(shapes=(Circle(MALL_LAT, MALL_LON, 200_000),)))
    small = storm_signal("small", place=Place(shapes=(Circle(MALL_LAT + 20 * KM, MALL_LON, 300),)), reporter="other")
    assert together(town_by(Rules()), *((wide, small) if wide_first else (small, wide)))


def test_an_area_with_a_shape_is_found_by_either() -> None:
    both = storm_signal(place=Place(areas=(STREET,), shapes=(Circle(MALL_LAT, MALL_LON, 300),)))
    by_area = storm_signal("area", place=Place(areas=(STREET,)), reporter="other")
    by_shape = storm_signal("shape", place=Place(shapes=(Circle(MALL_LAT, MALL_LON, 200),)), reporter="third")
    assert together(town_by(Rules()), both, by_area, by_shape)


def test_a_residents_call_near_the_mall_joins_its_fire_and_a_far_one_does_not() -> None:
    by_word = fire_playbook(venue_kinds=None, corroborated_by=(Corroboration.PERSON,))
    town = town_by(Rules(), by_word)
    fire = town.signal(fire_signal())
    assert town.signal(caller()) == fire
    assert town.incident(fire).level == 2
    assert town.incident(fire).place == Place(venue=MALL)
    assert town.signal(caller("far", place=Place(shapes=(Circle(MALL_LAT + 3 * KM, MALL_LON, 100),)))) != fire


def test_a_wide_shape_never_disappears_in_a_venue() -> None:
    town = town_by(Rules())
    fire = town.signal(fire_signal())
    assert town.signal(caller(place=Place(shapes=(Circle(MALL_LAT, MALL_LON, 2_000),)))) != fire


def test_nothing_joins_the_venue_of_a_standing_order_from_elsewhere() -> None:
    standing = fire_playbook(standing=builders.standing_order())
    town = town_by(Rules(), standing)
    fire = town.signal(fire_signal())
    assert town.signal(caller()) != fire


def test_a_venue_joins_the_area_or_shape_that_holds_it_where_the_rule_says_so() -> None:
    for place in (Place(areas=(DISTRICT,)), Place(shapes=(Circle(MALL_LAT, MALL_LON, 500),))):
        sensor = storm_signal("water", place=Place(venue=MALL), reporter="sensor", evidence=Evidence.DETECTOR)
        assert together(town_by(OVERLAP), storm_signal(place=place), sensor)
        assert not together(town_by(Rules()), storm_signal(place=place), sensor)


def test_an_incident_of_very_many_areas_is_still_found() -> None:
    town = town_by(Rules())
    many = [builders.area(f"2102020{n:02}000", DISTRICT) for n in range(20, 90)]
    town.rebuild(*many)
    codes = tuple(row.code for row in many)
    assert together(town, storm_signal(place=Place(areas=codes)), storm_signal("x", place=Place(areas=codes[:1])))


POSITIONS = st.tuples(st.integers(-3 * KM, 3 * KM), st.integers(-3 * KM, 3 * KM))


@given(POSITIONS, POSITIONS, st.sampled_from([0, 500, 1_000, 3_000]), st.booleans(), st.booleans())
def test_two_points_that_look_for_each_other_always_hold_a_lock_in_common(
    one: tuple[int, int], other: tuple[int, int], distance_m: int, first_is_venue: bool, second_is_venue: bool
) -> None:
    rules = Rules(joining_default=JoinRule(distance_m=distance_m))

    def spot(at: tuple[int, int], is_venue: bool) -> Spot:
        lat_e7, lon_e7 = MALL_LAT + at[0], MALL_LON + at[1]
        if is_venue:
            return Spot(Place(venue="v"), "v", CITY, (CITY,), lat_e7, lon_e7)
        return Spot(Place(shapes=(Circle(lat_e7, lon_e7, 50),)), None, CITY, (CITY,))

    a, b = spot(one, first_is_venue), spot(other, second_is_venue)
    if points_near(MALL_LAT + one[0], MALL_LON + one[1], MALL_LAT + other[0], MALL_LON + other[1], distance_m):
        assert set(lock_cells(a, rules, "fire")) & set(lock_cells(b, rules, "fire"))
    assert len(lock_cells(a, rules, "fire")) <= 20
    assert look_cells(a, rules, "fire")
