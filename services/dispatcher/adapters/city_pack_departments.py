"""The departments of a city pack: `departments.csv`, who reports which risks, in which format and rhythm.

They are no rows of the city: enrolling them as feeds makes their keys, and that is a command's business. The file may
be absent. Which hazards and formats there are is not known here; who knows them passes them in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from services.dispatcher.domain.signals import Datum, Evidence

from .city_pack_rows import Columns, Row, shown

FILE = "departments.csv"
COLUMNS = Columns(
    required=("id", "name", "hazards", "contact", "format", "rhythm_s"),
    optional=("evidence", "area", "datum", "sample"),
    rows_max=1_000,
)
EVERY_HAZARD = "*"
RHYTHM_S_MAX = 31_622_400


@dataclass(frozen=True, slots=True)
class FeedWords:
    """The hazards that a department may be enrolled for, and the formats that it may send."""

    hazards: frozenset[str]
    formats: frozenset[str]


@dataclass(frozen=True, slots=True)
class Department:
    """One department that reports. `hazards` None means every hazard, `rhythm_s` 0 that nothing regular is expected.

    `contact` is a role or a door, never a person; `area` is the code that it speaks for.
    """

    id: str
    name: str
    hazards: tuple[str, ...] | None
    contact: str
    format: str
    rhythm_s: int
    evidence: Evidence
    area: str
    datum: Datum = Datum.WGS84
    sample: bool = False


def department(
    row: Row, id: str, words: FeedWords | None, city: str, standing: Callable[[Row], str | None]
) -> Department:
    """One row; blanks stand for its bad cells until the pack is refused. `standing` finds the row's area."""
    hazards = row.words("hazards")
    every = hazards == (EVERY_HAZARD,)
    if not hazards:
        row.refuse("empty_cell", f"The column hazards is empty; {EVERY_HAZARD} means every hazard.")
    elif words is not None and not every:
        for hazard in hazards:
            if hazard not in words.hazards:
                row.refuse("unknown_hazard", f"The hazard {shown(hazard)} is none that signals may have.")
    format = row.id("format") or ""
    if format and words is not None and format not in words.formats:
        row.refuse("unknown_format", f"The format {shown(format)} is not one of {', '.join(sorted(words.formats))}.")
    return Department(
        id=id,
        name=row.name() or "",
        hazards=None if every else hazards,
        contact=row.name("contact") or "",
        format=format,
        rhythm_s=row.integer("rhythm_s", 0, RHYTHM_S_MAX) or 0,
        evidence=_evidence(row),
        area=(standing(row) or "") if row.given("area") else city,
        datum=(row.word_of("datum", Datum) or Datum.WGS84) if row.given("datum") else Datum.WGS84,
        sample=row.flag("sample"),
    )


def _evidence(row: Row) -> Evidence:
    """What kind of witness it is. A department is an authority unless the row says otherwise."""
    if not row.given("evidence"):
        return Evidence.AUTHORITY
    return row.word_of("evidence", Evidence) or Evidence.AUTHORITY
