from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.engine.ports import Conflict, EffectRow
from services.dispatcher.engine.relay import BACKOFF_MAX_US, LEASE_US, TRIES_MAX, Carrier, CarryFailed, NotYet, Relay
from tests import builders
from tests.builders import SECOND_US, Town

STREAM = Save(Carry.PUBLISH_STREAM, "stream")
TASK = Save(Carry.OFFICE_TASK, "task")


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Carried:
    """A carrier that does as it is told, and says how often it was called."""

    answers: list[BaseException | None] = field(default_factory=list)
    effects: list[EffectRow] = field(default_factory=list)
    then: Callable[[], None] = lambda: None

    def __call__(self, effect: EffectRow) -> None:
        self.effects.append(effect)
        self.then()
        answer = self.answers.pop(0) if self.answers else None
        if answer is not None:
            raise answer


@pytest.fixture
def town() -> Town:
    return builders.town()


def relay(town: Town, carrier: Carried, owner: str = "one") -> Relay:
    carriers: dict[str, Carrier] = {Carry.PUBLISH_STREAM: carrier, Carry.OFFICE_TASK: carrier}
    return Relay(town.store, town.engine, carriers, owner)


def save(town: Town, *effects: Save) -> None:
    with town.store.write() as tx:
        for effect in effects:
            tx.save(effect)


def ours(town: Town) -> list[EffectRow]:
    with town.store.read() as read:
        return [row for row in read.open_effects() if row.subject in ("stream", "task")]


def test_an_effect_that_is_carried_is_done(town: Town) -> None:
    carried = Carried()
    save(town, STREAM)
    assert relay(town, carried).run() == 1
    assert ([e.lane for e in carried.effects], ours(town)) == (["publish_stream:stream"], [])


def test_wishes_on_one_lane_collapse_to_one(town: Town) -> None:
    carried = Carried()
    save(town, STREAM, STREAM, TASK, STREAM)
    relay(town, carried).run()
    assert sorted(e.lane for e in carried.effects) == ["office_task:task", "publish_stream:stream"]
    assert ours(town) == []


def test_what_is_wanted_again_meanwhile_is_carried_again(town: Town) -> None:
    carried = Carried(then=lambda: save(town, STREAM))
    save(town, STREAM)
    relay(town, carried).run()
    carried.then = lambda: None
    assert relay(town, carried).run() == 1
    assert (len(carried.effects), ours(town)) == (2, [])


def test_a_relay_killed_between_claim_and_done_leaves_it_to_another(town: Town) -> None:
    killed = Carried(answers=[Killed()])
    save(town, STREAM)
    with pytest.raises(Killed):
        relay(town, killed).run()
    survivor = Carried()
    assert relay(town, survivor, "two").run() == 0
    town.clock.advance(LEASE_US / SECOND_US)
    assert relay(town, survivor, "two").run() == 1
    assert ours(town) == []


def test_one_who_lost_the_lease_closes_nothing(town: Town) -> None:
    slow = Carried()
    save(town, STREAM)

    def meanwhile() -> None:
        town.clock.advance(LEASE_US / SECOND_US)
        with town.store.write() as tx:
            assert len(tx.claim([Carry.PUBLISH_STREAM], "two", LEASE_US, 1)) == 1

    slow.then = meanwhile
    relay(town, slow).run()
    assert [row.leased_by for row in ours(town)] == ["two"]


def test_a_failure_is_tried_again_later_and_later(town: Town) -> None:
    failing = Carried(answers=[CarryFailed("away") for _ in range(20)])
    save(town, STREAM)
    waits = []
    for _ in range(20):
        assert relay(town, failing).run() == 1
        row = ours(town)[0]
        waits.append(row.not_before_us - town.clock.now_us())
        town.clock.advance(waits[-1] / SECOND_US)
    assert waits == sorted(waits) and waits[:3] == [100_000, 200_000, 400_000]
    assert max(waits) == BACKOFF_MAX_US
    assert (row.tries, row.reason) == (20, "away")


def test_a_lost_race_is_no_failure(town: Town) -> None:
    carried = Carried(answers=[Conflict("raced")])
    save(town, STREAM)
    relay(town, carried).run()
    town.clock.advance(1)
    relay(town, carried).run()
    assert (len(carried.effects), ours(town)) == (2, [])


def test_what_was_handed_on_is_looked_at_again_and_never_given_up(town: Town) -> None:
    handed = Carried(answers=[NotYet(SECOND_US) for _ in range(TRIES_MAX + 5)])
    save(town, TASK)
    for _ in range(TRIES_MAX + 5):
        assert relay(town, handed).run() == 1
        town.clock.advance(1)
    assert town.kinds("office_task:task") == []
    assert len(ours(town)) == 1


def test_what_makes_no_sense_to_try_again_is_a_recorded_failure(town: Town) -> None:
    save(town, TASK)
    relay(town, Carried(answers=[CarryFailed("no such office", again=False)])).run()
    assert town.whys("office_task:task", "effect.gave_up") == ["no such office"]
    assert ours(town) == []


def test_after_many_tries_an_effect_is_a_recorded_failure(town: Town) -> None:
    failing = Carried(answers=[CarryFailed("away") for _ in range(TRIES_MAX)])
    save(town, TASK)
    for _ in range(TRIES_MAX):
        relay(town, failing).run()
        town.clock.advance(BACKOFF_MAX_US / SECOND_US)
    assert (town.whys("office_task:task", "effect.gave_up"), ours(town)) == (["away"], [])


def test_what_is_on_air_is_never_given_up_for_good(town: Town) -> None:
    failing = Carried(answers=[CarryFailed("the broker is not connected") for _ in range(TRIES_MAX)])
    save(town, STREAM)
    for _ in range(TRIES_MAX):
        relay(town, failing).run()
        town.clock.advance(BACKOFF_MAX_US / SECOND_US)
    assert len(town.whys("publish_stream:stream", "effect.gave_up")) == 1
    assert [row.tries for row in ours(town)] == [0]
    relay(town, failing).run()
    assert ours(town) == []


def test_an_effect_whose_time_ran_out_is_not_carried_and_raises_an_event(town: Town) -> None:
    carried = Carried()
    save(town, Save(Carry.OFFICE_TASK, "task", town.clock.now_us() + SECOND_US))
    town.clock.advance(2)
    relay(town, carried).run()
    assert (carried.effects, ours(town)) == ([], [])
    assert town.whys("office_task:task", "effect.gave_up") == ["its time ran out"]


def test_a_crash_while_giving_up_records_it_again_rather_than_not_at_all(town: Town) -> None:
    class Dies(Relay):
        """Killed after the event is committed, before the effect is closed."""

        def _give_up(self, effect: EffectRow, reason: str) -> None:
            store, self._store = self._store, None  # type: ignore[assignment]
            try:
                super()._give_up(effect, reason)
            except AttributeError:
                raise Killed from None
            finally:
                self._store = store

    save(town, TASK)
    with pytest.raises(Killed):
        Dies(town.store, town.engine, {Carry.OFFICE_TASK: Carried([CarryFailed("x", again=False)])}, "one").run()
    assert len(ours(town)) == 1
    town.clock.advance(LEASE_US / SECOND_US)
    relay(town, Carried([CarryFailed("x", again=False)])).run()
    assert (len(town.kinds("office_task:task")), ours(town)) == (2, [])


def test_a_relay_leaves_alone_what_it_has_no_carrier_for(town: Town) -> None:
    save(town, Save(Carry.CANARY, "worker"))
    assert (relay(town, Carried()).waiting(), relay(town, Carried()).run()) == (False, 0)
    assert "canary:worker" in town.lanes()
