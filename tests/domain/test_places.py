"""The area tree: chains, zones, synthetic nodes, offices above, and lists that are no tree."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.nearness import distance_m
from services.dispatcher.domain.places import (
    AREA_DEPTH_MAX,
    Area,
    AreaChain,
    AreaTree,
    BrokenAreaTree,
    Office,
    OfficeKind,
    TreeFault,
    code_head,
    offices_above,
    tree_faults,
)
from services.dispatcher.domain.refusals import NotFound

CITY = "210200000000"
GANJINGZI = "210211000000"
LINGSHUI = "210211016000"
LUSHUN = "210212000000"
LONGWANGTANG = "210212006000"
JINZHOU = "210213000000"
JINSHITAN = "210213012000"
HIGH_TECH = "210200902000"
JINPU = "210200901000"

LONGGANG = "330383000000"
DIRECT = "330383198000"
COMMUNITY = "330383198001"
OTHER_COMMUNITY = "330383198002"


def area(code: str, parent: str | None, **more: object) -> Area:
    fields: dict[str, object] = {"name": code, "kind": "node", "valid_from": "2023-01-01"} | more
    return Area(code=code, parent=parent, **fields)  # type: ignore[arg-type]


def dalian() -> AreaTree:
    return AreaTree.of(
        [
            area(LINGSHUI, GANJINGZI),
            area(LONGWANGTANG, LUSHUN),
            area(JINSHITAN, JINZHOU),
            area(GANJINGZI, CITY),
            area(LUSHUN, CITY),
            area(JINZHOU, CITY),
            area(CITY, None),
            area(HIGH_TECH, CITY, overlay=True, members=(LINGSHUI, LONGWANGTANG)),
            area(JINPU, CITY, overlay=True, members=(JINZHOU,)),
        ]
    )


def longgang() -> AreaTree:
    return AreaTree.of(
        [
            area(LONGGANG, None),
            area(DIRECT, LONGGANG, synthetic=True),
            area(COMMUNITY, DIRECT),
            area(OTHER_COMMUNITY, DIRECT),
        ]
    )


def test_a_chain_runs_from_the_city_to_the_area_with_zones_apart() -> None:
    assert dalian().chain(LINGSHUI) == AreaChain((CITY, GANJINGZI, LINGSHUI), (HIGH_TECH,))
    assert dalian().chain(JINSHITAN) == AreaChain((CITY, JINZHOU, JINSHITAN), (JINPU,))
    assert dalian().chain(JINSHITAN).all == (CITY, JINZHOU, JINSHITAN, JINPU)


def test_a_zone_stands_where_all_its_members_do() -> None:
    assert dalian().chain(HIGH_TECH) == AreaChain((CITY,), (HIGH_TECH,))
    assert dalian().chain(JINPU) == AreaChain((CITY, JINZHOU), (JINPU,))


def test_a_city_without_towns_has_no_synthetic_node_in_chain_children_or_ladder() -> None:
    tree = longgang()
    assert tree.chain(COMMUNITY) == AreaChain((LONGGANG, COMMUNITY), ())
    assert tree.children(LONGGANG) == (COMMUNITY, OTHER_COMMUNITY)
    assert tuple(tree.climb(COMMUNITY)) == (COMMUNITY, LONGGANG)
    assert tree.lowest_common([COMMUNITY, OTHER_COMMUNITY]) == LONGGANG


def test_an_order_to_the_synthetic_node_means_the_city_above_it() -> None:
    assert longgang().resolve(DIRECT) == LONGGANG
    assert longgang().resolve(COMMUNITY) == COMMUNITY
    assert dalian().resolve(HIGH_TECH) == HIGH_TECH


def test_children_come_in_code_order_and_a_zone_has_its_members() -> None:
    assert dalian().children(CITY) == (GANJINGZI, LUSHUN, JINZHOU)
    assert dalian().children(LINGSHUI) == ()
    assert dalian().children(HIGH_TECH) == (LINGSHUI, LONGWANGTANG)


def test_lowest_common_of_one_area_is_itself_and_of_a_zone_its_members() -> None:
    tree = dalian()
    assert tree.lowest_common([LINGSHUI]) == LINGSHUI
    assert tree.lowest_common([LINGSHUI, GANJINGZI]) == GANJINGZI
    assert tree.lowest_common([LINGSHUI, LONGWANGTANG]) == CITY
    assert tree.lowest_common([JINPU, JINSHITAN]) == JINZHOU
    with pytest.raises(ValueError, match="no area codes"):
        tree.lowest_common([])


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        (LINGSHUI, LINGSHUI, True),
        (LINGSHUI, CITY, True),
        (CITY, LINGSHUI, False),
        (LINGSHUI, HIGH_TECH, True),
        (GANJINGZI, HIGH_TECH, False),
        (JINSHITAN, JINPU, True),
        (HIGH_TECH, CITY, True),
        (HIGH_TECH, GANJINGZI, False),
        (JINPU, JINZHOU, True),
        (JINPU, HIGH_TECH, False),
    ],
)
def test_within_follows_the_tree_and_zones(inner: str, outer: str, expected: bool) -> None:
    assert dalian().is_within(inner, outer) is expected


def test_a_code_that_is_not_here_is_refused_by_name() -> None:
    with pytest.raises(NotFound, match="999999999999"):
        dalian().chain("999999999999")
    with pytest.raises(NotFound):
        dalian().is_within(LINGSHUI, "999999999999")


def test_both_ends_of_a_validity_are_days_in_force() -> None:
    old = area(LINGSHUI, GANJINGZI, valid_from="2020-01-01", valid_to="2022-12-31")
    days = [date(2019, 12, 31), date(2020, 1, 1), date(2022, 12, 31), date(2023, 1, 1)]
    assert [old.in_force(day) for day in days] == [False, True, True, False]


def test_a_revoked_code_still_resolves_but_does_not_stand() -> None:
    tree = AreaTree.of(
        [
            area(CITY, None),
            area(GANJINGZI, CITY, valid_to="2024-06-30"),
            area(LINGSHUI, GANJINGZI),
            area(LUSHUN, CITY),
        ]
    )
    assert tree.chain(LINGSHUI).codes == (CITY, GANJINGZI, LINGSHUI)
    assert [place.code for place in tree.in_force(date(2024, 7, 1))] == [CITY, LUSHUN]
    assert [place.code for place in tree.in_force(date(2024, 6, 30))] == [CITY, GANJINGZI, LINGSHUI, LUSHUN]


def test_people_never_see_a_synthetic_node_in_force() -> None:
    assert [place.code for place in longgang().in_force(date(2025, 1, 1))] == [LONGGANG, COMMUNITY, OTHER_COMMUNITY]


def test_offices_above_climb_from_the_area_to_the_city_with_zones_after_their_member() -> None:
    duty = Office("duty", "市值班室", OfficeKind.DUTY, CITY)
    centre = Office("gov-city", "市综治中心", OfficeKind.GOVERNANCE_CENTRE, CITY)
    district = Office("gov-gjz", "区综治中心", OfficeKind.GOVERNANCE_CENTRE, GANJINGZI)
    town = Office("town", "街道值守", OfficeKind.TOWN, LINGSHUI)
    zone = Office("zone", "高新区值班室", OfficeKind.DUTY, HIGH_TECH)
    elsewhere = Office("lwt", "街道值守", OfficeKind.TOWN, LONGWANGTANG)
    offices = [duty, centre, district, town, zone, elsewhere]
    assert offices_above(dalian(), offices, LINGSHUI) == (town, zone, district, centre, duty)
    assert offices_above(dalian(), offices, HIGH_TECH) == (zone, centre, duty)
    assert offices_above(dalian(), offices, JINSHITAN) == (centre, duty)


def test_offices_of_a_synthetic_node_are_skipped_and_a_community_is_a_first_rung() -> None:
    community = Office("com", "社区值守", OfficeKind.COMMUNITY, COMMUNITY)
    nowhere = Office("direct", "直辖", OfficeKind.TOWN, DIRECT)
    duty = Office("duty", "市值班室", OfficeKind.DUTY, LONGGANG)
    assert offices_above(longgang(), [duty, nowhere, community], COMMUNITY) == (community, duty)


def fault_codes(*areas: Area) -> list[tuple[str, str]]:
    return [(fault.area, fault.code) for fault in tree_faults(areas)]


def test_each_way_of_not_being_a_tree_has_its_code() -> None:
    top = area(CITY, None)
    assert fault_codes() == [("", "no_root")]
    assert fault_codes(area(CITY, None, synthetic=True)) == [(CITY, "root_synthetic")]
    assert fault_codes(top, top) == [(CITY, "duplicate_id"), (CITY, "two_roots")]
    assert fault_codes(top, area(GANJINGZI, None)) == [(GANJINGZI, "two_roots")]
    assert fault_codes(top, area(LINGSHUI, GANJINGZI)) == [(LINGSHUI, "unknown_parent")]
    assert fault_codes(top, area(GANJINGZI, CITY), area(JINSHITAN, GANJINGZI)) == [
        (JINSHITAN, "code_not_under_parent"),
    ]
    assert fault_codes(top, area(JINPU, CITY, overlay=True)) == [(JINPU, "zone_without_members")]
    assert fault_codes(top, area(GANJINGZI, CITY, members=(CITY,))) == [(GANJINGZI, "members_without_zone")]
    assert fault_codes(top, area(JINPU, CITY, overlay=True, members=(LUSHUN,))) == [(JINPU, "unknown_member")]


def test_a_zone_is_neither_a_parent_nor_a_member() -> None:
    zone = area(JINPU, CITY, overlay=True, members=(CITY,))
    outer = area(HIGH_TECH, CITY, overlay=True, members=(JINPU,))
    child = area(LINGSHUI, JINPU)
    assert fault_codes(area(CITY, None), zone, outer, child) == [
        (HIGH_TECH, "member_is_zone"),
        (LINGSHUI, "parent_is_zone"),
    ]


def test_a_circle_of_parents_is_named_and_ends() -> None:
    faults = tree_faults([area(CITY, None), area("210211000000", "210211016000"), area("210211016000", "210211000000")])
    assert TreeFault(LINGSHUI, "cycle", f"The line above {LINGSHUI} comes back to {LINGSHUI}.") in faults
    assert tree_faults([area(CITY, CITY)])[1].code == "cycle"


def test_a_line_deeper_than_the_cap_is_refused() -> None:
    codes = [CITY] + [f"210200{step:06d}" for step in range(1, AREA_DEPTH_MAX + 1)]
    line = [area(code, above) for code, above in zip(codes, [None, *codes], strict=False)]
    too_deep = [fault.area for fault in tree_faults(line) if fault.code == "too_deep"]
    assert too_deep == [codes[AREA_DEPTH_MAX]]


def test_a_tree_is_not_built_from_areas_that_make_none() -> None:
    with pytest.raises(BrokenAreaTree) as refused:
        AreaTree.of([area(LINGSHUI, GANJINGZI)])
    assert [fault.code for fault in refused.value.faults] == ["no_root", "unknown_parent"]


def test_a_code_s_head_is_what_its_children_repeat() -> None:
    assert [code_head(code) for code in (CITY, GANJINGZI, LINGSHUI, COMMUNITY, "210000000000")] == [
        "2102",
        "210211",
        "210211016",
        COMMUNITY,
        "21",
    ]


def test_distance_is_metres_on_the_sphere() -> None:
    one_degree = distance_m(389_000_000, 1_216_000_000, 399_000_000, 1_216_000_000)
    assert round(one_degree) == 111_195
    assert distance_m(389_000_000, 1_216_000_000, 389_000_000, 1_216_000_000) == 0.0


LAT = st.integers(-900_000_000, 900_000_000)
LON = st.integers(-1_800_000_000, 1_800_000_000)


@given(LAT, LON, LAT, LON)
def test_distance_is_the_same_both_ways_and_at_most_half_round(lat: int, lon: int, to_lat: int, to_lon: int) -> None:
    there, back = distance_m(lat, lon, to_lat, to_lon), distance_m(to_lat, to_lon, lat, lon)
    assert there == pytest.approx(back)
    assert 0.0 <= there <= 20_015_200.0
