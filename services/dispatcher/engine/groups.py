"""Group commit: events of many callers share one transaction, and each is answered after it. Knows no wire.

Nobody waits for company: whoever finds no commit running leads, and commits everything that has queued up. While one
group commits, the next gathers; so groups grow with the load, and an idle system commits at once.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from .engine import EVENTS_MAX
from .events import Event, Outcome, SignalArrived
from .ports import Conflict, StoreUnavailable


@dataclass(frozen=True, slots=True)
class LotTaken:
    """Keys of one caller's signals: those that were new, and those under which another report had come before."""

    created: frozenset[str] = frozenset()
    reused: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class Lot:
    """One caller's events, and what became of them: `taken` where they are committed, else `error`; neither where their
    commit was broken off. `turn` is there where the caller waits, and is set when they are settled or theirs to lead.
    """

    events: Sequence[Event]
    turn: threading.Event | None = None
    settled: bool = False
    taken: LotTaken | None = None
    error: Exception | None = None

    def wake(self) -> None:
        """Settled, or to be led: let the caller that waits go on."""
        if self.turn is not None:
            self.turn.set()


L = TypeVar("L", bound=Lot)


class GroupCommit(Generic[L]):
    """Hands events to the engine in groups of at most `EVENTS_MAX`. What waits is bounded by the callers, each of whom
    waits for its answer."""

    def __init__(
        self, handle: Callable[[Sequence[Event]], Outcome], pass_lead: Callable[[L], None] = lambda first: first.wake()
    ) -> None:
        """`pass_lead` sees to it that somebody calls `lead` for the lot that waits first."""
        self._handle = handle
        self._pass_lead = pass_lead
        self._lock = threading.Lock()
        self._waiting: deque[L] = deque()
        self._committing = False

    def accept(self: GroupCommit[Lot], events: Sequence[Event]) -> LotTaken:
        """Commit these events; what became of them. Blocks meanwhile, and raises what the engine raises for them."""
        lot = Lot(events, turn := threading.Event())
        if not self.add(lot):
            turn.wait()
        if not lot.settled:
            self.lead()
        if lot.taken is None:
            raise lot.error or StoreUnavailable("the commit of these events was broken off")
        return lot.taken

    def add(self, lot: L) -> bool:
        """Queue a lot, without waiting; whether somebody has to call `lead` for it now."""
        assert len(lot.events) <= EVENTS_MAX
        with self._lock:
            self._waiting.append(lot)
            leads = not self._committing
            self._committing = True
        return leads

    def lead(self) -> list[L]:
        """Commit one group, settled by then, and pass the lead on: nobody serves others longer than themselves."""
        lots = self._next()
        try:
            self._commit(lots)
        finally:
            for lot in lots:
                lot.settled = True
                lot.wake()
            with self._lock:
                self._committing = bool(self._waiting)
                if self._waiting:
                    self._pass_lead(self._waiting[0])
        return lots

    def _next(self) -> list[L]:
        """The first in the queue is the leader's own, so there always is one."""
        with self._lock:
            lots = [self._waiting.popleft()]
            size = len(lots[0].events)
            while self._waiting and size + len(self._waiting[0].events) <= EVENTS_MAX:
                lots.append(self._waiting.popleft())
                size += len(lots[-1].events)
            return lots

    def _commit(self, lots: Sequence[L]) -> None:
        try:
            done = self._handle([event for lot in lots for event in lot.events])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the callers that wait
            away = isinstance(error, StoreUnavailable) and not isinstance(error, Conflict)
            if away or len(lots) == 1:
                for lot in lots:
                    lot.error = error
                return
            for lot in lots:
                # One caller's fault is not another's.
                self._commit([lot])
            return
        created = set(done.created)
        for lot in lots:
            lot.taken = _share(lot, created, done)
            created -= lot.taken.created


def _share(lot: Lot, created: set[str], done: Outcome) -> LotTaken:
    """What of a group's outcome is this lot's; two callers may have a key in common and not the words."""
    signals = [event.signal for event in lot.events if isinstance(event, SignalArrived)]
    own = frozenset(created & {signal.key for signal in signals})
    others = frozenset(
        other.key
        for other in done.reused
        if any(s.key == other.key and s.says_the_same(other) for s in signals) and other.key not in own
    )
    return LotTaken(own, others)
