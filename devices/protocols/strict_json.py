"""Strict JSON: canonical bytes out, and in only what has exactly one meaning. Knows no document.

Strict means UTF-8 (RFC 8259), no member twice, integers instead of fractions, no lone surrogate, no unknown member.
"""

from __future__ import annotations

import json
import re

from devices.protocols.documents import INTEGER_MAX
from devices.protocols.refusals import LinkRefused, Refusal


def canonical(value: object) -> bytes:
    """The one encoding of a value: members sorted by code point, no white space, UTF-8."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def loads(raw: bytes) -> object:
    """The value in the bytes. Raises LinkRefused(MALFORMED)."""
    try:
        text = raw.decode("utf-8")
        value: object = json.loads(
            text, object_pairs_hook=_members, parse_float=_no_fraction, parse_constant=_no_fraction
        )
        if "\\u" in text:
            canonical(value)  # an escaped lone surrogate has no UTF-8 and would break whoever stores it
    except (ValueError, RecursionError) as error:
        raise LinkRefused(Refusal.MALFORMED, "not strict JSON") from error
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


def _no_fraction(literal: str) -> object:
    raise ValueError(f"{literal[:16]} is not an integer")


def malformed(where: str) -> LinkRefused:
    return LinkRefused(Refusal.MALFORMED, where)


def over_cap(where: str) -> LinkRefused:
    return LinkRefused(Refusal.OVER_CAP, where)


class Members:
    """The members of one object, taken out one by one; `done` refuses what nobody took.

    Every method raises LinkRefused: MALFORMED for a missing member or a wrong form, OVER_CAP for too much of it.
    """

    __slots__ = ("_left", "_where")

    def __init__(self, value: object, where: str) -> None:
        if not isinstance(value, dict):
            raise malformed(where)
        self._left: dict[str, object] = dict(value)
        self._where = where

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def done(self) -> None:
        if self._left:
            raise malformed(f"{self._where}: unknown member {min(self._left)[:32]!r}")

    def take(self, name: str) -> object:
        if name not in self._left:
            raise malformed(f"{self._where}.{name} is missing")
        return self._left.pop(name)

    def integer(self, name: str, low: int = 0, high: int = INTEGER_MAX) -> int:
        value = self.take(name)
        if type(value) is not int or not low <= value <= high:
            raise malformed(self._at(name))
        return value

    def boolean(self, name: str) -> bool:
        value = self.take(name)
        if not isinstance(value, bool):
            raise malformed(self._at(name))
        return value

    def text(self, name: str, chars_max: int) -> str:
        return text(self.take(name), self._at(name), chars_max)

    def match(self, name: str, form: re.Pattern[str]) -> str:
        return match(self.take(name), self._at(name), form)

    def matches(self, name: str, form: re.Pattern[str], count_max: int) -> tuple[str, ...]:
        """A list of distinct strings of one form."""
        values = tuple(match(value, self._at(name), form) for value in self.items(name, count_max))
        if len(set(values)) != len(values):
            raise malformed(f"{self._at(name)} repeats a value")
        return values

    def items(self, name: str, count_max: int) -> list[object]:
        value = self.take(name)
        if not isinstance(value, list):
            raise malformed(self._at(name))
        if len(value) > count_max:
            raise over_cap(self._at(name))
        return value

    def mapping(self, name: str, count_max: int) -> dict[str, object]:
        value = self.take(name)
        if not isinstance(value, dict):
            raise malformed(self._at(name))
        if len(value) > count_max:
            raise over_cap(self._at(name))
        return value

    def _at(self, name: str) -> str:
        return f"{self._where}.{name}"


def text(value: object, where: str, chars_max: int) -> str:
    """A text of at least one character and no control character but the line feed."""
    if not isinstance(value, str) or not value:
        raise malformed(where)
    if len(value) > chars_max:
        raise over_cap(where)
    if any((char < " " and char != "\n") or "\x7f" <= char <= "\x9f" for char in value):
        raise malformed(f"{where} holds a control character")
    return value


def match(value: object, where: str, form: re.Pattern[str]) -> str:
    if not isinstance(value, str) or not form.fullmatch(value):
        raise malformed(where)
    return value
