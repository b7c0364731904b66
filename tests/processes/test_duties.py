"""Two gateways and one duty: who steps, who waits for whom, and what each is told."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
import structlog

from services.dispatcher.domain.effects import Record
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, Duty
from services.dispatcher.engine.ports import StoreUnavailable
from services.dispatcher.engine.writing import write
from services.dispatcher.processes.duties import Duties
from tests import builders
from tests.builders import SECOND_US, Town


class Gateway:
    """A process with its duties; `told` is all that it was told, in order."""

    def __init__(self, town: Town, name: str) -> None:
        self._town, self._name = town, name
        self.told: list[str] = []
        self.able = True
        self.duties = Duties(
            town.store, name, town.clock, lambda duty, held: self.told.append(f"{duty} {held}"), town.clock.advance
        )

    def step(self, do: Callable[[], object] | None = None) -> bool:
        return self.duties.step(
            Duty.SENSORS,
            do or self.commit,
            able=lambda: self.able,
            taken=lambda before_us: self.told.append(f"taken {before_us}"),
            lost=lambda: self.told.append("lost"),
            away=lambda: self.told.append("away"),
        )

    def commit(self) -> bool:
        with write(self._town.store) as tx:
            tx.record(Record("test.done", self._name, "by whoever has the duty"))
        return True


@pytest.fixture
def town() -> Town:
    return builders.town()


def done(town: Town) -> list[str]:
    with town.store.read() as read:
        return [row.subject for row in read.log_of(None) if row.kind == "test.done"]


def run_out(town: Town) -> None:
    town.clock.advance(GATEWAY_LEASE_US / SECOND_US)


def test_one_steps_and_the_other_waits_and_says_for_whom_once(town: Town) -> None:
    one, two = Gateway(town, "one"), Gateway(town, "two")
    assert one.step()
    with structlog.testing.capture_logs() as said:
        assert [two.step() for _ in range(3)] == [False] * 3
    assert [(line["duty"], line["held_by"]) for line in said] == [("duty/sensors", "one")]
    assert (one.told, two.told, done(town)) == (["duty/sensors True", "taken 0"], [], ["one"])


def test_a_survivor_is_told_until_when_it_was_done_before(town: Town) -> None:
    one, two = Gateway(town, "one"), Gateway(town, "two")
    one.step()
    until_us = town.clock.now_us() + GATEWAY_LEASE_US
    run_out(town)
    assert two.step()
    assert two.told == ["duty/sensors True", f"taken {until_us}"]


def test_one_that_stood_still_in_the_middle_of_a_step_commits_nothing_and_lets_go(town: Town) -> None:
    one, two = Gateway(town, "one"), Gateway(town, "two")
    one.step()

    def stand_still() -> bool:
        run_out(town)
        # Another process: what this thread commits is the first one's.
        other = threading.Thread(target=two.step)
        other.start()
        other.join()
        return one.commit()

    assert not one.step(stand_still)
    assert (done(town), one.told[2:]) == (["one", "two"], ["duty/sensors False", "lost"])
    assert not one.duties.holds(Duty.SENSORS)


def test_one_that_can_not_do_it_gives_way_to_one_that_can(town: Town) -> None:
    one, two = Gateway(town, "one"), Gateway(town, "two")
    one.step()
    one.able = False
    assert one.step()
    assert two.step()
    run_out(town)
    two.step()
    assert not one.step()
    assert one.told[2:] == ["duty/sensors False", "lost"]


def test_a_database_that_is_away_takes_no_duty_away(town: Town) -> None:
    one = Gateway(town, "one")
    one.step()

    def away() -> object:
        raise StoreUnavailable("away")

    with pytest.raises(StoreUnavailable):
        one.step(away)
    assert one.told[2:] == ["away"]
    assert one.duties.holds(Duty.SENSORS)


def test_whoever_ends_in_order_leaves_the_duty_to_others_at_once(town: Town) -> None:
    one, two = Gateway(town, "one"), Gateway(town, "two")
    one.step()
    one.duties.finish(Duty.SENSORS, one.commit)
    one.duties.let_go()
    assert two.step()
    one.duties.finish(Duty.SENSORS, one.commit)
    assert done(town) == ["one", "one", "two"]
