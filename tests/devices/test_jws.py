"""Signatures: what the bytes are, and that nothing near them is accepted."""

from __future__ import annotations

import base64
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocols import jws
from devices.protocols.documents import KeyUse, LinkKey
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.refusals import LinkRefused, Refusal

untimed = settings(deadline=None)
KEY = SigningKey.from_seed("actual-city", bytes(range(32)))
PUBLIC = KEY.public_link_key(KeyUse.ACTUAL, "city", "210200000000", (2, 1, 1), 5)
RAW = jws.sign(b'{"a":1}', Typ.MANIFEST, KEY)
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def named(kid: str) -> LinkKey | None:
    return PUBLIC if kid == PUBLIC.kid else None


def test_signature_is_plain_ed25519_over_the_first_two_segments() -> None:
    head, payload, signature = RAW.split(b".")
    x = base64.urlsafe_b64decode(PUBLIC.x + "=")
    Ed25519PublicKey.from_public_bytes(x).verify(base64.urlsafe_b64decode(signature + b"=="), head + b"." + payload)
    header = {"alg": "Ed25519", "kid": "actual-city", "typ": "tocsin-manifest+jws"}
    assert json.loads(base64.urlsafe_b64decode(head + b"=" * (-len(head) % 4))) == header


def test_public_key_is_the_one_that_rfc_8037_appendix_a_derives() -> None:
    seed = jws.decode_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A")
    key = SigningKey.from_seed("rfc8037", seed).public_link_key(KeyUse.ROOT, "city", "210200000000", (), 5)
    assert key == LinkKey(
        kid="rfc8037",
        alg="Ed25519",
        x="11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        use=KeyUse.ROOT,
        issuer="city",
        area="210200000000",
        levels=(),
        not_after=5,
    )


def test_signed_payload_comes_back_with_its_key() -> None:
    assert jws.verify(RAW, Typ.MANIFEST, len(RAW), named) == (b'{"a":1}', PUBLIC)


def test_header_reads_without_a_key() -> None:
    assert jws.header(RAW) == jws.Header("Ed25519", "actual-city", "tocsin-manifest+jws")


def test_one_byte_over_the_limit_is_refused_unread() -> None:
    with pytest.raises(LinkRefused) as refused:
        jws.verify(RAW, Typ.MANIFEST, len(RAW) - 1, named)
    assert refused.value.reason is Refusal.OVER_CAP


@pytest.mark.parametrize("typ", [typ for typ in Typ if typ is not Typ.MANIFEST])
def test_document_of_one_kind_is_never_read_as_another(typ: Typ) -> None:
    with pytest.raises(LinkRefused) as refused:
        jws.verify(RAW, typ, len(RAW), named)
    assert refused.value.reason is Refusal.WRONG_TYPE


def test_no_single_changed_character_is_accepted() -> None:
    for place, char in enumerate(RAW.decode()):
        for other in "." if char == "A" else "A.", ALPHABET[(ALPHABET.find(char) + 1) % 64]:
            twin = f"{RAW[:place].decode()}{other}{RAW[place + 1 :].decode()}".encode()
            with pytest.raises(LinkRefused):
                jws.verify(twin, Typ.MANIFEST, 1_000, named)


def test_no_shorter_prefix_is_accepted() -> None:
    for length in range(len(RAW)):
        with pytest.raises(LinkRefused):
            jws.verify(RAW[:length], Typ.MANIFEST, 1_000, named)


@untimed
@given(st.binary(max_size=300))
def test_any_bytes_are_refused_and_never_crash(raw: bytes) -> None:
    with pytest.raises(LinkRefused):
        jws.verify(raw, Typ.MANIFEST, 1_000, named)


@untimed
@given(st.binary(max_size=100))
def test_base64url_is_strict_both_ways(data: bytes) -> None:
    text = jws.encode_base64url(data)
    assert jws.decode_base64url(text) == data
    with pytest.raises(ValueError):
        jws.decode_base64url(text + "=")


@pytest.mark.parametrize("text", ["QQ==", "QR", "Q", "+/", "Q Q", "QQ\n"])
def test_loose_base64url_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        jws.decode_base64url(text)


@pytest.mark.parametrize("kid", ["", "Key", "a b", "k" * 33, "钥"])
def test_key_without_a_proper_name_cannot_exist(kid: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        SigningKey.generate(kid)


def test_seed_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError):
        SigningKey.from_seed("short", bytes(31))


def test_generated_keys_differ_and_never_print() -> None:
    one, other = (SigningKey.generate("k").public_link_key(KeyUse.CLOCK, "city", "a", (), 1) for _ in range(2))
    assert one.x != other.x
    assert repr(KEY) == "SigningKey(kid='actual-city')"
