"""Group commit for signals: requests that arrive together share one transaction, and each is answered after it.

Nobody waits for company: whoever finds no commit running commits at once, with everything that has queued up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ..engine.engine import EVENTS_MAX
from ..engine.events import Outcome, SignalArrived


@dataclass(frozen=True, slots=True)
class Taken:
    """Keys of one request's signals: those that were new, and those under which another report had come before."""

    created: frozenset[str] = frozenset()
    reused: frozenset[str] = frozenset()


@dataclass(slots=True, eq=False)
class _Lot:
    """One request's signals, and what became of them. `turn` is set when they are settled or it is theirs to commit."""

    events: Sequence[SignalArrived]
    turn: threading.Event = field(default_factory=threading.Event)
    settled: bool = False
    taken: Taken = field(default_factory=lambda: Taken())
    error: Exception | None = None


class Intake:
    """Hands signals to the engine in groups of at most `EVENTS_MAX`. Waiting lots are bounded by the worker threads."""

    def __init__(self, handle: Callable[[Sequence[SignalArrived]], Outcome]) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._waiting: deque[_Lot] = deque()
        self._committing = False

    def accept(self, events: Sequence[SignalArrived]) -> Taken:
        """Commit at most `EVENTS_MAX` signals; what became of them. Raises what the engine raises for them."""
        assert len(events) <= EVENTS_MAX
        lot = _Lot(events)
        with self._lock:
            self._waiting.append(lot)
            leads = not self._committing
            self._committing = True
        if not leads:
            lot.turn.wait()
        if not lot.settled:
            self._lead()
        if lot.error is not None:
            raise lot.error
        return lot.taken

    def _lead(self) -> None:
        """Commit one group, then pass the lead on: nobody serves others longer than themselves."""
        lots = self._next()
        try:
            self._commit(lots)
        finally:
            for lot in lots:
                lot.settled = True
                lot.turn.set()
            with self._lock:
                self._committing = bool(self._waiting)
                if self._waiting:
                    self._waiting[0].turn.set()

    def _next(self) -> list[_Lot]:
        """The first in the queue is the leader's own, so there always is one."""
        with self._lock:
            lots = [self._waiting.popleft()]
            size = len(lots[0].events)
            while self._waiting and size + len(self._waiting[0].events) <= EVENTS_MAX:
                lots.append(self._waiting.popleft())
                size += len(lots[-1].events)
            return lots

    def _commit(self, lots: list[_Lot]) -> None:
        try:
            done = self._handle([event for lot in lots for event in lot.events])
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the requests that wait
            if len(lots) > 1:
                # One request's fault is not another's.
                for lot in lots:
                    self._commit([lot])
            else:
                lots[0].error = error
            return
        created = set(done.created)
        for lot in lots:
            signals = [event.signal for event in lot.events]
            own = frozenset(created & {signal.key for signal in signals})
            created -= own
            # Two requests may have the key in common and not the words.
            others = frozenset(
                other.key
                for other in done.reused
                if any(s.key == other.key and s.says_the_same(other) for s in signals) and other.key not in own
            )
            lot.taken = Taken(own, others)
