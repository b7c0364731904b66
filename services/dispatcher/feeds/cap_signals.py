"""CAP messages to signals: hazard, level, place, and what of a message may be aired. Pure.

Use. Actual or Exercise comes from the feed's enrolment; a message can only lower it: Exercise makes its signals
Exercise, and Test, System and Draft make them information that nothing is aired upon, as does a scope that is not
Public, a hazard or an area the feed is not enrolled for, an alert that had expired or grown old when it came, and one
that says that its event is over.
Key. `cap/<feed>/<sender>,<identifier>,<sent µs>`, one namespace per feed, so that no feed can use up another's keys.
Info blocks of one hazard and one level are one signal, whatever their languages; further ones add `#<hazard>-<level>`.
A reference names the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.gcj02 import to_wgs84
from services.dispatcher.domain.places import code_head
from services.dispatcher.domain.signals import Datum, Feed, Place, Problem, Reading, Signal, SignalKind, Use
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage
from services.dispatcher.feeds.hazards import BY_NAME, EVENT_CODE, OTHER, Hazard, by_code, by_words

FORMAT = "cap"
DESCRIPTION_CHARS_MAX = 4_000
HEADLINE_CHARS_MAX = 400
PLACE_CODES_MAX = 1_000
FUTURE_ALLOWED_US = 300_000_000
OLD_AFTER_US = 86_400_000_000
KNOWN_WORDS_MAX = 1_024
WORD_CHARS_MAX = 64

SEVERITY_LEVELS = {"Extreme": 1, "Severe": 2, "Moderate": 3, "Minor": 4}
COLOUR_LEVELS = {"红": 1, "紅": 1, "橙": 2, "黄": 3, "黃": 3, "蓝": 4, "藍": 4}
COLOUR = re.compile(r"([红紅橙黄黃蓝藍])色(?:预警|預警|警报|警報|信号|信號)")
KINDS = {"Alert": SignalKind.ALERT, "Update": SignalKind.UPDATE, "Cancel": SignalKind.CANCEL}
NOT_AIRED = ("Test", "System", "Draft")
ENDED = re.compile("解除|取消|终止")

_LONG_CODE = re.compile(r"[1-8]\d{11}(?:\d{2})?", re.ASCII)
_SHORT_CODE = re.compile(r"[1-8]\d{5}(?:\d{3})?", re.ASCII)
_CHINESE_SCHEME = re.compile(r"CPEAS|区划|GB/?T? ?2260|adcode", re.IGNORECASE)
_SEPARATORS = re.compile(r"[,，;；\s]+")

# Findings after which a signal is information only.
_NEVER_AIRED = frozenset(
    (
        "status_not_aired",
        "scope_not_public",
        "info_missing",
        "hazard_not_enrolled",
        "area_not_enrolled",
        "expired_on_arrival",
        "report_old",
        "all_clear",
    )
)


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
    infos: Sequence[CapInfo] = message.infos
    if len(infos) > 1:
        infos = sorted(infos, key=lambda info: not info.language.lower().startswith("zh"))
    named = [(info, *_hazard(info, aliases)) for info in infos]
    if all(hazard is None for _, hazard, _ in named):
        # Headlines say more than the event: they are read only where no block names its event in known words.
        by_headline = [by_words(info.headline) for info in infos]
        named = [
            (info, hazard, code or (hazard.code if hazard else ""))
            for (info, _, code), hazard in zip(named, by_headline, strict=True)
        ]
    understood = next(((hazard, code) for _, hazard, code in named if hazard is not None), (None, ""))
    found: dict[tuple[str, int | None], Group] = {}
    for info, hazard, code in named:
        if hazard is None:
            hazard, code = understood[0], code or understood[1]
        name = OTHER if hazard is None else hazard.name
        colours = _colours(info)
        # The colour a Chinese headline names (the last, where it says from which to which), else the severity.
        level = colours[-1] if colours else SEVERITY_LEVELS.get(info.severity)
        group = found.get((name, level))
        if group is None:
            found[name, level] = Group(name, code, level, (info,), colours)
        else:
            found[name, level] = Group(
                name, group.event_code or code, level, (*group.infos, info), (*group.colours, *colours)
            )
    return tuple(found.values())


def signals(message: CapMessage, feed: Feed, received_us: int) -> Reading:
    """The signals of a message from an enrolled feed, one per hazard and level; `received_us` is µs UTC."""
    every = list(_message_problems(message, received_us))
    key = message_key(feed.id, message.sender, message.identifier, message.sent_us)
    made: list[Signal] = []
    for group in groups(message, feed.aliases) or (NO_GROUP,):
        own = key if not made else f"{key}#{group.hazard}-{group.level or 0}"
        made.append(_signal(own, message, group, feed, received_us, every))
    if len(made) == 1:
        return Reading((made[0],), made[0].problems)
    return Reading(tuple(made), tuple(dict.fromkeys(problem for each in made for problem in each.problems)))


def message_key(feed: str, sender: str, identifier: str, sent_us: int) -> str:
    """The key of a message's first signal."""
    return f"{FORMAT}/{feed}/{sender},{identifier},{sent_us}"


def _signal(key: str, message: CapMessage, group: Group, feed: Feed, received_us: int, every: list[Problem]) -> Signal:
    infos = group.infos
    ends = [info.expires_us for info in infos]
    expires_us = max((end for end in ends if end is not None), default=None) if None not in ends else None
    place, place_problems = _place(infos, feed, message.msg_type == "Cancel")
    problems = (*every, *place_problems, *_group_problems(message, group, feed, expires_us, received_us))
    kind = KINDS.get(message.msg_type, SignalKind.INFO)
    if problems and not _NEVER_AIRED.isdisjoint([problem.code for problem in problems]):
        kind = SignalKind.INFO
    headline, description = message.note, ""
    if infos:
        first = infos[0]
        headline, description = first.headline or first.event, first.description
        if first.instruction:
            description = f"{description}\n{first.instruction}" if description else first.instruction
    return Signal(
        key=key,
        reporter=feed.id,
        use=Use.EXERCISE if message.status == "Exercise" else feed.use,
        kind=kind,
        evidence=feed.evidence,
        hazard=group.hazard,
        event_code=group.event_code,
        place=place,
        observed_us=min(message.sent_us, received_us + FUTURE_ALLOWED_US),
        received_us=received_us,
        claimed_level=group.level,
        device=message.sender,
        headline=headline[:HEADLINE_CHARS_MAX],
        description=description[:DESCRIPTION_CHARS_MAX],
        expires_us=expires_us,
        references=_references(message, feed) if message.references else (),
        problems=problems,
    )


def _references(message: CapMessage, feed: Feed) -> tuple[str, ...]:
    """Keys of what the message updates or cancels; some senders name the message itself, which says nothing.

    CAP 1.0 names no time: its references are found by identifier, as those with a wrong time are.
    """
    own = message_key(feed.id, message.sender, message.identifier, message.sent_us)
    keys = [message_key(feed.id, each.sender, each.identifier, each.sent_us or 0) for each in message.references]
    return tuple(key for key in dict.fromkeys(keys) if key != own)


def _message_problems(message: CapMessage, received_us: int) -> Iterator[Problem]:
    if message.status in NOT_AIRED:
        yield _warning("status_not_aired", "alert/status", f"A message of status {message.status} is never aired.")
    if message.scope != "Public":
        yield _warning("scope_not_public", "alert/scope", f"A message of scope {message.scope} is never aired.")
    if not message.infos and message.msg_type in ("Alert", "Update"):
        yield _warning("info_missing", "alert/info", "The message says nothing: it has no info block.")
    if message.sent_us > received_us + FUTURE_ALLOWED_US:
        yield _warning(
            "sent_in_future", "alert/sent", "The message was sent in the future: a clock is wrong. It counts from now."
        )


def _group_problems(
    message: CapMessage, group: Group, feed: Feed, expires_us: int | None, received_us: int
) -> Iterator[Problem]:
    if not group.infos:
        return
    if message.msg_type != "Cancel":
        if expires_us is not None and expires_us <= received_us:
            sentence = "The alert had expired when it came; it is not aired."
            yield _warning("expired_on_arrival", "info/expires", sentence)
        elif expires_us is None and message.sent_us < received_us - OLD_AFTER_US:
            sentence = "The alert is more than 24 hours old and has no end; it is not aired."
            yield _warning("report_old", "alert/sent", sentence)
        ended = [_ended(info) for info in group.infos]
        if all(ended):
            sentence = "The message says that the event is over, yet cancels nothing; it is not aired."
            yield _warning("all_clear", "info/responseType", sentence)
        elif any(ended):
            sentence = "A part of the message says that the event is over, and another does not."
            yield _warning("all_clear_in_part", "info/responseType", sentence)
    if group.hazard == OTHER:
        yield _warning("hazard_unknown", "info/event", "The event is none of the known hazards.")
    if feed.hazards is not None and group.hazard not in feed.hazards:
        yield _warning("hazard_not_enrolled", "info/event", f"The feed is not enrolled for the hazard {group.hazard}.")
    if group.colours:
        hazard = BY_NAME.get(group.hazard)
        if hazard is not None and group.level not in hazard.levels:
            yield _warning("colour_not_in_use", "info/headline", f"There is no such colour for {group.hazard}.")
        if len(set(group.colours)) > 1:
            yield _warning("colour_ambiguous", "info/headline", "The headline names several colours; the last counts.")


def _ended(info: CapInfo) -> bool:
    if "AllClear" in info.responses:
        return True
    headline = info.headline
    return not headline.isascii() and ENDED.search(headline) is not None and COLOUR.search(headline) is not None


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
    return hazard, hazard.code if hazard else ""


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


def _place(infos: tuple[CapInfo, ...], feed: Feed, cancels: bool) -> tuple[Place, Sequence[Problem]]:
    """The union of all areas, in the feed's scope; languages repeat each other's."""
    areas = [area for info in infos for area in info.areas]
    codes: dict[str, None] = {}
    shapes: dict[Shape, None] = {}
    names: dict[str, None] = {}
    for area in areas:
        names[area.name] = None
        for scheme, value in area.codes:
            for code in area_codes(scheme, value):
                codes[code] = None
        if area.polygons or area.circles:
            shapes.update(dict.fromkeys(_in_wgs84(area, feed)))
    kept, problems = _in_scope(tuple(codes)[:PLACE_CODES_MAX], feed, cancels) if codes else ((), ())
    return Place(areas=kept, shapes=tuple(shapes), names=tuple(names)), problems


def _in_wgs84(area: CapArea, feed: Feed) -> Sequence[Shape]:
    """CAP knows WGS-84 only; some Chinese senders draw on maps that do not, and their feeds are enrolled so."""
    if feed.datum is Datum.WGS84:
        return (*area.polygons, *area.circles)
    rings = [Polygon(tuple(_moved(lat, lon) for lat, lon in polygon.ring)) for polygon in area.polygons]
    return (*rings, *(Circle(*_moved(each.lat_e7, each.lon_e7), each.radius_m) for each in area.circles))


def _moved(lat_e7: int, lon_e7: int) -> tuple[int, int]:
    lat, lon = to_wgs84(lat_e7 / 1e7, lon_e7 / 1e7)
    return round(lat * 1e7), round(lon * 1e7)


def _in_scope(codes: tuple[str, ...], feed: Feed, cancels: bool) -> tuple[tuple[str, ...], Sequence[Problem]]:
    """The codes that the feed may speak for; one that is wider is narrowed to what the feed may."""
    scope = [code for code in (feed.area, *feed.areas) if code]
    heads = tuple([code_head(code) for code in scope])
    if not scope or all(code.startswith(heads) for code in codes):
        return codes, ()
    kept: dict[str, None] = {}
    problems: list[Problem] = []
    for code in codes:
        if code.startswith(heads):
            kept[code] = None
        elif narrowed := [each for each in scope if each.startswith(code_head(code))]:
            kept.update(dict.fromkeys(narrowed))
            sentence = f"The area {code} is wider than what the feed speaks for; it was narrowed to {narrowed[0]}."
            problems.append(_warning("area_narrowed", "info/area", sentence))
        else:
            sentence = f"The feed is not enrolled for the area {code}."
            problems.append(_warning("area_left_out", "info/area", sentence))
    if not kept and not cancels:
        sentence = "The feed is enrolled for none of the areas that the alert names."
        return codes, (*problems, _warning("area_not_enrolled", "info/area", sentence))
    return tuple(kept), problems


def area_codes(scheme: str, value: str) -> Iterator[str]:
    """The 12-digit division codes in a geocode. Short codes count only where the scheme's name says that they are
    Chinese divisions: six digits are also postcodes and SAME counties."""
    if len(value) < 6:
        return
    for part in _SEPARATORS.split(value) if not value.isalnum() else (value,):
        if _LONG_CODE.fullmatch(part):
            yield part[:12]
        elif _SHORT_CODE.fullmatch(part) and _CHINESE_SCHEME.search(scheme):
            yield part.ljust(12, "0")


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
