"""GCJ-02 (国测局坐标), the datum of Chinese maps, to WGS-84 and back. Pure; positions are (lat, lon) in degrees.

The shift is known as a function of WGS-84 only, so the way back is found by repeating: what the shift of the guess
misses is taken off the guess. The shift changes by less than a hundredth over its own length, so that each round wins
two digits. Outside the rectangle round China the two datums are one, and a position stands as it is. The rectangle is
coarse, as it is wherever this datum is used: positions in border regions of neighbouring countries are shifted too.
"""

from __future__ import annotations

from math import cos, pi, radians, sin, sqrt

LAT_RANGE = (0.8293, 55.8271)
LON_RANGE = (72.004, 137.8347)
ROUNDS = 8
"""The error after n rounds is below the shift (700 m) × 0.01ⁿ; eight leave only what rounding leaves."""

# The ellipsoid of Krasovsky, 1940.
_SEMI_MAJOR_M = 6_378_245.0
_ECCENTRICITY_SQUARED = 0.00669342162296594323

# The waves of the shift: amplitude in metres, half the wavelength in units of the axis.
_COMMON_WAVES = ((20.0, 1 / 6), (20.0, 1 / 2))
_NORTH_WAVES = ((20.0, 1.0), (40.0, 3.0), (160.0, 12.0), (320.0, 30.0))
_EAST_WAVES = ((20.0, 1.0), (40.0, 3.0), (150.0, 12.0), (300.0, 30.0))


def in_china(lat: float, lon: float) -> bool:
    """Whether GCJ-02 differs from WGS-84 there; False for what is no number."""
    return LAT_RANGE[0] <= lat <= LAT_RANGE[1] and LON_RANGE[0] <= lon <= LON_RANGE[1]


def from_wgs84(lat: float, lon: float) -> tuple[float, float]:
    """The GCJ-02 position of a WGS-84 one; itself outside China."""
    if not in_china(lat, lon):
        return lat, lon
    north, east = _shift(lat, lon)
    return lat + north, lon + east


def to_wgs84(lat: float, lon: float) -> tuple[float, float]:
    """The WGS-84 position of a GCJ-02 one, within 1 m; itself outside China."""
    if not in_china(lat, lon):
        return lat, lon
    found_lat, found_lon = lat, lon
    for _ in range(ROUNDS):
        north, east = _shift(found_lat, found_lon)
        found_lat, found_lon = lat - north, lon - east
    return found_lat, found_lon


def _shift(lat: float, lon: float) -> tuple[float, float]:
    """How far GCJ-02 lies north and east of this WGS-84 position, in degrees."""
    x, y = lon - 105.0, lat - 35.0
    bent = sqrt(abs(x))
    common = _waves(_COMMON_WAVES, x)
    north_m = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * bent + (common + _waves(_NORTH_WAVES, y)) * 2 / 3
    east_m = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * bent + (common + _waves(_EAST_WAVES, x)) * 2 / 3
    slope = 1 - _ECCENTRICITY_SQUARED * sin(radians(lat)) ** 2
    meridian_m = _SEMI_MAJOR_M * (1 - _ECCENTRICITY_SQUARED) / (slope * sqrt(slope))
    parallel_m = _SEMI_MAJOR_M / sqrt(slope) * cos(radians(lat))
    return north_m / meridian_m * 180 / pi, east_m / parallel_m * 180 / pi


def _waves(waves: tuple[tuple[float, float], ...], along: float) -> float:
    return sum(amplitude_m * sin(pi * along / half) for amplitude_m, half in waves)
