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

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.gcj02 import to_wgs84
from services.dispatcher.domain.places import code_head
from services.dispatcher.domain.signals import Datum, Feed, Place, Problem, Reading, Signal, SignalKind, Use
from services.dispatcher.feeds.cap_groups import (
    COLOUR,
    KNOWN_WORDS_MAX,
    NO_GROUP,
    WORD_CHARS_MAX,
    Group,
    groups,
)
from services.dispatcher.feeds.cap_message import CapArea, CapInfo, CapMessage
from services.dispatcher.feeds.hazards import BY_NAME, OTHER

FORMAT = "cap"
DESCRIPTION_CHARS_MAX = 4_000
HEADLINE_CHARS_MAX = 400
PLACE_CODES_MAX = 1_000
FUTURE_ALLOWED_US = 300_000_000
OLD_AFTER_US = 86_400_000_000
SHORT_CODE_CHARS_MAX, CODE_CHARS = 9, 12

KINDS = {"Alert": SignalKind.ALERT, "Update": SignalKind.UPDATE, "Cancel": SignalKind.CANCEL}
NOT_AIRED = ("Test", "System", "Draft")
ENDED = ("解除", "取消", "终止")

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
    expires_us = None if not ends or None in ends else max(end for end in ends if end is not None)
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
        observed_us=max(0, min(message.sent_us, received_us + FUTURE_ALLOWED_US)),
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
    own = (message.sender, message.identifier, message.sent_us)
    others = [each for each in message.references if (each.sender, each.identifier, each.sent_us) != own]
    return tuple(dict.fromkeys([message_key(feed.id, e.sender, e.identifier, e.sent_us or 0) for e in others]))


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
    if headline.isascii() or not any(word in headline for word in ENDED):
        return False
    return COLOUR.search(headline) is not None


def _place(infos: tuple[CapInfo, ...], feed: Feed, cancels: bool) -> tuple[Place, Sequence[Problem]]:
    """The union of all areas, in the feed's scope; languages repeat each other's."""
    areas = infos[0].areas if len(infos) == 1 else [area for info in infos for area in info.areas]
    codes: dict[str, None] = {}
    shapes: list[Shape] = []
    for area in areas:
        for scheme, value in area.codes:
            # Short values are the rule, and most schemes are not Chinese divisions.
            if len(value) > SHORT_CODE_CHARS_MAX or (len(value) > 5 and _is_chinese(scheme)):
                for code in area_codes(scheme, value):
                    codes[code] = None
        if area.polygons or area.circles:
            shapes += _in_wgs84(area, feed)
    kept, problems = _in_scope(tuple(codes), feed, cancels) if codes else ((), ())
    names = tuple(dict.fromkeys([area.name for area in areas]))
    return Place(areas=kept, shapes=tuple(shapes) if len(areas) < 2 else _distinct(shapes), names=names), problems


def _distinct(shapes: Sequence[Shape]) -> tuple[Shape, ...]:
    """A message's equal polygons are mostly one object, which is quicker to see than the equality of their points."""
    once = {id(shape): shape for shape in shapes}
    return tuple(once.values() if len(once) < 2 else dict.fromkeys(once.values()))


@lru_cache(KNOWN_WORDS_MAX)
def _is_known_chinese(scheme: str) -> bool:
    return _CHINESE_SCHEME.search(scheme) is not None


def _is_chinese(scheme: str) -> bool:
    """Whether a scheme's name says that it is Chinese divisions; a feed has few schemes and repeats them."""
    return _is_known_chinese(scheme) if len(scheme) <= WORD_CHARS_MAX else _CHINESE_SCHEME.search(scheme) is not None


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
    problems: list[Problem] = []
    if len(codes) > PLACE_CODES_MAX:
        sentence = f"The alert names {len(codes)} areas; {PLACE_CODES_MAX} of them count."
        problems.append(_warning("areas_too_many", "info/area", sentence))
        codes = _foremost(codes, scope)
    if not scope or all(code.startswith(heads) for code in codes):
        return codes, problems
    kept: dict[str, None] = {}
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


def _foremost(codes: Sequence[str], scope: Sequence[str]) -> tuple[str, ...]:
    """As many of the codes as a place holds: before others those that lie in the feed's scope or around it."""
    heads = tuple([code_head(code) for code in scope])
    around = {code[:digits] for code in scope for digits in (2, 4, 6, 9, 12)}
    near = [code for code in codes if code.startswith(heads) or code_head(code) in around]
    if len(near) < PLACE_CODES_MAX:
        known = set(near)
        near += [code for code in codes if code not in known]
    return tuple(near[:PLACE_CODES_MAX])


def area_codes(scheme: str, value: str) -> Sequence[str]:
    """The 12-digit division codes in a geocode. Short codes count only where the scheme's name says that they are
    Chinese divisions: six digits are also postcodes and SAME counties."""
    if len(value) == CODE_CHARS and _LONG_CODE.fullmatch(value):
        return (value,)
    if len(value) < 6:
        return ()
    found = []
    for part in _SEPARATORS.split(value) if not value.isalnum() else (value,):
        if _LONG_CODE.fullmatch(part):
            found.append(part[:CODE_CHARS])
        elif _SHORT_CODE.fullmatch(part) and _is_chinese(scheme):
            found.append(part.ljust(CODE_CHARS, "0"))
    return found


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
