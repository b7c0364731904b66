"""Identifiers of the emergency broadcast system (EBRID, EBDID, EBMID), both generations: parse, build, check. Pure.

The older generation names a resource with 18 digits, the newer with 23; which one an upstream platform speaks shows in
the length. What others write is kept as an opaque text (`ebd_read`): only what is sent from here has to be exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TypeAlias

from services.dispatcher.domain.refusals import Refused

ID_CHARS_MAX = 64
SEQ_MAX = 10**16 - 1
DAY_SEQ_MAX = 9_999
HEARTBEAT_TYPE = "01"
MESSAGE_TYPE = "10"


class Generation(StrEnum):
    """Which form of resource code a platform speaks."""

    DIGITS_18 = "18"
    DIGITS_23 = "23"


class BadId(Refused):
    """This is not an identifier of the emergency broadcast system."""

    code = "id_malformed"


@dataclass(frozen=True, slots=True)
class Ebrid18:
    """A resource code of 18 digits: type 2, subtype 2, area 12, extension 2."""

    type: str
    subtype: str
    area: str
    extension: str

    generation = Generation.DIGITS_18

    def __post_init__(self) -> None:
        _digits(("type", self.type, 2), ("subtype", self.subtype, 2), ("area", self.area, 12))
        _digits(("extension", self.extension, 2))

    def __str__(self) -> str:
        return f"{self.type}{self.subtype}{self.area}{self.extension}"


@dataclass(frozen=True, slots=True)
class Ebrid23:
    """A resource code of 23 digits: level 1 (1 national to 6 village), area 12, type 4, its sequence 2, subtype 2, its
    sequence 2."""

    level: int
    area: str
    type: str
    type_seq: str
    subtype: str
    subtype_seq: str

    generation = Generation.DIGITS_23

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 6:
            raise BadId(f"level {self.level}")
        _digits(("area", self.area, 12), ("type", self.type, 4), ("type sequence", self.type_seq, 2))
        _digits(("subtype", self.subtype, 2), ("subtype sequence", self.subtype_seq, 2))

    def __str__(self) -> str:
        return f"{self.level}{self.area}{self.type}{self.type_seq}{self.subtype}{self.subtype_seq}"


Ebrid: TypeAlias = Ebrid18 | Ebrid23


@dataclass(frozen=True, slots=True)
class Ebdid:
    """The id of one packet: type 2, the sender's EBRID, sequence 16. Type 01 with sequence 0 is a heartbeat."""

    type: str
    source: Ebrid
    seq: int

    def __post_init__(self) -> None:
        _digits(("type", self.type, 2))
        if not 0 <= self.seq <= SEQ_MAX:
            raise BadId("the sequence has more than 16 digits")

    def __str__(self) -> str:
        return f"{self.type}{self.source}{self.seq:016}"


@dataclass(frozen=True, slots=True)
class Ebmid:
    """The id of one broadcast order: the issuing platform's EBRID, the day, sequence 4 within the day."""

    source: Ebrid
    day: date
    seq: int

    def __post_init__(self) -> None:
        if not 0 <= self.seq <= DAY_SEQ_MAX:
            raise BadId("the sequence of a day has more than 4 digits")

    def __str__(self) -> str:
        return f"{self.source}{self.day.year:04}{self.day.month:02}{self.day.day:02}{self.seq:04}"


def parse_ebrid(text: str) -> Ebrid:
    """A resource code of 18 or 23 digits; raises BadId."""
    _all_digits(text)
    if len(text) == 18:
        return Ebrid18(text[:2], text[2:4], text[4:16], text[16:])
    if len(text) == 23:
        return Ebrid23(int(text[0]), text[1:13], text[13:17], text[17:19], text[19:21], text[21:])
    raise BadId(f"a resource code has 18 or 23 digits, not {len(text)}")


def parse_ebdid(text: str) -> Ebdid:
    """A packet id of 36 or 41 digits; raises BadId."""
    _all_digits(text)
    if len(text) not in (36, 41):
        raise BadId(f"a packet id has 36 or 41 digits, not {len(text)}")
    return Ebdid(text[:2], parse_ebrid(text[2:-16]), int(text[-16:]))


def parse_ebmid(text: str) -> Ebmid:
    """An order id of 30 or 35 digits; raises BadId."""
    _all_digits(text)
    if len(text) not in (30, 35):
        raise BadId(f"an order id has 30 or 35 digits, not {len(text)}")
    year, month, day = int(text[-12:-8]), int(text[-8:-6]), int(text[-6:-4])
    try:
        at = date(year, month, day)
    except ValueError as cause:
        raise BadId("there is no such day") from cause
    return Ebmid(parse_ebrid(text[:-12]), at, int(text[-4:]))


def _all_digits(text: str) -> None:
    if not (text.isascii() and text.isdigit()):
        raise BadId("digits only")


def _digits(*parts: tuple[str, str, int]) -> None:
    for name, text, count in parts:
        if len(text) != count or not (text.isascii() and text.isdigit()):
            raise BadId(f"{name} is not {count} digits")
