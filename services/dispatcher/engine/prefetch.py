"""Ahead: what every signal of a group will be asked, answered for all of them at once. A storm brings hundreds in one
transaction, and nearly every answer is that there is nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ..domain.incidents import Incident
from ..domain.risk import History, history_id
from ..domain.signals import Panel, Signal
from ..domain.spots import venue_cell
from .ports import Footprint, Page, Tx, Withdrawal
from .signals.joining import names_of, of_panel

ASKED_MAX = 500
"""Names in one question to the store."""
LISTED_MAX = 5_000
"""Footprints at all of a group's venues; where there are more, each signal looks for itself."""


@dataclass(slots=True)
class Ahead:
    """`new` are keys under which no signal is stored, `not_withdrawn` names for which no withdrawal waits; `panels` and
    `histories` are rows by id, None where there is no row; `listed` are the footprints at venues, by cell, the newest
    first. Whoever changes any of these in the transaction takes it out here; what is not here is looked up."""

    new: set[str] = field(default_factory=set)
    not_withdrawn: set[str] = field(default_factory=set)
    panels: dict[str, Panel] = field(default_factory=dict)
    histories: dict[str, History | None] = field(default_factory=dict)
    listed: dict[str, list[Footprint]] = field(default_factory=dict)


def look(tx: Tx, signals: Sequence[Signal]) -> Ahead:
    """Look up everything that this group will be asked."""
    ahead = Ahead()
    for start in range(0, len(signals), ASKED_MAX):
        some = signals[start : start + ASKED_MAX]
        keys = {signal.key for signal in some}
        ahead.new |= keys - tx.stored_keys(tuple(keys))
        ids = tuple({history_id(signal.use, signal.reporter) for signal in some})
        ahead.histories.update(dict.fromkeys(ids))
        ahead.histories.update((row.id, row) for row in tx.find(History, Page(limit=ASKED_MAX), id=ids))
        spoke = tuple({signal.reporter for signal in some if of_panel(signal)})
        if spoke:
            ahead.panels.update((row.id, row) for row in tx.find(Panel, Page(limit=ASKED_MAX), id=spoke))
        cells = tuple({venue_cell(signal.place.venue) for signal in some if signal.place.venue})
        rows = tx.find(Footprint, Page(limit=LISTED_MAX, order="-id"), cell=cells) if cells else []
        if cells and len(rows) < LISTED_MAX:
            ahead.listed.update((cell, []) for cell in cells)
            for row in rows:
                ahead.listed[row.cell].append(row)
            if tx.one_writer:
                # Held by the transaction from here on; where others write, each is read when it is asked for.
                tx.find(Incident, Page(limit=LISTED_MAX), id=tuple({row.incident for row in rows}))
    names = tuple(dict.fromkeys(name for signal in signals for name in names_of(signal)))
    for start in range(0, len(names), ASKED_MAX):
        asked = names[start : start + ASKED_MAX]
        if not tx.find(Withdrawal, Page(limit=1), identity=asked):
            ahead.not_withdrawn.update(asked)
    return ahead
