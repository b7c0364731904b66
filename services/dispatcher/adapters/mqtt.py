"""The dispatcher's connection for what it says: one fixed client id, publishing until the broker has it, and the copies
that the broker holds. What speakers say comes by `mqtt_inlet`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..engine.relay import CarryFailed

log = structlog.get_logger(__name__)

RECEIVE_MAXIMUM = 2_000
KEEPALIVE_S = 20
SESSION_EXPIRY_S = 7 * 86_400
PUBACK_TIMEOUT_S = 5.0
RECONNECT_MAX_S = 5


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message off the wire; call `ack` once it is committed, from any thread."""

    topic: str
    payload: bytes
    retain: bool
    ack: Callable[[], None]


class MqttLink:
    """A connection under one fixed client id with a session that outlives it.

    `on_delivery` runs in the network thread and must only queue; `on_connected` too.
    """

    def __init__(
        self,
        client_id: str,
        password: str,
        subscriptions: Sequence[tuple[str, int]],
        on_delivery: Callable[[Delivery], None],
        on_connected: Callable[[], None] = lambda: None,
    ) -> None:
        self.client_id = client_id
        self._subscriptions = list(subscriptions)
        self._on_delivery = on_delivery
        self._on_connected = on_connected
        self._connected = threading.Event()
        self._down = False
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        self._client.username_pw_set(client_id, password)
        self._client.max_inflight_messages_set(RECEIVE_MAXIMUM)
        self._client.reconnect_delay_set(1, RECONNECT_MAX_S)
        self._client.on_connect = self._connected_now
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    def start(self, host: str, port: int) -> None:
        """Connect in the background and stay connected; the broker may be away now."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect_async(host, port, KEEPALIVE_S, clean_start=False, properties=properties)
        self._client.loop_start()

    def stop(self) -> None:
        """Disconnect; the session stays at the broker."""
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait until the broker has it. Raises CarryFailed."""
        self.finish(self.publish_soon(topic, payload, qos=qos, retain=retain))

    def publish_soon(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> MQTTMessageInfo:
        """Put a message on the wire; `finish` waits for it. Raises CarryFailed while not connected."""
        if not self._connected.is_set():
            raise CarryFailed("the broker is not connected")
        return self._client.publish(topic, payload, qos, retain)

    def finish(self, sent: MQTTMessageInfo) -> None:
        """Wait until the broker has acknowledged a message. Raises CarryFailed."""
        try:
            sent.wait_for_publish(PUBACK_TIMEOUT_S)
        except (RuntimeError, ValueError) as failed:
            raise CarryFailed(f"the broker did not take it: {failed}") from failed
        if not sent.is_published():
            raise CarryFailed("the broker did not acknowledge it in time")

    def _connected_now(
        self, client: Client, userdata: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if not self._down:
                log.warning("the broker refuses the connection", client=self.client_id, reason=str(reason))
            self._down = True
            return
        log.info("connected to the broker", client=self.client_id)
        self._down = False
        # Retained messages come with every subscription, which is how the broker's copies are compared.
        options = [(topic, SubscribeOptions(qos=qos)) for topic, qos in self._subscriptions]
        if options:
            client.subscribe(options)
        self._connected.set()
        self._on_connected()

    def _disconnected(
        self,
        client: Client,
        userdata: object,
        flags: DisconnectFlags,
        reason: ReasonCode,
        properties: Properties | None,
    ) -> None:
        self._connected.clear()
        if not self._down and reason.is_failure:
            log.warning("the broker is away", client=self.client_id, reason=str(reason))
        self._down = True

    def _message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        mid, qos = message.mid, message.qos

        def ack() -> None:
            client.ack(mid, qos)

        self._on_delivery(Delivery(message.topic, bytes(message.payload), message.retain, ack))
