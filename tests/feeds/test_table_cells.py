"""Cells of spreadsheets: times, numbers, codes and words in the spellings that departments use."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds import table_cells
from services.dispatcher.feeds.table_cells import Cell, CellRefused, area_codes, kind_of, moment, number, text_of

EIGHT_US = 1_782_864_000_000_000
"""2026-07-01 08:00 in Beijing."""


@pytest.mark.parametrize(
    "cell",
    [
        "2026-07-01 08:00",
        "2026/7/1 8:00:00",
        "2026.7.1 8:00",
        "2026年7月1日8时",
        "2026年7月1日 8时0分0秒",
        "2026年7月1日 上午8：00",
        "2026-07-01 8:00 AM",
        "2026-07-01T00:00:00Z",
        "2026-07-01T08:00:00.123+08:00",
        "20260701080000",
        "202607010800",
        "46204.3333333333",
        46204 + 1 / 3,
        datetime(2026, 7, 1, 8),  # noqa: DTZ001 - what a workbook gives
        datetime(2026, 7, 1, 0, tzinfo=UTC),
    ],
)
def test_a_time_is_read_in_every_spelling(cell: Cell) -> None:
    assert moment(cell) == EIGHT_US


@pytest.mark.parametrize("cell", ["2026-07-01", "20260701", "2026年7月1日", 46204, "46204", date(2026, 7, 1)])
def test_a_day_alone_is_its_begin_or_its_end(cell: Cell) -> None:
    begin_us = EIGHT_US - 8 * 3_600_000_000
    assert (moment(cell), moment(cell, end_of_day=True)) == (begin_us, begin_us + 86_399_000_000)


@pytest.mark.parametrize("cell", ["2026-07-01 下午1:30", "2026-07-01 1:30 pm", "2026-07-01 13:30"])
def test_afternoons_are_afternoons(cell: str) -> None:
    assert moment(cell) == EIGHT_US + 5 * 3_600_000_000 + 1_800_000_000


@pytest.mark.parametrize(
    "cell",
    [
        "tomorrow", "7/1/2026", "2026-13-01", "2026-02-30", "2026-07-01 25:00", "2026-07-01 下午13:00", "0001-01-01",
        "9999-12-31", "2026-07-01T08:00:00+99:00", 1, 1e300, float("nan"), float("inf"), True, time(8), timedelta(1),
        datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC), date(9999, 12, 31), "99999999", "٢٠٢٦-٠٧-٠١",
    ],
)  # fmt: skip
def test_what_is_no_time_is_refused(cell: Cell) -> None:
    with pytest.raises(CellRefused) as refused:
        moment(cell)
    assert refused.value.code == "bad_time"


@pytest.mark.parametrize("cell", [None, "", "  "])
def test_an_empty_cell_is_no_time(cell: Cell) -> None:
    assert moment(cell) is None


@pytest.mark.parametrize(
    ("cell", "value"), [("38.92", 38.92), ("38.92°", 38.92), (39, 39.0), (" 500 米", 500.0), ("", None)]
)
def test_numbers_are_read_with_their_units(cell: Cell, value: float | None) -> None:
    assert number(cell, -1_000, 1_000) == value


@pytest.mark.parametrize(
    ("cell", "code"), [("abc", "bad_number"), ("1e9", "bad_number"), (True, "bad_number"), ("1001", "out_of_range")]
)
def test_what_is_no_number_is_refused(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        number(cell, -1_000, 1_000)
    assert refused.value.code == code


@pytest.mark.parametrize(
    "cell", [210202001000.0, 210202001000, "210202001", "210202001000；210202001", "21020200100001"]
)
def test_codes_are_read_however_the_spreadsheet_kept_them(cell: Cell) -> None:
    assert area_codes(cell, 10) == ("210202001000",)


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("2.10202E+11", "code_shortened"),
        ("2102", "bad_area_code"),
        ("大连市", "bad_area_code"),
        ("210202 " * 11, "too_many_areas"),
    ],
)
def test_what_is_no_code_is_refused(cell: Cell, code: str) -> None:
    with pytest.raises(CellRefused) as refused:
        area_codes(cell, 10)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("cell", "text"), [(None, ""), (7.0, "7"), (7.5, "7.5"), (True, "1"), (" 七 ", "七"), (1e300, "1e+300")]
)
def test_cells_are_texts_as_people_see_them(cell: Cell, text: str) -> None:
    assert text_of(cell) == text


@given(
    st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.datetimes(), st.dates(), st.times())
)
def test_no_cell_does_more_than_be_refused(cell: Cell) -> None:
    readers = (
        moment,
        kind_of,
        table_cells.status_of,
        lambda each: number(each, 0, 1),
        lambda each: area_codes(each, 3),
        lambda each: table_cells.words_of(each, 3, 3),
        lambda each: table_cells.short(each, 3),
    )
    for read in readers:
        try:
            read(cell)
        except CellRefused as refused:
            assert refused.code and refused.sentence
