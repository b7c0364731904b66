"""Leases and duties on every store: one holder at a time, and none that has lost its duty commits anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from services.dispatcher.domain.effects import Record
from services.dispatcher.engine.leases import (
    GATEWAY_LEASE_US,
    LOOK_EVERY_US,
    Duty,
    DutyLease,
    DutyLost,
    give_back,
    hold,
)
from services.dispatcher.engine.rows import Lease
from services.dispatcher.engine.writing import WritableStore, write

WITHIN_S = 20.0


class Steps:
    """A monotonic clock that the test moves; leases run by the store's own time."""

    def __init__(self) -> None:
        self.at_us = 0

    def now_us(self) -> int:
        raise AssertionError("a lease goes by the store's time")

    def mono_us(self) -> int:
        return self.at_us


class City:
    """Two gateways that share a store."""

    def __init__(self, store: WritableStore) -> None:
        self.store, self.clock = store, Steps()
        self.one, self.two = (DutyLease(store, Duty.RECEIPTS, name, self.clock) for name in ("one", "two"))

    def look(self, lease: DutyLease, *, able: bool = True) -> bool:
        """It is time for this process to look again."""
        self.clock.at_us += GATEWAY_LEASE_US
        return lease.hold(able=able)

    def row(self) -> Lease:
        with self.store.read() as read:
            found = read.get(Lease, Duty.RECEIPTS)
        assert found is not None
        return found

    def run_out(self) -> None:
        """The lease ends as if its holder had not renewed it."""
        with self.store.write() as tx:
            tx.put(replace(self.row(), until_us=tx.now_us()))

    def commit(self, lease: DutyLease, what: str) -> None:
        with lease.fenced(), write(self.store) as tx:
            tx.record(Record("test.done", what, "by whoever has the duty"))

    def done(self) -> list[str]:
        with self.store.read() as read:
            return [row.subject for row in read.log_of(None) if row.kind == "test.done"]


@pytest.fixture
def city(store: WritableStore) -> City:
    return City(store)


def test_a_name_is_held_by_one_until_it_no_longer_renews(store: WritableStore) -> None:
    first = hold(store, "gw-0", "one", GATEWAY_LEASE_US)
    assert (first.holder, first.fence) == ("one", 1)
    assert hold(store, "gw-0", "two", GATEWAY_LEASE_US).holder == "one"
    again = hold(store, "gw-0", "one", GATEWAY_LEASE_US)
    assert again.until_us >= first.until_us
    assert again.fence == 1
    with store.write() as tx:
        tx.put(replace(again, until_us=tx.now_us()))
    taken = hold(store, "gw-0", "two", GATEWAY_LEASE_US)
    assert (taken.holder, taken.fence) == ("two", 2)
    assert hold(store, "gw-0", "one", GATEWAY_LEASE_US).holder == "two"
    assert hold(store, "gw-1", "one", GATEWAY_LEASE_US).holder == "one"


def test_a_name_that_is_given_back_is_free_at_once(store: WritableStore) -> None:
    hold(store, "gw-0", "one", GATEWAY_LEASE_US)
    assert give_back(store, "gw-0", "two").holder == "one"
    assert hold(store, "gw-0", "two", GATEWAY_LEASE_US).holder == "one"
    give_back(store, "gw-0", "one")
    assert hold(store, "gw-0", "two", GATEWAY_LEASE_US).holder == "two"


def test_one_has_the_duty_and_the_other_knows_whom_it_waits_for(city: City) -> None:
    assert city.look(city.one)
    assert not city.look(city.two)
    assert (city.two.held, city.two.holder) == (False, "one")
    city.commit(city.one, "a")
    assert city.done() == ["a"]


def test_a_survivor_takes_the_duty_and_learns_until_when_it_was_done(city: City) -> None:
    city.look(city.one)
    assert city.one.before_us == 0
    city.run_out()
    until_us = city.row().until_us
    assert city.look(city.two)
    assert city.two.before_us == until_us
    assert city.row().fence == 2


def test_a_gateway_that_was_frozen_commits_nothing_more(city: City) -> None:
    city.look(city.one)
    city.run_out()
    city.look(city.two)
    assert city.one.held
    with pytest.raises(DutyLost):
        city.commit(city.one, "late")
    city.commit(city.two, "b")
    assert city.done() == ["b"]
    assert not city.one.held
    assert not city.look(city.one)


def test_a_holder_whose_duty_was_done_by_another_one_meanwhile_needs_a_new_number(city: City) -> None:
    city.look(city.one)
    city.run_out()
    city.look(city.two)
    city.two.let_go()
    with pytest.raises(DutyLost):
        city.commit(city.one, "late")
    assert city.look(city.one)
    assert city.row().fence == 3
    city.commit(city.one, "c")
    assert city.done() == ["c"]


def test_a_late_holder_whom_nobody_has_replaced_goes_on(city: City) -> None:
    city.look(city.one)
    city.run_out()
    city.commit(city.one, "a")
    assert not city.look(city.two)
    assert city.done() == ["a"]


def test_a_commit_renews_the_lease(city: City) -> None:
    city.look(city.one)
    with city.store.write() as tx:
        tx.put(replace(city.row(), until_us=tx.now_us() + GATEWAY_LEASE_US // 2))
    before = city.row()
    city.commit(city.one, "a")
    assert city.row().until_us > before.until_us + GATEWAY_LEASE_US // 3


def test_who_holds_a_duty_asks_no_database_between_two_renewals(city: City) -> None:
    city.look(city.one)
    with city.store.write() as tx:
        tx.put(Lease(Duty.RECEIPTS, "two", tx.now_us() + GATEWAY_LEASE_US, 2))
    city.clock.at_us += LOOK_EVERY_US
    assert city.one.hold()
    city.clock.at_us += GATEWAY_LEASE_US // 3
    assert not city.one.hold()


def test_who_can_not_do_a_duty_does_it_until_somebody_else_can(city: City) -> None:
    assert not city.look(city.one, able=False)
    assert city.look(city.one)
    assert city.look(city.one, able=False)
    city.commit(city.one, "a")
    assert not city.look(city.two, able=False)
    assert city.look(city.two)
    with pytest.raises(DutyLost):
        city.commit(city.one, "late")
    assert city.done() == ["a"]


def test_a_refused_commit_leaves_other_commits_of_the_process_alone(city: City) -> None:
    city.look(city.one)
    city.run_out()
    city.look(city.two)
    with pytest.raises(DutyLost):
        city.commit(city.one, "late")
    with write(city.store) as tx:
        tx.record(Record("test.done", "own", "no duty"))
    assert city.done() == ["own"]


def test_nobody_takes_a_duty_under_a_commit(city: City) -> None:
    city.look(city.one)
    city.run_out()
    looks: list[bool] = []
    other = threading.Thread(target=lambda: looks.append(city.look(city.two)))

    def start_other() -> Callable[[], None]:
        other.start()
        # Long enough for the other one to reach the row, or the turn, that this transaction holds.
        other.join(0.3)
        return lambda: other.join(WITHIN_S)

    with city.one.fenced(), write(city.store) as tx:
        wait = start_other()
        assert looks == []
        tx.record(Record("test.done", "in time", "the commit came first"))
    wait()
    assert city.done() == ["in time"]
    # Its commit renewed the lease, which the other one sees as soon as it may look.
    assert looks == [False]
