"""Trusted time: what the dispatcher goes by when a clock has jumped. One decision, and one guard per process around it.

While all is well, trusted time is the clock that the database tells time by. When that clock moves against the
monotonic one by more than 5 s between two looks, trusted time goes on from where it was, as fast as the monotonic
clock, until the clock is back within 5 s of it or a person confirms the new time. Nothing here steers a clock.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum

from devices.protocols.documents import VERSION_AHEAD_MS_MAX

from ..domain.effects import Record, Timer, WakeAt
from ..domain.refusals import Refused
from ..domain.verification import Task
from .ports import Clock, Page, Read, Store, Tx
from .rows import ClockState, Lease, Moment, Stream, TimerRow
from .writing import write

APART_US = 5_000_000
DRIFT_OF = 2_000
"""Two clocks in order drift apart by less than one part in this many: NTP slews by 500 ppm at most."""
KEEP_EVERY_US = 10_000_000
VOUCHED_WITHIN_US = 2 * KEEP_EVERY_US
ROWS_MAX = 100_000
STREAMS_MAX = 10_000
LOCK = "clock"
ROW = "clock"

_DURATIONS = {
    Timer.RUNG,
    Timer.PROVE,
    Timer.RESUME,
    Timer.MINUTE,
    Timer.REDRAFT,
    Timer.POLL,
    Timer.CANARY,
}
"""Timers that measure how long something has lasted. All others wait for a time that somebody named."""


class Moved(StrEnum):
    """Which clock moved, by its row's word."""

    MACHINE = "machine"
    DATABASE = "database"
    BEHIND = "behind"


class ClockVerdict(StrEnum):
    """What one look at the clocks showed."""

    IN_ORDER = "in_order"
    JUMPED = "jumped"
    STILL_OFF = "still_off"
    BACK = "back"
    EXPLAINED = "explained"


class ClockInOrder(Refused):
    """The clock is in order: there is nothing to confirm."""

    code = "clock_in_order"


class ClockMovedOn(Refused):
    """The clock has moved again since you looked: look at the new time, then confirm it."""

    code = "clock_moved_on"


@dataclass(frozen=True, slots=True)
class ClockReading:
    """One look at the clocks, in µs. `raw_us` is the clock that the database tells time by, `host_us` this machine's
    wall clock; both were read at some moment from `mono_from_us` to `mono_to_us`, however long that took."""

    raw_us: int
    host_us: int
    mono_from_us: int
    mono_to_us: int


def step(before: ClockState, seen: ClockReading, *, elsewhere: bool, vouched: bool) -> tuple[ClockState, ClockVerdict]:
    """Trusted time after a look, from what was known at the look before on the same machine since its start.

    `elsewhere` says that the database runs on another machine, with a clock of its own: then this machine having slept
    explains that both wall clocks went ahead of the monotonic one alike. `vouched` says that yet another machine has
    followed the database's clock all along.
    """
    # A look that took long, because the process or the database stood still, gives no moment but a span of them.
    mono_us = min(max(before.mono_us + seen.raw_us - before.raw_us, seen.mono_from_us), seen.mono_to_us)
    passed_us = mono_us - before.mono_us
    now = replace(before, raw_us=seen.raw_us, host_us=seen.host_us, mono_us=mono_us)
    if before.since_us:
        passed_us = seen.mono_to_us - before.mono_us
        on_us = before.trusted_us + passed_us
        if abs(seen.raw_us - on_us) <= APART_US:
            return replace(now, trusted_us=seen.raw_us, since_us=0, moved=""), ClockVerdict.BACK
        return replace(now, trusted_us=on_us, mono_us=seen.mono_to_us), ClockVerdict.STILL_OFF
    moved_us = seen.raw_us - before.raw_us - passed_us
    if abs(moved_us) <= APART_US + abs(passed_us) // DRIFT_OF:
        return replace(now, trusted_us=seen.raw_us), ClockVerdict.IN_ORDER
    slept = moved_us > 0 and abs(seen.host_us - before.host_us - passed_us - moved_us) <= APART_US
    if vouched or (elsewhere and slept):
        return replace(now, trusted_us=seen.raw_us), ClockVerdict.EXPLAINED
    on_us = before.trusted_us + seen.mono_to_us - before.mono_us
    moved = Moved.DATABASE if elsewhere else Moved.MACHINE
    jumped = replace(now, trusted_us=on_us, mono_us=seen.mono_to_us, since_us=on_us, moved=moved)
    return jumped, ClockVerdict.JUMPED


def arrive(kept: ClockState | None, seen: ClockReading, boot: str, newest_us: int) -> tuple[ClockState, ClockVerdict]:
    """Trusted time where no monotonic clock goes back to what was kept: at the first look after a machine's start, or
    beside another machine. `newest_us` is the newest time that anything stored was stored at, 0 for nothing.

    Time never lies before what was stored. A clock that went ahead while the system was down can't be told from time
    that passed.
    """
    kept = kept or ClockState(ROW)
    here = replace(
        kept, raw_us=seen.raw_us, host_us=seen.host_us, mono_us=seen.mono_to_us, trusted_us=seen.raw_us, boot=boot
    )
    newest_us = max(newest_us, kept.trusted_us)
    if kept.since_us:
        on_us = max(newest_us, kept.trusted_us + max(0, seen.raw_us - kept.raw_us))
        if abs(seen.raw_us - on_us) <= APART_US:
            return replace(here, since_us=0, moved=""), ClockVerdict.BACK
        return replace(here, trusted_us=on_us), ClockVerdict.STILL_OFF
    if seen.raw_us < newest_us - APART_US:
        return replace(here, trusted_us=newest_us, since_us=newest_us, moved=Moved.BEHIND), ClockVerdict.JUMPED
    return here, ClockVerdict.IN_ORDER


class GuardedClock:
    """Trusted time of one process. Safe for many threads; a `Clock` that asks no database.

    `boot` names the machine's run since it was started: monotonic times of one boot may be compared, also by processes
    that come after each other. `elsewhere` as for `step`.
    """

    def __init__(self, clock: Clock, boot: str = "", *, elsewhere: bool = False) -> None:
        self._clock = clock
        self._boot = boot
        self._elsewhere = elsewhere
        self._state: ClockState | None = None
        self._lock = threading.Lock()

    def now_us(self) -> int:
        """Trusted time as of the last look and the monotonic clock; before the first look the machine's own time."""
        state = self._state
        return self._clock.now_us() if state is None else state.trusted_us + self._clock.mono_us() - state.mono_us

    def mono_us(self) -> int:
        return self._clock.mono_us()

    def host_us(self) -> int:
        """This machine's own wall clock, whatever is trusted."""
        return self._clock.now_us()

    @property
    def jump_us(self) -> int:
        """How far the clock is ahead of trusted time (negative: behind); 0 while it is in order."""
        return 0 if self._state is None else self._state.jump_us

    def look(self, seen: ClockReading, kept: ClockState | None, newest_us: Callable[[], int]) -> Moment:
        """Take a reading in, together with the row that all processes share as the same transaction shows it.
        `newest_us` is asked at the first look alone."""
        with self._lock:
            mine = self._state
            known = self._known(kept)
            if known is not None and known.boot == self._boot:
                vouched = self._vouched(kept, seen)
                after, verdict = step(known, seen, elsewhere=self._elsewhere, vouched=vouched)
            else:
                after, verdict = arrive(known, seen, self._boot, newest_us() if mine is None else 0)
            if mine is None or after.serial != mine.serial or after.mono_us >= mine.mono_us:
                # Another thread may have looked later and come here sooner.
                self._state = after
            return Moment(after, verdict)

    def _known(self, kept: ClockState | None) -> ClockState | None:
        """What to go on from: what this process saw last, or what another wrote down since."""
        mine = self._state
        if mine is None or kept is None:
            return kept or mine
        if kept.serial != mine.serial:
            return kept
        fresher = kept.boot == self._boot and kept.mono_us > mine.mono_us and not kept.since_us and not mine.since_us
        return kept if fresher else mine

    def _vouched(self, kept: ClockState | None, seen: ClockReading) -> bool:
        return (
            kept is not None
            and kept.boot != self._boot
            and not kept.since_us
            and abs(seen.raw_us - kept.raw_us) <= VOUCHED_WITHIN_US
        )


SPEAKER_SILENT_US = 900_000_000
"""A speaker that was not heard for so long is silent, whatever was last known of it."""


def lately(seen_us: int, now_us: int, within_us: int) -> bool:
    """Whether something was seen no longer ago than that. What was seen in the future was seen by a wrong clock, and
    counts for nothing."""
    return -APART_US <= now_us - seen_us <= within_us


def clock_pass(store: Store) -> Moment:
    """Look at the clocks, and write down what is news to the other processes, or that all was well a while ago."""
    with store.read() as read:
        moment, kept = read.moment(), read.get(ClockState, ROW)
    if kept is None or _news(kept, moment.state) or moment.state.raw_us - kept.raw_us >= KEEP_EVERY_US:
        with write(store) as tx:
            tx.lock(LOCK)
            moment = keep(tx)
    return moment


def keep(tx: Tx) -> Moment:
    """Write down what this look at the clocks showed, under the lock. A jump and its end are lines of the log."""
    moment, kept = tx.moment(), tx.get_locked(ClockState, ROW)
    state = moment.state
    if kept is None or not _news(kept, state):
        tx.put(state)
        if kept is None and state.since_us:
            _record(tx, state)
        return moment
    state = replace(state, serial=kept.serial + 1)
    tx.put(state)
    _record(tx, state)
    return moment


def _news(kept: ClockState, state: ClockState) -> bool:
    return bool(kept.since_us) != bool(state.since_us)


def _record(tx: Tx, state: ClockState) -> None:
    facts: dict[str, object] = {"jump_us": state.jump_us, "moved": state.moved}
    if state.since_us:
        tx.record(Record("clock.jumped", ROW, in_words(state), facts=facts))
    else:
        tx.record(Record("clock.back", ROW, "the clock is back within 5 s of the trusted time", facts=facts))


def refused_until_us(state: ClockState) -> int:
    """Until when speakers refuse whatever is signed, because its version lies ahead of a time that was put back; 0
    when they don't."""
    until_us = state.signed_until_us - VERSION_AHEAD_MS_MAX * 1_000
    return until_us if until_us > state.trusted_us else 0


def in_words(state: ClockState) -> str:
    """Which clock is off, and how far, for people."""
    clock = {
        Moved.MACHINE: "the clock of this machine has moved",
        Moved.DATABASE: "the clock of the database's machine has moved",
        Moved.BEHIND: "the clock lies before what is stored",
    }[Moved(state.moved)]
    return f"{clock}: it is {abs(state.jump_us) // 1_000_000} s {'ahead' if state.jump_us > 0 else 'behind'}"


def in_chinese(state: ClockState) -> str:
    """The same in Chinese."""
    clock = {
        Moved.MACHINE: "本机时钟跳变",
        Moved.DATABASE: "数据库所在机器的时钟跳变",
        Moved.BEHIND: "时钟早于已存数据",
    }[Moved(state.moved)]
    return f"{clock}：{'快' if state.jump_us > 0 else '慢'} {abs(state.jump_us) // 1_000_000} 秒"


def begin(store: Store) -> Moment:
    """Look at the clocks when a gateway starts: no manifest that was signed may be newer than the time."""
    with store.read() as read:
        moment, newest_us = read.moment(), _newest_signed_us(read)
    state = moment.state
    if state.since_us or newest_us <= max(state.trusted_us + APART_US, state.leftovers_until_us):
        return clock_pass(store)
    with write(store) as tx:
        tx.lock(LOCK)
        state = tx.moment().state
        serial = state.serial + 1
        behind = replace(state, trusted_us=newest_us, since_us=newest_us, moved=Moved.BEHIND, serial=serial)
        tx.put(behind)
        _record(tx, behind)
    with store.read() as read:
        return read.moment()


def _newest_signed_us(read: Read) -> int:
    return max((s.manifest_version * 1_000 for s in read.find(Stream, Page(limit=STREAMS_MAX)) if s.signed), default=0)


def confirm(store: Store, serial: int, person: str, why: str) -> int:
    """A person says that the time which the clock shows is right; how far trusted time went with that, in µs.

    What measures a duration goes on measuring it: ladders, retries and leases keep the time they had left. Raises
    ClockInOrder, and ClockMovedOn where `serial` is not the jump's that the person looked at.
    """
    clock_pass(store)
    with write(store) as tx:
        tx.lock(LOCK)
        state = tx.moment().state
        kept = tx.get_locked(ClockState, ROW)
        if not state.since_us or kept is None or not kept.since_us:
            raise ClockInOrder
        if kept.serial != serial:
            raise ClockMovedOn
        by_us = state.jump_us
        leftovers_us = max(state.leftovers_until_us, state.trusted_us) if by_us < 0 else state.leftovers_until_us
        # Versions never go back, so speakers notice a time that is put back by more than they bear.
        signed_us = max(state.signed_until_us, _newest_signed_us(tx)) if by_us < 0 else state.signed_until_us
        facts: dict[str, object] = {"jump_us": by_us, "moved": state.moved}
        tx.record(Record("clock.confirmed", ROW, why, person, facts=facts))
        confirmed = replace(
            state, trusted_us=state.raw_us, since_us=0, moved="", serial=serial + 1, leftovers_until_us=leftovers_us,
            signed_until_us=signed_us,
        )  # fmt: skip
        tx.put(confirmed)
        _shift(tx, by_us)
    return by_us


def _shift(tx: Tx, by_us: int) -> None:
    """Move what measures a duration along with the time."""
    tx.shift_effects(by_us)
    for lease in tx.find(Lease, Page(limit=ROWS_MAX)):
        tx.put(replace(lease, until_us=lease.until_us + by_us))
    for timer in tx.due_timers(2**62, ROWS_MAX):
        if timer.timer in _DURATIONS:
            _shift_timer(tx, timer, by_us)


def _shift_timer(tx: Tx, timer: TimerRow, by_us: int) -> None:
    due_us, useless_us = timer.due_us + by_us, timer.useless_after_us + by_us
    if timer.timer == Timer.RUNG:
        task = tx.get_locked(Task, timer.subject)
        if task is None or task.due_us != timer.due_us:
            return
        tx.put(replace(task, due_us=due_us))
    tx.wake_at(WakeAt(timer.timer, timer.subject, due_us, useless_us))
