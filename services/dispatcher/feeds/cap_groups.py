"""Which info blocks of a CAP message say the same, and what hazard and level they claim. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from services.dispatcher.feeds.cap_message import CapInfo, CapMessage
from services.dispatcher.feeds.hazards import (
    AWARENESS_TYPES,
    BY_NAME,
    EVENT_CODE,
    OTHER,
    Hazard,
    by_code,
    by_humps,
    by_words,
)

KNOWN_WORDS_MAX = 1_024
WORD_CHARS_MAX = 64
SEVERITY_LEVELS = {"Extreme": 1, "Severe": 2, "Moderate": 3, "Minor": 4}
COLOUR_LEVELS = {"红": 1, "紅": 1, "橙": 2, "黄": 3, "黃": 3, "蓝": 4, "藍": 4}
COLOUR = re.compile(r"([红紅橙黄黃蓝藍])色(?:预警|預警|警报|警報|信号|信號)")
AWARENESS_LEVELS = {"red": 1, "orange": 2, "yellow": 3, "green": 4}


class Group(NamedTuple):
    """Info blocks of a message that make one signal; the first is the one people read.

    `colours` are the levels of the colours that their headlines name.
    """

    hazard: str
    event_code: str
    level: int | None
    infos: tuple[CapInfo, ...]
    colours: tuple[int, ...] = ()


# A cancel may come without info blocks; what it ends is in its references.
NO_GROUP = Group(OTHER, "", None, ())


def groups(message: CapMessage, aliases: Sequence[tuple[str, str]] = ()) -> tuple[Group, ...]:
    """The message's info blocks by hazard and level, Chinese first. One alert describes one event (CAP 1.2, 3.2.2):
    a block whose event is not understood is a translation and takes the hazard of its neighbours."""
    if len(message.infos) == 1:
        (info,) = message.infos
        hazard, code = _hazard(info, aliases)
        if hazard is None and (hazard := by_words(info.headline)) is not None:
            code = code or hazard.code
        colours = _colours(info)
        return (Group(OTHER if hazard is None else hazard.name, code, _level(info, colours), message.infos, colours),)
    infos = sorted(message.infos, key=lambda info: not info.language.lower().startswith("zh"))
    named = [(info, *_hazard(info, aliases)) for info in infos]
    if all(hazard is None for _, hazard, _ in named):
        # Headlines say more than the event: they are read only where no block names its event in known words.
        by_headline = [by_words(info.headline) for info in infos]
        named = [
            (info, hazard, code or (hazard.code if hazard else ""))
            for (info, _, code), hazard in zip(named, by_headline, strict=True)
        ]
    understood = next(((hazard, code) for _, hazard, code in named if hazard is not None), (None, ""))
    every = [_colours(info) for info in infos]
    levels = [_level(info, own) for info, own in zip(infos, every, strict=True)]
    if len(set(levels)) == 1 and all(hazard is None or hazard is understood[0] for _, hazard, _ in named):
        name = OTHER if understood[0] is None else understood[0].name
        code = next((code for _, _, code in named if code), understood[1])
        return (Group(name, code, levels[0], tuple(infos), tuple(colour for own in every for colour in own)),)
    found: dict[tuple[str, int | None], Group] = {}
    originals = _originals(infos)
    known = {
        original: each for each, original in reversed([*zip(named, originals, strict=True)]) if each[1] is not None
    }
    for (info, hazard, code), own, original in zip(named, every, originals, strict=True):
        if original in known:
            _, hazard, code = known[original]
        else:
            hazard, code = understood[0], code or understood[1]
        name = OTHER if hazard is None else hazard.name
        level = levels[original]
        group = found.get((name, level))
        if group is None:
            found[name, level] = Group(name, code, level, (info,), own)
        else:
            found[name, level] = Group(
                name, group.event_code or code, level, (*group.infos, info), (*group.colours, *own)
            )
    return tuple(found.values())


def _originals(infos: Sequence[CapInfo]) -> list[int]:
    """For each info block the place of the one that it translates, itself where it translates none: the first of those
    that say the same of the same areas and times, when no two of them are in one language."""
    alike: dict[object, list[int]] = {}
    for place, info in enumerate(infos):
        # One text of a polygon in a message is one object.
        areas = tuple([(*map(id, area.polygons), area.circles, area.codes) for area in info.areas])
        what = (info.severity, info.urgency, info.certainty, info.effective_us, info.onset_us, info.expires_us)
        alike.setdefault((what, areas), []).append(place)
    originals = list(range(len(infos)))
    for places in alike.values():
        if len({infos[place].language.lower() for place in places}) == len(places):
            for place in places:
                originals[place] = places[0]
    return originals


def _level(info: CapInfo, colours: tuple[int, ...]) -> int | None:
    """The colour a Chinese headline names (the last, where it says from which to which), else the severity, else the
    colour that the European weather services state beside it."""
    if colours:
        return colours[-1]
    if info.severity != "Unknown":
        return SEVERITY_LEVELS.get(info.severity)
    for name, value in info.parameters:
        if name == "awareness_level":
            return next((level for word, level in AWARENESS_LEVELS.items() if word in value.lower()), None)
    return None


def _hazard(info: CapInfo, aliases: Sequence[tuple[str, str]]) -> tuple[Hazard | None, str]:
    """The hazard and the event code: by the feed's own word, by code, by the event's words."""
    if aliases:
        own = {word.casefold(): name for word, name in aliases}
        for word in (info.event, *(value for _, value in info.event_codes)):
            hazard = BY_NAME.get(own.get(word.casefold(), ""))
            if hazard is not None:
                return hazard, hazard.code
    for scheme, value in info.event_codes:
        hazard = by_code(value, scheme)
        if EVENT_CODE.fullmatch(value):
            return hazard, value
        if hazard is not None:
            return hazard, hazard.code
    hazard = _by_words(info.event)
    if hazard is None:
        hazard = _by_other_words(info)
    return hazard, hazard.code if hazard else ""


def _by_other_words(info: CapInfo) -> Hazard | None:
    """Where the event says nothing, its codes may be words, and European weather services number their hazards."""
    for _, value in info.event_codes:
        hazard = _by_known_humps(value) if len(value) <= WORD_CHARS_MAX else None
        if hazard is not None:
            return hazard
    for name, value in info.parameters:
        if name == "awareness_type":
            return BY_NAME.get(AWARENESS_TYPES.get(value.partition(";")[0].strip(), ""))
    return None


@lru_cache(KNOWN_WORDS_MAX)
def _by_known_humps(code: str) -> Hazard | None:
    return by_humps(code)


@lru_cache(KNOWN_WORDS_MAX)
def _by_known_words(event: str) -> Hazard | None:
    return by_words(event)


def _by_words(event: str) -> Hazard | None:
    """A feed has few names of events and repeats them in every message."""
    return _by_known_words(event) if len(event) <= WORD_CHARS_MAX else by_words(event)


def _colours(info: CapInfo) -> tuple[int, ...]:
    if info.headline.isascii() and info.event.isascii():
        return ()
    words: list[str] = COLOUR.findall(info.headline) or COLOUR.findall(info.event)
    return tuple([COLOUR_LEVELS[word] for word in words])
