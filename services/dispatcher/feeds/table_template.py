"""The empty table that a department fills in: CSV or XLSX, the same bytes every time. Pure.

There is no example row in it: a row that is left in by mistake would be a report. XLSX has notes on a second sheet.
"""

from __future__ import annotations

import io
import re
import zipfile
from datetime import datetime

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from services.dispatcher.feeds.table_columns import COLUMNS
from services.dispatcher.feeds.table_xlsx import NOTES_SHEET

FORMATS = ("csv", "xlsx")
_TEXT_FORMAT = "@"
_SHEET = "风险信息"
_REQUIRED = "hazard"
_WRITTEN = datetime(2000, 1, 1)  # noqa: DTZ001 - a workbook's own times have no zone; this one stands for none
_WRITTEN_TUPLE = (2000, 1, 1, 0, 0, 0)
_MODIFIED = re.compile(rb"(<dcterms:modified[^>]*>)[^<]*(</dcterms:modified>)")


def template(format: str) -> bytes:
    """The template as "csv" (UTF-8 with the byte order mark that spreadsheets want) or "xlsx"; else ValueError."""
    match format:
        case "csv":
            return ("\ufeff" + ",".join(_titles()) + "\r\n").encode()
        case "xlsx":
            return _workbook()
        case _:
            raise ValueError(f"there is no template in the format {format}")


def _titles() -> list[str]:
    return [column.names[0] + ("*" if column.field == _REQUIRED else "") for column in COLUMNS]


def _workbook() -> bytes:
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.title = _SHEET
    sheet.append(_titles())
    for at in range(1, len(COLUMNS) + 1):
        sheet.cell(1, at).font = Font(bold=True)
        # As text, long codes keep all their digits.
        sheet.column_dimensions[get_column_letter(at)].number_format = _TEXT_FORMAT
        sheet.column_dimensions[get_column_letter(at)].width = 16
    sheet.freeze_panes = "A2"
    notes = book.create_sheet(NOTES_SHEET)
    notes.append(["列", "column", "说明"])
    for column in COLUMNS:
        notes.append([column.names[0], column.names[1], column.note])
    notes.column_dimensions["C"].width = 80
    book.properties.creator = ""
    book.properties.created = _WRITTEN
    packed = io.BytesIO()
    book.save(packed)
    return _timeless(packed.getvalue())


def _timeless(raw: bytes) -> bytes:
    """The same workbook without the time at which it was written."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(raw)) as packed, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as again:
        for part in sorted(packed.infolist(), key=lambda part: part.filename != "[Content_Types].xml"):
            content = _MODIFIED.sub(rb"\g<1>2000-01-01T00:00:00Z\2", packed.read(part))
            entry = zipfile.ZipInfo(part.filename, _WRITTEN_TUPLE)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o600 << 16
            again.writestr(entry, content)
    return out.getvalue()
