"""Selectors against their vectors, against an oracle that counts crossings the other way, and against their limits."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols.selector import (
    SELECTOR_SENTENCES,
    Circle,
    Polygon,
    Selector,
    SelectorMalformed,
    SelectorRefusal,
    Shape,
    from_json,
    inside,
    matches,
    refusal,
    to_json,
)
from devices.protocols.speaker_link import whereabouts
from tests.data.speaker_link import make

untimed = settings(deadline=None)
CASES = json.loads((Path(make.__file__).parent / "selectors.json").read_text(encoding="utf-8"))
HERE = whereabouts(make.CONFIG)

small = st.integers(0, 6)
points = st.tuples(small, small)
rings = st.lists(points, min_size=3, max_size=9).map(tuple)
positions = st.tuples(st.integers(-900_000_000, 900_000_000), st.integers(-1_800_000_000, 1_800_000_000))
shapes: st.SearchStrategy[Shape] = st.one_of(
    st.builds(Polygon, st.lists(positions, min_size=3, max_size=8).map(tuple)),
    st.builds(lambda at, radius: Circle(at[0], at[1], radius), positions, st.integers(1, 500_000)),
)
names = st.none() | st.lists(st.text(min_size=1, max_size=8), max_size=3).map(tuple)
selectors = st.builds(Selector, names, names, names, names, st.none() | st.lists(shapes, max_size=3).map(tuple))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_vector_says_who_is_meant(case: dict[str, Any]) -> None:
    where = replace(HERE, lat_e7=case["where"]["lat_e7"], lon_e7=case["where"]["lon_e7"])
    assert matches(from_json(case["selector"]), where) is case["matches"]


def test_whereabouts_hold_the_chain_and_the_overlay_zones() -> None:
    assert HERE.area_chain == (make.CITY, make.DISTRICT, make.STREET, make.ZONE)


@untimed
@given(rings, points)
def test_ray_to_the_north_agrees_with_ray_to_the_east(
    ring: tuple[tuple[int, int], ...], point: tuple[int, int]
) -> None:
    assert inside(Polygon(ring), *point) is _inside_by_northward_ray(ring, point)


def _inside_by_northward_ray(ring: Sequence[tuple[int, int]], point: tuple[int, int]) -> bool:
    lat, lon = point
    odd = False
    for (lat_1, lon_1), (lat_2, lon_2) in zip(ring, [*ring[1:], ring[0]], strict=True):
        if min(lon_1, lon_2) <= lon <= max(lon_1, lon_2):
            if lon_1 == lon_2:
                if min(lat_1, lat_2) <= lat <= max(lat_1, lat_2):
                    return True
                continue
            height = lat_1 + Fraction(lat_2 - lat_1) * (lon - lon_1) / (lon_2 - lon_1)
            if height == lat:
                return True
            odd ^= height > lat and lon < max(lon_1, lon_2)
    return odd


@untimed
@given(rings, points, st.integers(0, 8))
def test_where_a_ring_begins_and_which_way_it_runs_change_nothing(
    ring: tuple[tuple[int, int], ...], point: tuple[int, int], turn: int
) -> None:
    turned = (ring[turn % len(ring) :] + ring[: turn % len(ring)])[::-1]
    assert inside(Polygon(turned), *point) is inside(Polygon(ring), *point)


@pytest.mark.parametrize("lat", [0, 22, 39, -39, 53, 80])
@pytest.mark.parametrize("radius_m", [50, 1_000, 20_000])
def test_circle_edge_lies_within_5_cm_per_10_km_of_the_sphere(lat: int, radius_m: int) -> None:
    centre = lat * 10_000_000, 1_210_000_000
    for degrees in range(0, 360, 15):
        edge = _edge(Circle(*centre, radius_m), math.radians(degrees))
        assert abs(_haversine_m(centre, edge) - radius_m) <= max(0.05, radius_m * 5e-6) * (10 if lat == 80 else 1)


def _edge(circle: Circle, bearing: float) -> tuple[int, int]:
    """The last point inside along a bearing."""
    north, east = math.cos(bearing), math.sin(bearing) / math.cos(math.radians(circle.lat_e7 / 1e7))
    near, far = 0, circle.radius_m * 200
    while far - near > 1:
        middle = (near + far) // 2
        point = circle.lat_e7 + round(middle * north), circle.lon_e7 + round(middle * east)
        near, far = (middle, far) if inside(circle, *point) else (near, middle)
    return circle.lat_e7 + round(near * north), circle.lon_e7 + round(near * east)


def _haversine_m(one: tuple[int, int], other: tuple[int, int]) -> float:
    lat_1, lon_1, lat_2, lon_2 = (math.radians(value / 1e7) for value in (*one, *other))
    chord = math.sin((lat_2 - lat_1) / 2) ** 2 + math.cos(lat_1) * math.cos(lat_2) * math.sin((lon_2 - lon_1) / 2) ** 2
    return 2 * 6_371_008.8 * math.asin(math.sqrt(chord))


@untimed
@given(selectors)
def test_selector_comes_back_from_its_json(selector: Selector) -> None:
    assert from_json(json.loads(json.dumps(to_json(selector)))) == selector


@untimed
@given(selectors, selectors, positions)
def test_more_fields_never_reach_more_speakers(one: Selector, other: Selector, at: tuple[int, int]) -> None:
    where = replace(HERE, lat_e7=at[0], lon_e7=at[1])
    both = replace(one, shapes=other.shapes if one.shapes is None else one.shapes)
    assert matches(both, where) <= matches(one, where)


@pytest.mark.parametrize(
    ("selector", "reason"),
    [
        (Selector(), None),
        (Selector(areas=("a",) * 64, venues=("v",) * 64, venue_kinds=("k",) * 64, speakers=("s",) * 64), None),
        (Selector(areas=("a",) * 65), SelectorRefusal.NAMES),
        (Selector(venues=("v",) * 65), SelectorRefusal.NAMES),
        (Selector(venue_kinds=("k",) * 65), SelectorRefusal.NAMES),
        (Selector(speakers=("s",) * 65), SelectorRefusal.SPEAKERS),
        (Selector(shapes=(Polygon(((0, 0),) * 100),)), None),
        (Selector(shapes=(Polygon(((0, 0),) * 101),)), SelectorRefusal.VERTICES),
        (Selector(shapes=(Circle(0, 0, 1),) * 101), SelectorRefusal.VERTICES),
        (Selector(shapes=(Polygon(()),)), SelectorRefusal.RING_SHORT),
        (Selector(shapes=(Polygon(((0, 0), (0, -1_800_000_001), (1, 1))),)), SelectorRefusal.POSITION),
        (Selector(shapes=(Circle(-900_000_001, 0, 1),)), SelectorRefusal.POSITION),
        (Selector(shapes=(Circle(0, 0, 0),)), SelectorRefusal.RADIUS),
        (Selector(shapes=(Circle(0, 0, 500_001),)), SelectorRefusal.RADIUS),
    ],
)
def test_refusal_names_the_first_broken_limit(selector: Selector, reason: SelectorRefusal | None) -> None:
    assert refusal(selector) is reason


def test_every_refusal_has_its_sentence() -> None:
    assert set(SELECTOR_SENTENCES) == set(SelectorRefusal)


def test_ring_without_points_holds_nobody() -> None:
    assert inside(Polygon(()), 0, 0) is False


@pytest.mark.parametrize(
    "value",
    [None, [], {"areas": "a"}, {"areas": [""]}, {"speakers": [1]}, {"shapes": {}}, {"shapes": [[]]}, {"shapes": [{}]}],
)
def test_other_json_is_no_selector(value: object) -> None:
    with pytest.raises(SelectorMalformed):
        from_json(value)
