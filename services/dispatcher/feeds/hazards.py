"""Hazards: what the words and codes of foreign messages mean here, as data with a version. Pure.

Codes follow GB/T 35561-2017 as warning platforms use it (1, class, subclass letter, two digits; 00 = whole subclass).
Providers differ above about 31 in 11B, so a feed that uses numbers of its own needs its own aliases, not a change here.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from services.dispatcher.feeds.hazards_words import WORDS

HAZARDS_VERSION = 2
OTHER = "other"
EVENT_CODE = re.compile(r"1[1-4][A-Z][0-9]{2}")


@dataclass(frozen=True, slots=True)
class Hazard:
    """One hazard. `levels` are the warning colours in use for it (1 red to 4 blue; CMA Order 16 and later practice)."""

    name: str
    code: str
    levels: tuple[int, ...] = (1, 2, 3, 4)

    @property
    def words(self) -> tuple[str, ...]:
        """What event texts call it, lower case and without accents; a longer word wins over a shorter one."""
        return tuple(word for words in WORDS.get(self.name, {}).values() for word in words.split(","))


HAZARDS: tuple[Hazard, ...] = (
    Hazard("flood", "11A00"),
    Hazard("typhoon", "11B01"),
    Hazard("tornado", "11B02"),
    Hazard("rainstorm", "11B03"),
    Hazard("snowstorm", "11B04"),
    Hazard("cold_wave", "11B05"),
    Hazard("gale", "11B06"),
    Hazard("sandstorm", "11B07"),
    Hazard("low_temperature", "11B08"),
    Hazard("heat", "11B09", (1, 2, 3)),
    Hazard("heat_wave", "11B10"),
    Hazard("dry_hot_wind", "11B11"),
    Hazard("downburst", "11B12"),
    Hazard("avalanche", "11B13"),
    Hazard("lightning", "11B14", (1, 2, 3)),
    Hazard("hail", "11B15", (1, 2)),
    Hazard("frost", "11B16", (2, 3, 4)),
    Hazard("fog", "11B17", (1, 2, 3)),
    Hazard("wind_shear", "11B18"),
    Hazard("haze", "11B19", (1, 2, 3)),
    Hazard("thunderstorm_gale", "11B20"),
    Hazard("road_icing", "11B21", (1, 2, 3)),
    Hazard("drought", "11B22", (1, 2)),
    Hazard("sea_gale", "11B23"),
    Hazard("heat_stroke", "11B24"),
    Hazard("forest_fire_risk", "11B25"),
    Hazard("grassland_fire_risk", "11B26"),
    Hazard("freezing", "11B27"),
    Hazard("space_weather", "11B28"),
    Hazard("air_pollution", "11B29"),
    Hazard("severe_convection", "11B31"),
    Hazard("heavy_snow", "11B33"),
    Hazard("geological_risk", "11B37"),
    Hazard("heavy_rainfall", "11B38"),
    Hazard("earthquake", "11C00"),
    Hazard("geological", "11D00"),
    Hazard("tsunami", "11E00"),
    Hazard("storm_surge", "11E02"),
    Hazard("sea_wave", "11E06"),
    Hazard("wildfire", "11G00"),
    Hazard("fire", "12B00"),
    Hazard("traffic", "12C00"),
    Hazard("public_utility", "12D00"),
)

# Short codes that travel in CAP eventCode under the name SAME (US and Canadian emergency alert codes).
_SAME: dict[str, str] = {
    "avalanche": "AVA AVW",
    "snowstorm": "BZW SQW WSA WSW",
    "sandstorm": "DSW",
    "earthquake": "EQW",
    "flood": "CFA CFW DBA DBW FFA FFS FFW FLA FLS FLW",
    "fire": "FRW IFW",
    "wildfire": "WFA WFW",
    "frost": "FZW",
    "freezing": "FSW",
    "typhoon": "HLS HUA HUS HUW TRA TRW TYA TYW",
    "gale": "EWW HWA HWW",
    "geological": "LSW",
    "sea_gale": "SMW",
    "public_utility": "POS",
    "storm_surge": "SSA SSW",
    "thunderstorm_gale": "SVA SVR SVS",
    "tornado": "TOA TOR",
    "tsunami": "TSA TSW",
}
SAME: dict[str, str] = {code: name for name, codes in _SAME.items() for code in codes.split()}

# The parameter awareness_type of the European weather services begins with one of these numbers.
AWARENESS_TYPES: dict[str, str] = {
    "1": "gale",
    "2": "snowstorm",
    "3": "thunderstorm_gale",
    "4": "fog",
    "5": "heat",
    "6": "low_temperature",
    "7": "storm_surge",
    "8": "forest_fire_risk",
    "9": "avalanche",
    "10": "rainstorm",
    "11": "flood",
    "12": "flood",
    "13": "flood",
}

BY_NAME = {hazard.name: hazard for hazard in HAZARDS}
BY_CODE = {hazard.code: hazard for hazard in HAZARDS}

_ANYWHERE = re.compile("[\u0e00-\u0e7f\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff]")
"""Scripts that put no space between words: Thai, Hangul, kana and Chinese characters."""
_LETTERS = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")

_NOT_DECOMPOSED = str.maketrans({"ø": "o", "æ": "ae", "œ": "oe", "đ": "d", "ł": "l", "ı": "i"})


def _folded(text: str) -> str:
    """Lower case without accents."""
    if text.isascii():
        return text.lower()
    text = unicodedata.normalize("NFKD", text.casefold()).translate(_NOT_DECOMPOSED)
    bare = [char for char in text if not unicodedata.combining(char)]
    return unicodedata.normalize("NFC", "".join(bare))


def _by_first_character() -> dict[str, list[tuple[str, Hazard]]]:
    found: dict[str, list[tuple[str, Hazard]]] = {}
    for hazard in HAZARDS:
        for word in hazard.words:
            if _ANYWHERE.match(word):
                found.setdefault(word[0], []).append((word, hazard))
    return found


def _by_first_word() -> dict[str, list[tuple[tuple[str, ...], int, Hazard]]]:
    """Whole words with their length; the last of them singular or with a plural s."""
    found: dict[str, list[tuple[tuple[str, ...], int, Hazard]]] = {}
    for hazard in HAZARDS:
        for word in hazard.words:
            if not _ANYWHERE.match(word):
                for ending in (word, f"{word}s"):
                    parts = tuple(ending.split())
                    found.setdefault(parts[0], []).append((parts, len(word), hazard))
    return found


_CHARACTERS = _by_first_character()
_WHOLE = _by_first_word()


def by_code(code: str, scheme: str = "") -> Hazard | None:
    """The hazard of an event code; an unknown code falls back to its whole subclass, SAME has its own table."""
    if EVENT_CODE.fullmatch(code):
        return BY_CODE.get(code) or BY_CODE.get(code[:3] + "00")
    return BY_NAME[SAME[code]] if code in SAME and scheme.upper() == "SAME" else None


def by_humps(code: str) -> Hazard | None:
    """The hazard of an event code that is words written together, as in flashFlood."""
    return by_words(_HUMP.sub(" ", code))


def by_words(text: str) -> Hazard | None:
    """The hazard with the longest word in the text, one of a script without spaces first; None when it names none."""
    text = _folded(text)
    longest, found = 0, None
    if not text.isascii():
        for place, char in enumerate(text):
            for word, hazard in _CHARACTERS.get(char, ()):
                if len(word) > longest and text.startswith(word, place):
                    longest, found = len(word), hazard
        if found is not None:
            return found
    parts = tuple(_LETTERS.findall(text))
    for place, part in enumerate(parts):
        for words, length, hazard in _WHOLE.get(part, ()):
            if length > longest and parts[place : place + len(words)] == words:
                longest, found = length, hazard
    return found
