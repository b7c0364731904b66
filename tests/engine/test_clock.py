"""Trusted time: what one look at the clocks decides, and what several processes make of it together."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.effects import Carry, Save, Timer, WakeAt
from services.dispatcher.engine import clock, leases
from services.dispatcher.engine.clock import (
    APART_US,
    ROW,
    ClockInOrder,
    ClockMovedOn,
    ClockReading,
    ClockVerdict,
    GuardedClock,
    Moved,
    arrive,
    confirm,
    step,
)
from services.dispatcher.engine.rows import ClockState, Lease, Stream
from simulators.database import Database, Process
from tests.builders import NOON_US, SECOND_US

HOUR_US = 3_600 * SECOND_US
BEFORE = ClockState(ROW, NOON_US, NOON_US, NOON_US, 0, "boot")


def look(passed_s: float, database_s: float, host_s: float | None = None, long_s: float = 0) -> ClockReading:
    """A look `passed_s` after `BEFORE` by the monotonic clock, which took `long_s` more; the others went on so far."""
    raw_us = NOON_US + round(database_s * SECOND_US)
    host_us = raw_us if host_s is None else NOON_US + round(host_s * SECOND_US)
    from_us = round(passed_s * SECOND_US)
    return ClockReading(raw_us, host_us, from_us, from_us + round(long_s * SECOND_US))


def after(seen: ClockReading, before: ClockState = BEFORE, **where: bool) -> tuple[int, ClockVerdict]:
    """Trusted time behind noon in s, and the verdict."""
    state, verdict = step(before, seen, **{"elsewhere": False, "vouched": False, **where})
    return (state.trusted_us - NOON_US) // SECOND_US, verdict


@pytest.mark.parametrize("ahead_s", [-5, 0, 5])
def test_a_clock_within_five_seconds_of_the_monotonic_one_is_followed(ahead_s: int) -> None:
    assert after(look(10, 10 + ahead_s)) == (10 + ahead_s, ClockVerdict.IN_ORDER)


@pytest.mark.parametrize("ahead_s", [-7_200, -6, 6, 7_200])
def test_a_clock_that_jumps_is_not_followed(ahead_s: int) -> None:
    assert after(look(10, 10 + ahead_s)) == (10, ClockVerdict.JUMPED)


def test_time_goes_on_by_the_monotonic_clock_until_the_clock_is_back() -> None:
    off, _ = step(BEFORE, look(10, 7_210), elsewhere=False, vouched=False)
    assert (off.since_us, off.moved, off.jump_us) == (NOON_US + 10 * SECOND_US, Moved.MACHINE, 7_200 * SECOND_US)
    assert after(look(70, 7_500), off) == (70, ClockVerdict.STILL_OFF)
    assert after(look(70, 76), off) == (70, ClockVerdict.STILL_OFF)
    assert after(look(70, 74), off) == (74, ClockVerdict.BACK)


def test_a_process_that_stood_still_in_the_midst_of_a_look_saw_no_jump() -> None:
    assert after(look(10, 10, long_s=20)) == (10, ClockVerdict.IN_ORDER)
    assert after(look(10, 30, long_s=20)) == (30, ClockVerdict.IN_ORDER)
    assert after(look(10, 40, long_s=20))[1] is ClockVerdict.JUMPED


def test_only_another_machines_clock_explains_that_this_one_slept() -> None:
    slept = look(1, 3_601, host_s=3_601)
    assert after(slept)[1] is ClockVerdict.JUMPED
    assert after(slept, elsewhere=True) == (3_601, ClockVerdict.EXPLAINED)


def test_a_database_that_moves_alone_or_back_is_not_followed() -> None:
    alone, _ = step(BEFORE, look(1, 3_601, host_s=1), elsewhere=True, vouched=False)
    assert alone.moved == Moved.DATABASE
    assert after(look(1, -3_599, host_s=-3_599), elsewhere=True)[1] is ClockVerdict.JUMPED


def test_a_host_that_moves_alone_moves_nothing() -> None:
    assert after(look(10, 10, host_s=7_210), elsewhere=True) == (10, ClockVerdict.IN_ORDER)


def test_a_machine_that_slept_believes_another_that_was_awake() -> None:
    assert after(look(1, 3_601, host_s=1), elsewhere=True, vouched=True) == (3_601, ClockVerdict.EXPLAINED)


@given(st.lists(st.tuples(st.floats(0, 90), st.floats(-0.000_5, 0.000_5)), max_size=200))
def test_a_clock_that_is_slewed_is_followed_for_ever(passes: list[tuple[float, float]]) -> None:
    state, mono_s, raw_s = BEFORE, 0.0, 0.0
    for passed_s, slewed in passes:
        mono_s, raw_s = mono_s + passed_s, raw_s + passed_s * (1 + slewed)
        seen = look(mono_s, raw_s)
        state, verdict = step(state, seen, elsewhere=False, vouched=False)
        assert (verdict, state.trusted_us) == (ClockVerdict.IN_ORDER, seen.raw_us)


@given(st.lists(st.tuples(st.integers(0, 90), st.integers(-20, 20)), max_size=100))
def test_however_a_clock_jumps_about_trusted_time_is_the_time_that_passed(looks: list[tuple[int, int]]) -> None:
    state, passed_s, moved = BEFORE, 0, 0
    for waited_s, quarters in looks:
        passed_s, moved = passed_s + waited_s, quarters * 900
        state, verdict = step(state, look(passed_s, passed_s + moved), elsewhere=False, vouched=False)
        assert state.trusted_us == NOON_US + passed_s * SECOND_US
        assert bool(state.since_us) == bool(moved) == (verdict in (ClockVerdict.JUMPED, ClockVerdict.STILL_OFF))


@pytest.mark.parametrize(("newest_s", "trusted_s"), [(0, 0), (5, 0), (6, 6), (7_200, 7_200)])
def test_a_start_before_the_newest_that_is_stored_is_a_jump(newest_s: int, trusted_s: int) -> None:
    state, verdict = arrive(None, look(0, 0), "boot", NOON_US + newest_s * SECOND_US)
    assert state.trusted_us == NOON_US + trusted_s * SECOND_US
    assert (state.moved, verdict) == ((Moved.BEHIND, ClockVerdict.JUMPED) if trusted_s else ("", ClockVerdict.IN_ORDER))


def test_a_start_of_the_machine_in_the_midst_of_a_jump_trusts_the_clock_no_more_than_before() -> None:
    kept, _ = step(BEFORE, look(10, 7_210), elsewhere=False, vouched=False)
    state, verdict = arrive(kept, look(0, 7_270), "later boot", 0)
    assert (state.trusted_us, verdict) == (NOON_US + 70 * SECOND_US, ClockVerdict.STILL_OFF)
    assert arrive(kept, look(0, 12), "later boot", 0)[1] is ClockVerdict.BACK


# Several processes on one machine


class Machine:
    """The clocks of one machine: true time passes, and the wall clock is off by what a test says."""

    def __init__(self) -> None:
        self.passed_us = 0
        self.off_us = 0

    def now_us(self) -> int:
        return NOON_US + self.passed_us + self.off_us

    def mono_us(self) -> int:
        return self.passed_us

    @property
    def true_us(self) -> int:
        return NOON_US + self.passed_us

    def wait(self, seconds: float) -> None:
        self.passed_us += round(seconds * SECOND_US)


class City:
    """A database and its processes."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.database = Database(self.machine)
        self.gateway, self.web = self.process(), self.process()
        clock.begin(self.gateway)

    def process(self) -> Process:
        return Process(self.database, "a process", GuardedClock(self.machine), lambda: None)

    def now_us(self, process: Process) -> int:
        with process.read() as read:
            return read.now_us()

    def serial(self) -> int:
        row: ClockState = self.database.rows(ClockState)[ROW]
        return row.serial

    def log(self) -> list[tuple[str, str]]:
        return [(row.kind, row.person) for row in self.database.rows("log").values()]

    def jump(self, seconds: float) -> None:
        self.machine.off_us += round(seconds * SECOND_US)


@pytest.fixture
def town() -> City:
    return City()


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_all_processes_go_on_by_trusted_time_and_one_line_says_so(town: City, by_s: int) -> None:
    town.machine.wait(10)
    assert town.now_us(town.web) == town.machine.true_us
    town.jump(by_s)
    town.machine.wait(1)
    for process in (town.web, town.gateway, town.process()):
        assert town.now_us(process) == town.machine.true_us
        clock.clock_pass(process)
    assert town.web.clock.now_us() == town.machine.true_us
    assert town.web.clock.jump_us == by_s * SECOND_US
    assert town.log() == [("clock.jumped", "")]


def test_a_process_that_starts_in_the_midst_of_a_jump_does_not_trust_the_clock(town: City) -> None:
    town.jump(7_200)
    clock.clock_pass(town.gateway)
    town.machine.wait(3_600)
    again = town.process()
    clock.begin(again)
    assert town.now_us(again) == town.machine.true_us


def test_a_jump_while_no_process_ran_is_noticed_by_the_next_of_the_same_boot(town: City) -> None:
    town.machine.wait(600)
    town.jump(7_200)
    again = town.process()
    clock.begin(again)
    assert town.now_us(again) == town.machine.true_us
    assert town.log() == [("clock.jumped", "")]


def test_a_clock_that_comes_back_heals_by_itself(town: City) -> None:
    town.jump(7_200)
    clock.clock_pass(town.gateway)
    town.machine.wait(60)
    town.jump(-7_200)
    assert town.now_us(town.web) == town.machine.true_us
    clock.clock_pass(town.gateway)
    assert (town.gateway.clock.jump_us, town.web.clock.jump_us) == (0, 0)
    assert town.log() == [("clock.jumped", ""), ("clock.back", "")]


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_a_confirmed_time_is_the_time_of_all_and_who_confirmed_it_is_on_record(town: City, by_s: int) -> None:
    town.jump(by_s)
    clock.clock_pass(town.gateway)
    assert confirm(town.web, town.serial(), "admin", "by the radio") == by_s * SECOND_US
    town.machine.wait(1)
    for process in (town.gateway, town.web, town.process()):
        clock.clock_pass(process)
        assert town.now_us(process) == town.machine.now_us()
        assert process.clock.jump_us == 0
    assert town.log() == [("clock.jumped", ""), ("clock.confirmed", "admin")]
    # What was stored by the time before the last is no reason to start by another.
    clock.begin(town.process())
    assert town.log()[-1] == ("clock.confirmed", "admin")


def test_only_the_jump_that_was_looked_at_is_confirmed(town: City) -> None:
    with pytest.raises(ClockInOrder):
        confirm(town.web, town.serial(), "admin", "by the radio")
    town.jump(7_200)
    clock.clock_pass(town.gateway)
    seen = town.serial()
    town.jump(-7_200)
    clock.clock_pass(town.gateway)
    town.jump(-3_600)
    clock.clock_pass(town.gateway)
    with pytest.raises(ClockMovedOn):
        confirm(town.web, seen, "admin", "by the radio")
    assert town.now_us(town.web) == town.machine.true_us


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_what_measures_a_duration_keeps_the_time_it_had_left(town: City, by_s: int) -> None:
    leases.hold(town.gateway, "gw-0", "gateway", 3 * SECOND_US)
    with town.gateway.write() as tx:
        now_us = tx.now_us()
        tx.save(Save(Carry.CANARY, "worker"))
        tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
        (held,) = tx.claim([Carry.CANARY], "gateway", 5 * SECOND_US, 1)
        assert held.expires_us is not None
        left_us = held.expires_us - now_us
        tx.wake_at(WakeAt(Timer.PROVE, "b-1", now_us + 30 * SECOND_US, now_us + 90 * SECOND_US))
        tx.wake_at(WakeAt(Timer.EXPIRES, "b-1", now_us + 900 * SECOND_US, now_us + 990 * SECOND_US))
    town.jump(by_s)
    clock.clock_pass(town.gateway)
    confirm(town.web, town.serial(), "admin", "by the radio")
    with town.web.read() as read:
        now_us = read.now_us()
        lease = read.get(Lease, "gw-0")
        assert lease is not None and lease.until_us == now_us + 3 * SECOND_US
        effects = {e.carry: e for e in read.open_effects()}
        timers = {t.timer: t.due_us for t in read.due_timers(2**62, 10)}
    moved = effects[Carry.CANARY]
    assert (moved.leased_until_us, moved.expires_us) == (now_us + 5 * SECOND_US, now_us + left_us)
    free = effects[Carry.PUBLISH_STREAM]
    assert (free.not_before_us, free.wanted_us, free.leased_until_us, free.expires_us) == (now_us, now_us, 0, None)
    assert timers[Timer.PROVE] == now_us + 30 * SECOND_US
    assert timers[Timer.EXPIRES] == held.wanted_us + 900 * SECOND_US


def test_a_lease_from_another_time_holds_nobody_up(town: City) -> None:
    with town.gateway.write() as tx:
        tx.put(Lease("gw-0", "a gateway of two hours hence", tx.now_us() + 2 * HOUR_US))
    assert leases.hold(town.web, "gw-0", "web", 3 * SECOND_US)


def test_a_gateway_starts_no_earlier_than_its_newest_manifest(town: City) -> None:
    newest_us = town.machine.true_us + HOUR_US
    with town.gateway.write() as tx:
        tx.put(Stream("topic", "area", "actual", "city", newest_us // 1_000, signed=b"signed"))
    gateway = town.process()
    clock.begin(gateway)
    assert town.now_us(gateway) == newest_us
    assert town.now_us(town.web) == newest_us
    assert town.log() == [("clock.jumped", "")]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 30), st.sampled_from((0, 0, 0, -7_200, -600, 600, 7_200))),
        max_size=30,
    )
)
def test_whoever_looks_and_starts_and_whatever_jumps_all_have_the_same_time(
    story: list[tuple[int, int, int]],
) -> None:
    town = City()
    processes = [town.gateway, town.web]
    last_us = 0
    for who, waited_s, by_s in story:
        town.machine.wait(waited_s)
        town.jump(by_s)
        if who == len(processes):
            processes[0] = town.process()
            clock.begin(processes[0])
            continue
        moment = clock.clock_pass(processes[who])
        assert moment.now_us == town.machine.true_us >= last_us
        assert abs(processes[who].clock.jump_us - town.machine.off_us) <= APART_US
        last_us = moment.now_us
    for process in processes:
        assert town.now_us(process) == town.machine.true_us


def test_a_rows_pair_serves_a_process_that_has_not_looked_for_long(town: City) -> None:
    """Drift that adds up while a process is idle is none to it when others have followed it."""
    for _ in range(3_600):
        town.machine.wait(1)
        town.machine.off_us += 20_000
        clock.clock_pass(town.gateway)
    assert abs(town.machine.off_us) > 10 * APART_US
    assert town.now_us(town.web) == town.machine.now_us()
    assert town.log() == []


def test_the_latest_look_counts_however_late_an_earlier_one_comes_in() -> None:
    guard = GuardedClock(Machine())
    early, late = (ClockReading(NOON_US + s, NOON_US + s, s, s) for s in (SECOND_US, 30 * SECOND_US))
    guard.look(late, None, lambda: 0)
    moment = guard.look(early, None, lambda: 0)
    assert moment.now_us == NOON_US + SECOND_US
    # The machine's monotonic clock stands still, 30 s before the last look.
    assert guard.now_us() == NOON_US
