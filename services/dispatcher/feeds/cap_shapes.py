"""CAP polygons and circles: text in, WGS-84 shapes out. Pure.

No polygon that leaves here crosses the 180° meridian, which `devices.protocols.selector` does not know: it is cut.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec

from devices.protocols.selector import LAT_E7_MAX, LON_E7_MAX, Circle, Polygon

RADIUS_KM_MAX = 20_040.0
POINTS_MAX = 50_000
_TURN = 2 * LON_E7_MAX
_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_PAIR = re.compile(rf"([+-]?{_DECIMAL}),([+-]?{_DECIMAL})", re.ASCII)
_RADIUS = re.compile(rf"\+?{_DECIMAL}", re.ASCII)
_FORM = bytes(
    byte if byte in b"-.," else ord("0") if byte in b"0123456789" else ord(",") if byte == ord(" ") else ord("x")
    for byte in range(256)
)
"""What JSON has as well: digits are made one and blanks commas; everything else is an x."""
_LAT = Annotated[int, msgspec.Meta(ge=-LAT_E7_MAX, le=LAT_E7_MAX)]
_LON = Annotated[int, msgspec.Meta(ge=-LON_E7_MAX, le=LON_E7_MAX)]
_WHOLE = msgspec.json.Decoder(tuple[tuple[_LAT, _LON], ...])
_BROKEN = msgspec.json.Decoder(
    list[tuple[Annotated[float, msgspec.Meta(ge=-90, le=90)], Annotated[float, msgspec.Meta(ge=-180, le=180)]]]
)
Point = tuple[int, int]


class BadShape(Exception):
    """The text is no shape; `code` and `sentence` say why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def polygons_of(text: str) -> tuple[Polygon, ...]:
    """The ring of at least four lat,lon pairs, first = last (OASIS CAP 1.2, polygon); the repeated point is left out.

    Two polygons, one on each side, when it crosses the 180° meridian. Raises BadShape.
    """
    points, width = _ring(text) or _points(text)
    if len(points) < 4:
        raise BadShape("polygon_points", "A polygon needs at least four points.")
    if points[0] != points[-1]:
        raise BadShape("polygon_open", "A polygon's last point must be its first.")
    ring = points[:-1]
    return (Polygon(ring),) if width <= LON_E7_MAX else _cut(ring)


def points_of(text: str) -> tuple[Point, ...]:
    """lat,lon pairs in 1e-7 degree, whatever line they make. Raises BadShape."""
    return (_ring(text) or _points(text))[0]


def circle_of(text: str) -> Circle:
    """Centre and radius in km; the radius comes out in metres. Raises BadShape."""
    parts = text.split()
    if len(parts) != 2:
        raise BadShape("circle_malformed", "A circle is lat,lon and a radius in km.")
    lat_e7, lon_e7 = _point(parts[0])
    if not _RADIUS.fullmatch(parts[1]) or not (radius_km := float(parts[1])) <= RADIUS_KM_MAX:
        raise BadShape("circle_radius", "The radius is not a number of km from 0 to half the Earth.")
    return Circle(lat_e7, lon_e7, round(radius_km * 1_000))


def passes_meridian(circle: Circle) -> bool:
    """True when the circle reaches over the 180° meridian, where a selector ends."""
    e7_per_m = 90.0
    return abs(circle.lon_e7) + circle.radius_m * e7_per_m > LON_E7_MAX


def _ring(text: str) -> tuple[tuple[Point, ...], int] | None:
    """Every pair of the text, and how far they reach from west to east, when its numbers are such as JSON has, which is
    read many times as fast. None for any other text, right or wrong."""
    raw = (" ".join(text.split()) if "\n" in text else text.strip()).encode("utf-8", "surrogatepass")
    form = raw.translate(_FORM)
    count = raw.count(b",")
    if b"x" in form or count > POINTS_MAX:
        return None
    points = _whole(raw, form, count) or _broken(raw)
    if not points:
        return None
    west = raw.count(b",-") if b"-" in raw else 0
    return points, (0 if west in (0, count) else _width(points))


def _whole(raw: bytes, form: bytes, count: int) -> tuple[Point, ...]:
    """The pairs when all numbers have the same decimals, at most seven, as most senders write: their digits are whole
    numbers then. None of them otherwise."""
    first = form.partition(b",")[0]
    decimals = len(first) - first.find(b".") - 1
    tail = b"." + b"0" * decimals
    ends = form.count(tail + b",") + form.endswith(tail)
    if b"." not in first or not 0 < decimals <= 7 or ends != count * 2 or ends != form.count(b"."):
        return ()
    padding = b"0" * (7 - decimals)
    digits = raw.translate(None, b".").replace(b",", padding + b",").replace(b" ", padding + b"],[")
    try:
        return _WHOLE.decode(b"[[%b%b]]" % (digits, padding))
    except msgspec.MsgspecError:
        return ()


def _broken(raw: bytes) -> tuple[Point, ...]:
    """The pairs of other numbers, and of those that begin with 0; none of them where JSON has no such numbers."""
    try:
        pairs = _BROKEN.decode(b"[[%b]]" % raw.replace(b" ", b"],["))
    except msgspec.MsgspecError:
        return ()
    return tuple([(round(lat * 1e7), round(lon * 1e7)) for lat, lon in pairs])


def _width(points: Sequence[Point]) -> int:
    lons = [lon for _, lon in points]
    return max(lons, default=0) - min(lons, default=0)


def _points(text: str) -> tuple[tuple[Point, ...], int]:
    """The same of any text, with an exact sentence about the first pair that is wrong."""
    pairs = text.split()
    if len(pairs) > POINTS_MAX:
        raise BadShape("too_many", f"The shape has more than {POINTS_MAX} points.")
    points = tuple([_point(pair) for pair in pairs])
    return points, _width(points)


def _point(pair: str) -> Point:
    found = _PAIR.fullmatch(pair)
    if found is None:
        raise BadShape("coordinates_malformed", f"{pair[:40]!r} is not lat,lon.")
    lat_e7, lon_e7 = float(found[1]) * 1e7, float(found[2]) * 1e7
    if abs(lat_e7) > LAT_E7_MAX or abs(lon_e7) > LON_E7_MAX:
        raise BadShape("coordinates_range", f"{pair[:40]!r} lies outside latitude 90 or longitude 180.")
    return round(lat_e7), round(lon_e7)


def _cut(ring: Sequence[Point]) -> tuple[Polygon, ...]:
    """The parts of a ring on either side of the meridian. Between two points a ring takes the shorter way round."""
    lat, lon = ring[0]
    unrolled = [(lat, lon)]
    for lat, step in ring[1:]:
        lon += (step - lon + LON_E7_MAX) % _TURN - LON_E7_MAX
        unrolled.append((lat, lon))
    lons = [lon for _, lon in unrolled]
    if abs(lons[-1] - lons[0]) > LON_E7_MAX or max(lons) - min(lons) > _TURN:
        raise BadShape("polygon_around_pole", "The polygon runs around a pole or the whole Earth.")
    parts = []
    for turn in (-1, 0, 1):
        part = [(lat, lon - turn * _TURN) for lat, lon in unrolled]
        part = _clipped(_clipped(part, LON_E7_MAX, keep_west=True), -LON_E7_MAX, keep_west=False)
        if len(set(part)) >= 3 and len({lon for _, lon in part}) >= 2:
            parts.append(Polygon(tuple(part)))
    # Nothing left: a box drawn from -180 to 180, which means the Earth and no line.
    return tuple(parts) or (Polygon(tuple(ring)),)


def _clipped(ring: list[Point], meridian: int, *, keep_west: bool) -> list[Point]:
    """The part of a ring on one side of a meridian (Sutherland and Hodgman)."""
    sign = 1 if keep_west else -1
    kept: list[Point] = []
    for index, (lat, lon) in enumerate(ring):
        before_lat, before_lon = ring[index - 1]
        inside, was_inside = sign * (meridian - lon) >= 0, sign * (meridian - before_lon) >= 0
        if inside != was_inside:
            kept.append((before_lat + (lat - before_lat) * (meridian - before_lon) // (lon - before_lon), meridian))
        if inside:
            kept.append((lat, lon))
    return kept


def crosses_itself(polygon: Polygon) -> bool:
    """True when two edges that are not neighbours cross. Cost grows with the edges that overlap in longitude."""
    ring = polygon.ring
    count = len(ring)
    edges = []
    for index in range(count):
        a, b = ring[index], ring[(index + 1) % count]
        if a != b:
            edges.append((min(a[1], b[1]), max(a[1], b[1]), index, a, b))
    edges.sort()
    open_edges: list[tuple[int, int, Point, Point]] = []
    for west, east, index, a, b in edges:
        open_edges = [each for each in open_edges if each[0] >= west]
        for _, other, c, d in open_edges:
            if abs(index - other) not in (1, count - 1) and _cross(a, b, c, d):
                return True
        open_edges.append((east, index, a, b))
    return False


def _cross(a: Point, b: Point, c: Point, d: Point) -> bool:
    """True when the open segments ab and cd cross in one inner point; touching is common in real data and harmless."""
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: Point, b: Point, p: Point) -> int:
    turn = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
    return (turn > 0) - (turn < 0)
