"""A removed key takes back what it claimed: versions, revisions and, once a listed key has spoken, its orders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.protocols import document_json, jws
from devices.protocols.documents import HelloAnswer, KeyDocument, KeyUse, Manifest, OrderState
from devices.protocols.jws import SigningKey
from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    config_topic,
    decode_receipt,
    hello_answer_topic,
    sign,
)
from devices.speaker import events as e
from devices.speaker.claims import stands
from devices.speaker.machine import blank, decide
from devices.speaker.standing import over
from devices.speaker.state import STREAMS_MAX
from devices.speaker.turn import Turn
from tests.data.speaker_link import make
from tests.devices.speaker.thief import (
    AHEAD_MS,
    LIE,
    OTHER_CONFIG,
    REV_MAX,
    SECOND,
    STREAM,
    THIRD,
    Restart,
    config,
    config_keys,
    either,
    keys,
    reasons,
    restarts,
    stolen,
)
from tests.devices.speaker.world import (
    ACTUAL,
    CITY,
    CONFIG,
    DISTRICT,
    HOUR,
    KEYS,
    ROOT,
    SETUP,
    SPEAKER,
    STREET,
    T0,
    S,
    World,
    an_audio,
    an_order,
    key,
    link_key,
    withdrawn,
)


@either
def test_a_version_ahead_counts_no_longer_when_its_key_is_removed(between: Restart) -> None:
    world = between(stolen())
    world.order(an_order(), signer=SECOND).advance(2)
    assert (world.sounding_order(), reasons(world)) == ("", ["version_back"])
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).advance(30)
    assert world.sounds() == ["o-1#1"]
    assert world.state.papers.streams[STREAM].version == world.versions[STREAM]


@either
def test_the_manifest_may_come_after_the_key_document_too(between: Restart) -> None:
    world = between(stolen()).publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)
    assert world.state.papers.streams == {}
    between(world).order(an_order(), signer=SECOND).advance(30)
    assert (world.sounds(), reasons(world)) == (["o-1#1"], [])


@either
def test_an_older_manifest_of_a_key_that_stays_is_refused_after_another_key_was_removed(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    old = world.manifest(an_order("old"), signer=SECOND)
    world.advance(1).publish(STREAM, world.manifest(signer=SECOND)).advance(1)
    newest = world.versions[STREAM]
    world.message(STREAM, world.manifest(version=world.utc // 1_000 + AHEAD_MS)).advance(1)
    world.retained.pop(STREAM)
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).message(STREAM, old).advance(30)
    assert world.state.papers.streams[STREAM].version == newest
    assert (world.sounds(), reasons(world)) == ([], ["version_back"])


@either
def test_the_same_version_with_other_bytes_is_a_conflict_among_the_keys_that_are_listed(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).advance(1)
    world.order(an_order("first"), signer=SECOND).advance(1)
    between(world)
    forged = world.manifest(an_order("forged"), version=world.versions[STREAM])
    world.message(STREAM, forged).advance(30)
    assert (reasons(world), "forged#1" in world.sounds()) == (["version_conflict"], False)


def test_an_ordinary_rotation_changes_nothing() -> None:
    order = an_order(repeat=3)
    world = World().up().order(order).advance(2)
    world.publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(order, signer=SECOND).advance(2)
    held = world.state.papers.streams[STREAM]
    world.publish(KEYS_TOPIC, keys(3, SECOND)).advance(2)
    assert world.state.papers.streams[STREAM] == held
    world.order(an_order("new", start_at=T0 + 90 * S), order, signer=SECOND).advance(120)
    assert world.sounds() == ["o-1#1", "o-1#2", "o-1#3", "new#1"]
    assert world.steps("o-1").count("accepted") == 1
    assert reasons(world) == []


@either
def test_a_recording_that_comes_to_the_same_words_makes_nothing_unheard(between: Restart) -> None:
    order = an_order(repeat=2, gap_s=30)
    world = World().up().order(order).advance(20)
    assert world.sounds() == ["o-1#1"]
    recorded = replace(order, rev=2, audio=(an_audio(),))
    world.publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(recorded, signer=SECOND)
    between(world.publish(KEYS_TOPIC, keys(3, SECOND))).advance(90)
    assert world.sounds() == ["o-1#1", "o-1#2"]


@either
def test_an_expired_key_is_no_removed_one(between: Restart) -> None:
    short = replace(link_key(SECOND, KeyUse.ACTUAL), not_after=T0 + 20 * S)
    others = tuple(k for k in KEYS.keys if k.kid != ACTUAL.kid)
    world = World().up().publish(KEYS_TOPIC, sign(KeyDocument(2, T0, (*others, short)), ROOT))
    world.order(an_order(start_at=T0 + 30 * S), signer=SECOND).advance(25)
    held = world.state.papers.streams[STREAM].version
    listed = (*others, short, link_key(THIRD, KeyUse.ACTUAL))
    world.retained.pop(STREAM)
    between(world).publish(KEYS_TOPIC, sign(KeyDocument(3, T0, listed), ROOT))
    world.message(STREAM, world.manifest(signer=THIRD, version=held - 1)).advance(30)
    assert world.state.papers.streams[STREAM].version == held
    assert (world.sounds(), reasons(world)) == (["o-1#1"], ["version_back"])
    # And what it vouched for is not ended by a manifest that leaves it out.
    world.message(STREAM, world.manifest(signer=THIRD)).advance(1)
    assert world.state.orders["actual/o-1"].order.state is OrderState.IN_FORCE


@either
def test_an_order_of_a_key_removed_by_mistake_stays_on_the_air(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, SECOND, ACTUAL))
    world.order(an_order(repeat=2), an_order("later", start_at=T0 + 60 * S)).advance(2)
    between(world.publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)).advance(120)
    assert [sound for sound in world.sounds() if not sound.endswith("…")] == ["o-1#1", "o-1#2", "later#1"]


@either
def test_a_listed_keys_manifest_ends_what_only_a_removed_key_vouches_for(between: Restart) -> None:
    ours = an_order("ours", repeat=9, start_at=T0 + 1)
    world = stolen(ours, an_order("thief", level=1, repeat=9), first=ours).advance(5)
    assert world.sounding_order() == "thief"
    between(world.publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)).advance(3)
    assert world.sounding_order() == "thief"
    world.order(ours, signer=SECOND).advance(3)
    assert world.sounding_order() == "ours"
    assert world.steps("thief")[-1] == "superseded:withdrawn"
    between(world).advance(3)
    assert world.sounding_order() == "ours"


@either
def test_a_manifest_that_was_signed_again_before_the_removal_ends_it_at_the_removal(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(an_order("thief", repeat=9)).advance(2)
    world.order(signer=SECOND).advance(2)
    assert world.sounding_order() == "thief"
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)
    assert world.sounding_order() == ""
    assert world.state.orders["actual/thief"].order.state is OrderState.WITHDRAWN


@either
def test_the_key_that_lists_an_order_last_vouches_for_it(between: Restart) -> None:
    order = an_order(repeat=9)
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(order).advance(2)
    world.order(order, signer=SECOND).advance(1)
    between(world).publish(KEYS_TOPIC, keys(3, SECOND, THIRD)).advance(1)
    world.order(signer=THIRD).advance(1)
    assert world.state.orders["actual/o-1"].order.state is OrderState.IN_FORCE
    assert stands(world.state.papers, world.state.orders["actual/o-1"].claim)


@either
def test_what_a_removed_key_began_holds_back_nothing_of_ours(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    many = [an_order(f"thief-{number}", level=1, start_at=T0 + number) for number in range(SETUP.starts_per_hour_max)]
    world.order(*many).advance(120)
    ours = an_order("ours", level=1, start_at=T0 + 130 * S)
    assert len({sound for sound in world.sounds() if sound.startswith("thief")}) == SETUP.starts_per_hour_max
    between(world).order(*many, ours).advance(30)
    assert world.steps("ours")[-1] == "refused:rate_limited"
    between(world.publish(KEYS_TOPIC, keys(3, SECOND)).order(ours, signer=SECOND)).advance(30)
    assert world.sounds()[-1] == "ours#1"


@either
def test_another_streams_manifest_ends_nothing_of_a_removed_key(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(an_order(repeat=9)).advance(2)
    world.publish(KEYS_TOPIC, keys(3, SECOND)).order(area=STREET, signer=SECOND).advance(1)
    between(world).advance(1)
    assert world.state.orders["actual/o-1"].order.state is OrderState.IN_FORCE


@either
@pytest.mark.parametrize("rev", [1, 2, 7])
def test_an_order_raised_to_any_revision_under_a_removed_key_sounds_and_ends_at_ours(
    between: Restart, rev: int
) -> None:
    ours = an_order(repeat=2)
    world = stolen(replace(withdrawn(ours), rev=REV_MAX), first=ours).advance(3)
    assert world.steps("o-1")[-1] == "superseded:withdrawn"
    between(world).publish(KEYS_TOPIC, keys(3, SECOND))
    again = replace(ours, rev=rev, repeat=5)
    world.order(again, signer=SECOND).advance(3)
    assert world.sounding_order() == "o-1"
    assert world.step("o-1", "accepted") is not None
    between(world).order(withdrawn(again), signer=SECOND).advance(1)
    assert world.sounding_order() == ""
    assert world.steps("o-1")[-1] == "superseded:withdrawn"


@either
def test_an_order_raised_under_a_removed_key_can_be_ended_at_once(between: Restart) -> None:
    ours = an_order(repeat=2)
    world = stolen(replace(ours, rev=REV_MAX, repeat=99), first=ours).advance(3)
    assert world.sounding_order() == "o-1"
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).order(withdrawn(ours), signer=SECOND).advance(1)
    assert (world.sounding_order(), world.steps("o-1")[-1]) == ("", "superseded:withdrawn")
    assert world.state.orders["actual/o-1"].order.rev == 2


def test_words_that_a_removed_key_put_into_our_order_are_cut_and_ours_are_heard_whole() -> None:
    ours = an_order(repeat=2)
    lie = replace(ours, rev=REV_MAX, texts={"zh": "警报已经解除，请回家。"})
    world = stolen(lie, first=ours).advance(20)
    assert world.sounding_order() == "o-1"
    world.publish(KEYS_TOPIC, keys(3, SECOND)).order(ours, signer=SECOND).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2…", "o-1#1", "o-1#2"]


@either
@pytest.mark.parametrize("rev", [1, 2, 3, 1_003])
@pytest.mark.parametrize("restored", [False, True])
@pytest.mark.parametrize("early", [False, True])
def test_what_was_heard_with_other_words_is_not_heard_whatever_our_revision(
    between: Restart, rev: int, restored: bool, early: bool
) -> None:
    ours = an_order(start_at=T0 + 5 * S)
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(ours, signer=SECOND).advance(1)
    world.message(STREAM, world.manifest(replace(ours, rev=2, texts=LIE), version=world.utc // 1_000 + 100_000))
    world.advance(40)
    assert world.sounds() == ["o-1#1"]
    if restored:
        world.message(STREAM, world.manifest(replace(ours, rev=3), version=world.utc // 1_000 + 200_000)).advance(1)
    if early:
        world.order(replace(ours, rev=rev), signer=SECOND).advance(1)
    world.versions[STREAM] = 0
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)
    world.order(replace(ours, rev=rev), signer=SECOND).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#1"]


@pytest.mark.parametrize("rev", [1, 2, 3])
def test_other_words_of_a_removed_key_are_cut_while_they_sound(rev: int) -> None:
    ours = an_order(rev=rev)
    world = stolen(replace(ours, rev=2, texts=LIE)).advance(3)
    assert world.sounding_order() == "o-1"
    world.order(ours, signer=SECOND).publish(KEYS_TOPIC, keys(3, SECOND)).advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#1"]


@either
def test_a_sweep_of_a_removed_key_is_taken_back(between: Restart) -> None:
    ours = an_order(repeat=9)
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(ours, signer=SECOND).advance(2)
    swept = Manifest(STREAM, world.utc // 1_000 + AHEAD_MS, world.utc, world.utc + HOUR, "", (), swept=world.utc)
    world.message(STREAM, sign(swept, ACTUAL)).advance(2)
    assert world.sounding_order() == ""
    world.versions[STREAM] = 0
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).order(ours, signer=SECOND).advance(2)
    assert world.sounding_order() == "o-1"
    assert "version_conflict" not in reasons(world)


def test_an_order_that_a_removed_wider_key_took_is_the_districts_again() -> None:
    order = an_order(repeat=9)
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    world.order(order, area=DISTRICT, issuer="district").advance(2).order(replace(withdrawn(order), rev=9)).advance(1)
    assert world.sounding_order() == ""
    world.publish(KEYS_TOPIC, keys(3, SECOND)).advance(2)
    assert world.sounding_order() == "o-1"


def test_a_key_of_the_same_name_is_another_key() -> None:
    world = stolen()
    other = SigningKey.from_seed(ACTUAL.kid, b"another key of the same name----")
    world.publish(KEYS_TOPIC, keys(3, other)).order(an_order(), signer=other).advance(30)
    assert world.sounds() == ["o-1#1"]


def test_a_key_removed_by_mistake_counts_again_when_it_is_listed_again() -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    old = world.manifest(an_order("old"))
    world.advance(1).order().advance(1)
    world.publish(KEYS_TOPIC, keys(3, SECOND)).advance(1).publish(KEYS_TOPIC, keys(4, ACTUAL, SECOND))
    world.message(STREAM, old).advance(30)
    assert (world.sounds(), reasons(world)) == ([], ["version_back"])


def test_versions_are_kept_for_the_listed_keys_and_one_removed_key() -> None:
    signers = [key(f"rotated-{number}") for number in range(12)]
    world = World().up()
    for number, signer in enumerate(signers):
        world.publish(KEYS_TOPIC, keys(2 + number, *signers[max(0, number - 1) : number + 1]))
        world.advance(1).order(signer=signer)
        kept = world.state.papers.accepted[STREAM]
        assert len(kept) <= 3
        assert sum(bool(held.raw) for held in kept) == 1
    fact = {(entry.kind, entry.key): entry.value for entry in world.disk}["stream", STREAM]
    assert fact is not None
    assert len(fact) < 1_000


def test_a_lost_write_leaves_a_speaker_that_heals_from_the_broker() -> None:
    world = stolen(an_order("thief", repeat=9)).advance(1)
    written = list(world.disk)
    world.publish(KEYS_TOPIC, keys(3, SECOND)).order(signer=SECOND).advance(1)
    world.crash()
    world.disk = written
    world.boot().connect().advance(3)
    assert world.sounding_order() == ""
    assert world.state.orders["actual/thief"].order.state is OrderState.WITHDRAWN
    assert world.state.papers.streams[STREAM].version == world.versions[STREAM]


def test_a_removal_in_one_line_of_the_journal_is_whole_or_not_at_all() -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(an_order("thief", repeat=9)).advance(2)
    world.order(signer=SECOND).advance(2)
    effects = world.feed(e.Message, topic=KEYS_TOPIC, payload=keys(3, SECOND))
    (persist,) = (effect for effect in effects if isinstance(effect, e.Persist))
    assert {("doc", "keys"), ("order", "actual/thief")} <= {(entry.kind, entry.key) for entry in persist.entries}
    assert world.state.orders["actual/thief"].order.expires == T0 + HOUR


@pytest.mark.parametrize("ends", ["withdrawn", "expired"])
@either
def test_what_a_removed_key_began_and_ended_itself_holds_back_nothing_of_ours(between: Restart, ends: str) -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    base, most = world.utc // 1_000, SETUP.starts_per_hour_max
    last = world.utc + (20 * most + 5) * S if ends == "expired" else world.utc + HOUR
    many = [an_order(f"thief-{n}", level=1, start_at=world.utc, expires=last) for n in range(most)]
    world.message(STREAM, world.manifest(*many, version=base + 100_000)).advance(20 * most)
    if ends == "withdrawn":
        over = [withdrawn(order) for order in many]
        world.message(STREAM, world.manifest(*over, version=world.utc // 1_000 + 400_000)).advance(1)
    else:
        world.advance(70)
    world.versions[STREAM] = 0
    between(world).publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)
    world.order(an_order("ours", level=1, start_at=world.utc), signer=SECOND).advance(30)
    assert world.sounds()[-1] == "ours#1"


def test_what_a_key_began_counts_on_when_its_successor_lists_it_too() -> None:
    order = an_order(start_at=T0 + S)
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).order(order).advance(30)
    world.order(order, signer=SECOND).publish(KEYS_TOPIC, keys(3, SECOND)).advance(1)
    assert [stands(world.state.papers, start.claim) for start in world.state.starts] == [True]


def test_a_key_document_that_lists_one_key_under_two_names_is_refused() -> None:
    world = World().up()
    twin = replace(link_key(ACTUAL, KeyUse.ACTUAL), kid="twin")
    document = KeyDocument(2, T0, (*KEYS.keys, twin))
    with pytest.raises(LinkRefused):
        sign(document, ROOT)
    world.message(KEYS_TOPIC, jws.sign(document_json.encode(document), jws.Typ.KEYS, ROOT)).advance(1)
    assert (world.state.papers.keys, reasons(world)) == (KEYS, ["malformed"])


def test_a_stream_that_only_removed_keys_have_used_gives_way_to_another() -> None:
    world = World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    issuers = [f"issuer-{number}" for number in range(STREAMS_MAX)]
    signers = {name: key(name) for name in issuers}
    others = tuple(k for k in KEYS.keys if k.kid != ACTUAL.kid)
    listed = tuple(link_key(signer, KeyUse.ACTUAL, issuer=name) for name, signer in signers.items())
    mine = link_key(SECOND, KeyUse.ACTUAL)
    for version, half in ((3, listed[: STREAMS_MAX // 2]), (4, listed[STREAMS_MAX // 2 :])):
        world.publish(KEYS_TOPIC, sign(KeyDocument(version, T0, (*others, *half, mine)), ROOT)).advance(1)
        for each in half:
            world.order(issuer=each.issuer, signer=signers[each.issuer]).advance(1)
    assert len(world.state.papers.accepted) == STREAMS_MAX
    world.order(an_order(), signer=SECOND).advance(30)
    assert (world.sounds(), len(world.state.papers.accepted)) == (["o-1#1"], STREAMS_MAX)
    topics = {entry.key for entry in world.disk if entry.kind == "stream"}
    gone = {entry.key for entry in world.disk if entry.kind == "stream" and entry.value is None}
    assert (len(topics - gone), len(gone)) == (STREAMS_MAX, 1)


# Configs


@either
def test_a_configs_version_counts_no_longer_when_its_key_is_removed(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, config_keys(2, CONFIG, OTHER_CONFIG))
    world.message(config_topic(SPEAKER), config(CONFIG, version=REV_MAX, volume_max=1)).advance(1)
    ours = config(OTHER_CONFIG, version=5)
    world.retained[config_topic(SPEAKER)] = ours
    between(world).message(config_topic(SPEAKER), ours).advance(1)
    assert (world.state.papers.config, reasons(world)) == (
        replace(SETUP, version=REV_MAX, volume_max=1), ["version_back"],
    )  # fmt: skip
    between(world).publish(KEYS_TOPIC, config_keys(3, OTHER_CONFIG)).advance(1)
    assert world.state.papers.config == replace(SETUP, version=5)
    older = config(OTHER_CONFIG, version=4, volume_max=2)
    between(world).message(config_topic(SPEAKER), older).advance(1)
    assert world.state.papers.config == replace(SETUP, version=5)


@either
def test_a_config_whose_key_is_removed_stays_in_force_until_another_comes(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, config_keys(2, OTHER_CONFIG)).advance(1)
    world.retained.pop(config_topic(SPEAKER))
    between(world).advance(1)
    assert world.state.papers.config == SETUP
    between(world).order(an_order()).advance(30)
    assert world.sounds() == ["o-1#1"]


@either
def test_a_districts_config_key_moves_a_speaker_within_its_district_alone(between: Restart) -> None:
    thief = key("district-config")
    world = World().up()
    two = KeyDocument(2, T0, (*KEYS.keys, link_key(thief, KeyUse.CONFIG, area=DISTRICT)))
    world.publish(KEYS_TOPIC, sign(two, ROOT)).advance(1)
    at = SETUP.area_chain.index(DISTRICT)
    for chain in (SETUP.area_chain[at:], ("elsewhere", *SETUP.area_chain[at:])):
        world.message(config_topic(SPEAKER), config(thief, version=50, area_chain=chain)).advance(1)
        assert (world.state.papers.config, reasons(between(world))[-1]) == (SETUP, "key_area")
    within = (*SETUP.area_chain[: at + 1], "another-street")
    world.message(config_topic(SPEAKER), config(thief, version=50, area_chain=within)).advance(1)
    assert world.state.papers.config == replace(SETUP, version=50, area_chain=within)


@either
def test_a_config_whose_key_is_removed_keeps_no_other_from_putting_the_speaker_back(between: Restart) -> None:
    world = World().up().publish(KEYS_TOPIC, config_keys(2, CONFIG, OTHER_CONFIG)).advance(1)
    # The city's own stolen key may put a speaker into a tree that the district's key does not know.
    away = (CITY, "elsewhere")
    world.message(config_topic(SPEAKER), config(CONFIG, version=50, area_chain=away)).advance(1)
    others = tuple(k for k in KEYS.keys if k.kid != CONFIG.kid)
    district = link_key(OTHER_CONFIG, KeyUse.CONFIG, area=DISTRICT)
    between(world).publish(KEYS_TOPIC, sign(KeyDocument(3, T0, (*others, district)), ROOT)).advance(1)
    world.message(config_topic(SPEAKER), config(OTHER_CONFIG, version=60)).advance(1)
    assert world.state.papers.config == replace(SETUP, version=60)


# The published vectors

DATA = Path(make.__file__).parent
PUBLISHED: dict[str, Any] = json.loads((DATA / "world.json").read_text("utf-8"))
VECTORS: list[dict[str, Any]] = json.loads((DATA / "removed_keys.json").read_text("utf-8"))


@pytest.mark.parametrize("case", VECTORS, ids=lambda case: str(case["name"]))
@either
def test_published_vector(case: dict[str, Any], between: Restart) -> None:
    events = 0
    state = blank(make.SPEAKER, make.ROOT)
    facts: list[e.JournalEntry] = []
    said: list[str] = []

    def feed(event: e.Event) -> None:
        nonlocal state
        state, effects = decide(state, event)
        for effect in effects:
            facts.extend(effect.entries if isinstance(effect, e.Persist) else ())
            if isinstance(effect, e.Persist):
                receipts = [decode_receipt(x.value.encode()) for x in effect.entries if x.kind == "receipt" and x.value]
                # After a restart the broker sends the first key document again, which is refused as well.
                about = [receipt for receipt in receipts if receipt.stream not in ("", KEYS_TOPIC)]
                said.extend(step.reason for receipt in about for step in receipt.steps)

    def message(topic: str, raw: bytes) -> None:
        nonlocal events
        events += 1
        feed(e.Message(at_us=0, mono_us=events, topic=topic, payload=raw))

    def boot() -> None:
        feed(e.Booted(0, events, e.Image("journal-1", tuple(facts)), f"seed-{events}"))
        feed(e.Connecting(0, events))
        feed(e.Connected(0, events))
        message(KEYS_TOPIC, PUBLISHED["keys"].encode())
        message(config_topic(make.SPEAKER), PUBLISHED["config"].encode())
        answer = HelloAnswer(state.clock.nonce, make.NOW, {})
        message(hello_answer_topic(make.SPEAKER), sign(answer, make.signing_key("clock-city")))

    boot()
    for document in case["documents"]:
        message(document["topic"], document["raw"].encode())
        if between is restarts and document["topic"] == KEYS_TOPIC:
            boot()
    held = {topic: stream.version for topic, stream in state.papers.streams.items()}
    orders = {key: [standing.order.rev, str(standing.order.state)] for key, standing in state.orders.items()}
    ended = [key for key in sorted(state.orders) if over(Turn(state, events), key)]
    assert (held, orders, ended, said) == (case["held"], case["orders"], case["over"], case["reported"])
