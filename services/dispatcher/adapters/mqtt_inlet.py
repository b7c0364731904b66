"""The dispatcher's connections for what speakers and sensors say: one thread takes messages from each, commits them and
acknowledges them.

It is not for publishing: `mqtt.MqttLink` is. Nothing here is called by two threads, so nothing waits for a lock.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import assert_never

import structlog

from . import mqtt_wire
from .mqtt import KEEPALIVE_S, RECEIVE_MAXIMUM, RECONNECT_MAX_S, SESSION_EXPIRY_S, SESSION_TAKEN_OVER
from .mqtt_wire import ConnAck, Incoming, Packet, Pong, Published, Subscribed, WireFault, WireRefusal

log = structlog.get_logger(__name__)

READ_BYTES = 65_536
CONNECT_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 5.0
RECONNECT_MIN_S = 1.0
SILENT_AFTER_KEEPALIVES = 1.5


class MqttInlet:
    """A connection under one fixed client id, which is also its account, with a session that outlives it.

    The broker sends at most `RECEIVE_MAXIMUM` messages that are not acknowledged, and sends those of a lost connection
    again on the next one; therefore only `take` connects, and a batch is acknowledged on the connection it came by or
    not at all.
    """

    def __init__(
        self,
        client_id: str,
        password: str,
        topics: Sequence[str],
        host: str,
        port: int,
        *,
        retained: bool = True,
        on_taken: Callable[[bool], None] = lambda said: None,
        on_cut: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_taken` and `on_cut` are told that the connection has ended, as those of `mqtt.MqttLink`."""
        self.client_id = client_id
        self._password = password
        self._topics = list(topics)
        self._retained = retained
        self._on_taken, self._on_cut = on_taken, on_cut
        self._address = (host, port)
        self._socket: socket.socket | None = None
        self._incoming = Incoming()
        self._subscribed = False
        self._down = self._cut = False
        self._keepalive_s = KEEPALIVE_S
        self._sent_s = self._heard_s = 0.0
        self._reconnect_s = RECONNECT_MIN_S
        self._try_at_s = 0.0

    @property
    def connected(self) -> bool:
        """Whether messages can come: connected and subscribed. May be asked by any thread."""
        return self._subscribed

    def take(self, messages_max: int, wait_s: float, gather_s: float) -> list[Published]:
        """Wait `wait_s` for a first message and `gather_s` more for others; none while the broker is away."""
        if self._socket is None and not self._connect(wait_s):
            return []
        taken: list[Published] = []
        until_s = time.monotonic() + wait_s
        while self._socket is not None and len(taken) < messages_max:
            packet = self._next_packet()
            if isinstance(packet, Published):
                if not taken:
                    until_s = time.monotonic() + gather_s
                taken.append(packet)
            elif packet is not None:
                self._told(packet)
            elif (left_s := until_s - time.monotonic()) <= 0 or not self._read(self._socket, left_s):
                break
        return taken

    def acknowledge(self, taken: Sequence[Published]) -> None:
        """Tell the broker that these are committed. Call it after each `take`, before the next."""
        self._send(mqtt_wire.pubacks(message.packet_id for message in taken if message.packet_id))

    def rest(self, wait_s: float) -> None:
        """Take nothing for a while, and keep the connection meanwhile."""
        time.sleep(wait_s)
        self._ping_when_due()
        self._heard_s = time.monotonic()

    def close(self) -> None:
        """Disconnect; the session stays at the broker."""
        self._send(mqtt_wire.DISCONNECT)
        self._forget()
        self._cut = False

    def _connect(self, wait_s: float) -> bool:
        """Reach the broker when it is time to; its answer comes like every packet."""
        now_s = time.monotonic()
        if now_s < self._try_at_s:
            time.sleep(min(wait_s, self._try_at_s - now_s))
            return False
        try:
            self._socket = socket.create_connection(self._address, CONNECT_TIMEOUT_S)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as failed:
            self._cut = False
            self._lost(f"it can't be reached: {failed}")
            return False
        self._incoming = Incoming()
        self._keepalive_s = KEEPALIVE_S
        self._heard_s = time.monotonic()
        self._send(
            mqtt_wire.connect(
                self.client_id,
                self.client_id,
                self._password,
                keepalive_s=KEEPALIVE_S,
                session_s=SESSION_EXPIRY_S,
                receive_max=RECEIVE_MAXIMUM,
            )
        )
        return True

    def _next_packet(self) -> Packet | None:
        try:
            return self._incoming.next_packet()
        except WireFault as fault:
            self._lost(f"it sent {fault}")
            return None

    def _told(self, packet: ConnAck | Subscribed | Pong | WireRefusal) -> None:
        match packet:
            case ConnAck(keepalive_s):
                # 0 asks for no sign of life; it is given all the same, because a dead broker shows by it too.
                self._keepalive_s = keepalive_s or KEEPALIVE_S
                self._send(mqtt_wire.subscribe(self._topics, retained=self._retained))
                if self._cut:
                    self._cut = False
                    self._on_taken(False)
            case Subscribed():
                log.info("connected to the broker", client=self.client_id)
                self._subscribed, self._down = True, False
                self._reconnect_s = RECONNECT_MIN_S
            case Pong():
                # That it was heard at all is what counts, and every byte says so.
                return
            case WireRefusal(kind, code):
                self._lost(f"it refuses: {kind} with reason 0x{code:02x}")
                if (kind, code) == ("DISCONNECT", SESSION_TAKEN_OVER):
                    self._on_taken(True)
            case _:
                assert_never(packet)

    def _read(self, connection: socket.socket, wait_s: float) -> bool:
        """Read what has come, or wait for it; whether there is more to look at."""
        self._ping_when_due()
        if self._socket is None:
            return False
        try:
            connection.settimeout(wait_s)
            data = connection.recv(READ_BYTES)
        except TimeoutError:
            if time.monotonic() - self._heard_s > self._keepalive_s * SILENT_AFTER_KEEPALIVES:
                self._lost("it gives no sign")
            return False
        except OSError as failed:
            self._cut = self._subscribed
            self._lost(str(failed))
            return False
        if not data:
            self._cut = self._subscribed
            self._lost("it hung up")
            return False
        self._heard_s = time.monotonic()
        self._incoming.receive_data(data)
        return True

    def _ping_when_due(self) -> None:
        if time.monotonic() - self._sent_s >= self._keepalive_s / 2:
            self._send(mqtt_wire.PINGREQ)

    def _send(self, data: bytes) -> None:
        if self._socket is None or not data:
            return
        try:
            self._socket.settimeout(SEND_TIMEOUT_S)
            self._socket.sendall(data)
        except OSError as failed:
            self._lost(str(failed))
        self._sent_s = time.monotonic()

    def _lost(self, why: str) -> None:
        """The connection is gone; the next one is tried later each time, up to `RECONNECT_MAX_S`."""
        if self._subscribed:
            self._on_cut()
        self._forget()
        if not self._down:
            log.warning("the broker is away: what it holds waits", client=self.client_id, reason=why)
        self._down = True
        self._try_at_s = time.monotonic() + self._reconnect_s
        self._reconnect_s = min(self._reconnect_s * 2, RECONNECT_MAX_S)

    def _forget(self) -> None:
        self._subscribed = False
        if self._socket is not None:
            self._socket.close()
        self._socket = None
