"""Foreign JSON in, a value or a named refusal out. Pure.

What has no single meaning is refused whole: a member that stands twice, NaN and the infinities, a number beyond a
double, text that is no UTF-8. A file may be of any depth and any size; it costs no more than its cap.
"""

from __future__ import annotations

import json
import math


class BadJson(Exception):
    """The file is no JSON that may be read; `code` and `sentence` say why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def open_json(raw: bytes, bytes_max: int) -> object:
    """The value in at most `bytes_max` bytes of UTF-8, a byte order mark allowed; raises BadJson."""
    if not raw.strip():
        raise BadJson("empty", "The file is empty.")
    if len(raw) > bytes_max:
        raise BadJson("too_large", f"The file has {len(raw)} bytes; {bytes_max} are allowed.")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise BadJson("bad_encoding", "The file is not UTF-8.") from cause
    try:
        value: object = json.loads(
            text, object_pairs_hook=_members, parse_float=_fraction, parse_constant=_not_a_number, parse_int=_whole
        )
    except RecursionError as cause:
        raise BadJson("json_too_deep", "The file is nested too deep to be read.") from cause
    except json.JSONDecodeError as cause:
        raise BadJson("json_malformed", f"The file is not JSON: line {cause.lineno}, column {cause.colno}.") from cause
    return value


def _members(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadJson("member_twice", "A member stands twice in one object, so that it has no single meaning.")
    return members


def _whole(literal: str) -> int:
    if len(literal) > 20:
        raise BadJson("number_out_of_range", "The file holds a number of more than 20 digits.")
    return int(literal)


def _fraction(literal: str) -> float:
    value = float(literal)
    if not math.isfinite(value):
        raise BadJson("number_out_of_range", "The file holds a number that is too large.")
    return value


def _not_a_number(literal: str) -> object:
    raise BadJson("number_out_of_range", f"The file holds {literal}, which is no number.")
