"""Planted against law 8: what is decided is carried out, whatever breaks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from devices.speaker import events as e
from devices.speaker.machine import decide
from devices.speaker.state import State
from services.dispatcher.adapters.broker_copies import BrokerCopies
from services.dispatcher.domain.effects import Sleep, Timer
from services.dispatcher.domain.refusals import UnknownOnAir
from services.dispatcher.engine.air import foreign, publishing
from services.dispatcher.engine.air.streams import Signed
from services.dispatcher.engine.clock import ClockReading, ClockVerdict, GuardedClock
from services.dispatcher.engine.ports import Conflict
from services.dispatcher.engine.relay import CarryFailed, Ended, NotYet, Relay
from services.dispatcher.engine.rows import ClockState, EffectRow, Moment, Stream
from services.dispatcher.engine.timers import TimerPass
from services.dispatcher.engine.writing import write
from simulators.dispatcher import Parts
from simulators.faults import Fault
from simulators.world import World
from tests.simulation.planted.planting import found, laws_broken


def test_law_8_catches_a_speaker_that_does_not_notice_that_the_clock_was_put_forward() -> None:
    def unhurried(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Asks for the time when it is due, whatever a manifest says."""
        after, effects = decide(state, event)
        if isinstance(event, e.Message) and "/manifest/" in event.topic:
            after = replace(after, clock=state.clock)
            effects = [x for x in effects if not (isinstance(x, e.Publish) and x.topic.endswith("/hello"))]
        return after, effects

    def forward(world: World) -> None:
        for second in range(300, 1_800, 300):
            put_by(world, second, 230)
            put_by(world, second + 150, -230)

    assert laws_broken(machine=unhurried, faults=(), prepare=forward) & {4, 8}


def put_by(world: World, second: int, by_s: int) -> None:
    """The dispatcher's clock is put by so much, and an administrator confirms it a moment later."""
    world.clock.later(second * 1_000_000, lambda: world.jump(by_s * 1_000_000))
    world.clock.later((second + 2) * 1_000_000, world.confirm_time)


def test_law_8_catches_a_relay_that_ticks_off_before_it_has_published() -> None:
    class Hasty(Relay):
        """Marks an effect done and then carries it out."""

        def _begin(self, effect: EffectRow, *group: Any) -> None:
            with write(self._store) as tx:
                tx.done(effect)
            super()._begin(effect, *group)

    assert 8 in laws_broken(Parts(relay=Hasty), faults=(Fault.GATEWAY_KILLED, Fault.BROKER_DOWN))


class CountsHandOns(Relay):
    """Takes looking again at what was handed on for a failed try, and gives up whatever has failed often enough."""

    def _ended(self, effect: EffectRow, why: CarryFailed | NotYet | Conflict, late_us: int) -> Ended:
        end = super()._ended(effect, why, late_us)
        if isinstance(why, NotYet):
            return replace(end, failed=effect.tries + 1, told=False)
        return replace(end, told=end.told or end.failed > 8)

    def _after_telling(self, end: Ended, tried_on: set[str]) -> Ended:
        return replace(end, again_us=None)


def backlog_and_a_blip(world: World) -> None:
    """The workers are ten minutes behind from the start; then the queue is away for a few seconds."""
    world.workers_behind(True)
    for second in range(600, 900, 60):
        world.clock.later(second * 1_000_000, lambda: world.queue_away(True))
        world.clock.later((second + 40) * 1_000_000, lambda: world.queue_away(False))
    world.clock.later(900_000_000, lambda: world.workers_behind(False))


def test_law_8_catches_a_relay_that_counts_what_it_has_handed_on_as_failed() -> None:
    broken = found(Parts(relay=CountsHandOns), faults=(), prepare=backlog_and_a_blip)
    assert {violation.law for violation in broken} == {8}
    assert any("nobody renders its" in violation.sentence for violation in broken)
    assert found(faults=(), seeds=range(100, 103), prepare=backlog_and_a_blip) == ()


def test_law_8_catches_a_timer_pass_that_takes_timers_before_it_acts() -> None:
    class Loses(TimerPass):
        """Removes a due timer in a transaction of its own, and acts in the next."""

        def run(self) -> int:
            with write(self._store) as tx:
                due = tx.due_timers(tx.now_us(), 10)
                for timer in due:
                    if timer.timer == Timer.RUNG:
                        tx.sleep(Sleep(Timer.RUNG, timer.subject))
            return super().run()

    assert 8 in laws_broken(Parts(timers=Loses), faults=())


def test_law_8_catches_a_broadcast_that_is_not_published() -> None:
    def says_nothing(store: Any, topic: str, signer: Any, city: Any, base: str) -> Signed:
        """Takes an order on air without a word to the speakers."""
        with write(store) as tx:
            tx.delete(Stream, topic)
        return Signed(topic, 1, b"", fresh=False)

    assert 8 in laws_broken(Parts(sign=says_nothing), faults=())


def test_law_8_catches_a_signer_that_gives_up_while_the_broker_holds_what_is_unknown_here() -> None:
    def gives_up(store: Any, topic: str, signer: Any, city: Any, base: str) -> Signed:
        """Leaves a stream alone until a person has decided, also when there is something new to say."""
        with store.read() as read:
            stream = read.get(Stream, topic)
        if stream is not None and foreign.unknown_on_air(stream):
            raise UnknownOnAir(topic)
        return publishing.sign(store, topic, signer, city, base)

    faults = (Fault.RESTORE, Fault.GATEWAY_KILLED, Fault.ROUGH_PEOPLE)
    assert 8 in laws_broken(Parts(sign=gives_up), faults=faults, rough_s=5_400)


class TrustsTheClock(GuardedClock):
    """Takes whatever the clock shows for the time."""

    def look(self, seen: ClockReading, kept: ClockState | None, newest_us: Callable[[], int]) -> Moment:
        shown = ClockState("clock", seen.raw_us, seen.raw_us, seen.host_us, seen.mono_to_us)
        self._state = shown
        return Moment(shown, ClockVerdict.IN_ORDER)


def test_a_dispatcher_that_trusts_a_clock_that_jumped_is_caught_because_nothing_sounds() -> None:
    def two_hours_ahead_for_two_minutes(world: World) -> None:
        for second in range(200, 1_700, 300):
            world.clock.later(second * 1_000_000, lambda: world.jump(7_200_000_000))
            world.clock.later((second + 120) * 1_000_000, lambda: world.jump(-7_200_000_000))

    broken = found(Parts(guard=TrustsTheClock), faults=(), prepare=two_hours_ahead_for_two_minutes)
    assert broken and all("has not begun" in v.sentence for v in broken)
    assert found(faults=(), seeds=range(100, 102), prepare=two_hours_ahead_for_two_minutes) == ()


class ForgetsTheJump(GuardedClock):
    """Notices a jump while it runs, and knows nothing of one that it finds when it starts."""

    def look(self, seen: ClockReading, kept: ClockState | None, newest_us: Callable[[], int]) -> Moment:
        return super().look(seen, None, lambda: 0)


def test_law_8_catches_a_gateway_that_starts_by_a_clock_that_had_jumped() -> None:
    broken = found(Parts(guard=ForgetsTheJump), faults=(Fault.CLOCK_JUMPS, Fault.GATEWAY_KILLED))
    assert {v.law for v in broken} == {8}
    assert any(v.sentence.endswith("60 s after its release") for v in broken)


def test_law_8_catches_a_broker_that_lost_what_is_on_air_and_was_never_asked_again() -> None:
    class NeverAsks(BrokerCopies):
        """Knows only what the broker was once seen to take."""

        def step(self) -> bool:
            return False

    assert 8 in laws_broken(Parts(copies=NeverAsks), faults=(Fault.COPY_LOST,))
