"""Which order sounds, what makes way for what, and what ends a sound."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import OrderClass, OrderState
from devices.protocols.selector import Selector
from devices.speaker import events as e
from tests.devices.speaker.world import CITY, DISTRICT, HOUR, STREET, T0, S, World, an_order, withdrawn

DAILY = OrderClass.DAILY


def test_an_order_sounds_once_for_each_repeat_with_its_gap() -> None:
    world = World().up().order(an_order(repeat=3, gap_s=5)).advance(120)
    assert world.sounds() == ["o-1#1", "o-1#2", "o-1#3"]
    assert [h.at // S for h in world.heard] == [0, 15, 30]


def test_emergency_before_daily() -> None:
    world = World().up().order(an_order("news", order_class=DAILY, level=1)).advance(3)
    world.order(an_order("news", order_class=DAILY, level=1), an_order("storm", level=4)).advance(40)
    assert world.sounds() == ["news#1…", "storm#1", "news#1"]


def test_higher_level_interrupts_and_the_interrupted_repeat_starts_again_whole() -> None:
    low, high = an_order("low", level=3, repeat=2), an_order("high", level=1)
    world = World().up().order(low).advance(4).order(low, high).advance(120)
    assert world.sounds() == ["low#1…", "high#1", "low#1", "low#2"]


def test_equal_level_from_a_higher_area_wins() -> None:
    world = World().up()
    world.order(an_order("street"), area=STREET, issuer="city").advance(2)
    world.order(an_order("city")).advance(60)
    assert world.sounds() == ["street#1…", "city#1", "street#1"]


def test_a_lower_order_waits_for_the_higher_one() -> None:
    world = World().up().order(an_order("high", level=1), an_order("low", level=4)).advance(60)
    assert world.sounds() == ["high#1", "low#1"]


def test_a_short_order_may_use_the_gap_of_a_higher_one_but_never_overruns_it() -> None:
    world = World().up()
    high = an_order("high", level=1, repeat=2, gap_s=60)
    world.order(high, an_order("low", level=4)).advance(120)
    assert world.sounds() == ["high#1", "low#1", "high#2"]
    world = World().up().order(replace(high, gap_s=5), an_order("low", level=4)).advance(120)
    assert world.sounds() == ["high#1", "high#2", "low#1"]


def test_withdrawal_cuts_the_sound_in_the_same_decision() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(4)
    raw = world.manifest(withdrawn(order))
    stream = next(iter(world.versions))
    effects = world.feed(e.Message, topic=stream, payload=raw)
    assert isinstance(effects[0], e.Stop)
    world.advance(60)
    assert world.sounds() == ["o-1#1…"]
    assert world.steps("o-1")[-1] == "superseded:withdrawn"


def test_withdrawal_before_the_start_is_receipted_and_nothing_sounds() -> None:
    order = an_order(start_at=T0 + 60 * S)
    world = World().up().order(order).advance(5).order(withdrawn(order)).advance(120)
    assert world.sounds() == []
    assert world.steps("o-1") == ["accepted", "accepted", "superseded:withdrawn"]


def test_a_withdrawn_order_resumed_with_a_higher_revision_plays_what_was_not_heard() -> None:
    order = an_order(repeat=2, gap_s=0)
    world = World().up().order(order).advance(14).order(withdrawn(order)).advance(10)
    assert world.sounds() == ["o-1#1", "o-1#2…"]
    world.order(replace(order, rev=3)).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2…", "o-1#2"]


def test_no_start_after_expiry_but_a_running_repeat_may_finish() -> None:
    order = an_order(repeat=9, gap_s=0, expires=T0 + 15 * S)
    world = World().up().order(order).advance(120)
    assert world.sounds() == ["o-1#1", "o-1#2"]
    assert world.steps("o-1")[-1] == "finished:order_expired"


def test_a_repeat_that_runs_sixty_seconds_past_its_expiry_is_cut() -> None:
    world = World(sound_ms=200_000).up().order(an_order(expires=T0 + 10 * S)).advance(300)
    assert world.sounds() == ["o-1#1…"]
    assert 69_000 <= world.heard[0].ms <= 70_000


def test_an_order_that_expired_unheard_is_reported_as_failed() -> None:
    high = an_order("high", level=1, repeat=9, gap_s=0)
    world = World().up().order(high, an_order("low", level=4, expires=T0 + 20 * S)).advance(90)
    assert world.steps("low") == ["accepted", "failed:order_expired"]


def test_a_late_emergency_starts_now() -> None:
    world = World().up().advance(600).order(an_order(start_at=T0)).advance(30)
    assert world.sounds() == ["o-1#1"]


def test_a_daily_order_never_catches_up() -> None:
    world = World().up().advance(600).order(an_order(start_at=T0, order_class=DAILY)).advance(60)
    assert world.sounds() == []
    assert world.steps("o-1") == ["accepted", "refused:missed"]


def of(world: World, order: str) -> list[str]:
    return [sound for sound in world.sounds() if sound.startswith(f"{order}#")]


def test_a_daily_order_that_never_began_behind_an_emergency_is_dropped() -> None:
    news, storm = an_order("news", order_class=DAILY), an_order("storm", repeat=8, gap_s=0)
    world = World().up().order(news, storm).advance(300)
    assert of(world, "news") == []
    assert world.steps("news") == ["accepted", "refused:missed"]


@pytest.mark.parametrize("gap_s", [0, 5, 70])
def test_a_daily_order_cut_by_a_long_emergency_goes_on_after_it(gap_s: int) -> None:
    news, storm = an_order("news", order_class=DAILY, repeat=2), an_order("storm", repeat=8, gap_s=gap_s)
    world = World(sound_ms=20_000).up().order(news).advance(4).order(news, storm).advance(900)
    assert of(world, "news")[0] == "news#1…"
    assert of(world, "news")[-2:] == ["news#1", "news#2"]
    assert "refused:missed" not in world.steps("news")


def test_a_daily_order_interrupted_in_its_gap_goes_on_after_a_long_emergency() -> None:
    news, storm = an_order("news", order_class=DAILY, repeat=3, gap_s=30), an_order("storm", repeat=20, gap_s=1)
    world = World().up().order(news).advance(15).order(news, storm).advance(400)
    assert of(world, "news") == ["news#1", "news#2", "news#3"]


def test_a_daily_order_goes_on_though_the_power_failed_during_the_emergency() -> None:
    news, storm = an_order("news", order_class=DAILY), an_order("storm", repeat=20, gap_s=1)
    world = World().up().order(news).advance(4).order(news, storm).advance(100)
    world.crash().advance(20).boot().connect().advance(400)
    assert of(world, "news") == ["news#1…", "news#1"]


def test_a_daily_order_that_begins_nothing_for_a_minute_after_the_emergency_is_dropped() -> None:
    news, storm = an_order("news", order_class=DAILY), an_order("storm", repeat=20, gap_s=1)
    world = World().up().order(news).advance(4).order(news, storm).advance(215)
    assert world.sounds().count("storm#19") == 1
    world.failures = {"chime": "render_failed"}
    world.advance(100)
    world.failures = {}
    world.advance(100)
    assert of(world, "news") == ["news#1…"]
    assert world.steps("news")[-1] == "refused:missed"


def test_a_long_emergency_writes_nothing_for_the_daily_order_that_waits() -> None:
    news, storm = an_order("news", order_class=DAILY), an_order("storm", repeat=20, gap_s=1)
    world = World().up().order(news).advance(4).order(news, storm).advance(10)
    before = len([entry for entry in world.disk if entry.key == "actual/news"])
    world.advance(150)
    assert len([entry for entry in world.disk if entry.key == "actual/news"]) == before


# Gaps


def starved(sound_ms: int, gap_s: int, **changes: Any) -> World:
    """An order under a red alert that goes on for the whole hour; by estimate it takes 14 s."""
    high = an_order("high", level=1, repeat=400, gap_s=gap_s)
    low = an_order("low", level=4, texts={"zh": "解" * 30}, **changes)
    world = World(sound_ms=sound_ms).up().order(high).advance(3)
    return world.order(high, low)


def test_an_order_uses_the_gap_that_it_fits_by_its_true_length() -> None:
    world = starved(sound_ms=8_000, gap_s=12).advance(60)
    assert world.sounds()[:3] == ["high#1", "low#1", "high#2"]


def test_the_true_length_may_be_known_only_after_the_load() -> None:
    world = starved(sound_ms=8_000, gap_s=14)
    world.measure_us = 2 * S
    world.advance(60)
    assert world.sounds()[:3] == ["high#1", "low#1", "high#2"]


def test_an_order_too_long_for_the_gap_is_made_ready_once_and_delays_nothing() -> None:
    world = starved(sound_ms=13_000, gap_s=12).advance(300)
    assert of(world, "low") == []
    assert [h.at // S for h in world.heard] == [25 * n for n in range(len(world.heard))]
    assert sum(isinstance(x, e.Load) and x.plan.order == "actual/low" for x in world.effects) == 1


def test_no_lower_order_slips_into_a_gap_before_the_first_that_is_too_long_for_it() -> None:
    high, mid = an_order("high", level=1, repeat=400, gap_s=12), an_order("mid", texts={"zh": "长" * 300})
    low = an_order("low", level=4, texts={"zh": "短"})
    world = World(lengths={"mid": 40_000, "low": 7_000}).up().order(high, mid, low).advance(300)
    assert (of(world, "low"), of(world, "mid")) == ([], [])
    high_at = [h.at // S for h in world.heard if h.order == "high"]
    assert high_at == [22 * n for n in range(len(high_at))]


def test_what_fills_a_gap_to_its_end_does_not_hold_the_next_repeat_up() -> None:
    world = starved(sound_ms=10_000, gap_s=11)
    world.load_us = 900_000
    world.advance(300)
    assert of(world, "low") == ["low#1"]
    assert {b.at - a.at for a, b in itertools.pairwise(h for h in world.heard if h.order == "high")} == {21 * S}


def test_a_future_order_is_loaded_ahead_and_starts_on_the_microsecond() -> None:
    world = World(load_us=900_000).up().order(an_order(start_at=T0 + 60 * S)).advance(120)
    assert [h.at for h in world.heard] == [60 * S]


def test_the_choice_is_made_again_when_loading_ends() -> None:
    low, high = an_order("low", level=4), an_order("high", level=1)
    world = World(load_us=3 * S).up().order(low).advance(1).order(low, high).advance(60)
    assert world.sounds() == ["high#1", "low#1"]


def test_withdrawal_while_loading_leaves_silence() -> None:
    order = an_order()
    world = World(load_us=3 * S).up().order(order).advance(1).order(withdrawn(order)).advance(60)
    assert world.sounds() == []


def test_the_sound_of_the_lower_order_goes_on_while_the_higher_one_loads() -> None:
    low, high = an_order("low", level=4), an_order("high", level=1)
    world = World().up().order(low).advance(3)
    world.load_us = 2 * S
    world.order(low, high).advance(60)
    assert world.sounds() == ["low#1…", "high#1", "low#1"]
    assert world.heard[0].at + world.heard[0].ms * 1_000 == world.heard[1].at


def test_an_order_for_others_is_neither_accepted_nor_sounded() -> None:
    world = World().up().order(an_order(selector=Selector(speakers=("sp-2",)))).advance(30)
    assert world.sounds() == []
    assert world.steps("o-1") == []


def test_an_accepted_order_sounds_also_when_the_link_is_down() -> None:
    world = World().up().order(an_order(start_at=T0 + 60 * S)).advance(5).disconnect().advance(120)
    assert world.sounds() == ["o-1#1"]


def test_an_order_missing_from_a_newer_manifest_stays_in_force() -> None:
    world = World().up().order(an_order(start_at=T0 + 60 * S)).advance(5).order().advance(120)
    assert world.sounds() == ["o-1#1"]


def test_a_higher_revision_with_audio_never_replays_what_was_heard() -> None:
    order = an_order(repeat=2, gap_s=0)
    world = World().up().order(order).advance(11)
    world.order(replace(order, rev=2, texts={"zh": "新的文字。"})).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]
    world.order(replace(order, rev=3)).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_a_lower_revision_changes_nothing() -> None:
    order = an_order(rev=5, start_at=T0 + 30 * S)
    world = World().up().order(order).order(replace(withdrawn(order), rev=4)).advance(60)
    assert world.sounds() == ["o-1#1"]


def test_superseded_order_stops_and_does_not_come_back_when_the_new_one_is_withdrawn() -> None:
    old = an_order("old", repeat=5)
    new = an_order("new", supersedes=("old",), start_at=T0 + S)
    world = World().up().order(old).advance(4).order(old, new).advance(30)
    assert world.sounds() == ["old#1…", "new#1"]
    world.order(replace(old, rev=2), withdrawn(new)).advance(60)
    assert world.sounds() == ["old#1…", "new#1"]
    assert world.steps("old")[-1] == "accepted"


def test_two_orders_that_supersede_each_other_do_not_silence_both() -> None:
    a = an_order("a", supersedes=("b",))
    b = an_order("b", supersedes=("a",), start_at=T0 + S)
    world = World().up().advance(2).order(a, b).advance(60)
    assert world.sounds() == ["b#1"]


def test_an_order_cannot_supersede_what_its_issuer_has_no_say_over() -> None:
    world = World().up().order(an_order("city", repeat=2)).advance(4)
    world.order(an_order("mine", supersedes=("city",), start_at=T0 + S), area=DISTRICT, issuer="district")
    world.advance(60)
    assert [s for s in world.sounds() if s.startswith("city")] == ["city#1", "city#2"]


def test_volume_is_limited_by_the_config_and_mute_is_silent() -> None:
    world = World().up().order(an_order("loud", volume=100)).advance(20)
    world.order(an_order("mute", volume="mute")).advance(20)
    world.order(an_order("same", volume="unchanged")).advance(20)
    assert [h.volume for h in world.heard] == [90, 0, 90]


def test_chinese_is_said_before_other_languages() -> None:
    order = an_order(texts={"en": "Heavy rain.", "zh": "暴雨。"})
    world = World().up().order(order).advance(1)
    plan = next(effect.plan for effect in world.effects if isinstance(effect, e.Load))
    assert [s.lang for s in plan.segments if s.lang] == ["zh", "en"]


def test_a_player_that_says_nothing_is_given_up_and_the_next_order_sounds() -> None:
    world = World().up()
    world.sound_ms = 10**9
    world.order(an_order("stuck")).advance(1)
    world.sound_ms = 10_000
    stuck = world.state.sound.sounding
    assert stuck is not None
    world.state = replace(world.state, sound=replace(world.state.sound, sounding=replace(stuck, cut_us=world.mono + S)))
    world.feed(e.Tick)
    world.advance(60)
    assert "failed:player_silent" in world.steps("stuck")
    assert "finished" in world.steps("stuck")


def test_state_and_expiry_of_an_order_in_two_streams_follow_the_highest_revision() -> None:
    order = an_order(start_at=T0 + 60 * S)
    world = World().up().order(order).order(withdrawn(order), area=STREET).advance(120)
    assert world.sounds() == []
    assert world.state.orders["actual/o-1"].order.state is OrderState.WITHDRAWN


def test_an_hour_of_expired_orders_leaves_nothing_live() -> None:
    world = World().up()
    for number in range(20):
        world.order(an_order(f"o-{number}", start_at=world.utc, expires=world.utc + 20 * S)).advance(30)
    assert world.state.live == ()
    assert world.state.sound.rests == {}
    assert CITY in next(iter(world.versions))
    assert world.utc < T0 + HOUR


def test_a_repeat_that_runs_past_its_expiry_does_not_make_way_for_a_lower_order() -> None:
    high = an_order("high", level=1, expires=T0 + 5 * S)
    world = World().up().order(high).advance(2).order(high, an_order("low", level=4)).advance(60)
    assert world.sounds() == ["high#1", "low#1"]
