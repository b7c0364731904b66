"""The command: what it prints, and how it makes a violation small."""

from __future__ import annotations

import json
from dataclasses import replace

from typer.testing import CliRunner

from devices.speaker import events as e
from devices.speaker.events import SegmentKind
from devices.speaker.machine import decide
from devices.speaker.state import State
from simulators.faults import EVERY_FAULT, Fault
from simulators.simulate import account, app, play, shrink
from simulators.world import Outcome, Run

SHORT = ["--seed", "5", "--seeds", "1", "--minutes", "10", "--calm", "20"]


def no_preface(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
    """A speaker that drops the drill preface."""
    after, effects = decide(state, event)
    return after, [_bare(effect) for effect in effects]


def _bare(effect: e.Effect) -> e.Effect:
    if not isinstance(effect, e.Load):
        return effect
    kept = tuple(s for s in effect.plan.segments if s.kind is not SegmentKind.PREFACE)
    return replace(effect, plan=replace(effect.plan, segments=kept))


def broken_play(run: Run) -> Outcome:
    return play(run, machine=no_preface)


def test_the_help_speaks_english_and_chinese() -> None:
    told = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Play a whole city on a clock of its own" in told
    assert "在独立时钟上推演整座城市" in told


def test_a_seed_that_keeps_the_laws_ends_well_and_says_what_was_played() -> None:
    result = CliRunner().invoke(app, SHORT)
    assert result.exit_code == 0
    assert "Seeds played: 1; that broke a law: 0; 0.5 hours of the city" in result.output


def test_json_says_seed_digest_violations_and_counts() -> None:
    said = json.loads(CliRunner().invoke(app, [*SHORT, "--json"]).output)
    assert (said["seed"], said["violations"], len(said["digest"])) == (5, [], 64)
    assert said["counts"]["manifest.accepted"] > 0


def test_shrinking_keeps_the_law_and_drops_the_faults_that_it_does_not_need() -> None:
    seed = next(s for s in range(100, 120) if broken_play(Run(s, EVERY_FAULT, 1_800, 1_260)).violations)
    found = broken_play(Run(seed, EVERY_FAULT, 1_800, 1_260))
    smallest = shrink(found, broken_play)
    assert {v.law for v in smallest.violations} == {v.law for v in found.violations} == {2}
    assert smallest.run.seed == seed
    assert len(smallest.run.faults) < len(Fault) // 2


def test_an_account_tells_of_the_subject_and_ends_with_the_violation() -> None:
    outcomes = (broken_play(Run(seed, (), 1_800, 1_260)) for seed in range(100, 130))
    found = next(outcome for outcome in outcomes if outcome.violations)
    told = account(found)
    assert len(told) <= 61
    assert "VIOLATION: law 2:" in told[-1]
    subject = found.violations[0].subject
    assert any(f"{subject}: broadcast.on_air" in line for line in told)
