"""The speaker link against its vectors, and the choices that no vector can show."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols import asking, documents, strict_json
from devices.protocols import speaker_link as link
from devices.protocols.jws import Typ
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import KeyUse, LinkRefused, Phase, Refusal, Step, StepKind
from tests.data.speaker_link import make

untimed = settings(deadline=None)
Case = dict[str, Any]
DATA = Path(make.__file__).parent
WORLD: Case = json.loads((DATA / "world.json").read_text(encoding="utf-8"))
KEYS = link.read_keys(WORLD["keys"].encode(), make.ROOT)
CONFIG = link.read_config(WORLD["config"].encode(), make.SPEAKER, KEYS, make.NOW)
SAID_BY_THE_SPEAKER = {
    Refusal.NO_CONFIG,
    Refusal.NO_KEYS,
    Refusal.ORDER_EXPIRED,
    Refusal.RATE_LIMITED,
    Refusal.NO_AUDIO_NO_SPEECH,
}
"""Refusals that no reader here can find: they need what a speaker has done and holds."""


READERS: dict[str, Callable[[bytes], object]] = {
    "receipt": link.decode_receipt,
    "state": link.decode_state,
    "hello": link.decode_hello,
    "ask": asking.decode_ask,
    "answer": asking.decode_answer,
}


def cases(*files: str) -> list[Any]:
    return [
        pytest.param(case, id=f"{file}: {case['name']}")
        for file in files
        for case in json.loads((DATA / f"{file}.json").read_text(encoding="utf-8"))
    ]


def outcome(read: Callable[..., object], *given: object) -> str | None:
    """The code of the refusal, or None."""
    try:
        read(*given)
    except LinkRefused as refused:
        return refused.reason
    return None


@pytest.mark.parametrize("file", make.FILES)
def test_vectors_are_what_their_generator_makes(file: str) -> None:
    assert (DATA / file).read_text(encoding="utf-8") == make.encoded(make.FILES[file]())


@pytest.mark.parametrize("case", cases("manifest_headers", "manifest_contents", "manifest_scopes"))
def test_manifest_vector(case: Case) -> None:
    config = CONFIG if case["config"] else None
    read = link.read_manifest
    assert outcome(read, case["raw"].encode(), case["topic"], KEYS, config, case["now"]) == case.get("refused")


@pytest.mark.parametrize("case", cases("freshness"))
def test_freshness_vector(case: Case) -> None:
    manifest = replace(make.MANIFEST, version=case["version"], fresh_until=case["fresh_until"])
    held = bytes.fromhex(case["held_digest"]) if case["held_digest"] else None
    digest = bytes.fromhex(case["digest"])
    assert link.freshness_refusal(manifest, case["now"], case["held_version"], held, digest) == case["refused"]


@pytest.mark.parametrize("case", cases("key_documents"))
def test_key_document_vector(case: Case) -> None:
    read = link.read_keys
    assert outcome(read, case["raw"].encode(), make.ROOT, make.NEXT_ROOT, make.NOW) == case.get("refused")


@pytest.mark.parametrize("case", cases("configs"))
def test_config_vector(case: Case) -> None:
    read = link.read_config
    assert outcome(read, case["raw"].encode(), make.SPEAKER, KEYS, case["now"]) == case.get("refused")


@pytest.mark.parametrize("case", cases("hello_answers"))
def test_hello_answer_vector(case: Case) -> None:
    assert outcome(link.read_hello_answer, case["raw"].encode(), make.NONCE, KEYS) == case.get("refused")


@pytest.mark.parametrize("case", cases("reports"))
def test_report_vector(case: Case) -> None:
    assert outcome(READERS[case["kind"]], case["raw"].encode()) == case["refused"]


def test_vectors_show_every_refusal_that_a_reader_can_give() -> None:
    shown = {
        case.get("refused")
        for file in make.FILES
        if isinstance(found := json.loads((DATA / file).read_text(encoding="utf-8")), list)
        for case in found
    }
    assert {Refusal(code) for code in shown if code} == set(Refusal) - SAID_BY_THE_SPEAKER


def test_every_refusal_has_one_sentence() -> None:
    assert set(link.SENTENCES) == set(Refusal)
    assert all(sentence.endswith(".") and sentence.count(".") == 1 for sentence in link.SENTENCES.values())


def test_refused_says_sentence_reason_and_detail() -> None:
    refused = LinkRefused(Refusal.STALE, "order 1")
    assert (refused.reason, refused.detail) == (Refusal.STALE, "order 1")
    assert str(refused) == "The document was no longer fresh when it arrived. (order 1)"


# Documents


def test_published_world_is_the_signed_one() -> None:
    assert (KEYS, CONFIG) == (make.KEYS, make.CONFIG)


def test_manifest_comes_back_whole() -> None:
    full = replace(
        make.ORDER,
        phase=Phase.CORRECTION,
        corrects="o-1",
        supersedes=("o-2", "o-3"),
        also_unstarted=True,
        origin={"ebmid": "1"},
    )
    manifest = replace(make.MANIFEST, orders=(full, make.ORDER)[:1])
    raw = link.sign(manifest, make.signing_key("actual-city"))
    assert link.read_manifest(raw, manifest.stream, KEYS, CONFIG, make.NOW) == manifest


def test_withdrawn_order_is_signed_as_its_stub() -> None:
    withdrawn = replace(make.ORDER, rev=2, state=link.OrderState.WITHDRAWN)
    manifest = replace(make.MANIFEST, orders=(withdrawn,), swept=make.NOW)
    raw = link.sign(manifest, make.signing_key("actual-city"))
    read = link.read_manifest(raw, manifest.stream, KEYS, CONFIG, make.NOW)
    assert read == replace(manifest, orders=(link.stub(withdrawn),))
    assert read.orders[0] == link.as_listed(withdrawn) and link.as_listed(make.ORDER) == make.ORDER


def test_retired_stream_ends_in_an_empty_manifest() -> None:
    manifest = replace(make.MANIFEST, orders=(), retired=True)
    raw = link.sign(manifest, make.signing_key("actual-city"))
    assert link.read_manifest(raw, manifest.stream, KEYS, CONFIG, make.NOW) == manifest


def test_hello_answer_comes_back_whole() -> None:
    raw = link.sign(make.ANSWER, make.signing_key("clock-city"))
    assert link.read_hello_answer(raw, make.NONCE, KEYS) == make.ANSWER


def test_members_at_their_default_are_left_out() -> None:
    members = set(make.plain(make.MANIFEST)["orders"][0])
    assert {"corrects", "supersedes", "also_unstarted", "origin"}.isdisjoint(members)
    assert {"retired", "swept"}.isdisjoint(make.plain(make.MANIFEST))


def test_same_document_and_key_give_the_same_bytes() -> None:
    key = make.signing_key("actual-city")
    assert link.sign(make.MANIFEST, key) == link.sign(make.MANIFEST, key)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        (replace(make.MANIFEST, orders=(replace(make.ORDER, status="exercise"),)), Refusal.STATUS_MISMATCH),
        (replace(make.MANIFEST, orders=(replace(make.ORDER, level=5),)), Refusal.MALFORMED),
        (replace(make.MANIFEST, orders=(replace(make.ORDER, texts={"en": "x" * 501}),)), Refusal.OVER_CAP),
        (replace(make.MANIFEST, stream="tocsin/v1/keys"), Refusal.MALFORMED),
        (replace(make.CONFIG, area_chain=()), Refusal.MALFORMED),
        (replace(make.ANSWER, nonce="n"), Refusal.MALFORMED),
        (replace(make.KEYS, keys=make.KEYS.keys * 2), Refusal.MALFORMED),
        (
            replace(
                make.MANIFEST,
                orders=tuple(replace(make.ORDER, id=f"o-{n}", texts={"zh-CN": "警" * 500}) for n in range(8)),
            ),
            Refusal.OVER_CAP,
        ),
    ],
)
def test_what_a_speaker_would_refuse_is_not_signed(document: link.Manifest, reason: Refusal) -> None:
    with pytest.raises(LinkRefused) as refused:
        link.sign(document, make.signing_key("actual-city"))
    assert refused.value.reason is reason


def test_dispatcher_compares_areas_with_its_own_tree() -> None:
    raw = link.sign(make.MANIFEST, make.signing_key("actual-city"))
    asked: list[tuple[str, link.StreamName]] = []

    def contains(key_area: str, stream: link.StreamName) -> bool:
        asked.append((key_area, stream))
        return False

    with pytest.raises(LinkRefused) as refused:
        link.read_manifest(raw, make.STREAM, KEYS, None, make.NOW, contains)
    assert refused.value.reason is Refusal.KEY_AREA
    assert asked == [(make.CITY, link.parse_manifest_topic(make.STREAM))]


def test_no_changed_character_of_a_manifest_is_accepted() -> None:
    raw = link.sign(replace(make.MANIFEST, orders=()), make.signing_key("actual-city")).decode()
    for place, char in enumerate(raw):
        twin = f"{raw[:place]}{'B' if char == 'A' else 'A'}{raw[place + 1 :]}"
        assert outcome(link.read_manifest, twin.encode(), make.STREAM, KEYS, CONFIG, make.NOW)


def test_exercise_key_never_makes_an_actual_order_whatever_the_words() -> None:
    for stream_use, status in permutations([KeyUse.ACTUAL, KeyUse.EXERCISE]):
        topic = link.manifest_topic(make.DISTRICT, stream_use, "city")
        members = make.changed(make.plain(replace(make.MANIFEST, stream=topic)), "orders.0.status", str(status))
        for kid in make.SCOPES:
            raw = make.signed(members, kid).encode()
            assert outcome(link.read_manifest, raw, topic, KEYS, CONFIG, make.NOW)


def test_config_key_of_a_district_cannot_fetch_a_speaker_from_another() -> None:
    moved = replace(make.CONFIG, version=4, area_chain=(make.CITY, make.OTHER_DISTRICT))
    raw = link.sign(moved, make.signing_key("config-other"))
    assert link.read_config(raw, make.SPEAKER, KEYS, make.NOW) == moved
    with pytest.raises(LinkRefused) as refused:
        link.read_config(raw, make.SPEAKER, KEYS, make.NOW, held=make.CONFIG)
    assert refused.value.reason is Refusal.KEY_AREA


# The root


def test_only_a_root_key_signs_keys() -> None:
    raw = link.sign(make.KEYS, make.signing_key("actual-city"))
    with pytest.raises(LinkRefused) as refused:
        link.read_keys(raw, make.link_key("actual-city"))
    assert refused.value.reason is Refusal.KEY_USE


def test_root_past_its_end_is_refused() -> None:
    with pytest.raises(LinkRefused) as refused:
        link.read_keys(WORLD["keys"].encode(), make.root_key("root-1", make.NOW), None, make.NOW + 1)
    assert refused.value.reason is Refusal.KEY_EXPIRED


def test_root_changes_only_when_the_announced_one_has_signed() -> None:
    announcing = replace(make.KEYS, version=8, root=make.NEXT_ROOT)
    settled = replace(make.KEYS, version=9)
    old, new = make.signing_key("root-1"), make.signing_key("root-2")
    roots: tuple[link.LinkKey, link.LinkKey | None] = (make.ROOT, None)
    held = []
    for raw in (link.sign(announcing, old), link.sign(announcing, old), link.sign(settled, new)):
        roots = link.roots_after(raw, link.read_keys(raw, *roots), *roots)
        held.append(roots)
    assert held == [(make.ROOT, make.NEXT_ROOT), (make.ROOT, make.NEXT_ROOT), (make.NEXT_ROOT, None)]


def test_announcement_can_be_taken_back() -> None:
    raw = link.sign(replace(make.KEYS, version=9), make.signing_key("root-1"))
    document = link.read_keys(raw, make.ROOT, make.NEXT_ROOT)
    assert link.roots_after(raw, document, make.ROOT, make.NEXT_ROOT) == (make.ROOT, None)


def test_new_root_is_refused_where_nobody_announced_it() -> None:
    with pytest.raises(LinkRefused) as refused:
        link.read_keys(link.sign(make.KEYS, make.signing_key("root-2")), make.ROOT)
    assert refused.value.reason is Refusal.UNKNOWN_KEY


# Versions


@pytest.mark.parametrize(
    ("last", "now_us", "version"), [(0, 5_000_999, 5_000), (4_999, 5_000_000, 5_000), (9_000, 5_000_000, 9_001)]
)
def test_next_version_is_milliseconds_and_never_goes_back(last: int, now_us: int, version: int) -> None:
    assert link.next_version(last, now_us) == version


# Heights


def test_height_counts_from_the_speaker_upwards() -> None:
    streams = [link.manifest_topic(area, KeyUse.ACTUAL, "city") for area in (*make.CONFIG.area_chain, make.ZONE)]
    streams.append(link.speaker_manifest_topic(make.SPEAKER, KeyUse.ACTUAL, "city"))
    heights = [link.area_height(make.CONFIG, link.parse_manifest_topic(stream)) for stream in streams]
    assert heights == [2, 1, 0, 0, -1]


def test_area_off_the_chain_has_no_height() -> None:
    with pytest.raises(ValueError):
        link.area_height(
            make.CONFIG, link.parse_manifest_topic(link.manifest_topic("elsewhere", KeyUse.ACTUAL, "city"))
        )


# Topics


def test_topics_are_the_published_ones() -> None:
    assert [
        link.KEYS_TOPIC,
        link.manifest_topic("210202000000", KeyUse.ACTUAL, "city"),
        link.speaker_manifest_topic("sp-1", "exercise", "city"),
        *(topic("sp-1") for topic in (link.config_topic, link.state_topic, link.receipt_topic, link.hello_topic)),
        *(topic("sp-1") for topic in (link.hello_answer_topic, link.ask_topic, link.answer_topic)),
        link.area_manifests("210202000000"),
        link.speaker_manifests("sp-1"),
    ] == [
        "tocsin/v1/keys",
        "tocsin/v1/area/210202000000/manifest/actual/city",
        "tocsin/v1/speaker/sp-1/manifest/exercise/city",
        "tocsin/v1/speaker/sp-1/config",
        "tocsin/v1/speaker/sp-1/state",
        "tocsin/v1/speaker/sp-1/receipt",
        "tocsin/v1/speaker/sp-1/hello",
        "tocsin/v1/speaker/sp-1/hello/answer",
        "tocsin/v1/speaker/sp-1/ask",
        "tocsin/v1/speaker/sp-1/answer",
        "tocsin/v1/area/210202000000/manifest/+/+",
        "tocsin/v1/speaker/sp-1/manifest/+/+",
    ]


@pytest.mark.parametrize("kind", ["area", "speaker"])
@pytest.mark.parametrize("use", [KeyUse.ACTUAL, KeyUse.EXERCISE])
def test_manifest_topic_comes_apart_and_together(kind: str, use: KeyUse) -> None:
    topic = f"tocsin/v1/{kind}/x-1/manifest/{use}/city"
    stream = link.parse_manifest_topic(topic)
    assert (stream, stream.topic) == ((link.StreamKind(kind), "x-1", use, "city"), topic)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "tocsin/v1/keys",
        "tocsin/v2/area/a/manifest/actual/city",
        "tocsin/v1/area/a/manifest/config/city",
        "tocsin/v1/area/a/manifest/actual",
        "tocsin/v1/area/a/manifest/actual/city/",
        "tocsin/v1/area/+/manifest/actual/city",
        "tocsin/v1/area/A/manifest/actual/city",
        "tocsin/v1/venue/a/manifest/actual/city",
        "tocsin/v1/area/a\n/manifest/actual/city",
    ],
)
def test_other_topics_are_no_manifest_topics(topic: str) -> None:
    with pytest.raises(LinkRefused) as refused:
        link.parse_manifest_topic(topic)
    assert refused.value.reason is Refusal.MALFORMED


def test_speaker_topic_names_speaker_and_branch() -> None:
    assert link.parse_speaker_topic("tocsin/v1/speaker/sp-1/receipt") == ("sp-1", "receipt")
    assert link.parse_speaker_topic("tocsin/v1/speaker/sp-1/hello/answer") == ("sp-1", "hello/answer")


@pytest.mark.parametrize("topic", ["", "tocsin/v1/speaker/sp-1", "tocsin/v1/speaker/Sp/state", "tocsin/v1/area/a/live"])
def test_other_topics_name_no_speaker(topic: str) -> None:
    with pytest.raises(LinkRefused):
        link.parse_speaker_topic(topic)


@pytest.mark.parametrize("name", ["", "+", "a/b", "S", "s" * 33])
def test_no_topic_is_built_from_a_bad_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        link.state_topic(name)
    with pytest.raises(ValueError, match="not a name"):
        link.manifest_topic("a", KeyUse.ACTUAL, name)


def test_no_stream_is_built_for_a_config_key() -> None:
    with pytest.raises(ValueError, match="use of a stream"):
        link.manifest_topic("a", KeyUse.CONFIG, "city")


# Reports

ids = st.from_regex(r"[a-z0-9-]{1,64}", fullmatch=True)
counts = st.integers(0, documents.INTEGER_MAX)
evidence = st.none() | st.dictionaries(
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.integers(-1_000, 1_000) | st.sampled_from(["ok", "麦克风"]),
    max_size=4,
)
steps = st.builds(Step, st.sampled_from(StepKind), counts, st.sampled_from(["", "no_audio"]), evidence)
receipts = st.builds(link.Receipt, ids, counts, ids, counts, st.lists(steps, min_size=1, max_size=4).map(tuple))


@untimed
@given(receipts)
def test_receipt_comes_back_whole(receipt: link.Receipt) -> None:
    assert link.decode_receipt(link.encode_receipt(receipt)) == receipt


def test_refusal_of_a_document_comes_back_whole() -> None:
    step = Step(StepKind.REFUSED, make.NOW, Refusal.BAD_SIGNATURE)
    receipt = link.Receipt("j", 1, "", 0, (step,), make.STREAM, 8)
    assert link.decode_receipt(link.encode_receipt(receipt)) == receipt


@untimed
@given(st.booleans(), counts, st.sampled_from(["mains", "battery", "unknown"]), st.integers(0, 100))
def test_state_comes_back_whole(online: bool, connection: int, power: str, volume: int) -> None:
    state = link.SpeakerState(online, connection, {make.STREAM: 7}, 1, 2, "j", 3, volume, power, ("5" * 64,), "")
    assert link.decode_state(link.encode_state(state)) == state


def test_hello_comes_back_whole() -> None:
    assert link.decode_hello(link.encode_hello(make.NONCE)) == make.NONCE


@pytest.mark.parametrize(
    "encode",
    [
        lambda: link.encode_hello("short"),
        lambda: link.encode_receipt(link.Receipt("j", 1, "o", 1, ())),
        lambda: link.encode_state(link.SpeakerState(True, 1, {}, 1, 1, "J", 1, 80, "mains", (), "")),
    ],
)
def test_what_the_dispatcher_would_refuse_is_not_said(encode: Callable[[], bytes]) -> None:
    assert outcome(encode) is Refusal.MALFORMED


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@untimed
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_report_or_a_refusal(raw: bytes) -> None:
    for read in (link.decode_receipt, link.decode_state, link.decode_hello):
        outcome(read, raw)


@untimed
@given(
    st.sampled_from(["journal", "seq", "order", "rev", "steps", "stream", "version"])
    | st.sampled_from(["kind", "at", "reason", "evidence"]),
    json_values,
)
def test_any_value_of_any_member_of_a_receipt_is_read_or_refused(member: str, value: object) -> None:
    step: dict[str, object] = {"kind": "ready", "at": 1}
    receipt: dict[str, object] = {"journal": "j", "seq": 1, "order": "o", "rev": 1, "steps": [step]}
    target: dict[str, object] = step if member in ("kind", "at", "reason", "evidence") else receipt
    target[member] = value
    outcome(link.decode_receipt, json.dumps(receipt).encode())


@untimed
@given(st.sampled_from(sorted(make.plain(make.MANIFEST)["orders"][0])), json_values)
def test_any_value_of_any_member_of_an_order_is_read_or_refused(member: str, value: object) -> None:
    payload = strict_json.canonical(make.changed(make.plain(make.MANIFEST), f"orders.0.{member}", value))
    raw = make.signed_bytes(payload, "actual-city", Typ.MANIFEST).encode()
    outcome(link.read_manifest, raw, make.STREAM, KEYS, CONFIG, make.NOW)


@untimed
@given(
    st.sampled_from([Selector(), Selector(areas=()), Selector(venues=("v",))]), st.integers(1, 4), st.integers(1, 100)
)
def test_any_order_that_is_signed_is_read_as_it_was(selector: Selector, level: int, volume: int) -> None:
    manifest = replace(make.MANIFEST, orders=(replace(make.ORDER, selector=selector, level=level, volume=volume),))
    raw = link.sign(manifest, make.signing_key("actual-city"))
    assert link.read_manifest(raw, make.STREAM, KEYS, CONFIG, make.NOW) == manifest
