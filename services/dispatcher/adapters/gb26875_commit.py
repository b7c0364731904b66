"""One committing thread for the frames of every fire panel connection: what is waiting goes together, nothing waits.

While one group commits, the next gathers; so the group grows with the load and an idle system commits at once.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.domain.signals import Signal, Unread

log = logging.getLogger(__name__)

GROUP_MAX = 500

Commit = Callable[[Sequence[Signal], Sequence[Unread]], None]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one frame or damaged stretch brings."""

    signals: tuple[Signal, ...] = ()
    unread: tuple[Unread, ...] = ()

    def __len__(self) -> int:
        return len(self.signals) + len(self.unread)


@dataclass(frozen=True, slots=True)
class _Waiting:
    batch: Batch
    done: asyncio.Future[bool]


class GroupCommit:
    """Runs `commit` in its own thread, up to 500 signals and unread frames at a time, in order of arrival.

    Bounded by its callers: each connection waits for its answers before it reads on.
    """

    def __init__(self, commit: Commit, metrics: PanelMetrics) -> None:
        self._commit = commit
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="panel-commit", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what is waiting, then end; blocks until the thread has ended."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def add(self, batch: Batch) -> asyncio.Future[bool]:
        """Queue a batch from the event loop; the future says whether it was committed, and an empty one is."""
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if len(batch) == 0:
            done.set_result(True)
            return done
        with self._changed:
            self._waiting.append(_Waiting(batch, done))
            self._changed.notify()
        return done

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                group = self._next_group()
            self._finish(group, self._commit_group(group))

    def _next_group(self) -> list[_Waiting]:
        group = [self._waiting.popleft()]
        size = len(group[0].batch)
        while self._waiting and size + len(self._waiting[0].batch) <= GROUP_MAX:
            group.append(self._waiting.popleft())
            size += len(group[-1].batch)
        return group

    def _commit_group(self, group: list[_Waiting]) -> bool:
        signals = [signal for each in group for signal in each.batch.signals]
        unread = [row for each in group for row in each.batch.unread]
        began_s = time.monotonic()
        try:
            self._commit(signals, unread)
        except Exception as failure:  # noqa: BLE001 - whatever broke, the panels keep their frames and send again
            self._metrics.commit_failures.inc()
            level = logging.DEBUG if self._failing else logging.WARNING
            log.log(level, "panel frames not committed, panels will repeat them count=%d: %s", len(group), failure)
            self._failing = True
            return False
        self._metrics.commit_s.observe(time.monotonic() - began_s)
        if self._failing:
            log.warning("panel frames are committed again")
            self._failing = False
        return True

    @staticmethod
    def _finish(group: list[_Waiting], committed: bool) -> None:
        loop = group[0].done.get_loop()
        try:
            loop.call_soon_threadsafe(_settle, group, committed)
        except RuntimeError:
            log.debug("the event loop ended before its panels could be answered count=%d", len(group))


def _settle(group: list[_Waiting], committed: bool) -> None:
    for each in group:
        if not each.done.done():
            each.done.set_result(committed)
