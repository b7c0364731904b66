"""GCJ-02 to WGS-84: known points, the way back everywhere in China, and the identity elsewhere."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.gcj02 import LAT_RANGE, LON_RANGE, from_wgs84, in_china, to_wgs84
from services.dispatcher.domain.nearness import distance_m

# WGS-84 and the GCJ-02 position that maps show for it.
KNOWN = [
    ((31.1774276, 121.5272106), (31.17530398364597, 121.531541859215)),
    ((22.543847, 113.912316), (22.540796131694766, 113.9171764808363)),
    ((39.911954, 116.377817), (39.91334545536069, 116.38404722455657)),
]


def apart_m(one: tuple[float, float], other: tuple[float, float]) -> float:
    return distance_m(*(round(each * 1e7) for each in (*one, *other)))


@pytest.mark.parametrize(("wgs84", "gcj02"), KNOWN)
def test_known_points_are_met_both_ways(wgs84: tuple[float, float], gcj02: tuple[float, float]) -> None:
    assert apart_m(from_wgs84(*wgs84), gcj02) < 0.1
    assert apart_m(to_wgs84(*gcj02), wgs84) < 0.1


@given(st.floats(4, 54), st.floats(74, 135))
def test_the_way_back_is_exact_to_a_metre_everywhere_in_china(lat: float, lon: float) -> None:
    assert apart_m(to_wgs84(*from_wgs84(lat, lon)), (lat, lon)) < 1


@given(st.floats(4, 54), st.floats(74, 135))
def test_the_shift_is_never_more_than_a_kilometre_and_a_half(lat: float, lon: float) -> None:
    assert apart_m(from_wgs84(lat, lon), (lat, lon)) < 1_500


@pytest.mark.parametrize(
    "outside",
    [(0.0, 0.0), (51.5, -0.1), (-33.9, 151.2), (LAT_RANGE[1] + 0.1, 100.0), (30.0, LON_RANGE[0] - 0.1), (90.0, 180.0)],
)
def test_outside_china_a_position_stands_as_it_is(outside: tuple[float, float]) -> None:
    assert not in_china(*outside)
    assert (from_wgs84(*outside), to_wgs84(*outside)) == (outside, outside)


def test_what_is_no_number_is_nowhere_in_china() -> None:
    assert not in_china(math.nan, math.nan)
