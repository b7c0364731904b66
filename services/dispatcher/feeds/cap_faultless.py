"""CAP 1.1 and 1.2 alerts without any fault, read in a few steps: a file or a parsed alert in, a CapMessage or None out.
Pure.

Nearly every alert is such a one, and this is the road of every alert to a siren; looking at elements one at a time
takes several times as long. Each part of the text is compared as a whole with what its schema allows (`cap_written`).
What is matched so from end to end is well-formed XML, because nothing else can be: every element closes where it must,
texts hold neither < nor a character or reference that XML does not have, and the opening of the alert, which may hold
anything, has been parsed. Whatever is unusual ends this with None: `cap_read` then reads the alert one element at a
time and says what. Both make the same message of the same alert.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from lxml import etree

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.feeds.cap_message import (
    AREAS_MAX,
    INFOS_MAX,
    REFERENCES_MAX,
    RESOURCES_MAX,
    TEXT_CHARS_MAX,
    CapArea,
    CapInfo,
    CapMessage,
    CapResource,
    Reference,
)
from services.dispatcher.feeds.cap_plain import CHARS_MAX, plain_text, unescaped
from services.dispatcher.feeds.cap_shapes import BadShape, circle_of, passes_meridian, polygons_of
from services.dispatcher.feeds.cap_tables import ROOTS, SIGNATURE
from services.dispatcher.feeds.cap_times import us_of, us_of_time
from services.dispatcher.feeds.cap_written import BLANKS, VERSIONS_WRITTEN, Written, written_of
from services.dispatcher.feeds.xml_edge import BadXml, open_root

PREFIX_CHARS_MAX = 16
OPENING_CHARS_MAX = 1_000
ENDS_MAX, ENDS_COUNTED_FROM = 1_000, 14_000
"""Of elements; fewer characters hold fewer. With both, no cap on points, shapes or pairs can be reached here."""

STRETCH_CHARS_MAX, STRETCHES_MAX = 200, 512
"""How long a stretch of words may be that is remembered, and how many are."""

CODES, CATEGORIES, RESPONSES, EVENT_CODES, PARAMETERS = 9, 1, 3, 8, 18
"""Which groups of an alert and of an info are stretches of several elements."""

WHOLE_NUMBER = re.compile(r"[+-]?\d{1,18}", re.ASCII)
NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_TEXTS = re.compile(">([^<]*+)</")
_Element = etree._Element


class _Unusual(Exception):
    """The alert is not without fault, or larger than this is for."""


def plain_alert(raw: bytes) -> CapMessage | None:
    """The message of a file that is an alert of CAP 1.1 or 1.2 of which nothing is to be said but style; None for any
    other, and for one that is signed, is not in UTF-8, or holds comments or numbered characters."""
    text = plain_text(raw)
    opening = text[: text.find(">") + 1]
    written = _written_behind(opening) if len(opening) <= OPENING_CHARS_MAX else None
    if written is None:
        return None
    try:
        return _Reading(text, written, len(opening) - 1, signed=False).alert()
    except (_Unusual, BadShape):
        return None


def faultless_alert(root: _Element) -> CapMessage | None:
    """The same of a parsed alert, which is written out anew."""
    written = _written(root)
    if written is None:
        return None
    text = etree.tostring(root, encoding="unicode", with_tail=False)
    signed = len(root) > 0 and root[-1].tag == SIGNATURE
    try:
        if signed:
            text = _without_signature(text, root)
        return _Reading(text, written, text.find(">"), signed=signed).alert()
    except (_Unusual, BadShape):
        return None


@lru_cache(256)
def _written_behind(opening: str) -> Written | None:
    """How the alert is written that opens so, as the parser has it; None when it is no alert. A feed has one or two."""
    try:
        root = open_root(f"{opening[:-1]}/>".encode(), OPENING_CHARS_MAX * 4)
    except BadXml:
        return None
    return None if opening.endswith("/>") else _written(root)


def _written(root: _Element) -> Written | None:
    """How the alert with this root is written where all is right; None for another root, or an unusual prefix."""
    prefix = root.prefix or ""
    version = ROOTS.get(root.tag, "")
    usual = version in VERSIONS_WRITTEN and len(prefix) <= PREFIX_CHARS_MAX
    return written_of(version, prefix) if usual else None


class _Reading:
    """One alert's text behind its opening, and the times and rings that languages repeat."""

    def __init__(self, text: str, written: Written, at: int, *, signed: bool) -> None:
        if len(text) > ENDS_COUNTED_FROM:
            if len(text) > CHARS_MAX or text.count("</") > ENDS_MAX:
                raise _Unusual
            if len(text) > TEXT_CHARS_MAX and max(map(len, text.split("<"))) > TEXT_CHARS_MAX:
                raise _Unusual
        self.text = text
        self.written = written
        self.at = at
        self.signed = signed
        self.escapes = "&" in text
        self.times: dict[str, int] = {}
        self.rings: dict[str, Polygon] = {}

    def alert(self) -> CapMessage:
        head = self.written.alert.match(self.text, self.at)
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
        ) = self.meant(written)
        if not (identifier and sender and sent and status and msg_type and scope):
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

    def meant(self, texts: Sequence[str]) -> list[str]:
        """What texts say, without the blanks around it."""
        if self.escapes:
            return [unescaped(text).strip() for text in texts]
        return [text.strip() for text in texts]

    def several(self, stretch: str) -> tuple[str, ...]:
        found = tuple(self.meant(_TEXTS.findall(stretch)))
        if not all(found):
            raise _Unusual
        return found

    def words(self, stretch: str) -> tuple[str, ...]:
        """Words of the schema: nearly every alert has the same few."""
        return _known_words(stretch) if len(stretch) <= STRETCH_CHARS_MAX else self.several(stretch)

    def pairs(self, stretch: str) -> tuple[tuple[str, str], ...]:
        found = self.written.pair.findall(stretch)
        if self.escapes:
            found = [(unescaped(name), unescaped(value)) for name, value in found]
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
        text = self.text
        found = []
        match, match_end = self.written.info.match, self.written.info_end.match
        while (head := match(text, at)) is not None:
            resources, at = self.resources(head.end())
            areas, at = self.areas(at)
            end = match_end(text, at)
            if end is None:
                raise _Unusual
            at = end.end()
            found.append(self.info(head, resources, areas))
        if text[at:].rstrip(BLANKS) != ("" if self.signed else self.written.alert_end) or len(found) > INFOS_MAX:
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
        ) = self.meant(written)
        if not (written[CATEGORIES] and event and urgency and severity and certainty):
            raise _Unusual
        return CapInfo(
            language or "en-US",
            self.words(written[CATEGORIES]),
            event,
            self.words(written[RESPONSES]) if written[RESPONSES] else (),
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
            description, mime_type, size, uri, deref_uri, digest = self.meant(each.groups(""))
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
            (name,) = self.meant((name,))
            if altitude or ceiling:
                altitude, ceiling = self.meant((altitude, ceiling))
                if not NUMBER.fullmatch(altitude) or (ceiling and not NUMBER.fullmatch(ceiling)):
                    raise _Unusual
            if not name:
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
            us = us_of_time(text)
            if us is None:
                raise _Unusual
            self.times[text] = us
        return us


@lru_cache(STRETCHES_MAX)
def _known_words(stretch: str) -> tuple[str, ...]:
    return tuple([text.strip() for text in _TEXTS.findall(stretch)])


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
    return text[: cut + 1]
