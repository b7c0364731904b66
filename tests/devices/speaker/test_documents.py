"""Signed documents: what is refused, what waits, who may change an order, and a speaker that is moved."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import KeyDocument, KeyUse
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    area_manifests,
    config_topic,
    manifest_topic,
    sign,
    speaker_manifest_topic,
    speaker_manifests,
)
from devices.speaker import events as e
from devices.speaker.state import STREAMS_MAX
from tests.devices.speaker.world import (
    ACTUAL,
    CITY,
    CONFIG,
    DISTRICT,
    DISTRICT_ACTUAL,
    EXERCISE,
    HOUR,
    KEYS,
    NEXT_ROOT,
    ROOT,
    SETUP,
    SPEAKER,
    STREET,
    T0,
    ZONE,
    S,
    World,
    an_order,
    key,
    link_key,
    withdrawn,
)

STREAM = manifest_topic(CITY, "actual", "city")


def test_subscriptions_are_the_own_branches_and_the_areas_of_the_chain() -> None:
    world = World().up()
    subscribed = {topic for effect in world.effects if isinstance(effect, e.Subscribe) for topic in effect.topics}
    assert subscribed == {
        "tocsin/v1/keys",
        "tocsin/v1/speaker/sp-1/config",
        "tocsin/v1/speaker/sp-1/hello/answer",
        "tocsin/v1/speaker/sp-1/ask",
        speaker_manifests(SPEAKER),
        *(area_manifests(area) for area in (CITY, DISTRICT, STREET, ZONE)),
    }


def test_a_manifest_that_came_before_its_keys_and_config_is_accepted_when_they_arrive() -> None:
    world = World().boot().connect()
    world.order(an_order()).advance(1)
    assert world.refusals == []
    world.publish(config_topic(SPEAKER), sign(SETUP, CONFIG)).publish(KEYS_TOPIC, sign(KEYS, ROOT)).advance(60)
    assert world.sounds() == ["o-1#1"]


def test_a_refused_manifest_is_accepted_when_its_key_arrives() -> None:
    new = key("new-actual")
    world = World().up().order(an_order(), signer=new).advance(5)
    assert [reason for _, _, reason in world.refusals] == ["unknown_key"]
    keys = KeyDocument(2, T0, (*KEYS.keys, link_key(new, KeyUse.ACTUAL)))
    world.publish(KEYS_TOPIC, sign(keys, ROOT)).advance(30)
    assert world.sounds() == ["o-1#1"]


def test_one_refusal_receipt_for_each_stream_version_and_reason() -> None:
    world = World().up()
    raw = world.manifest(an_order(), signer=key("stranger"))
    for _ in range(20):
        world.publish(STREAM, raw).advance(1)
    world.disconnect().connect().advance(5).crash().boot().connect().advance(5)
    assert world.refusals == [(STREAM, 0, "unknown_key")]


def test_a_flood_of_different_garbage_makes_few_receipts() -> None:
    world = World().up()
    for number in range(200):
        world.publish(STREAM, b"garbage %d" % number)
    world.advance(5)
    assert world.refusals == [(STREAM, 0, "malformed")]


def test_a_flood_of_strange_streams_is_bounded_and_good_ones_still_pass() -> None:
    world = World().up()
    for number in range(300):
        world.message(manifest_topic(CITY, "actual", f"stranger-{number}"), b"garbage")
    assert len(world.state.papers.waiting) <= STREAMS_MAX
    world.order(an_order()).advance(30)
    assert world.sounds() == ["o-1#1"]


def test_a_receipted_refusal_is_news_again_after_a_good_document() -> None:
    world = World().up().publish(STREAM, b"x").order(an_order()).publish(STREAM, b"x").advance(5)
    assert world.refusals == [(STREAM, 0, "malformed"), (STREAM, 0, "malformed")]


def test_an_empty_retained_message_is_ignored_and_reported() -> None:
    world = World().up().order(an_order(repeat=2)).advance(4).publish(STREAM, b"").advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]
    assert world.refusals == [(STREAM, 0, "empty_payload")]


def test_an_oversized_message_is_refused_and_not_kept() -> None:
    world = World().up().publish(STREAM, b"x" * 20_000).advance(1)
    assert world.refusals == [(STREAM, 0, "over_cap")]
    assert world.state.papers.waiting == {}


def test_an_older_version_is_refused() -> None:
    world = World().up()
    old = world.manifest(an_order("old"))
    world.advance(2).order(an_order("new", start_at=T0 + 30 * S)).publish(STREAM, old).advance(60)
    assert world.sounds() == ["new#1"]
    assert [reason for _, _, reason in world.refusals] == ["version_back"]


def test_the_same_version_with_other_bytes_keeps_the_first() -> None:
    world = World().up()
    first = world.manifest(an_order("first"))
    world.publish(STREAM, first)
    world.publish(STREAM, world.manifest(an_order("second"), version=world.versions[STREAM])).advance(60)
    assert world.sounds() == ["first#1"]
    assert world.refusals == [(STREAM, world.versions[STREAM], "version_conflict")]


def test_versions_never_go_back_after_a_restart() -> None:
    world = World().up()
    old = world.manifest(withdrawn(an_order("old")))
    world.advance(1).order(an_order("new", start_at=T0 + 60 * S)).advance(1).crash().boot().connect()
    world.publish(STREAM, old).advance(5)
    assert [reason for _, _, reason in world.refusals] == ["version_back"]


def test_a_retired_manifest_ends_the_stream_and_keeps_the_orders_already_accepted() -> None:
    world = World().up().order(an_order(start_at=T0 + 30 * S)).advance(1)
    world.publish(STREAM, world.manifest(retired=True)).advance(60)
    assert world.sounds() == ["o-1#1"]
    assert world.state.papers.streams[STREAM].version == world.versions[STREAM]


def test_keys_that_go_back_or_are_signed_by_a_stranger_are_refused() -> None:
    world = World().up()
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=3), ROOT))
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=2), ROOT))
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=9), key("stranger"))).advance(1)
    assert world.refusals == [(KEYS_TOPIC, 2, "version_back"), (KEYS_TOPIC, 0, "unknown_key")]
    assert world.state.papers.keys is not None
    assert world.state.papers.keys.version == 3


def test_a_new_root_announced_by_the_old_one_is_followed_and_survives_a_restart() -> None:
    world = World().up()
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=2, root=link_key(NEXT_ROOT, KeyUse.ROOT)), ROOT))
    world.crash().boot().connect()
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=3), NEXT_ROOT)).advance(1)
    world.crash().boot().connect()
    world.publish(KEYS_TOPIC, sign(replace(KEYS, version=4), ROOT)).advance(1)
    assert world.state.papers.keys is not None
    assert world.state.papers.keys.version == 3
    assert world.state.papers.root.kid == NEXT_ROOT.kid


def test_an_accepted_order_stands_when_its_key_is_removed_but_the_key_can_sign_nothing_new() -> None:
    world = World().up().order(an_order(start_at=T0 + 30 * S)).advance(1)
    keys = KeyDocument(2, T0, tuple(k for k in KEYS.keys if k.kid != ACTUAL.kid))
    world.publish(KEYS_TOPIC, sign(keys, ROOT)).order(an_order("new")).advance(60)
    assert world.sounds() == ["o-1#1"]
    assert [reason for _, _, reason in world.refusals] == ["unknown_key"]


def test_an_order_above_the_levels_of_its_key_is_refused_with_its_manifest() -> None:
    weak = key("weak")
    world = World().up()
    world.publish(
        KEYS_TOPIC, sign(KeyDocument(2, T0, (*KEYS.keys, link_key(weak, KeyUse.ACTUAL, levels=(3, 4)))), ROOT)
    )
    world.order(an_order(level=1), signer=weak).advance(30)
    assert world.sounds() == []
    assert [reason for _, _, reason in world.refusals] == ["key_level"]


def test_a_district_cannot_raise_the_revision_of_the_citys_order() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(4)
    world.order(replace(withdrawn(order), rev=9), area=DISTRICT, issuer="district").advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]
    assert [reason for _, _, reason in world.refusals] == ["not_issuer"]


def test_the_city_can_withdraw_a_districts_order() -> None:
    order = an_order(repeat=5)
    world = World().up().order(order, area=DISTRICT, issuer="district").advance(4)
    world.order(withdrawn(order)).advance(60)
    assert world.sounds() == ["o-1#1…"]


def test_a_district_that_used_the_citys_id_first_loses_it_whatever_the_order_of_arrival() -> None:
    city, squatter = an_order(start_at=T0 + 30 * S), replace(withdrawn(an_order()), rev=999)
    first = World().up().order(squatter, area=DISTRICT, issuer="district").order(city).advance(60)
    second = World().up().order(city).order(squatter, area=DISTRICT, issuer="district").advance(60)
    assert first.sounds() == second.sounds() == ["o-1#1"]


def test_orders_for_this_speaker_alone_add_but_never_override() -> None:
    order = an_order(repeat=2)
    own = speaker_manifest_topic(SPEAKER, "actual", "city")
    world = World().up().order(order).advance(4)
    raw = world.manifest(replace(withdrawn(order), rev=9), an_order("extra"), stream=own)
    world.publish(own, raw).advance(120)
    assert world.sounds() == ["o-1#1", "o-1#2", "extra#1"]


def test_a_manifest_for_another_area_or_speaker_is_refused() -> None:
    world = World().up()
    world.order(an_order(), area="210212000000").advance(30)
    other = speaker_manifest_topic("sp-2", "actual", "city")
    world.publish(other, world.manifest(an_order("two"), stream=other)).advance(30)
    assert world.sounds() == []
    assert [reason for _, _, reason in world.refusals] == ["area_not_mine", "area_not_mine"]


def test_a_config_waits_for_its_key() -> None:
    world = World().boot().connect().publish(config_topic(SPEAKER), sign(SETUP, CONFIG))
    assert world.state.papers.config is None
    world.publish(KEYS_TOPIC, sign(KEYS, ROOT))
    assert world.state.papers.config == SETUP


def test_a_config_that_goes_back_is_refused() -> None:
    world = World().up()
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=3), CONFIG))
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=2, volume_max=1), CONFIG)).advance(1)
    assert world.state.papers.config == replace(SETUP, version=3)
    assert world.refusals == [(config_topic(SPEAKER), 2, "version_back")]


def test_a_moved_speaker_forgets_streams_off_its_chain_and_keeps_orders_by_id() -> None:
    world = World().up().order(an_order(), area=STREET).advance(30)
    new_street = "210211002000"
    moved = replace(SETUP, version=2, area_chain=(CITY, DISTRICT, new_street), overlay=())
    effects = world.feed(e.Message, topic=config_topic(SPEAKER), payload=sign(moved, CONFIG))
    assert e.Unsubscribe((area_manifests(STREET), area_manifests(ZONE))) in effects
    assert e.Subscribe((area_manifests(new_street),)) in effects
    assert world.state.papers.streams == {}
    world.order(replace(an_order(), rev=2), area=new_street).advance(60)
    assert world.sounds() == ["o-1#1"]


def test_a_speaker_moved_into_the_selector_starts_late_and_one_moved_out_is_cut() -> None:
    order = an_order(repeat=9, selector=Selector(venues=("plaza-2",)))
    world = World().up().order(order).advance(10)
    assert world.sounds() == []
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=2, venue="plaza-2"), CONFIG)).advance(4)
    world.publish(config_topic(SPEAKER), sign(replace(SETUP, version=3), CONFIG)).advance(60)
    assert world.sounds() == ["o-1#1…"]


def test_every_cut_and_every_flipped_byte_of_a_manifest_is_refused_without_sound() -> None:
    world = World().up()
    raw = world.manifest(an_order())
    for cut in range(0, len(raw), 7):
        world.message(STREAM, raw[:cut])
    for at in range(0, len(raw), 11):
        world.message(STREAM, raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
    world.advance(60)
    assert world.sounds() == []
    world.publish(STREAM, raw).advance(30)
    assert world.sounds() == ["o-1#1"]


def test_a_broker_that_replays_everything_at_every_connect_makes_nothing_sound_twice() -> None:
    world = World().up().order(an_order(repeat=2, expires=T0 + HOUR)).advance(60)
    for _ in range(5):
        world.disconnect().advance(1).connect().advance(20)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_the_actual_key_of_a_district_cannot_speak_for_the_city_or_for_drills() -> None:
    world = World().up()
    world.order(an_order("a"), signer=DISTRICT_ACTUAL)
    drill = an_order("b", status="exercise")
    world.order(drill, use="exercise", signer=DISTRICT_ACTUAL).advance(30)
    assert world.sounds() == []
    assert [reason for _, _, reason in world.refusals] == ["not_issuer", "key_use"]
    assert EXERCISE.kid != DISTRICT_ACTUAL.kid
