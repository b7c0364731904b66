"""Group commit, with the engine's door stood in by one that tests can hold open."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.engine.events import Event, Outcome, SignalArrived
from services.dispatcher.engine.groups import GroupCommit, Lot, LotTaken
from services.dispatcher.engine.ports import StoreUnavailable
from tests import builders

Answered = LotTaken | NotFound | StoreUnavailable | SystemExit


class HeldEngine:
    """Commits in groups; the first group waits until it is let go. Refuses the key "bad", has no database for the key
    "away", and is broken off by the key "killed"."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.entered = threading.Event()
        self.go = threading.Event()
        self._known: set[str] = set()

    def handle(self, events: Sequence[Event]) -> Outcome:
        keys = [event.signal.key for event in events if isinstance(event, SignalArrived)]
        self.groups.append(keys)
        self.entered.set()
        self.go.wait()
        if "bad" in keys:
            raise NotFound("bad")
        if "away" in keys:
            raise StoreUnavailable("away")
        if "killed" in keys:
            raise SystemExit
        fresh = [key for key in dict.fromkeys(keys) if key not in self._known]
        self._known.update(fresh)
        return Outcome(created=fresh, repeated=len(keys) - len(fresh))


class Queue(deque[Any]):
    """A queue that says when somebody joins it."""

    def __init__(self) -> None:
        super().__init__()
        self.joined = threading.Semaphore(0)

    def append(self, lot: Any) -> None:
        super().append(lot)
        self.joined.release()


def arrived(*keys: str) -> list[SignalArrived]:
    return [SignalArrived(builders.storm_signal(key)) for key in keys]


def new(*keys: str) -> LotTaken:
    return LotTaken(frozenset(keys))


def all_at_once(engine: HeldEngine, lots: list[list[str]]) -> list[Answered]:
    """The first lot is held in its commit until the others have queued up behind it."""
    group: GroupCommit[Lot] = GroupCommit(engine.handle)
    group._waiting = queue = Queue()

    def accept(keys: list[str]) -> Answered:
        try:
            return group.accept(arrived(*keys))
        except (NotFound, StoreUnavailable, SystemExit) as no:
            return no

    with ThreadPoolExecutor(len(lots)) as pool:
        first = pool.submit(accept, lots[0])
        engine.entered.wait()
        others = []
        queue.joined.acquire()
        for lot in lots[1:]:
            others.append(pool.submit(accept, lot))
            queue.joined.acquire()
        engine.go.set()
        return [future.result() for future in (first, *others)]


def test_lots_that_wait_share_the_next_commit() -> None:
    engine = HeldEngine()
    results = all_at_once(engine, [["a"], ["b"], ["c", "d"]])
    assert engine.groups == [["a"], ["b", "c", "d"]]
    assert results == [new("a"), new("b"), new("c", "d")]


def test_of_two_equal_signals_in_one_commit_one_is_new() -> None:
    engine = HeldEngine()
    assert all_at_once(engine, [["a"], ["b"], ["b"], ["a"]]) == [new("a"), new("b"), new(), new()]


def test_a_lot_that_is_refused_takes_no_other_with_it() -> None:
    engine = HeldEngine()
    results = all_at_once(engine, [["a"], ["b"], ["bad"], ["c"]])
    assert (results[0], results[1], results[3]) == (new("a"), new("b"), new("c"))
    assert isinstance(results[2], NotFound)
    assert engine.groups == [["a"], ["b", "bad", "c"], ["b"], ["bad"], ["c"]]


def test_a_database_that_is_away_is_nobodys_fault_and_is_asked_once() -> None:
    engine = HeldEngine()
    first, *others = all_at_once(engine, [["a"], ["b"], ["away"], ["c"]])
    assert first == new("a")
    assert [type(answer) for answer in others] == [StoreUnavailable] * 3
    assert engine.groups == [["a"], ["b", "away", "c"]]


def test_nobody_is_told_that_what_was_broken_off_is_a_repetition() -> None:
    first, leader, waiting = all_at_once(HeldEngine(), [["a"], ["b"], ["killed"]])
    assert first == new("a")
    assert isinstance(leader, SystemExit)
    assert isinstance(waiting, StoreUnavailable)


def test_the_lead_is_passed_on_for_those_who_can_not_wait() -> None:
    engine, passed = HeldEngine(), list[Lot]()
    engine.go.set()
    group: GroupCommit[Lot] = GroupCommit(engine.handle, passed.append)
    many, bad, more = (
        Lot(arrived(*keys)) for keys in ([f"{n}" for n in range(400)], ["bad"], [f"{n}" for n in range(200)])
    )
    assert [group.add(lot) for lot in (many, bad, more)] == [True, False, False]
    assert (group.lead(), passed) == ([many, bad], [more])
    assert (group.lead(), passed) == ([more], [more])
    assert [lot.taken for lot in (many, bad, more)] == [new(*(f"{n}" for n in range(400))), None, new()]
    assert [type(lot.error) for lot in (many, bad, more)] == [type(None), NotFound, type(None)]


def test_a_group_never_exceeds_what_the_engine_takes() -> None:
    engine = HeldEngine()
    lots = [[f"{lot}/{n}" for n in range(200)] for lot in range(4)]
    assert all_at_once(engine, lots) == [new(*lot) for lot in lots]
    assert [len(group) for group in engine.groups] == [200, 400, 200]


def test_after_a_refusal_the_next_request_is_served() -> None:
    engine = HeldEngine()
    engine.go.set()
    group: GroupCommit[Lot] = GroupCommit(engine.handle)
    with pytest.raises(NotFound):
        group.accept(arrived("bad"))
    assert group.accept(arrived("a")) == new("a")


def test_of_two_requests_under_one_key_each_is_told_of_its_own() -> None:
    """The first words stand; the same words are a repetition, other words another report."""
    town = builders.town()
    group: GroupCommit[Lot] = GroupCommit(town.engine.handle)

    def accept(**changes: Any) -> LotTaken:
        return group.accept([SignalArrived(builders.storm_signal(**changes))])

    assert [accept(), accept(), accept(headline="other"), accept()] == [
        new("cap/weather/1"),
        new(),
        LotTaken(reused=frozenset({"cap/weather/1"})),
        new(),
    ]
