"""XLSX workbooks of strangers: the first visible sheet as rows of cells, or a named refusal. Pure.

A workbook is measured before anything of it is opened: number and declared size of its parts, markup in them, no
document types, no passwords. Formulas are not evaluated (the values that were saved with them count) and links to
other workbooks are not followed.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Iterator

import openpyxl
from openpyxl.workbook.workbook import Workbook

from services.dispatcher.feeds.table_cells import Cell

PARTS_MAX = 200
UNPACKED_BYTES_MAX = 16_777_216
MARKUP_MAX = 300_000
"""How many "<", and how many "=", all parts may hold together: it bounds what a reader builds of them."""
TEXT_CHARS_MAX = 2_097_152
"""How much text all cells may show together: a workbook may keep a long text once and show it in every cell."""
NOTES_SHEET = "说明"

_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


class BadWorkbook(Exception):
    """The file is no workbook that may be opened; `code` and `sentence` say why."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence


def sheet_rows(raw: bytes, rows_max: int, columns_max: int) -> tuple[list[tuple[Cell, ...]], bool]:
    """(rows, whether other sheets hold something) of a workbook; at most `rows_max` + 1 rows. Raises BadWorkbook."""
    try:
        _measure(raw)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as cause:
        raise BadWorkbook("xlsx_malformed", "The file is no readable workbook: its packing is damaged.") from cause
    try:
        book = openpyxl.load_workbook(io.BytesIO(raw), read_only=True, data_only=True, keep_links=False)
        try:
            return _first_sheet(book, rows_max, columns_max)
        finally:
            book.close()
    except BadWorkbook:
        raise
    except Exception as cause:
        raise BadWorkbook("xlsx_malformed", "The file is no readable workbook.") from cause


def _first_sheet(book: Workbook, rows_max: int, columns_max: int) -> tuple[list[tuple[Cell, ...]], bool]:
    sheets = [sheet for sheet in book.worksheets if sheet.sheet_state == "visible"]
    if not sheets:
        raise BadWorkbook("xlsx_no_sheet", "The workbook shows no sheet.")
    rows = sheets[0].iter_rows(min_row=1, max_row=rows_max + 1, max_col=columns_max, values_only=True)
    others = any(sheet.title != NOTES_SHEET for sheet in sheets[1:])
    found: list[tuple[Cell, ...]] = []
    chars = 0
    for row in rows:
        found.append(tuple(_cell(value) for value in row))
        chars += sum(len(cell) for cell in found[-1] if isinstance(cell, str))
        if chars > TEXT_CHARS_MAX:
            raise BadWorkbook("xlsx_too_large", f"The sheet holds more than {TEXT_CHARS_MAX} characters.")
    while found and not any(cell is not None for cell in found[-1]):
        found.pop()
    return found, others


def _cell(value: object) -> Cell:
    return value if isinstance(value, Cell) else str(value)


def _measure(raw: bytes) -> None:
    """Refuse what would cost too much to open. Parts unpack to no more than they declare, so the sum bounds them."""
    with zipfile.ZipFile(io.BytesIO(raw)) as packed:
        parts = packed.infolist()
        if len(parts) > PARTS_MAX:
            raise BadWorkbook("xlsx_too_large", f"The workbook has {len(parts)} parts; {PARTS_MAX} are allowed.")
        size = sum(part.file_size for part in parts)
        if size > UNPACKED_BYTES_MAX:
            said = f"The workbook unpacks to {size} bytes; {UNPACKED_BYTES_MAX} are allowed."
            raise BadWorkbook("xlsx_too_large", said)
        if any(part.flag_bits & _ENCRYPTED for part in parts):
            raise BadWorkbook("xlsx_encrypted", "The workbook is protected by a password.")
        if any(part.compress_type not in _METHODS for part in parts):
            raise BadWorkbook("xlsx_malformed", "The workbook is packed in a way that workbooks are not.")
        if len({part.filename for part in parts}) < len(parts):
            raise BadWorkbook("xlsx_malformed", "The workbook holds a part twice.")
        _check_markup(packed.read(part) for part in parts)


def _check_markup(contents: Iterator[bytes]) -> None:
    elements = attributes = 0
    for content in contents:
        elements += content.count(b"<")
        attributes += content.count(b"=")
        if elements > MARKUP_MAX or attributes > MARKUP_MAX:
            raise BadWorkbook("xlsx_too_large", "The workbook holds more cells than may be opened.")
        # Without its zero bytes UTF-16 reads like ASCII.
        plain = content.replace(b"\0", b"").upper()
        if b"<!DOCTYPE" in plain or b"<!ENTITY" in plain:
            raise BadWorkbook("xlsx_doctype", "The workbook carries a document type, which workbooks have no use for.")
