from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.domain.retries import RETRIES
from services.dispatcher.engine.ports import Conflict, StoreUnavailable, Tx
from services.dispatcher.engine.relay import (
    CLAIM_MAX,
    GROUP_US,
    LEASE_US,
    Carrier,
    CarryFailed,
    Ended,
    Finish,
    NotYet,
    Relay,
)
from services.dispatcher.engine.rows import EffectRow
from tests import builders
from tests.builders import SECOND_US, Town

STREAM = Save(Carry.PUBLISH_STREAM, "stream")
TASK = Save(Carry.OFFICE_TASK, "task")
CANARY = Save(Carry.CANARY, "canary")
CANARY_S = (RETRIES[Carry.CANARY].expires_us or 0) / SECOND_US
HAND_ON_S = (RETRIES[Carry.RENDER_AUDIO].handed_on_us or 0) / SECOND_US


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
    carries = (Carry.PUBLISH_STREAM, Carry.OFFICE_TASK, Carry.RENDER_AUDIO, Carry.CANARY)
    carriers: dict[str, Carrier] = dict.fromkeys(carries, carrier)
    return Relay(town.store, town.engine, carriers, owner, town.clock)


def save(town: Town, *effects: Save) -> None:
    with town.store.write() as tx:
        for effect in effects:
            tx.save(effect)


def ours(town: Town, *subjects: str) -> list[EffectRow]:
    with town.store.read() as read:
        return [row for row in read.open_effects() if row.subject in (subjects or ("stream", "task", "canary"))]


def some_wording(town: Town) -> str:
    """A wording that an open draft wants, and nothing else to be done by the relay."""
    wording = town.alert(town.signal(builders.fire_signal())).wordings["zh"]
    with town.store.write() as tx:
        tx.done(*(e for e in tx.claim([*Carry], "builder", 1, 100) if e.subject != wording))
    town.clock.advance(1)
    return wording


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
    wording = some_wording(town)
    waits = []
    for _ in range(20):
        assert relay(town, failing).run() == 1
        row = ours(town, wording)[0]
        waits.append(row.not_before_us - town.clock.now_us())
        town.clock.advance(waits[-1] / SECOND_US)
    assert waits == sorted(waits) and waits[:3] == [100_000, 200_000, 400_000]
    assert max(waits) == RETRIES[Carry.RENDER_AUDIO].backoff_to_us
    assert (row.tries, row.reason) == (20, "away")


def test_a_lost_race_is_no_failure(town: Town) -> None:
    carried = Carried(answers=[Conflict("raced")])
    save(town, STREAM)
    relay(town, carried).run()
    town.clock.advance(1)
    relay(town, carried).run()
    assert (len(carried.effects), ours(town)) == (2, [])


def test_what_was_handed_on_is_looked_at_again_and_has_not_failed(town: Town) -> None:
    handed = Carried(answers=[NotYet() for _ in range(200)])
    wording = some_wording(town)
    for _ in range(200):
        assert relay(town, handed).run() == 1
        town.clock.advance(HAND_ON_S)
    assert [(row.lane, row.tries) for row in ours(town, wording)] == [(f"render_audio:{wording}", 0)]


def test_one_blip_after_a_long_backlog_gives_nothing_up(town: Town) -> None:
    handed = Carried(answers=[*(NotYet() for _ in range(60)), CarryFailed("the queue is away")])
    wording = some_wording(town)
    for _ in range(61):
        assert relay(town, handed).run() == 1
        town.clock.advance(HAND_ON_S)
    assert [(row.lane, row.tries) for row in ours(town, wording)] == [(f"render_audio:{wording}", 1)]
    relay(town, handed).run()
    assert ours(town, wording) == []


def test_what_makes_no_sense_to_try_again_is_a_recorded_failure(town: Town) -> None:
    save(town, TASK)
    relay(town, Carried(answers=[CarryFailed("no such office", again=False)])).run()
    assert town.whys("office_task:task", "effect.gave_up") == ["no such office"]
    assert ours(town) == []


def test_after_many_tries_an_effect_that_nobody_wants_is_a_recorded_failure(town: Town) -> None:
    tries = RETRIES[Carry.OFFICE_TASK].tries
    assert tries is not None
    failing = Carried(answers=[CarryFailed("away") for _ in range(tries)])
    save(town, TASK)
    for _ in range(tries):
        assert len(ours(town)) == 1
        relay(town, failing).run()
        town.clock.advance(RETRIES[Carry.OFFICE_TASK].backoff_to_us / SECOND_US)
    assert (town.whys("office_task:task", "effect.gave_up"), ours(town)) == (["away"], [])


def test_what_is_wanted_again_while_it_fails_does_not_wait(town: Town) -> None:
    failing = Carried(answers=[CarryFailed("away") for _ in range(6)])
    save(town, STREAM)
    for _ in range(5):
        relay(town, failing).run()
        town.clock.advance(5)
    failing.then = lambda: save(town, STREAM)
    relay(town, failing).run()
    row = ours(town)[0]
    assert (row.tries, row.not_before_us) == (6, row.not_before_us) and row.not_before_us <= town.clock.now_us()


def test_an_effect_remembers_when_it_was_first_wanted_until_it_is_done(town: Town) -> None:
    failing = Carried(answers=[CarryFailed("away")])
    began_us = town.clock.now_us()
    save(town, STREAM)
    town.clock.advance(1)
    save(town, STREAM)
    relay(town, failing).run()
    assert [row.wanted_us for row in ours(town)] == [began_us]
    town.clock.advance(1)
    failing.then = lambda: save(town, STREAM)
    relay(town, failing).run()
    assert [row.wanted_us for row in ours(town)] == [began_us + 2 * SECOND_US]


def test_an_effect_whose_time_ran_out_is_not_carried_and_raises_an_event(town: Town) -> None:
    carried = Carried()
    save(town, CANARY)
    town.clock.advance(CANARY_S + 1)
    relay(town, carried).run()
    assert (carried.effects, ours(town)) == ([], [])
    assert town.whys("canary:canary", "effect.gave_up") == ["its time ran out"]


def test_a_crash_while_giving_up_records_it_again_rather_than_not_at_all(town: Town) -> None:
    class Dies(Relay):
        """Killed after the event is committed, before the effect is closed."""

        def _note(self, ends: Sequence[Ended]) -> None:
            raise Killed

    save(town, TASK)
    carriers: dict[str, Carrier] = {Carry.OFFICE_TASK: Carried([CarryFailed("x", again=False)])}
    with pytest.raises(Killed):
        Dies(town.store, town.engine, carriers, "one", town.clock).run()
    assert len(ours(town)) == 1
    town.clock.advance(LEASE_US / SECOND_US)
    relay(town, Carried([CarryFailed("x", again=False)])).run()
    assert (len(town.kinds("office_task:task")), ours(town)) == (2, [])


def test_a_relay_leaves_alone_what_it_has_no_carrier_for(town: Town) -> None:
    save(town, Save(Carry.POLL_FEED, "weather"))
    assert (relay(town, Carried()).waiting(), relay(town, Carried()).run()) == (False, 0)
    assert "poll_feed:weather" in town.lanes()


# Groups


@dataclass
class Wire:
    """Sets effects under way, and acknowledges them only when each is waited for."""

    answers: dict[str, BaseException] = field(default_factory=dict)
    under_way: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    most: int = 0
    when_begun: Callable[[str], None] = lambda subject: None
    when_awaited: Callable[[str], None] = lambda subject: None

    def __call__(self, effect: EffectRow) -> Finish:
        self.under_way.append(effect.subject)
        self.most = max(self.most, len(self.under_way) - len(self.acknowledged))
        self.when_begun(effect.subject)
        return lambda: self._finish(effect.subject)

    def _finish(self, subject: str) -> None:
        self.when_awaited(subject)
        if subject in self.answers:
            raise self.answers[subject]
        self.acknowledged.append(subject)


class Counting(MemoryStore):
    """A store that counts commits, and can lose races or be away at the next ones."""

    def __init__(self, clock: builders.StoppedClock) -> None:
        super().__init__(clock)
        self.commits = 0
        self.trouble: list[StoreUnavailable] = []

    @contextmanager
    def write(self) -> Iterator[Tx]:
        with super().write() as tx:
            yield tx
            if self.trouble:
                raise self.trouble.pop(0)
        self.commits += 1


def configs(town: Town, count: int) -> list[str]:
    """So many configs to publish, and nothing else; their subjects in order."""
    names = [f"{number:05}" for number in range(count)]
    with town.store.write() as tx:
        for effect in tx.claim([Carry.PUBLISH_CONFIG], "builder", 1, 100):
            tx.done(effect)
    save(town, *(Save(Carry.PUBLISH_CONFIG, name) for name in names))
    return names


def wired(town: Town, wire: Wire, owner: str = "one") -> Relay:
    carriers: dict[str, Carrier] = dict.fromkeys((Carry.PUBLISH_CONFIG, Carry.RENDER_AUDIO, Carry.CANARY), wire)
    return Relay(town.store, town.engine, carriers, owner, town.clock)


def waiting(town: Town) -> dict[str, tuple[int, str]]:
    """Tries and reason of every config that is still to be published."""
    with town.store.read() as read:
        return {e.subject: (e.tries, e.reason) for e in read.open_effects() if e.carry == Carry.PUBLISH_CONFIG}


def test_a_group_is_under_way_together_and_noted_in_one_transaction() -> None:
    clock = builders.StoppedClock()
    store = Counting(clock)
    town, wire = builders.town(store, clock), Wire()
    names = configs(town, 40)
    before = store.commits
    assert wired(town, wire).run() == 40
    assert (wire.under_way, wire.acknowledged, wire.most) == (names, names, 40)
    # One to claim them, one to note how they ended.
    assert (store.commits - before, waiting(town)) == (2, {})


def test_no_more_are_under_way_than_may_be(town: Town) -> None:
    wire, names = Wire(), configs(town, 2 * CLAIM_MAX + 5)
    relay = wired(town, wire)
    assert [relay.run() for _ in range(4)] == [CLAIM_MAX, CLAIM_MAX, 5, 0]
    assert (wire.acknowledged, wire.most, waiting(town)) == (names, CLAIM_MAX, {})


def test_every_effect_of_a_group_ends_for_itself(town: Town) -> None:
    configs(town, 5)
    save(town, Save(Carry.RENDER_AUDIO, "words"))
    answers: dict[str, BaseException] = {
        "00001": CarryFailed("not acknowledged in time"),
        "00002": Conflict("raced"),
        "00003": CarryFailed("no such speaker", again=False),
        "words": NotYet(),
    }
    wire = Wire(answers)
    wired(town, wire).run()
    assert wire.acknowledged == ["00000", "00004"]
    assert waiting(town) == {"00001": (1, "not acknowledged in time"), "00002": (0, "another transaction went first")}
    assert [(row.tries, row.leased_by) for row in ours(town, "words")] == [(0, "")]
    assert town.whys("publish_config:00003", "effect.gave_up") == ["no such speaker"]
    wire.answers.clear()
    town.clock.advance(1)
    wired(town, wire).run()
    assert waiting(town) == {}


def test_one_of_a_group_whose_time_ran_out_is_given_up_and_the_others_are_carried(town: Town) -> None:
    names = configs(town, 3)
    save(town, CANARY)
    town.clock.advance(CANARY_S + 1)
    wire = Wire()
    wired(town, wire).run()
    assert (wire.acknowledged, waiting(town)) == (names, {})
    assert town.whys("canary:canary", "effect.gave_up") == ["its time ran out"]


def test_time_also_runs_out_while_the_others_of_a_group_are_set_under_way(town: Town) -> None:
    configs(town, 1)
    town.clock.advance(0.1)
    save(town, CANARY)
    town.clock.advance(CANARY_S - 0.1)
    wire = Wire(when_begun=lambda subject: town.clock.advance(0.2))
    wired(town, wire).run()
    assert wire.acknowledged == ["00000"]
    assert town.whys("canary:canary", "effect.gave_up") == ["its time ran out"]


def test_nothing_is_done_before_it_is_acknowledged(town: Town) -> None:
    names = configs(town, 3)

    def killed(subject: str) -> None:
        assert set(waiting(town)) == set(names)
        if subject == names[-1]:
            raise Killed

    with pytest.raises(Killed):
        wired(town, Wire(when_awaited=killed)).run()
    assert set(waiting(town)) == set(names)
    town.clock.advance(LEASE_US / SECOND_US)
    survivor = Wire()
    wired(town, survivor, "two").run()
    assert (survivor.acknowledged, waiting(town)) == (names, {})


def test_what_another_has_claimed_meanwhile_is_left_to_it(town: Town) -> None:
    names = configs(town, 3)

    def meanwhile(subject: str) -> None:
        if subject == names[0]:
            town.clock.advance(LEASE_US / SECOND_US)
            with town.store.write() as tx:
                assert len(tx.claim([Carry.PUBLISH_CONFIG], "two", LEASE_US, 2)) == 2

    wired(town, Wire({names[1]: CarryFailed("away")}, when_awaited=meanwhile)).run()
    with town.store.read() as read:
        left = [(e.subject, e.leased_by, e.tries) for e in read.open_effects() if e.carry == Carry.PUBLISH_CONFIG]
    assert left == [(names[0], "two", 0), (names[1], "two", 0)]


def test_what_the_lease_is_too_short_for_is_claimed_anew(town: Town) -> None:
    names, wire = configs(town, 4), Wire()
    wire.when_begun = lambda subject: town.clock.advance(LEASE_US / SECOND_US / 2)
    relay = wired(town, wire)
    assert relay.run() == 4
    assert wire.acknowledged == names[:2]
    assert relay.run() == 2
    assert (wire.acknowledged, waiting(town)) == (names, {})


def test_who_takes_long_to_begin_holds_up_no_more_than_its_group(town: Town) -> None:
    names, wire = configs(town, 3), Wire()
    wire.when_begun = lambda subject: town.clock.advance(GROUP_US / SECOND_US)
    wired(town, wire).run()
    assert (wire.acknowledged, wire.most, waiting(town)) == (names, 1, {})


def test_a_group_that_lost_a_race_when_it_is_noted_is_noted_again() -> None:
    clock = builders.StoppedClock()
    store = Counting(clock)
    town, wire = builders.town(store, clock), Wire()
    names = configs(town, 3)
    wire.when_awaited = lambda subject: store.trouble.__setitem__(slice(None), [Conflict("raced")] * 2)
    wired(town, wire).run()
    assert (wire.acknowledged, waiting(town)) == (names, {})


def test_a_group_that_cannot_be_noted_is_carried_again() -> None:
    clock = builders.StoppedClock()
    store = Counting(clock)
    town, wire = builders.town(store, clock), Wire()
    names = configs(town, 2)
    wire.when_awaited = lambda subject: store.trouble.__setitem__(slice(None), [StoreUnavailable("away")])
    with pytest.raises(StoreUnavailable):
        wired(town, wire).run()
    wire.when_awaited = lambda subject: None
    clock.advance(LEASE_US / SECOND_US)
    wired(town, wire).run()
    assert (wire.acknowledged, waiting(town)) == (names * 2, {})


def test_one_that_breaks_does_not_have_the_others_carried_again(town: Town) -> None:
    names = configs(town, 3)
    wire = Wire({names[1]: ZeroDivisionError()})
    with pytest.raises(ZeroDivisionError):
        wired(town, wire).run()
    assert sorted(waiting(town)) == names[1:]


def test_what_is_wanted_again_while_its_group_is_under_way_is_carried_again(town: Town) -> None:
    names = configs(town, 2)
    wire = Wire(when_awaited=lambda subject: save(town, Save(Carry.PUBLISH_CONFIG, names[1])))
    wired(town, wire).run()
    assert waiting(town) == {names[1]: (0, "")}
