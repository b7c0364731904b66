"""Signature files: taken apart, written, and never shown as more than they are."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.feeds.ebd_signature import (
    EbdSignature,
    SignatureReading,
    SignatureValue,
    decode_value,
    encode_value,
    read_signature,
    write_signature,
)
from tests.feeds.ebd_packets import EBDID, SIGNED

VALUES = st.builds(
    SignatureValue,
    st.integers(0, 2**32 - 1),
    st.text("0123456789", min_size=12, max_size=12),
    st.binary(min_size=64, max_size=64),
)
# Seconds since 1970 of 2018-06-19 05:16:53 UTC, as a platform in the field wrote them.
FIELD_TIME = 0x5B2891C5


def test_a_value_is_time_certificate_number_and_signature() -> None:
    raw = FIELD_TIME.to_bytes(4, "big") + bytes.fromhex("000000003363") + b"\x07" * 64
    assert decode_value(raw) == SignatureValue(1_529_385_413, "000000003363", b"\x07" * 64)


@given(VALUES)
def test_a_value_that_is_encoded_is_decoded_back(value: SignatureValue) -> None:
    assert decode_value(encode_value(value)) == value


@given(VALUES)
def test_a_file_that_is_written_is_read_back(value: SignatureValue) -> None:
    signature = EbdSignature(EBDID, value, issuer="000000000001", serial=value.serial)
    assert read_signature(write_signature(signature)) == SignatureReading(signature, ())


@given(st.binary(max_size=100))
def test_any_bytes_are_a_value_or_none(raw: bytes) -> None:
    value = decode_value(raw)
    assert value is None or encode_value(value) == raw


def test_a_certificate_number_that_is_not_decimal_is_refused() -> None:
    assert decode_value(bytes(4) + b"\xab" * 6 + bytes(64)) is None


@pytest.mark.parametrize("length", [0, 73, 75])
def test_a_value_of_another_length_is_refused(length: int) -> None:
    text = base64.b64encode(bytes(length)).decode()
    good = base64.b64encode(encode_value(SIGNED.value)).decode()
    found = read_signature(write_signature(SIGNED).replace(good.encode(), text.encode()))
    assert found.signature is None
    assert [p.code for p in found.problems] == ["signature_malformed" if length else "missing"] + (
        [] if length else ["signature_malformed"]
    )


def test_what_stands_beside_the_value_and_differs_is_named() -> None:
    raw = write_signature(replace(SIGNED, serial="000000000001")).replace(b"SM3", b"SHA1")
    found = read_signature(raw.replace(f"{SIGNED.value.time_s:08X}".encode(), b"00000001"))
    assert found.signature == replace(SIGNED, serial="000000000001")
    assert [(p.severity, p.code) for p in found.problems] == [
        ("warning", "signature_differs"),
        ("warning", "signature_differs"),
        ("warning", "algorithm_unknown"),
    ]


@pytest.mark.parametrize("raw", [b"", b"<EBD/>", b"<Signature/>", b"\x00", b"<!DOCTYPE Signature []><Signature/>"])
def test_what_is_no_signature_file_is_refused(raw: bytes) -> None:
    found = read_signature(raw)
    assert found.signature is None
    assert found.problems[0].severity == "error"


@given(st.integers(0, 600), st.integers(0, 30), st.binary(max_size=8))
def test_no_change_of_a_file_crashes_it(at: int, length: int, put: bytes) -> None:
    raw = write_signature(SIGNED)
    read_signature(raw[:at] + put + raw[at + length :])
