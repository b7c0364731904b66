"""Cells of a department's spreadsheet to values: texts, times, numbers, codes and words in their many spellings. Pure.

A reader returns None for an empty cell and raises CellRefused, whose sentence names no column, for one it can't read.
Times without an offset are Beijing time, as people write them; inside they are µs UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from math import isfinite

from services.dispatcher.domain.signals import SignalKind
from services.dispatcher.feeds.report import Status, area_code, clean

Cell = str | int | float | bool | date | datetime | time | timedelta | None

BEIJING = timezone(timedelta(hours=8))
SHOWN_CHARS_MAX = 40
YEARS = (1_971, 2_200)
SERIAL_RANGE = (30_000, 80_000)
"""Day numbers that count as dates: from 1982 to 2119."""
SERIAL_EPOCH = datetime(1899, 12, 30)  # noqa: DTZ001 - a spreadsheet's days have no zone of their own
"""Day 0 of the count that begins in 1900, with its leap day that never was."""

KINDS = {
    **dict.fromkeys(("alert", "new", "预警", "报警", "新发", "新增", "上报"), SignalKind.ALERT),
    **dict.fromkeys(("update", "更新", "变更", "续报"), SignalKind.UPDATE),
    **dict.fromkeys(("cancel", "解除", "取消", "终止", "撤销"), SignalKind.CANCEL),
    **dict.fromkeys(("info", "通报", "信息", "提示"), SignalKind.INFO),
}
STATUSES = {
    **dict.fromkeys(("actual", "real", "实际", "实警", "真实"), Status.ACTUAL),
    **dict.fromkeys(("exercise", "drill", "演练", "演习"), Status.EXERCISE),
    **dict.fromkeys(("test", "测试", "试验"), Status.TEST),
}

_ISO = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?"
    r"(?:[T ]*(上午|下午|am|pm)?[ ]*(\d{1,2})"
    r"(?:[:：时](\d{1,2})?(?:[:：分](\d{1,2})?(?:\.\d{1,9})?秒?)?分?)?"
    r"[ ]*(am|pm)?[ ]*(z|[+-]\d{2}:?\d{2})?)?",
    re.ASCII | re.IGNORECASE,
)
_DIGITS = re.compile(r"(\d{4})(\d{2})(\d{2})(?:[T ]?(\d{2})(\d{2})(\d{2})?)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,12}(?:\.\d{0,12})?", re.ASCII)
_SCIENTIFIC = re.compile(r"\d(?:\.\d+)?E\+\d{1,2}", re.ASCII | re.IGNORECASE)
_SEPARATORS = re.compile(r"[,，;；、\s]+")


class CellRefused(Exception):
    """A cell that can't be read; `code` and `sentence` say why, the sentence goes on after the column's name."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def shown(text: str) -> str:
    """Foreign text made safe to repeat in a sentence: quoted, printable, short."""
    plain = text if text.isprintable() else ascii(text)[1:-1]
    return f"'{plain}'" if len(plain) <= SHOWN_CHARS_MAX else f"'{plain[: SHOWN_CHARS_MAX - 1]}…'"


def text_of(cell: Cell) -> str:
    """The cell as text, empty for an empty one; a whole number has no decimal point whatever the cell's type."""
    match cell:
        case None:
            return ""
        case str():
            return clean(cell)
        case bool():
            return "1" if cell else "0"
        case float() if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell))
        case _:
            return str(cell)


def short(cell: Cell, chars_max: int) -> str:
    """Text of one line and at most so many characters."""
    text = text_of(cell)
    if len(text) > chars_max:
        raise CellRefused("cell_too_long", f"has {len(text)} characters; {chars_max} are allowed.")
    return text.replace("\n", " ")


def moment(cell: Cell, *, end_of_day: bool = False) -> int | None:
    """µs UTC of a date with or without time, of a day number, or of text in the usual spellings.

    A day alone is its first moment, or with `end_of_day` its last.
    """
    if cell is None or (isinstance(cell, str) and not cell.strip()):
        return None
    found, only_day = _moment(cell)
    if not YEARS[0] <= found.year < YEARS[1]:
        raise CellRefused("bad_time", f"names the year {found.year}, which nobody means.")
    if only_day and end_of_day:
        found += timedelta(days=1, seconds=-1)
    aware = found if found.tzinfo is not None else found.replace(tzinfo=BEIJING)
    return (aware - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _moment(cell: Cell) -> tuple[datetime, bool]:
    match cell:
        case datetime():
            return cell, False
        case date():
            return datetime(cell.year, cell.month, cell.day, tzinfo=BEIJING), True
        case bool() | time() | timedelta() | None:
            raise CellRefused("bad_time", "holds no date.")
        case int() | float():
            return _of_serial(float(cell))
        case str():
            text = clean(cell)
            if _NUMBER.fullmatch(text) and len(text.partition(".")[0]) == 5:
                return _of_serial(float(text))
            try:
                return _of_text(text)
            except (ValueError, OverflowError) as cause:
                said = f"is {shown(text)}, not a time such as 2026-07-01 08:30."
                raise CellRefused("bad_time", said) from cause


def _of_serial(serial: float) -> tuple[datetime, bool]:
    if not isfinite(serial) or not SERIAL_RANGE[0] <= serial < SERIAL_RANGE[1]:
        raise CellRefused("bad_time", "holds a number that is no day number of a spreadsheet.")
    # A day's fraction carries rounding errors far below a second.
    return SERIAL_EPOCH + timedelta(seconds=round(serial * 86_400)), serial == int(serial)


def _of_text(text: str) -> tuple[datetime, bool]:
    digits = _DIGITS.fullmatch(text)
    if digits:
        year, month, day, hour, minute, second = (int(part or 0) for part in digits.groups())
        return datetime(year, month, day, hour, minute, second, tzinfo=BEIJING), digits[4] is None
    found = _ISO.fullmatch(text)
    if found is None:
        raise ValueError("no known spelling")
    year, month, day, hour, minute, second = (int(found[at] or 0) for at in (1, 2, 3, 5, 6, 7))
    half = (found[4] or found[8] or "").lower()
    if half and not 1 <= hour <= 12:
        raise ValueError("no hour of a half day")
    if half:
        hour = hour % 12 + (12 if half in ("下午", "pm") else 0)
    return datetime(year, month, day, hour, minute, second, tzinfo=_zone(found[9])), found[5] is None


def _zone(offset: str | None) -> timezone:
    if offset is None:
        return BEIJING
    if offset in "zZ":
        return UTC
    hours, minutes = int(offset[1:3]), int(offset[-2:])
    if minutes > 59:
        raise ValueError("no offset")
    return timezone((1 if offset[0] == "+" else -1) * timedelta(hours=hours, minutes=minutes))


def number(cell: Cell, least: float, most: float) -> float | None:
    """A number within bounds; a trailing unit or degree sign is passed over."""
    text = text_of(cell).rstrip("°度米mM ")
    if not text:
        return None
    if isinstance(cell, bool) or not _NUMBER.fullmatch(text):
        raise CellRefused("bad_number", f"is {shown(text)}, not a number.")
    value = float(text)
    if not least <= value <= most:
        raise CellRefused("out_of_range", f"is {text[:SHOWN_CHARS_MAX]}, outside {least:g} to {most:g}.")
    return value


def area_codes(cell: Cell, count_max: int) -> tuple[str, ...]:
    """12-digit division codes of codes of 6, 9, 12 or 14 digits between commas, semicolons or spaces."""
    words = [word for word in _SEPARATORS.split(text_of(cell)) if word]
    if len(words) > count_max:
        raise CellRefused("too_many_areas", f"lists {len(words)} codes; {count_max} are allowed.")
    codes: dict[str, None] = {}
    for word in words:
        if _SCIENTIFIC.fullmatch(word):
            said = f"was shortened by the spreadsheet to {word[:SHOWN_CHARS_MAX]}; make the column text and type again."
            raise CellRefused("code_shortened", said)
        code = area_code(word.removesuffix(".0"))
        if code is None:
            raise CellRefused("bad_area_code", f"holds {shown(word)}, not a code of 6, 9, 12 or 14 digits.")
        codes[code] = None
    return tuple(codes)


def words_of(cell: Cell, count_max: int, chars_max: int) -> tuple[str, ...]:
    """Different words between commas, semicolons or spaces."""
    words = tuple(dict.fromkeys(word for word in _SEPARATORS.split(text_of(cell)) if word))
    if len(words) > count_max or any(len(word) > chars_max for word in words):
        raise CellRefused("list_too_long", f"holds more than {count_max} words, or one over {chars_max} characters.")
    return words


def kind_of(cell: Cell) -> SignalKind:
    """What sort of report it is; an empty cell is an alert."""
    text = text_of(cell).lower()
    if not text:
        return SignalKind.ALERT
    if text not in KINDS:
        raise CellRefused(
            "unknown_word", f"is {shown(text)}, not one of 预警 alert, 更新 update, 解除 cancel, 通报 info."
        )
    return KINDS[text]


def status_of(cell: Cell) -> Status:
    """What the report says of itself; an empty cell is actual."""
    text = text_of(cell).lower()
    if not text:
        return Status.ACTUAL
    if text not in STATUSES:
        raise CellRefused("unknown_word", f"is {shown(text)}, not one of 实际 actual, 演练 exercise, 测试 test.")
    return STATUSES[text]
