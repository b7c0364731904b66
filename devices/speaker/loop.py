"""One event loop for a whole speaker process: sockets, timers, and what a few worker threads hand back."""

from __future__ import annotations

import heapq
import itertools
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
Action = Callable[[], None]
WORKERS_MAX = 2


class LoopTimer:
    """A call to come; `cancel` makes it not come."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        self.action = None


class Loop:
    """Runs actions in one thread. Other threads only `post`. Times are µs of the monotonic clock."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[int, int, LoopTimer]] = []
        self._count = itertools.count()
        self._posted: deque[Action] = deque()
        self._waker, self._woken = socket.socketpair()
        for end in (self._waker, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._drain)
        # A chime must not wait for words, nor words for a download, nor a download for a dead broker.
        self._pools = {name: ThreadPoolExecutor(WORKERS_MAX, name) for name in ("render", "speech", "fetch", "dial")}
        self._running = False

    def mono_us(self) -> int:
        return time.monotonic_ns() // 1_000

    def wall_us(self) -> int:
        return time.time_ns() // 1_000

    def later(self, after_us: int, action: Action) -> LoopTimer:
        """Call once, not before this many µs from now."""
        return self.at(self.mono_us() + after_us, action)

    def at(self, mono_us: int, action: Action) -> LoopTimer:
        timer = LoopTimer(action)
        heapq.heappush(self._timers, (mono_us, next(self._count), timer))
        return timer

    def post(self, action: Action) -> None:
        """Call soon in the loop's thread; the one method for other threads."""
        self._posted.append(action)
        try:
            self._waker.send(b"\0")
        except BlockingIOError:
            return  # The loop has wake-ups enough.

    def work(self, pool: str, job: Callable[[], T], done: Callable[[T], None]) -> None:
        """Run `job` in a worker thread of this pool and `done` with its result in the loop. A job must not raise."""
        self._pools[pool].submit(job).add_done_callback(lambda future: self._finish(future, done))

    def _finish(self, future: Future[T], done: Callable[[T], None]) -> None:
        if not future.cancelled():
            # A job that raised after all raises here again, in the loop, where it is seen.
            self.post(lambda: done(future.result()))

    def watch(self, sock: socket.socket, readable: Action, writable: Action | None) -> None:
        """Call when the socket can be read, and written if asked for. Replaces what was asked before."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if writable else 0)

        def ready(mask: int) -> None:
            if mask & selectors.EVENT_WRITE and writable is not None:
                writable()
            if mask & selectors.EVENT_READ:
                readable()

        if sock in self._selector.get_map():
            self._selector.modify(sock, events, ready)
        else:
            self._selector.register(sock, events, ready)

    def forget(self, sock: socket.socket) -> None:
        if sock in self._selector.get_map():
            self._selector.unregister(sock)

    def run(self, until: Callable[[], bool] | None = None) -> None:
        """Run until `stop` is called or `until` says so, which is asked after every round."""
        self._running = True
        while self._running and not (until is not None and until()):
            self.run_once()

    def run_once(self, wait_us_max: int = 1_000_000) -> None:
        """Wait for what comes next, at most this long, and do it."""
        now_us = self.mono_us()
        wait_us = wait_us_max if not self._timers else min(max(self._timers[0][0] - now_us, 0), wait_us_max)
        for selected, mask in self._selector.select(0 if self._posted else wait_us / 1e6):
            selected.data(mask)
        for _ in range(len(self._posted)):
            self._posted.popleft()()
        now_us = self.mono_us()
        while self._timers and self._timers[0][0] <= now_us:
            action = heapq.heappop(self._timers)[2].action
            if action is not None:
                action()

    def stop(self) -> None:
        self._running = False

    def close(self) -> None:
        for pool in self._pools.values():
            pool.shutdown(wait=True, cancel_futures=True)
        self._selector.close()
        self._waker.close()
        self._woken.close()

    def _drain(self, _: int) -> None:
        self._woken.recv(4_096)
