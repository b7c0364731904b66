"""Bytes of a table to rows of cells: CSV, JSON or XLSX, told apart by how they begin. Pure.

Rows are numbered as people see them, from 1 with the header among them. What these bytes cost is bounded by the cap
on their number and on rows, columns and cells; what is beyond a cap is named, never silently left out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.dispatcher.domain.signals import Problem
from services.dispatcher.feeds.json_edge import BadJson, open_json
from services.dispatcher.feeds.table_cells import Cell
from services.dispatcher.feeds.table_columns import HEADER_ROWS_MAX, field_of
from services.dispatcher.feeds.table_xlsx import BadWorkbook, sheet_rows

TABLE_BYTES_MAX = 1_048_576
ROWS_MAX = 2_000
COLUMNS_MAX = 64

_PACKED = (b"PK\x03\x04", b"PK\x05\x06")
_OLD_WORKBOOK = b"\xd0\xcf\x11\xe0"
_DELIMITERS = ",;\t"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its number, and its cells by field."""

    number: int
    cells: dict[str, Cell]


@dataclass(frozen=True, slots=True)
class Table:
    """The rows under the header, and what was found on the way; an error may stand beside good rows."""

    rows: tuple[TableRow, ...]
    problems: tuple[Problem, ...]


class BadTable(Exception):
    """The file is no table that may be read; `problem` says why."""

    def __init__(self, code: str, message: str, where: str = "") -> None:
        super().__init__(message)
        self.problem = Problem("error", code, where, message)


def read_table(raw: bytes) -> Table:
    """The table in at most `TABLE_BYTES_MAX` bytes; raises BadTable."""
    if not raw.strip():
        raise BadTable("empty", "The file is empty.")
    if len(raw) > TABLE_BYTES_MAX:
        raise BadTable("too_large", f"The file has {len(raw)} bytes; {TABLE_BYTES_MAX} are allowed.")
    if raw.startswith(_OLD_WORKBOOK):
        raise BadTable("old_workbook", "The file is an old or protected workbook (.xls); save it as .xlsx or CSV.")
    if raw.startswith(_PACKED):
        return _of_workbook(raw)
    if raw.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] in (b"[", b"{"):
        return _of_json(raw)
    return _of_csv(raw)


def _of_workbook(raw: bytes) -> Table:
    try:
        rows, others = sheet_rows(raw, ROWS_MAX + HEADER_ROWS_MAX, COLUMNS_MAX)
    except BadWorkbook as bad:
        raise BadTable(bad.code, bad.sentence) from bad
    said = "Only the first visible sheet was read; the workbook has others."
    problems = [Problem("warning", "sheets_ignored", "", said)] if others else []
    return _under_header(enumerate(rows, 1), problems)


def _of_json(raw: bytes) -> Table:
    try:
        value = open_json(raw, TABLE_BYTES_MAX)
    except BadJson as bad:
        raise BadTable(bad.code, bad.sentence) from bad
    if isinstance(value, dict):
        value = next((value[name] for name in ("rows", "data", "records") if name in value), value)
    listed = [value] if isinstance(value, dict) else value
    if not isinstance(listed, list):
        raise BadTable("no_rows", "The JSON file is no list of rows.")
    rows: list[TableRow] = []
    problems: list[Problem] = []
    for number, each in enumerate(listed[:ROWS_MAX], 1):
        row = _json_row(each, number)
        if isinstance(row, TableRow):
            rows.append(row)
        else:
            problems.append(row)
    problems += _too_many(len(listed) > ROWS_MAX, ROWS_MAX + 1)
    return Table(tuple(rows), tuple(problems))


def _json_row(each: object, number: int) -> TableRow | Problem:
    where = f"row {number}"
    if not isinstance(each, dict) or len(each) > COLUMNS_MAX:
        return Problem("error", "row_malformed", where, f"The row is no object of at most {COLUMNS_MAX} members.")
    cells: dict[str, Cell] = {}
    ranks: dict[str, int] = {}
    for name, value in each.items():
        found = field_of(name)
        if found is None or found[1] >= ranks.get(found[0], COLUMNS_MAX):
            continue
        if isinstance(value, list) and all(isinstance(item, str | int) for item in value):
            value = ";".join(str(item) for item in value)
        if value is not None and not isinstance(value, str | int | float | bool):
            return Problem("error", "row_malformed", where, f"The member {found[0]} is neither text nor number.")
        cells[found[0]], ranks[found[0]] = value, found[1]
    return TableRow(number, cells)


def _of_csv(raw: bytes) -> Table:
    text = _decoded(raw)
    head = "".join(text.splitlines(keepends=True)[:HEADER_ROWS_MAX]) if len(text) < 65_536 else text[:65_536]
    delimiter = max(_DELIMITERS, key=head.count)
    problems: list[Problem] = []
    return _under_header(_csv_rows(text, delimiter, problems), problems)


def _decoded(raw: bytes) -> str:
    encodings = ("utf-16",) if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "gb18030")
    for encoding in encodings:
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise BadTable("bad_encoding", "The file is neither UTF-8 nor GB18030 text, nor a workbook.")


def _csv_rows(text: str, delimiter: str, problems: list[Problem]) -> Iterator[tuple[int, tuple[Cell, ...]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for cells in reader:
            number += 1
            yield number, tuple(cell if cell.strip() else None for cell in cells)
    except csv.Error as error:
        said = f"From this row on the file is not readable as CSV: {error}."
        problems.append(Problem("error", "csv_broken", f"row {number + 1}", said))


def _under_header(rows: Iterable[tuple[int, tuple[Cell, ...]]], problems: list[Problem]) -> Table:
    """The rows below the header, which may itself stand below a title."""
    fields: dict[int, str] = {}
    found: list[TableRow] = []
    for number, cells in rows:
        if not any(cell is not None for cell in cells):
            continue
        if not fields:
            fields = _header(number, cells, problems)
            if not fields and number >= HEADER_ROWS_MAX:
                break
            continue
        if len(found) == ROWS_MAX:
            problems += _too_many(True, number)
            break
        found.append(TableRow(number, {fields[at]: cell for at, cell in enumerate(cells) if at in fields}))
    if not fields:
        if problems:
            raise BadTable(problems[0].code, problems[0].message, problems[0].where)
        said = "No header was found: one of the first rows must name the columns, 灾种 (hazard) among them."
        raise BadTable("header_missing", said)
    return Table(tuple(found), tuple(problems))


def _header(number: int, cells: tuple[Cell, ...], problems: list[Problem]) -> dict[int, str]:
    """Field by position, empty when this row is no header: it names the hazard and one more."""
    best: dict[str, tuple[int, int]] = {}
    twice: set[str] = set()
    unknown: list[int] = []
    for at, cell in enumerate(cells[:COLUMNS_MAX]):
        named = field_of(cell) if isinstance(cell, str) else None
        if named is None:
            unknown += [at + 1] if cell is not None else []
            continue
        field, rank = named
        if field in best and best[field][0] == rank:
            twice.add(field)
        best[field] = min(best.get(field, (rank, at)), (rank, at))
    if "hazard" not in best or len(best) < 2:
        return {}
    if twice:
        said = f"The header names a column twice: {', '.join(sorted(twice))}."
        raise BadTable("column_twice", said, f"row {number}")
    if unknown:
        said = f"Columns without a known name are passed over: {', '.join(map(str, unknown))}."
        problems.append(Problem("warning", "columns_ignored", f"row {number}", said))
    if len(cells) > COLUMNS_MAX:
        said = f"Only the first {COLUMNS_MAX} columns are read."
        problems.append(Problem("warning", "columns_ignored", f"row {number}", said))
    return {at: field for field, (_, at) in best.items()}


def _too_many(more: bool, number: int) -> list[Problem]:
    said = f"A table has at most {ROWS_MAX} rows; from this row on it was not read: send the rest as another table."
    return [Problem("error", "too_many_rows", f"row {number}", said)] if more else []
