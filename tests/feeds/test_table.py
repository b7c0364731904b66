"""Tables of departments: CSV, XLSX and JSON rows say the same, good rows count, bad rows are named."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import datetime

import openpyxl
import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.signals import Evidence, Feed, Place, Problem, Signal, SignalKind, Use
from services.dispatcher.feeds.table import reading
from services.dispatcher.feeds.table_columns import COLUMNS
from services.dispatcher.feeds.table_rows import ROWS_MAX, TABLE_BYTES_MAX
from services.dispatcher.feeds.table_template import template

CITY = "210200000000"
FEED = Feed("market", "市监", "市场监督管理部门", "table", Use.ACTUAL, "", CITY)
EIGHT_US = 1_782_864_000_000_000
HEADER = "编号,灾种,级别,时间,区划代码,纬度,经度,地点,标题\n"
ROW = "9,暴雨,红,2026-07-01 08:00,210202,38.9,121.6,港口区,暴雨红色预警\n"
STORM = Signal(
    key="table/market/9",
    reporter="market",
    use=Use.ACTUAL,
    kind=SignalKind.ALERT,
    evidence=Evidence.AUTHORITY,
    hazard="rainstorm",
    event_code="11B03",
    place=Place(areas=("210202000000",), shapes=(Circle(389_000_000, 1_216_000_000, 100),), names=("港口区",)),
    observed_us=EIGHT_US,
    received_us=EIGHT_US,
    claimed_level=1,
    headline="暴雨红色预警",
)


def read(text: str | bytes, feed: Feed = FEED) -> tuple[tuple[Signal, ...], list[tuple[str, str]]]:
    found = reading(text.encode() if isinstance(text, str) else text, feed, EIGHT_US)
    return found.signals, [(problem.code, problem.where) for problem in found.problems]


def workbook(*rows: tuple[str | float | datetime, ...]) -> bytes:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_csv_row_becomes_a_whole_signal(encoding: str, delimiter: str) -> None:
    assert read((HEADER + ROW).replace(",", delimiter).encode(encoding)) == ((STORM,), [])


def test_a_workbook_says_the_same_with_real_dates_and_numbers() -> None:
    header = tuple(HEADER.strip().split(","))
    eight = datetime(2026, 7, 1, 8)  # noqa: DTZ001 - a workbook's times have no zone
    row = (9, "暴雨", "红", eight, 210202, 38.9, 121.6, "港口区", "暴雨红色预警")
    assert read(workbook(header, row)) == ((STORM,), [])


def test_json_rows_say_the_same_in_english() -> None:
    row = {"id": 9, "hazard": "rainstorm", "level": 1, "time": "2026-07-01T08:00:00+08:00", "areas": ["210202"]}
    row |= {"Latitude": 38.9, "Longitude": 121.6, "place": "港口区", "headline": "暴雨红色预警"}
    for body in ([row], row, {"rows": [row]}, {"data": [row]}):
        assert read(json.dumps(body)) == ((STORM,), [])


def test_a_title_above_the_header_and_empty_rows_are_passed_over() -> None:
    assert read("大连市风险信息表,,,,,,,,\n\n" + HEADER + "\n,,,,,,,,\n" + ROW) == ((STORM,), [])


def test_headers_are_known_by_their_name_whatever_stands_round_it() -> None:
    header = "编号【本部门】,灾种*, 预警级别 （红橙黄蓝）,发生时间：,行政区划代码,Latitude,Longitude,地 址,事件名称\n"
    assert read(header + ROW) == ((STORM,), [])


def test_unknown_columns_are_named_and_of_two_names_the_better_counts() -> None:
    signals, found = read("编号,灾种,发布时间,时间,填报人\n9,暴雨,2026-07-01 07:00,2026-07-01 08:00,某岗\n")
    assert ([signal.observed_us for signal in signals], found) == ([EIGHT_US], [("columns_ignored", "row 1")])


def test_good_rows_count_beside_bad_ones_which_are_named_by_row_and_column() -> None:
    bad = "10,火灾,紫,2026-07-01 08:00,,,,,\n11,,红,2026-07-01 08:00,,,,,\n"
    found = reading((HEADER + bad + ROW).encode(), FEED, EIGHT_US)
    assert found.signals == (STORM,)
    assert found.problems == (
        Problem(
            "error",
            "unknown_word",
            "row 2",
            "The column 级别 (level) is '紫', not a level: 红 red, 橙 orange, 黄 yellow, 蓝 blue, or 1 to 4.",
        ),
        Problem("error", "hazard_missing", "row 3", "The column 灾种 (hazard) is empty."),
    )


@pytest.mark.parametrize(
    ("row", "code"),
    [
        (",暴雨,红,,,,,,", "no_id_or_time"),
        ("1,暴雨,红,soon,,,,,", "bad_time"),
        ("1,暴雨,红,,2.10202E+11,,,,", "code_shortened"),
        ("1,暴雨,红,,大连,,,,", "bad_area_code"),
        ("1,暴雨,红,,,38.9,,,", "position_incomplete"),
        ("1,暴雨,红,,,121.6,38.9,,", "position_exchanged"),
        ("1,暴雨,红,,,x,121,,", "bad_number"),
        ("1,暴雨,红,,,38,181,,", "out_of_range"),
        (f"{'1' * 65},暴雨,红,,,,,,", "cell_too_long"),
    ],
)
def test_a_row_that_cannot_be_read_is_refused_by_name(row: str, code: str) -> None:
    assert read(HEADER + row + "\n") == ((), [(code, "row 2")])


def test_the_same_row_again_is_the_same_signal_and_another_under_its_id_is_refused() -> None:
    other = ROW.replace("红,", "橙,")
    assert read(HEADER + ROW + ROW + other) == ((STORM,), [("id_twice", "row 4")])


def test_one_id_is_one_report_through_its_whole_life() -> None:
    rows = "编号,类型,灾种,时间\n9,更新,暴雨,2026-07-01 08:00\n9,解除,,2026-07-01 08:00\n"
    (update, cancel), found = read(rows)
    assert (update.kind, update.references, found) == (SignalKind.UPDATE, ("table/market/9",), [])
    assert (cancel.kind, cancel.references) == (SignalKind.CANCEL, ("table/market/9",))
    assert update.key.startswith("table/market/9#update-") and cancel.key.startswith("table/market/9#cancel-")


def test_references_may_stand_in_a_column_of_their_own() -> None:
    (cancel,), _ = read("编号,类型,灾种,关联编号\n10,解除,,9；8\n")
    assert (cancel.key, cancel.references) == ("table/market/10", ("table/market/9", "table/market/8"))


def test_a_row_without_an_id_is_known_by_what_it_says() -> None:
    rows = "编号,灾种,时间\n,暴雨,2026-07-01 08:00\n,暴雨,2026-07-01 08:00\n,火灾,2026-07-01 08:00\n"
    signals, found = read(rows)
    assert ([signal.hazard for signal in signals], found) == (["rainstorm", "fire"], [])
    assert read(rows)[0] == signals


def test_a_row_marked_exercise_or_test_is_lowered() -> None:
    drill, test = read("编号,灾种,状态\n1,暴雨,演练\n2,暴雨,测试\n")[0]
    assert (drill.use, drill.kind, test.use, test.kind) == (
        Use.EXERCISE,
        SignalKind.ALERT,
        Use.ACTUAL,
        SignalKind.INFO,
    )


def test_the_evidence_is_the_feeds() -> None:
    signals, _ = read(HEADER + ROW, replace(FEED, evidence=Evidence.PERSON))
    assert signals == (replace(STORM, evidence=Evidence.PERSON),)


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"  \n", "empty"),
        (b"x" * (TABLE_BYTES_MAX + 1), "too_large"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 100, "old_workbook"),
        (b"\x80" * 99, "bad_encoding"),
        (b"a,b,c\n1,2,3\n", "header_missing"),
        (HEADER.encode(), "no_rows"),
        ("编号,灾种,编号\n1,暴雨,2\n".encode(), "column_twice"),
        (b"[]", "no_rows"),
        (b"[1]", "row_malformed"),
        (b'[{"hazard": {"a": 1}}]', "row_malformed"),
        (b'{"rows": 7}', "no_rows"),
        (b"[" * 10_000, "json_too_deep"),
        (b"[NaN]", "number_out_of_range"),
        (b'[{"id": 1, "id": 2}]', "member_twice"),
        (b"[" + b"9" * 5_000 + b"]", "number_out_of_range"),
    ],
)
def test_what_is_no_table_is_refused_with_one_sentence(raw: bytes, code: str) -> None:
    found = reading(raw, FEED, EIGHT_US)
    assert ([problem.code for problem in found.problems], found.signals) == ([code], ())
    assert found.problems[0].message.endswith(".")


def test_an_open_quote_ends_the_table_where_it_opens_and_says_so() -> None:
    signals, found = read(HEADER + ROW + '10,"暴雨,红,,,,,,\n')
    assert (signals, found) == ((STORM,), [("csv_broken", "row 3")])


@pytest.mark.parametrize("as_json", [False, True])
def test_rows_beyond_the_cap_are_named_and_the_first_ones_count(as_json: bool) -> None:
    count = ROWS_MAX + 2
    if as_json:
        raw = json.dumps([{"id": n, "hazard": "fire"} for n in range(count)])
    else:
        raw = "id,hazard\n" + "".join(f"{n},fire\n" for n in range(count))
    signals, found = read(raw)
    assert (len(signals), found) == (ROWS_MAX, [("too_many_rows", f"row {ROWS_MAX + (1 if as_json else 2)}")])


def test_a_million_rows_are_refused_by_their_bytes() -> None:
    assert read("id,hazard\n" + "1,fire\n" * 1_000_000) == ((), [("too_large", "")])


@pytest.mark.parametrize("format", ["csv", "xlsx"])
def test_the_template_is_the_same_every_time_and_holds_no_report(format: str) -> None:
    assert template(format) == template(format)
    assert read(template(format)) == ((), [("no_rows", "")])


def test_there_is_no_template_in_another_format() -> None:
    with pytest.raises(ValueError, match="pdf"):
        template("pdf")


def test_a_filled_template_is_read_column_by_column() -> None:
    cells = {"id": "9", "hazard": "暴雨", "level": "红", "observed": "2026-07-01 08:00", "areas": "210202000000"}
    cells |= {"lat": "38.9", "lon": "121.6", "place": "港口区", "headline": "暴雨红色预警"}
    row = [cells.get(column.field) for column in COLUMNS]
    book = openpyxl.load_workbook(io.BytesIO(template("xlsx")))
    book.worksheets[0].append(row)
    out = io.BytesIO()
    book.save(out)
    assert read(out.getvalue()) == ((STORM,), [])
    assert read(template("csv") + ",".join(cell or "" for cell in row).encode() + b"\r\n") == ((STORM,), [])
