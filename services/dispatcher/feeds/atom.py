"""Lists of CAP alerts, Atom 1.0 and RSS 2.0: which alerts there are, where they lie, and those inside the list. Pure.

A list is no alert: what it says in its own entries (titles, the cap: fields of some weather services) is a summary for
people, and only the alerts themselves, linked or embedded, become signals. Links are resolved here and followed by
whoever polls the list; nothing but http and https ever leaves this module.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from urllib.parse import urldefrag, urljoin, urlsplit

from lxml import etree

from services.dispatcher.domain.signals import Feed, Problem, Reading, Signal
from services.dispatcher.feeds import cap
from services.dispatcher.feeds.cap_message import RAW_BYTES_MAX
from services.dispatcher.feeds.cap_tables import VERSIONS
from services.dispatcher.feeds.xml_edge import BadXml, open_root

FORMAT = "atom"
LIST_BYTES_MAX = 4_194_304
EMBEDDED_BYTES_MAX = 8_388_608
ENTRIES_MAX = 1_000
FIELDS_MAX = 64
LINKS_MAX = 64
# Writing an alert out takes time with the square of the namespaces around it.
NAMESPACES_MAX = 256
ID_CHARS_MAX = 1_024
TITLE_CHARS_MAX = 400
FIELD_CHARS_MAX = 2_048
URL_CHARS_MAX = 2_048
PROBLEMS_MAX = 200
TOKEN_CHARS = 32
# One list makes no more signals than the intake commits in one group.
SIGNALS_MAX = 400

ATOM = "http://www.w3.org/2005/Atom"
CONTENT_ENCODED = "{http://purl.org/rss/1.0/modules/content/}encoded"
XML_BASE = "{http://www.w3.org/XML/1998/namespace}base"
CAP_TYPES = ("application/cap+xml", "application/common-alerting-protocol+xml")
XML_TYPES = ("text/xml", "application/xml")
_CAP_SPACES = tuple(f"{{{space}}}" for space in VERSIONS)
_ALERTS = tuple(f"{{{space}}}alert" for space in VERSIONS)
_ALERT_AS_TEXT = re.compile(r"\s*(?:<\?xml[^>]{0,200}\?>\s*)?<(?:[\w.-]{1,40}:)?alert[\s>]")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_Element = etree._Element


@dataclass(frozen=True, slots=True)
class ListEntry:
    """One alert of a list. `cap_url` is absolute; `embedded` is the alert's own XML; `updated_us` is µs UTC.

    `fields` are the entry's own cap: elements as (name, text), in their order.
    """

    id: str
    title: str
    updated_us: int | None
    cap_url: str | None
    embedded: bytes | None
    fields: tuple[tuple[str, str], ...] = ()

    @property
    def token(self) -> str:
        """What tells this version of this entry from every other: an updated entry is a new one."""
        said = "\n".join((self.id, str(self.updated_us), self.cap_url or ""))
        return hashlib.sha256(said.encode("utf-8", "surrogatepass") + (self.embedded or b"")).hexdigest()[:TOKEN_CHARS]


@dataclass(frozen=True, slots=True)
class AtomEntries:
    """The entries of a list. With a problem of severity "error" and no entries it was no list that could be read."""

    entries: tuple[ListEntry, ...]
    problems: tuple[Problem, ...]


class _AtomUnreadable(Exception):
    """Reading cannot go on; the problem is recorded."""


def read_list(raw: bytes, base_url: str = "") -> AtomEntries:
    """The entries of an Atom or RSS list of at most 4 MB, got from `base_url`; never raises."""
    reader = _AtomReader(base_url)
    try:
        entries = tuple(reader.entries(open_root(raw, LIST_BYTES_MAX)))
    except BadXml as bad:
        return AtomEntries((), (Problem("error", bad.code, bad.where, bad.sentence),))
    except _AtomUnreadable:
        entries = ()
    return AtomEntries(entries, tuple(reader.problems))


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """The signals of the alerts inside a list that was sent here; links in it are named and not followed."""
    listing = read_list(raw)
    problems = list(listing.problems)
    signals: dict[str, Signal] = {}
    for index, entry in enumerate(listing.entries, 1):
        where = f"entry[{index}]"
        if entry.embedded is None:
            problems.append(_warning("entry_linked", where, "The entry has no alert inside; its link is not followed."))
            continue
        found = cap.reading(entry.embedded, feed, received_us)
        problems += (replace(problem, where=f"{where}/{problem.where}") for problem in found.problems)
        if len(signals) + len(found.signals) > SIGNALS_MAX:
            sentence = f"The list makes more than {SIGNALS_MAX} signals; from here on nothing was taken."
            problems.append(Problem("error", "too_many", where, sentence))
            break
        signals.update((signal.key, signal) for signal in found.signals if signal.key not in signals)
    errors_first = sorted(problems, key=lambda problem: problem.severity != "error")
    return Reading(tuple(signals.values()), tuple(errors_first[:PROBLEMS_MAX]))


def list_kind(root: _Element) -> str:
    """Which list this is the root of, `atom` or `rss`; empty where it is none."""
    name = etree.QName(root)
    if name.localname == "feed" and name.namespace == ATOM:
        return "atom"
    return "rss" if name.localname == "rss" and not name.namespace else ""


class _AtomReader:
    """One reading: the problems so far, and how much has been taken out of the list."""

    def __init__(self, base_url: str) -> None:
        self.problems: list[Problem] = []
        self._base_url = base_url
        self._embedded_bytes = 0

    def warn(self, code: str, where: str, message: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(_warning(code, where, message))

    def error(self, code: str, where: str, message: str) -> None:
        self.problems.insert(0, Problem("error", code, where, message))

    def refuse(self, code: str, where: str, message: str) -> _AtomUnreadable:
        self.error(code, where, message)
        return _AtomUnreadable()

    def entries(self, root: _Element) -> Iterator[ListEntry]:
        if len(root.nsmap) > NAMESPACES_MAX:
            raise self.refuse("too_many", root.tag[:80], f"The list declares over {NAMESPACES_MAX} namespaces.")
        match list_kind(root):
            case "atom":
                self._head(root, "feed", f"{{{ATOM}}}")
                elements, read, base = root.findall(f"{{{ATOM}}}entry"), self._atom, _base(self._base_url, root)
            case "rss":
                channel = root.find("channel")
                if channel is None:
                    raise self.refuse("missing", "rss/channel", "The list has no channel.")
                elements, read, base = channel.findall("item"), self._rss, self._base_url
            case _:
                raise self._not_a_list(root)
        if len(elements) > ENTRIES_MAX:
            self.warn("too_many", "entry", f"The list has {len(elements)} entries; the first {ENTRIES_MAX} were read.")
        seen: set[str] = set()
        for index, element in enumerate(elements[:ENTRIES_MAX], 1):
            where = f"entry[{index}]"
            entry = self._usable(read(element, where, base), where)
            if entry is None or entry.token in seen:
                continue
            seen.add(entry.token)
            yield entry

    def _not_a_list(self, root: _Element) -> _AtomUnreadable:
        name = etree.QName(root)
        if name.localname == "alert":
            sentence = "This is one alert, not a list of alerts: its feed has to be enrolled as the alert's own format."
            return self.refuse("alert_not_list", "alert", sentence)
        shown = name.localname[:40]
        return self.refuse("not_a_list", shown, f"The root element is {shown}, which is no Atom or RSS list.")

    def _head(self, root: _Element, where: str, space: str) -> None:
        for name in ("id", "title", "updated"):
            if root.find(f"{space}{name}") is None:
                self.warn("missing", f"{where}/{name}", f"The element {name} is missing.")

    def _usable(self, entry: ListEntry, where: str) -> ListEntry | None:
        """The entry with an id; None when it leads to no alert."""
        if entry.cap_url is None and entry.embedded is None:
            self.warn("entry_empty", where, "The entry neither holds nor links an alert.")
            return None
        if entry.id:
            return entry
        self.warn("missing", f"{where}/id", "The entry has no id, so what it leads to stands for it.")
        return replace(entry, id=entry.cap_url or hashlib.sha256(entry.embedded or b"").hexdigest())

    def _atom(self, element: _Element, where: str, base: str) -> ListEntry:
        base = _base(base, element)
        self._head(element, where, f"{{{ATOM}}}")
        links = [
            _Link(each.get("href", ""), _media_type(each), each.get("rel", "alternate"), _base(base, each))
            for each in element.findall(f"{{{ATOM}}}link")[:LINKS_MAX]
        ]
        content = element.find(f"{{{ATOM}}}content")
        if content is not None and content.get("src"):
            links.append(_Link(content.get("src", ""), _media_type(content), "alternate", _base(base, content)))
        return ListEntry(
            id=_text(element.find(f"{{{ATOM}}}id"))[:ID_CHARS_MAX],
            title=_title(element.find(f"{{{ATOM}}}title")),
            updated_us=self._time(element, f"{{{ATOM}}}updated", where),
            cap_url=self._link(links, where),
            embedded=self._embedded(element, content, where),
            fields=_fields(element),
        )

    def _rss(self, element: _Element, where: str, base: str) -> ListEntry:
        links = [
            _Link(each.get("href") or each.get("url") or "", _media_type(each), each.get("rel", "alternate"), base)
            for tag in ("enclosure", f"{{{ATOM}}}link")
            for each in element.findall(tag)[:LINKS_MAX]
        ]
        links.append(_Link(_text(element.find("link")), "", "alternate", base))
        guid = element.find("guid")
        if guid is None:
            self.warn("missing", f"{where}/guid", "The element guid is missing.")
        title = element.find("title")
        content = element.find(CONTENT_ENCODED)
        return ListEntry(
            id=_text(guid)[:ID_CHARS_MAX],
            title=_title(title if title is not None else element.find("description")),
            updated_us=self._time(element, "pubDate", where),
            cap_url=self._link(links, where),
            embedded=self._embedded(element, content if content is not None else element.find("description"), where),
            fields=_fields(element),
        )

    def _time(self, element: _Element, tag: str, where: str) -> int | None:
        text = _text(element.find(tag))
        at_us = _time_us(text)
        if at_us is None and text:
            name = etree.QName(tag).localname
            self.warn("time_malformed", f"{where}/{name}", f"{text[:40]!r} is no date and time.")
        return at_us

    def _link(self, links: list[_Link], where: str) -> str | None:
        """The link that says it is CAP, else one that says it is XML, else one that says nothing."""
        wanted = [link for link in links if link.href.strip() and link.rel in ("alternate", "enclosure", "via")]
        for types in (CAP_TYPES, XML_TYPES, ("",)):
            for link in wanted:
                if link.type not in types:
                    continue
                url = _resolved(link)
                if url is not None:
                    return url
                self.warn("link_refused", f"{where}/link", f"{link.href[:80]!r} is no http or https address.")
        return None

    def _embedded(self, entry: _Element, content: _Element | None, where: str) -> bytes | None:
        # Each alert takes the namespaces of the whole list along, so what is taken out can outgrow what came in.
        if self._embedded_bytes > EMBEDDED_BYTES_MAX:
            return None
        alert = _alert_in(entry) if content is None else _alert_in(content)
        if alert is None and content is not None:
            alert = _alert_in(entry)
        if alert is not None and len(alert.nsmap) > NAMESPACES_MAX:
            self.warn(
                "too_many", where, f"The entry declares over {NAMESPACES_MAX} namespaces; its alert was left out."
            )
            return None
        if alert is not None:
            raw = etree.tostring(alert, encoding="UTF-8", xml_declaration=True, with_tail=False)
        elif content is not None and _ALERT_AS_TEXT.match(content.text or ""):
            raw = _without_declaration(content.text or "")
        else:
            return None
        self._embedded_bytes += len(raw)
        if self._embedded_bytes > EMBEDDED_BYTES_MAX:
            sentence = f"The alerts inside the list have over {EMBEDDED_BYTES_MAX} bytes; from here on none was taken."
            self.error("too_large", where, sentence)
            return None
        if len(raw) > RAW_BYTES_MAX:
            self.warn("too_large", where, f"The alert inside the entry has more than {RAW_BYTES_MAX} bytes.")
            return None
        return raw


@dataclass(frozen=True, slots=True)
class _Link:
    href: str
    type: str
    rel: str
    base: str


def _alert_in(element: _Element) -> _Element | None:
    """An alert among the children, or one below inside an xhtml wrapper; alerts without a namespace count too."""
    for child in element:
        if child.tag in _ALERTS or child.tag == "alert":
            return child
    for child in element:
        if isinstance(child.tag, str) and child.tag.endswith("}div"):
            return next((each for each in child if each.tag in _ALERTS or each.tag == "alert"), None)
    return None


def _without_declaration(text: str) -> bytes:
    """An alert that stood as text is UTF-8 now, whatever its declaration says."""
    text = text.strip()
    return (text.partition("?>")[2] if text.startswith("<?xml") else text).strip().encode("utf-8", "replace")


def _fields(entry: _Element) -> tuple[tuple[str, str], ...]:
    found: list[tuple[str, str]] = []
    for child in entry:
        if len(found) == FIELDS_MAX:
            break
        if isinstance(child.tag, str) and child.tag.startswith(_CAP_SPACES) and child.tag not in _ALERTS:
            text = " ".join("".join(str(part) for part in child.itertext()).split())
            found.append((etree.QName(child).localname, text[:FIELD_CHARS_MAX]))
    return tuple(found)


def _base(base: str, element: _Element) -> str:
    inner = element.get(XML_BASE)
    if not inner or len(inner) > URL_CHARS_MAX:
        return base
    try:
        return urljoin(base, inner.strip())
    except ValueError:
        return base


def _resolved(link: _Link) -> str | None:
    """The absolute address without its fragment; None unless it is plain http or https with a host."""
    href = link.href.strip()
    if len(href) > URL_CHARS_MAX or any(ord(char) <= 32 or ord(char) == 127 or char == "\\" for char in href):
        return None
    try:
        url = urldefrag(urljoin(link.base, href)).url
        parts = urlsplit(url)
        port_ok = parts.port is None or parts.port > 0
    except ValueError:
        return None
    plain = parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc and port_ok
    return url if plain and len(url) <= URL_CHARS_MAX else None


def _media_type(element: _Element) -> str:
    return element.get("type", "").partition(";")[0].strip().lower()


def _title(element: _Element | None) -> str:
    return " ".join(_text(element).split())[:TITLE_CHARS_MAX]


def _text(element: _Element | None) -> str:
    if element is None:
        return ""
    return "".join(str(part) for part in element.itertext()).strip()


def _time_us(text: str) -> int | None:
    """µs UTC of an RFC 3339 time (Atom) or an RFC 822 date (RSS); what names no zone is UTC."""
    if not text or len(text) > 64:
        return None
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            at = parse(text)
            return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - _EPOCH) // _MICROSECOND
        except (ValueError, TypeError, IndexError, OverflowError):
            continue
    return None


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
