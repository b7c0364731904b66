"""The few MQTT 5 packets that a benchmark's own clients speak (OASIS MQTT 5.0). Bytes only, no sockets.

It exists so that ten thousand connections and a bare publisher cost as little as possible beside the broker; whatever
the product speaks, it speaks through its own adapter.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

CONNACK, PUBLISH, PUBACK, SUBACK, PINGRESP = 0x20, 0x30, 0x40, 0x90, 0xD0
PINGREQ = b"\xc0\x00"
DISCONNECTING = b"\xe0\x00"
"""DISCONNECT (3.14), normal."""
PACKET_BYTES_MAX = 131_072
"""Twice what the product's broker lets through: more is not this broker speaking."""


class WireFault(Exception):
    """The broker said something that these clients do not expect."""


def connect(
    client_id: str, name: str, secret: str, *, keepalive_s: int, session_expiry_s: int = 0, clean: bool = True
) -> bytes:
    """CONNECT (3.1) with a name and a secret."""
    properties = b"\x11" + struct.pack("!I", session_expiry_s) if session_expiry_s else b""
    flags = 0xC2 if clean else 0xC0
    head = _text("MQTT") + bytes((5, flags)) + struct.pack("!H", keepalive_s) + _length(len(properties)) + properties
    return packet(0x10, head + _text(client_id) + _text(name) + _text(secret))


def subscribe(packet_id: int, filters: Sequence[str]) -> bytes:
    """SUBSCRIBE (3.8) to every filter with QoS 1."""
    body = b"".join(_text(topic) + b"\x01" for topic in filters)
    return packet(0x82, struct.pack("!H", packet_id) + b"\x00" + body)


def publish(topic: str, payload: bytes, packet_id: int, *, retain: bool = False) -> bytes:
    """PUBLISH (3.3) with QoS 1."""
    head = _text(topic) + struct.pack("!H", packet_id) + b"\x00"
    return packet(0x33 if retain else 0x32, head + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK (3.4): success."""
    return b"\x40\x02" + struct.pack("!H", packet_id)


def packet(first: int, body: bytes) -> bytes:
    """A packet with its fixed header (2.1)."""
    return bytes((first,)) + _length(len(body)) + body


def split(data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """Whole packets as (first byte, body), and what is left of the last one.

    Raises WireFault for a length that this broker never sends, so that nobody waits for bytes that never come.
    """
    packets: list[tuple[int, bytes]] = []
    start, end = 0, len(data)
    while end - start >= 2:
        length, shift, at = 0, 0, start + 1
        while at < end:
            byte = data[at]
            length |= (byte & 0x7F) << shift
            at += 1
            if byte < 0x80:
                break
            shift += 7
            if shift > 21:
                raise WireFault("a packet's length has more than four bytes")
        else:
            break
        if length > PACKET_BYTES_MAX:
            raise WireFault(f"a packet of {length} bytes")
        if at + length > end:
            break
        packets.append((data[start], data[at : at + length]))
        start = at + length
    return packets, data[start:]


def published(first: int, body: bytes) -> tuple[str, int, bytes]:
    """(topic, packet id, payload) of a PUBLISH; id 0 for QoS 0. Raises WireFault."""
    try:
        (topic_bytes,) = struct.unpack_from("!H", body)
        at = 2 + topic_bytes
        packet_id = 0
        if first & 0x06:
            (packet_id,) = struct.unpack_from("!H", body, at)
            at += 2
        length = body[at]
        # The property length is one byte here: the product's messages carry few properties or none.
        if length >= 0x80 or at + 1 + length > len(body):
            raise WireFault("a PUBLISH with long properties")
        return body[2 : 2 + topic_bytes].decode(), packet_id, body[at + 1 + length :]
    except (struct.error, IndexError, UnicodeDecodeError) as broken:
        raise WireFault("a PUBLISH that is cut short") from broken


def reason(first: int, body: bytes) -> int:
    """The reason code of a CONNACK, PUBACK or SUBACK; 0 is success, also for a granted QoS. Raises WireFault."""
    match first & 0xF0:
        case 0x20 if len(body) >= 2:
            return body[1]
        case 0x40:
            return body[2] if len(body) > 2 else 0
        case 0x90 if len(body) > 3 and body[2] < 0x80 and len(body) > 3 + body[2]:
            return max((code for code in body[3 + body[2] :] if code >= 0x80), default=0)
    raise WireFault(f"packet type {first >> 4} carries no reason here")


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _length(length: int) -> bytes:
    """A variable byte integer (1.5.5)."""
    out = bytearray()
    while True:
        length, byte = length >> 7, length & 0x7F
        out.append(byte | (0x80 if length else 0))
        if not length:
            return bytes(out)
