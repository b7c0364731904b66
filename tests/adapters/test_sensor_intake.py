"""Sensors' messages on their way from the wire to incidents: read, committed, and only then acknowledged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from devices.protocols.sensor_mqtt import SensorKind, SensorMessage, SensorState, encode, sensor_topic
from services.dispatcher.adapters import sensor_intake
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.mqtt_wire import Published
from services.dispatcher.adapters.sensor_intake import BATCH_MAX, GATEWAY_UNREAD_MAX, SensorIntake, Sensors
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.risk import Witness
from services.dispatcher.domain.signals import Evidence, Sensor, Use
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.ports import StoreUnavailable, Tx
from services.dispatcher.feeds import mqtt_sensor
from tests import builders
from tests.builders import MALL, NOON_US, SECOND_US, StoppedClock, Town

SMOKE = Sensor("smoke-1", "box-1", "s1", "smoke", MALL, Use.ACTUAL)
BUTTON = Sensor("button-1", "box-1", "b1", "button", MALL, Use.ACTUAL, hazard="fire")
HOUR_US = 3_600 * SECOND_US


class AwayAtFirst(MemoryStore):
    """A store that can't be written to for the first few times."""

    away = 0

    @contextmanager
    def write(self) -> Iterator[Tx]:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        with super().write() as tx:
            yield tx


class Line:
    """What waits at the broker, and what of it was acknowledged; an intake that takes it, and its results."""

    def __init__(self) -> None:
        clock = StoppedClock()
        self.store = AwayAtFirst(clock)
        self.town: Town = builders.town(self.store, clock)
        self.waiting: list[Published] = []
        self.acknowledged: list[Published] = []
        self.results: list[str] = []
        self.rested = 0
        self.connected = True
        with self.store.write() as tx:
            tx.put(SMOKE, BUTTON)
        self.sensors = Sensors(self.store)
        self.sensors.load()
        self.intake = self.started()

    def started(self, before_us: int = NOON_US, engine: Engine | None = None) -> SensorIntake:
        intake = SensorIntake(
            self.store, engine or self.town.engine, self, self.sensors, mqtt_sensor.signals_of, self.town.clock.now_us,
            self.results.append,
        )  # fmt: skip
        intake.begin(before_us)
        return intake

    def take(self, messages_max: int, wait_s: float, gather_s: float) -> list[Published]:
        taken, self.waiting = self.waiting[:messages_max], self.waiting[messages_max:]
        return taken

    def acknowledge(self, taken: Sequence[Published]) -> None:
        self.acknowledged += taken

    def rest(self, wait_s: float) -> None:
        self.rested += 1

    def say(self, *said: Published) -> None:
        self.waiting += said
        while self.waiting:
            self.intake.run()

    def incidents(self) -> list[Incident]:
        with self.store.read() as read:
            return read.find(Incident)

    def unread(self) -> list[tuple[str, str]]:
        with self.store.read() as read:
            return [(row.source, row.reason) for row in reversed(read.unread(10_000))]

    def state(self, sensor: str = "smoke-1") -> str:
        return self.town.get(Heard, f"sensor/{sensor}").state


def said(
    state: SensorState, seq: int = 1, sensor: Sensor = SMOKE, *, utc_us: int | None = None, test: bool = False
) -> Published:
    message = SensorMessage(SensorKind(sensor.kind), state, "boot", seq, utc_us, test=test)
    return Published(sensor_topic(sensor.gateway, sensor.device), encode(message), seq)


ALARM, NORMAL, FAULT = (said(state) for state in (SensorState.ALARM, SensorState.NORMAL, SensorState.FAULT))


@pytest.fixture
def line() -> Line:
    return Line()


def test_an_alarm_is_an_incident_at_the_sensors_venue_and_then_acknowledged(line: Line) -> None:
    line.say(ALARM)
    [incident] = line.incidents()
    assert (incident.hazard, incident.venue, incident.witnesses) == (
        "fire",
        MALL,
        (Witness("smoke-1", "s1", Evidence.DETECTOR, True),),
    )
    assert line.acknowledged == [ALARM]
    assert (line.state(), line.results) == ("alarm", ["alarm"])


def test_a_repeated_alarm_is_a_sign_of_life(line: Line) -> None:
    line.say(ALARM, ALARM)
    line.say(ALARM)
    assert [incident.signal_count for incident in line.incidents()] == [1]


def test_normal_is_news_only_after_an_alarm_also_after_a_restart(line: Line) -> None:
    line.say(NORMAL)
    assert line.incidents() == []
    line.say(ALARM)
    line.intake = line.started()
    line.say(said(SensorState.NORMAL, 2), said(SensorState.NORMAL, 3))
    [incident] = line.incidents()
    assert line.town.kinds(incident.id).count("incident.noted") == 1
    assert line.state() == "normal"


def test_a_detector_and_a_button_corroborate_each_other(line: Line) -> None:
    line.say(ALARM, said(SensorState.ALARM, 1, BUTTON))
    [incident] = line.incidents()
    assert [w.evidence for w in incident.witnesses] == [Evidence.DETECTOR, Evidence.CALL_POINT]


@pytest.mark.parametrize(
    ("change", "automatic"),
    [
        ({}, False),
        ({"test_bit_meaningless": True}, True),
        ({"test_bit_meaningless": True, "maintenance_author": "li", "maintenance_until_us": NOON_US + 1}, False),
        ({"test_bit_meaningless": True, "maintenance_author": "li", "maintenance_until_us": NOON_US}, True),
    ],
)
def test_an_alarm_with_the_test_flag_or_under_maintenance_is_for_people(
    line: Line, change: dict[str, object], automatic: bool
) -> None:
    with line.store.write() as tx:
        tx.put(replace(SMOKE, **change))  # type: ignore[arg-type]
    line.say(said(SensorState.ALARM, test=True))
    assert [w.automatic for w in line.incidents()[0].witnesses] == [automatic]


def test_what_is_not_enrolled_switched_off_or_cannot_be_read_is_kept_as_unread(line: Line) -> None:
    with line.store.write() as tx:
        tx.put(replace(BUTTON, enabled=False))
    line.sensors.load()
    stranger = Published("tocsin/v1/sensor/box-1/s9", ALARM.payload, 1)
    broken = Published(ALARM.topic, b"{", 2)
    elsewhere = Published("tocsin/v1/sensor/box-1/s1/extra", ALARM.payload, 3)
    line.say(stranger, said(SensorState.ALARM, 1, BUTTON), broken, elsewhere)
    assert line.unread() == [
        (stranger.topic, "sensor_not_enrolled"),
        ("tocsin/v1/sensor/box-1/b1", "sensor_disabled"),
        (broken.topic, "malformed"),
        (elsewhere.topic, "topic_unknown"),
    ]
    assert line.incidents() == []
    assert len(line.acknowledged) == 4
    assert line.town.get(Heard, "sensor/smoke-1").heard_us == NOON_US


def test_a_stranger_fills_no_table_and_everything_of_it_is_counted(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor_intake, "TOPIC_UNREAD_MAX", 3)
    line.say(*[Published("tocsin/v1/sensor/box-9/s1", b"?", 1)] * 10)
    assert (len(line.unread()), len(line.results), len(line.acknowledged)) == (3, 10, 10)
    line.town.clock.advance(3_601)
    line.say(Published("tocsin/v1/sensor/box-9/s1", b"?", 1))
    assert len(line.unread()) == 4


def test_a_gateway_that_makes_up_names_fills_no_table_either(line: Line) -> None:
    names = [Published(f"tocsin/v1/sensor/box-9/s{n}", b"?", 1) for n in range(GATEWAY_UNREAD_MAX + 50)]
    line.say(*names, ALARM)
    assert len(line.unread()) == GATEWAY_UNREAD_MAX
    assert len(line.incidents()) == 1


def test_nothing_is_acknowledged_while_the_database_is_away(line: Line) -> None:
    line.store.away = 3
    line.waiting = [ALARM]
    line.intake.run()
    assert (line.rested, line.acknowledged) == (3, [ALARM])
    assert len(line.incidents()) == 1


def test_what_waited_for_long_is_for_people_and_what_comes_next_is_not(line: Line) -> None:
    line.town.clock.advance(1_200)
    line.say(ALARM)
    line.say(said(SensorState.ALARM, 1, BUTTON))
    [incident] = line.incidents()
    assert [w.automatic for w in incident.witnesses] == [False, True]


def test_what_waited_and_says_when_it_was_sent_counts_from_then(line: Line) -> None:
    line.town.clock.advance(3 * 3_600)
    now_us = line.town.clock.now_us()
    line.say(said(SensorState.ALARM, utc_us=now_us - 60 * SECOND_US))
    [incident] = line.incidents()
    assert (incident.witnesses[0].automatic, incident.last_signal_us) == (True, now_us - 60 * SECOND_US)


def test_a_backlog_of_several_batches_is_late_to_its_end(line: Line) -> None:
    line.town.clock.advance(3 * 3_600)
    line.say(*[NORMAL] * BATCH_MAX, ALARM)
    assert [w.automatic for w in line.incidents()[0].witnesses] == [False]


def test_a_broker_that_was_away_makes_no_message_punctual(line: Line) -> None:
    line.connected = False
    line.intake.run()
    line.town.clock.advance(3 * 3_600)
    line.intake.run()
    line.connected = True
    line.say(ALARM)
    assert [w.automatic for w in line.incidents()[0].witnesses] == [False]
