"""CAP 1.2, 1.1 and 1.0 XML in, a CapMessage or named problems out. Pure; tolerant where the meaning is beyond doubt.

What breaks the schema or could be understood in two ways is an error; style is a warning (`cap_rules`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from lxml import etree

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_message import (
    AREAS_MAX,
    INFOS_MAX,
    NAME_CHARS_MAX,
    PAIRS_MAX,
    PROBLEMS_MAX,
    RAW_BYTES_MAX,
    REFERENCES_MAX,
    RESOURCES_MAX,
    SHAPES_MAX,
    TEXT_CHARS_MAX,
    VERTICES_MAX,
    CapArea,
    CapInfo,
    CapMessage,
    CapReading,
    CapResource,
    Reference,
)
from services.dispatcher.feeds.cap_shapes import BadShape, circle_of, polygon_of
from services.dispatcher.feeds.cap_tables import (
    ENUMS,
    FIELDS,
    LEAF,
    NAMESPACES,
    NODES,
    SIGNATURE,
    VERSIONS,
)
from services.dispatcher.feeds.xml_edge import BadXml, open_root

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?[+-]\d\d:\d\d", re.ASCII)
FORBIDDEN_IN_ID = re.compile(r"[\s,<&]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_REFERRING = ("Update", "Cancel", "Ack", "Error")
_Element = etree._Element


class _Refused(Exception):
    """Reading cannot go on; the problem is recorded."""


def read_message(raw: bytes) -> CapReading:
    """Read one alert; never raises. With any error the message is None."""
    reader = _Reader()
    try:
        message = reader.alert(open_root(raw, RAW_BYTES_MAX))
    except BadXml as bad:
        return CapReading(None, (Problem("error", bad.code, bad.where, bad.sentence),))
    except _Refused:
        message = None
    problems = tuple(reader.problems)
    return CapReading(None if reader.failed else message, problems)


class _Reader:
    """One reading: the version found, and the problems so far."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.failed = False
        self.version = ""
        self.vertices = 0
        self.shapes = 0
        self._tables: dict[str, dict[str, tuple[int, str, int]]] = {}
        self._polygons: dict[str, Polygon | None] = {}
        self._times: dict[str, int] = {}

    def error(self, code: str, where: str, message: str) -> None:
        self.failed = True
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem("error", code, where, message))

    def warn(self, code: str, where: str, message: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem("warning", code, where, message))

    def refuse(self, code: str, where: str, message: str) -> Any:
        self.error(code, where, message)
        raise _Refused

    def alert(self, root: _Element) -> CapMessage:
        name = etree.QName(root)
        version = VERSIONS.get(name.namespace or "")
        if version is None:
            space = name.namespace or "no namespace"
            self.refuse("namespace_unknown", name.localname, f"The root element has {space}, not that of CAP.")
        if name.localname != "alert":
            self.refuse("not_an_alert", name.localname, "The root element is not alert.")
        assert version is not None
        self.version, self._tables = version, FIELDS[version]
        got = self.fields(root, "alert", "alert")
        signed = next(root.iterchildren(SIGNATURE), None) is not None
        identifier, sender = self._id(got, "identifier"), self._id(got, "sender")
        sent = self.text(got, "sent", "alert", required=True)
        infos = self.some(got, "info", INFOS_MAX, "alert")
        message = CapMessage(
            version=version,
            identifier=identifier,
            sender=sender,
            sent=sent,
            sent_us=self.time(sent, "alert/sent") or 0,
            status=self.enum(got, "status", "alert"),
            msg_type=self.enum(got, "msgType", "alert"),
            scope=self.enum(got, "scope", "alert"),
            restriction=self.text(got, "restriction", "alert"),
            addresses=self.text(got, "addresses", "alert"),
            codes=tuple(self.some(got, "code", PAIRS_MAX, "alert")),
            note=self.text(got, "note", "alert"),
            references=self._references(got),
            infos=tuple(self.info(each, f"info[{i}]") for i, each in enumerate(infos, 1)),
            signed=signed,
        )
        self._scope(message)
        return message

    def _id(self, got: dict[str, Any], name: str) -> str:
        value = self.text(got, name, "alert", required=True)
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
            where, sentence = "alert/references", f"{message.msg_type} names no earlier message that could be read."
            if message.msg_type == "Update":
                self.warn("references_missing", where, sentence)
            else:
                self.error("references_missing", where, sentence)

    def _references(self, got: dict[str, Any]) -> tuple[Reference, ...]:
        text = got.get("references")
        if not text:
            return ()
        found = []
        for item in text.split()[:REFERENCES_MAX]:
            sender, _, rest = item.partition(",")
            identifier, _, sent = rest.rpartition(",")
            sent_us = self._times_us(sent)
            if sender and identifier and sent_us is not None:
                found.append(Reference(sender, identifier, sent_us, item))
            else:
                sentence = "A reference is not sender,identifier,sent."
                self.warn("reference_malformed", "alert/references", sentence)
        return tuple(found)

    def info(self, element: _Element, where: str) -> CapInfo:
        got = self.fields(element, "info", where)
        categories = self.some(got, "category", PAIRS_MAX, where)
        if not categories and self.version != "1.0":
            self.error("missing", f"{where}/category", "The element category is missing.")
        certainty = got.get("certainty")
        if certainty == "Very Likely":
            self.warn("certainty_deprecated", f"{where}/certainty", "Very Likely is deprecated and read as Likely.")
            got["certainty"] = "Likely"
        return CapInfo(
            language=got.get("language") or "en-US",
            categories=self.each_of("category", categories, where),
            event=self.text(got, "event", where, required=True),
            responses=self.each_of("responseType", self.some(got, "responseType", PAIRS_MAX, where), where),
            urgency=self.enum(got, "urgency", where),
            severity=self.enum(got, "severity", where),
            certainty=self.enum(got, "certainty", where),
            event_codes=self.pairs(got, "eventCode", where),
            effective_us=self.time(got.get("effective"), f"{where}/effective"),
            onset_us=self.time(got.get("onset"), f"{where}/onset"),
            expires_us=self.time(got.get("expires"), f"{where}/expires"),
            sender_name=self.text(got, "senderName", where),
            headline=self.text(got, "headline", where),
            description=self.text(got, "description", where),
            instruction=self.text(got, "instruction", where),
            web=self.text(got, "web", where),
            parameters=self.pairs(got, "parameter", where),
            resources=tuple(self.resource(each, where) for each in self.some(got, "resource", RESOURCES_MAX, where)),
            areas=tuple(
                self.area(each, f"{where}/area[{i}]")
                for i, each in enumerate(self.some(got, "area", AREAS_MAX, where), 1)
            ),
        )

    def resource(self, element: _Element, where: str) -> CapResource:
        got = self.fields(element, "resource", where)
        where = f"{where}/resource"
        return CapResource(
            description=self.text(got, "resourceDesc", where, required=True),
            mime_type=self.text(got, "mimeType", where, required=self.version == "1.2"),
            uri=self.text(got, "uri", where),
            embedded=bool(got.get("derefUri")),
        )

    def area(self, element: _Element, where: str) -> CapArea:
        got = self.fields(element, "area", where)
        polygons = [self.polygon(text, f"{where}/polygon") for text in self.some(got, "polygon", SHAPES_MAX, where)]
        circles = [self.circle(text, f"{where}/circle") for text in self.some(got, "circle", SHAPES_MAX, where)]
        self.shapes += len(polygons) + len(circles)
        if self.shapes > SHAPES_MAX:
            self.refuse("too_many", where, f"The alert has more than {SHAPES_MAX} shapes.")
        return CapArea(
            name=self.text(got, "areaDesc", where, required=True),
            polygons=tuple(p for p in polygons if p is not None),
            circles=tuple(c for c in circles if c is not None),
            codes=self.pairs(got, "geocode", where),
            altitude=got.get("altitude", ""),
            ceiling=got.get("ceiling", ""),
        )

    def polygon(self, text: str, where: str) -> Polygon | None:
        """Languages repeat the same shape, so each text is read once."""
        if text not in self._polygons:
            self._polygons[text] = None
            try:
                shape = polygon_of(text)
            except BadShape as bad:
                self.error(bad.code, where, bad.sentence)
                return None
            self.vertices += len(shape.ring)
            if self.vertices > VERTICES_MAX:
                self.refuse("too_many", where, f"The alert's polygons have more than {VERTICES_MAX} points.")
            self._polygons[text] = shape
        return self._polygons[text]

    def circle(self, text: str, where: str) -> Circle | None:
        try:
            return circle_of(text)
        except BadShape as bad:
            self.error(bad.code, where, bad.sentence)
            return None

    def fields(self, element: _Element, kind: str, where: str) -> dict[str, Any]:
        """The element's children by name: texts for leaves, lists where many may stand, elements where they nest."""
        table = self._tables[kind]
        got: dict[str, Any] = {}
        last = -1
        for child in element:
            entry = table.get(child.tag) or self._stranger(child, table, where)
            if entry is None:
                continue
            order, name, form = entry
            if order < last:
                self._out_of_order(name, where)
            else:
                last = order
            value = child if form == NODES else self._leaf(child, name, where)
            if form == LEAF:
                if name in got:
                    self.error("repeated", f"{where}/{name}", f"The element {name} may stand only once.")
                got[name] = value
            elif value is None or value == "":
                continue
            elif name in got:
                got[name].append(value)
            else:
                got[name] = [value]
        return got

    def _leaf(self, child: _Element, name: str, where: str) -> str:
        text = child.text
        if len(child):
            text = str(child.xpath("string()"))
            self.warn("text_has_elements", f"{where}/{name}", f"Elements inside the text of {name} were left out.")
        return text.strip() if text else ""

    def _out_of_order(self, name: str, where: str) -> None:
        sentence = f"The element {name} stands out of the order of the schema."
        if self.version == "1.0":
            self.warn("element_order", f"{where}/{name}", sentence)
        else:
            self.error("element_order", f"{where}/{name}", sentence)

    def _stranger(
        self, child: _Element, table: dict[str, tuple[int, str, int]], where: str
    ) -> tuple[int, str, int] | None:
        if not isinstance(child.tag, str):
            self.error("xml_entity", where, "The alert uses an entity that is not defined.")
            return None
        if child.tag == SIGNATURE:
            return None
        name = etree.QName(child)
        if name.namespace in VERSIONS:
            entry = table.get(f"{{{NAMESPACES[self.version]}}}{name.localname}")
            code = "namespace_mixed" if entry else "element_unknown"
            self.warn(
                code, f"{where}/{name.localname}", f"The element {name.localname} is not one of CAP {self.version}."
            )
            return entry
        self.warn("element_foreign", f"{where}/{name.localname}", "An element of another namespace was left out.")
        return None

    def text(self, got: dict[str, Any], name: str, where: str, *, required: bool = False) -> str:
        value: str = got.get(name) or ""
        if required and not value:
            self.error("missing", f"{where}/{name}", f"The element {name} is missing.")
        if len(value) > TEXT_CHARS_MAX:
            self.warn("text_cut", f"{where}/{name}", f"The text of {name} was cut to {TEXT_CHARS_MAX} characters.")
            return value[:TEXT_CHARS_MAX]
        return value

    def some(self, got: dict[str, Any], name: str, count_max: int, where: str) -> list[Any]:
        found: list[Any] = got.get(name) or []
        if len(found) > count_max:
            self.refuse("too_many", f"{where}/{name}", f"There are more than {count_max} elements {name}.")
        return found

    def enum(self, got: dict[str, Any], name: str, where: str) -> str:
        value = self.text(got, name, where, required=True)
        if value:
            self.each_of(name, (value,), where)
        return value

    def each_of(self, name: str, values: Iterable[str], where: str) -> tuple[str, ...]:
        allowed = ENUMS[name]
        kept = tuple(values)
        for value in kept:
            if value not in allowed:
                self.error("value_unknown", f"{where}/{name}", f"{value[:40]!r} is no value of {name}.")
        return kept

    def pairs(self, got: dict[str, Any], name: str, where: str) -> tuple[tuple[str, str], ...]:
        """valueName and value; CAP 1.0 writes them as one text, name=value."""
        if name not in got:
            return ()
        tags = tuple(self._tables["pair"])
        found = []
        for element in self.some(got, name, PAIRS_MAX, where):
            if self.version == "1.0" and len(element) == 0:
                scheme, _, value = (element.text or "").strip().partition("=")
                found.append((scheme, value))
                continue
            children = list(element)
            if len(children) == 2 and (children[0].tag, children[1].tag) == tags:
                scheme, value = (self._leaf(child, name, where) for child in children)
            else:
                pair = self.fields(element, "pair", where)
                scheme, value = pair.get("valueName"), pair.get("value")
            if scheme is None or value is None:
                self.error("missing", f"{where}/{name}", f"The element {name} needs valueName and value.")
            else:
                found.append((scheme, value))
        return tuple(found)

    def time(self, text: str | None, where: str) -> int | None:
        """µs UTC of a CAP dateTime: an offset is required, Z is not allowed (OASIS CAP 1.2, section 3.3.2)."""
        if not text:
            return None
        us = self._times_us(text)
        if us is None:
            self.error("time_malformed", where, f"{text[:40]!r} is not a date and time with a numeric offset.")
        elif "." in text:
            self.warn("time_fraction", where, "The time has fractions of a second, which CAP does not know.")
        return us

    def _times_us(self, text: str) -> int | None:
        if text not in self._times:
            if not TIME.fullmatch(text):
                return None
            try:
                self._times[text] = (datetime.fromisoformat(text) - _EPOCH) // _MICROSECOND
            except ValueError:
                return None
        return self._times[text]
