"""Takes MQTT sensors' messages off the wire in batches: to the engine, and acknowledged after the commit.

The gateway device's login lets it publish below its own name alone, so a topic's gateway is who it says. What is not
enrolled, is switched off or can't be read is kept as unread, so many for each topic and gateway in an hour; the rest is
counted.

What waited at the broker while nobody took it is no news: it counts as received when it may first have been sent, so
that no alarm of hours ago releases anything by itself.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import structlog

from devices.protocols.refusals import LinkRefused
from devices.protocols.sensor_mqtt import SensorMessage, SensorState, decode, parse_sensor_topic
from devices.protocols.topics import ROOT

from ..domain.rhythm import Heard, SourceKind, source_id
from ..domain.signals import Reading, Sensor, Unread
from ..engine.engine import EVENTS_MAX, Engine
from ..engine.events import Event, SignalArrived, SourceHeard, UnreadArrived
from ..engine.ports import Page, Store
from .intake import Inlet, UntilDone
from .mqtt_wire import Published

log = structlog.get_logger(__name__)

TOPICS = (f"{ROOT}/sensor/#",)
"""All below the gateways' own names, so that a topic which is none of a device is seen as well."""

BATCH_MAX = EVENTS_MAX // 2
BATCH_WAIT_S = 0.01
SENSORS_MAX = 200_000
TOPIC_UNREAD_MAX = 100
GATEWAY_UNREAD_MAX = 1_000
STRANGERS_MAX = 10_000
UNREAD_BYTES_MAX = 4_096
TOPIC_CHARS_MAX = 256
WIRE = "mqtt"
LATE_AFTER_US = 60_000_000
_HOUR_US = 3_600_000_000
_GATEWAY_LEVELS = 4

Read = Callable[[SensorMessage, Sensor, int, SensorState | None], Reading]


class SensorInlet(Inlet, Protocol):
    """An inlet that says whether it is connected."""

    @property
    def connected(self) -> bool: ...


class Sensors:
    """Enrolled sensors by gateway and device, in memory, because every message asks; `load` takes up changes."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_name: dict[tuple[str, str], Sensor] = {}

    def load(self) -> None:
        with self._store.read() as read:
            rows = read.find(Sensor, Page(limit=SENSORS_MAX))
        self._by_name = {(s.gateway, s.device): s for s in rows}

    def of(self, gateway: str, device: str) -> Sensor | None:
        return self._by_name.get((gateway, device))

    def all(self) -> list[Sensor]:
        return list(self._by_name.values())


class SensorIntake:
    """One thread that takes, commits and acknowledges. `counted` is told what became of each message."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        inlet: SensorInlet,
        sensors: Sensors,
        read: Read,
        now_us: Callable[[], int],
        counted: Callable[[str], None] = lambda result: None,
    ) -> None:
        self._store = store
        self._engine = engine
        self._inlet = inlet
        self._sensors = sensors
        self._read = read
        self._now_us = now_us
        self._counted = counted
        self._states: dict[str, SensorState | None] = {}
        self._kept: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._drained_us = 0
        self._until_done = UntilDone(inlet, "sensors' messages wait at the broker")

    def begin(self, before_us: int) -> None:
        """Messages are taken from now on; another process took them until `before_us`, µs UTC, 0 where nobody knows."""
        self._drained_us = before_us
        self._states.clear()

    def run(self, wait_s: float = 0.5) -> int:
        """Commit one batch and acknowledge it; how many messages."""
        batch = self._inlet.take(BATCH_MAX, wait_s, BATCH_WAIT_S)
        now_us = self._now_us()
        if batch:
            self._commit(batch, now_us)
            self._inlet.acknowledge(batch)
        if len(batch) < BATCH_MAX and self._inlet.connected:
            self._drained_us = now_us
        return len(batch)

    def _commit(self, batch: Sequence[Published], now_us: int) -> None:
        events: list[Event] = []
        said: dict[str, SensorState | None] = {}
        for message in batch:
            events += self._until_done(partial(self._events, message, said, now_us))
        for start in range(0, len(events), EVENTS_MAX):
            self._until_done(partial(self._engine.handle, events[start : start + EVENTS_MAX]))
        # Only what is committed is known: a batch that comes again meets the states from before it.
        self._states.update(said)

    def _events(self, message: Published, said: dict[str, SensorState | None], now_us: int) -> list[Event]:
        try:
            gateway, device = parse_sensor_topic(message.topic)
        except LinkRefused:
            return self._unread(message, "topic_unknown", now_us)
        sensor = self._sensors.of(gateway, device)
        if sensor is None or not sensor.enabled:
            return self._unread(message, "sensor_not_enrolled" if sensor is None else "sensor_disabled", now_us)
        source = source_id(SourceKind.SENSOR, sensor.id)
        try:
            spoken = decode(message.payload)
        except LinkRefused as refused:
            # It can't be understood, but silent it is not.
            return [SourceHeard(source, now_us), *self._unread(message, str(refused.reason), now_us)]
        before = said[sensor.id] if sensor.id in said else self._state(sensor.id)
        found = self._read(spoken, sensor, self._received_us(spoken, now_us), before)
        said[sensor.id] = spoken.state
        self._counted(str(spoken.state))
        changed = str(spoken.state) if spoken.state is not before else ""
        return [SourceHeard(source, now_us, changed), *map(SignalArrived, found.signals)]

    def _received_us(self, spoken: SensorMessage, now_us: int) -> int:
        """Now; for what may have waited, when it says it was sent, or the earliest that it can have been."""
        if not self._drained_us or now_us - self._drained_us <= LATE_AFTER_US:
            return now_us
        said_us = spoken.utc_us
        return said_us if said_us is not None and self._drained_us <= said_us <= now_us else self._drained_us

    def _state(self, sensor: str) -> SensorState | None:
        """What it last said, from the database once after a start."""
        if sensor not in self._states:
            with self._store.read() as read:
                heard = read.get(Heard, source_id(SourceKind.SENSOR, sensor))
            known = heard is not None and heard.state in tuple(SensorState)
            self._states[sensor] = SensorState(heard.state) if heard is not None and known else None
        return self._states[sensor]

    def _unread(self, message: Published, reason: str, now_us: int) -> list[Event]:
        self._counted(reason)
        topic = message.topic[:TOPIC_CHARS_MAX]
        gateway = "/".join(topic.split("/")[:_GATEWAY_LEVELS])
        if not (self._room(gateway, GATEWAY_UNREAD_MAX, now_us) and self._room(topic, TOPIC_UNREAD_MAX, now_us)):
            return []
        return [UnreadArrived(Unread(WIRE, topic, reason, message.payload[:UNREAD_BYTES_MAX], now_us))]

    def _room(self, whose: str, rows_max: int, now_us: int) -> bool:
        """Whether one more unread row may be kept of them in this hour."""
        begun_us, count = self._kept.pop(whose, (now_us, 0))
        if now_us - begun_us > _HOUR_US:
            begun_us, count = now_us, 0
        self._kept[whose] = begun_us, count + 1
        if len(self._kept) > STRANGERS_MAX:
            self._kept.popitem(last=False)
        if count == rows_max:
            log.warning("more than can be kept is unread: from here on it is only counted", source=whose)
        return count < rows_max
