"""Which order sounds, what makes way for what, and what ends a sound."""

from __future__ import annotations

from dataclasses import replace

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


def test_a_daily_order_that_an_emergency_held_up_for_long_is_dropped() -> None:
    news = an_order("news", order_class=DAILY, repeat=2)
    storm = an_order("storm", repeat=8, gap_s=0)
    world = World().up().order(news).advance(4).order(news, storm).advance(300)
    assert [s for s in world.sounds() if s.startswith("news")] == ["news#1…"]


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
