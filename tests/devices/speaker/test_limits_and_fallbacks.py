"""Rate limits in the speaker, audio that is fetched, and what sounds when something is missing."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import OrderClass
from devices.protocols.speaker_link import config_topic, sign
from devices.speaker import events as e
from devices.speaker.turn import spread
from tests.devices.speaker.world import BASE, CONFIG, HOUR, SETUP, SPEAKER, T0, S, World, an_audio, an_order, withdrawn

FETCH_AFTER = spread("sp-1", 30_000_000)


def flood(world: World, count: int, **changes: object) -> World:
    for number in range(count):
        order = an_order(f"f-{number}", start_at=world.utc, expires=world.utc + 3 * HOUR)
        world.order(replace(order, **changes)).advance(20)  # type: ignore[arg-type]
    return world


def test_the_speaker_holds_back_more_starts_in_an_hour_than_its_config_allows() -> None:
    world = flood(World().up(), 6)
    assert world.sounds() == ["f-0#1", "f-1#1", "f-2#1", "f-3#1"]
    assert world.steps("f-4") == ["accepted", "refused:rate_limited"]


def test_what_was_held_back_sounds_when_the_hour_is_over() -> None:
    world = flood(World().up(), 5).advance(3_600)
    assert world.sounds()[-1] == "f-4#1"


def test_the_limit_survives_a_restart() -> None:
    world = flood(World().up(), 4).crash().boot().connect()
    world.order(an_order("more", start_at=world.utc)).advance(60)
    assert world.steps("more") == ["accepted", "refused:rate_limited"]


def test_the_limit_survives_a_restart_without_a_wall_clock() -> None:
    world = flood(World().up(), 4).crash()
    world.wall_error_us = -50_000 * HOUR
    world.boot().connect()
    world.order(an_order("more", start_at=world.utc)).advance(60)
    assert world.sounds()[-1] == "f-3#1"


def test_a_wall_clock_that_runs_ahead_at_an_offline_boot_makes_no_start_older() -> None:
    world = flood(World().up(), 4)
    world.order(an_order("more", start_at=world.utc + 30 * S, expires=world.utc + 9 * HOUR)).advance(5).crash()
    world.wall_error_us = 2 * HOUR
    world.boot().advance(300)
    assert world.sounds()[-1] == "f-3#1"
    world.connect().advance(3_600)
    assert world.sounds()[-1] == "more#1"


def test_a_start_by_a_clock_that_runs_ahead_does_not_hold_orders_back_for_years() -> None:
    world = World().up()
    world.order(*(an_order(f"f-{n}", start_at=T0 + 60 * S, expires=T0 + 9 * HOUR) for n in range(4))).advance(5)
    world.crash()
    world.wall_error_us = HOUR
    world.boot().advance(100).crash()
    world.boot().connect().order(an_order("more", start_at=world.utc, expires=world.utc + 9 * HOUR)).advance(60)
    assert len(world.sounds()) == 4
    world.advance(3_600)
    assert world.sounds()[-1] == "more#1"


def test_a_start_by_a_clock_that_runs_behind_counts_as_new_after_the_next_restart() -> None:
    world = World().up()
    world.order(*(an_order(f"f-{n}", start_at=T0 + 60 * S, expires=T0 + 9 * HOUR) for n in range(4))).advance(5)
    world.crash()
    world.mono, world.utc = world.mono + 3 * HOUR, world.utc + 3 * HOUR
    world.wall_error_us = -3 * HOUR
    world.boot().advance(120).crash()
    world.boot().connect().order(an_order("more", start_at=world.utc, expires=world.utc + 9 * HOUR)).advance(60)
    assert sorted(world.sounds()) == ["f-0#1", "f-1#1", "f-2#1", "f-3#1"]
    assert world.steps("more") == ["accepted", "refused:rate_limited"]


def test_starts_keep_their_true_age_over_a_restart_once_the_clock_is_verified() -> None:
    world = flood(World().up(), 4).advance(1_800).crash().boot().connect()
    world.order(an_order("more", start_at=world.utc, expires=world.utc + 9 * HOUR)).advance(1_700)
    assert world.sounds()[-1] == "f-3#1"
    world.advance(120)
    assert world.sounds()[-1] == "more#1"


def test_a_higher_level_is_never_held_back_by_lower_ones() -> None:
    world = flood(World().up(), 6, level=3)
    world.order(an_order("red", level=1, start_at=world.utc)).advance(20)
    assert world.sounds()[-1] == "red#1"


def test_daily_orders_do_not_use_up_the_allowance_of_emergencies() -> None:
    world = flood(World().up(), 4, order_class=OrderClass.DAILY, level=1)
    world.order(an_order("storm", level=4, start_at=world.utc)).advance(20)
    assert world.sounds()[-1] == "storm#1"


def test_even_the_highest_level_has_a_limit_of_its_own() -> None:
    world = flood(World().up(), 6, level=1)
    assert len(world.sounds()) == 4


def test_repeats_of_one_order_count_once() -> None:
    world = World().up().order(an_order("long", repeat=8, gap_s=0)).advance(100)
    world.order(an_order("next", start_at=world.utc)).advance(20)
    assert world.sounds()[-1] == "next#1"


def test_withdrawing_and_resuming_again_and_again_runs_into_the_limit() -> None:
    order = an_order(repeat=9)
    world = World().up()
    for turn in range(8):
        world.order(replace(order, rev=2 * turn + 1)).advance(3)
        world.order(replace(withdrawn(order), rev=2 * turn + 2)).advance(3)
    assert world.sounds() == ["o-1#1…"] * 4


def test_a_sound_that_was_interrupted_by_a_crash_is_not_counted_twice() -> None:
    world = flood(World().up(), 3)
    world.order(an_order("long", start_at=world.utc)).advance(4)
    world.crash().boot().connect().advance(30)
    assert world.sounds()[-2:] == ["long#1…", "long#1"]


def test_audio_is_fetched_after_the_spread_and_the_text_is_spoken_meanwhile() -> None:
    audio = an_audio()
    world = World().up().order(an_order(audio=(audio,), repeat=2)).advance(12)
    fetch = next(effect for effect in world.effects if isinstance(effect, e.Fetch))
    assert fetch == e.Fetch(audio.sha256, f"{BASE}/{audio.sha256}", 1_000, 5 * S + FETCH_AFTER)
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.advance(60)
    assert [h.kinds for h in world.heard] == [("chime", "say"), ("chime", "audio")]


def test_staged_audio_sounds_at_once_and_nothing_is_fetched() -> None:
    audio = an_audio()
    world = World()
    world.retained = {}
    world.boot(cached=(audio.sha256,))
    world.crash()
    world.up()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.order(an_order(audio=(audio,))).advance(30)
    assert world.heard[0].kinds == ("chime", "audio")
    assert not any(isinstance(effect, e.Fetch) for effect in world.effects)
    assert (world.step("o-1", "finished").evidence or {})["source"] == "recording"


def test_what_the_config_stages_is_fetched_before_any_order_and_makes_room_for_nothing() -> None:
    staged, other = an_audio("a"), an_audio("b")
    world = World().up()
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=2, staged=(staged,), audio_base=BASE), CONFIG))
    kept = frozenset({staged.sha256})
    assert [effect for effect in world.effects if isinstance(effect, e.Fetch)] == [
        e.Fetch(staged.sha256, f"{BASE}/{staged.sha256}", 1_000, world.mono + FETCH_AFTER, kept)
    ]
    world.feed(e.AudioStored, sha256=staged.sha256)
    world.order(an_order(audio=(staged, other))).advance(30)
    assert world.heard[0].kinds == ("chime", "audio")
    fetched = [effect for effect in world.effects if isinstance(effect, e.Fetch)]
    assert [(effect.sha256, effect.keep) for effect in fetched] == [(staged.sha256, kept), (other.sha256, kept)]


def test_the_same_audio_is_fetched_once_for_many_orders() -> None:
    audio = an_audio()
    world = World().up().order(an_order("a", audio=(audio,)), an_order("b", audio=(audio,))).advance(30)
    assert sum(isinstance(effect, e.Fetch) for effect in world.effects) == 1


def test_a_failed_fetch_is_tried_again_later_but_not_a_hopeless_one() -> None:
    audio, hopeless = an_audio("a"), an_audio("b")
    world = World().up().order(an_order(audio=(audio, hopeless), repeat=9, gap_s=60)).advance(1)
    world.feed(e.AudioFailed, sha256=audio.sha256, reason="unreachable")
    world.feed(e.AudioFailed, sha256=hopeless.sha256, reason="over_cap", again=False)
    world.advance(40)
    fetched = [effect.sha256 for effect in world.effects if isinstance(effect, e.Fetch)]
    assert fetched == [audio.sha256, hopeless.sha256, audio.sha256]


def test_nothing_is_fetched_for_an_order_that_is_over_or_for_others() -> None:
    world = World().up().order(withdrawn(an_order(audio=(an_audio(),)))).advance(30)
    assert not any(isinstance(effect, e.Fetch) for effect in world.effects)


def test_a_recording_that_cannot_be_decoded_is_spoken() -> None:
    audio = an_audio()
    world = World(failures={"audio": "decode_failed"}).up()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.order(an_order(audio=(audio,))).advance(30)
    assert world.heard[0].kinds == ("chime", "say")
    assert (world.step("o-1", "playing").evidence or {})["source"] == "speech"


def test_without_speech_the_recorded_phrase_and_the_chime_sound() -> None:
    world = World(failures={"say": "speech_failed"}).up().order(an_order()).advance(30)
    assert world.heard[0].kinds == ("chime", "phrase")


def test_words_that_fell_back_behind_their_chime_are_told_as_what_was_heard() -> None:
    audio = an_audio()
    world = World().up()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.order(an_order(audio=(audio,))).advance(3)
    assert world.playing is not None
    ticket = world.playing[0]
    world.feed(e.SoundEnded, ticket=ticket, ms=9_000, source="speech", fell_back="decode_failed")
    world.advance(1)
    assert (world.step("o-1", "playing").evidence or {})["source"] == "recording"
    assert world.step("o-1", "finished").evidence == {
        "repeat": 1, "of": 1, "source": "speech", "volume": 60, "ms": 9_000, "fell_back": "decode_failed",
    }  # fmt: skip


def test_a_recording_carries_its_text_so_that_it_can_be_said_behind_the_same_chime() -> None:
    audio = an_audio()
    world = World().up()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.order(an_order(audio=(audio,))).advance(3)
    assert world.playing is not None
    assert [segment.text for segment in world.playing[1].segments] == ["", an_order().texts["zh"]]


def test_words_that_fail_before_the_start_fall_back_like_any_load() -> None:
    world = World().up()
    world.order(an_order(start_at=world.utc + 4 * S)).advance(2)
    loading = world.state.sound.loading
    assert loading is not None
    assert loading.ready
    world.feed(e.SoundFailed, ticket=loading.ticket, reason="disk_failed")
    world.advance(30)
    assert [h.kinds for h in world.heard] == [("chime", "phrase")]


def test_an_order_with_a_recording_in_one_language_and_a_text_in_another_has_both() -> None:
    audio = an_audio(lang="en")
    world = World().up()
    world.feed(e.AudioStored, sha256=audio.sha256)
    world.order(an_order(audio=(audio,))).advance(30)
    assert world.heard[0].kinds == ("chime", "say", "audio")


def test_a_broken_sound_card_is_reported_once_and_tried_until_it_works() -> None:
    world = World(failures={"chime": "no_sound_card"}).up().order(an_order()).advance(300)
    assert world.steps("o-1") == ["accepted", "failed:no_sound_card"]
    world.failures = {}
    world.advance(70)
    assert world.sounds() == ["o-1#1"]


def test_a_repeat_that_keeps_breaking_off_is_given_up_after_three_tries() -> None:
    world = World().up().order(an_order(repeat=1))
    for _ in range(3):
        while world.playing is None:
            world.advance(1)
        ticket = world.playing[0]
        world.advance(3)
        world.feed(e.SoundFailed, ticket=ticket, reason="sound_card_failed")
    world.advance(600)
    assert world.sounds() == ["o-1#1…"] * 3
    assert world.steps("o-1")[-1] == "failed:sound_card_failed"


def test_a_repeat_that_breaks_off_after_eighty_percent_was_heard() -> None:
    world = World().up().order(an_order()).advance(9)
    assert world.playing is not None
    world.feed(e.SoundFailed, ticket=world.playing[0], reason="sound_card_failed")
    world.playing = None
    world.advance(60)
    assert world.steps("o-1")[-1] == "finished"
    assert world.heard == []


def test_events_of_sounds_long_gone_change_nothing() -> None:
    world = World().up().order(an_order(repeat=2)).advance(3)
    before = world.state
    for event in (e.SoundBegan, e.SoundLoaded):
        world.feed(event, ticket=999)
    world.feed(e.SoundProgress, ticket=999, percent=100)
    world.feed(e.SoundEnded, ticket=999, ms=1)
    world.feed(e.SoundFailed, ticket=999, reason="late")
    assert world.state == replace(before, wake_us=world.state.wake_us)
    assert T0 < world.utc
