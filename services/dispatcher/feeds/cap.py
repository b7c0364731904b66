"""CAP alerts (OASIS 1.2, 1.1, 1.0): bytes in, signals or named problems out. Pure.

Use. Actual or Exercise comes from the feed's enrolment; a message can only lower it: Exercise makes its signals
Exercise, and Test, System and Draft make them information that nothing is aired upon, as does a scope that is not
Public, a hazard the feed is not enrolled for, and an alert that had expired when it came.
Key. `cap/<feed>/<sender>,<identifier>,<sent µs>`, one namespace per feed, so that no feed can use up another's keys.
Info blocks of one hazard and one level are one signal, whatever their languages; further ones add `#<hazard>-<level>`.
A reference names the first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from devices.protocols.selector import Shape
from services.dispatcher.domain.signals import Evidence, Feed, Place, Problem, Reading, Signal, SignalKind, Use
from services.dispatcher.feeds.cap_message import CapInfo, CapMessage, CapReading
from services.dispatcher.feeds.cap_read import read_message
from services.dispatcher.feeds.cap_rules import warnings
from services.dispatcher.feeds.hazards import BY_NAME, EVENT_CODE, OTHER, Hazard, by_code, by_words

FORMAT = "cap"
DESCRIPTION_CHARS_MAX = 4_000
HEADLINE_CHARS_MAX = 400
PLACE_CODES_MAX = 1_000
FUTURE_ALLOWED_US = 300_000_000

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


def read(raw: bytes) -> CapReading:
    """The message in a file of at most 1 MB, with errors or warnings; never raises."""
    reading = read_message(raw)
    if reading.message is None:
        return reading
    return CapReading(reading.message, (*reading.problems, *warnings(reading.message)))


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """Read and turn into signals in one step: the form every feed format has in FEEDS."""
    found = read(raw)
    if found.message is None:
        return Reading((), found.problems)
    made = signals(found.message, feed, received_us)
    return Reading(made.signals, (*found.problems, *made.problems))


@dataclass(frozen=True, slots=True)
class Group:
    """Info blocks of a message that make one signal; the first is the one people read."""

    hazard: str
    event_code: str
    level: int | None
    infos: tuple[CapInfo, ...]


# A cancel may come without info blocks; what it ends is in its references.
NO_GROUP = Group(OTHER, "", None, ())


def groups(message: CapMessage) -> tuple[Group, ...]:
    """The message's info blocks by hazard and level, Chinese first. One alert describes one event (CAP 1.2, 3.2.2):
    a block whose event is not understood is a translation and takes the hazard of its neighbours."""
    chinese_first = sorted(message.infos, key=lambda info: not info.language.lower().startswith("zh"))
    named = [(info, *_hazard(info)) for info in chinese_first]
    understood = next(((hazard, code) for _, hazard, code in named if hazard is not None), (None, ""))
    found: dict[tuple[str, int | None], Group] = {}
    for info, hazard, code in named:
        if hazard is None:
            hazard, code = understood[0], code or understood[1]
        name = OTHER if hazard is None else hazard.name
        level = _level(info)
        group = found.get((name, level))
        infos = (info,) if group is None else (*group.infos, info)
        found[name, level] = Group(name, code if group is None else group.event_code or code, level, infos)
    return tuple(found.values())


def signals(message: CapMessage, feed: Feed, received_us: int) -> Reading:
    """The signals of a message from an enrolled feed, one per hazard and level; `received_us` is µs UTC."""
    lowered = tuple(_lowering(message))
    late = tuple(_lateness(message, received_us))
    key = message_key(feed.id, message.sender, message.identifier, message.sent_us)
    found: list[Signal] = []
    for group in groups(message) or (NO_GROUP,):
        problems = (*lowered, *late, *_group_problems(message, group, feed, received_us))
        own = key if not found else f"{key}#{group.hazard}-{group.level or 0}"
        found.append(_signal(own, message, group, feed, received_us, problems))
    return Reading(tuple(found), tuple(dict.fromkeys(p for each in found for p in each.problems)))


def message_key(feed: str, sender: str, identifier: str, sent_us: int) -> str:
    """The key of a message's first signal."""
    return f"{FORMAT}/{feed}/{sender},{identifier},{sent_us}"


def _signal(
    key: str, message: CapMessage, group: Group, feed: Feed, received_us: int, problems: tuple[Problem, ...]
) -> Signal:
    kind = KINDS.get(message.msg_type, SignalKind.INFO)
    if any(problem.code in _NEVER_AIRED for problem in problems):
        kind = SignalKind.INFO
    first = group.infos[0] if group.infos else None
    ends = [info.expires_us for info in group.infos]
    return Signal(
        key=key,
        reporter=feed.id,
        use=Use.EXERCISE if message.status == "Exercise" else feed.use,
        kind=kind,
        evidence=Evidence.AUTHORITY,
        hazard=group.hazard,
        event_code=group.event_code,
        place=_place(group.infos),
        observed_us=message.sent_us,
        received_us=received_us,
        claimed_level=group.level,
        device=message.sender,
        headline=((first.headline or first.event) if first else message.note)[:HEADLINE_CHARS_MAX],
        description=_description(first)[:DESCRIPTION_CHARS_MAX] if first else "",
        expires_us=max((end for end in ends if end is not None), default=None) if None not in ends else None,
        references=_references(message, feed),
        problems=problems,
    )


def _references(message: CapMessage, feed: Feed) -> tuple[str, ...]:
    """Keys of what the message updates or cancels; some senders name the message itself, which says nothing."""
    own = message_key(feed.id, message.sender, message.identifier, message.sent_us)
    keys = (message_key(feed.id, each.sender, each.identifier, each.sent_us) for each in message.references)
    return tuple(key for key in dict.fromkeys(keys) if key != own)


# Findings after which a signal is information only.
_NEVER_AIRED = frozenset(
    ("status_not_aired", "scope_not_public", "info_missing", "hazard_not_enrolled", "expired_on_arrival")
)


def _lowering(message: CapMessage) -> Iterator[Problem]:
    if message.status in NOT_AIRED:
        yield _warning("status_not_aired", "alert/status", f"A message of status {message.status} is never aired.")
    if message.scope != "Public":
        yield _warning("scope_not_public", "alert/scope", f"A message of scope {message.scope} is never aired.")
    if not message.infos and message.msg_type in ("Alert", "Update"):
        yield _warning("info_missing", "alert/info", "The message says nothing: it has no info block.")


def _lateness(message: CapMessage, received_us: int) -> Iterator[Problem]:
    if message.sent_us > received_us + FUTURE_ALLOWED_US:
        yield _warning("sent_in_future", "alert/sent", "The message was sent in the future: a clock is wrong.")


def _group_problems(message: CapMessage, group: Group, feed: Feed, received_us: int) -> Iterator[Problem]:
    ends = [info.expires_us for info in group.infos]
    expired = bool(ends) and all(end is not None and end <= received_us for end in ends)
    if expired and message.msg_type != "Cancel":
        yield _warning("expired_on_arrival", "info/expires", "The alert had expired when it came; it is not aired.")
    if group.infos and group.hazard == OTHER:
        yield _warning("hazard_unknown", "info/event", "The event is none of the known hazards.")
    if feed.hazards is not None and group.infos and group.hazard not in feed.hazards:
        yield _warning("hazard_not_enrolled", "info/event", f"The feed is not enrolled for the hazard {group.hazard}.")
    hazard = BY_NAME.get(group.hazard)
    coloured = any(_colours(info) for info in group.infos)
    if hazard is not None and coloured and group.level not in hazard.levels:
        yield _warning("colour_not_in_use", "info/headline", f"There is no such colour for {group.hazard}.")
    if any(len(set(_colours(info))) > 1 for info in group.infos):
        yield _warning("colour_ambiguous", "info/headline", "The headline names several colours; the last was read.")
    if message.msg_type != "Cancel" and any(_ended(info) for info in group.infos):
        yield _warning(
            "all_clear", "info/responseType", "The message says that the event is over, yet cancels nothing."
        )


def _ended(info: CapInfo) -> bool:
    return "AllClear" in info.responses or bool(COLOUR.search(info.headline) and ENDED.search(info.headline))


def _hazard(info: CapInfo) -> tuple[Hazard | None, str]:
    """The hazard and the event code: by code first, then by the event's words, then by the headline's."""
    for scheme, value in info.event_codes:
        hazard = by_code(value, scheme)
        if hazard is not None or EVENT_CODE.fullmatch(value):
            return hazard, value if EVENT_CODE.fullmatch(value) else hazard.code if hazard else ""
    hazard = by_words(info.event) or by_words(info.headline)
    return hazard, hazard.code if hazard else ""


def _colours(info: CapInfo) -> list[int]:
    words: list[str] = COLOUR.findall(info.headline) or COLOUR.findall(info.event)
    return [COLOUR_LEVELS[word] for word in words]


def _level(info: CapInfo) -> int | None:
    """The colour a Chinese headline names (the last, where it says from which to which), else the severity."""
    colours = _colours(info)
    return colours[-1] if colours else SEVERITY_LEVELS.get(info.severity)


def _description(info: CapInfo) -> str:
    return "\n".join(text for text in (info.description, info.instruction) if text)


def _place(infos: tuple[CapInfo, ...]) -> Place:
    areas = [area for info in infos for area in info.areas]
    codes = (code for area in areas for scheme, value in area.codes for code in area_codes(scheme, value))
    shapes: dict[Shape, None] = {}
    for area in areas:
        shapes.update(dict.fromkeys((*area.polygons, *area.circles)))
    names = dict.fromkeys(area.name for area in areas)
    return Place(areas=tuple(dict.fromkeys(codes))[:PLACE_CODES_MAX], shapes=tuple(shapes), names=tuple(names))


def area_codes(scheme: str, value: str) -> Iterator[str]:
    """The 12-digit division codes in a geocode. Short codes count only where the scheme's name says that they are
    Chinese divisions: six digits are also postcodes and SAME counties."""
    for part in _SEPARATORS.split(value):
        if _LONG_CODE.fullmatch(part):
            yield part[:12]
        elif _SHORT_CODE.fullmatch(part) and _CHINESE_SCHEME.search(scheme):
            yield part.ljust(12, "0")


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
