"""The canary: read back as it was signed, refused as a speaker would refuse, and never taken for anything else."""

from __future__ import annotations

import pytest

from devices.protocols import jws, speaker_link
from devices.protocols.canary import CANARY_BYTES_MAX, Canary, canary_topic, read_canary, sign_canary
from devices.protocols.documents import KeyDocument, KeyUse
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.refusals import LinkRefused, Refusal

NOW_US = 1_800_000_000_000_000
KEY = SigningKey.from_seed("actual-1", b"a" * 32)
OTHER = SigningKey.from_seed("actual-1", b"b" * 32)
LISTED = KEY.public_link_key(KeyUse.ACTUAL, "city", "210200000000", (1, 2), NOW_US + 10)
KEYS = KeyDocument(1, NOW_US, (LISTED,))
CANARY = Canary("actual-1", KeyUse.ACTUAL, "gw-0", "n" * 22, NOW_US)
TOPIC = canary_topic("actual-1")


def refused(raw: bytes, topic: str = TOPIC, keys: KeyDocument = KEYS, now_us: int = NOW_US) -> Refusal:
    with pytest.raises(LinkRefused) as why:
        read_canary(raw, topic, keys, now_us)
    return why.value.reason


def test_a_canary_is_read_as_it_was_signed() -> None:
    raw = sign_canary(CANARY, KEY)
    assert read_canary(raw, TOPIC, KEYS, NOW_US) == CANARY
    assert TOPIC == "tocsin/v1/canary/actual-1"
    assert len(raw) < CANARY_BYTES_MAX


def test_a_canary_of_the_longest_names_fits() -> None:
    kid = "k" * 32
    canary = Canary(kid, KeyUse.EXERCISE, "g" * 32, "n" * 64, 2**53 - 1)
    assert len(sign_canary(canary, SigningKey.from_seed(kid, b"c" * 32))) <= CANARY_BYTES_MAX


def test_what_a_speaker_would_refuse_is_refused() -> None:
    raw = sign_canary(CANARY, KEY)
    assert refused(sign_canary(CANARY, OTHER)) is Refusal.BAD_SIGNATURE
    assert refused(raw, keys=KeyDocument(1, NOW_US, ())) is Refusal.UNKNOWN_KEY
    assert refused(raw, now_us=NOW_US + 11) is Refusal.KEY_EXPIRED
    assert refused(raw, topic=canary_topic("exercise-1")) is Refusal.STREAM_MISMATCH
    assert refused(b"") is Refusal.EMPTY_PAYLOAD
    assert refused(b"x" * (CANARY_BYTES_MAX + 1)) is Refusal.OVER_CAP


def test_a_canary_that_claims_another_use_than_its_keys_is_refused() -> None:
    claimed = Canary("actual-1", KeyUse.EXERCISE, "gw-0", "n" * 22, NOW_US)
    assert refused(sign_canary(claimed, KEY)) is Refusal.KEY_USE


@pytest.mark.parametrize("member", [b'"use":"root"', b'"use":"actual","extra":1', b'"use":null'])
def test_a_payload_of_another_form_is_refused(member: bytes) -> None:
    payload = b'{"gateway":"gw-0","kid":"actual-1","nonce":"' + b"n" * 22 + b'","utc":1,' + member + b"}"
    assert refused(jws.sign(payload, Typ.CANARY, KEY)) is Refusal.MALFORMED


def test_no_speaker_takes_a_canary_for_a_document() -> None:
    raw = sign_canary(CANARY, KEY)
    for read in (
        lambda: speaker_link.read_manifest(raw, "tocsin/v1/area/1/manifest/actual/city", KEYS, None, NOW_US),
        lambda: speaker_link.read_config(raw, "sp-1", KEYS, NOW_US),
        lambda: speaker_link.read_hello_answer(raw, "n" * 22, KEYS),
        lambda: speaker_link.read_keys(raw, LISTED),
    ):
        with pytest.raises(LinkRefused) as why:
            read()
        assert why.value.reason is Refusal.WRONG_TYPE


@pytest.mark.parametrize("kid", ["", "a/b", "A", "+", "k" * 33])
def test_a_topic_is_made_of_names_alone(kid: str) -> None:
    with pytest.raises(ValueError):
        canary_topic(kid)
