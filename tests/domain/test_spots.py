from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.places import AreaTree
from services.dispatcher.domain.planning import City
from services.dispatcher.domain.rules import Rules
from services.dispatcher.domain.signals import Place
from services.dispatcher.domain.spots import Note, Spot, spot_of
from tests import builders
from tests.builders import CITY, DISTRICT, MALL, NOON_US, OTHER_STREET, SECOND_US, STREET, area, storm_signal

OLD, HEIR, LOST = "210202009000", "210202010000", "210202011000"
DAY_US = 86_400 * SECOND_US


def city(*more: Any) -> City:
    """The small city with a street renamed by code, one that is gone, and these rows more."""
    town = builders.town()
    plain = town.engine.read_city()
    areas = [
        *plain.tree.areas.values(),
        area(OLD, DISTRICT, name="老街", valid_to="2024-12-31"),
        area(HEIR, DISTRICT, name="老街", valid_from="2025-01-01"),
        area(LOST, DISTRICT, name="废街", valid_to="2024-12-31"),
        *more,
    ]
    return replace(plain, tree=AreaTree.of(areas))


def spot(place: Place, at: City | None = None, observed_us: int = NOON_US) -> Spot:
    return spot_of(storm_signal(place=place, observed_us=observed_us), at or city(), Rules())


def test_a_venue_gives_the_point_the_area_and_all_above_it() -> None:
    found = spot(Place(venue=MALL))
    assert (found.venue, found.area, found.line) == (MALL, OTHER_STREET, (CITY, DISTRICT, OTHER_STREET))
    assert (found.lat_e7, found.lon_e7, found.notes) == (389_200_000, 1_216_000_000, ())


def test_several_areas_have_their_office_where_they_meet() -> None:
    assert spot(Place(areas=(STREET, OTHER_STREET))).area == DISTRICT


def test_a_revoked_code_is_what_took_its_name() -> None:
    found = spot(Place(areas=(OLD,)))
    assert found.place.areas == (HEIR,)
    assert found.notes == (Note("incident.place_revoked", f"{OLD} 老街 does not stand; it is {HEIR} now"),)


def test_a_code_counts_by_the_day_that_the_report_is_about() -> None:
    assert spot(Place(areas=(OLD,)), observed_us=NOON_US - 365 * DAY_US).place.areas == (OLD,)
    assert spot(Place(areas=(HEIR,)), observed_us=NOON_US - 365 * DAY_US).place.areas == (OLD,)


def test_a_revoked_code_without_heir_is_the_place_that_holds_it() -> None:
    found = spot(Place(areas=(LOST,)))
    assert found.place.areas == (DISTRICT,)
    assert [note.kind for note in found.notes] == ["incident.place_revoked"]


def test_a_code_below_a_known_place_is_widened_to_it_and_said_so() -> None:
    found = spot(Place(areas=("210202001007",)))
    assert found.place.areas == (STREET,)
    assert [note.kind for note in found.notes] == ["incident.place_widened"]


def test_a_code_of_another_city_is_not_understood() -> None:
    found = spot(Place(areas=("110101001000", "210299000000")))
    assert (found.place.areas, found.area) == ((), CITY)
    assert found.not_understood == "110101001000, 210299000000"


def test_a_name_that_is_one_places_alone_counts_where_nothing_else_is_said() -> None:
    found = spot(Place(names=("区划02001",)))
    assert (found.place.areas, found.area, found.by_name) == ((STREET,), STREET, True)
    assert found.notes == (Note("incident.place_by_name", f"placed by its name alone: 区划02001 ({STREET})"),)
    assert spot(Place(names=(f"场所{MALL}",))).venue == MALL


def test_a_name_of_several_places_is_shown_and_none_is_chosen() -> None:
    twice = city(area("210202012000", DISTRICT, name="同名街"), area("210202013000", DISTRICT, name="同名街"))
    found = spot(Place(names=("同名街",)), twice)
    assert (found.place.areas, found.area, found.by_name) == ((), CITY, False)
    assert found.notes == (
        Note(
            "incident.place_ambiguous",
            "the name could be 同名街 (210202012000), 同名街 (210202013000); none was chosen",
        ),
    )


@pytest.mark.parametrize(
    "place",
    [
        Place(areas=(OTHER_STREET,), names=("区划02001",)),
        Place(shapes=(Circle(389_000_000, 1_216_000_000, 100),), names=("区划02001",)),
        Place(venue=MALL, names=("区划02001",)),
    ],
    ids=["an area", "a shape", "a venue"],
)
def test_a_name_never_adds_to_what_is_said_otherwise(place: Place) -> None:
    assert STREET not in spot(place).place.areas


def test_a_name_no_longer_in_force_is_no_place() -> None:
    assert spot(Place(names=("废街",))).place.areas == ()


def test_a_place_by_name_never_acts_by_itself() -> None:
    town = builders.town(playbooks=(builders.fire_playbook(venue_kinds=None, standing=builders.standing_order()),))
    with town.store.write() as tx:
        tx.put(builders.panel())
    named = Place(names=(f"场所{MALL}",))
    incident = town.signal(builders.fire_signal(place=named))
    town.signal(builders.fire_signal("panel/mall/2", device="smoke-2", place=named))
    assert (town.incident(incident).venue, town.incident(incident).alerted) == (MALL, False)
    assert "incident.place_by_name" in town.kinds(incident)
