"""Corrections and all-clears: to those who heard the original, at its rank, never held back."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Order, OrderClass, Phase
from devices.protocols.selector import Selector
from tests.devices.speaker.world import DISTRICT, HOUR, T0, S, World, an_order, withdrawn

ALERT = an_order("false", level=1, repeat=3)


def correction(at: int, **changes: Any) -> Order:
    made = an_order("sorry", level=4, phase=Phase.CORRECTION, corrects="false", start_at=at, expires=at + HOUR)
    return replace(made, **changes)


@pytest.mark.parametrize("phase", [Phase.CORRECTION, Phase.ALL_CLEAR])
def test_it_sounds_where_the_original_started(phase: Phase) -> None:
    world = World().up().order(ALERT).advance(4)
    world.order(withdrawn(ALERT), correction(world.utc, phase=phase)).advance(60)
    assert world.sounds() == ["false#1…", "sorry#1"]


def test_it_silences_the_original_even_if_that_is_not_withdrawn_and_for_good() -> None:
    world = World().up().order(ALERT).advance(4).order(ALERT, correction(T0 + 4 * S)).advance(120)
    assert world.sounds() == ["false#1…", "sorry#1"]
    assert "superseded:superseded" in world.steps("false")


def test_it_does_not_sound_where_the_original_never_started() -> None:
    world = World().up().advance(10)
    original = replace(ALERT, start_at=T0 + 60 * S)
    world.order(original).advance(5)
    world.order(withdrawn(original), correction(world.utc)).advance(120)
    assert world.sounds() == []
    assert world.steps("sorry") == ["accepted", "refused:original_not_heard"]


def test_a_speaker_that_was_away_all_the_while_stays_silent() -> None:
    world = World().up().advance(10).disconnect().advance(300)
    world.order(replace(withdrawn(ALERT), start_at=T0 + 60 * S), correction(world.utc)).connect().advance(60)
    assert world.sounds() == []


def test_also_unstarted_makes_it_sound_where_the_original_did_not() -> None:
    world = World().up().advance(10)
    original = replace(ALERT, start_at=T0 + 60 * S)
    world.order(original).advance(5)
    world.order(withdrawn(original), correction(world.utc, also_unstarted=True)).advance(60)
    assert world.sounds() == ["sorry#1"]


def test_also_unstarted_in_a_later_revision_still_counts() -> None:
    world = World().up().advance(10)
    original = replace(ALERT, start_at=T0 + 60 * S)
    world.order(original).advance(5)
    world.order(withdrawn(original), correction(world.utc)).advance(10)
    world.order(withdrawn(original), correction(world.utc - 10 * S, rev=2, also_unstarted=True)).advance(60)
    assert world.sounds() == ["sorry#1"]


def test_with_a_lost_journal_it_sounds_because_nobody_knows() -> None:
    world = World().up().order(ALERT).advance(4).crash().wipe("journal-2")
    world.advance(60).boot()
    world.retained = {topic: raw for topic, raw in world.retained.items() if "manifest" not in topic}
    world.order(replace(withdrawn(ALERT), rev=3), correction(world.utc)).connect().advance(60)
    assert world.sounds() == ["false#1…", "sorry#1"]


def test_with_a_lost_journal_and_no_original_in_sight_its_own_start_decides() -> None:
    world = World().up().order(correction(T0 - 60 * S)).advance(60)
    assert world.sounds() == ["sorry#1"]
    world = World().up().advance(60)
    world.order(correction(world.utc)).advance(60)
    assert world.sounds() == []


def test_its_targets_are_the_originals_and_are_never_selected_anew() -> None:
    world = World().up().order(ALERT).advance(4)
    elsewhere = Selector(speakers=("sp-2",))
    world.order(withdrawn(ALERT), correction(world.utc, selector=elsewhere)).advance(60)
    assert world.sounds() == ["false#1…", "sorry#1"]
    world = World().up().order(replace(ALERT, selector=elsewhere)).advance(4)
    world.order(withdrawn(replace(ALERT, selector=elsewhere)), correction(world.utc)).advance(60)
    assert world.sounds() == []


def test_it_takes_the_rank_of_its_original() -> None:
    storm = an_order("storm", level=2, repeat=9, gap_s=0)
    world = World().up().order(ALERT, storm).advance(4)
    world.order(withdrawn(ALERT), storm, correction(world.utc)).advance(20)
    assert world.sounds() == ["false#1…", "sorry#1"]


def test_the_rate_limit_never_holds_it_back() -> None:
    world = World().up()
    for number in range(3):
        world.order(an_order(f"o-{number}", level=1, start_at=world.utc, expires=world.utc + HOUR)).advance(20)
    world.order(replace(ALERT, start_at=world.utc)).advance(4)
    assert world.sounds()[-1] == "o-2#1"
    world.order(withdrawn(replace(ALERT, start_at=world.utc)), correction(world.utc)).advance(30)
    assert world.sounds()[-1] == "sorry#1"


def test_it_sounds_after_a_restart_that_followed_the_start() -> None:
    world = World().up().order(ALERT).advance(4).crash().advance(2)
    world.order(withdrawn(ALERT), correction(world.utc)).boot().connect().advance(60)
    assert world.sounds() == ["false#1…", "sorry#1"]


def test_an_issuer_without_say_over_the_original_cannot_silence_it_by_correcting() -> None:
    world = World().up().order(ALERT).advance(4)
    world.order(correction(world.utc), area=DISTRICT, issuer="district").advance(120)
    assert [s for s in world.sounds() if s.startswith("false")][-1] == "false#3"
    assert "superseded:superseded" not in world.steps("false")


def test_a_correction_that_is_withdrawn_is_silent() -> None:
    world = World().up().order(ALERT).advance(4)
    sorry = correction(world.utc + 30 * S)
    world.order(withdrawn(ALERT), sorry).advance(5)
    world.order(withdrawn(ALERT), withdrawn(sorry)).advance(60)
    assert world.sounds() == ["false#1…"]


def test_a_correction_of_a_daily_notice_is_never_too_late() -> None:
    notice = replace(ALERT, order_class=OrderClass.DAILY)
    world = World().up().order(notice).advance(4).disconnect().advance(600)
    world.order(withdrawn(notice), correction(T0 + 10 * S, order_class=OrderClass.DAILY)).connect().advance(60)
    assert world.sounds()[-1] == "sorry#1"
