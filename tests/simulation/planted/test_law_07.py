"""Planted against law 7: nothing is counted twice, and nothing is lost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from devices.speaker import events as e
from devices.speaker.machine import decide
from devices.speaker.state import State
from services.dispatcher.adapters.gb26875_centre import Batch, PanelCentre
from services.dispatcher.adapters.gb26875_line import Line
from services.dispatcher.engine.air.receipts import Arrived, Counted, keep_receipts
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Event, Outcome, SignalArrived
from simulators.dispatcher import Parts
from simulators.faults import Fault
from simulators.world import World
from tests.simulation.planted.planting import found, laws_broken


def test_law_7_catches_a_frame_confirmed_before_its_commit() -> None:
    class ConfirmsFirst(PanelCentre):
        """Answers every frame as soon as it has been read."""

        def read_frames(self, line: Line) -> list[Batch]:
            batches = super().read_frames(line)
            for batch in batches:
                self.settle(line, batch, committed=True)
            return [replace(batch, answer=None) for batch in batches]

    assert laws_broken(Parts(centre=ConfirmsFirst), faults=()) == {7}


def test_law_7_catches_a_repeated_frame_that_is_taken_for_another_report() -> None:
    class KnowsOneName(Engine):
        """Knows a report by the minute in which it came, and not by the minute before."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            return super().handle(
                [
                    replace(x, signal=replace(x.signal, other_key="")) if isinstance(x, SignalArrived) else x
                    for x in events
                ]
            )

    def repeats_over_the_minute(world: World) -> None:
        """Fires just before the minute turns, from panels without a clock; the gateway dies before the repeat."""
        world.panels_lose(40, -90 * 60_000_000)
        panel = next(iter(world._panels.values()))
        for minute in range(5, 25):
            turn_s = minute * 60
            world.clock.later((turn_s - 4) * 1_000_000, lambda: panel.report(b"1", 40))
            world.clock.later((turn_s - 3) * 1_000_000, lambda: world.kill_gateway(None))

    broken = found(Parts(engine=KnowsOneName), faults=(), prepare=repeats_over_the_minute)
    assert {violation.law for violation in broken} == {7}
    assert any(violation.sentence.endswith("became another signal") for violation in broken)
    assert found(faults=(), seeds=range(100, 102), prepare=repeats_over_the_minute) == ()


def test_law_7_catches_a_speaker_that_forgets_what_it_has_played() -> None:
    def forgetful(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        if isinstance(event, e.Booted):
            facts = tuple(entry for entry in event.image.entries if entry.kind != "mark")
            event = replace(event, image=replace(event.image, entries=facts))
        return decide(state, event)

    assert laws_broken(machine=forgetful, faults=(Fault.SPEAKER_CRASH,)) == {7}


def test_law_7_catches_repeats_that_are_never_finished() -> None:
    def one_is_enough(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        marks = {key: replace(m, heard=9) if m.heard else m for key, m in state.marks.items()}
        return decide(replace(state, marks=marks), event)

    assert laws_broken(machine=one_is_enough, faults=()) == {7}


def test_law_7_catches_a_repeat_that_is_taken_for_the_whole_order() -> None:
    def forgets_of_how_many(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [_without_count(effect) for effect in effects]

    faults = (Fault.ROUGH_PEOPLE, Fault.TEST_BITS)
    broken = found(machine=forgets_of_how_many, faults=faults)
    assert {violation.law for violation in broken} == {7}
    assert any(violation.sentence.endswith("and it has not") for violation in broken)


def _without_count(effect: e.Effect) -> e.Effect:
    """The effect without "of" in the evidence of its receipts."""
    if isinstance(effect, e.Publish) and effect.seq:
        return replace(effect, payload=_COUNT.sub(b"", effect.payload))
    if isinstance(effect, e.Persist):
        entries = tuple(
            replace(entry, value=_COUNT.sub(b"", entry.value.encode()).decode())
            if entry.kind == "receipt" and entry.value is not None
            else entry
            for entry in effect.entries
        )
        return replace(effect, entries=entries)
    return effect


_COUNT = re.compile(rb'"of":[0-9]+,')


def test_law_7_catches_an_intake_that_believes_every_time() -> None:
    def trusts(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        """Puts the time of receipt where a speaker states one that can't be."""
        timeless = []
        for a in arrived:
            steps = tuple(replace(step, at=0) for step in a.receipt.steps)
            timeless.append(replace(a, receipt=replace(a.receipt, steps=steps)))
        return keep_receipts(store, timeless, *rest)

    broken = found(Parts(keep_receipts=trusts), faults=(Fault.SPEAKER_LIES,), rough_s=3_600)
    assert 7 in {v.law for v in broken}
    assert any("too much" in v.sentence for v in broken)
