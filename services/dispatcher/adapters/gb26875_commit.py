"""One committing thread for the frames of every fire panel connection; the event loop never waits for it."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.engine.events import Event, Outcome
from services.dispatcher.engine.groups import GroupCommit, Lot

log = logging.getLogger(__name__)

Commit = Callable[[Sequence[Event]], Outcome]


@dataclass(slots=True, eq=False, kw_only=True)
class _Frame(Lot):
    done: asyncio.Future[bool]


class PanelCommit:
    """Leads every group in its own thread. Bounded by its callers: each connection waits for its answers before it
    reads on."""

    def __init__(self, commit: Commit, metrics: PanelMetrics) -> None:
        self._turns: SimpleQueue[bool] = SimpleQueue()
        self._group: GroupCommit[_Frame] = GroupCommit(commit, lambda first: self._turns.put(True))
        self._metrics = metrics
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="panel-commit", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is waiting, then end; blocks until the thread has ended. Nothing may be added any more."""
        self._turns.put(False)
        self._thread.join()

    def add(self, events: Sequence[Event]) -> asyncio.Future[bool]:
        """Queue what a frame brings from the event loop; the future says whether it was committed: nothing is."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not events:
            done.set_result(True)
        elif self._group.add(_Frame(events, done=done)):
            self._turns.put(True)
        return done

    def _run(self) -> None:
        going_on = True
        while going_on or not self._turns.empty():
            if self._turns.get():
                self._lead()
            else:
                going_on = False

    def _lead(self) -> None:
        began_s = time.monotonic()
        group = self._group.lead()
        failed = [frame.error for frame in group if frame.taken is None]
        if failed:
            self._metrics.commit_failures.inc()
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "panel frames not committed, panels will repeat them count=%d: %s", len(failed), failed[0])
        else:
            self._metrics.commit_s.observe(time.monotonic() - began_s)
            if self._failing:
                log.warning("panel frames are committed again")
        self._failing = bool(failed)
        try:
            group[0].done.get_loop().call_soon_threadsafe(_settle, group)
        except RuntimeError:
            log.debug("the event loop ended before its panels could be answered count=%d", len(group))


def _settle(group: Sequence[_Frame]) -> None:
    for frame in group:
        if not frame.done.done():
            frame.done.set_result(frame.taken is not None)
