"""The clock rule, and freshness tested once."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.documents import HelloAnswer, OrderClass
from devices.protocols.speaker_link import config_topic, hello_answer_topic, manifest_topic, sign
from devices.speaker import events as e
from tests.devices.speaker.world import (
    CITY,
    CLOCK,
    CONFIG,
    EXERCISE,
    HOUR,
    SETUP,
    SPEAKER,
    T0,
    S,
    World,
    an_order,
)

STREAM = manifest_topic(CITY, "actual", "city")


def hellos(world: World) -> int:
    return sum(p.topic.endswith("/hello") for p in world.published)


def test_speaker_without_a_verified_hello_and_without_stored_state_stays_silent() -> None:
    world = World(answers_hello=False).up().order(an_order()).advance(120)
    assert world.sounds() == []
    assert world.refusals == []


def test_the_order_that_waited_for_the_clock_sounds_when_the_hello_is_answered() -> None:
    world = World(answers_hello=False).up().order(an_order()).advance(30)
    world.answers_hello = True
    world.advance(120)
    assert world.sounds() == ["o-1#1"]


def test_hello_is_said_at_boot_and_about_every_fifteen_minutes() -> None:
    world = World().up().advance(10)
    assert hellos(world) == 1
    world.advance(4 * 900)
    assert 4 <= hellos(world) - 1 <= 5


def test_unanswered_hello_is_repeated_ever_more_slowly() -> None:
    world = World(answers_hello=False).up().advance(600)
    assert 6 <= hellos(world) <= 15


def test_each_hello_has_its_own_nonce_and_another_boot_has_others() -> None:
    world = World(answers_hello=False).up().advance(300)
    world.crash().boot().connect().advance(300)
    nonces = [p.payload for p in world.published if p.topic.endswith("/hello")]
    assert len(set(nonces)) == len(nonces)


def test_an_answer_to_another_nonce_sets_no_clock() -> None:
    world = World(answers_hello=False).up()
    world.message(hello_answer_topic(SPEAKER), sign(HelloAnswer("n" * 32, T0, {}), CLOCK))
    assert not world.state.clock.verified


def test_an_answer_signed_by_a_key_that_is_not_for_clocks_sets_no_clock() -> None:
    world = World(answers_hello=False).up()
    nonce = world.state.clock.nonce
    world.message(hello_answer_topic(SPEAKER), sign(HelloAnswer(nonce, T0, {}), EXERCISE))
    assert not world.state.clock.verified
    assert world.refusals == [(hello_answer_topic(SPEAKER), 0, "key_use")]


def test_an_answer_that_took_too_long_sets_no_clock() -> None:
    world = World(answers_hello=False).up()
    nonce = world.state.clock.nonce
    world.mono += 11 * S
    world.message(hello_answer_topic(SPEAKER), sign(HelloAnswer(nonce, world.utc, {}), CLOCK))
    assert not world.state.clock.verified


def test_half_the_round_trip_is_added_to_the_answer() -> None:
    world = World(answers_hello=False).up()
    nonce, asked = world.state.clock.nonce, world.state.clock.asked_us
    world.mono += 2 * S
    world.message(hello_answer_topic(SPEAKER), sign(HelloAnswer(nonce, T0, {}), CLOCK))
    assert world.state.clock.offset_us == T0 + S - (asked + 2 * S)


def test_a_wall_clock_that_is_years_off_changes_nothing_once_hello_is_answered() -> None:
    world = World(wall_error_us=-50_000 * HOUR).up().order(an_order()).advance(60)
    assert world.sounds() == ["o-1#1"]


def test_stale_manifest_is_refused_and_asks_for_the_time_again() -> None:
    world = World().up().advance(10)
    before = hellos(world)
    stale = world.manifest(an_order(), issued=T0 - 1_000 * S, fresh_until=T0 - 1)
    world.publish(STREAM, stale).advance(10)
    assert world.sounds() == []
    assert world.refusals == [(STREAM, world.versions[STREAM], "stale")]
    assert hellos(world) == before + 1


def test_a_manifest_from_the_future_asks_for_the_time_at_once_so_that_its_order_is_not_early() -> None:
    world = World().up().advance(10)
    world.utc += 200 * S
    world.order(an_order(start_at=world.utc)).advance(5)
    assert hellos(world) == 2
    assert world.sounding_order() == "o-1"


def test_a_manifest_two_seconds_ahead_of_the_clock_asks_for_nothing() -> None:
    world = World().up().advance(10)
    world.utc += 2 * S
    world.order(an_order(start_at=world.utc)).advance(60)
    assert hellos(world) == 1


def test_a_manifest_from_the_future_delivered_again_and_again_asks_once() -> None:
    world = World().up().advance(10)
    ahead = world.manifest(an_order(), issued=T0 + 100 * S, fresh_until=T0 + 700 * S)
    for _ in range(20):
        world.publish(STREAM, ahead).advance(6)
    assert hellos(world) == 2


def test_an_answer_given_before_the_clock_was_put_forward_does_not_end_the_asking() -> None:
    world = World().up().advance(900)
    while not world.state.clock.nonce:
        world.answers_hello = False
        world.advance(1)
    nonce, before_us = world.state.clock.nonce, world.utc
    world.answers_hello = True
    world.utc += 200 * S
    world.order(an_order(start_at=world.utc, expires=world.utc + HOUR))
    world.message(hello_answer_topic(SPEAKER), sign(HelloAnswer(nonce, before_us, {}), CLOCK))
    world.advance(7)
    assert world.sounding_order() == "o-1"


def test_after_a_restart_a_stale_manifest_is_not_obeyed_by_a_clock_that_runs_behind() -> None:
    world = World().up().advance(5).crash()
    world.order(an_order(start_at=world.utc, expires=T0 + 5 * HOUR))
    world.mono, world.utc = world.mono + HOUR, world.utc + HOUR
    world.wall_error_us = -HOUR
    world.answers_hello = False
    world.boot().connect().advance(5)
    assert (world.sounds(), world.refusals, world.state.orders) == ([], [], {})
    world.answers_hello = True
    world.advance(120)
    assert world.sounds() == []
    assert world.refusals == [(STREAM, world.versions[STREAM], "stale")]


def test_a_good_manifest_after_a_restart_is_obeyed_as_soon_as_the_hello_is_answered() -> None:
    world = World().up().advance(5).crash().order(an_order())
    world.boot().connect().advance(2)
    assert world.sounding_order() == "o-1"


def test_replaying_stale_manifests_does_not_make_the_speaker_shout_hello() -> None:
    world = World().up().advance(10)
    before = hellos(world)
    for number in range(50):
        world.publish(STREAM, world.manifest(an_order(), version=number + 1, fresh_until=T0, issued=T0 - S))
        world.advance(0.1)
    assert hellos(world) - before <= 2


def test_version_far_ahead_of_the_clock_is_refused() -> None:
    world = World().up()
    ahead = world.manifest(an_order(), version=T0 // 1_000 + 600_001 + 1_000)
    world.publish(STREAM, ahead).advance(5)
    assert [reason for _, _, reason in world.refusals] == ["version_ahead"]
    assert world.sounds() == []


def test_freshness_is_tested_once_so_the_same_bytes_after_an_hour_are_no_refusal() -> None:
    world = World().up().order(an_order(expires=T0 + 5 * HOUR)).advance(7_200)
    world.disconnect().connect().advance(60)
    assert world.refusals == []
    assert world.sounds() == ["o-1#1"]


def test_same_bytes_redelivered_after_a_restart_are_no_refusal_and_no_replay() -> None:
    world = World().up().order(an_order(expires=T0 + 5 * HOUR)).advance(7_200)
    world.crash().boot().connect().advance(60)
    assert world.refusals == []
    assert world.sounds() == ["o-1#1"]


def test_offline_restart_with_a_dead_wall_clock_never_goes_back_before_the_last_known_time() -> None:
    world = World().up().order(an_order(start_at=T0 + 30 * S)).advance(5)
    world.crash()
    world.wall_error_us = -50_000 * HOUR
    world.boot().advance(60)
    assert world.sounds() == ["o-1#1"]


def test_a_wall_clock_far_ahead_at_an_offline_boot_settles_nothing_for_good() -> None:
    world = World().up().order(an_order(start_at=T0 + 30 * S)).advance(5)
    world.crash()
    world.wall_error_us = 50_000 * HOUR
    world.boot().advance(10)
    assert world.sounds() == []
    world.connect().advance(60)
    assert world.sounds() == ["o-1#1"]


DEAD = -50_000 * HOUR
"""How wrong the machine's clock is that has forgotten the time."""


@pytest.mark.parametrize("wrong_us", [DEAD, -HOUR, 0, 20 * 60 * S, 2 * HOUR, 30 * 24 * HOUR, 9_000 * HOUR])
@pytest.mark.parametrize("quiet_s", [0, 600, 7_200])
def test_an_order_in_force_goes_on_without_a_link_whatever_the_machine_takes_for_the_time(
    quiet_s: int, wrong_us: int
) -> None:
    world = World().up().advance(quiet_s)
    world.order(an_order(start_at=world.utc, expires=world.utc + HOUR, repeat=200)).advance(40).crash().advance(20)
    world.wall_error_us = wrong_us
    before = len(world.heard)
    world.boot().advance(29)
    assert world.sounding_order() == ""
    assert world.advance(2).sounding_order() == "o-1"
    world.advance(300)
    assert len(world.heard) - before == 20


@pytest.mark.parametrize("wrong_us", [DEAD, 0, HOUR])
def test_an_order_that_had_expired_before_the_power_failed_stays_silent_without_a_link(wrong_us: int) -> None:
    world = World().up().order(an_order(repeat=2_000, expires=T0 + 300 * S)).advance(280).disconnect().advance(1_000)
    heard = len(world.heard)
    world.wall_error_us = wrong_us
    world.crash().boot().advance(900)
    assert len(world.heard) == heard


def test_power_cuts_one_after_the_other_do_not_set_the_time_back() -> None:
    world = World(wall_error_us=DEAD).up().order(an_order(repeat=2_000, expires=T0 + 600 * S)).advance(60)
    for _ in range(20):
        world.crash().boot().advance(60)
    assert world.heard[-1].at <= 660 * S
    assert world.sounding_order() == ""


def test_the_time_is_on_disk_every_fifteen_minutes_when_nobody_answers() -> None:
    world = (
        World(wall_error_us=DEAD)
        .up()
        .order(an_order(start_at=T0 + 8_000 * S, expires=T0 + 9 * HOUR))
        .advance(60)
        .disconnect()
    )
    world.advance(7_200).crash().boot().advance(8_000 - 7_200 - 60 + 900)
    assert world.sounds() == ["o-1#1"]


def test_a_daily_item_does_not_begin_by_the_stored_time() -> None:
    world = World(wall_error_us=DEAD).up().order(an_order(order_class=OrderClass.DAILY, start_at=T0 + 60 * S))
    world.advance(10).crash().boot().advance(300)
    assert world.sounds() == []
    assert world.connect().advance(60).sounds() == []
    assert world.steps("o-1")[-1] == "refused:missed"


@pytest.mark.parametrize("wrong_us", [DEAD, 0, 30 * 24 * HOUR])
def test_a_speaker_without_a_verified_clock_gives_its_steps_no_time(wrong_us: int) -> None:
    world = World().up().order(an_order(repeat=20)).advance(12).crash().advance(30)
    world.wall_error_us, world.answers_hello = wrong_us, False
    told = len(world.receipts)
    world.boot().connect().advance(120)
    steps = [step for receipt in world.receipts[told:] for step in receipt.steps]
    assert {step.kind for step in steps} >= {"ready", "playing", "finished"}
    assert {step.at for step in steps} == {0}
    world.answers_hello = True
    world.advance(120)
    assert T0 < world.receipts[-1].steps[-1].at <= world.utc


def test_without_stored_state_the_wall_clock_alone_makes_nothing_sound() -> None:
    world = World(answers_hello=False).up().order(an_order()).advance(5)
    world.crash().boot().connect().advance(60)
    assert world.sounds() == []


def test_hello_that_knows_a_newer_version_asks_the_broker_for_its_copy() -> None:
    world = World().up().order(an_order()).advance(5)
    world.versions[STREAM] += 1
    world.disconnect().connect()
    world.advance(1_000)
    filters = [topic for effect in world.effects if isinstance(effect, e.Subscribe) for topic in effect.topics]
    assert filters.count(STREAM.rsplit("/", 2)[0] + "/+/+") > 2


def test_config_of_another_speaker_is_refused() -> None:
    world = World().up()
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, speaker="sp-2", version=2), CONFIG))
    assert world.refusals == [(config_topic(SPEAKER), 0, "stream_mismatch")]


def test_an_unverified_clock_that_runs_ahead_does_not_report_a_daily_order_as_missed() -> None:
    world = World().up().order(an_order(order_class=OrderClass.DAILY, start_at=T0 + 300 * S)).advance(20).crash()
    world.wall_error_us = 600 * S
    world.boot().advance(10).connect().advance(400)
    assert world.sounds() == ["o-1#1"]
    assert world.steps("o-1")[:2] == ["accepted", "ready"]


def test_an_unverified_clock_that_runs_ahead_accuses_nobody_of_a_stale_manifest() -> None:
    world = World().up().advance(5).crash()
    world.wall_error_us = HOUR
    world.answers_hello = False
    world.boot().connect().order(an_order()).advance(30)
    assert world.refusals == []
    world.answers_hello = True
    world.advance(120)
    assert world.sounds() == ["o-1#1"]
    assert world.refusals == []


def test_the_same_stale_bytes_delivered_again_and_again_ask_for_the_time_once() -> None:
    world = World().up().advance(10)
    before = hellos(world)
    stale = world.manifest(an_order(), issued=T0 - 1_000 * S, fresh_until=T0 - 1)
    for _ in range(20):
        world.publish(STREAM, stale).advance(6)
    assert hellos(world) == before + 1
