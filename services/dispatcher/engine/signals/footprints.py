"""Footprints: under which cells an open incident is listed, kept in step with its place and level."""

from __future__ import annotations

from ...domain.incidents import Incident
from ...domain.planning import City
from ...domain.spots import listed_cells
from ..ports import Page, Tx
from ..rows import Footprint
from ..transaction import Prefetched

CELLS_MAX = 1_000


def relist(tx: Tx, before: Incident | None, after: Incident, city: City, prefetched: Prefetched) -> None:
    """List the incident where it is now; a closed one is listed nowhere. `before` is None for a new one."""
    known = before is not None and before.open == after.open
    if known and before is not None and (before.place, before.level) == (after.place, after.level):
        return
    listed = {} if before is None else {f.id: f for f in tx.find(Footprint, Page(limit=CELLS_MAX), incident=after.id)}
    wanted = _footprints(after, city) if after.open else {}
    for id in sorted(listed.keys() - wanted.keys()):
        tx.delete(Footprint, id)
    for row in (*listed.values(), *wanted.values()):
        prefetched.listed.pop(row.cell, None)
    changed = [row for id, row in sorted(wanted.items()) if listed.get(id) != row]
    if changed:
        tx.put(*changed)


def _footprints(incident: Incident, city: City) -> dict[str, Footprint]:
    cells = listed_cells(incident.place, incident.venue, incident.area, incident.lat_e7, incident.lon_e7, city)
    rows = [
        Footprint(f"{incident.id}/{cell}", incident.id, str(incident.use), incident.hazard, cell, incident.level)
        for cell in cells
    ]
    return {row.id: row for row in rows}
