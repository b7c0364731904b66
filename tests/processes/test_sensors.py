"""Sensors with every part real: a gateway device at Mosquitto, and a gateway process that takes in what it says."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from devices.protocols.sensor_mqtt import SensorKind, SensorState
from devices.protocols.speaker_link import KeyUse as KeyUse
from services.dispatcher.adapters.keystore import KeyFolder, Scope
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.incidents import Air, Incident
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.signals import Sensor, Use
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.rows import Stream
from services.dispatcher.processes.children import Child, Mosquitto, free_port
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.enrolment import broker_logins, enrol_gateways
from services.dispatcher.processes.enrolment_sources import enrol_sensor
from simulators.sensor import NotPublished, SimulatedSensors
from tests.builders import CITY, MALL, city_rows, city_settings

ROOT = Path(__file__).parents[2]
WITHIN_S = 60
SMOKE = Sensor("smoke-1", "box-1", "s1", "smoke", MALL, Use.ACTUAL, "机房烟感", rhythm_s=600)
BUTTON = Sensor("button-1", "box-2", "b1", "button", MALL, Use.ACTUAL, "出口按钮", "fire")


@dataclass(slots=True)
class System:
    """Broker, database, a gateway process, and the secrets of the gateway devices."""

    var: Path
    store: SqlStore
    mosquitto: Mosquitto
    secrets: dict[str, str]
    gateway: Child

    def device(self, name: str) -> SimulatedSensors:
        assert self.mosquitto.port is not None
        return SimulatedSensors("127.0.0.1", self.mosquitto.port, name, self.secrets[name])

    def until(self, done: object) -> None:
        assert callable(done)
        self.gateway.wait_until(lambda: bool(done()), within_s=WITHIN_S)

    def incidents(self) -> list[Incident]:
        with self.store.read() as read:
            return read.find(Incident)

    def streams(self) -> list[Stream]:
        with self.store.read() as read:
            return [stream for stream in read.find(Stream) if stream.signed]

    def effects(self) -> list[str]:
        with self.store.read() as read:
            return [effect.carry for effect in read.open_effects()]

    def unread(self) -> list[tuple[str, str]]:
        with self.store.read() as read:
            return [(row.source, row.reason) for row in read.unread()]


def start_gateway(var: Path, mqtt_port: int) -> Child:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TOCSIN_VAR": str(var),
        "TOCSIN_MQTT_PORT": str(mqtt_port),
        "TOCSIN_PANEL_PORT": str(free_port()),
        "TOCSIN_GATEWAY_METRICS_PORT": str(free_port()),
    }
    (var / "gateway.log").unlink(missing_ok=True)
    command = [sys.executable, "-m", "devices.command", "gateway"]
    child = Child.start("gateway", command, ROOT, log=var / "gateway.log", environment=environment)
    child.wait_until(lambda: "gw-sensors" in child.log.read_text(), within_s=WITHIN_S)
    return child


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    keys, now_us = KeyFolder(tmp_path / "keys"), time.time_ns() // 1_000
    keys.init("city", CITY, now_us)
    keys.make(Scope(KeyUse.ACTUAL, "city", CITY, 1), now_us)
    store = SqlStore(url)
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
    with store.read() as read:
        city = CityInMemory().get(read)
    given = enrol_gateways(store, [0], "test")
    secrets = {sensor.gateway: enrol_sensor(store, sensor, "test") or "" for sensor in (SMOKE, BUTTON)}
    (tmp_path / "secrets.json").write_text(json.dumps({**given, "redis_url": "redis://127.0.0.1:1/0"}))
    with Mosquitto(tmp_path / "broker") as mosquitto:
        port = mosquitto.start(broker_logins(store, city))
        running = System(tmp_path, store, mosquitto, secrets, start_gateway(tmp_path, port))
        try:
            yield running
        finally:
            running.gateway.stop()
            store.close()


def test_a_detector_and_a_button_reach_the_air_though_the_gateway_is_killed_between_them(system: System) -> None:
    with system.device("box-1") as box:
        box.say("s1", SensorKind.SMOKE, SensorState.NORMAL)
        box.say("s9", SensorKind.SMOKE, SensorState.ALARM)
        system.until(lambda: system.unread() == [("tocsin/v1/sensor/box-1/s9", "sensor_not_enrolled")])
        assert system.incidents() == []
        system.gateway.process.kill()
        system.gateway.process.wait()
        # What is said while nobody listens waits at the broker; what is retained there is no news.
        box.say("s1", SensorKind.SMOKE, SensorState.ALARM, value=180)
        box.publish("tocsin/v1/sensor/box-1/s8", b"{}", retain=True)
        assert system.mosquitto.port is not None
        system.gateway = start_gateway(system.var, system.mosquitto.port)
        system.until(lambda: len(system.incidents()) == 1)
    with system.device("box-2") as box:
        box.say("b1", SensorKind.BUTTON, SensorState.ALARM)
        system.until(lambda: [i.signal_count for i in system.incidents()] == [2])
    [incident] = system.incidents()
    assert (incident.hazard, incident.venue, incident.playbook, incident.level) == ("fire", MALL, "underground-fire", 2)
    # The standing order covers a detector and a call point at one venue: no person has to be there.
    assert incident.air is Air.ON_AIR
    system.until(lambda: [stream.use for stream in system.streams()] == ["actual"])
    system.until(lambda: Carry.PUBLISH_STREAM not in system.effects())
    assert [(w.reporter, w.device, str(w.evidence), w.automatic) for w in incident.witnesses] == [
        ("smoke-1", "s1", "detector", True),
        ("button-1", "b1", "call_point", True),
    ]
    assert ("tocsin/v1/sensor/box-1/s8", "malformed") not in system.unread()
    with system.store.read() as read:
        heard = read.get(Heard, "sensor/smoke-1")
    assert heard is not None
    assert (replace(heard, heard_us=0, from_us=0), heard.heard_us > 0) == (
        Heard("sensor/smoke-1", rhythm_s=600, state="alarm"),
        True,
    )


@pytest.mark.parametrize("topic", ["tocsin/v1/sensor/box-2/b1", "tocsin/v1/area/210200000000/manifest/actual/city"])
def test_a_gateway_device_speaks_below_its_own_name_alone(system: System, topic: str) -> None:
    with system.device("box-1") as box:
        box.publish_within_s = 1.0
        with pytest.raises(NotPublished):
            box.publish(topic, b"{}")
    with system.device("box-2") as box:
        box.say("b9", SensorKind.BUTTON, SensorState.ALARM)
        system.until(lambda: system.unread() == [("tocsin/v1/sensor/box-2/b9", "sensor_not_enrolled")])
