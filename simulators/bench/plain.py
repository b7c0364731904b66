"""One bare MQTT 5 connection over a blocking socket: fills queues, and is the "raw" publisher of the fan-out."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from simulators.bench import wire
from simulators.bench.result import BenchFailed

TIMEOUT_S = 30.0
READ_BYTES = 65_536
KEEPALIVE_S = 600
AT_ONCE_MAX = 1_000
"""Messages sent before the broker's acknowledgements are read."""


class Plain:
    """A connection under one login; the client id is the login's name. Every method raises BenchFailed.

    With `keep_session` the broker keeps its subscriptions, and queues for it, after it has gone.
    """

    def __init__(self, port: int, name: str, secret: str, *, keep_session: bool = False) -> None:
        self._rest = b""
        self._packets: list[tuple[int, bytes]] = []
        expiry_s = 3_600 if keep_session else 0
        hello = wire.connect(
            name, name, secret, keepalive_s=KEEPALIVE_S, session_expiry_s=expiry_s, clean=not keep_session
        )
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            raise BenchFailed(f"The broker can't be reached: {error}.") from error
        try:
            self._ask(hello, wire.CONNACK)
        except BenchFailed:
            self._socket.close()
            raise

    def subscribe(self, filters: Sequence[str]) -> None:
        self._ask(wire.subscribe(1, filters), wire.SUBACK)

    def publish(self, packet: bytes) -> None:
        """Send one PUBLISH with QoS 1, as `wire.publish` made it, and wait until the broker has it."""
        self._ask(packet, wire.PUBACK)

    def publish_all(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish every (topic, payload) with QoS 1. A message that nobody is subscribed to counts as refused."""
        for start in range(0, len(messages), AT_ONCE_MAX):
            some = messages[start : start + AT_ONCE_MAX]
            self._send(b"".join(wire.publish(topic, said, number) for number, (topic, said) in enumerate(some, 1)))
            for _ in some:
                self._expect(wire.PUBACK)

    def close(self) -> None:
        try:
            self._socket.sendall(wire.DISCONNECTING)
        except OSError:
            # The broker has gone, and with it the connection.
            return
        finally:
            self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _ask(self, packet: bytes, answer: int) -> None:
        self._send(packet)
        self._expect(answer)

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise BenchFailed(f"The broker took nothing for {TIMEOUT_S:g} s or hung up: {error}.") from error

    def _expect(self, answer: int) -> None:
        """Read until the broker gives this kind of answer, with success; messages that come meanwhile are let pass."""
        while True:
            first, body = self._next()
            kind = first & 0xF0
            if kind == wire.PUBLISH:
                continue
            if kind != answer:
                raise BenchFailed(f"The broker sent packet type {first >> 4} where {answer >> 4} was due.")
            code = wire.reason(first, body)
            if code:
                raise BenchFailed(f"The broker refused with reason 0x{code:02x}.")
            return

    def _next(self) -> tuple[int, bytes]:
        while not self._packets:
            try:
                data = self._socket.recv(READ_BYTES)
            except OSError as error:
                raise BenchFailed(f"The broker did not answer within {TIMEOUT_S:g} s: {error}.") from error
            if not data:
                raise BenchFailed("The broker hung up.")
            packets, self._rest = wire.split(self._rest + data)
            self._packets = packets[::-1]
        return self._packets.pop()
