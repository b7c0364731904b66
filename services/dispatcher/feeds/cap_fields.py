"""One pass over the elements of CAP 1.2, 1.1 and 1.0: texts by name, and whatever the schema does not allow. Pure.

`cap_read` says what they mean. What breaks the schema is an error; CAP 1.0 was never strict about its order.
"""

from __future__ import annotations

from typing import Any

from lxml import etree

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.cap_message import PAIRS_MAX, PROBLEMS_MAX, TEXT_CHARS_MAX
from services.dispatcher.feeds.cap_tables import (
    ENUMS,
    FIELDS,
    LEAF,
    NAMESPACES,
    NODES,
    REQUIRED,
    SIGNATURE,
    VERSIONS,
    Field,
)
from services.dispatcher.feeds.xml_edge import stray_text

_NEVER_CUT = ("polygon", "derefUri")
_Element = etree._Element


class CapUnreadable(Exception):
    """Reading cannot go on; the problem is recorded."""


class Elements:
    """The elements of one message of a CAP version, and the problems found in them so far."""

    def __init__(self, version: str) -> None:
        self.problems: list[Problem] = []
        self.failed = False
        self.version = version
        self._tables = FIELDS[version]
        self._required = REQUIRED[version]

    def error(self, code: str, where: str, message: str) -> None:
        """Record an error; with PROBLEMS_MAX problems reading ends, by Refused."""
        self.failed = True
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem("error", code, where, message))
            return
        self.problems[-1] = Problem("error", code, where, message)
        raise CapUnreadable

    def warn(self, code: str, where: str, message: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem("warning", code, where, message))

    def refuse(self, code: str, where: str, message: str) -> Any:
        self.error(code, where, message)
        raise CapUnreadable

    def fields(self, element: _Element, kind: str, where: str) -> dict[str, Any]:
        """The element's children by name: texts for leaves, lists where many may stand, elements where they nest.

        Empty leaves are as good as absent. Reports whatever the schema does not allow or misses here.
        """
        table = self._tables[kind]
        got: dict[str, Any] = {}
        last = -1
        beside = element.text
        for child in element:
            field = table.get(child.tag)
            if child.tail is not None:
                beside = child.tail
            if field is None:
                field = self._stranger(child, kind, where, got)
                if field is None:
                    continue
            order, name, form = field
            if order > last or (order == last and form != LEAF):
                last = order
            else:
                self._misplaced(name, where, again=order == last or name in got)
            if form == NODES:
                value: Any = child
            else:
                value = child.text
                if len(child):
                    self._nested(name, where)
                if value is None or not (value := value.strip()):
                    continue
                if len(value) > TEXT_CHARS_MAX and name not in _NEVER_CUT:
                    value = self._cut(value, name, where)
                if form == LEAF:
                    got[name] = value
                    continue
            if name in got:
                got[name].append(value)
            else:
                got[name] = [value]
        if beside is not None:
            self._stray(element, where)
        required = self._required.get(kind)
        if required is not None and not got.keys() >= required:
            self._missing([name for _, name, _ in table.values() if name in required and name not in got], where)
        return got

    def _missing(self, names: list[str], where: str) -> None:
        for name in names:
            self.error("missing", f"{where}/{name}", f"The element {name} is missing.")

    def _nested(self, name: str, where: str) -> None:
        self.error("text_has_elements", f"{where}/{name}", f"The text of {name} holds elements.")

    def _cut(self, value: str, name: str, where: str) -> str:
        self.warn("text_cut", f"{where}/{name}", f"The text of {name} was cut to {TEXT_CHARS_MAX} characters.")
        return value[:TEXT_CHARS_MAX]

    def _stray(self, element: _Element, where: str) -> None:
        text = stray_text(element)
        if text:
            self.error("text_stray", where, f"The text {text[:40]!r} stands where only elements may.")

    def _misplaced(self, name: str, where: str, *, again: bool) -> None:
        sentence = f"The element {name} stands out of the order of the schema."
        if again:
            self.error("repeated", f"{where}/{name}", f"The element {name} may stand only once.")
        elif self.version == "1.0":
            self.warn("element_order", f"{where}/{name}", sentence)
        else:
            self.error("element_order", f"{where}/{name}", sentence)

    def _stranger(self, child: _Element, kind: str, where: str, got: dict[str, Any]) -> Field | None:
        if not isinstance(child.tag, str):
            self.error("xml_entity", where, "The alert uses an entity that is not defined.")
            return None
        if child.tag == SIGNATURE and kind == "alert":
            got["Signature"] = True
            return None
        name = etree.QName(child)
        where = f"{where}/{name.localname}"
        if name.namespace is not None and name.namespace not in VERSIONS:
            self.warn("element_foreign", where, "An element of another namespace was left out.")
            return None
        field = self._tables[kind].get(f"{{{NAMESPACES[self.version]}}}{name.localname}")
        if field is not None and name.namespace is not None:
            sentence = f"The element {name.localname} has the namespace of another CAP version."
            self.warn("namespace_mixed", where, sentence)
            return field
        if kind == "alert" and name.localname == "password":
            self.warn("password_deprecated", where, "The element password is deprecated and was left out.")
        else:
            self.error("element_unknown", where, f"CAP {self.version} knows no element {name.localname[:80]} here.")
        return None

    def some(self, got: dict[str, Any], name: str, count_max: int, where: str) -> list[Any]:
        found: list[Any] = got.get(name) or []
        if len(found) > count_max:
            self.refuse("too_many", f"{where}/{name}", f"There are more than {count_max} elements {name}.")
        return found

    def value(self, got: dict[str, Any], name: str, where: str) -> str:
        """One of the values that the schema lists; a missing one is reported where fields are."""
        value: str = got.get(name, "")
        return value if value in ENUMS[name] or not value else self._other_value(value, name, where)

    def values(self, got: dict[str, Any], name: str, where: str) -> tuple[str, ...]:
        found = self.some(got, name, PAIRS_MAX, where)
        if not ENUMS[name].issuperset(found):
            for value in found:
                if value not in ENUMS[name]:
                    self._other_value(value, name, where)
        return tuple(found)

    def _other_value(self, value: str, name: str, where: str) -> str:
        if name == "certainty" and value == "Very Likely":
            self.warn("certainty_deprecated", f"{where}/certainty", "Very Likely is deprecated and read as Likely.")
            return "Likely"
        self.error("value_unknown", f"{where}/{name}", f"{value[:40]!r} is no value of {name}.")
        return value

    def pairs(self, got: dict[str, Any], name: str, where: str) -> tuple[tuple[str, str], ...]:
        """valueName and value; CAP 1.0 writes them as one text, name=value."""
        first_tag, second_tag = self._tables["pair"]
        found = []
        for element in self.some(got, name, PAIRS_MAX, where):
            if len(element) == 2:
                first, second = element
                scheme, value = first.text, second.text
                if (
                    first.tag == first_tag
                    and second.tag == second_tag
                    and not (len(first) or len(second))
                    and element.text is first.tail is second.tail is None
                ):
                    found.append(((scheme or "").strip(), (value or "").strip()))
                    continue
            elif self.version == "1.0" and len(element) == 0:
                scheme, _, value = (element.text or "").strip().partition("=")
                found.append((scheme, value))
                continue
            found += self._pair(element, f"{where}/{name}")
        return tuple(found)

    def _pair(self, element: _Element, where: str) -> list[tuple[str, str]]:
        pair = self.fields(element, "pair", where)
        there = {etree.QName(child).localname for child in element if isinstance(child.tag, str)}
        if not {"valueName", "value"} <= there:
            self.error("missing", where, "A pair needs valueName and value.")
        return [(pair.get("valueName", ""), pair.get("value", ""))]
