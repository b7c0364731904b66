"""The packets that benchmarks' own clients speak."""

from __future__ import annotations

import pytest

from simulators.bench import wire

MESSAGE = wire.publish("tocsin/v1/area/990000000000/manifest/exercise/city", b"x" * 300, 7, retain=True)
STREAM = b"\x20\x03\x00\x00\x00" + MESSAGE + b"\x40\x02\x00\x07"
WHOLE = [(0x20, b"\x00\x00\x00"), (0x33, MESSAGE[3:]), (0x40, b"\x00\x07")]


@pytest.mark.parametrize("cut", range(len(STREAM) + 1))
def test_packets_are_the_same_wherever_the_bytes_are_cut(cut: int) -> None:
    packets, rest = wire.split(STREAM[:cut])
    assert b"".join(wire.packet(first, body) for first, body in packets) + rest == STREAM[:cut]
    more, rest = wire.split(rest + STREAM[cut:])
    assert (packets + more, rest) == (WHOLE, b"")


def test_length_that_this_broker_never_sends_is_refused_before_its_bytes_are_awaited() -> None:
    with pytest.raises(wire.WireFault, match="a packet of 268435455 bytes"):
        wire.split(b"\x30\xff\xff\xff\x7f")
    with pytest.raises(wire.WireFault, match="more than four bytes"):
        wire.split(b"\x30\xff\xff\xff\xff\x01")


def test_published_message_is_read_as_it_was_written() -> None:
    assert wire.published(*WHOLE[1]) == ("tocsin/v1/area/990000000000/manifest/exercise/city", 7, b"x" * 300)
    assert wire.published(0x30, b"\x00\x01a\x00said") == ("a", 0, b"said")
    assert wire.published(0x30, b"\x00\x01a\x02\x01\x00said") == ("a", 0, b"said")


@pytest.mark.parametrize(
    "body", [b"", b"\x00", b"\x00\x09a", b"\x00\x01a", b"\x00\x01a\x00\x01", b"\x00\x01\xff\x00\x01\x00"]
)
def test_message_that_is_cut_short_is_refused(body: bytes) -> None:
    with pytest.raises(wire.WireFault):
        wire.published(0x32, body)


@pytest.mark.parametrize(
    ("first", "body", "reason"),
    [
        (0x20, b"\x00\x00\x00", 0),
        (0x20, b"\x00\x87\x00", 0x87),
        (0x40, b"\x00\x07", 0),
        (0x40, b"\x00\x07\x10", 0x10),
        (0x90, b"\x00\x01\x00\x01\x01", 0),
        (0x90, b"\x00\x01\x00\x01\x8f\x01", 0x8F),
    ],
)
def test_reason_of_an_answer_is_zero_only_for_success(first: int, body: bytes, reason: int) -> None:
    assert wire.reason(first, body) == reason


def test_packet_that_carries_no_reason_is_refused() -> None:
    with pytest.raises(wire.WireFault, match="packet type 13"):
        wire.reason(0xD0, b"")
