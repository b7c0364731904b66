"""What every signal of a group will be asked, answered for all of them at once. A storm brings hundreds in one
transaction, and nearly every answer is that there is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..domain.incidents import Incident
from ..domain.risk import History, history_id
from ..domain.signals import Panel, Signal
from ..domain.spots import venue_cell
from .ports import Page, Tx
from .rows import Footprint, Withdrawal
from .signals import silencing
from .signals.joining import names_of, of_panel
from .transaction import Work

ASKED_MAX = 500
"""Names in one question to the store."""
LISTED_MAX = 5_000
"""Footprints at all of a group's venues; where there are more, each signal looks for itself."""


def look(work: Work, signals: Sequence[Signal]) -> None:
    """Look up everything that this group, of at most `ASKED_MAX`, will be asked."""
    tx, found = work.tx, work.prefetched
    keys = {signal.key for signal in signals}
    ids = tuple({history_id(signal.use, signal.reporter) for signal in signals})
    histories = tx.asked(History, Page(limit=ASKED_MAX), id=ids)
    spoke = tuple({signal.reporter for signal in signals if of_panel(signal)})
    panels = tx.asked(Panel, Page(limit=ASKED_MAX), id=spoke) if spoke else list
    cells = tuple({venue_cell(signal.place.venue) for signal in signals if signal.place.venue})
    listed = tx.asked(Footprint, Page(limit=LISTED_MAX, order="-id"), cell=cells) if cells else list
    names = _asked(tx, dict.fromkeys(name for signal in signals for name in names_of(signal)))
    silences, words = silencing.asked(tx)
    found.new |= keys - tx.stored_keys(tuple(keys))
    found.histories.update(dict.fromkeys(ids))
    found.histories.update((row.id, row) for row in histories())
    found.panels.update(dict.fromkeys(spoke))
    found.panels.update((row.id, row) for row in panels())
    for asked, withdrawn in names:
        if not withdrawn():
            found.not_withdrawn.update(asked)
    work.note(silencing.held, silences())
    work.note(silencing.any_word, bool(words()))
    if cells:
        _note_listed(work, cells, listed())


def _asked(tx: Tx, names: Iterable[str]) -> list[tuple[Sequence[str], Callable[[], list[Withdrawal]]]]:
    """Some of the names at a time, each with the withdrawals that wait for one of them."""
    every = tuple(names)
    parts = [every[start : start + ASKED_MAX] for start in range(0, len(every), ASKED_MAX)]
    return [(part, tx.asked(Withdrawal, Page(limit=1), identity=part)) for part in parts]


def _note_listed(work: Work, cells: Sequence[str], rows: Sequence[Footprint]) -> None:
    listed = work.prefetched.listed
    if len(rows) == LISTED_MAX:
        return
    listed.update((cell, []) for cell in cells)
    for row in rows:
        listed[row.cell].append(row)
    if work.tx.one_writer:
        # Held by the transaction from here on; where others write, each is read when it is asked for.
        work.tx.find(Incident, Page(limit=LISTED_MAX), id=tuple({row.incident for row in rows}))
