"""National early-warning messages (12379): what is read, refused or shown, and the signals that come out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.selector import Circle, Polygon
from services.dispatcher.domain.signals import Datum, Evidence, Feed, Place, Signal, SignalKind, Use
from services.dispatcher.feeds import FEEDS, alert12379
from services.dispatcher.feeds.cap import read

WHOLE = (Path(__file__).parents[1] / "data" / "alert12379" / "rainstorm_orange.xml").read_text(encoding="utf-8")
FEED = Feed("platform", "示例市预警中心", "应急局", "alert12379", Use.ACTUAL, "", "210200000000")
SENT_US = 1_782_864_000_000_000
RECEIVED_US = SENT_US + 5_000_000
KEY = "alert12379/platform/21020041600000_20260701080000"
REFERENCE = "<references>21020041600000_20260701070000</references>"


def with_(*changes: tuple[str, str]) -> bytes:
    text = WHOLE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    return text.encode()


def first(raw: bytes, feed: Feed = FEED) -> Signal:
    (signal,) = alert12379.reading(raw, feed, RECEIVED_US).signals
    return signal


def errors(raw: bytes) -> list[tuple[str, str]]:
    found = alert12379.reading(raw, FEED, RECEIVED_US)
    assert bool(found.signals) != any(problem.severity == "error" for problem in found.problems)
    return [(problem.code, problem.where) for problem in found.problems if problem.severity == "error"]


def shown(raw: bytes) -> list[str]:
    found = alert12379.reading(raw, FEED, RECEIVED_US)
    assert found.signals, found.problems
    return [problem.code for problem in found.problems]


def test_a_whole_message_is_one_whole_signal() -> None:
    found = FEEDS["alert12379"](WHOLE.encode(), FEED, RECEIVED_US)
    assert found.problems == ()
    assert found.signals == (
        Signal(
            key=KEY,
            reporter="platform",
            use=Use.ACTUAL,
            kind=SignalKind.ALERT,
            evidence=Evidence.AUTHORITY,
            hazard="rainstorm",
            event_code="11B03",
            place=Place(
                areas=("210202000000", "210203000000"),
                shapes=(
                    Polygon(((389_000_000, 1_216_000_000), (389_500_000, 1_216_000_000), (389_500_000, 1_217_000_000))),
                    Circle(389_200_000, 1_216_500_000, 2_500),
                ),
                names=("港口区、河西区",),
            ),
            observed_us=SENT_US,
            received_us=RECEIVED_US,
            claimed_level=2,
            device="21020041600000",
            headline="示例市气象台发布暴雨橙色预警",
            description="请低洼地带的居民立即转移到高处。",
            expires_us=SENT_US + 6 * 3_600_000_000,
        ),
    )


def test_it_looks_like_cap_and_is_not() -> None:
    assert [problem.code for problem in read(WHOLE.encode()).problems] == ["namespace_unknown"]


@pytest.mark.parametrize(
    ("severity", "colour", "level"),
    [
        ("Red", "红", 1),
        ("Orange", "橙", 2),
        ("Yellow", "黄", 3),
        ("Blue", "蓝", 4),
        ("Unknown", "", None),
        ("9", "", None),
    ],
)
def test_the_colour_is_the_level(severity: str, colour: str, level: int | None) -> None:
    raw = with_((">Orange<", f">{severity}<"), ("暴雨橙色预警", f"暴雨{colour}色预警" if colour else "暴雨预警"))
    assert (first(raw).claimed_level, shown(raw)) == (level, [])


@pytest.mark.parametrize(
    ("changes", "use", "kind", "codes"),
    [
        ([("Actual", "Test")], Use.ACTUAL, SignalKind.INFO, ["status_not_aired"]),
        ([("Actual", "Exercise")], Use.EXERCISE, SignalKind.ALERT, []),
        ([("Actual", "Draft")], Use.ACTUAL, SignalKind.INFO, ["status_not_aired"]),
        ([("Public", "Private")], Use.ACTUAL, SignalKind.INFO, ["scope_not_public"]),
        ([("14:00:00", "07:59:59")], Use.ACTUAL, SignalKind.INFO, ["expired_on_arrival"]),
        ([("11B03", "12B01")], Use.ACTUAL, SignalKind.ALERT, ["event_code_unknown"]),
        ([(">Alert<", ">Update<"), ("<references></references>", REFERENCE)], Use.ACTUAL, SignalKind.UPDATE, []),
        ([(">Alert<", ">Update<")], Use.ACTUAL, SignalKind.UPDATE, ["references_missing"]),
    ],
)
def test_a_message_can_only_lower_what_its_feed_may_do(
    changes: list[tuple[str, str]], use: Use, kind: SignalKind, codes: list[str]
) -> None:
    signal = first(with_(*changes))
    assert (signal.use, signal.kind, [problem.code for problem in signal.problems]) == (use, kind, codes)


def test_a_cancel_names_the_first_message_of_the_event() -> None:
    bare = WHOLE[: WHOLE.index("  <info>")] + "</alert>"
    raw = bare.replace(">Alert<", ">Cancel<").replace("<references></references>", REFERENCE)
    signal = first(raw.replace("<note></note>", "<note>雨停了</note>").encode())
    assert (signal.kind, signal.references) == (
        SignalKind.CANCEL,
        ("alert12379/platform/21020041600000_20260701070000",),
    )


def test_what_was_written_for_loudspeakers_is_what_is_said() -> None:
    assert first(WHOLE.encode()).description == "请低洼地带的居民立即转移到高处。"
    empty = with_(("请低洼地带的居民立即转移到高处。", ""))
    assert first(empty).description == "预计未来三小时降雨量将达五十毫米以上。\n请远离低洼地带。"


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ([("21020041600000_20260701080000</identifier>", "</identifier>")], ("missing", "alert/identifier")),
        ([("<identifier>", "<identifier>a b")], ("id_characters", "alert/identifier")),
        ([("<identifier>", f"<identifier>{'1' * 200}")], ("id_characters", "alert/identifier")),
        ([("2026-07-01 08:00:00+08:00</sendTime>", "</sendTime>")], ("missing", "alert/sendTime")),
        (
            [("2026-07-01 08:00:00+08:00</sendTime>", "2026-02-30 08:00:00+08:00</sendTime>")],
            ("time_malformed", "alert/sendTime"),
        ),
        ([("08:00:00+08:00</sendTime>", "08:00:00+09:00</sendTime>")], ("time_malformed", "alert/sendTime")),
        ([("08:00:00+08:00</sendTime>", "08:00:00Z</sendTime>")], ("time_malformed", "alert/sendTime")),
        ([("14:00:00+08:00</expires>", "25:00:00+08:00</expires>")], ("time_malformed", "info/expires")),
        ([(">Actual<", "><")], ("missing", "alert/status")),
        ([(">Actual<", ">actual<")], ("value_unknown", "alert/status")),
        ([(">Alert<", ">Ack<")], ("value_unknown", "alert/msgType")),
        ([(">Orange<", ">Severe<")], ("value_unknown", "info/severity")),
        ([(">Orange<", "><")], ("missing", "info/severity")),
        ([(">11B03<", "><")], ("missing", "info/eventType")),
        ([(">11B03<", ">rain<")], ("event_code_malformed", "info/eventType")),
        ([(">Alert<", ">Cancel<")], ("references_missing", "alert/references")),
        ([("<references>", "<references>a,b,2026-07-01T07:00:00+08:00")], ("reference_malformed", "alert/references")),
        ([("<status>", "<status>Actual</status><status>")], ("repeated", "alert/status")),
        ([("<headline>", "<headline><b/>")], ("text_has_elements", "info/headline")),
        ([("</scope>", "</scope>stray")], ("text_stray", "alert")),
        ([("121.65 2500", "121.65")], ("circle_malformed", "info/area[1]/circle")),
        ([("121.65 2500", "121.65 2.5km")], ("circle_malformed", "info/area[1]/circle")),
        ([("38.95,121.60 ", "38.95 ")], ("coordinates_malformed", "info/area[1]/polygon")),
        ([("38.95,121.60 ", "138.95,221.60 ")], ("coordinates_range", "info/area[1]/polygon")),
        ([('xmlns="http://com.icss.amp"', 'xmlns="urn:other"')], ("namespace_unknown", "alert")),
    ],
)
def test_what_gives_it_its_meaning_must_be_right(changes: list[tuple[str, str]], error: tuple[str, str]) -> None:
    assert errors(with_(*changes)) == [error]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (WHOLE.encode()[:900], "xml_malformed"),
        (b"<!DOCTYPE alert><alert/>", "xml_doctype"),
        (b"<alert/>", "namespace_unknown"),
        (WHOLE.encode() + b" " * alert12379.RAW_BYTES_MAX, "too_large"),
        (WHOLE.replace("<area>", "<area/>" * 300 + "<area>").encode(), "too_many"),
        (WHOLE.replace("<method>", "<method/>" * 100 + "<method>", 1).encode(), "too_many"),
        (WHOLE.replace("210202000000", ",".join(f"21{n:010d}" for n in range(1_100))).encode(), "too_many"),
        (WHOLE.replace("</polygon>", " 38.90,121.60" * 20_000 + "</polygon>").encode(), "too_many"),
        (WHOLE.replace("<circle>", "<circle>1,1 1</circle>" * 2_000 + "<circle>").encode(), "too_many"),
    ],
)
def test_what_is_no_message_or_too_much_is_refused(raw: bytes, code: str) -> None:
    assert [found for found, _ in errors(raw)][:1] == [code]


@pytest.mark.parametrize(
    ("changes", "codes"),
    [
        ([("<senderCode>21020041600000</senderCode>", "")], ["missing"]),
        ([("<urgency>Unknown</urgency>", "")], ["missing"]),
        ([("08:00:00+08:00</sendTime>", "08:00:00</sendTime>")], ["time_without_offset"]),
        ([("2026-07-01 08:00:00+08:00</sendTime>", "2026-07-01T08:00:00+08:00</sendTime>")], []),
        ([("_20260701080000<", "_20260701080000_1<")], []),
        ([("21020041600000_20260701080000<", "rain-7<")], ["identifier_form"]),
        ([("暴雨橙色预警", "暴雨红色预警")], ["colour_differs"]),
        ([("<web></web>", "<mood>x</mood>")], ["element_unknown"]),
        ([("210202000000，", "全市，")], ["geocode_malformed"]),
        ([("121.65 2500", "121.65 0")], ["circle_radius_zero"]),
        ([("38.95,121.70 38.90,121.60<", "38.95,121.70<")], ["polygon_line"]),
        ([("38.92,121.65 2500", "121.65,38.92 2500")], ["position_order"]),
    ],
)
def test_what_senders_leave_out_or_bend_is_accepted_and_shown(changes: list[tuple[str, str]], codes: list[str]) -> None:
    assert shown(with_(*changes)) == codes


def test_positions_with_the_longitude_first_mean_the_same_place() -> None:
    swapped = with_(
        ("38.90,121.60 38.95,121.60 38.95,121.70 38.90,121.60", "121.60,38.90 121.60,38.95 121.70,38.95 121.60,38.90")
    )
    assert first(swapped).place == first(WHOLE.encode()).place


def test_positions_on_a_chinese_map_are_moved_to_wgs_84() -> None:
    moved = first(WHOLE.encode(), replace(FEED, datum=Datum.GCJ02)).place.shapes[1]
    assert isinstance(moved, Circle)
    assert (moved.lat_e7, moved.lon_e7) != (389_200_000, 1_216_500_000)
    assert abs(moved.lat_e7 - 389_200_000) < 100_000 and abs(moved.lon_e7 - 1_216_500_000) < 100_000


def test_a_message_without_its_namespace_is_told_by_what_cap_never_has() -> None:
    raw = with_((' xmlns="http://com.icss.amp"', ""))
    assert shown(raw) == ["namespace_missing"]
    assert first(raw).key == KEY


def test_a_feed_speaks_only_for_its_own_areas() -> None:
    signal = first(WHOLE.encode(), replace(FEED, area="210203000000"))
    assert (signal.place.areas, [problem.code for problem in signal.problems]) == (("210203000000",), ["area_left_out"])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "gb18030", "gbk"])
def test_encodings_are_believed_as_declared(encoding: str) -> None:
    raw = WHOLE.replace('"UTF-8"', f'"{encoding.removesuffix("-sig").upper()}"').encode(encoding)
    assert first(raw) == first(WHOLE.encode())


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_reader(raw: bytes) -> None:
    assert alert12379.reading(raw, FEED, 0).signals == ()


@given(st.integers(0, len(WHOLE)), st.integers(0, 80), st.text(max_size=12))
def test_no_damage_crashes_the_reader(at: int, length: int, noise: str) -> None:
    raw = (WHOLE[:at] + noise + WHOLE[at + length :]).encode("utf-8", "surrogatepass")
    found = alert12379.reading(raw, FEED, 0)
    assert bool(found.signals) != any(problem.severity == "error" for problem in found.problems)
