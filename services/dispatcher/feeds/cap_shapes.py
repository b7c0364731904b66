"""CAP polygons and circles: text in, WGS-84 shapes out. Pure."""

from __future__ import annotations

from devices.protocols.selector import Circle, Polygon

RADIUS_KM_MAX = 20_040.0


class BadShape(Exception):
    """The text is no shape; `code` and `sentence` say why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def polygon_of(text: str) -> Polygon:
    """A ring of at least four lat,lon pairs, first = last (OASIS CAP 1.2, polygon); the repeated point is left out.

    Raises BadShape.
    """
    points = [_point(pair) for pair in text.split()]
    if len(points) < 4:
        raise BadShape("polygon_points", "A polygon needs at least four points.")
    if points[0] != points[-1]:
        raise BadShape("polygon_open", "A polygon's last point must be its first.")
    return Polygon(tuple(points[:-1]))


def circle_of(text: str) -> Circle:
    """Centre and radius in km; the radius comes out in metres. Raises BadShape."""
    parts = text.split()
    if len(parts) != 2:
        raise BadShape("circle_malformed", "A circle is lat,lon and a radius in km.")
    lat_e7, lon_e7 = _point(parts[0])
    radius_km = _number(parts[1])
    if radius_km is None or not 0.0 <= radius_km <= RADIUS_KM_MAX:
        raise BadShape("circle_radius", "The radius is not a number of km from 0 to half the Earth.")
    return Circle(lat_e7, lon_e7, round(radius_km * 1_000))


def _point(pair: str) -> tuple[int, int]:
    lat, _, lon = pair.partition(",")
    y, x = _number(lat), _number(lon)
    if y is None or x is None:
        raise BadShape("coordinates_malformed", f"{pair[:40]!r} is not lat,lon.")
    if not (-90.0 <= y <= 90.0 and -180.0 <= x <= 180.0):
        raise BadShape("coordinates_range", f"{pair[:40]!r} lies outside latitude 90 or longitude 180.")
    return round(y * 1e7), round(x * 1e7)


def _number(text: str) -> float | None:
    # float() also takes 1_000, which no standard of ours does; nan and inf fail the range checks.
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


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
    open_edges: list[tuple[int, int, tuple[int, int], tuple[int, int]]] = []
    for west, east, index, a, b in edges:
        open_edges = [each for each in open_edges if each[0] >= west]
        for _, other, c, d in open_edges:
            if abs(index - other) not in (1, count - 1) and _cross(a, b, c, d):
                return True
        open_edges.append((east, index, a, b))
    return False


def _cross(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int], d: tuple[int, int]) -> bool:
    """True when the open segments ab and cd cross in one inner point; touching is common in real data and harmless."""
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: tuple[int, int], b: tuple[int, int], p: tuple[int, int]) -> int:
    turn = (b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0])
    return (turn > 0) - (turn < 0)
