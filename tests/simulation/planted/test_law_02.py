"""Planted against law 2: a drill is never taken for real."""

from __future__ import annotations

from dataclasses import replace

from devices.speaker import events as e
from devices.speaker.events import SegmentKind
from devices.speaker.machine import decide
from devices.speaker.state import State
from tests.simulation.planted.planting import laws_broken


def test_law_2_catches_a_speaker_that_drops_the_preface() -> None:
    def no_preface(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [_bare(effect) for effect in effects]

    assert laws_broken(machine=no_preface) == {2}


def test_law_2_catches_a_speaker_that_plays_a_drill_as_actual() -> None:
    def always_actual(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [
            replace(each, plan=replace(each.plan, use="actual")) if isinstance(each, e.Load) else each
            for each in effects
        ]

    assert laws_broken(machine=always_actual) == {2}


def _bare(effect: e.Effect) -> e.Effect:
    if not isinstance(effect, e.Load):
        return effect
    kept = tuple(s for s in effect.plan.segments if s.kind is not SegmentKind.PREFACE)
    return replace(effect, plan=replace(effect.plan, segments=kept))
