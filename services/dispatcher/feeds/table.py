"""Tables (CSV, XLSX, JSON rows) of departments that have only a spreadsheet: bytes in, signals and problems out. Pure.

Each row is judged by itself: good rows are accepted, and each bad one is a named problem with its row number.
Key. `table/<feed>/<id>`. One id is one report through its whole life: an update or a cancel under the same id refers
to the first row of that id. A row without an id is known by all that it says and by its time, which it then needs.
An alert that is sent again under its id with other cells is not taken (`engine/signals/identifiers`): to change it,
send an update.
"""

from __future__ import annotations

from dataclasses import replace

from services.dispatcher.domain.signals import Feed, Problem, Reading, Signal, SignalKind
from services.dispatcher.feeds import table_cells as cells
from services.dispatcher.feeds.report import (
    AREAS_MAX,
    DESCRIPTION_CHARS_MAX,
    HEADLINE_CHARS_MAX,
    NAME_CHARS_MAX,
    RADIUS_M_DEFAULT,
    REFERENCES_MAX,
    Report,
    digest,
    hazard_of,
    level_of,
    signal_of,
)
from services.dispatcher.feeds.table_cells import Cell, CellRefused, text_of
from services.dispatcher.feeds.table_columns import COLUMNS
from services.dispatcher.feeds.table_rows import TABLE_BYTES_MAX, BadTable, TableRow, read_table

__all__ = ["FORMAT", "TABLE_BYTES_MAX", "reading", "report_of"]

FORMAT = "table"
ID_CHARS_MAX = 64
RADIUS_M_MAX = 500_000

_TITLES = {column.field: f"{column.names[0]} ({column.names[1]})" for column in COLUMNS}


def reading(raw: bytes, feed: Feed, received_us: int) -> Reading:
    """The signals of a table's good rows and the problems of the others; `received_us` is µs UTC. Never raises."""
    try:
        table = read_table(raw)
    except BadTable as bad:
        return Reading((), (bad.problem,))
    found: dict[str, Signal] = {}
    problems = list(table.problems)
    for row in table.rows:
        report = report_of(row, feed)
        if isinstance(report, Problem):
            problems.append(report)
            continue
        signal = signal_of(report, FORMAT, feed, received_us)
        if signal.key not in found:
            found[signal.key] = signal
            problems += signal.problems
        elif not _same(found[signal.key], signal):
            said = f"Another row of this table has the id {cells.shown(report.id)} and says something else."
            problems.append(Problem("error", "id_twice", report.where, said))
    if not table.rows and not problems:
        problems.append(Problem("error", "no_rows", "", "The table has a header and no rows."))
    return Reading(tuple(found.values()), tuple(problems))


def report_of(row: TableRow, feed: Feed) -> Report | Problem:
    """What one row says, or why it can't be read."""
    return _Row(row, feed).report()


def _same(one: Signal, other: Signal) -> bool:
    return replace(one, problems=()) == replace(other, problems=())


class _Row:
    """A row being read: remembers which column is at hand, so that a refusal can name it."""

    def __init__(self, row: TableRow, feed: Feed) -> None:
        self._row = row
        self._feed = feed
        self._where = f"row {row.number}"
        self._at = ""

    def report(self) -> Report | Problem:
        try:
            return self._report()
        except CellRefused as refused:
            title = _TITLES.get(self._at, self._at)
            return Problem("error", refused.code, self._where, f"The column {title} {refused.sentence}")

    def _report(self) -> Report:
        kind = cells.kind_of(self._cell("kind"))
        id = cells.short(self._cell("id"), ID_CHARS_MAX)
        references = cells.words_of(self._cell("references"), REFERENCES_MAX, ID_CHARS_MAX)
        observed_us = cells.moment(self._cell("observed"))
        if not id and observed_us is None:
            self._at = "id"
            raise CellRefused("no_id_or_time", "is empty, and so is the time: a row needs one of them.")
        hazard, code = self._hazard(kind)
        lat, lon = self._position()
        told = digest(*(f"{field}={text_of(cell)}" for field, cell in sorted(self._row.cells.items())))
        own_key = ""
        if kind in (SignalKind.UPDATE, SignalKind.CANCEL) and id and not references:
            own_key, references = f"{id}#{kind}-{told[:12]}", (id,)
        return Report(
            where=self._where,
            id=id or f"#{told}",
            own_key=own_key,
            kind=kind,
            hazard=hazard,
            event_code=code,
            evidence=self._feed.evidence,
            level=self._level(),
            headline=cells.short(self._cell("headline"), HEADLINE_CHARS_MAX),
            description=text_of(self._cell("description"))[:DESCRIPTION_CHARS_MAX],
            observed_us=observed_us,
            expires_us=cells.moment(self._cell("expires"), end_of_day=True),
            areas=cells.area_codes(self._cell("areas"), AREAS_MAX),
            venue=cells.short(self._cell("venue"), ID_CHARS_MAX) or None,
            lat=lat,
            lon=lon,
            radius_m=self._radius_m(),
            names=tuple(filter(None, [cells.short(self._cell("place"), NAME_CHARS_MAX)])),
            references=references,
            device=cells.short(self._cell("device"), NAME_CHARS_MAX),
            status=cells.status_of(self._cell("status")),
        )

    def _cell(self, field: str) -> Cell:
        self._at = field
        return self._row.cells.get(field)

    def _hazard(self, kind: SignalKind) -> tuple[str, str]:
        """A cancel may leave the hazard to what it cancels."""
        text = cells.short(self._cell("hazard"), NAME_CHARS_MAX)
        if not text and kind is not SignalKind.CANCEL:
            raise CellRefused("hazard_missing", "is empty.")
        return hazard_of(text, self._feed)

    def _level(self) -> int | None:
        text = cells.short(self._cell("level"), NAME_CHARS_MAX)
        level = level_of(text)
        if text and level is None:
            said = f"is {cells.shown(text)}, not a level: 红 red, 橙 orange, 黄 yellow, 蓝 blue, or 1 to 4."
            raise CellRefused("unknown_word", said)
        return level

    def _position(self) -> tuple[float | None, float | None]:
        lat_text, lon_text = text_of(self._cell("lat")), text_of(self._cell("lon"))
        if not lat_text and not lon_text:
            return None, None
        lon = cells.number(self._cell("lon"), -180, 180)
        lat = cells.number(self._cell("lat"), -180, 180)
        if lat is None or lon is None:
            said = "stands without its pair: a position needs latitude and longitude."
            raise CellRefused("position_incomplete", said)
        if abs(lat) > 90:
            raise CellRefused("position_exchanged", f"is {lat:g}: latitude and longitude may have been exchanged.")
        return lat, lon

    def _radius_m(self) -> int:
        radius_m = cells.number(self._cell("radius_m"), 1, RADIUS_M_MAX)
        return RADIUS_M_DEFAULT if radius_m is None else round(radius_m)
