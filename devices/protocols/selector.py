"""Selectors: which speakers an order is for. Planner and speaker run this same code. Pure.

Fields intersect; an absent field (None) is all, an empty one is none. Positions are integers of 1e-7 degree
(WGS-84); a point on an edge counts as inside. Shapes are a union. Every calculation is in integers, so that two
implementations agree to the last bit; no shape crosses the 180° meridian.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import cast

SELECTOR_VERTICES_MAX = 100
SELECTOR_SPEAKERS_MAX = 64
SELECTOR_NAMES_MAX = 64
RADIUS_M_MAX = 500_000
LAT_E7_MAX = 900_000_000
LON_E7_MAX = 1_800_000_000

_ONE = 1 << 30
_RADIANS_PER_E7_Q60 = 2_012_227_627
"""π / 180 / 1e7 × 2⁶⁰, rounded."""
_NM_PER_E7 = 11_119_508
"""Length of 1e-7 degree of latitude on a sphere of radius 6,371,008.8 m, in nm."""


@dataclass(frozen=True, slots=True)
class Polygon:
    """A closed ring of (lat_e7, lon_e7); the last point is not repeated."""

    ring: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Circle:
    """Centre in 1e-7 degree, radius in metres."""

    lat_e7: int
    lon_e7: int
    radius_m: int


Shape = Polygon | Circle


@dataclass(frozen=True, slots=True)
class Selector:
    """Who is meant. `areas` matches any code of the speaker's area chain (overlay zones included)."""

    areas: tuple[str, ...] | None = None
    venues: tuple[str, ...] | None = None
    venue_kinds: tuple[str, ...] | None = None
    speakers: tuple[str, ...] | None = None
    shapes: tuple[Shape, ...] | None = None


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """What a speaker knows of itself from its signed config."""

    speaker: str
    area_chain: tuple[str, ...]
    venue: str
    venue_kind: str
    lat_e7: int
    lon_e7: int


class SelectorRefusal(StrEnum):
    """Which limit of a selector is broken."""

    NAMES = "too_many_names"
    SPEAKERS = "too_many_speakers"
    VERTICES = "too_many_vertices"
    RING_SHORT = "ring_too_short"
    POSITION = "position_out_of_range"
    RADIUS = "radius_out_of_range"


SELECTOR_SENTENCES: dict[SelectorRefusal, str] = {
    SelectorRefusal.NAMES: "The selector names more than 64 areas, venues or kinds of venue.",
    SelectorRefusal.SPEAKERS: "The selector picks more than 64 speakers by hand; per-speaker manifests reach more.",
    SelectorRefusal.VERTICES: "The selector's shapes have more than 100 vertices; a circle counts as one.",
    SelectorRefusal.RING_SHORT: "A polygon of the selector has fewer than three vertices.",
    SelectorRefusal.POSITION: "A position of the selector lies outside ±90° of latitude or ±180° of longitude.",
    SelectorRefusal.RADIUS: "A circle's radius is not between 1 m and 500 km.",
}


class SelectorMalformed(ValueError):
    """The JSON value is not a selector."""


def matches(selector: Selector, where: Whereabouts) -> bool:
    """True when every field of the selector admits the speaker."""
    if selector.speakers is not None and where.speaker not in selector.speakers:
        return False
    if selector.venues is not None and where.venue not in selector.venues:
        return False
    if selector.venue_kinds is not None and where.venue_kind not in selector.venue_kinds:
        return False
    if selector.areas is not None and not any(area in selector.areas for area in where.area_chain):
        return False
    return selector.shapes is None or any(inside(shape, where.lat_e7, where.lon_e7) for shape in selector.shapes)


def inside(shape: Shape, lat_e7: int, lon_e7: int) -> bool:
    """True when the point lies in the shape or on its edge."""
    match shape:
        case Polygon(ring):
            return _inside_ring(ring, lat_e7, lon_e7)
        case Circle():
            return _inside_circle(shape, lat_e7, lon_e7)


def _inside_ring(ring: tuple[tuple[int, int], ...], lat: int, lon: int) -> bool:
    """Even-odd rule on the plane of latitude and longitude; exact."""
    odd = False
    before_lat, before_lon = ring[-1] if ring else (0, 0)
    for next_lat, next_lon in ring:
        turn = (next_lon - before_lon) * (lat - before_lat) - (next_lat - before_lat) * (lon - before_lon)
        if (
            turn == 0
            and min(before_lat, next_lat) <= lat <= max(before_lat, next_lat)
            and min(before_lon, next_lon) <= lon <= max(before_lon, next_lon)
        ):
            return True
        # The edge is crossed by a ray from the point towards east; the half-open test counts a shared vertex once.
        if (before_lat > lat) != (next_lat > lat) and (turn > 0) == (next_lat > before_lat):
            odd = not odd
        before_lat, before_lon = next_lat, next_lon
    return odd


def _inside_circle(circle: Circle, lat: int, lon: int) -> bool:
    """Equirectangular distance at the middle latitude, in 1e-7 degree of latitude; integers throughout."""
    radius = circle.radius_m * 1_000_000_000 // _NM_PER_E7
    north = abs(lat - circle.lat_e7)
    east = abs(lon - circle.lon_e7) * _cosine_q30(abs(lat + circle.lat_e7) // 2) >> 30
    return north <= radius and east <= radius and north * north + east * east <= radius * radius


def _cosine_q30(lat_e7: int) -> int:
    """Cosine of a latitude of 0 to 90°, scaled by 2³⁰: the Taylor series to the tenth power, in 64-bit integers."""
    angle = lat_e7 * _RADIANS_PER_E7_Q60 >> 30
    square = angle * angle >> 30
    series = _ONE - square // 90
    for divisor in (56, 30, 12, 2):
        series = _ONE - (square * series >> 30) // divisor
    return series


def refusal(selector: Selector) -> SelectorRefusal | None:
    """The first limit that the selector breaks, or None; checked before release and again by the speaker."""
    for names in (selector.areas, selector.venues, selector.venue_kinds):
        if names is not None and len(names) > SELECTOR_NAMES_MAX:
            return SelectorRefusal.NAMES
    if selector.speakers is not None and len(selector.speakers) > SELECTOR_SPEAKERS_MAX:
        return SelectorRefusal.SPEAKERS
    shapes = selector.shapes or ()
    if sum(len(shape.ring) if isinstance(shape, Polygon) else 1 for shape in shapes) > SELECTOR_VERTICES_MAX:
        return SelectorRefusal.VERTICES
    return next((reason for shape in shapes if (reason := _shape_refusal(shape)) is not None), None)


def _shape_refusal(shape: Shape) -> SelectorRefusal | None:
    points = shape.ring if isinstance(shape, Polygon) else ((shape.lat_e7, shape.lon_e7),)
    if isinstance(shape, Polygon) and len(points) < 3:
        return SelectorRefusal.RING_SHORT
    if any(abs(lat) > LAT_E7_MAX or abs(lon) > LON_E7_MAX for lat, lon in points):
        return SelectorRefusal.POSITION
    if isinstance(shape, Circle) and not 1 <= shape.radius_m <= RADIUS_M_MAX:
        return SelectorRefusal.RADIUS
    return None


def to_json(selector: Selector) -> dict[str, object]:
    """The selector as a JSON object; absent fields are left out."""
    members: dict[str, object] = {
        name: list(names)
        for name, names in (
            ("areas", selector.areas),
            ("venues", selector.venues),
            ("venue_kinds", selector.venue_kinds),
            ("speakers", selector.speakers),
        )
        if names is not None
    }
    if selector.shapes is not None:
        members["shapes"] = [_shape_to_json(shape) for shape in selector.shapes]
    return members


def _shape_to_json(shape: Shape) -> dict[str, object]:
    match shape:
        case Polygon(ring):
            return {"ring": [list(point) for point in ring]}
        case Circle(lat_e7, lon_e7, radius_m):
            return {"lat_e7": lat_e7, "lon_e7": lon_e7, "radius_m": radius_m}


def from_json(value: object) -> Selector:
    """The selector in a JSON value that a strict reader produced.

    Raises SelectorMalformed for a wrong form or an unknown member. Limits are `refusal`'s to check; the length of
    the input is the caller's.
    """
    members = _object(value, "selector")
    unknown = members.keys() - {"areas", "venues", "venue_kinds", "speakers", "shapes"}
    if unknown:
        raise SelectorMalformed(f"unknown member {min(unknown)!r}")
    return Selector(
        areas=_names(members, "areas"),
        venues=_names(members, "venues"),
        venue_kinds=_names(members, "venue_kinds"),
        speakers=_names(members, "speakers"),
        shapes=tuple(_shape(item) for item in _list(members["shapes"], "shapes")) if "shapes" in members else None,
    )


def _names(members: dict[str, object], field: str) -> tuple[str, ...] | None:
    if field not in members:
        return None
    names = _list(members[field], field)
    if not all(isinstance(name, str) and name for name in names):
        raise SelectorMalformed(f"{field} holds something other than a name")
    return tuple(cast("list[str]", names))


def _shape(value: object) -> Shape:
    members = _object(value, "shape")
    if members.keys() == {"ring"}:
        return Polygon(tuple(_point(item) for item in _list(members["ring"], "ring")))
    if members.keys() == {"lat_e7", "lon_e7", "radius_m"}:
        return Circle(*(_integer(members[name], name) for name in ("lat_e7", "lon_e7", "radius_m")))
    raise SelectorMalformed("a shape is neither a ring nor a circle")


def _point(value: object) -> tuple[int, int]:
    point = _list(value, "point")
    if len(point) != 2:
        raise SelectorMalformed("a point is not a latitude and a longitude")
    return _integer(point[0], "latitude"), _integer(point[1], "longitude")


def _integer(value: object, field: str) -> int:
    if type(value) is not int:
        raise SelectorMalformed(f"{field} is not an integer")
    return value


def _list(value: object, field: str) -> list[object]:
    if not isinstance(value, list):
        raise SelectorMalformed(f"{field} is not a list")
    return value


def _object(value: object, field: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise SelectorMalformed(f"{field} is not an object")
    return value
