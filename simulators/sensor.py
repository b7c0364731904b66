"""A sensors' gateway device at a real broker: smoke detectors, gas alarms, water levels and buttons that publish.

Tests and the drill runner use it against a real system; it shares nothing with that but the protocol.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from types import TracebackType

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from devices.protocols.sensor_mqtt import SensorKind, SensorMessage, SensorState, encode, sensor_topic


class NotPublished(Exception):
    """The broker does not take a message from this login, or has not in time."""


class SimulatedSensors:
    """One gateway device under its own broker login; use it as a context. Each device counts its own statements."""

    def __init__(
        self,
        host: str,
        port: int,
        gateway: str,
        secret: str,
        *,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self.gateway = gateway
        self._address = host, port
        self._now_us = now_us
        self.publish_within_s = 30.0
        self._refused: set[int] = set()
        self._boot = secrets.token_hex(8)
        self._seq: dict[str, int] = {}
        self._client = paho.Client(CallbackAPIVersion.VERSION2, client_id=gateway, protocol=paho.MQTTv5)
        self._client.username_pw_set(gateway, secret)
        self._client.on_publish = self._published

    def __enter__(self) -> SimulatedSensors:
        self._client.connect(*self._address)
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def say(
        self, device: str, kind: SensorKind, state: SensorState, *, value: int | None = None, test: bool = False
    ) -> None:
        """A new statement of a device, `value` in the unit of its kind; returns when the broker has it."""
        self._seq[device] = self._seq.get(device, 0) + 1
        message = SensorMessage(kind, state, self._boot, self._seq[device], self._now_us(), value, test=test)
        self.publish(sensor_topic(self.gateway, device), encode(message))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Put bytes on a topic as they are. Raises NotPublished."""
        published = self._client.publish(topic, payload, qos=1, retain=retain)
        try:
            published.wait_for_publish(self.publish_within_s)
        except RuntimeError as away:
            raise NotPublished(topic) from away
        if not published.is_published() or published.mid in self._refused:
            raise NotPublished(topic)

    def _published(
        self, client: paho.Client, userdata: object, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        """Before whoever waits for this message is woken."""
        if reason.is_failure:
            self._refused.add(mid)
