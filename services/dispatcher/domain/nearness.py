"""Nearness of points and shapes, in metres and by what is known. Pure, and bounded whatever is drawn.

A polygon counts by at most `CORNERS_MAX` of its corners here: what is near is a question of a kilometre. Who is
warned is another question, and the selector answers it with every corner.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import asin, cos, floor, radians, sin, sqrt

from devices.protocols.selector import Circle, Polygon, Shape, inside

EARTH_RADIUS_M = 6_371_008.8
CORNERS_MAX = 48
SHAPES_MAX = 16
CELL_E7 = 90_000
"""About 1 km of latitude."""
GRID_E7 = 450_000
"""About 5 km of latitude, and less of longitude: a coarse net for shapes."""
GRID_CELLS_MAX = 36
WIDE_SHAPE = "grid/wide"
"""The one cell of shapes that touch more; who draws one looks at every other shape as well."""
SMALL_SHAPE = "grid/small"
M_PER_E7 = 0.011_119_5

Point = tuple[int, int]
Flat = tuple[float, float]


@lru_cache(maxsize=4_096)
def distance_m(lat_e7: int, lon_e7: int, other_lat_e7: int, other_lon_e7: int) -> float:
    """Great-circle (haversine) distance in metres between two WGS-84 points in 1e-7 degree."""
    lat, other_lat = radians(lat_e7 / 1e7), radians(other_lat_e7 / 1e7)
    half_lat = (other_lat - lat) / 2
    half_lon = radians((other_lon_e7 - lon_e7) / 1e7) / 2
    chord = sin(half_lat) ** 2 + cos(lat) * cos(other_lat) * sin(half_lon) ** 2
    return 2 * EARTH_RADIUS_M * asin(min(1.0, sqrt(chord)))


def point_cells(lat_e7: int, lon_e7: int, distance_m: int) -> tuple[str, ...]:
    """The ~1 km cell of a point first, then all that lie within so many metres of it."""
    row = floor(lat_e7 / CELL_E7)
    rings = max(1, -(-distance_m // 1_000))
    width = CELL_E7 / max(0.05, cos(radians(row * CELL_E7 / 1e7)))
    column = floor(lon_e7 / width)
    steps = range(-rings, rings + 1)
    near = [(row, column)] + [(row + dy, column + dx) for dy in steps for dx in steps if (dy, dx) != (0, 0)]
    return tuple(f"{y}/{x}" for y, x in near)


def shape_cells(shapes: Sequence[Shape], distance_m: int) -> tuple[str, ...]:
    """The coarse cells that shapes touch with so many metres round them; WIDE_SHAPE alone for very wide ones."""
    found: dict[str, None] = {}
    for shape in shapes:
        south, west, north, east = _box(shape, distance_m)
        rows = range(south // GRID_E7, north // GRID_E7 + 1)
        columns = range(west // GRID_E7, east // GRID_E7 + 1)
        if len(rows) * len(columns) > GRID_CELLS_MAX:
            return (WIDE_SHAPE,)
        found.update(dict.fromkeys(f"grid/{y}/{x}" for y in rows for x in columns))
        if len(found) > GRID_CELLS_MAX:
            return (WIDE_SHAPE,)
    return tuple(found)


def points_near(lat_e7: int, lon_e7: int, other_lat_e7: int, other_lon_e7: int, within_m: int) -> bool:
    """Whether two points lie within so many metres."""
    return distance_m(lat_e7, lon_e7, other_lat_e7, other_lon_e7) <= within_m


def point_near_shapes(lat_e7: int, lon_e7: int, shapes: Sequence[Shape], within_m: int) -> bool:
    """Whether a point lies in a shape or within so many metres of one."""
    return any(
        inside(shape, lat_e7, lon_e7) or _shapes_near(Circle(lat_e7, lon_e7, 1), shape, within_m)
        for shape in shapes[:SHAPES_MAX]
    )


def shapes_near(some: Sequence[Shape], others: Sequence[Shape], within_m: int) -> bool:
    """Whether any two of these shapes overlap or come within so many metres of each other."""
    return any(_shapes_near(one, other, within_m) for one in some[:SHAPES_MAX] for other in others[:SHAPES_MAX])


def _shapes_near(one: Shape, other: Shape, within_m: int) -> bool:
    a, b = _box(one, within_m), _box(other, 0)
    if a[2] < b[0] or b[2] < a[0] or a[3] < b[1] or b[3] < a[1]:
        return False
    if isinstance(one, Circle):
        if isinstance(other, Circle):
            apart = distance_m(one.lat_e7, one.lon_e7, other.lat_e7, other.lon_e7)
            return apart <= one.radius_m + other.radius_m + within_m
        return _circle_near_ring(one, other, within_m)
    return _circle_near_ring(other, one, within_m) if isinstance(other, Circle) else _rings_near(one, other, within_m)


def _circle_near_ring(circle: Circle, polygon: Polygon, within_m: int) -> bool:
    if inside(polygon, circle.lat_e7, circle.lon_e7):
        return True
    centre = _metres((circle.lat_e7, circle.lon_e7), circle.lat_e7)
    reach = circle.radius_m + within_m
    return any(
        _from_edge(centre, _metres(start, circle.lat_e7), _metres(end, circle.lat_e7)) <= reach
        for start, end in _edges(_corners(polygon))
    )


def _rings_near(one: Polygon, other: Polygon, within_m: int) -> bool:
    corners, others = _corners(one), _corners(other)
    if any(inside(other, *corner) for corner in corners) or any(inside(one, *corner) for corner in others):
        return True
    middle = corners[0][0]
    flat, others_flat = [_metres(c, middle) for c in corners], [_metres(c, middle) for c in others]
    for start, end in _edges(flat):
        for other_start, other_end in _edges(others_flat):
            if _cross(start, end, other_start, other_end):
                return True
            ends = ((start, other_start, other_end), (other_start, start, end))
            if any(_from_edge(*each) <= within_m for each in ends):
                return True
    return False


def _corners(polygon: Polygon) -> Sequence[Point]:
    ring = polygon.ring
    return ring if len(ring) <= CORNERS_MAX else ring[:: -(-len(ring) // CORNERS_MAX)]


def _box(shape: Shape, margin_m: int) -> tuple[int, int, int, int]:
    """South, west, north, east in 1e-7 degree, with a margin."""
    points = shape.ring if isinstance(shape, Polygon) else ((shape.lat_e7, shape.lon_e7),)
    reach_m = margin_m + (shape.radius_m if isinstance(shape, Circle) else 0)
    lats, lons = [p[0] for p in points] or [0], [p[1] for p in points] or [0]
    tall = round(reach_m / M_PER_E7)
    wide = round(tall / max(0.05, cos(radians(max(abs(lat) for lat in lats) / 1e7))))
    return min(lats) - tall, min(lons) - wide, max(lats) + tall, max(lons) + wide


def _metres(point: Flat, at_lat_e7: int) -> Flat:
    """Metres north and east on the plane that touches at that latitude."""
    return point[0] * M_PER_E7, point[1] * M_PER_E7 * cos(radians(at_lat_e7 / 1e7))


def _edges(corners: Sequence[Flat]) -> Iterator[tuple[Flat, Flat]]:
    for index, corner in enumerate(corners):
        yield corners[index - 1], corner


def _from_edge(point: Flat, start: Flat, end: Flat) -> float:
    """Metres from a point to an edge."""
    north, east = end[0] - start[0], end[1] - start[1]
    length = north * north + east * east
    along = ((point[0] - start[0]) * north + (point[1] - start[1]) * east) / length if length else 0.0
    along = min(1.0, max(0.0, along))
    away = point[0] - start[0] - along * north, point[1] - start[1] - along * east
    return float((away[0] ** 2 + away[1] ** 2) ** 0.5)


def _cross(a: Flat, b: Flat, c: Flat, d: Flat) -> bool:
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: Flat, b: Flat, c: Flat) -> float:
    return (b[1] - a[1]) * (c[0] - a[0]) - (b[0] - a[0]) * (c[1] - a[1])
