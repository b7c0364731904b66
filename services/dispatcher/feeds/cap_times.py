"""CAP's dateTime: text in, µs UTC out, and back. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]|24(?=:00:00[+-])):[0-9]{2}:[0-9]{2}"
_OFFSET = r"[+-](?:(?:0[0-9]|1[0-3]):[0-5][0-9]|14:00)"
WHOLE_TIME = _MOMENT + _OFFSET
"""The regular expression of a time as CAP knows it, of whole seconds."""
TIME = re.compile(rf"{_MOMENT}(?:\.[0-9]{{1,9}})?{_OFFSET}")
DAY_US = 86_400_000_000
_WHOLE_CHARS = 25
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def us_of(text: str) -> int | None:
    """µs UTC of a date and time with a numeric offset (OASIS CAP 1.2, section 3.3.2), or None for anything else.

    Fractions of a second are read, which CAP does not know; 24:00:00 is the end of its day, as in XML Schema.
    """
    return None if TIME.fullmatch(text) is None else us_of_time(text)


def us_of_time(text: str) -> int | None:
    """The same of a text that TIME has matched; None where the calendar has no such day or minute."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        if text[11:19] != "24:00:00" or len(text) != _WHOLE_CHARS:
            return None
        midnight = us_of(f"{text[:11]}00{text[13:]}")
        return None if midnight is None else midnight + DAY_US
    if len(text) == _WHOLE_CHARS:
        return int(moment.timestamp()) * 1_000_000
    return (moment - _EPOCH) // _MICROSECOND


def text_of(us: int, offset_min: int) -> str:
    """A time as CAP writes it, at an offset from UTC in minutes; UTC itself is +00:00, never Z.

    ValueError for a time with fractions of a second or beyond the years 1 to 9999.
    """
    if us % 1_000_000:
        raise ValueError("CAP knows no fractions of a second.")
    try:
        moment = (_EPOCH + timedelta(microseconds=us)).astimezone(timezone(timedelta(minutes=offset_min)))
    except OverflowError as cause:
        raise ValueError("The time lies beyond the years 1 to 9999.") from cause
    return moment.isoformat(timespec="seconds")
