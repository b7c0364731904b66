"""`tocsin sensor`: sensors with their last words, and their maintenance by a person at the machine."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.signals import Sensor
from services.dispatcher.engine.cities import import_city
from services.dispatcher.processes.cli_sensor import sensor_app
from tests import builders
from tests.builders import NOON_US

ROW = {
    "id": "smoke-1",
    "gateway": "box-1",
    "device": "s1",
    "kind": "smoke",
    "venue": "mall",
    "use": "actual",
    "enabled": True,
    "heard": None,
    "state": "",
    "maintenance_until": None,
    "maintenance_author": "",
    "maintenance_reason": "",
}


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    with store.write() as tx:
        import_city(tx, builders.city_settings(), builders.city_rows(), "test")
        tx.put(builders.sensor(), builders.sensor(id="z-1", device="z1", venue="square"))
    return store


def run(*words: str) -> str:
    result = CliRunner().invoke(sensor_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run("list", *words, "--json").splitlines()]


def refused(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(sensor_app, list(words))
    return result.exit_code, result.output.split(":")[0]


def test_sensors_are_listed_with_when_they_were_heard(store: SqlStore) -> None:
    with store.write() as tx:
        tx.put(Heard("sensor/smoke-1", NOON_US, state="fault"))
    heard = {**ROW, "heard": "2025-06-15T15:06:40+00:00", "state": "fault"}
    assert rows() == [heard, {**ROW, "id": "z-1", "device": "z1", "venue": "square"}]
    assert rows("--venue", "mall") == [heard]


def test_maintenance_begins_under_ones_own_name_and_ends(store: SqlStore) -> None:
    assert run("maintenance", "smoke-1", "--reason", " new detectors ", "--hours", "2").startswith(
        "smoke-1 is under maintenance until 20"
    )
    with store.read() as read:
        sensor = read.get(Sensor, "smoke-1")
        now_us = read.now_us()
    assert sensor is not None and sensor.maintenance_until_us is not None
    assert now_us < sensor.maintenance_until_us <= now_us + 7_200_000_000
    assert sensor.maintenance_reason == "new detectors"
    assert sensor.maintenance_author.endswith("(command line)")
    assert rows()[0]["maintenance_reason"] == "new detectors"
    assert run("end-maintenance", "smoke-1") == "smoke-1 is under no maintenance.\n"
    with store.read() as read:
        assert read.get(Sensor, "smoke-1") == builders.sensor()
        log = [(line.kind, line.subject) for line in read.log_of("smoke-1")]
    assert log == [("sensor.maintenance", "smoke-1"), ("sensor.maintenance_ended", "smoke-1")]


def test_no_reason_no_end_and_no_such_sensor_are_refused(store: SqlStore) -> None:
    assert refused("maintenance", "nobody", "--reason", "x", "--hours", "1") == (1, "not_found")
    assert refused("end-maintenance", "nobody") == (1, "not_found")
    assert refused("maintenance", "smoke-1", "--reason", " ", "--hours", "1")[0] == 2
    assert refused("maintenance", "smoke-1", "--reason", "x", "--hours", "0")[0] == 2
    assert refused("maintenance", "smoke-1", "--reason", "x")[0] == 2
    with store.read() as read:
        assert read.get(Sensor, "smoke-1") == builders.sensor()
