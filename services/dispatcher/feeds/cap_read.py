"""CAP 1.2, 1.1 and 1.0 elements in, a CapMessage or named problems out. Pure.

What breaks the schema (`cap_fields`), a MUST of section 3 or could be understood in two ways is an error; where the
meaning is beyond doubt it is a warning, as style is (`cap_rules`). This is the road of every alert to a siren: values
are made in the order of their fields, and nothing is read twice.
"""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_faultless import NUMBER, WHOLE_NUMBER, faultless_alert
from services.dispatcher.feeds.cap_fields import CapUnreadable, Elements
from services.dispatcher.feeds.cap_message import (
    AREAS_MAX,
    INFOS_MAX,
    NAME_CHARS_MAX,
    PAIRS_MAX,
    REFERENCES_MAX,
    RESOURCES_MAX,
    SHAPES_MAX,
    VERTICES_MAX,
    CapArea,
    CapInfo,
    CapMessage,
    CapReading,
    CapResource,
    Reference,
)
from services.dispatcher.feeds.cap_shapes import BadShape, circle_of, passes_meridian, polygons_of
from services.dispatcher.feeds.cap_tables import ROOTS, VERSIONS
from services.dispatcher.feeds.cap_times import us_of

FORBIDDEN_IN_ID = re.compile(r"[\s,<&]")
_REFERRING = ("Update", "Cancel", "Ack", "Error")
_Element = etree._Element


def read_alert(root: _Element) -> CapReading:
    """Read one alert element; never raises. With any error the message is None."""
    version = ROOTS.get(root.tag)
    if version is None:
        return CapReading(None, (_no_alert(root),))
    message = faultless_alert(root)
    return thorough_alert(root, version) if message is None else CapReading(message, ())


def thorough_alert(root: _Element, version: str) -> CapReading:
    """Read one alert element of a version, fault by fault; never raises."""
    reader = _CapReader(version)
    message: CapMessage | None
    try:
        message = reader.alert(root)
    except CapUnreadable:
        message = None
    return CapReading(None if reader.failed else message, tuple(reader.problems))


def _no_alert(root: _Element) -> Problem:
    name = etree.QName(root)
    if name.namespace in VERSIONS:
        return Problem("error", "not_an_alert", name.localname[:80], "The root element is not alert.")
    space = name.namespace or "no namespace"
    sentence = f"The root element has {space[:200]}, not that of CAP."
    return Problem("error", "namespace_unknown", name.localname[:80], sentence)


class _CapReader(Elements):
    """One reading: what it has cost so far, and the times and shapes that languages repeat."""

    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.vertices = 0
        self.shapes = 0
        self._polygons: dict[str, tuple[Polygon, ...]] = {}
        self._times: dict[str, int] = {}

    def alert(self, root: _Element) -> CapMessage:
        got = self.fields(root, "alert", "alert")
        get = got.get
        sent = get("sent", "")
        message = CapMessage(
            self.version,
            self._id(got, "identifier"),
            self._id(got, "sender"),
            sent,
            (self.time(sent, "alert", "sent") if sent else None) or 0,
            self.value(got, "status", "alert"),
            self.value(got, "msgType", "alert"),
            self.value(got, "scope", "alert") or "Public",
            get("restriction", ""),
            get("addresses", ""),
            tuple(self.some(got, "code", PAIRS_MAX, "alert")) if "code" in got else (),
            get("note", ""),
            self._references(got["references"]) if "references" in got else (),
            self._infos(self.some(got, "info", INFOS_MAX, "alert")) if "info" in got else (),
            "Signature" in got,
            get("source", ""),
            get("incidents", ""),
        )
        self._scope(message)
        return message

    def _id(self, got: dict[str, Any], name: str) -> str:
        value: str = got.get(name, "")
        if len(value) > NAME_CHARS_MAX:
            self.error("id_too_long", f"alert/{name}", f"The {name} has more than {NAME_CHARS_MAX} characters.")
        elif FORBIDDEN_IN_ID.search(value):
            self.error("id_characters", f"alert/{name}", f"The {name} holds a space, comma, < or &.")
        return value

    def _scope(self, message: CapMessage) -> None:
        if message.scope == "Restricted" and not message.restriction:
            self.error("restriction_missing", "alert/restriction", "A restricted alert must say the restriction.")
        if message.scope == "Private" and not message.addresses:
            self.error("addresses_missing", "alert/addresses", "A private alert must say its addresses.")
        if message.msg_type in _REFERRING and not message.references:
            where, sentence = "alert/references", f"{message.msg_type} names no earlier message."
            if message.msg_type == "Update":
                self.warn("references_missing", where, sentence)
            else:
                self.error("references_missing", where, sentence)

    def _references(self, text: str) -> tuple[Reference, ...]:
        found = []
        items = text.split()
        if len(items) > REFERENCES_MAX:
            sentence = f"There are more than {REFERENCES_MAX} references."
            self.refuse("too_many", "alert/references", sentence)
        for item in items:
            if self.version == "1.0" and "/" in item and "," not in item:
                identifier, _, sender = item.partition("/")
                found.append(Reference(sender, identifier, None, item))
                continue
            sender, _, rest = item.partition(",")
            identifier, _, sent = rest.rpartition(",")
            sent_us = us_of(sent)
            if sender and identifier and "," not in identifier and sent_us is not None:
                found.append(Reference(sender, identifier, sent_us, item))
            else:
                sentence = f"The reference {item[:80]!r} is not sender,identifier,sent."
                found_fault = self.warn if self.version == "1.0" else self.error
                found_fault("reference_malformed", "alert/references", sentence)
        return tuple(found)

    def _infos(self, elements: list[_Element]) -> tuple[CapInfo, ...]:
        return tuple([self.info(element, f"info[{index}]") for index, element in enumerate(elements, 1)])

    def info(self, element: _Element, where: str) -> CapInfo:
        got = self.fields(element, "info", where)
        get = got.get
        return CapInfo(
            get("language", "en-US"),
            self.values(got, "category", where),
            get("event", ""),
            self.values(got, "responseType", where) if "responseType" in got else (),
            self.value(got, "urgency", where),
            self.value(got, "severity", where),
            self.value(got, "certainty", where),
            self.pairs(got, "eventCode", where) if "eventCode" in got else (),
            self.time(got["effective"], where, "effective") if "effective" in got else None,
            self.time(got["onset"], where, "onset") if "onset" in got else None,
            self.time(got["expires"], where, "expires") if "expires" in got else None,
            get("senderName", ""),
            get("headline", ""),
            get("description", ""),
            get("instruction", ""),
            get("web", ""),
            self.pairs(got, "parameter", where) if "parameter" in got else (),
            self._resources(self.some(got, "resource", RESOURCES_MAX, where), where) if "resource" in got else (),
            self._areas(self.some(got, "area", AREAS_MAX, where), where) if "area" in got else (),
            get("audience", ""),
            get("contact", ""),
        )

    def _resources(self, elements: list[_Element], where: str) -> tuple[CapResource, ...]:
        return tuple([self.resource(element, f"{where}/resource") for element in elements])

    def resource(self, element: _Element, where: str) -> CapResource:
        got = self.fields(element, "resource", where)
        size = got.get("size")
        if size is not None and not WHOLE_NUMBER.fullmatch(size):
            self.error("number_malformed", f"{where}/size", f"{size[:40]!r} is not a whole number of bytes.")
            size = None
        return CapResource(
            got.get("resourceDesc", ""),
            got.get("mimeType", ""),
            got.get("uri", ""),
            "derefUri" in got,
            None if size is None else int(size),
            got.get("digest", ""),
        )

    def _areas(self, elements: list[_Element], where: str) -> tuple[CapArea, ...]:
        return tuple([self.area(element, f"{where}/area[{index}]") for index, element in enumerate(elements, 1)])

    def area(self, element: _Element, where: str) -> CapArea:
        got = self.fields(element, "area", where)
        if "altitude" in got or "ceiling" in got:
            self._heights(got, where)
        return CapArea(
            got.get("areaDesc", ""),
            self.polygons(self.some(got, "polygon", SHAPES_MAX, where), where) if "polygon" in got else (),
            self.circles(self.some(got, "circle", SHAPES_MAX, where), where) if "circle" in got else (),
            self.pairs(got, "geocode", where) if "geocode" in got else (),
            got.get("altitude", ""),
            got.get("ceiling", ""),
        )

    def _heights(self, got: dict[str, Any], where: str) -> None:
        for name in ("altitude", "ceiling"):
            value = got.get(name)
            if value is not None and not NUMBER.fullmatch(value) and self.version != "1.0":
                self.error("number_malformed", f"{where}/{name}", f"{value[:40]!r} is not a number of feet.")
        if "ceiling" in got and "altitude" not in got:
            sentence = "A ceiling must not stand without an altitude."
            self.error("ceiling_without_altitude", f"{where}/ceiling", sentence)

    def polygons(self, texts: list[str], where: str) -> tuple[Polygon, ...]:
        """Languages repeat the same shape, so each text is read once."""
        where = f"{where}/polygon"
        found: list[Polygon] = []
        for text in texts:
            shapes = self._polygons.get(text)
            if shapes is None:
                shapes = self._polygons[text] = self._polygon(text, where)
            found += shapes
        self._count(len(found), where)
        return tuple(found)

    def _polygon(self, text: str, where: str) -> tuple[Polygon, ...]:
        try:
            shapes = polygons_of(text)
        except BadShape as bad:
            self.error(bad.code, where, bad.sentence)
            return ()
        self.vertices += sum([len(shape.ring) for shape in shapes])
        if self.vertices > VERTICES_MAX:
            self.refuse("too_many", where, f"The alert's polygons have more than {VERTICES_MAX} points.")
        if len(shapes) > 1:
            self.warn("polygon_over_meridian", where, "The polygon crosses the 180° meridian and was cut there.")
        return shapes

    def circles(self, texts: list[str], where: str) -> tuple[Circle, ...]:
        where = f"{where}/circle"
        found: list[Circle] = []
        for text in texts:
            try:
                circle = circle_of(text)
            except BadShape as bad:
                self.error(bad.code, where, bad.sentence)
                continue
            found.append(circle)
            if passes_meridian(circle):
                sentence = "Of this circle only this side of the 180° meridian is reached."
                self.warn("circle_over_meridian", where, sentence)
        self._count(len(found), where)
        return tuple(found)

    def _count(self, shapes: int, where: str) -> None:
        self.shapes += shapes
        if self.shapes > SHAPES_MAX:
            self.refuse("too_many", where, f"The alert has more than {SHAPES_MAX} shapes.")

    def time(self, text: str, where: str, name: str) -> int | None:
        """µs UTC of a CAP dateTime: an offset is required, Z is not allowed (OASIS CAP 1.2, section 3.3.2)."""
        us = self._times.get(text)
        if us is None:
            us = us_of(text)
            if us is None:
                sentence = f"{text[:40]!r} is not a date and time with a numeric offset."
                self.error("time_malformed", f"{where}/{name}", sentence)
                return None
            self._times[text] = us
        if "." in text:
            sentence = "The time has fractions of a second, which CAP does not know."
            self.warn("time_fraction", f"{where}/{name}", sentence)
        return us
