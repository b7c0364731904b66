"""What every signal of a group will be asked, answered for all of them at once. A storm brings hundreds in one
transaction, and nearly every answer is that there is nothing."""

from __future__ import annotations

from collections.abc import Sequence

from ..domain.incidents import Incident
from ..domain.risk import History, history_id
from ..domain.signals import Panel, Signal
from ..domain.spots import venue_cell
from .ports import Page, Tx
from .rows import Footprint, Withdrawal
from .signals.joining import names_of, of_panel
from .transaction import Prefetched

ASKED_MAX = 500
"""Names in one question to the store."""
LISTED_MAX = 5_000
"""Footprints at all of a group's venues; where there are more, each signal looks for itself."""


def look(tx: Tx, signals: Sequence[Signal]) -> Prefetched:
    """Look up everything that this group will be asked."""
    found = Prefetched()
    for start in range(0, len(signals), ASKED_MAX):
        some = signals[start : start + ASKED_MAX]
        keys = {signal.key for signal in some}
        found.new |= keys - tx.stored_keys(tuple(keys))
        ids = tuple({history_id(signal.use, signal.reporter) for signal in some})
        found.histories.update(dict.fromkeys(ids))
        found.histories.update((row.id, row) for row in tx.find(History, Page(limit=ASKED_MAX), id=ids))
        spoke = tuple({signal.reporter for signal in some if of_panel(signal)})
        if spoke:
            found.panels.update((row.id, row) for row in tx.find(Panel, Page(limit=ASKED_MAX), id=spoke))
        cells = tuple({venue_cell(signal.place.venue) for signal in some if signal.place.venue})
        rows = tx.find(Footprint, Page(limit=LISTED_MAX, order="-id"), cell=cells) if cells else []
        if cells and len(rows) < LISTED_MAX:
            found.listed.update((cell, []) for cell in cells)
            for row in rows:
                found.listed[row.cell].append(row)
            if tx.one_writer:
                # Held by the transaction from here on; where others write, each is read when it is asked for.
                tx.find(Incident, Page(limit=LISTED_MAX), id=tuple({row.incident for row in rows}))
    names = tuple(dict.fromkeys(name for signal in signals for name in names_of(signal)))
    for start in range(0, len(names), ASKED_MAX):
        asked = names[start : start + ASKED_MAX]
        if not tx.find(Withdrawal, Page(limit=1), identity=asked):
            found.not_withdrawn.update(asked)
    return found
