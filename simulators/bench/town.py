"""A made-up city of two speakers or more, for benchmarks: ten districts of ten streets, one square in each street."""

from __future__ import annotations

import time

from services.dispatcher.domain.places import Area, Office, OfficeKind, Speaker, Venue, VenueKind
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.engine.rows import CitySettings

CITY, ISSUER = "990000000000", "city"
DISTRICTS = tuple(f"9900{number:02}000000" for number in range(1, 11))
STREETS = tuple(f"{district[:6]}{number:03}000" for number in range(1, 11) for district in DISTRICTS)
"""Next to each other lie streets of different districts, so that any two speakers have only the city in common."""
SINCE = "2020-01-01"
HAZARD, EVENT_CODE = "rainstorm", "11B03"
"""What the red rainstorm playbook answers to; two people release it."""


def speaker_names(count: int) -> list[str]:
    return [f"sp-{number:05}" for number in range(count)]


def settings() -> CitySettings:
    return CitySettings("city", CITY, "测试城", ISSUER)


def rows(speakers: int) -> list[Area | Venue | Office | Speaker]:
    """The city's rows; speakers are dealt out to the streets in turn, and every tenth has a microphone."""
    squares = [_square(street, number) for number, street in enumerate(STREETS)]
    return [
        Area(CITY, "测试城", "city", None, SINCE),
        *(Area(code, f"第{number}区", "district", CITY, SINCE) for number, code in enumerate(DISTRICTS, 1)),
        *(Area(code, f"第{n}街道", "street", f"{code[:6]}000000", SINCE) for n, code in enumerate(STREETS, 1)),
        *squares,
        Office("duty", "市应急值班", OfficeKind.DUTY, CITY),
        *(_speaker(name, squares[at % len(squares)], at) for at, name in enumerate(speaker_names(speakers))),
    ]


def _square(street: str, number: int) -> Venue:
    lat_e7, lon_e7 = 389_000_000 + 100_000 * (number // 10), 1_216_000_000 + 100_000 * (number % 10)
    return Venue(f"square-{number}", f"{number}号广场", VenueKind.SQUARE, street, lat_e7, lon_e7, 500, "made", 10)


def _speaker(name: str, at: Venue, number: int) -> Speaker:
    microphone = number % 10 == 0
    return Speaker(name, at.id, at.area, name, at.lat_e7, at.lon_e7 + number, microphone=microphone)


def storm(number: int) -> Signal:
    """The weather bureau's exercise warning for every district; each number is another warning."""
    now_us = time.time_ns() // 1_000
    return Signal(
        key=f"cap/bench/{now_us}/{number}", reporter="weather-drill", use=Use.EXERCISE, kind=SignalKind.ALERT,
        evidence=Evidence.AUTHORITY, hazard=HAZARD, event_code=EVENT_CODE, place=Place(areas=DISTRICTS),
        observed_us=now_us, received_us=now_us, claimed_level=1, device="bureau", headline="暴雨红色预警（演练）",
    )  # fmt: skip
