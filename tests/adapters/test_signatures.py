"""Signatures on alerts: whose counts, what they must cover, and what becomes of the message."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree
from signxml.algorithms import SignatureMethod
from signxml.signer import XMLSigner

from services.dispatcher.adapters.signatures import (
    CERTIFICATES_MAX,
    BadCertificate,
    SignatureState,
    SignatureVerdict,
    certificate,
    verify,
    verify_for,
)
from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds.cap import read, reading
from services.dispatcher.feeds.signed import with_signature
from tests.signing import NOW, certified, key, signed

PLAIN = (Path(__file__).parents[1] / "data" / "cap" / "whole.xml").read_bytes()
SIGNATURE = b"<Signature xmlns='http://www.w3.org/2000/09/xmldsig#'"


def verdict(raw: bytes, *names: str, allow_weak: bool = False, at: datetime = NOW) -> SignatureVerdict:
    return verify(raw, [certified(name) for name in names], allow_weak, at)


def state(raw: bytes, *names: str, allow_weak: bool = False) -> SignatureState:
    return verdict(raw, *names, allow_weak=allow_weak).state


def test_an_alert_that_a_registered_department_signed_is_valid() -> None:
    expected = SignatureVerdict(SignatureState.VALID, "CN=met.example.cn", "Signed by CN=met.example.cn.")
    assert verdict(signed(PLAIN, "met"), "met") == expected
    assert verdict(signed(PLAIN, "met"), "fire", "met") == expected
    assert verdict(signed(PLAIN, "met", carries=False), "met") == expected
    assert verdict(signed(PLAIN, "rsa2048"), "rsa2048").state is SignatureState.VALID


def test_what_is_read_of_a_signed_alert_is_what_was_signed() -> None:
    found = read(signed(PLAIN, "met"))
    plain = read(PLAIN).message
    assert plain is not None and found.problems == ()
    assert found.message == plain._replace(signed=True)


def test_an_alert_without_a_signature_is_unsigned() -> None:
    assert verdict(PLAIN, "met") == SignatureVerdict(SignatureState.UNSIGNED, "", "The message is not signed.")


@pytest.mark.parametrize("names", [(), ("fire",)])
def test_a_signature_by_a_stranger_proves_nothing(names: tuple[str, ...]) -> None:
    assert state(signed(PLAIN, "met"), *names) is SignatureState.UNKNOWN_SIGNER
    assert state(signed(PLAIN, "met", carries=False), *names) is SignatureState.UNKNOWN_SIGNER


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"<status>Actual", b"<status>Test"),
        (b"38.92,121.65 2.5", b"38.92,121.65 250"),
        (b"</info>", b"</info><info/>"),
        (b"</sender>", b"</sender> "),
    ],
)
def test_an_alert_that_was_changed_after_it_was_signed_is_invalid(old: bytes, new: bytes) -> None:
    raw = signed(PLAIN, "met")
    assert old in raw
    changed = verdict(raw.replace(old, new, 1), "met")
    assert (changed.state, changed.sentence) == (
        SignatureState.INVALID,
        "The message was changed after it was signed.",
    )


def test_a_changed_signature_that_names_a_registered_certificate_is_invalid() -> None:
    raw = signed(PLAIN, "met")
    at = raw.index(b"SignatureValue>") + 20
    assert (
        state(raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :], "met") is SignatureState.INVALID
    )


def test_a_signature_over_a_part_is_not_over_the_message() -> None:
    part = PLAIN.replace(b"<info>", b"<info Id='x'>")
    root = XMLSigner(signature_algorithm=SignatureMethod.ECDSA_SHA256).sign(
        etree.fromstring(part), key=key("met"), cert=[certified("met")], reference_uri="#x"
    )
    found = verdict(etree.tostring(root), "met")
    assert (found.state, found.sentence) == (SignatureState.INVALID, "The signature is not over the whole message.")


def test_a_signed_alert_inside_another_proves_nothing_of_the_other() -> None:
    inner = signed(PLAIN, "met")
    outer = PLAIN.replace(b"</alert>", inner[inner.index(b"<alert") :] + b"</alert>")
    assert state(outer, "met") is SignatureState.UNSIGNED


def test_weak_signatures_count_only_where_they_are_allowed_and_show() -> None:
    raw = signed(PLAIN, "rsa2048", old=True)
    refused = verdict(raw, "rsa2048")
    assert (refused.state, refused.proved) == (SignatureState.INVALID, False)
    assert refused.sentence == "The signature uses SHA-1, which this feed does not allow."
    allowed = verdict(raw, "rsa2048", allow_weak=True)
    assert (allowed.state, allowed.proved) == (SignatureState.WEAK, True)
    assert allowed.sentence == "Signed by CN=rsa2048.example.cn, but with SHA-1."


def test_a_short_key_is_weak() -> None:
    found = verdict(signed(PLAIN, "rsa1024"), "rsa1024", allow_weak=True)
    assert (found.state, found.sentence) == (
        SignatureState.WEAK,
        "Signed by CN=rsa1024.example.cn, but with a key of 1024 bits.",
    )


def test_a_certificate_counts_only_in_its_time() -> None:
    raw = signed(PLAIN, "met")
    for at in (NOW + timedelta(days=31), NOW - timedelta(days=61)):
        found = verdict(raw, "met", at=at)
        assert (found.state, found.sentence) == (
            SignatureState.INVALID,
            "The registered certificate is not valid at this time.",
        )


def test_of_two_signatures_the_one_that_proves_more_counts() -> None:
    relayed = signed(signed(PLAIN, "met"), "fire")
    assert relayed.count(b"SignatureValue>") == 4
    # The second signer signed over the first signature, which is taken out to check its own.
    assert state(relayed, "met") is SignatureState.VALID


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"not xml",
        b"<!DOCTYPE a><alert/>",
        b"<a>" * 10_000,
        PLAIN + b" " * 1_048_576,
    ],
)
def test_what_is_no_xml_proves_nothing(raw: bytes) -> None:
    assert state(raw, "met") is SignatureState.INVALID


@pytest.mark.parametrize(
    "content",
    [
        b"/>",
        b"><SignedInfo/></Signature>",
        b"><SignedInfo><CanonicalizationMethod Algorithm='x'/></SignedInfo></Signature>",
        b"><SignatureValue>!</SignatureValue></Signature>",
        b"><KeyInfo><X509Data><X509Certificate>AAAA</X509Certificate></X509Data></KeyInfo></Signature>",
    ],
)
def test_a_signature_that_is_none_is_a_strangers(content: bytes) -> None:
    raw = PLAIN.replace(b"</alert>", SIGNATURE + content + b"</alert>")
    assert state(raw, "met") is SignatureState.UNKNOWN_SIGNER


def test_signatures_and_certificates_are_capped() -> None:
    many = PLAIN.replace(b"</alert>", (SIGNATURE + b"/>") * 9 + b"</alert>")
    assert verdict(many, "met").sentence == "The message has more than 4 signatures."
    crowd = [certified("fire")] * CERTIFICATES_MAX + [certified("met")]
    assert verify(signed(PLAIN, "met"), crowd, False, NOW).state is SignatureState.UNKNOWN_SIGNER


def test_only_certificates_can_be_registered() -> None:
    pem = certified("met").public_bytes(Encoding.PEM)
    assert certificate(pem) == certified("met")
    for bad in (b"", b"x", pem[:200]):
        with pytest.raises(BadCertificate):
            certificate(bad)


@given(st.integers(0, 10_000), st.binary(min_size=1, max_size=4))
def test_no_damage_makes_a_signature_prove_more(at: int, noise: bytes) -> None:
    raw = signed(PLAIN, "met")
    at %= len(raw)
    damaged = raw[:at] + noise + raw[at + len(noise) :]
    found = verdict(damaged, "met")
    if found.proved:
        assert read(damaged).message == read(raw).message


def feed(*names: str, required: bool = False, weak: bool = False) -> Feed:
    pems = tuple(certified(name).public_bytes(Encoding.PEM).decode() for name in names)
    return Feed(
        "met", "", "", "cap", Use.ACTUAL, "", "", certificates=pems, signature_required=required, weak_signatures=weak
    )


def test_a_feed_without_certificates_is_not_asked() -> None:
    assert verify_for(feed(), PLAIN, NOW) is None
    assert verify_for(feed(required=True), PLAIN, NOW) == verdict(PLAIN)
    assert verify_for(feed("met"), signed(PLAIN, "met"), NOW) == verdict(signed(PLAIN, "met"), "met")


@pytest.mark.parametrize(
    ("raw", "names", "required", "states", "codes"),
    [
        (signed(PLAIN, "met"), ("met",), True, ["valid"], []),
        (PLAIN, ("met",), False, ["unsigned"], []),
        (PLAIN, ("met",), True, [], ["signature_required"]),
        (signed(PLAIN, "met"), ("fire",), False, ["unknown_signer"], ["signature_unknown_signer"]),
        (signed(PLAIN, "met"), ("fire",), True, [], ["signature_required"]),
        (signed(PLAIN, "met").replace(b"Severe<", b"Extreme<"), ("met",), False, ["invalid"], ["signature_invalid"]),
        (signed(PLAIN, "rsa2048", old=True), ("rsa2048",), True, ["weak"], ["signature_weak"]),
    ],
)
def test_the_verdict_is_evidence_or_a_refusal_by_the_feeds_enrolment(
    raw: bytes, names: tuple[str, ...], required: bool, states: list[str], codes: list[str]
) -> None:
    source = feed(*names, required=required, weak=True)
    found = verify_for(source, raw, NOW)
    assert found is not None
    told = with_signature(reading(raw, source, 0), found.state, found.sentence, required=source.signature_required)
    assert [signal.signature for signal in told.signals] == states
    assert [problem.code for problem in told.problems if problem.where == "alert/Signature"] == codes
    for signal in told.signals:
        assert [problem.code for problem in signal.problems if problem.where == "alert/Signature"] == codes
