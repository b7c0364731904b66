"""Corrections and all-clears: to those who heard the original, in their place, never held back."""

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


# Beside other alerts


FIRE = an_order("fire", level=4)


def all_clear(at: int, **changes: Any) -> Order:
    return correction(at, id="over", phase=Phase.ALL_CLEAR, **changes)


def test_a_red_all_clear_does_not_hold_a_newer_alert_back() -> None:
    world = World().up().order(ALERT).advance(4)
    over = all_clear(world.utc, repeat=3)
    world.order(withdrawn(ALERT), over).advance(14)
    fire = replace(FIRE, start_at=world.utc, repeat=2)
    world.order(withdrawn(ALERT), over, fire).advance(120)
    assert world.sounds() == ["false#1…", "over#1", "fire#1", "fire#2", "over#2", "over#3"]


def test_a_newer_alert_interrupts_an_all_clear_whose_repeat_begins_again_afterwards() -> None:
    world = World().up().order(ALERT).advance(4)
    over = all_clear(world.utc)
    world.order(withdrawn(ALERT), over).advance(4)
    world.order(withdrawn(ALERT), over, replace(FIRE, start_at=world.utc)).advance(120)
    assert world.sounds() == ["false#1…", "over#1…", "fire#1", "over#1"]


def test_an_all_clear_goes_before_an_older_alert_of_lower_level() -> None:
    storm = an_order("storm", level=2, repeat=4, gap_s=0)
    world = World().up().order(ALERT, storm).advance(4)
    world.order(withdrawn(ALERT), storm, all_clear(world.utc, repeat=2, gap_s=0)).advance(120)
    assert world.sounds()[:3] == ["false#1…", "over#1", "over#2"]
    assert world.sounds()[-1] == "storm#4"


def test_a_newer_alert_that_has_expired_was_withdrawn_is_for_others_or_has_not_begun_keeps_no_all_clear_down() -> None:
    storm = an_order("storm", level=2, repeat=9, gap_s=0)
    for newer in (
        replace(FIRE, start_at=T0 + 5 * S, expires=T0 + 9 * S),
        replace(withdrawn(FIRE), start_at=T0 + 5 * S),
        replace(FIRE, start_at=T0 + 5 * S, selector=Selector(speakers=("sp-2",))),
        replace(FIRE, start_at=T0 + 600 * S),
    ):
        world = World().up().order(ALERT, storm).advance(12)
        world.order(withdrawn(ALERT), storm, newer, all_clear(T0 + 4 * S)).advance(30)
        assert world.sounds()[:2] == ["false#1", "over#1"], newer


def test_an_all_clear_uses_the_gap_of_a_newer_alert_where_it_fits_and_waits_where_it_does_not() -> None:
    for gap_s, sounds in ((60, ["fire#1", "over#1", "fire#2"]), (5, ["fire#1", "fire#2", "over#1"])):
        world = World().up().order(ALERT).advance(6)
        fire = replace(FIRE, start_at=T0 + 5 * S, repeat=2, gap_s=gap_s)
        world.order(withdrawn(ALERT), all_clear(T0 + 4 * S), fire).advance(200)
        assert world.sounds() == ["false#1…", *sounds]


def test_two_all_clears_and_the_alerts_between_them_all_come_to_their_end() -> None:
    other = an_order("other", level=2)
    world = World().up().order(ALERT, other).advance(4)
    world.order(withdrawn(ALERT), other, all_clear(world.utc, repeat=3, gap_s=15)).advance(40)
    second = all_clear(world.utc, repeat=3, gap_s=15, corrects="other")
    fires = [replace(FIRE, id=f"fire-{n}", level=3, start_at=world.utc + n * 5 * S, repeat=2, gap_s=12) for n in (1, 2)]
    over = all_clear(T0 + 4 * S, repeat=3, gap_s=15)
    world.order(withdrawn(ALERT), withdrawn(other), over, replace(second, id="over-2"), *fires).advance(400)
    whole = sorted(sound for sound in world.sounds() if not sound.endswith("…"))
    assert whole == sorted(
        ["other#1", *(f"{name}#{k}" for name in ("over", "over-2") for k in (1, 2, 3))]
        + [f"fire-{n}#{k}" for n in (1, 2) for k in (1, 2)]
    )


@pytest.mark.parametrize("level", [1, 4])
def test_a_correction_neither_gives_way_to_nor_waits_for_a_newer_alert(level: int) -> None:
    notice = replace(ALERT, level=3)
    world = World().up().order(notice).advance(4)
    sorry = correction(world.utc, repeat=2)
    world.order(withdrawn(notice), sorry).advance(4)
    world.order(withdrawn(notice), sorry, replace(FIRE, level=level, start_at=world.utc)).advance(120)
    assert world.sounds() == ["false#1…", "sorry#1", "sorry#2", "fire#1"]


def test_the_correction_of_a_newer_alert_does_not_wait_for_the_all_clear_that_waited_for_the_alert() -> None:
    world = World().up().order(ALERT).advance(4)
    over = all_clear(world.utc, repeat=2)
    world.order(withdrawn(ALERT), over).advance(4)
    fire = replace(FIRE, start_at=world.utc)
    world.order(withdrawn(ALERT), over, fire).advance(4)
    sorry = correction(world.utc, corrects="fire")
    world.order(withdrawn(ALERT), over, withdrawn(fire), sorry).advance(120)
    assert world.sounds() == ["false#1…", "over#1…", "fire#1…", "sorry#1", "over#1", "over#2"]
