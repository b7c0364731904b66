"""Fifty seeds of the simulated city with every kind of fault: no law is broken, and no situation is left untried."""

from __future__ import annotations

import os
from collections import Counter

import pytest

from simulators.faults import Fault
from simulators.simulate import account, play_many
from simulators.world import Outcome, Run

SEEDS = int(os.environ.get("TOCSIN_SEEDS", "50"))
ROUGH_S, CALM_S = 2_400, 1_320

SITUATIONS = """
    act.release act.decline act.stop act.resume act.correction act.all_clear adopted
    log.broadcast.on_air log.broadcast.held log.broadcast.withdrawn log.broadcast.ended log.broadcast.released_by_one
    log.incident.contradicted log.incident.refuted_on_air log.incident.source_cancelled log.stream.unknown_on_air
    log.broadcast.not_rendered log.broadcast.not_published log.task.not_reached rendered
    log.task.climbed log.task.unanswered log.task.unsure log.task.answered_late log.task.answered_again
    office.never office.late office.twice office.contradicts ladder.ended
    panel.confirmed panel.resent signal.alert signal.update signal.cancel signal.twice
    refused.wrong_state refused.content_changed refused.same_person refused.not_allowed refused.not_your_office
    refused.sentence_differs refused.resume_too_late refused.approver_missing
    sound.actual sound.exercise sound.end sound.cut sound.crash sound.after_crash sound.failed
    step.refused.bad_signature step.refused.unknown_key step.refused.key_use step.refused.key_area
    step.refused.key_level step.refused.not_issuer step.refused.stream_mismatch step.refused.version_back
    step.refused.malformed step.refused.empty_payload step.refused.over_cap step.refused.original_not_heard
    step.superseded.withdrawn step.superseded.actual_order step.superseded.preempted
    gateway.died_before_commit gateway.died_after_commit gateway.died_before_publish gateway.died_after_publish
    gateway.died_before_ack gateway.died_between_acks gateway.died_from_outside
    lie.before_start lie.in_future lie.not_on_air lie.no_microphone alarm.checked
    restore request.died broker.keeps_all broker.keeps_saved broker.keeps_nothing speaker.moved
    refused.no_usable_key log.broadcast.no_usable_key key.seen_red key.seen_well
    law4.checked refused.over_cap log.stream.filling log.broadcast.retired
    sound.stolen order.taken_back key.taken_back
    heard.all timer.task/rung timer.broadcast/expires timer.broadcast/prove timer.stream/refresh
""".split()


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    runs = [Run(seed, tuple(Fault), ROUGH_S, CALM_S) for seed in range(SEEDS)]
    return list(play_many(runs, os.cpu_count() or 1))


def test_no_seed_breaks_a_law(outcomes: list[Outcome]) -> None:
    told = ["\n".join([f"seed {o.run.seed}", *account(o)]) for o in outcomes if o.violations]
    assert told == []


def test_every_situation_comes_about(outcomes: list[Outcome]) -> None:
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        counts += outcome.counts
    wanted = [*SITUATIONS, *(f"fault.{kind}" for kind in Fault)]
    assert [situation for situation in wanted if not counts[situation]] == []
