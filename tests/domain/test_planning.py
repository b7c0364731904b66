from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.selector import Circle, Polygon, Selector
from services.dispatcher.domain.places import Area, AreaTree, OutOfService, Speaker, Venue, VenueKind
from services.dispatcher.domain.planning import City, Plan, make_plan
from services.dispatcher.domain.playbook import Playbook
from services.dispatcher.domain.refusals import NoTargets
from services.dispatcher.domain.signals import Place
from tests.builders import CITY, DISTRICT, MALL, OTHER_STREET, SQUARE, STREET, city_rows, fire_playbook, storm_playbook

Row = Speaker | Venue
FIRE, STORM = fire_playbook(), storm_playbook()
NORTH = 389_200_000
ROUND_THE_MALL = Circle(NORTH, 1_216_000_000, 500)
MANY_CORNERS = Polygon(tuple((NORTH + 10_000 * (n % 2), 1_215_900_000 + 2_000 * n) for n in range(102)))
ASKED: tuple[tuple[Playbook, str | None, Place], ...] = (
    (FIRE, MALL, Place(venue=MALL)),
    (FIRE, SQUARE, Place(venue=SQUARE)),
    (STORM, None, Place(areas=(STREET,))),
    (STORM, None, Place(areas=(DISTRICT,))),
    (STORM, None, Place(shapes=(ROUND_THE_MALL,))),
    (STORM, None, Place(shapes=(MANY_CORNERS,))),
    (STORM, MALL, Place(venue=MALL)),
)
"""Plans of every kind of place: a venue, areas, a shape, and one with more corners than the link carries."""


def city(*changed: Row) -> City:
    """The small city, with these rows instead of those of the same id."""
    rows = {getattr(row, "id", "") or row: row for row in city_rows()} | {row.id: row for row in changed}
    venues = [row for row in rows.values() if isinstance(row, Venue)]
    speakers = [row for row in rows.values() if isinstance(row, Speaker)]
    tree = AreaTree.of(row for row in rows.values() if isinstance(row, Area))
    return City(CITY, "city", 0, tree).with_rows(1, venues, speakers)


def plan(at: City, asked: tuple[Playbook, str | None, Place]) -> Plan | None:
    """The plan as it is made now, None where nobody would hear it."""
    try:
        return make_plan(*asked, at)
    except NoTargets:
        return None


def test_a_plan_of_a_venue_looks_at_the_speakers_there_and_at_nobody_else() -> None:
    before = city()
    made = make_plan(FIRE, MALL, Place(venue=MALL), before)
    assert (made.speakers, made.selector, made.stream_area) == (("mall-1",), Selector(venues=(MALL,)), OTHER_STREET)
    moved = replace(before.speakers["square-1"], lat_e7=1, enrolled=False)
    assert made.fits(FIRE, MALL, Place(venue=MALL), before.with_rows(2, [], [moved]))


def test_a_plan_outlives_a_speaker_that_is_out_of_service_and_its_newer_configs() -> None:
    before = city()
    plans = [make_plan(*asked, before) for asked in ASKED]
    out = [
        replace(s, out_of_service=OutOfService("wu", "water", 2**50), config_version=9, config_digest="x", volume_max=5)
        for s in before.speakers.values()
    ]
    after = before.with_rows(2, [], out)
    assert all(made.fits(*asked, after) for made, asked in zip(plans, ASKED, strict=True))


@pytest.mark.parametrize(
    "changed",
    [
        {"enrolled": False},
        {"venue": SQUARE},
        {"area": STREET},
        {"lat_e7": NORTH + 1},
    ],
    ids=str,
)
def test_a_plan_ends_with_what_it_says_of_a_speaker(changed: dict[str, object]) -> None:
    before = city()
    made = make_plan(FIRE, MALL, Place(venue=MALL), before)
    row = replace(before.speakers["mall-1"], **changed)  # type: ignore[arg-type]
    assert not made.fits(FIRE, MALL, Place(venue=MALL), before.with_rows(2, [], [row]))


def test_a_plan_ends_with_the_name_of_its_place_the_kind_of_its_venue_and_its_playbook() -> None:
    before = city()
    made = make_plan(FIRE, MALL, Place(venue=MALL), before)
    for row in (
        replace(before.venues[MALL], name="新天地"),
        replace(before.venues[MALL], kind=VenueKind.TRANSPORT_HUB),
    ):
        assert not made.fits(FIRE, MALL, Place(venue=MALL), before.with_rows(2, [row], []))
    assert not made.fits(replace(FIRE, version="v2"), MALL, Place(venue=MALL), before)


def test_a_new_speaker_joins_the_plans_of_its_venue_its_areas_and_its_shapes() -> None:
    before = city()
    plans = [make_plan(*asked, before) for asked in ASKED]
    after = before.with_rows(2, [], [replace(before.speakers["mall-1"], id="mall-2")])
    fits = [made.fits(*asked, after) for made, asked in zip(plans, ASKED, strict=True)]
    assert fits == [False, True, True, False, False, False, False]
    assert make_plan(*ASKED[0], after).speakers == ("mall-1", "mall-2")


ROWS: st.SearchStrategy[Row] = st.one_of(
    st.builds(
        Speaker,
        id=st.sampled_from(("square-1", "square-2", "mall-1", "mall-2")),
        venue=st.sampled_from((SQUARE, MALL)),
        area=st.sampled_from((STREET, OTHER_STREET)),
        name=st.just("终端"),
        lat_e7=st.sampled_from((NORTH, NORTH + 5_000, NORTH - 300_000)),
        lon_e7=st.just(1_216_000_000),
        enrolled=st.booleans(),
    ),
    st.builds(
        Venue,
        id=st.sampled_from((SQUARE, MALL)),
        name=st.sampled_from(("广场", "商场")),
        kind=st.sampled_from((VenueKind.SQUARE, VenueKind.UNDERGROUND)),
        area=st.sampled_from((STREET, OTHER_STREET)),
        lat_e7=st.just(NORTH),
        lon_e7=st.just(1_216_000_000),
        people=st.just(1),
        source=st.just("made"),
        precision_m=st.just(10),
    ),
)


@given(st.lists(st.lists(ROWS, max_size=3, unique_by=lambda row: row.id), max_size=4))
def test_whatever_changes_a_plan_that_fits_is_the_plan_that_would_be_made_now(changes: list[list[Row]]) -> None:
    now = city()
    plans = [plan(now, asked) for asked in ASKED]
    for version, rows in enumerate(changes, 2):
        venues = [row for row in rows if isinstance(row, Venue)]
        now = now.with_rows(version, venues, [row for row in rows if isinstance(row, Speaker)])
        for made, asked in zip(plans, ASKED, strict=True):
            if made is not None and made.fits(*asked, now):
                assert plan(now, asked) == made
    # A city that was brought up to date is the city that would be read as a whole.
    whole = City(CITY, "city", 0, now.tree).with_rows(now.version, now.venues.values(), now.speakers.values())
    assert [plan(now, asked) for asked in ASKED] == [plan(whole, asked) for asked in ASKED]
    assert [now.at_venue(venue) for venue in now.venues] == [whole.at_venue(venue) for venue in now.venues]
