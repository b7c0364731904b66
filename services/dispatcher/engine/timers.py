"""The timer pass: due rows become events, each in its own transaction."""

from __future__ import annotations

from ..domain.effects import Record, Timer, WakeAt
from .clock import APART_US, in_words
from .engine import Engine
from .events import TimerDue
from .ports import Clock, Store, StoreUnavailable
from .rows import TimerRow
from .writing import write

DUE_MAX = 200
RELEASE_LATE_US = 60_000_000
BROKEN_AGAIN_US = 60_000_000
WHY_CHARS_MAX = 500
RELEASING = Timer.RUNG
"""The timer that may cause a release: a ladder that ends unanswered. Others go on through a jump."""


class TimerPass:
    """Turns due timers into events, and says of each whether it may still cause a release.

    It may not when it is later than its `useless_after_us`, not while a clock has jumped and nobody has confirmed the
    time, and not in the pass in which trusted time has moved on by more than 5 s against the monotonic clock: then
    people decide.
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
            moment = read.moment()
            now_us = moment.now_us
            due = read.due_timers(now_us, DUE_MAX)
        jumped = self._time_moved(now_us) or self._jump_left
        self._jump_left = jumped if len(due) == DUE_MAX else ""
        for timer in due:
            late_us = now_us - timer.due_us
            missed = ""
            if now_us > timer.useless_after_us or late_us > RELEASE_LATE_US:
                missed = f"the timer came {late_us // 1_000_000} s late"
            elif moment.state.since_us and timer.timer == RELEASING:
                missed = in_words(moment.state)
            elif jumped:
                missed = jumped
            try:
                self._engine.handle([TimerDue(timer, missed)])
            except StoreUnavailable:
                raise
            except Exception as fault:  # noqa: BLE001 - one broken deadline must not hold up those behind it
                self._put_off(timer, fault)
        return len(due)

    def _put_off(self, timer: TimerRow, fault: Exception) -> None:
        """On record, and tried again later; nothing is released by it any more."""
        with write(self._store) as tx:
            if not tx.take_due(timer):
                return
            later_us = tx.now_us() + BROKEN_AGAIN_US
            tx.wake_at(WakeAt(timer.timer, timer.subject, later_us, 0))
            facts: dict[str, object] = {"timer": timer.timer, "due_us": timer.due_us}
            why = f"its deadline could not be kept: {type(fault).__name__}: {fault}"[:WHY_CHARS_MAX]
            tx.record(Record("timer.broke", timer.subject, why, facts=facts))

    def _time_moved(self, now_us: int) -> str:
        mono_us = self._clock.mono_us()
        last, self._last = self._last, (now_us, mono_us)
        if last is None:
            return ""
        apart_us = abs((now_us - last[0]) - (mono_us - last[1]))
        return f"the time was put by {apart_us // 1_000_000} s" if apart_us > APART_US else ""
