"""Many plain MQTT connections in one process, which say when the last of them holds a message. Run as a program.

It stands for speakers where only the broker's fan-out is measured: each connection has a login of its own, subscribes
to its own streams, acknowledges, and compares every byte; nothing else, so that the client is not what is measured.

Standard input: one line of JSON, `{"port": …, "connections": [[name, secret, [filter, …]], …]}`; its end ends the
program. Standard output, a line each: `{"ready": n}`, then for every message that all connections hold
`{"topic": …, "sha256": …, "first_ns": …, "last_ns": …}` in ns of the machine's monotonic clock, or
`{"failed": sentence}` before it ends with status 1.
"""

from __future__ import annotations

import hashlib
import json
import resource
import select
import socket
import struct
import sys
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from simulators.bench import wire

KEEPALIVE_S = 900
"""Longer than any benchmark, so that nobody needs to ping."""
CONNECT_AT_ONCE = 100
"""Mosquitto's backlog of connections not accepted yet."""
ANSWER_WITHIN_S = 60.0
READ_BYTES = 65_536
EVENTS_MAX = 2_048
MESSAGES_MAX = 8
"""Messages that some connections hold and others do not yet; older ones are given up."""


@dataclass(slots=True)
class Message:
    """One message on its way to all connections. `head` goes up to the packet id, `tail` is what follows it."""

    head: bytes
    tail: bytes
    topic: str
    sha256: str
    first_ns: int
    held: int = 0


@dataclass(slots=True)
class Connection:
    """One socket, and the bytes of a packet that has not arrived whole."""

    name: str
    socket: socket.socket
    rest: bytes = b""
    answers: list[int] = field(default_factory=lambda: [wire.CONNACK, wire.SUBACK])


class Connections:
    """All connections of this process."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._by_descriptor: dict[int, Connection] = {}
        self._messages: deque[Message] = deque(maxlen=MESSAGES_MAX)
        self._epoll = select.epoll()
        self._ready = 0

    def connect(self, logins: list[Any]) -> None:
        """Connect and subscribe everyone. Raises WireFault or OSError."""
        for start in range(0, len(logins), CONNECT_AT_ONCE):
            some = logins[start : start + CONNECT_AT_ONCE]
            for name, secret, filters in some:
                self._connect(name, secret, filters)
            give_up = time.monotonic() + ANSWER_WITHIN_S
            while self._ready < start + len(some):
                if time.monotonic() > give_up:
                    raise wire.WireFault(f"the broker did not let {some[0][0]} and those after it in")
                self._turn(0.1)

    def _connect(self, name: str, secret: str, filters: list[str]) -> None:
        connection = Connection(name, socket.create_connection(("127.0.0.1", self._port), ANSWER_WITHIN_S))
        hello = wire.connect(name, name, secret, keepalive_s=KEEPALIVE_S)
        # A client need not wait for CONNACK before it goes on (MQTT 5, 3.1.4).
        connection.socket.sendall(hello + wire.subscribe(1, filters))
        connection.socket.setblocking(False)
        self._by_descriptor[connection.socket.fileno()] = connection
        self._epoll.register(connection.socket, select.EPOLLIN)

    def run(self, until: int) -> None:
        """Receive until there is something to read at this file descriptor. Raises WireFault or OSError."""
        self._epoll.register(until, select.EPOLLIN)
        while not self._turn(-1, until):
            pass

    def _turn(self, wait_s: float, until: int = -1) -> bool:
        """One look at the sockets; whether `until` can be read. Acknowledgements follow the last look at a message."""
        acknowledge: list[tuple[Connection, bytes]] = []
        ended = False
        for descriptor, _ in self._epoll.poll(wait_s, EVENTS_MAX):
            if descriptor == until:
                ended = True
                continue
            connection = self._by_descriptor[descriptor]
            data = connection.socket.recv(READ_BYTES)
            packet_id = self._whole(data) if not connection.rest else b""
            if packet_id:
                acknowledge.append((connection, packet_id))
            else:
                acknowledge += [(connection, each) for each in self._pieces(connection, data)]
        for connection, packet_id in acknowledge:
            connection.socket.send(b"\x40\x02" + packet_id)
        return ended

    def _whole(self, data: bytes) -> bytes:
        """The packet id when the bytes are exactly one of the messages under way."""
        for message in self._messages:
            at = len(message.head)
            if (
                len(data) == at + 2 + len(message.tail)
                and data.startswith(message.head)
                and data.endswith(message.tail)
            ):
                self._hold(message)
                return data[at : at + 2]
        return b""

    def _pieces(self, connection: Connection, data: bytes) -> list[bytes]:
        """Take packets apart; the ids of the messages among them."""
        if not data:
            raise wire.WireFault(f"the broker hung up on {connection.name}")
        packets, connection.rest = wire.split(connection.rest + data)
        ids: list[bytes] = []
        for first, body in packets:
            if first & 0xF0 != wire.PUBLISH:
                self._answer(connection, first, body)
                continue
            raw = wire.packet(first, body)
            if packet_id := self._whole(raw):
                ids.append(packet_id)
                continue
            topic, number, payload = wire.published(first, body)
            at = raw.index(topic.encode()) + len(topic.encode())
            sha256 = hashlib.sha256(payload).hexdigest()
            message = Message(raw[:at], raw[at + 2 :], topic, sha256, time.monotonic_ns())
            self._messages.appendleft(message)
            self._hold(message)
            ids.append(struct.pack("!H", number))
        return ids

    def _answer(self, connection: Connection, first: int, body: bytes) -> None:
        if not connection.answers or first & 0xF0 != connection.answers.pop(0):
            raise wire.WireFault(f"the broker sent {connection.name} packet type {first >> 4} out of turn")
        if code := wire.reason(first, body):
            raise wire.WireFault(f"the broker refused {connection.name} with reason 0x{code:02x}")
        self._ready += not connection.answers

    def _hold(self, message: Message) -> None:
        message.held += 1
        if message.held == len(self._by_descriptor):
            last_ns = time.monotonic_ns()
            self._messages.remove(message)
            say(topic=message.topic, sha256=message.sha256, first_ns=message.first_ns, last_ns=last_ns)


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


def main() -> None:
    asked = json.loads(sys.stdin.readline())
    _, descriptors_max = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors_max, descriptors_max))
    connections = Connections(asked["port"])
    try:
        connections.connect(asked["connections"])
        say(ready=len(asked["connections"]))
        connections.run(sys.stdin.fileno())
    except (wire.WireFault, OSError) as failed:
        say(failed=str(failed))
        sys.exit(1)


if __name__ == "__main__":
    main()
