"""RFC 3339 times of foreign JSON to µs UTC. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

YEAR_END = 2_200

_FORM = re.compile(
    r"(\d{4}-\d{2}-\d{2})[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,12}))?(?:([Zz])|([+-])(\d{2}):([0-5]\d))", re.ASCII
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def instant_us(text: str) -> int:
    """µs UTC of a time with its offset, digits beyond microseconds cut; raises ValueError for any other text and for
    years from `YEAR_END` on. Times before 1970 are negative: some senders write "no time" so."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError("no RFC 3339 time with an offset")
    local = datetime.fromisoformat(f"{found[1]}T{found[2]}")
    offset = timedelta(0) if found[4] else timedelta(hours=int(found[6]), minutes=int(found[7]))
    if local.year >= YEAR_END:
        raise ValueError("no time that anybody means")
    zone = timezone(-offset if found[5] == "-" else offset)
    fraction_us = int((found[3] or "0")[:6].ljust(6, "0"))
    return (local.replace(tzinfo=zone) - _EPOCH) // timedelta(microseconds=1) + fraction_us
