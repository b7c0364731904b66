"""Actual and exercise differ by key; an exercise always says so, and never touches an actual order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols import document_json, jws
from devices.protocols.documents import Manifest, OrderClass, Phase
from devices.protocols.speaker_link import manifest_topic
from devices.speaker import events as e
from tests.devices.speaker.world import CITY, EXERCISE, HOUR, T0, S, World, an_audio, an_order, withdrawn

DAILY = OrderClass.DAILY
DRILL = an_order("drill", status="exercise", repeat=2, gap_s=0)
EXERCISE_STREAM = manifest_topic(CITY, "exercise", "city")


def test_every_repeat_of_an_exercise_begins_with_the_drill_preface() -> None:
    world = World().up().order(DRILL, use="exercise").advance(60)
    assert world.sounds() == ["drill#1", "drill#2"]
    assert {h.kinds[0] for h in world.heard} == {"preface"}
    assert {h.use for h in world.heard} == {"exercise"}


def test_an_actual_order_has_no_drill_preface() -> None:
    world = World().up().order(an_order()).advance(30)
    assert world.heard[0].kinds == ("chime", "say")


def test_recorded_audio_of_an_exercise_is_prefaced_too() -> None:
    audio = an_audio()
    world = World()
    world.up().feed(e.AudioStored, sha256=audio.sha256)
    world.order(replace(DRILL, audio=(audio,)), use="exercise").advance(60)
    assert {h.kinds for h in world.heard} == {("preface", "chime", "audio")}


def test_every_way_of_falling_back_keeps_the_preface() -> None:
    world = World(failures={"say": "speech_failed"}).up().order(DRILL, use="exercise").advance(60)
    assert {h.kinds for h in world.heard} == {("preface", "chime", "phrase")}


def test_an_exercise_without_any_preface_does_not_sound_and_says_so() -> None:
    world = World(failures={"preface": "no_drill_preface"}).up().order(DRILL, use="exercise").advance(300)
    assert world.sounds() == []
    assert world.steps("drill") == ["accepted", "refused:no_drill_preface"]


def test_an_order_that_calls_itself_actual_on_an_exercise_stream_is_refused() -> None:
    lying = Manifest(EXERCISE_STREAM, T0 // 1_000, T0, T0 + 60 * S, "", (an_order(),))
    raw = jws.sign(document_json.encode(lying), jws.Typ.MANIFEST, EXERCISE)
    world = World().up().publish(EXERCISE_STREAM, raw).advance(30)
    assert world.sounds() == []
    assert world.refusals == [(EXERCISE_STREAM, 0, "status_mismatch")]


def test_the_exercise_key_cannot_sign_an_actual_stream() -> None:
    world = World().up()
    world.order(an_order(), signer=EXERCISE).advance(30)
    assert world.sounds() == []
    assert [reason for _, _, reason in world.refusals] == ["key_use"]


def test_an_exercise_manifest_replayed_on_the_actual_topic_is_refused() -> None:
    world = World().up()
    raw = world.manifest(DRILL, use="exercise")
    world.publish(manifest_topic(CITY, "actual", "city"), raw).advance(30)
    assert world.sounds() == []
    assert [reason for _, _, reason in world.refusals] == ["stream_mismatch"]


def test_an_actual_order_ends_the_exercise_for_good() -> None:
    world = World().up().order(DRILL, use="exercise").advance(4).order(an_order("fire", level=1)).advance(120)
    assert world.sounds() == ["drill#1…", "fire#1"]
    assert world.steps("drill")[-1] == "superseded:actual_order"


def test_an_exercise_is_silenced_at_once_also_while_the_actual_order_still_loads() -> None:
    world = World().up().order(DRILL, use="exercise").advance(4)
    world.load_us = 5 * S
    world.order(an_order("fire", level=1)).advance(60)
    assert world.heard[0].ms < 4_100
    assert world.sounds() == ["drill#1…", "fire#1"]


@pytest.mark.parametrize("level", [1, 4])
def test_a_daily_item_neither_ends_nor_interrupts_a_drill(level: int) -> None:
    world = World().up().order(replace(DRILL, level=4), use="exercise").advance(4)
    world.order(an_order("news", level=level, order_class=DAILY)).advance(60)
    assert world.sounds() == ["drill#1", "drill#2", "news#1"]


def test_a_drill_interrupts_a_daily_item_which_begins_again_when_the_drill_is_done() -> None:
    world = World().up().order(an_order("news", level=1, order_class=DAILY)).advance(4)
    world.order(replace(DRILL, level=4), use="exercise").advance(60)
    assert world.sounds() == ["news#1…", "drill#1", "drill#2", "news#1"]


def test_a_daily_rehearsal_gives_way_to_an_actual_daily_item_and_begins_again() -> None:
    rehearsal = replace(DRILL, order_class=DAILY, repeat=1)
    world = World().up().order(rehearsal, use="exercise").advance(4)
    world.order(an_order("news", level=4, order_class=DAILY, start_at=T0 + 4 * S)).advance(60)
    assert world.sounds() == ["drill#1…", "news#1", "drill#1"]


def test_a_daily_rehearsal_begins_again_after_a_long_actual_daily_item() -> None:
    rehearsal = replace(DRILL, order_class=DAILY, repeat=1)
    world = World().up().order(rehearsal, use="exercise").advance(4)
    news = an_order("news", level=4, order_class=DAILY, repeat=10, gap_s=1, start_at=T0 + 4 * S)
    world.order(news).advance(300)
    assert world.sounds()[::11] == ["drill#1…", "drill#1"]


def test_an_actual_all_clear_ends_a_drill_and_nothing_of_the_drill_delays_it() -> None:
    fire = an_order("fire", level=4)
    world = World().up().order(fire).advance(30)
    world.order(replace(DRILL, level=1, start_at=world.utc, repeat=5), use="exercise").advance(4)
    over = an_order("over", phase=Phase.ALL_CLEAR, corrects="fire", start_at=world.utc)
    world.order(withdrawn(fire), over).advance(60)
    assert world.sounds() == ["fire#1", "drill#1…", "over#1"]
    assert world.steps("drill")[-1] == "superseded:actual_order"


def test_an_all_clear_of_a_daily_item_waits_for_the_drill() -> None:
    news = an_order("news", order_class=DAILY)
    world = World().up().order(news).advance(30)
    world.order(replace(DRILL, start_at=world.utc), use="exercise").advance(4)
    over = an_order("over", phase=Phase.ALL_CLEAR, corrects="news", order_class=DAILY, start_at=world.utc)
    world.order(withdrawn(news), over).advance(60)
    assert world.sounds() == ["news#1", "drill#1", "drill#2", "over#1"]


def test_an_exercise_that_was_due_during_an_actual_order_does_not_follow_it() -> None:
    world = World().up().order(an_order("fire", level=1, repeat=2)).advance(4)
    world.order(DRILL, use="exercise").advance(120)
    assert world.sounds() == ["fire#1", "fire#2"]


def test_an_exercise_planned_for_later_is_not_ended_by_an_actual_order_now() -> None:
    world = World().up().order(replace(DRILL, start_at=T0 + 600 * S), use="exercise").advance(2)
    world.order(an_order("fire", level=1)).advance(700)
    assert world.sounds() == ["fire#1", "drill#1", "drill#2"]


def test_an_ended_exercise_stays_ended_after_a_higher_revision_and_a_restart() -> None:
    world = World().up().order(DRILL, use="exercise").advance(4).order(an_order("fire")).advance(60)
    world.order(replace(DRILL, rev=2), use="exercise").advance(60).crash().boot().connect().advance(60)
    assert world.sounds() == ["drill#1…", "fire#1"]


def test_an_exercise_with_the_id_of_an_actual_order_cannot_withdraw_it() -> None:
    order = an_order("same", repeat=2)
    world = World().up().order(order).advance(4)
    world.order(replace(withdrawn(order), status="exercise", rev=99), use="exercise").advance(60)
    assert world.sounds() == ["same#1", "same#2"]


def test_an_exercise_cannot_supersede_or_correct_an_actual_order() -> None:
    world = World().up().order(an_order("real", repeat=2)).advance(4)
    world.order(
        replace(DRILL, supersedes=("real",)),
        replace(DRILL, id="calm", phase=Phase.ALL_CLEAR, corrects="real", also_unstarted=True),
        use="exercise",
    ).advance(60)
    assert [s for s in world.sounds() if s.startswith("real")] == ["real#1", "real#2"]


def test_exercise_starts_do_not_use_up_the_allowance_of_actual_orders() -> None:
    world = World().up()
    for number in range(4):
        drill = replace(DRILL, id=f"drill-{number}", repeat=1, start_at=world.utc, expires=world.utc + HOUR)
        world.order(drill, use="exercise").advance(30)
    world.order(an_order(level=4, start_at=world.utc)).advance(30)
    assert world.sounds()[-1] == "o-1#1"


def test_starts_of_daily_items_do_not_use_up_the_allowance_of_a_drill() -> None:
    world = World().up()
    for number in range(4):
        world.order(an_order(f"news-{number}", level=1, order_class=DAILY, start_at=world.utc)).advance(30)
    world.order(replace(DRILL, level=4, start_at=world.utc), use="exercise").advance(60)
    assert world.sounds()[-2:] == ["drill#1", "drill#2"]


def test_starts_of_drills_do_not_use_up_the_allowance_of_daily_items() -> None:
    world = World().up()
    for number in range(4):
        drill = replace(DRILL, id=f"drill-{number}", level=1, repeat=1, start_at=world.utc, expires=world.utc + HOUR)
        world.order(drill, use="exercise").advance(30)
    world.order(an_order("news", level=4, order_class=DAILY, start_at=world.utc)).advance(30)
    assert world.sounds()[-1] == "news#1"


def test_an_exercise_does_not_slip_into_the_gap_of_an_actual_order() -> None:
    world = World().up().order(an_order("fire", repeat=2, gap_s=600)).advance(30)
    world.order(replace(DRILL, start_at=world.utc), use="exercise").advance(900)
    assert world.sounds() == ["fire#1", "fire#2"]
