"""At most once heard: what a crash at any moment leaves, and what sounds after it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.jws import SigningKey
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic, sign
from devices.speaker import events as e
from tests.devices.speaker.world import (
    ACTUAL,
    CONFIG,
    HOUR,
    KEYS,
    ROOT,
    SETUP,
    SPEAKER,
    T0,
    S,
    World,
    an_order,
    withdrawn,
)


def test_the_start_is_on_disk_before_the_first_sample() -> None:
    world = World().up().order(an_order()).advance(1)
    effects = world.effects
    play = next(n for n, effect in enumerate(effects) if isinstance(effect, e.Play))
    persisted = [effect for effect in effects[:play] if isinstance(effect, e.Persist)]
    marks = [entry.value for persist in persisted for entry in persist.entries if entry.kind == "mark"]
    assert '"running":1' in str(marks[-1])


def test_a_repeat_that_reached_eighty_percent_before_the_crash_was_heard() -> None:
    world = World().up().order(an_order(repeat=2)).advance(8.2).crash().boot().connect().advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#2"]
    said = [s for r in world.receipts for s in r.steps if s.kind == "finished"]
    assert [(s.reason, (s.evidence or {})["repeat"], (s.evidence or {})["of"]) for s in said] == [
        ("restart", 1, 2), ("", 2, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("away_s", [1, 3 * 3_600])
def test_a_repeat_finished_by_the_power_cut_was_finished_when_it_sounded(away_s: int) -> None:
    world = World().up().order(an_order()).advance(9).crash().advance(away_s).boot().connect().advance(3)
    assert abs(world.step("o-1", "finished").at - (T0 + 8 * S)) < S


def test_the_time_of_a_repeat_that_sounded_by_an_unverified_clock_is_not_known_after_the_next_power_cut() -> None:
    world = World().up().order(an_order(repeat=2)).advance(4).crash().boot().advance(39).crash()
    world.boot().connect().advance(3)
    assert world.step("o-1", "finished").at == 0


def test_an_order_that_expired_during_a_power_cut_ended_when_it_expired() -> None:
    world = after_a_power_cut(hours=2).connect().advance(3)
    assert world.step("o-1", "failed").at == T0 + HOUR


def test_a_repeat_cut_by_a_crash_before_eighty_percent_sounds_again_whole_and_marked() -> None:
    world = World().up().order(an_order(repeat=2)).advance(7.9).crash().boot().connect().advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#1", "o-1#2"]
    again = [s.evidence or {} for r in world.receipts for s in r.steps if s.kind == "playing"]
    assert [(a["repeat"], a.get("again", 0)) for a in again] == [(1, 0), (1, 1), (2, 0)]


def test_a_finished_order_stays_finished_over_many_restarts() -> None:
    world = World().up().order(an_order(repeat=2)).advance(60)
    for _ in range(3):
        world.crash().boot().connect().advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_an_interrupted_order_goes_on_after_a_restart_without_any_link() -> None:
    world = World().up().order(an_order(repeat=2)).advance(4).crash().boot().advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#1", "o-1#2"]


def after_a_power_cut(hours: int) -> World:
    """The power fails in the first repeat of an order of one hour, and with it the machine's clock."""
    world = World().up().order(an_order(repeat=2)).advance(4).crash()
    world.mono, world.utc = world.mono + hours * HOUR, world.utc + hours * HOUR
    world.wall_error_us = -50_000 * HOUR
    return world.boot()


def test_what_expired_during_a_power_cut_is_not_the_first_thing_heard_after_it() -> None:
    world = after_a_power_cut(hours=2).advance(25).connect().advance(60)
    assert world.sounds() == ["o-1#1…"]
    assert world.steps("o-1")[-1] == "failed:order_expired"


def test_a_speaker_that_nobody_answers_goes_by_its_stored_time_in_the_end() -> None:
    world = after_a_power_cut(hours=2).advance(29)
    assert world.sounds() == ["o-1#1…"]
    assert world.advance(2).sounding_order() == "o-1"


def test_what_waits_for_the_hello_is_loaded_and_sounds_as_soon_as_it_is_answered() -> None:
    world = World().up().order(an_order(repeat=2)).advance(4).crash().boot().advance(5)
    assert world.sounding_order() == ""
    assert world.connect().sounding_order() == "o-1"


def test_an_order_withdrawn_while_the_speaker_was_dead_is_silent_once_the_link_is_up() -> None:
    order = an_order(start_at=T0 + 120 * S)
    world = World().up().order(order).advance(5).crash().order(withdrawn(order)).boot().connect().advance(200)
    assert world.sounds() == []


def test_stopping_in_good_order_says_offline_and_keeps_the_interrupted_repeat_for_later() -> None:
    world = World().up().order(an_order()).advance(4)
    effects = world.feed(e.Stopping)
    state = next(effect for effect in effects if isinstance(effect, e.Publish) and effect.retain)
    assert b'"online":false' in state.payload
    world.crash().boot().connect().advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#1"]


def test_the_last_will_carries_the_connection_number_and_it_grows() -> None:
    world = World().up().disconnect().connect().crash().boot().connect()
    wills = [effect.will_payload for effect in world.effects if isinstance(effect, e.Connect)]
    assert [f'"connection":{n}'.encode() in will for n, will in enumerate(wills, 1)] == [True, True, True]


def crash_points() -> list[float]:
    return [tenths / 10 for tenths in range(0, 420, 3)]


@pytest.mark.parametrize("moment", crash_points())
def test_a_crash_at_any_moment_loses_nothing_and_repeats_nothing_that_was_heard(moment: float) -> None:
    world = World().up().order(an_order(repeat=3, gap_s=2)).advance(moment)
    world.crash().advance(1).boot().connect().advance(120)
    whole = [h.repeat for h in world.heard if h.to_end]
    eighty = [h.repeat for h in world.heard if not h.to_end and h.ms >= 8_000]
    assert sorted(whole + eighty) == [1, 2, 3]
    assert len(world.heard) <= 4


def test_a_crash_after_any_single_effect_loses_no_fact() -> None:
    """The disk is cut after each Persist in turn; whatever was said before is still known after."""
    full = World().up().order(an_order(repeat=2, gap_s=0)).advance(60)
    for cut in range(len(full.disk) + 1):
        world = World(mono=full.mono, utc=full.utc)
        world.disk = full.disk[:cut]
        world.boot()
        facts = {(entry.kind, entry.key): entry.value for entry in world.disk}
        heard = '"heard":2' in str(facts.get(("mark", "actual/o-1")))
        world.retained = full.retained
        world.connect().advance(60)
        if heard:
            assert world.sounds() == []


def test_an_unreadable_order_in_the_journal_is_left_out_and_the_rest_is_taken_up() -> None:
    world = World().up().order(an_order("good", start_at=T0 + 60 * S), an_order("bad", start_at=T0 + 60 * S)).advance(1)
    bad = ("order", "actual/bad")
    world.disk = [replace(x, value='["x","{}"]') if (x.kind, x.key) == bad else x for x in world.disk]
    world.crash().boot().advance(120)
    assert world.sounds() == ["good#1"]
    assert world.state.sound.store_reason == "order_unread"


@pytest.mark.parametrize("gone", [(CONFIG,), (CONFIG, ACTUAL)], ids=["config key", "config and actual key"])
def test_an_accepted_config_outlives_its_key_over_a_restart_without_link(gone: tuple[SigningKey, ...]) -> None:
    world = World().up().order(an_order(start_at=T0 + 60 * S)).advance(1)
    kids = {signer.kid for signer in gone}
    fewer = replace(KEYS, version=2, keys=tuple(listed for listed in KEYS.keys if listed.kid not in kids))
    world.publish(KEYS_TOPIC, sign(fewer, ROOT)).advance(1).crash().boot()
    assert world.state.papers.config == SETUP
    assert world.state.sound.store_reason == ""
    assert world.advance(120).sounds() == ["o-1#1"]
    world.connect().advance(1)
    assert [refusal for refusal in world.refusals if refusal[0] == config_topic(SPEAKER)] == []
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=2), CONFIG)).advance(1)
    assert world.refusals[-1] == (config_topic(SPEAKER), 0, "unknown_key")
    assert world.state.papers.config == SETUP


@pytest.mark.parametrize("name", ["keys", "config"])
def test_a_stored_document_that_is_damaged_is_left_out_and_the_other_is_kept(name: str) -> None:
    world = World().up().advance(1)
    world.disk = [replace(x, value="x.y.z") if (x.kind, x.key) == ("doc", name) else x for x in world.disk]
    world.crash().boot()
    papers = world.state.papers
    assert (papers.keys, papers.config) == ((None, SETUP) if name == "keys" else (KEYS, None))
    assert world.state.sound.store_reason == "document_unread"
    world.connect().advance(1)
    assert (world.state.papers.keys, world.state.papers.config) == (KEYS, SETUP)


def test_the_stored_config_of_another_speaker_is_left_out() -> None:
    world = World().up().advance(1)
    foreign = sign(replace(SETUP, speaker="sp-2"), CONFIG).decode()
    world.disk = [replace(x, value=foreign) if (x.kind, x.key) == ("doc", "config") else x for x in world.disk]
    assert world.crash().boot().state.papers.config is None


def test_gaps_and_receipt_numbers_go_on_after_a_restart() -> None:
    world = World().up().order(an_order(repeat=2)).advance(20).crash().boot().connect().advance(60)
    seqs = [r.seq for r in world.receipts]
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == len(seqs)


def test_a_wiped_store_has_a_new_journal_id_and_starts_at_one() -> None:
    world = World().up().order(an_order()).advance(30).crash().wipe("journal-2")
    world.retained = {topic: raw for topic, raw in world.retained.items() if "manifest" not in topic}
    world.boot().connect().order(an_order("o-2", start_at=world.utc)).advance(30)
    assert min(r.seq for r in world.receipts if r.journal == "journal-2") == 1


OTHER_FORMS = ["", "null", "[]", "7", '"x"', '[["x"]]', '{"x":1}', '{"heard":"x"}', '{"x":[1,"zz",""]}', "[1,2,3]"]


@pytest.mark.parametrize("form", OTHER_FORMS)
def test_no_fact_in_another_form_keeps_a_speaker_from_booting(form: str) -> None:
    world = World().up().order(an_order(repeat=9)).advance(5)
    kinds = {(entry.kind, entry.key) for entry in world.disk}
    left_out = {
        ("order", "actual/o-1"),
        ("mark", "actual/o-1"),
        ("self", "starts"),
        ("doc", "configs"),
        ("doc", "roots"),
    }
    left_out |= {(kind, key) for kind, key in kinds if kind == "stream"}
    assert left_out <= kinds
    for kind, key in sorted(left_out):
        other = World().up().order(an_order(repeat=9)).advance(5)
        other.crash()
        other.disk = [replace(x, value=form) if (x.kind, x.key) == (kind, key) else x for x in other.disk]
        other.boot().connect().advance(1)
        other.order(an_order("next", start_at=other.utc, level=1)).advance(10)
        assert other.sounding_order() == "next", (kind, key)
