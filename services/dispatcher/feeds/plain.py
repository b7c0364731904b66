"""Plain JSON reports, the format for departments that write a few lines of code: bytes in, signals and problems out.
Pure. `SCHEMA` is the published form; the reader refuses what it does not admit, and says where.

One report or a list of them; in a list each is judged by itself, and a refused one takes no other with it.
Key. `plain/<feed>/<id>`: every report has an id of its own, and an update or a cancel names those it is about.
A hazard that is not known here is no error: the report goes to people.
"""

from __future__ import annotations

import re
from typing import Final

from services.dispatcher.domain.signals import Feed, Problem, Reading, Signal, SignalKind
from services.dispatcher.feeds.json_edge import BadJson, open_json
from services.dispatcher.feeds.report import (
    AREAS_MAX,
    DESCRIPTION_CHARS_MAX,
    HEADLINE_CHARS_MAX,
    NAME_CHARS_MAX,
    RADIUS_M_DEFAULT,
    REFERENCES_MAX,
    Report,
    Status,
    area_code,
    clean,
    hazard_of,
    signal_of,
)
from services.dispatcher.feeds.rfc3339 import instant_us

FORMAT = "plain"
PLAIN_BYTES_MAX = 1_048_576
REPORTS_MAX = 500
ID_CHARS_MAX = 64
AREA_CHARS_MAX = 14
PLACES_MAX = 16
RADIUS_M_MAX = 500_000

_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
_VENUE = re.compile(r"[a-z0-9-]{1,64}")
_ID_SCHEMA: Final = {"type": "string", "pattern": "^[A-Za-z0-9._:-]{1,64}$"}
_TIME_SCHEMA: Final = {"type": "string", "format": "date-time"}

REPORT_SCHEMA: Final[dict[str, object]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["id", "kind", "observed"],
    "properties": {
        "id": _ID_SCHEMA | {"description": "The sender's own, never used twice."},
        "kind": {"enum": ["alert", "update", "cancel", "info"]},
        "hazard": {
            "type": "string",
            "minLength": 1,
            "maxLength": NAME_CHARS_MAX,
            "description": "A hazard's name, a five-character event code, or a word in Chinese or English.",
        },
        "level": {"type": "integer", "minimum": 1, "maximum": 4, "description": "1 red to 4 blue."},
        "headline": {"type": "string", "minLength": 1, "maxLength": HEADLINE_CHARS_MAX},
        "description": {"type": "string", "minLength": 1, "maxLength": DESCRIPTION_CHARS_MAX},
        "observed": _TIME_SCHEMA | {"description": "RFC 3339 with an offset."},
        "expires": _TIME_SCHEMA | {"description": "Without it the report is aired for 24 hours after observed."},
        "areas": {
            "type": "array",
            "maxItems": AREAS_MAX,
            "items": {"type": "string", "pattern": "^[1-8]([0-9]{5}|[0-9]{8}|[0-9]{11}|[0-9]{13})$"},
            "description": "Division codes. Without areas and venue the report is about the feed's own area.",
        },
        "venue": {"type": "string", "pattern": "^[a-z0-9-]{1,64}$", "description": "A venue of the city pack."},
        "places": {
            "type": "array",
            "maxItems": PLACES_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX},
            "description": "Where it is, for people.",
        },
        "position": {
            "type": "object",
            "additionalProperties": False,
            "required": ["lat", "lon"],
            "properties": {
                "lat": {"type": "number", "minimum": -90, "maximum": 90},
                "lon": {"type": "number", "minimum": -180, "maximum": 180},
                "radius_m": {"type": "integer", "minimum": 1, "maximum": RADIUS_M_MAX},
            },
            "description": "Degrees, in the datum that the feed is enrolled with.",
        },
        "references": {"type": "array", "minItems": 1, "maxItems": REFERENCES_MAX, "items": _ID_SCHEMA},
        "device": {"type": "string", "minLength": 1, "maxLength": NAME_CHARS_MAX},
        "status": {"enum": ["actual", "exercise", "test"]},
    },
    "allOf": [
        {
            "if": {"properties": {"kind": {"enum": ["update", "cancel"]}}},
            "then": {"required": ["references"]},
        },
        {
            "if": {"properties": {"kind": {"enum": ["alert", "update", "info"]}}},
            "then": {"required": ["hazard", "headline"]},
        },
    ],
}

SCHEMA: Final[dict[str, object]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Tocsin plain signal reports",
    "oneOf": [
        {"$ref": "#/$defs/report"},
        {"type": "array", "minItems": 1, "maxItems": REPORTS_MAX, "items": {"$ref": "#/$defs/report"}},
    ],
    "$defs": {"report": REPORT_SCHEMA},
}


class _PlainMalformed(Exception):
    """A member that the schema does not admit."""

    def __init__(self, code: str, member: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.member = member
        self.sentence = sentence


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """The signals of the good reports and the problems of the others; `received_us` is µs UTC. Never raises."""
    try:
        value = open_json(raw, PLAIN_BYTES_MAX)
    except BadJson as bad:
        return Reading((), (Problem("error", bad.code, "", bad.sentence),))
    listed = value if isinstance(value, list) else [value]
    if not 1 <= len(listed) <= REPORTS_MAX:
        said = f"The list holds {len(listed)} reports; 1 to {REPORTS_MAX} are allowed."
        return Reading((), (Problem("error", "count_out_of_range", "", said),))
    found: dict[str, Signal] = {}
    problems: list[Problem] = []
    for number, each in enumerate(listed, 1):
        where = f"report {number}"
        try:
            report = _report(each, where, feed)
        except _PlainMalformed as bad:
            at = f"{where}.{bad.member}" if bad.member else where
            problems.append(Problem("error", bad.code, at, bad.sentence))
            continue
        signal = signal_of(report, FORMAT, feed, received_us)
        if signal.key in found:
            problems.append(Problem("error", "id_twice", where, "Another report of this list has the same id."))
            continue
        found[signal.key] = signal
        problems += signal.problems
    return Reading(tuple(found.values()), tuple(problems))


def _report(value: object, where: str, feed: Feed) -> Report:
    members = _Members(value, tuple(REPORT_SCHEMA["properties"]))  # type: ignore[arg-type]
    kind = SignalKind(members.one_of("kind", tuple(SignalKind)))
    if kind in (SignalKind.UPDATE, SignalKind.CANCEL):
        members.need("references")
    if kind is not SignalKind.CANCEL:
        members.need("hazard")
        members.need("headline")
    hazard, code = hazard_of(members.text("hazard", NAME_CHARS_MAX), feed)
    lat, lon, radius_m = _position(members)
    return Report(
        where=where,
        id=members.match("id", _ID),
        kind=kind,
        hazard=hazard,
        event_code=code,
        evidence=feed.evidence,
        level=members.integer("level", 1, 4),
        headline=members.text("headline", HEADLINE_CHARS_MAX),
        description=members.text("description", DESCRIPTION_CHARS_MAX),
        observed_us=members.time("observed"),
        expires_us=members.time("expires") if "expires" in members else None,
        areas=members.areas("areas", 0, AREAS_MAX),
        venue=members.match("venue", _VENUE) if "venue" in members else None,
        lat=lat,
        lon=lon,
        radius_m=radius_m,
        names=members.texts("places", 0, PLACES_MAX, NAME_CHARS_MAX),
        references=members.ids("references", 1, REFERENCES_MAX),
        device=members.text("device", NAME_CHARS_MAX),
        status=Status(members.one_of("status", tuple(Status))) if "status" in members else Status.ACTUAL,
    )


def _position(members: _Members) -> tuple[float | None, float | None, int]:
    if "position" not in members:
        return None, None, RADIUS_M_DEFAULT
    inner = _Members(members.value("position"), ("lat", "lon", "radius_m"), "position.")
    lat, lon = inner.number("lat", 90), inner.number("lon", 180)
    radius_m = inner.integer("radius_m", 1, RADIUS_M_MAX)
    return lat, lon, RADIUS_M_DEFAULT if radius_m is None else radius_m


class _Members:
    """The members of one object; each reader raises _Malformed, or gives an empty value for an absent member."""

    def __init__(self, value: object, known: tuple[str, ...], prefix: str = "") -> None:
        self._prefix = prefix
        if not isinstance(value, dict):
            raise _PlainMalformed("wrong_type", prefix.rstrip("."), "This is no JSON object.")
        for name in value:
            if name not in known:
                shown = clean(str(name))[:32]
                raise _PlainMalformed("member_unknown", prefix.rstrip("."), f"The member '{shown}' is not known here.")
        self._values: dict[str, object] = value

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def need(self, name: str) -> None:
        if name not in self._values:
            raise self._wrong("member_missing", name, "This member is missing.")

    def value(self, name: str) -> object:
        self.need(name)
        return self._values[name]

    def one_of(self, name: str, words: tuple[str, ...]) -> str:
        value = self.value(name)
        if not isinstance(value, str) or value not in words:
            raise self._wrong("value_unknown", name, f"This is not one of {', '.join(words)}.")
        return value

    def text(self, name: str, chars_max: int) -> str:
        return self._text(name, self._values[name], chars_max) if name in self._values else ""

    def texts(self, name: str, count_min: int, count_max: int, chars_max: int) -> tuple[str, ...]:
        if name not in self._values:
            return ()
        value = self._values[name]
        if not isinstance(value, list) or not count_min <= len(value) <= count_max:
            raise self._wrong("wrong_type", name, f"This is no list of {count_min} to {count_max} texts.")
        return tuple(self._text(name, each, chars_max) for each in value)

    def match(self, name: str, form: re.Pattern[str]) -> str:
        value = self.value(name)
        if not isinstance(value, str) or not form.fullmatch(value):
            raise self._wrong("bad_id", name, "This is no id of at most 64 of the characters allowed.")
        return value

    def ids(self, name: str, count_min: int, count_max: int) -> tuple[str, ...]:
        texts = self.texts(name, count_min, count_max, ID_CHARS_MAX)
        if not all(_ID.fullmatch(text) for text in texts):
            raise self._wrong("bad_id", name, "This list holds something that is no id.")
        return tuple(dict.fromkeys(texts))

    def areas(self, name: str, count_min: int, count_max: int) -> tuple[str, ...]:
        codes = [area_code(text) for text in self.texts(name, count_min, count_max, AREA_CHARS_MAX)]
        if None in codes:
            raise self._wrong("bad_area_code", name, "An area is a code of 6, 9, 12 or 14 digits.")
        return tuple(dict.fromkeys(code for code in codes if code is not None))

    def integer(self, name: str, least: int, most: int) -> int | None:
        if name not in self._values:
            return None
        value = self._values[name]
        # JSON has one kind of number: 2.0 is an integer to the schema, and so it is here.
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(whole, bool) or not isinstance(whole, int) or not least <= whole <= most:
            raise self._wrong("out_of_range", name, f"This is no whole number from {least} to {most}.")
        return whole

    def number(self, name: str, most: int) -> float:
        value = self.value(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not -most <= value <= most:
            raise self._wrong("out_of_range", name, f"This is no number from -{most} to {most}.")
        return float(value)

    def time(self, name: str) -> int:
        value = self.value(name)
        said = "This is no RFC 3339 time with an offset, such as 2026-07-01T08:30:00+08:00."
        try:
            found_us = instant_us(value if isinstance(value, str) else "")
        except ValueError as cause:
            raise self._wrong("bad_time", name, said) from cause
        if found_us < 0:
            raise self._wrong("bad_time", name, said)
        return found_us

    def _text(self, name: str, value: object, chars_max: int) -> str:
        if not isinstance(value, str) or not 1 <= len(value) <= chars_max:
            raise self._wrong("wrong_type", name, f"This is no text of 1 to {chars_max} characters.")
        return clean(value)

    def _wrong(self, code: str, name: str, sentence: str) -> _PlainMalformed:
        return _PlainMalformed(code, self._prefix + name, sentence)
