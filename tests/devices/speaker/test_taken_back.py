"""What a removed key's claim has caused at a speaker is taken back with it: what it ended, played and filled."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import KeyDocument, KeyUse, Manifest, Order, OrderState, Phase
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic, sign
from devices.speaker import events as e
from devices.speaker.state import ORDERS_KEPT_MAX
from tests.devices.speaker.thief import (
    REV_MAX,
    SECOND,
    STREAM,
    Restart,
    by_the_thief,
    config,
    either,
    keys,
    reasons,
    removed,
    two_keys,
)
from tests.devices.speaker.world import (
    ACTUAL,
    CITY,
    CONFIG,
    DISTRICT,
    EXERCISE,
    HOUR,
    KEYS,
    ROOT,
    SPEAKER,
    T0,
    S,
    World,
    an_audio,
    an_order,
    key,
    link_key,
    withdrawn,
)

SUPERSEDES = {"level": 1, "supersedes": ("ours",)}
ALL_CLEAR = {"level": 1, "phase": Phase.ALL_CLEAR, "corrects": "ours"}
ends = pytest.mark.parametrize("ends", [SUPERSEDES, ALL_CLEAR], ids=["supersedes", "all_clear"])


# What it ended


def ours_on_air(**changes: Any) -> tuple[World, Order]:
    ours = an_order("ours", level=1, repeat=99, expires=T0 + 9 * HOUR, **changes)
    world = two_keys().order(ours, signer=SECOND).advance(5)
    assert world.sounding_order() == "ours"
    return world, ours


@ends
@either
def test_what_a_removed_key_ended_comes_back(between: Restart, ends: dict[str, Any]) -> None:
    world, ours = ours_on_air()
    by_the_thief(world, ours, an_order("thief", start_at=T0 + 3 * S, **ends)).advance(40)
    assert world.sounding_order() == ""
    removed(between(world)).order(ours, signer=SECOND).advance(5)
    assert world.state.orders["actual/thief"].order.state is OrderState.WITHDRAWN
    assert world.sounding_order() == "ours"


@either
def test_a_drill_that_a_removed_key_ended_comes_back(between: Restart) -> None:
    drill = an_order("drill", status="exercise", repeat=99)
    world = two_keys().order(drill, use="exercise", signer=EXERCISE).advance(5)
    by_the_thief(world, an_order("thief", level=1)).advance(40)
    assert world.sounding_order() == ""
    removed(between(world)).order(signer=SECOND).advance(5)
    assert world.sounding_order() == "drill"


@ends
@either
def test_an_end_stays_when_its_key_is_rotated(between: Restart, ends: dict[str, Any]) -> None:
    world, ours = ours_on_air()
    ender = an_order("ender", start_at=T0 + 3 * S, expires=T0 + 60 * S, **ends)
    world.order(ours, ender).advance(30).order(ours, ender, signer=SECOND).advance(60)
    assert world.sounding_order() == ""
    removed(between(world)).order(ours, signer=SECOND).advance(30)
    assert world.sounding_order() == ""


def test_a_drill_stays_over_when_the_key_of_the_emergency_is_rotated() -> None:
    drill = an_order("drill", status="exercise", repeat=99)
    fire = an_order("fire", level=1, expires=T0 + 100 * S)
    world = two_keys().order(drill, use="exercise", signer=EXERCISE).advance(5).order(fire).advance(60)
    removed(world.order(fire, signer=SECOND).advance(1)).advance(120)
    assert [sound for sound in world.sounds() if not sound.startswith("drill")] == ["fire#1"]
    assert world.sounding_order() == ""


@ends
@either
def test_an_end_stays_while_the_order_that_ended_is_in_force(between: Restart, ends: dict[str, Any]) -> None:
    world, ours = ours_on_air()
    world.order(ours, an_order("ender", start_at=T0 + 3 * S, **ends)).order(ours, signer=SECOND, area=DISTRICT)
    between(world.advance(30)).publish(KEYS_TOPIC, keys(3, SECOND)).advance(30)
    assert world.sounding_order() == ""
    assert world.steps("ours").count("superseded:superseded") == 1


@either
def test_what_ours_ended_as_well_stays_ended(between: Restart) -> None:
    world, ours = ours_on_air()
    thiefs = an_order("thief", start_at=T0 + 3 * S, **SUPERSEDES)
    clear = an_order("clear", start_at=T0 + 5 * S, expires=T0 + 60 * S, **ALL_CLEAR)
    by_the_thief(world, ours, thiefs).advance(5)
    world.message(STREAM, world.manifest(ours, clear, signer=SECOND, version=world.versions[STREAM] + 1))
    removed(between(world.advance(90))).order(ours, signer=SECOND).advance(30)
    assert world.sounding_order() == ""


def test_an_end_of_ours_that_a_removed_key_listed_too_stays() -> None:
    world, ours = ours_on_air()
    clear = an_order("clear", start_at=T0 + 5 * S, expires=T0 + 60 * S, **ALL_CLEAR)
    world.order(ours, clear, signer=SECOND).advance(10)
    by_the_thief(world, ours, clear).advance(90)
    removed(world).order(ours, signer=SECOND).advance(30)
    assert world.sounding_order() == ""


def test_an_order_of_ours_that_a_removed_key_made_end_another_ends_it_no_more() -> None:
    world, ours = ours_on_air()
    other = an_order("other", level=4, repeat=1)
    by_the_thief(world, ours, replace(other, rev=2, start_at=T0 + 3 * S, supersedes=("ours",))).advance(40)
    assert world.sounding_order() != "ours"
    removed(world).order(ours, other, signer=SECOND).advance(20)
    assert world.sounding_order() == "ours"


def test_an_order_that_was_ended_for_its_key_may_be_listed_again_as_it_was() -> None:
    order = an_order(repeat=99)
    world = two_keys().order(order).advance(3)
    removed(world).order(signer=SECOND).advance(3)
    assert world.sounding_order() == ""
    world.publish(KEYS_TOPIC, keys(4, ACTUAL, SECOND)).order(order, signer=SECOND).advance(3)
    assert (world.sounding_order(), reasons(world)) == ("o-1", [])


# What it played


@pytest.mark.parametrize(
    "otherwise",
    [{"volume": "mute"}, {"volume": 1}, {"event_code": "99Z99"}, {"level": 4}, {"phase": Phase.CORRECTION}],
    ids=lambda otherwise: next(iter(otherwise)),
)
@either
def test_what_a_removed_key_played_otherwise_was_never_heard(between: Restart, otherwise: dict[str, Any]) -> None:
    ours = an_order(level=1, volume=90)
    changed = replace(ours, rev=2, **otherwise)
    if changed.phase is not Phase.ALERT:
        changed = replace(changed, corrects="o-0", also_unstarted=True)
    world = by_the_thief(two_keys(), changed).advance(40)
    assert world.sounds() == ["o-1#1"]
    removed(between(world)).order(ours, signer=SECOND).advance(60)
    assert [sound.volume for sound in world.heard[1:]] == [90]


@pytest.mark.parametrize(("texts", "sounds"), [({}, 2), ({"zh": "请撤离。", "en": "Leave."}, 1)])
@either
def test_a_recording_left_out_was_not_heard_unless_its_text_was_said(
    between: Restart, texts: dict[str, str], sounds: int
) -> None:
    zh, en = an_audio("zh", "zh"), an_audio("en", "en")
    ours = an_order(level=1, texts=texts, audio=(zh, en))
    world = two_keys()
    for audio in (zh, en):
        world.feed(e.AudioStored, sha256=audio.sha256)
    by_the_thief(world, replace(ours, rev=2, audio=(en,))).advance(40)
    assert world.sounds() == ["o-1#1"]
    removed(between(world)).order(ours, signer=SECOND).advance(60)
    assert world.sounds() == ["o-1#1"] * sounds


def test_a_volume_that_a_removed_key_set_goes_with_it() -> None:
    world = by_the_thief(two_keys(), an_order("thief", volume=1)).advance(30)
    ours = an_order("ours", volume="unchanged", start_at=T0 + 40 * S)
    removed(world).order(ours, signer=SECOND).advance(60)
    assert [(sound.order, sound.volume) for sound in world.heard] == [("thief", 1), ("ours", 80)]


# What it filled


def full_of_the_thiefs(world: World, **changes: Any) -> World:
    far = {"level": 4, "volume": "mute", "start_at": T0 + 900 * HOUR, "expires": T0 + 990 * HOUR} | changes
    for batch in range(ORDERS_KEPT_MAX // 16 + 1):
        by_the_thief(world, *(an_order(f"t-{batch}-{n}", **far) for n in range(16))).advance(0.01)
    assert len(world.state.orders) == ORDERS_KEPT_MAX
    return world


def test_a_book_that_a_removed_key_filled_has_room_for_ours() -> None:
    world = removed(full_of_the_thiefs(two_keys()))
    ours = [an_order(f"ours-{n}", level=1, start_at=T0 + n) for n in range(4)]
    world.order(*ours, signer=SECOND).advance(90)
    assert world.state.papers.streams[STREAM].version == world.versions[STREAM]
    assert sorted(world.sounds()) == [f"ours-{n}#1" for n in range(4)]


def test_a_full_book_forgets_nothing_that_the_manifest_in_hand_lists() -> None:
    world = full_of_the_thiefs(two_keys())
    ours = [an_order(f"ours-{n}", level=1, start_at=T0 + n, expires=T0 + HOUR + n) for n in range(4)]
    world.message(STREAM, world.manifest(*ours, signer=SECOND, version=world.versions[STREAM] + 1)).advance(90)
    assert sorted(world.sounds()) == [f"ours-{n}#1" for n in range(4)]


def test_a_full_book_forgets_what_is_over_before_what_may_still_sound() -> None:
    over, soon = (
        an_order("over", level=1, expires=T0 + 980 * HOUR),
        an_order("soon", start_at=T0 + HOUR, expires=T0 + 2 * HOUR),
    )
    world = two_keys().order(over, soon, signer=SECOND).advance(30).order(withdrawn(over), soon, signer=SECOND)
    many = [an_order(f"m-{n}", start_at=T0 + 900 * HOUR, expires=T0 + 990 * HOUR) for n in range(ORDERS_KEPT_MAX - 1)]
    for at in range(0, len(many), 15):
        world.advance(1).order(*many[at : at + 15], signer=SECOND)
    assert len(world.state.orders) == ORDERS_KEPT_MAX
    assert {"actual/over", "actual/soon"} & set(world.state.orders) == {"actual/soon"}


# What is left of it


@either
def test_a_stream_is_named_while_an_order_of_it_is_in_force(between: Restart) -> None:
    own = f"tocsin/v1/speaker/{SPEAKER}/manifest/actual/city"
    world = two_keys()
    thiefs = an_order("thief", level=1, repeat=999, gap_s=0)
    world.message(own, sign(Manifest(own, world.utc // 1_000, world.utc, world.utc + HOUR, "", (thiefs,)), ACTUAL))
    world.advance(1).disconnect()
    world.retained[KEYS_TOPIC] = keys(3, SECOND)
    between(world.advance(60)).connect().advance(300)
    assert world.sounding_order() == "thief"
    assert named(world)[own] == 0
    world.advance(3_600)
    assert own not in named(world)


def named(world: World) -> dict[str, int]:
    """The streams that the newest state names."""
    states = [sent.payload for sent in world.published if sent.topic.endswith("/state")]
    streams: dict[str, int] = json.loads(states[-1])["streams"]
    return streams


@either
def test_an_older_config_of_a_key_that_stays_is_refused_after_another_key_was_removed(between: Restart) -> None:
    district = key("district-config")
    others = tuple(k for k in KEYS.keys if k.kid != CONFIG.kid)

    def listing(version: int, *more: Any) -> bytes:
        stays = link_key(district, KeyUse.CONFIG, area=DISTRICT)
        return sign(KeyDocument(version, T0, (*others, stays, *more)), ROOT)

    topic = config_topic(SPEAKER)
    world = World().up().publish(KEYS_TOPIC, listing(2, link_key(CONFIG, KeyUse.CONFIG))).advance(1)
    old = config(district, version=5, volume_max=3)
    world.publish(topic, old).advance(1).publish(topic, config(district, version=10)).advance(1)
    world.publish(topic, config(CONFIG, version=REV_MAX, area_chain=(CITY, "elsewhere"))).advance(1)
    between(world).publish(KEYS_TOPIC, listing(3)).advance(1).message(topic, old).advance(1)
    assert world.state.papers.config is not None
    assert (world.state.papers.config.version, reasons(world)[-1]) == (REV_MAX, "version_back")
    world.message(topic, config(district, version=11)).advance(1)
    assert world.state.papers.config.area_chain[1] == DISTRICT
