"""One speaker's MQTT 5 link, driven by the process's loop: a new client for each connection, clean start, own will.

It sends and reports; what to send, and when a receipt is sent again, is the machine's to know. A publish without its
PUBACK is forgotten here when the connection ends, because the machine sends it again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog
from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from devices.speaker.events import Connect, Publish
from devices.speaker.loop import Loop, LoopTimer
from devices.speaker.reconnect import CONNECT_US_MAX, Dial, LinkPhase, wait_us

MISC_US = 1_000_000
CONNECT_S_MAX = 5.0
_log = structlog.get_logger("speaker")


@dataclass(frozen=True, slots=True)
class Broker:
    """Where to connect and as whom."""

    host: str
    port: int
    speaker: str
    secret: str
    tls_ca: str | None
    keepalive_s: int


class Link:
    """Keeps one connection up. `dial_now` asks the owner to start an attempt, who answers with `connect`."""

    def __init__(
        self,
        loop: Loop,
        broker: Broker,
        spread_s: Callable[[], int],
        draw: Callable[[], float],
        dial_now: Callable[[], None],
        connected: Callable[[], None],
        disconnected: Callable[[], None],
        message: Callable[[str, bytes, bool], None],
        acknowledged: Callable[[int], None],
    ) -> None:
        self._loop, self._broker = loop, broker
        self._spread_s, self._draw = spread_s, draw
        self._dial_now, self._connected, self._disconnected = dial_now, connected, disconnected
        self._message, self._acknowledged = message, acknowledged
        self._dial = Dial()
        self._client: mqtt.Client | None = None
        self._socket: socket.socket | None = None
        self._timer: LoopTimer | None = None
        self._seqs: dict[int, int] = {}
        self._warned = False
        self._closed = False

    @property
    def up(self) -> bool:
        return self._dial.phase is LinkPhase.UP

    def start(self) -> None:
        """Make the first attempt after the same jitter as any other: power comes back to a whole district at once."""
        self._wait()

    def _wait(self) -> None:
        after_us = wait_us(self._dial, self._spread_s(), self._draw())
        self._timer = self._loop.later(after_us, self._dial_now)

    def connect(self, effect: Connect) -> None:
        """Connect with this last will. The outcome is `connected` or another attempt later."""
        if self._closed:
            return
        self._dial = self._dial.connecting()
        client = self._new_client(effect)
        self._client = client
        self._seqs = {}
        broker = self._broker

        def dial() -> str:
            try:
                client.connect(broker.host, broker.port, broker.keepalive_s, clean_start=True)
            except (OSError, ValueError) as error:
                return type(error).__name__
            return ""

        self._loop.work("dial", dial, lambda failure: self._dialled(client, failure))
        self._timer = self._loop.later(CONNECT_US_MAX, lambda: self._down("no answer from the broker"))

    def _new_client(self, effect: Connect) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._broker.speaker, protocol=MQTTProtocolVersion.MQTTv5
        )
        client.connect_timeout = CONNECT_S_MAX
        client.username_pw_set(self._broker.speaker, self._broker.secret)
        if self._broker.tls_ca is not None:
            client.tls_set(ca_certs=self._broker.tls_ca)
        client.will_set(effect.will_topic, effect.will_payload, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        return client

    def _dialled(self, client: mqtt.Client, failure: str) -> None:
        """The worker thread is done with the client; from here on only the loop touches it."""
        if client is not self._client:
            _close_socket(client)
            return
        sock = client.socket()
        if failure or sock is None:
            self._down(failure or "connection lost at once")
            return
        assert isinstance(sock, socket.socket)
        self._socket = sock
        self._loop.later(MISC_US, lambda: self._misc(client))
        self._rewatch()

    def _misc(self, client: mqtt.Client) -> None:
        if client is not self._client:
            return
        if client.loop_misc() != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._down("no answer to keep-alive")
            return
        self._rewatch()
        self._loop.later(MISC_US, lambda: self._misc(client))

    def _rewatch(self) -> None:
        if self._client is not None and self._socket is not None:
            self._loop.watch(self._socket, self._read, self._write if self._client.want_write() else None)

    def _read(self) -> None:
        client = self._client
        if client is None:
            return
        status = client.loop_read()
        while status == MQTTErrorCode.MQTT_ERR_SUCCESS and client is self._client and _pending(self._socket):
            status = client.loop_read()
        self._after(client, status)

    def _write(self) -> None:
        if self._client is not None:
            self._after(self._client, self._client.loop_write())

    def _after(self, client: mqtt.Client, status: MQTTErrorCode) -> None:
        if client is not self._client:
            return
        if status not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            self._down(status.name.lower())
            return
        self._rewatch()

    def publish(self, effect: Publish) -> None:
        """Hand a message to the client; without a connection it is dropped, and the machine knows."""
        if self._client is None or not self.up:
            return
        info = self._client.publish(effect.topic, effect.payload, effect.qos, effect.retain)
        if effect.seq:
            self._seqs[info.mid] = effect.seq
        self._rewatch()

    def subscribe(self, topics: tuple[str, ...]) -> None:
        if self._client is not None and self.up:
            self._client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in topics])
            self._rewatch()

    def unsubscribe(self, topics: tuple[str, ...]) -> None:
        if self._client is not None and self.up:
            self._client.unsubscribe(list(topics))
            self._rewatch()

    def close(self) -> None:
        """Disconnect in good order; no last will is sent."""
        self._closed = True
        client = self._client
        if client is not None and self._socket is not None:
            client.disconnect()
            for _ in range(100):
                if not client.want_write() or client.loop_write() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    break
        self._leave()

    def _on_connect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if client is not self._client:
            return
        if reason.is_failure:
            self._down(f"refused: {reason}")
            return
        self._dial = self._dial.up()
        self._warned = False
        if self._timer is not None:
            self._timer.cancel()
        _log.info("The link is up.", speaker=self._broker.speaker)
        self._connected()

    def _on_disconnect(self, client: mqtt.Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if client is self._client:
            self._down(str(reason))

    def _on_message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        # The PUBACK goes out when this returns: whatever the machine wanted on disk is there by then.
        if client is self._client:
            self._message(message.topic, bytes(message.payload), message.retain)

    def _on_publish(self, client: mqtt.Client, userdata: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        seq = self._seqs.pop(mid, 0)
        if client is self._client and seq and not reason.is_failure:
            self._acknowledged(seq)

    def _down(self, why: str) -> None:
        """The link is lost, or could not be made: say so once, and try again later."""
        if self._closed or self._dial.phase is LinkPhase.WAITING:
            return
        was_up = self.up
        self._dial = self._dial.lost()
        self._leave()
        say = _log.debug if self._warned else _log.warning
        self._warned = True
        say("The link is down.", speaker=self._broker.speaker, why=why)
        self._wait()
        if was_up:
            self._disconnected()

    def _leave(self) -> None:
        client, self._client = self._client, None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._loop.forget(self._socket)
            self._socket = None
        if client is not None:
            self._loop.post(lambda: _close_socket(client))


def _close_socket(client: mqtt.Client) -> None:
    """Drop the connection without a goodbye, so that the broker sends the last will."""
    sock = client.socket()
    if sock is not None:
        sock.close()


def _pending(sock: socket.socket | None) -> bool:
    """Whether TLS holds bytes that the selector cannot see."""
    pending = getattr(sock, "pending", None)
    return bool(pending and pending())
