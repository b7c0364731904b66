"""The packets of the intake's connection, held against the standard's own layouts (OASIS MQTT 5.0)."""

from __future__ import annotations

import pytest

from services.dispatcher.adapters import mqtt_wire
from services.dispatcher.adapters.mqtt_wire import (
    PACKET_BYTES_MAX,
    ConnAck,
    Incoming,
    Packet,
    Pong,
    Published,
    Subscribed,
    WireFault,
    WireRefusal,
)

RECEIPT = b"\x32\x0a\x00\x03a/b\x01\x02\x00{}"
"""QoS 1, topic a/b, packet identifier 258, no properties, payload {}."""

LONG = bytes(range(256)) * 80
STREAM: list[tuple[bytes, Packet]] = [
    (b"\x20\x06\x00\x00\x03\x13\x00\x3c", ConnAck(60)),
    (b"\x90\x06\x00\x01\x00\x01\x01\x01", Subscribed()),
    (RECEIPT, Published("a/b", b"{}", 258)),
    (b"\x33\x0a\x00\x03a/b\x01\x03\x00[]", Published("a/b", b"[]", 259, retained=True)),
    (b"\x3a\x0a\x00\x03a/b\x01\x02\x00{}", Published("a/b", b"{}", 258)),
    (b"\x30\x08\x00\x03a/b\x00{}", Published("a/b", b"{}", 0)),
    (b"\x32\x0a\x00\x01\xff\x00\x01\x02\x01\x01{}", Published("\N{REPLACEMENT CHARACTER}", b"{}", 1)),
    (b"\xd0\x00", Pong()),
    (b"\x32\x88\xa0\x01\x00\x03a/b\x00\x07\x00" + LONG, Published("a/b", LONG, 7)),
    (b"\xe0\x01\x8e", WireRefusal("DISCONNECT", 0x8E)),
]


def heard(*pieces: bytes) -> list[Packet]:
    incoming, packets = Incoming(), []
    for piece in pieces:
        incoming.receive_data(piece)
        while (packet := incoming.next_packet()) is not None:
            packets.append(packet)
    return packets


def test_packets_are_read_in_their_order() -> None:
    assert heard(b"".join(raw for raw, _ in STREAM)) == [packet for _, packet in STREAM]


def test_packets_are_read_however_the_wire_splits_them() -> None:
    said = b"".join(raw for raw, packet in STREAM if len(raw) < 100)
    expected = [packet for raw, packet in STREAM if len(raw) < 100]
    for at in range(len(said) + 1):
        assert heard(said[:at], said[at:]) == expected
    assert heard(*(bytes((byte,)) for byte in said)) == expected


@pytest.mark.parametrize(("raw", "packet"), [each for each in STREAM if len(each[0]) < 100])
def test_packet_that_is_cut_short_is_waited_for(raw: bytes, packet: Packet) -> None:
    for end in range(len(raw)):
        assert heard(raw[:end]) == []


def test_properties_that_a_speaker_adds_are_passed_over() -> None:
    own = b"\x26\x00\x01k\x00\xc8" + b"v" * 200
    length_206 = b"\xce\x01"
    body = b"\x00\x03a/b\x01\x02" + length_206 + own + b"{}"
    assert heard(b"\x32" + b"\xd9\x01" + body) == [Published("a/b", b"{}", 258)]


@pytest.mark.parametrize(
    ("properties", "keepalive_s"),
    [
        (b"", None),
        (b"\x13\x00\x05", 5),
        (b"\x24\x01\x27\x00\x01\x00\x00\x12\x00\x03gw0\x26\x00\x01k\x00\x01v\x13\x01\x00", 256),
    ],
)
def test_keep_alive_that_the_broker_sets_is_found_among_its_properties(
    properties: bytes, keepalive_s: int | None
) -> None:
    body = b"\x01\x00" + bytes((len(properties),)) + properties
    assert heard(b"\x20" + bytes((len(body),)) + body) == [ConnAck(keepalive_s)]


@pytest.mark.parametrize(
    ("raw", "refusal"),
    [
        (b"\x20\x03\x00\x86\x00", WireRefusal("CONNACK", 0x86)),
        (b"\x90\x06\x00\x01\x00\x01\x87\x01", WireRefusal("SUBACK", 0x87)),
        (b"\xe0\x00", WireRefusal("DISCONNECT", 0)),
    ],
)
def test_refusals_keep_their_reason(raw: bytes, refusal: WireRefusal) -> None:
    assert heard(raw) == [refusal]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"\x32\xff\xff\xff\xff\x01", "a length of more than 4 bytes"),
        (b"\x32\x81\x80\x08", f"a packet of {PACKET_BYTES_MAX + 1} bytes"),
        (b"\x34\x0a\x00\x03a/b\x01\x02\x00{}", "a PUBLISH with QoS 2, subscribed with QoS 1"),
        (b"\x32\x0a\x00\x03a/b\x00\x00\x00{}", "a PUBLISH with QoS 1 and no packet identifier"),
        (b"\x32\x05\x00\x00\x01\x02\x00", "a PUBLISH without its topic"),
        (b"\x32\x04\x00\x09a/", "a PUBLISH without its topic"),
        (b"\x32\x07\x00\x03a/b\x01\x02", "properties that are cut short"),
        (b"\x32\x09\x00\x03a/b\x01\x02\x05{", "properties that are cut short"),
        (b"\x20\x01\x00", "a CONNACK that is cut short"),
        (b"\x20\x05\x00\x00\x02\x7f\x00", "a CONNACK with property 127"),
        (b"\x90\x03\x00\x01\x00", "a SUBACK without reason codes"),
        (b"\x40\x02\x00\x01", "a packet of type 4"),
    ],
)
def test_what_the_standard_does_not_allow_ends_the_connection(raw: bytes, sentence: str) -> None:
    with pytest.raises(WireFault, match=f"^{sentence}$"):
        heard(raw)


def test_connect_takes_up_the_session_and_says_how_much_may_come() -> None:
    said = mqtt_wire.connect("gw-0-in", "gw-0-in", "s3", keepalive_s=20, session_s=604_800, receive_max=2_000)
    assert said == (
        b"\x10\x2e\x00\x04MQTT\x05\xc0\x00\x14"
        b"\x0d\x11\x00\x09\x3a\x80\x21\x07\xd0\x27\x00\x02\x00\x00"
        b"\x00\x07gw-0-in\x00\x07gw-0-in\x00\x02s3"
    )


def test_subscribe_asks_for_every_filter_with_qos_1() -> None:
    assert mqtt_wire.subscribe(["a/+", "b"]) == b"\x82\x0d\x00\x01\x00\x00\x03a/+\x01\x00\x01b\x01"
    assert mqtt_wire.subscribe(["a"], retained=False) == b"\x82\x07\x00\x01\x00\x00\x01a\x21"


def test_each_message_is_acknowledged_by_its_own_packet() -> None:
    assert mqtt_wire.pubacks([1, 65_535]) == b"\x40\x02\x00\x01\x40\x02\xff\xff"
