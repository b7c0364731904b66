from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.nearness import (
    GRID_CELLS_MAX,
    WIDE_SHAPE,
    point_cells,
    point_near_shapes,
    points_near,
    shape_cells,
    shapes_near,
)

LAT, LON = 389_000_000, 1_216_000_000
KM = 90_000
"""A little more than a kilometre of latitude."""


def square(north_km: float, east_km: float, side_km: float = 1.0) -> Polygon:
    south, west = LAT + round(north_km * KM), LON + round(east_km * KM)
    step = round(side_km * KM)
    return Polygon(((south, west), (south, west + step), (south + step, west + step), (south + step, west)))


@pytest.mark.parametrize(
    ("one", "other", "within_m", "near"),
    [
        (Circle(LAT, LON, 100), Circle(LAT + KM, LON, 100), 900, True),
        (Circle(LAT, LON, 100), Circle(LAT + KM, LON, 100), 700, False),
        (square(0, 0), square(0.5, 0.5), 0, True),
        (square(0, 0), square(2, 0), 0, False),
        (square(0, 0), square(2, 0), 1_100, True),
        (square(0, 0), square(0.2, 0.2, 0.1), 0, True),
        (square(0, 0), Circle(LAT + KM // 2, LON + KM // 2, 10), 0, True),
        (square(0, 0), Circle(LAT - KM // 2, LON + KM // 2, 10), 0, False),
        (square(0, 0), Circle(LAT - KM // 2, LON + KM // 2, 10), 600, True),
        (square(-1, 0.4, 3), Polygon(((LAT, LON), (LAT + 10, LON), (LAT, LON + 3 * KM))), 0, True),
    ],
)
def test_shapes_are_near_when_they_meet_or_come_close(one: Shape, other: Shape, within_m: int, near: bool) -> None:
    assert shapes_near((one,), (other,), within_m) is near
    assert shapes_near((other,), (one,), within_m) is near


def test_edges_that_cross_meet_though_no_corner_lies_inside() -> None:
    upright = Polygon(((LAT - KM, LON), (LAT - KM, LON + 100), (LAT + KM, LON + 100), (LAT + KM, LON)))
    flat = Polygon(((LAT, LON - KM), (LAT, LON + KM), (LAT + 100, LON + KM), (LAT + 100, LON - KM)))
    assert shapes_near((upright,), (flat,), 0)


def test_a_point_is_near_a_shape_that_holds_it_or_comes_close() -> None:
    assert point_near_shapes(LAT + 10, LON + 10, (square(0, 0),), 0)
    assert not point_near_shapes(LAT - KM, LON, (square(0, 0),), 900)
    assert point_near_shapes(LAT - KM, LON, (square(0, 0),), 1_100)


def test_a_thousand_corners_cost_no_more_than_a_few() -> None:
    wide = Polygon(tuple((LAT + n, LON + (n % 2) * KM) for n in range(6_000)))
    assert shapes_near((wide,), (wide,), 0)


def test_a_wide_shape_has_one_cell_for_all() -> None:
    assert shape_cells((square(0, 0, 500),), 0) == (WIDE_SHAPE,)
    assert shape_cells(tuple(square(n * 12, 0) for n in range(100)), 0) == (WIDE_SHAPE,)


POINTS = st.tuples(st.integers(-600_000_000, 600_000_000), st.integers(-1_700_000_000, 1_700_000_000))


@given(POINTS, st.integers(-300_000, 300_000), st.integers(-300_000, 300_000), st.integers(0, 3_000))
def test_points_within_a_distance_are_always_looked_for_in_the_right_cell(
    point: tuple[int, int], north: int, east: int, within_m: int
) -> None:
    other = point[0] + north, point[1] + east
    if points_near(*point, *other, within_m):
        assert point_cells(*other, 0)[0] in point_cells(*point, within_m)


@given(POINTS, st.integers(-900_000, 900_000), st.integers(-900_000, 900_000), st.integers(1, 5_000))
def test_circles_that_are_near_share_a_cell(point: tuple[int, int], north: int, east: int, radius_m: int) -> None:
    one, other = Circle(*point, radius_m), Circle(point[0] + north, point[1] + east, 500)
    looked, listed = shape_cells((one,), 1_000), shape_cells((other,), 0)
    assert len(looked) <= GRID_CELLS_MAX
    if shapes_near((one,), (other,), 1_000) and WIDE_SHAPE not in (*looked, *listed):
        assert set(looked) & set(listed)
