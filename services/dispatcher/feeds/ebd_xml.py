"""The elements of an EBD packet, read one by one; old names, odd forms and missing parts are named problems. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.ebd_ids import ID_CHARS_MAX
from services.dispatcher.feeds.ebd_message import AREAS_MAX, ITEMS_MAX, NAME_CHARS_MAX, PPM, PROBLEMS_MAX

AREA_PARTS_MAX = 2 * AREAS_MAX
BEIJING = timezone(timedelta(hours=8))
# What deployed senders write, and what is meant. Nothing here is ever written.
OLD_NAMES = {
    "EBEID": "EBRID",
    "SentTime": "SendTime",
    "RealtedEBD": "RelatedEBD",
    "RelatedEBM": "RelatedInfo",
    "RPTStartTime": "RptStartTime",
    "RPTEndTime": "RptEndTime",
    "CoveragePercent": "CoverageRate",
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d ?[ T]\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)?", re.ASCII)
_PLAIN_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", re.ASCII)
_WHOLE = re.compile(r"\d{1,12}", re.ASCII)
_RATE = re.compile(r"(\d{1,3})(?:\.(\d{1,9}))?(%?)", re.ASCII)
_ID = re.compile(rf"[0-9A-Za-z_-]{{1,{ID_CHARS_MAX}}}", re.ASCII)
_AREA_SEPARATORS = re.compile(r"[,，;；\s]+")
_AREA = re.compile(r"[1-8]\d{5}(?:\d{3}|\d{6}|\d{8})?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class EbdUnreadable(Exception):
    """Reading cannot go on; the problem is recorded."""


def is_id(text: str) -> bool:
    """Whether a foreign id may stand in a key: letters, digits, - and _, at most 64."""
    return _ID.fullmatch(text) is not None


class Findings:
    """The problems of one reading; `failed` once one of them is an error."""

    def __init__(self) -> None:
        self._found: dict[Problem, None] = {}
        self.failed = False

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(self._found)

    def error(self, code: str, where: str, message: str) -> None:
        self.failed = True
        self._add(Problem("error", code, where, message))

    def warn(self, code: str, where: str, message: str) -> None:
        self._add(Problem("warning", code, where, message))

    def _add(self, problem: Problem) -> None:
        if len(self._found) >= PROBLEMS_MAX:
            if problem.severity != "error" or any(each.severity == "error" for each in self._found):
                return
            # Whoever reads the problems of a refused packet must find out why.
            self._found.popitem()
        self._found[problem] = None


class Node:
    """An element with its children by present-day name, whatever namespace they are in."""

    def __init__(self, element: etree._Element, where: str, findings: Findings) -> None:
        self.where = where
        self.findings = findings
        self.element = element
        self._children: dict[str, list[etree._Element]] = {}
        old: dict[str, list[etree._Element]] = {}
        for child in element:
            if not isinstance(child.tag, str):
                findings.error("xml_entity", where, "The packet uses an entity that is not defined.")
                continue
            name = etree.QName(child).localname
            (old if name in OLD_NAMES else self._children).setdefault(name, []).append(child)
        for name, elements in old.items():
            present = OLD_NAMES[name]
            findings.warn("old_name", f"{where}/{name}", f"{name} is an old name for {present}.")
            self._children.setdefault(present, elements)

    def names(self) -> Iterator[str]:
        """The names of the children, each once."""
        yield from self._children

    def only(self, *known: str) -> None:
        """Name the children that nothing here reads."""
        for name in self._children:
            if name not in known:
                shown = name[:NAME_CHARS_MAX]
                self.findings.warn(
                    "element_unknown", f"{self.where}/{shown}", f"The element {shown} is not known here."
                )

    def child(self, name: str, *, required: bool = False) -> Node | None:
        found = self._children.get(name, [])
        where = f"{self.where}/{name}"
        if len(found) > 1:
            self.findings.error("repeated", where, f"The element {name} may stand only once.")
        if not found:
            if required:
                self.missing(name)
            return None
        return Node(found[0], where, self.findings)

    def each(self, name: str, count_max: int = ITEMS_MAX) -> list[Node]:
        found = self._children.get(name, [])
        if len(found) > count_max:
            where = f"{self.where}/{name}"
            self.findings.error("too_many", where, f"There are more than {count_max} elements {name}.")
            raise EbdUnreadable
        return [Node(each, f"{self.where}/{name}[{i}]", self.findings) for i, each in enumerate(found, 1)]

    def missing(self, name: str, *, fatal: bool = True) -> None:
        note = self.findings.error if fatal else self.findings.warn
        note("missing", f"{self.where}/{name}", f"The element {name} is missing.")

    def text(self, name: str, chars_max: int = NAME_CHARS_MAX, *, wanted: bool = False, required: bool = False) -> str:
        """The stripped text of a child; `wanted` warns and `required` refuses where there is none."""
        found = self._children.get(name, [])
        where = f"{self.where}/{name}"
        if len(found) > 1:
            self.findings.error("repeated", where, f"The element {name} may stand only once.")
        value = (found[0].text or "").strip() if found else ""
        if not value and (wanted or required):
            self.missing(name, fatal=required)
        if len(value) > chars_max:
            self.findings.warn("text_cut", where, f"The text of {name} was cut to {chars_max} characters.")
            return value[:chars_max]
        return value

    def id(self, name: str, *, required: bool = False) -> str:
        """An id, opaque but bounded: keys are made of it."""
        value = self.text(name, NAME_CHARS_MAX, required=required)
        if value and not is_id(value):
            self.findings.error("id_malformed", f"{self.where}/{name}", f"The {name} is no identifier.")
            return ""
        return value

    def id_in(self, parent: str, name: str) -> str:
        """The id one level down; empty where either is missing."""
        node = self.child(parent)
        return node.id(name) if node else ""

    def whole(self, name: str, *, wanted: bool = False) -> int | None:
        value = self.text(name, wanted=wanted)
        if not value:
            return None
        if not _WHOLE.fullmatch(value):
            where = f"{self.where}/{name}"
            self.findings.warn("number_malformed", where, f"{value[:40]!r} is not a whole number and was left out.")
            return None
        return int(value)

    def time_us(self, name: str, *, wanted: bool = False) -> int | None:
        """A time of day in Beijing as µs UTC. A zone that stands there all the same is honoured."""
        value = self.text(name, wanted=wanted)
        if not value:
            return None
        where = f"{self.where}/{name}"
        at: datetime | None = None
        if _TIME.fullmatch(value):
            try:
                at = datetime.fromisoformat(value.replace("  ", " "))
            except ValueError:
                at = None
        if at is None:
            self.findings.warn("time_malformed", where, f"{value[:40]!r} is not YYYY-MM-DD HH:MM:SS and was left out.")
            return None
        if not _PLAIN_TIME.fullmatch(value):
            self.findings.warn("time_form", where, f"{value[:40]!r} is not written as YYYY-MM-DD HH:MM:SS.")
        if at.tzinfo is None:
            at = at.replace(tzinfo=BEIJING)
        return (at - _EPOCH) // _MICROSECOND

    def areas(self, name: str, *, wanted: bool = False) -> tuple[str, ...]:
        """12-digit division codes; shorter ones are filled up, 14 digits cut, the rest named and left out."""
        where = f"{self.where}/{name}"
        found: dict[str, None] = {}
        texts = [each.text or "" for each in self._children.get(name, [])]
        parts = _AREA_SEPARATORS.split(" ".join(texts).strip(), AREA_PARTS_MAX)
        if len(parts) > AREA_PARTS_MAX:
            self.findings.warn("too_many", where, f"There is more in {name} than {AREA_PARTS_MAX} division codes.")
        for part in parts[:AREA_PARTS_MAX]:
            code = part[:12].ljust(12, "0")
            if part and not _AREA.fullmatch(part):
                self.findings.warn("area_malformed", where, f"{part[:40]!r} is no division code and was left out.")
            elif part and code not in found and len(found) == AREAS_MAX:
                self.findings.warn("too_many", where, f"Only the first {AREAS_MAX} division codes were read.")
                break
            elif part:
                if len(part) != 12:
                    self.findings.warn("area_length", where, f"The division code {part} does not have 12 digits.")
                found[code] = None
        if wanted and not found:
            self.missing(name, fatal=False)
        return tuple(found)

    def rate_ppm(self, name: str, *, percent: bool) -> int | None:
        """A rate 0 to 1, or what old senders write: "90%", "100". `percent` says that the old name stood there.

        "1" under the old name may be all or a hundredth; the smaller is taken, so that nothing looks better than it is.
        """
        value = self.text(name)
        if not value:
            return None
        where = f"{self.where}/{name}"
        match = _RATE.fullmatch(value)
        ppm = None if match is None else int(match[1]) * PPM + int((match[2] or "0").ljust(9, "0")[:6])
        if match is not None and ppm is not None:
            if match[3] or ppm > PPM or (percent and not match[2] and ppm == PPM):
                self.findings.warn("coverage_form", where, f"{value!r} was read as a percentage.")
                ppm //= 100
            elif percent:
                self.findings.warn("coverage_form", where, f"{value!r} was read as a rate from 0 to 1.")
        if ppm is None or ppm > PPM:
            self.findings.warn("coverage_malformed", where, f"{value[:40]!r} is no rate and was left out.")
            return None
        return ppm

    def written_as(self, name: str) -> str:
        """The name that the child read as `name` has in the file."""
        found = self._children.get(name)
        return str(etree.QName(found[0]).localname) if found else name
