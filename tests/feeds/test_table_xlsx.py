"""Workbooks of strangers: bombs, lies about size, document types, formulas and links end in a sentence."""

from __future__ import annotations

import io
import struct
import zipfile

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds.table import reading
from services.dispatcher.feeds.table_template import template
from services.dispatcher.feeds.table_xlsx import MARKUP_MAX, PARTS_MAX, TEXT_CHARS_MAX, UNPACKED_BYTES_MAX

FEED = Feed("market", "", "", "table", Use.ACTUAL, "", "210200000000")
SHEET = "xl/worksheets/sheet1.xml"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
TEMPLATE = template("xlsx")


def repacked(part: str, content: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """The template with one part put in its place."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(TEMPLATE)) as packed, zipfile.ZipFile(out, "w", method) as again:
        for name in packed.namelist():
            if name != part:
                again.writestr(name, packed.read(name))
        again.writestr(part, content)
    return out.getvalue()


def sheet(rows: str, before: str = "") -> bytes:
    return repacked(SHEET, f'{before}<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>'.encode())


def text(value: str) -> str:
    return f'<c t="inlineStr"><is><t>{value}</t></is></c>'


HEADER = f"<row>{text('编号')}{text('灾种')}</row>"


def found(raw: bytes) -> tuple[list[str], list[str]]:
    read = reading(raw, FEED, 1_782_864_000_000_000)
    return [signal.key for signal in read.signals], [problem.code for problem in read.problems]


def test_a_sheet_made_by_hand_is_read() -> None:
    assert found(sheet(f"{HEADER}<row>{text('9')}{text('火灾')}</row>")) == (["table/market/9"], [])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (repacked("xl/media/big.bin", b"0" * (UNPACKED_BYTES_MAX + 1)), "xlsx_too_large"),
        (sheet("<row>" + "<c/>" * MARKUP_MAX + "</row>"), "xlsx_too_large"),
        (sheet("<row><c" + " a=''" * (MARKUP_MAX + 1) + "/></row>"), "xlsx_too_large"),
        (sheet(f"<row>{text('x' * (TEXT_CHARS_MAX + 1))}</row>"), "xlsx_too_large"),
        (sheet("", '<!DOCTYPE w [<!ENTITY a "aaaa">]>'), "xlsx_doctype"),
        (repacked(SHEET, '<!doctype w [<!entity a "b">]><w/>'.encode("utf-16")), "xlsx_doctype"),
        (repacked(SHEET, b"<worksheet"), "xlsx_malformed"),
        (repacked("xl/workbook.xml", b"<workbook/>"), "xlsx_no_sheet"),
        (repacked("xl/workbook.xml", b"\xff\xfe"), "xlsx_malformed"),
        (repacked("extra.bin", b"x", zipfile.ZIP_LZMA), "xlsx_malformed"),
        (TEMPLATE[:-30], "xlsx_malformed"),
        (b"PK\x03\x04", "xlsx_malformed"),
        (sheet('<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'), "header_missing"),
        (sheet("<row>" + "<c/>" * 20_000 + "</row>"), "header_missing"),
    ],
)
def test_a_hostile_workbook_is_refused_by_name(raw: bytes, code: str) -> None:
    assert found(raw) == ([], [code])


def test_many_parts_are_refused_before_any_is_unpacked() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as packed:
        for number in range(PARTS_MAX + 1):
            packed.writestr(f"{number}.xml", b"")
    assert found(out.getvalue()) == ([], ["xlsx_too_large"])


def test_a_part_that_lies_about_its_size_is_damage() -> None:
    raw = bytearray(repacked("xl/media/big.bin", b"0" * 100_000))
    directory = raw.rindex(b"PK\x01\x02")
    raw[directory + 24 : directory + 28] = struct.pack("<I", 10)
    assert found(bytes(raw)) == ([], ["xlsx_malformed"])


def test_a_part_that_stands_twice_is_refused() -> None:
    raw = repacked("xl/media/b.bin", b"x").replace(b"xl/media/b.bin", b"xl/styles.xml\0")
    assert found(raw) == ([], ["xlsx_malformed"])


def test_a_password_is_named() -> None:
    raw = bytearray(TEMPLATE)
    directory = raw.index(b"PK\x01\x02")
    raw[directory + 8] |= 1
    assert found(bytes(raw)) == ([], ["xlsx_encrypted"])


def test_formulas_are_not_evaluated_and_their_saved_values_count() -> None:
    saved = f"<row><c><f>1+1</f><v>7</v></c>{text('火灾')}</row>"
    unsaved = f"<row><c><f>WEBSERVICE(A1)</f></c>{text('火灾')}</row>"
    assert found(sheet(HEADER + saved + unsaved)) == (["table/market/7"], ["no_id_or_time"])


def test_only_the_first_visible_sheet_is_read_and_the_others_are_named() -> None:
    book = openpyxl.load_workbook(io.BytesIO(TEMPLATE))
    book.worksheets[0].append(["9", None, "火灾"])
    book.create_sheet("昨天").append(["8", None, "火灾"])
    hidden = book.create_sheet("隐藏", 0)
    hidden.sheet_state = "hidden"
    out = io.BytesIO()
    book.save(out)
    assert found(out.getvalue()) == (["table/market/9"], ["sheets_ignored"])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(TEMPLATE) - 1), st.binary(min_size=1, max_size=40))
def test_a_damaged_workbook_never_does_more_than_be_refused(at: int, damage: bytes) -> None:
    keys, codes = found(TEMPLATE[:at] + damage + TEMPLATE[at + len(damage) :])
    assert keys == [] and codes
