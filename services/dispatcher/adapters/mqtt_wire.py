"""The MQTT 5 packets of a client that only takes messages in (OASIS MQTT 5.0): bytes alone, no socket and no clock.

Receipts come by the ten thousand a second, and a client for every purpose spends more on reading one than storing it
costs. Numbers in brackets are sections of the standard. This client never publishes, and subscribes with QoS 1.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

PACKET_BYTES_MAX = 131_072
"""Announced in CONNECT, so that the broker discards what is longer (3.1.2.11.4): twice the payload it lets through."""

LENGTH_BYTES_MAX = 4
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"

_SESSION_EXPIRY, _RECEIVE_MAXIMUM, _PACKET_MAXIMUM, _SERVER_KEEP_ALIVE = 0x11, 0x21, 0x27, 0x13
_REFUSED = 0x80
_SIZED_PROPERTIES = {
    **dict.fromkeys((0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22), 2),
    **dict.fromkeys((0x11, 0x27), 4),
}
"""Bytes of each property of a CONNACK that has a fixed size (2.2.2.2)."""
_TEXTS_OF_PROPERTY = {**dict.fromkeys((0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F), 1), 0x26: 2}
"""How many texts with their length each of the others has."""


class WireFault(Exception):
    """The broker said what this standard, or what we asked for, does not allow: the connection is of no more use."""


@dataclass(frozen=True, slots=True)
class Published:
    """One PUBLISH (3.3). `packet_id` is what its PUBACK names; 0 with QoS 0, which nobody acknowledges. `retained` is
    what the broker kept, and sends because we have subscribed (3.3.1.3): nobody says it now."""

    topic: str
    payload: bytes
    packet_id: int
    retained: bool = False


@dataclass(frozen=True, slots=True)
class ConnAck:
    """CONNACK with success (3.2); `keepalive_s` when the broker sets one of its own, which then holds."""

    keepalive_s: int | None


@dataclass(frozen=True, slots=True)
class Subscribed:
    """SUBACK that grants every filter (3.9)."""


@dataclass(frozen=True, slots=True)
class Pong:
    """PINGRESP (3.13)."""


@dataclass(frozen=True, slots=True)
class WireRefusal:
    """CONNACK, SUBACK or DISCONNECT with a reason code that ends the connection."""

    packet: str
    code: int


Packet = Published | ConnAck | Subscribed | Pong | WireRefusal


class Incoming:
    """What the broker has sent, cut into packets. Holds at most one unfinished packet beside what was last given."""

    def __init__(self) -> None:
        self._data = b""
        self._at = 0

    def receive_data(self, data: bytes) -> None:
        """Bytes off the wire, as they came."""
        self._data = self._data[self._at :] + data
        self._at = 0

    def next_packet(self) -> Packet | None:
        """The next whole packet; None when more bytes have to come. Raises WireFault."""
        data, start = self._data, self._at
        if start == len(data):
            return None
        found = _integer(data, start + 1)
        if found is None:
            return None
        length, body = found
        if length > PACKET_BYTES_MAX:
            raise WireFault(f"a packet of {length} bytes")
        if body + length > len(data):
            return None
        self._at = body + length
        return _packet(data[start], data[body : body + length])


def connect(client_id: str, name: str, secret: str, *, keepalive_s: int, session_s: int, receive_max: int) -> bytes:
    """CONNECT (3.1) that takes up the session of this client id; the broker keeps it for `session_s` seconds."""
    properties = (
        bytes((_SESSION_EXPIRY,)) + session_s.to_bytes(4)
        + bytes((_RECEIVE_MAXIMUM,)) + receive_max.to_bytes(2)
        + bytes((_PACKET_MAXIMUM,)) + PACKET_BYTES_MAX.to_bytes(4)
    )  # fmt: skip
    with_name_and_secret = 0xC0
    head = _text("MQTT") + bytes((5, with_name_and_secret)) + keepalive_s.to_bytes(2)
    body = head + _length(len(properties)) + properties + _text(client_id) + _text(name) + _text(secret)
    return _whole(0x10, body)


def subscribe(filters: Sequence[str], *, retained: bool = True) -> bytes:
    """SUBSCRIBE (3.8) to every filter with QoS 1, and to what is retained unless that is not wanted (3.8.3.1)."""
    packet_id, no_properties, options = b"\x00\x01", b"\x00", b"\x01" if retained else b"\x21"
    body = packet_id + no_properties + b"".join(_text(topic) + options for topic in filters)
    return _whole(0x82, body)


def pubacks(packet_ids: Iterable[int]) -> bytes:
    """A PUBACK (3.4) with success for each."""
    return b"".join(b"\x40\x02" + packet_id.to_bytes(2) for packet_id in packet_ids)


def _packet(first: int, body: bytes) -> Packet:
    match first >> 4:
        case 3:
            return _message(first, body)
        case 2:
            return _connected(body)
        case 9:
            return _subscribed(body)
        case 13:
            return Pong()
        case 14:
            return WireRefusal("DISCONNECT", body[0] if body else 0)
        case kind:
            raise WireFault(f"a packet of type {kind}")


def _message(first: int, body: bytes) -> Published:
    at = 2 + int.from_bytes(body[:2])
    topic = body[2:at]
    if at > len(body) or not topic:
        raise WireFault("a PUBLISH without its topic")
    packet_id = 0
    match first >> 1 & 0x03:
        case 0:
            pass
        case 1:
            packet_id = int.from_bytes(body[at : at + 2])
            at += 2
            if not packet_id:
                raise WireFault("a PUBLISH with QoS 1 and no packet identifier")
        case qos:
            raise WireFault(f"a PUBLISH with QoS {qos}, subscribed with QoS 1")
    _, payload = _properties(body, at)
    return Published(topic.decode(errors="replace"), body[payload:], packet_id, bool(first & 0x01))


def _connected(body: bytes) -> Packet:
    if len(body) < 2:
        raise WireFault("a CONNACK that is cut short")
    if body[1] >= _REFUSED:
        return WireRefusal("CONNACK", body[1])
    properties, end = _properties(body, 2)
    return ConnAck(_server_keep_alive(body[properties:end]))


def _subscribed(body: bytes) -> Packet:
    _, end = _properties(body, 2)
    codes = body[end:]
    if not codes:
        raise WireFault("a SUBACK without reason codes")
    worst = max(codes)
    return WireRefusal("SUBACK", worst) if worst >= _REFUSED else Subscribed()


def _properties(body: bytes, at: int) -> tuple[int, int]:
    """Where the properties (2.2.2) whose length stands at `at` begin and end."""
    found = _integer(body, at)
    if found is None or found[0] + found[1] > len(body):
        raise WireFault("properties that are cut short")
    length, begin = found
    return begin, begin + length


def _server_keep_alive(properties: bytes) -> int | None:
    """Server Keep Alive in seconds (3.2.2.3.14) among the properties of a CONNACK."""
    at = 0
    while at < len(properties):
        kind = properties[at]
        at += 1
        if kind == _SERVER_KEEP_ALIVE:
            return int.from_bytes(properties[at : at + 2])
        if kind in _SIZED_PROPERTIES:
            at += _SIZED_PROPERTIES[kind]
            continue
        for _ in range(_TEXTS_OF_PROPERTY.get(kind, 0)):
            at += 2 + int.from_bytes(properties[at : at + 2])
        if kind not in _TEXTS_OF_PROPERTY:
            raise WireFault(f"a CONNACK with property {kind}")
    return None


def _integer(data: bytes, at: int) -> tuple[int, int] | None:
    """A variable byte integer (1.5.5) and where it ends; None when bytes are missing. Raises WireFault."""
    value = 0
    for shift in range(0, 7 * LENGTH_BYTES_MAX, 7):
        if at >= len(data):
            return None
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise WireFault(f"a length of more than {LENGTH_BYTES_MAX} bytes")


def _length(value: int) -> bytes:
    """The variable byte integer (1.5.5) of a number below 2**28."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(text: str) -> bytes:
    raw = text.encode()
    return len(raw).to_bytes(2) + raw


def _whole(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _length(len(body)) + body
