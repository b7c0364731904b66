"""Hazards: what the words and codes of foreign messages mean here, as data with a version. Pure.

Codes follow GB/T 35561-2017 as warning platforms use it (1, class, subclass letter, two digits; 00 = whole subclass).
Providers differ above about 31 in 11B, so a feed that uses numbers of its own needs its own aliases, not a change here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

HAZARDS_VERSION = 1
OTHER = "other"
EVENT_CODE = re.compile(r"1[1-4][A-Z][0-9]{2}")


@dataclass(frozen=True, slots=True)
class Hazard:
    """One hazard. `levels` are the warning colours in use for it (1 red to 4 blue; CMA Order 16 and later practice).

    `words` are what event texts call it, lower case; a longer word wins over a shorter one.
    """

    name: str
    code: str
    words: tuple[str, ...]
    levels: tuple[int, ...] = (1, 2, 3, 4)


HAZARDS: tuple[Hazard, ...] = (
    Hazard("flood", "11A00", ("洪水", "山洪", "内涝", "flood", "flash flood")),
    Hazard("typhoon", "11B01", ("台风", "颱風", "热带气旋", "typhoon", "hurricane", "cyclone", "tropical storm")),
    Hazard("tornado", "11B02", ("龙卷风", "龙卷", "tornado")),
    Hazard("rainstorm", "11B03", ("暴雨", "rainstorm", "heavy rain", "torrential rain")),
    Hazard("snowstorm", "11B04", ("暴雪", "snowstorm", "blizzard", "winter storm")),
    Hazard("cold_wave", "11B05", ("寒潮", "cold wave")),
    Hazard(
        "gale", "11B06", ("大风", "强风", "強風", "季候风", "季候風", "gale", "high wind", "strong wind", "monsoon")
    ),
    Hazard("sandstorm", "11B07", ("沙尘暴", "sandstorm", "dust storm")),
    Hazard("low_temperature", "11B08", ("低温冻害", "低温")),
    Hazard("heat", "11B09", ("高温", "high temperature", "extreme heat"), (1, 2, 3)),
    Hazard("heat_wave", "11B10", ("热浪", "heat wave", "heatwave")),
    Hazard("dry_hot_wind", "11B11", ("干热风",)),
    Hazard("downburst", "11B12", ("下击暴流", "downburst")),
    Hazard("avalanche", "11B13", ("雪崩", "avalanche")),
    Hazard("lightning", "11B14", ("雷电", "lightning"), (1, 2, 3)),
    Hazard("hail", "11B15", ("冰雹", "hail"), (1, 2)),
    Hazard("frost", "11B16", ("霜冻", "frost"), (2, 3, 4)),
    Hazard("fog", "11B17", ("大雾", "dense fog", "fog"), (1, 2, 3)),
    Hazard("wind_shear", "11B18", ("低空风切变", "wind shear")),
    Hazard("haze", "11B19", ("霾", "haze"), (1, 2, 3)),
    Hazard("thunderstorm_gale", "11B20", ("雷雨大风", "severe thunderstorm", "thunderstorm")),
    Hazard("road_icing", "11B21", ("道路结冰", "road icing", "icy roads"), (1, 2, 3)),
    Hazard("drought", "11B22", ("干旱", "drought"), (1, 2)),
    Hazard("sea_gale", "11B23", ("海上大风", "small craft")),
    Hazard("heat_stroke", "11B24", ("高温中暑",)),
    Hazard("forest_fire_risk", "11B25", ("森林火险", "red flag")),
    Hazard("grassland_fire_risk", "11B26", ("草原火险",)),
    Hazard("freezing", "11B27", ("冰冻", "ice storm", "freezing rain")),
    Hazard("space_weather", "11B28", ("空间天气", "space weather")),
    Hazard("air_pollution", "11B29", ("重污染",)),
    Hazard("severe_convection", "11B31", ("强对流",)),
    Hazard("heavy_snow", "11B33", ("大雪", "heavy snow")),
    Hazard("geological_risk", "11B37", ("地质灾害气象风险",)),
    Hazard("heavy_rainfall", "11B38", ("强降雨", "强降水")),
    Hazard("earthquake", "11C00", ("地震", "earthquake")),
    Hazard("geological", "11D00", ("地质灾害", "滑坡", "泥石流", "崩塌", "landslide", "debris flow", "mudslide")),
    Hazard("tsunami", "11E00", ("海啸", "tsunami")),
    Hazard("storm_surge", "11E02", ("风暴潮", "storm surge")),
    Hazard("sea_wave", "11E06", ("海浪", "high surf")),
    Hazard("wildfire", "11G00", ("森林火灾", "草原火灾", "山火", "wildfire", "bushfire", "forest fire")),
    Hazard("fire", "12B00", ("火灾", "火警", "fire")),
    Hazard("traffic", "12C00", ("交通事故",)),
    Hazard("public_utility", "12D00", ("燃气泄漏", "停水", "停电", "gas leak")),
)

# Short codes that travel in CAP eventCode under the name SAME (US emergency alert codes).
SAME: dict[str, str] = {
    "AVW": "avalanche",
    "BZW": "snowstorm",
    "DSW": "sandstorm",
    "EQW": "earthquake",
    "FFW": "flood",
    "FLW": "flood",
    "FRW": "fire",
    "HUW": "typhoon",
    "HWW": "gale",
    "SVR": "thunderstorm_gale",
    "TOR": "tornado",
    "TRW": "typhoon",
    "TSW": "tsunami",
    "TYW": "typhoon",
    "WSW": "snowstorm",
}

BY_NAME = {hazard.name: hazard for hazard in HAZARDS}
BY_CODE = {hazard.code: hazard for hazard in HAZARDS}
# Longest first. A Latin word must stand alone, singular or plural: "fire" is not in "firefighter".
_LONGEST_FIRST = sorted(((word, each) for each in HAZARDS for word in each.words), key=lambda pair: -len(pair[0]))
_LATIN = [(ending, each) for word, each in _LONGEST_FIRST if word.isascii() for ending in (f" {word} ", f" {word}s ")]
_CHINESE = [(word, each) for word, each in _LONGEST_FIRST if not word.isascii()]
_NOT_LETTERS = re.compile("[^a-z]+")


def by_code(code: str, scheme: str = "") -> Hazard | None:
    """The hazard of an event code; an unknown code falls back to its whole subclass, SAME has its own table."""
    if EVENT_CODE.fullmatch(code):
        return BY_CODE.get(code) or BY_CODE.get(code[:3] + "00")
    return BY_NAME[SAME[code]] if scheme.upper() == "SAME" and code in SAME else None


def by_words(text: str) -> Hazard | None:
    """The hazard with the longest word in the text, Chinese before Latin; None when it names none."""
    if not text.isascii():
        for word, hazard in _CHINESE:
            if word in text:
                return hazard
    latin = f" {_NOT_LETTERS.sub(' ', text.lower())} "
    for word, hazard in _LATIN:
        if word in latin:
            return hazard
    return None
