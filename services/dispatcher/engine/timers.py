"""The timer pass: due rows become events, each in its own transaction."""

from __future__ import annotations

from .engine import Engine
from .events import TimerDue
from .ports import Clock, Store

DUE_MAX = 200
RELEASE_LATE_US = 60_000_000
CLOCKS_APART_US = 5_000_000


class TimerPass:
    """Turns due timers into events, and says of each whether it may still cause a release.

    It may not when it is later than its `useless_after_us`, and not when the database's clock and the monotonic one
    have moved apart by more than 5 s since the last pass: then people decide.
    """

    def __init__(self, engine: Engine, store: Store, clock: Clock) -> None:
        self._engine = engine
        self._store = store
        self._clock = clock
        self._last: tuple[int, int] | None = None
        self._jump_left = ""

    def run(self) -> int:
        """One pass; how many timers were due."""
        with self._store.read() as read:
            now_us = read.now_us()
            due = read.due_timers(now_us, DUE_MAX)
        jumped = self._clock_jumped(now_us) or self._jump_left
        self._jump_left = jumped if len(due) == DUE_MAX else ""
        for timer in due:
            late_us = now_us - timer.due_us
            missed = ""
            if now_us > timer.useless_after_us or late_us > RELEASE_LATE_US:
                missed = f"the timer came {late_us // 1_000_000} s late"
            elif jumped:
                missed = jumped
            self._engine.handle([TimerDue(timer, missed)])
        return len(due)

    def _clock_jumped(self, now_us: int) -> str:
        mono_us = self._clock.mono_us()
        last, self._last = self._last, (now_us, mono_us)
        if last is None:
            return ""
        apart_us = abs((now_us - last[0]) - (mono_us - last[1]))
        return f"the clocks moved apart by {apart_us // 1_000_000} s" if apart_us > CLOCKS_APART_US else ""
