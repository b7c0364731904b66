"""Virtual time: one queue of what is to happen, in µs, that jumps from each thing to the next. Nothing here waits."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Action = Callable[[], object]


class Call:
    """Something that is to happen; `cancel` makes it not happen."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        self.action = None


class VirtualClock:
    """The one true time, in µs UTC. What is due at the same µs happens in the order in which it was asked for."""

    def __init__(self, start_us: int) -> None:
        self.start_us = start_us
        self.us = start_us
        self._calls: list[tuple[int, int, Call]] = []
        self._numbers = count()

    def at(self, us: int, action: Action) -> Call:
        """Do it at that time, or now when it is past."""
        call = Call(action)
        heapq.heappush(self._calls, (max(us, self.us), next(self._numbers), call))
        return call

    def later(self, after_us: int, action: Action) -> Call:
        return self.at(self.us + after_us, action)

    def run(self, until_us: int, halted: Callable[[], bool]) -> None:
        """Let things happen up to and with `until_us`; ends early when `halted` says so, which is asked at each."""
        while self._calls and self._calls[0][0] <= until_us:
            us, _, call = heapq.heappop(self._calls)
            if call.action is None:
                continue
            self.us = us
            call.action()
            if halted():
                return
        self.us = until_us


class DispatcherClock:
    """The clock of the dispatcher's machine and its database: right but for `error_us`, which may jump."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self.error_us = 0

    def now_us(self) -> int:
        return self._clock.us + self.error_us

    def mono_us(self) -> int:
        return self._clock.us - self._clock.start_us

    def true_us(self, said_us: int) -> int:
        """When this clock will show, or has shown, `said_us`, if it does not jump."""
        return said_us - self.error_us
