"""National early-warning messages (12379, 国家突发事件预警信息发布系统): bytes in, signals or problems out. Pure.

The message looks like CAP and is not: own namespace, colours as severity, own times, radii in metres, division codes as
comma lists, and a reference that names the first message of the event (GB/T 35965.1-2018). What gives it its meaning
must be right; what else is mandatory and missing is shown, because senders leave out what they never use.
Key. `alert12379/<feed>/<identifier>`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from lxml import etree

from devices.protocols.selector import Circle, Polygon, Shape
from services.dispatcher.domain.gcj02 import to_wgs84
from services.dispatcher.domain.signals import Datum, Feed, Problem, Reading, SignalKind
from services.dispatcher.feeds.cap_shapes import BadShape, Point, points_of
from services.dispatcher.feeds.hazards import BY_CODE, EVENT_CODE
from services.dispatcher.feeds.report import Report, Status, area_code, clean, hazard_of, signal_of
from services.dispatcher.feeds.xml_edge import BadXml, open_root, stray_text

FORMAT = "alert12379"
NAMESPACE = "http://com.icss.amp"
RAW_BYTES_MAX = 1_048_576
AREAS_MAX = 256
CODES_MAX = 1_000
METHODS_MAX = 64
SHAPES_MAX = 256
VERTICES_MAX = 10_000
PROBLEMS_MAX = 100
RADIUS_M_MAX = 20_040_000
BEIJING = timezone(timedelta(hours=8))
SPEAKER = "SPEAKER"

LEVELS: dict[str, int | None] = {"Red": 1, "Orange": 2, "Yellow": 3, "Blue": 4, "Unknown": None, "9": None}
KINDS = {"Alert": SignalKind.ALERT, "Update": SignalKind.UPDATE, "Cancel": SignalKind.CANCEL}
STATUSES = {"Actual": Status.ACTUAL, "Exercise": Status.EXERCISE, "Test": Status.TEST, "Draft": Status.TEST}
COLOURS = {"红": 1, "橙": 2, "黄": 3, "蓝": 4}

IDENTIFIER = re.compile(r"\d{14}_\d{14}(?:_\d)?", re.ASCII)
_ID_CHARS_MAX = 128
_ID_FORBIDDEN = re.compile(r"[\s,<&]")
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.0+)?(\+08:00|\+0800)?", re.ASCII)
_COLOUR = re.compile(r"([红橙黄蓝])色")
_COMMAS = re.compile(r"[,，、;；\s]+")
_METRES = re.compile(r"\d{1,9}(?:\.\d{1,6})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_ONCE: dict[str, frozenset[str]] = {
    "alert": frozenset(
        (
            "identifier sender senderCode phone sendTime status msgType scope code secClassification note"
            " references info"
        ).split()
    ),
    "info": frozenset(
        "language eventType urgency severity certainty effective onset expires senderName headline description"
        " instruction web".split()
    ),
    "area": frozenset("areaDesc geocode".split()),
}
_MANY: dict[str, frozenset[str]] = {
    "alert": frozenset(),
    "info": frozenset(("resource", "area")),
    "area": frozenset(("polygon", "circle")),
}
# Mandatory, and often left out: it is shown and nothing hangs on it.
_SHOWN_IF_MISSING = {
    "alert": ("sender", "senderCode", "scope", "code"),
    "info": ("urgency", "certainty", "effective", "senderName", "headline", "description"),
    "area": ("areaDesc", "geocode"),
}
_Element = etree._Element


class _AlertUnreadable(Exception):
    """Reading cannot go on; the problem is recorded."""


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """The signal of a message of at most 1 MB; never raises. With any error there is none."""
    reader = _AlertReader(feed)
    try:
        report, shapes = reader.report(open_root(raw, RAW_BYTES_MAX))
    except BadXml as bad:
        return Reading((), (Problem("error", bad.code, bad.where, bad.sentence),))
    except _AlertUnreadable:
        return Reading((), tuple(reader.problems))
    if any(problem.severity == "error" for problem in reader.problems):
        return Reading((), tuple(reader.problems))
    signal = signal_of(replace(report, problems=tuple(reader.problems)), FORMAT, feed, received_us)
    signal = replace(signal, place=replace(signal.place, shapes=shapes))
    return Reading((signal,), signal.problems)


def belongs(root: _Element) -> bool:
    """Whether a root element is of this format: by its namespace, or without one by what CAP never has."""
    name = etree.QName(root)
    if name.localname != "alert":
        return False
    return name.namespace == NAMESPACE or (name.namespace is None and root.find("senderCode") is not None)


class _AlertReader:
    """One reading: the problems so far."""

    def __init__(self, feed: Feed) -> None:
        self.problems: list[Problem] = []
        self._feed = feed
        self._space = ""

    def error(self, code: str, where: str, message: str) -> None:
        self.problems.insert(0, Problem("error", code, where, message))
        del self.problems[PROBLEMS_MAX:]

    def warn(self, code: str, where: str, message: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem("warning", code, where, message))

    def refuse(self, code: str, where: str, message: str) -> _AlertUnreadable:
        self.error(code, where, message)
        return _AlertUnreadable()

    def report(self, root: _Element) -> tuple[Report, tuple[Shape, ...]]:
        if not belongs(root):
            name = etree.QName(root)
            space = name.namespace or "no namespace"
            sentence = f"The root element {name.localname[:80]} of {space[:200]} is not a 12379 message."
            raise self.refuse("namespace_unknown", name.localname[:80], sentence)
        if etree.QName(root).namespace is None:
            self.warn("namespace_missing", "alert", "The message has no namespace; it was read as a 12379 message.")
        else:
            self._space = f"{{{NAMESPACE}}}"
        head = self.fields(root, "alert", "alert")
        kind = self.one_of(head, "msgType", "alert", KINDS)
        status = self.one_of(head, "status", "alert", STATUSES)
        info: dict[str, Any] = self.fields(head["info"], "info", "info") if "info" in head else {}
        if not info and kind is not SignalKind.CANCEL:
            self.error("missing", "alert/info", "The element info is missing.")
        report, shapes = self._info(info)
        report = replace(
            report,
            id=self._identifier(head),
            kind=kind or SignalKind.INFO,
            status=status or Status.TEST,
            observed_us=self.time(head, "sendTime", "alert", required=True),
            references=self._references(head, kind),
            device=clean(head.get("senderCode") or head.get("sender") or "")[:256],
        )
        if head.get("scope", "Public") != "Public":
            self.warn("scope_not_public", "alert/scope", "A message whose scope is not Public is never aired.")
            report = replace(report, kind=SignalKind.INFO)
        said = self._for_speakers(head)
        if said:
            report = replace(report, description=said)
        elif not report.description:
            report = replace(report, description=clean(head.get("note", "")))
        return report, shapes

    def _identifier(self, head: dict[str, Any]) -> str:
        value: str = head.get("identifier", "")
        where = "alert/identifier"
        if not value:
            self.error("missing", where, "The element identifier is missing.")
        elif len(value) > _ID_CHARS_MAX or _ID_FORBIDDEN.search(value):
            self.error("id_characters", where, "The identifier is too long or holds a space, comma, < or &.")
        elif not IDENTIFIER.fullmatch(value):
            self.warn("identifier_form", where, "The identifier is not a 14-digit sender and a 14-digit time.")
        return value

    def _references(self, head: dict[str, Any], kind: SignalKind | None) -> tuple[str, ...]:
        """The first message of the event; whoever cites several, or a CAP triplet, is refused where it matters."""
        value: str = head.get("references", "")
        where = "alert/references"
        if value and (len(value) > _ID_CHARS_MAX or _ID_FORBIDDEN.search(value)):
            self.error("reference_malformed", where, "The reference is not one identifier.")
        if not value and kind is SignalKind.CANCEL:
            self.error("references_missing", where, "A cancel must name the first message of what it cancels.")
        elif not value and kind is SignalKind.UPDATE:
            self.warn("references_missing", where, "The update names no earlier message.")
        return (value,) if value else ()

    def _info(self, info: dict[str, Any]) -> tuple[Report, tuple[Shape, ...]]:
        code = info.get("eventType", "")
        if info and not code:
            self.error("missing", "info/eventType", "The element eventType is missing.")
        elif code and not EVENT_CODE.fullmatch(code):
            self.error("event_code_malformed", "info/eventType", f"{code[:40]!r} is no event code.")
        hazard, event_code = hazard_of(code, self._feed) if code else ("other", "")
        headline = clean(info.get("headline", ""))
        if info and not headline and not info.get("description"):
            self.error("missing", "info/headline", "The message has neither headline nor description.")
        level = self.one_of(info, "severity", "info", LEVELS) if info else None
        self._agrees(headline, level, code)
        areas = self._areas(info.get("area", []))
        texts = [clean(info.get(name, "")) for name in ("description", "instruction")]
        report = Report(
            where="alert",
            id="",
            kind=SignalKind.INFO,
            hazard=hazard,
            evidence=self._feed.evidence,
            event_code=code or event_code,
            level=level,
            headline=headline,
            description="\n".join(text for text in texts if text),
            expires_us=self.time(info, "expires", "info"),
            areas=areas[0],
            names=areas[1],
        )
        self.time(info, "effective", "info")
        self.time(info, "onset", "info")
        return report, areas[2]

    def _agrees(self, headline: str, level: int | None, code: str) -> None:
        """Headline and fields say the same thing twice; people hear the headline, programs read the fields."""
        named = {COLOURS[colour] for colour in _COLOUR.findall(headline)}
        if named and level is not None and level not in named:
            self.warn("colour_differs", "info/headline", "The headline names another colour than the severity.")
        if code and EVENT_CODE.fullmatch(code) and code not in BY_CODE:
            self.warn("event_code_unknown", "info/eventType", f"The event code {code} is none of the known ones.")

    def _for_speakers(self, head: dict[str, Any]) -> str:
        """What the sender wrote for loudspeakers (大喇叭); the description is said where that is empty."""
        code = head.get("code")
        if code is None:
            return ""
        methods = [each for each in code if each.tag == f"{self._space}method"]
        if len(methods) > METHODS_MAX:
            raise self.refuse("too_many", "alert/code", f"There are more than {METHODS_MAX} methods.")
        for method in methods:
            if (method.findtext(f"{self._space}methodName") or "").strip().upper() == SPEAKER:
                return clean(method.findtext(f"{self._space}message") or "")
        return ""

    def _areas(self, elements: list[_Element]) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Shape, ...]]:
        if len(elements) > AREAS_MAX:
            raise self.refuse("too_many", "info/area", f"There are more than {AREAS_MAX} areas.")
        codes: dict[str, None] = {}
        names: dict[str, None] = {}
        shapes: dict[Shape, None] = {}
        for index, element in enumerate(elements, 1):
            where = f"info/area[{index}]"
            got = self.fields(element, "area", where)
            if got.get("areaDesc"):
                names[clean(got["areaDesc"])[:256]] = None
            for part in _COMMAS.split(got.get("geocode", "")):
                code = area_code(part)
                if code is not None:
                    codes[code] = None
                elif part:
                    self.warn("geocode_malformed", f"{where}/geocode", f"{part[:40]!r} is no division code.")
            shapes.update(dict.fromkeys(self._shapes(got, where)))
        if len(codes) > CODES_MAX or len(shapes) > SHAPES_MAX:
            raise self.refuse("too_many", "info/area", f"There are more than {CODES_MAX} codes or {SHAPES_MAX} shapes.")
        return tuple(codes), tuple(names), tuple(shapes)

    def _shapes(self, got: dict[str, Any], where: str) -> list[Shape]:
        texts = [(name, text) for name in ("polygon", "circle") for text in got.get(name, [])]
        if len(texts) > SHAPES_MAX:
            raise self.refuse("too_many", where, f"An area has more than {SHAPES_MAX} shapes.")
        found: list[Shape] = []
        for name, text in texts:
            read = self._ring if name == "polygon" else self._circle
            try:
                shape = read(text, f"{where}/{name}")
            except BadShape as bad:
                self.error(bad.code, f"{where}/{name}", bad.sentence)
            else:
                found += [] if shape is None else [shape]
        return found

    def _ring(self, text: str, where: str) -> Polygon | None:
        """A closed ring; an open one draws a line, such as a river or a road."""
        ring = self._points(text, where)
        if len(ring) > VERTICES_MAX:
            raise BadShape("too_many", f"A polygon has more than {VERTICES_MAX} points.")
        if len(ring) < 4 or ring[0] != ring[-1]:
            self.warn("polygon_line", where, "A line bounds no area; the division codes count.")
            return None
        return Polygon(tuple(ring[:-1]))

    def _circle(self, text: str, where: str) -> Circle:
        """Centre and radius in metres; radius 0 is a point."""
        parts = text.split()
        if len(parts) != 2 or not _METRES.fullmatch(parts[1]) or float(parts[1]) > RADIUS_M_MAX:
            raise BadShape("circle_malformed", "A circle is a position and a radius in metres.")
        ((lat_e7, lon_e7),) = self._points(parts[0], where)
        radius_m = round(float(parts[1]))
        if radius_m == 0:
            self.warn("circle_radius_zero", where, "A circle of radius 0 reaches nobody; the division codes count.")
        return Circle(lat_e7, lon_e7, radius_m)

    def _points(self, text: str, where: str) -> Sequence[Point]:
        """WGS-84. Senders differ in what comes first; north and east can't be taken for each other in China."""
        points = _points_or_none(text)
        swapped = _points_or_none(" ".join([",".join(reversed(pair.split(","))) for pair in text.split()]))
        if swapped and all(map(_is_china, swapped)) and not (points and all(map(_is_china, points))):
            self.warn("position_order", where, "The positions have the longitude first; they were read so.")
            points = swapped
        if points is None:
            points = points_of(text)
        if self._feed.datum is Datum.WGS84:
            return points
        moved = [to_wgs84(lat / 1e7, lon / 1e7) for lat, lon in points]
        return [(round(lat * 1e7), round(lon * 1e7)) for lat, lon in moved]

    def fields(self, element: _Element, kind: str, where: str) -> dict[str, Any]:
        """The children by name: texts, or elements where they nest; empty ones are as good as absent."""
        got: dict[str, Any] = {}
        for child in element:
            name = child.tag.removeprefix(self._space) if isinstance(child.tag, str) else ""
            if name not in _ONCE[kind] and name not in _MANY[kind]:
                self.warn("element_unknown", where, f"An element that is not known in {kind} was left out.")
                continue
            value: Any = child if name in ("info", "code", "resource", "area") else (child.text or "").strip()
            if not isinstance(value, str):
                pass
            elif len(child):
                self.error("text_has_elements", f"{where}/{name}", f"The text of {name} holds elements.")
            elif not value:
                continue
            if name in _MANY[kind]:
                got.setdefault(name, []).append(value)
            elif name in got:
                self.error("repeated", f"{where}/{name}", f"The element {name} may stand only once.")
            else:
                got[name] = value
        if stray_text(element):
            self.error("text_stray", where, "Text stands where only elements may.")
        for name in _SHOWN_IF_MISSING[kind]:
            if name not in got:
                self.warn("missing", f"{where}/{name}", f"The element {name} is missing.")
        return got

    def one_of(self, got: dict[str, Any], name: str, where: str, values: dict[str, Any]) -> Any:
        value: str = got.get(name, "")
        if not value:
            self.error("missing", f"{where}/{name}", f"The element {name} is missing.")
        elif value not in values:
            self.error("value_unknown", f"{where}/{name}", f"{value[:40]!r} is no value of {name}.")
        return values.get(value)

    def time(self, got: dict[str, Any], name: str, where: str, *, required: bool = False) -> int | None:
        """µs UTC of `YYYY-MM-DD HH:MI:SS+08:00`; without an offset it is Beijing time all the same."""
        text: str = got.get(name, "")
        where = f"{where}/{name}"
        if not text:
            if required:
                self.error("missing", where, f"The element {name} is missing.")
            return None
        form = _TIME.fullmatch(text)
        try:
            moment = datetime.fromisoformat(f"{form[1]}T{form[2]}").replace(tzinfo=BEIJING) if form else None
        except ValueError:
            moment = None
        if form is None or moment is None:
            self.error("time_malformed", where, f"{text[:40]!r} is not a date and time at +08:00.")
            return None
        if form[3] is None:
            self.warn("time_without_offset", where, "The time says no offset; it was read as Beijing time.")
        return (moment - _EPOCH) // timedelta(microseconds=1)


def _points_or_none(text: str) -> tuple[Point, ...] | None:
    try:
        return points_of(text)
    except BadShape:
        return None


def _is_china(point: tuple[int, int]) -> bool:
    """Within the rectangle in which China and its seas lie."""
    return 0 <= point[0] <= 560_000_000 and 700_000_000 <= point[1] <= 1_400_000_000
