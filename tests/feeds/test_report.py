"""The rules that tables, plain JSON and Alertmanager share: what lowers a report, where it may be, what words mean."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.signals import Datum, Evidence, Feed, Place, Signal, SignalKind, Use
from services.dispatcher.feeds.report import Report, Status, area_code, clean, hazard_of, in_scope, level_of, signal_of

CITY, DISTRICT, STREET, OTHER_CITY = "210200000000", "210202000000", "210202001000", "330300000000"
NOW_US = 1_782_864_000_000_000
DAY_US = 86_400_000_000
FEED = Feed("health", "卫健", "卫生健康部门", "plain", Use.ACTUAL, "", CITY)
REPORT = Report("row 2", "7", SignalKind.ALERT, "rainstorm", Evidence.AUTHORITY, observed_us=NOW_US, level=1)


def made(feed: Feed = FEED, **changes: object) -> Signal:
    return signal_of(replace(REPORT, **changes), "plain", feed, NOW_US)  # type: ignore[arg-type]


def codes(signal: Signal) -> list[str]:
    return [problem.code for problem in signal.problems]


def test_a_report_becomes_a_whole_signal() -> None:
    found = made(
        headline="暴雨", areas=(STREET,), lat=38.9, lon=121.6, radius_m=500, names=("港口",), references=("6",)
    )
    assert found == Signal(
        key="plain/health/7",
        reporter="health",
        use=Use.ACTUAL,
        kind=SignalKind.ALERT,
        evidence=Evidence.AUTHORITY,
        hazard="rainstorm",
        event_code="11B03",
        place=Place(areas=(STREET,), shapes=(Circle(389_000_000, 1_216_000_000, 500),), names=("港口",)),
        observed_us=NOW_US,
        received_us=NOW_US,
        claimed_level=1,
        headline="暴雨",
        references=("plain/health/6",),
    )


@pytest.mark.parametrize(
    ("feed", "changes", "code", "key"),
    [
        (FEED, {"status": Status.TEST}, "status_not_aired", "plain/health/7#info"),
        (replace(FEED, hazards=("fire",)), {}, "hazard_not_enrolled", "plain/health/7#info"),
        (FEED, {"areas": (OTHER_CITY,)}, "area_not_enrolled", "plain/health/7#info"),
        (FEED, {"expires_us": NOW_US}, "expired_on_arrival", "plain/health/7"),
        (FEED, {"observed_us": NOW_US - DAY_US - 1}, "report_old", "plain/health/7"),
        (FEED, {"kind": SignalKind.CANCEL}, "reference_missing", "plain/health/7"),
    ],
)
def test_what_must_not_be_aired_is_information(feed: Feed, changes: dict[str, object], code: str, key: str) -> None:
    found = made(feed, **changes)
    assert (found.kind, code in codes(found), found.key) == (SignalKind.INFO, True, key)


def test_content_lowers_the_use_and_never_raises_it() -> None:
    drill = replace(FEED, use=Use.EXERCISE)
    assert made(status=Status.EXERCISE).use is Use.EXERCISE
    assert made(drill, status=Status.ACTUAL).use is Use.EXERCISE


def test_an_old_report_with_an_end_still_stands() -> None:
    found = made(observed_us=NOW_US - 3 * DAY_US, expires_us=NOW_US + 1)
    assert (found.kind, codes(found)) == (SignalKind.ALERT, [])


def test_a_cancel_of_ones_own_report_counts_whatever_hazard_and_area_it_names() -> None:
    limited = replace(FEED, hazards=("fire",))
    found = made(limited, kind=SignalKind.CANCEL, hazard="other", areas=(OTHER_CITY,), references=("6",))
    assert (found.kind, found.references) == (SignalKind.CANCEL, ("plain/health/6",))


def test_a_report_from_the_future_is_marked() -> None:
    assert codes(made(observed_us=NOW_US + 300_000_001)) == ["sent_in_future"]


def test_a_colour_that_is_not_in_use_is_marked() -> None:
    assert codes(made(hazard="hail", level=4)) == ["colour_not_in_use"]


@pytest.mark.parametrize(
    ("feed", "areas", "kept", "found"),
    [
        (FEED, (), (CITY,), []),
        (FEED, (STREET, DISTRICT), (STREET, DISTRICT), []),
        (FEED, (STREET, OTHER_CITY), (STREET,), ["area_left_out"]),
        (FEED, ("210000000000",), (CITY,), ["area_narrowed"]),
        (replace(FEED, area=STREET, areas=(OTHER_CITY,)), ("330302000000",), ("330302000000",), []),
        (replace(FEED, area=STREET), ("210203000000",), ("210203000000",), ["area_left_out", "area_not_enrolled"]),
        (replace(FEED, area=""), (OTHER_CITY,), (OTHER_CITY,), []),
    ],
)
def test_a_feed_speaks_for_its_own_areas(feed: Feed, areas: tuple[str, ...], kept: object, found: list[str]) -> None:
    scoped, problems = in_scope(replace(REPORT, areas=areas), feed)
    assert (scoped, [problem.code for problem in problems]) == (kept, found)


def test_a_report_from_a_venue_needs_no_area() -> None:
    assert made(venue="mall").place == Place(venue="mall")


def test_positions_of_a_feed_in_gcj02_are_converted() -> None:
    place = made(replace(FEED, datum=Datum.GCJ02), lat=39.91334545536069, lon=116.38404722455657).place
    assert place.shapes == (Circle(399_119_540, 1_163_778_170, 100),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("rainstorm", ("rainstorm", "11B03")),
        ("暴雨红色预警", ("rainstorm", "11B03")),
        ("12b07", ("fire", "12B07")),
        ("14Z99", ("other", "14Z99")),
        ("食物中毒", ("other", "")),
        ("积水", ("flood", "11A00")),
        ("", ("other", "")),
    ],
)
def test_words_names_codes_and_aliases_name_hazards(text: str, found: tuple[str, str]) -> None:
    assert hazard_of(text, replace(FEED, aliases=(("积水", "flood"),))) == found


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("红", 1), ("橙色", 2), ("黄色预警", 3), ("蓝色预警信号", 4), ("Ⅰ级", 1), ("I", 1), ("IV级", 4), ("一级", 1),
        ("2", 2), ("Level 3", 3), ("特别重大", 1), ("一般", 4), ("RED", 1), ("5", None), ("高", None), ("", None),
    ],
)  # fmt: skip
def test_levels_are_read_in_their_spellings(text: str, level: int | None) -> None:
    assert level_of(text) == level


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("210202", "210202000000"),
        ("210202001", STREET),
        ("210202001000", STREET),
        ("21020200100001", STREET),
        ("2102", None),
        ("910202", None),
        ("２１０２０２", None),
        ("210202\n", None),
    ],
)
def test_area_codes_of_every_length_become_twelve_digits(text: str, code: str | None) -> None:
    assert area_code(text) == code


def test_foreign_text_keeps_its_lines_and_loses_what_would_mislead() -> None:
    assert clean(" 一\r\n二\t三\u202e四\x00\ud800 ") == "一\n二 三四\ufffd\ufffd"
