"""CAP 1.1 and 1.2 alerts without any fault, read in a few steps: elements in, a CapMessage out, or None. Pure.

Nearly every alert is such a one, and this is the road of every alert to a siren; looking at elements one at a time
takes several times as long. The parsed alert is written out again, which leaves one way to write it, and each part of
it is compared as a whole with what its schema allows. Whatever is unusual ends this with None: `cap_read` then reads
the alert one element at a time and says what. Both make the same message of the same alert.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lxml import etree

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.feeds.cap_message import (
    AREAS_MAX,
    INFOS_MAX,
    NAME_CHARS_MAX,
    REFERENCES_MAX,
    RESOURCES_MAX,
    TEXT_CHARS_MAX,
    CapArea,
    CapInfo,
    CapMessage,
    CapResource,
    Reference,
)
from services.dispatcher.feeds.cap_shapes import BadShape, circle_of, passes_meridian, polygons_of
from services.dispatcher.feeds.cap_tables import ENUMS, SIGNATURE, written_of
from services.dispatcher.feeds.cap_times import us_of

PREFIX_CHARS_MAX = 16
CHARS_MAX = 150_000
ENDS_MAX = 1_000
"""Of elements. With both, no cap on points, shapes or pairs can be reached here."""

CODES, CATEGORIES, RESPONSES, EVENT_CODES, PARAMETERS = 9, 1, 3, 8, 18
"""Which groups of an alert and of an info are stretches of several elements."""

_ID = re.compile(rf"[^\s,<&]{{1,{NAME_CHARS_MAX}}}")
WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_LONG = re.compile(f"[^<]{{{TEXT_CHARS_MAX + 1}}}")
_STATUS, _MSG_TYPE, _SCOPE = ENUMS["status"], ENUMS["msgType"], ENUMS["scope"]
_CATEGORY, _RESPONSE = ENUMS["category"], ENUMS["responseType"]
_URGENCY, _SEVERITY, _CERTAINTY = ENUMS["urgency"], ENUMS["severity"], ENUMS["certainty"]
_Element = etree._Element


class _Unusual(Exception):
    """The alert is not without fault, or larger than this is for."""


def faultless_alert(root: _Element, version: str) -> CapMessage | None:
    """The message of an alert of CAP 1.1 or 1.2 that nothing is to be said of but style; None for any other."""
    try:
        return _Reading(root, version).alert()
    except (_Unusual, BadShape):
        return None


class _Reading:
    """One alert written out, and the times and rings that languages repeat."""

    def __init__(self, root: _Element, version: str) -> None:
        self.signed = len(root) > 0 and root[-1].tag == SIGNATURE
        prefix = root.prefix or ""
        if len(prefix) > PREFIX_CHARS_MAX:
            raise _Unusual
        text = etree.tostring(root, encoding="unicode", with_tail=False)
        if self.signed:
            text = _without_signature(text, root)
        if text.count("</") > ENDS_MAX or (
            len(text) > TEXT_CHARS_MAX and (len(text) > CHARS_MAX or _LONG.search(text) is not None)
        ):
            raise _Unusual
        self.text = text
        self.escapes = "&" in text
        self.written = written_of(version, prefix)
        self.times: dict[str, int] = {}
        self.rings: dict[str, Polygon] = {}

    def alert(self) -> CapMessage:
        head = self.written.alert.match(self.text)
        if head is None:
            raise _Unusual
        written = head.groups("")
        (
            identifier,
            sender,
            sent,
            status,
            msg_type,
            source,
            scope,
            restriction,
            addresses,
            _,
            note,
            references,
            incidents,
        ) = self.plain(written)
        if not (
            _ID.fullmatch(identifier)
            and _ID.fullmatch(sender)
            and status in _STATUS
            and msg_type in _MSG_TYPE
            and scope in _SCOPE
        ):
            raise _Unusual
        referred = self.references(references) if references else ()
        if (
            (scope == "Restricted" and not restriction)
            or (scope == "Private" and not addresses)
            or (msg_type != "Alert" and not referred)
        ):
            raise _Unusual
        return CapMessage(
            self.written.version,
            identifier,
            sender,
            sent,
            self.time(sent),
            status,
            msg_type,
            scope,
            restriction,
            addresses,
            self.several(written[CODES]) if written[CODES] else (),
            note,
            referred,
            self.infos(head.end()),
            self.signed,
            source,
            incidents,
        )

    def plain(self, texts: Sequence[str]) -> list[str]:
        """Texts as they were before they were written out, stripped."""
        if self.escapes:
            return [_unescaped(text).strip() for text in texts]
        return [text.strip() for text in texts]

    def several(self, stretch: str) -> tuple[str, ...]:
        found = tuple(self.plain(self.written.text.findall(stretch)))
        if not all(found):
            raise _Unusual
        return found

    def pairs(self, stretch: str) -> tuple[tuple[str, str], ...]:
        found = self.written.pair.findall(stretch)
        if self.escapes:
            found = [(_unescaped(name), _unescaped(value)) for name, value in found]
        return tuple([(name.strip(), value.strip()) for name, value in found])

    def references(self, text: str) -> tuple[Reference, ...]:
        found = []
        for item in text.split():
            sender, identifier, sent = parts = item.split(",") if item.count(",") == 2 else ("", "", "")
            sent_us = us_of(sent)
            if sent_us is None or not all(parts):
                raise _Unusual
            found.append(Reference(sender, identifier, sent_us, item))
        if len(found) > REFERENCES_MAX:
            raise _Unusual
        return tuple(found)

    def infos(self, at: int) -> tuple[CapInfo, ...]:
        """The info blocks from a place on to the end of the alert."""
        text, end = self.text, self.written.info_end
        found = []
        match = self.written.info.match
        while (head := match(text, at)) is not None:
            resources, at = self.resources(head.end())
            areas, at = self.areas(at)
            if not text.startswith(end, at):
                raise _Unusual
            at += len(end)
            found.append(self.info(head, resources, areas))
        if text[at:] != ("" if self.signed else self.written.alert_end) or len(found) > INFOS_MAX:
            raise _Unusual
        return tuple(found)

    def info(self, head: re.Match[str], resources: tuple[CapResource, ...], areas: tuple[CapArea, ...]) -> CapInfo:
        written = head.groups("")
        (
            language,
            _,
            event,
            _,
            urgency,
            severity,
            certainty,
            audience,
            _,
            effective,
            onset,
            expires,
            sender_name,
            headline,
            description,
            instruction,
            web,
            contact,
            _,
        ) = self.plain(written)
        categories = self.several(written[CATEGORIES])
        responses = self.several(written[RESPONSES]) if written[RESPONSES] else ()
        if (
            not categories
            or not event
            or urgency not in _URGENCY
            or severity not in _SEVERITY
            or certainty not in _CERTAINTY
            or not _CATEGORY.issuperset(categories)
            or not _RESPONSE.issuperset(responses)
        ):
            raise _Unusual
        return CapInfo(
            language or "en-US",
            categories,
            event,
            responses,
            urgency,
            severity,
            certainty,
            self.pairs(written[EVENT_CODES]) if written[EVENT_CODES] else (),
            self.time(effective) if effective else None,
            self.time(onset) if onset else None,
            self.time(expires) if expires else None,
            sender_name,
            headline,
            description,
            instruction,
            web,
            self.pairs(written[PARAMETERS]) if written[PARAMETERS] else (),
            resources,
            areas,
            audience,
            contact,
        )

    def resources(self, at: int) -> tuple[tuple[CapResource, ...], int]:
        """The resources from a place on, and the place behind them."""
        found = []
        match = self.written.resource.match
        while (each := match(self.text, at)) is not None:
            description, mime_type, size, uri, deref_uri, digest = self.plain(each.groups(""))
            if not description or not mime_type or (size and not WHOLE_NUMBER.fullmatch(size)):
                raise _Unusual
            found.append(CapResource(description, mime_type, uri, bool(deref_uri), int(size) if size else None, digest))
            at = each.end()
        if len(found) > RESOURCES_MAX:
            raise _Unusual
        return tuple(found), at

    def areas(self, at: int) -> tuple[tuple[CapArea, ...], int]:
        """The areas from a place on, and the place behind them."""
        found = []
        match = self.written.area.match
        while (each := match(self.text, at)) is not None:
            name, polygons, circles, geocodes, altitude, ceiling = each.groups("")
            name, altitude, ceiling = self.plain((name, altitude, ceiling))
            if not name or (altitude and not NUMBER.fullmatch(altitude)):
                raise _Unusual
            if ceiling and not (altitude and NUMBER.fullmatch(ceiling)):
                raise _Unusual
            found.append(
                CapArea(
                    name,
                    self.polygons(self.several(polygons)) if polygons else (),
                    self.circles(self.several(circles)) if circles else (),
                    self.pairs(geocodes) if geocodes else (),
                    altitude,
                    ceiling,
                )
            )
            at = each.end()
        if len(found) > AREAS_MAX:
            raise _Unusual
        return tuple(found), at

    def polygons(self, texts: Sequence[str]) -> tuple[Polygon, ...]:
        rings = self.rings
        for text in texts:
            if text not in rings:
                shapes = polygons_of(text)
                if len(shapes) > 1:
                    raise _Unusual
                rings[text] = shapes[0]
        return tuple([rings[text] for text in texts])

    def circles(self, texts: Sequence[str]) -> tuple[Circle, ...]:
        found = tuple([circle_of(text) for text in texts])
        if any(map(passes_meridian, found)):
            raise _Unusual
        return found

    def time(self, text: str) -> int:
        us = self.times.get(text)
        if us is None:
            us = us_of(text)
            if us is None or "." in text:
                raise _Unusual
            self.times[text] = us
        return us


def _without_signature(text: str, root: _Element) -> str:
    """The alert without the signatures that are its last elements."""
    signatures = list(root.iterchildren(SIGNATURE))
    prefix = signatures[0].prefix
    opening = f"<{prefix}:Signature " if prefix else "<Signature "
    cut = text.find(opening)
    if (
        cut < 0
        or text.count(opening) != len(signatures)
        or any(signature.tail for signature in signatures)
        or any(child.tag != SIGNATURE or child.prefix != prefix for child in list(root)[-len(signatures) :])
    ):
        raise _Unusual
    return text[:cut]


def _unescaped(text: str) -> str:
    if "&" not in text:
        return text
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&#13;", "\r").replace("&amp;", "&")
