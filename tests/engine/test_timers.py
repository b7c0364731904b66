from __future__ import annotations

import pytest

from services.dispatcher.domain.broadcasts import Stopped
from services.dispatcher.domain.effects import Timer, WakeAt
from services.dispatcher.domain.incidents import Air
from services.dispatcher.domain.playbook import OnUnanswered, Rung
from services.dispatcher.engine.clock import APART_US, clock_pass, confirm
from services.dispatcher.engine.events import BroadcastAct
from services.dispatcher.engine.rows import ClockState
from services.dispatcher.engine.timers import BROKEN_AGAIN_US, DUE_MAX, RELEASE_LATE_US, TimerPass
from tests import builders
from tests.builders import (
    DUTY,
    NOON_US,
    SECOND_US,
    StoppedClock,
    Town,
    fire_playbook,
    fire_signal,
    panel,
    standing_order,
)


class TwoClocks(StoppedClock):
    """A wall clock that can jump while the monotonic one goes on."""

    jumped_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.jumped_us

    def mono_us(self) -> int:
        return super().now_us() - NOON_US


def waiting_town(clock: TwoClocks) -> tuple[Town, str]:
    """A corroborated fire whose standing order can act only when the ladder ends: before, no speaker stood there."""
    playbook = fire_playbook(standing=standing_order(on_unanswered=OnUnanswered.RELEASE), verify=(Rung(0, 60),))
    town = builders.town(clock=clock, playbooks=(playbook,))
    with town.store.write() as tx:
        tx.put(panel())
    town.rebuild(without=("mall-1",))
    incident = town.signal(fire_signal())
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    mall = town.engine.read_city().venues[builders.MALL]
    town.rebuild(builders.speaker("mall-1", mall), without=("mall-1",))
    return town, incident


@pytest.fixture
def clock() -> TwoClocks:
    return TwoClocks()


def test_a_ladder_that_ends_in_time_releases_under_the_standing_order(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(60 + RELEASE_LATE_US / SECOND_US)
    timers.run()
    assert town.incident(incident).air is Air.ON_AIR


@pytest.mark.parametrize("late_s", [61, 3_600])
def test_a_timer_more_than_a_minute_late_releases_nothing_and_says_so(clock: TwoClocks, late_s: int) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(60 + late_s)
    timers.run()
    assert town.incident(incident).air is Air.NOT_YET
    assert town.whys(incident, "incident.missed")[-1] == f"missed, decide now: the timer came {late_s} s late"


@pytest.mark.parametrize("by_s", [-7_200, -6, 6, 7_200])
def test_while_a_clock_is_off_a_ladder_ends_in_time_and_people_decide(clock: TwoClocks, by_s: int) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    before = town.whys(incident, "incident.missed")
    clock.jumped_us = by_s * SECOND_US
    timers.run()
    clock.advance(59)
    timers.run()
    assert town.whys(incident, "incident.missed") == before
    clock.advance(1)
    timers.run()
    assert town.incident(incident).air is Air.NOT_YET
    way = "ahead" if by_s > 0 else "behind"
    assert town.whys(incident, "incident.missed")[-1] == (
        f"missed, decide now: the clock of this machine has moved: it is {abs(by_s)} s {way}"
    )


def test_a_clock_that_came_back_in_time_takes_no_release_away(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(20)
    clock.jumped_us = 7_200 * SECOND_US
    timers.run()
    clock.advance(20)
    clock.jumped_us = 0
    timers.run()
    clock.advance(20)
    timers.run()
    assert town.incident(incident).air is Air.ON_AIR


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_after_a_confirmed_time_a_ladder_has_the_time_it_had_left(clock: TwoClocks, by_s: int) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(20)
    clock.jumped_us = by_s * SECOND_US
    clock_pass(town.store)
    with town.store.read() as read:
        row = read.get(ClockState, "clock")
    assert row is not None
    confirm(town.store, row.serial, "admin", "by the radio")
    timers.run()
    clock.advance(39)
    timers.run()
    assert town.incident(incident).air is Air.NOT_YET
    clock.advance(1)
    timers.run()
    assert town.incident(incident).air is Air.ON_AIR
    with town.store.read() as read:
        assert [t for t in read.due_timers(2**62, 100) if t.timer == Timer.RUNG] == []


def test_what_is_due_in_the_pass_in_which_the_time_was_put_forward_is_left_to_people(clock: TwoClocks) -> None:
    """A deadline that somebody named by the clock is over; nothing is released by it."""
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(59)
    clock.jumped_us = 30 * SECOND_US
    clock_pass(town.store)
    with town.store.read() as read:
        row = read.get(ClockState, "clock")
    assert row is not None
    confirm(town.store, row.serial, "admin", "by the radio")
    clock.advance(1)
    timers.run()
    assert town.incident(incident).air is Air.NOT_YET
    assert town.whys(incident, "incident.missed")[-1] == "missed, decide now: the time was put by 30 s"


@pytest.mark.parametrize("kind", ["stopped", "fresh alarm"])
def test_while_a_clock_is_off_what_people_and_alarms_want_goes_out(clock: TwoClocks, kind: str) -> None:
    town = builders.town(clock=clock, playbooks=(fire_playbook(standing=standing_order()),))
    with town.store.write() as tx:
        tx.put(panel())
    clock.jumped_us = 7_200 * SECOND_US
    incident = town.signal(fire_signal())
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    assert town.incident(incident).air is Air.ON_AIR
    if kind == "stopped":
        alert = town.incident(incident).alert
        town.engine.handle([BroadcastAct(alert, Stopped("duty", DUTY, "it is out"))])
        assert town.incident(incident).air is Air.STOPPED


def test_clocks_that_drift_a_little_are_no_jump(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.advance(55)
    clock.jumped_us = APART_US
    timers.run()
    assert town.incident(incident).air is Air.ON_AIR


def test_a_pass_after_a_restart_knows_no_jump_but_still_knows_lateness(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    clock.advance(60 + 61)
    TimerPass(town.engine, town.store, clock).run()
    assert town.incident(incident).air is Air.NOT_YET


def test_a_jump_counts_for_all_that_was_due_then_however_much_it_was(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    with town.store.write() as tx:
        for number in range(DUE_MAX):
            tx.wake_at(WakeAt(Timer.PROVE, f"none-{number:04}", NOON_US + 1, NOON_US + 2))
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    clock.jumped_us = 10 * SECOND_US
    clock.advance(60)
    assert timers.run() == DUE_MAX
    timers.run()
    assert town.incident(incident).air is Air.NOT_YET


def test_a_deadline_that_breaks_holds_up_no_other_and_is_on_record(clock: TwoClocks) -> None:
    town, incident = waiting_town(clock)
    with town.store.write() as tx:
        tx.wake_at(WakeAt(Timer.RUNG, "of nobody", clock.now_us(), clock.now_us() + 3_600 * SECOND_US))
    clock.advance(60)
    timers = TimerPass(town.engine, town.store, clock)
    timers.run()
    assert town.incident(incident).air is Air.ON_AIR
    assert town.kinds("of nobody") == ["timer.broke"]
    clock.advance(BROKEN_AGAIN_US / SECOND_US)
    timers.run()
    assert town.kinds("of nobody") == ["timer.broke", "timer.broke"]


def test_each_timer_is_an_event_once(clock: TwoClocks) -> None:
    town, _ = waiting_town(clock)
    clock.advance(60)
    timers = TimerPass(town.engine, town.store, clock)
    assert (timers.run() > 0, timers.run()) == (True, 0)
