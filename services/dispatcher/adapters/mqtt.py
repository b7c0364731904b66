"""The dispatcher's connection for what it says: one fixed client id, publishing until the broker has it, and the copies
that the broker holds. What speakers say comes by `mqtt_inlet`.

The thread that drives paho is our own: paho's waits with select(), which fails for a descriptor above 1,023, and a
gateway with a thousand fire panels has more than that.
"""

from __future__ import annotations

import select
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from ..engine.relay import CarryFailed, Finish

if TYPE_CHECKING:
    from paho.mqtt.client import SocketLike

log = structlog.get_logger(__name__)

RECEIVE_MAXIMUM = 2_000
KEEPALIVE_S = 20
SESSION_EXPIRY_S = 7 * 86_400
PUBACK_TIMEOUT_S = 5.0
SESSION_TAKEN_OVER = 0x8E
"""With which the broker ends a connection when a client of the same id connects (MQTT 5, 3.14.2.1)."""
RECONNECT_MIN_S = 1.0
RECONNECT_MAX_S = 5
LOOK_EVERY_S = 1.0
"""How often paho is asked whether a ping is due or overdue."""
LEAVE_WITHIN_S = 2.0
ANSWER_S = 3.0
"""How long to wait for what the broker holds: MQTT 5 has no "not found", so whether nothing will come is never known.
"""
TOPICS_PER_PACKET = 100
_WAKES_READ = 4_096
_HUNG_UP = 0x80
"""How paho names the end of a connection for which nobody gave a reason; a broker that gave no sign is another one."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message off the wire; call `ack` once it is committed, from any thread."""

    topic: str
    payload: bytes
    retain: bool
    ack: Callable[[], None]


class MqttLink:
    """A connection under one fixed client id with a session that outlives it.

    `on_delivery` runs in the network thread and must only queue; so do `on_connected`, and `on_taken`, which is told
    that the broker has ended the connection: True when it says that another client has the id now, False when it hung
    up without a word and let us in again at once, as brokers do that do not say it. `on_cut` is told of every end of a
    connection that was not ours. Started once and stopped once.
    """

    def __init__(
        self,
        client_id: str,
        password: str,
        subscriptions: Sequence[tuple[str, int]],
        on_delivery: Callable[[Delivery], None],
        on_connected: Callable[[], None] = lambda: None,
        on_taken: Callable[[bool], None] = lambda said: None,
        on_cut: Callable[[], None] = lambda: None,
    ) -> None:
        self.client_id = client_id
        self._subscriptions = list(subscriptions)
        self._on_delivery = on_delivery
        self._on_connected = on_connected
        self._on_taken, self._on_cut = on_taken, on_cut
        self._connected = threading.Event()
        self._down = False
        self._cut = False
        self._asking = threading.Lock()
        self._asked: frozenset[str] = frozenset()
        self._answers: dict[str, bytes] = {}
        self._all_here = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
        )
        self._client.username_pw_set(client_id, password)
        self._client.max_inflight_messages_set(RECEIVE_MAXIMUM)
        self._client.on_connect = self._connected_now
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message
        self._client.on_socket_register_write = self._something_to_write
        self._wake, self._waker = socket.socketpair()
        self._wake.setblocking(False)
        self._waker.setblocking(False)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"mqtt {client_id}", daemon=True)

    @property
    def connected(self) -> bool:
        return self._connected.is_set()

    @property
    def alive(self) -> bool:
        """Whether it still connects, or tries to; when it does not, and was not stopped, that is a mistake of ours."""
        return self._thread.is_alive()

    def start(self, host: str, port: int) -> None:
        """Connect in the background and stay connected; the broker may be away now."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = SESSION_EXPIRY_S
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect_async(host, port, KEEPALIVE_S, clean_start=False, properties=properties)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect; the session stays at the broker."""
        self._ended.set()
        self._wake_up()
        self._thread.join()
        self._wake.close()
        self._waker.close()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish and wait until the broker has it. Raises CarryFailed."""
        self.publish_soon(topic, payload, qos=qos, retain=retain)()

    def publish_soon(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> Finish:
        """Put a message on the wire; what this returns waits until the broker has it, `PUBACK_TIMEOUT_S` from now at
        most, and raises CarryFailed. So does this itself while not connected."""
        if not self._connected.is_set():
            raise CarryFailed("the broker is not connected")
        sent = self._client.publish(topic, payload, qos, retain)
        return partial(_finish, sent, time.monotonic() + PUBACK_TIMEOUT_S)

    def held(self, topics: Sequence[str]) -> dict[str, bytes]:
        """What the broker holds retained on each of these topics, asked for afresh. Raises CarryFailed."""
        with self._asking:
            self._answers, self._asked = {}, frozenset(topics)
            self._all_here.clear()
            try:
                self.ask_retained(topics)
                self._all_here.wait(ANSWER_S)
                self.leave(topics)
            finally:
                self._asked = frozenset()
            if not self._connected.is_set():
                raise CarryFailed("the broker went while it was asked")
            return dict(self._answers)

    def ask_retained(self, topics: Sequence[str]) -> None:
        """Have the broker say again what it holds on each of these topics; it comes as deliveries with `retain` set, or
        not at all. End it with `leave`. Raises CarryFailed."""
        if not self._connected.is_set():
            raise CarryFailed("the broker is not connected")
        # Retained messages come with every subscription of this kind, also when there is one already (MQTT 5, 3.8.3.1).
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        for start in range(0, len(topics), TOPICS_PER_PACKET):
            self._client.subscribe([(topic, options) for topic in topics[start : start + TOPICS_PER_PACKET]])

    def leave(self, topics: Sequence[str]) -> None:
        """End the subscriptions of `ask_retained`; those that the link was made with stay."""
        for start in range(0, len(topics), TOPICS_PER_PACKET):
            few = [t for t in topics[start : start + TOPICS_PER_PACKET] if t not in dict(self._subscriptions)]
            if few and self._connected.is_set():
                self._client.unsubscribe(few)

    def _run(self) -> None:
        """Connect, serve the connection until it ends, and again, later each time that it does not come to be."""
        wait_s = RECONNECT_MIN_S
        try:
            while not self._ended.is_set():
                try:
                    self._client.reconnect()
                except OSError as failed:
                    self._cut = False
                    self._away(f"it can't be reached: {failed}")
                if self._serve():
                    wait_s = RECONNECT_MIN_S
                self._ended.wait(wait_s)
                wait_s = min(wait_s * 2, RECONNECT_MAX_S)
        except Exception:
            log.critical("the link to the broker has died", client=self.client_id, exc_info=True)
        finally:
            self._connected.clear()
            if (connection := self._client.socket()) is not None:
                connection.close()

    def _serve(self) -> bool:
        """Read, write and ping until the connection ends; whether the broker had let us in."""
        welcome, leave_by_s = False, None
        code = MQTTErrorCode.MQTT_ERR_SUCCESS
        while (connection := self._client.socket()) is not None and code == MQTTErrorCode.MQTT_ERR_SUCCESS:
            if self._ended.is_set() and leave_by_s is None:
                self._client.disconnect()
                leave_by_s = time.monotonic() + LEAVE_WITHIN_S
            if leave_by_s is not None and time.monotonic() > leave_by_s:
                break
            code = self._turn(connection)
            welcome = welcome or self._connected.is_set()
        return welcome

    def _turn(self, connection: SocketLike) -> MQTTErrorCode:
        """Wait until there is something to read, to write or to ping, and do it."""
        number = connection.fileno()
        if number < 0:
            return MQTTErrorCode.MQTT_ERR_CONN_LOST
        poll = select.poll()
        poll.register(self._wake, select.POLLIN)
        poll.register(number, select.POLLIN | (select.POLLOUT if self._client.want_write() else 0))
        ready = dict(poll.poll(LOOK_EVERY_S * 1_000))
        if ready.get(self._wake.fileno()):
            self._wake.recv(_WAKES_READ)
        # An error or a hang-up shows in reading.
        if ready.get(number, 0) & ~select.POLLOUT:
            code = self._client.loop_read()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return code
        if self._client.want_write():
            code = self._client.loop_write()
            if code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return code
        return self._client.loop_misc()

    def _something_to_write(self, client: Client, userdata: object, connection: object) -> None:
        """Called by whichever thread publishes."""
        self._wake_up()

    def _wake_up(self) -> None:
        try:
            self._waker.send(b"\0")
        except OSError:
            # It has been woken thousands of times already, or it has ended.
            return

    def _away(self, why: str) -> None:
        if not self._down:
            log.warning("the broker is away", client=self.client_id, reason=why)
        self._down = True

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
        if self._cut:
            self._cut = False
            self._on_taken(False)
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
        was_connected = self._connected.is_set()
        self._connected.clear()
        if reason.is_failure:
            self._away(str(reason))
            if was_connected:
                self._on_cut()
        if flags.is_disconnect_packet_from_server:
            if reason.value == SESSION_TAKEN_OVER:
                self._on_taken(True)
        elif reason.value == _HUNG_UP:
            self._cut = was_connected

    def _message(self, client: Client, userdata: object, message: MQTTMessage) -> None:
        mid, qos = message.mid, message.qos
        if message.retain and message.topic in self._asked:
            self._answers[message.topic] = bytes(message.payload)
            if len(self._answers) == len(self._asked):
                self._all_here.set()

        def ack() -> None:
            client.ack(mid, qos)

        self._on_delivery(Delivery(message.topic, bytes(message.payload), message.retain, ack))


def _finish(sent: MQTTMessageInfo, until_s: float) -> None:
    try:
        sent.wait_for_publish(max(0.0, until_s - time.monotonic()))
    except (RuntimeError, ValueError) as failed:
        raise CarryFailed(f"the broker did not take it: {failed}") from failed
    if not sent.is_published():
        raise CarryFailed("the broker did not acknowledge it in time")
