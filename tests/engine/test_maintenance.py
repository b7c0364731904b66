"""Maintenance of fire panels and sensors: with author, reason and end; meanwhile nothing sounds by itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from devices.protocols.sensor_mqtt import SensorKind, SensorMessage, SensorState
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import BroadcastState
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.playbook import Corroboration, OnUnanswered
from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.domain.signals import Panel, Sensor, Signal
from services.dispatcher.engine.events import Event, Maintained, MaintenanceChanged, SignalArrived
from services.dispatcher.engine.panels import enrol
from services.dispatcher.feeds import mqtt_sensor
from services.dispatcher.processes.cli_migrate import upgrade
from tests import builders
from tests.builders import NOON_US, SECOND_US, StoppedClock, Town

FIRST, SECOND = builders.sensor(), builders.sensor(id="smoke-2", device="s2")
DEVICES = [builders.panel(), FIRST]
HOUR_US = 3_600 * SECOND_US


@pytest.fixture(params=["memory", "sqlite"])
def town(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Town]:
    """A panel, two smoke sensors in the mall, and a standing order that releases for two detectors."""
    clock, url = StoppedClock(), f"sqlite:///{tmp_path / 'tocsin.db'}"
    if request.param == "sqlite":
        upgrade(url)
    store = MemoryStore(clock) if request.param == "memory" else SqlStore(url, clock)
    order = builders.standing_order(Corroboration.TWO_DETECTORS, on_unanswered=OnUnanswered.RELEASE)
    made = builders.town(store, clock, (builders.fire_playbook(standing=order),))
    with store.write() as tx:
        tx.put(builders.panel(), FIRST, SECOND)
    yield made
    if isinstance(store, SqlStore):
        store.close()


def maintain(town: Town, kind: Maintained, id: str, until_us: int | None, reason: str = "new detectors") -> None:
    town.engine.handle([MaintenanceChanged(kind, id, "li", reason, until_us)])


def alarm(town: Town, sensor: Sensor, seq: int) -> Signal:
    message = SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "boot", seq)
    [signal] = mqtt_sensor.signals_of(message, sensor, town.clock.now_us()).signals
    return signal


def both_alarm(town: Town, seq: int = 1) -> str:
    """Both sensors say a further statement of alarm; the incident that they are about."""
    town.signal(alarm(town, FIRST, seq))
    return town.signal(alarm(town, SECOND, seq))


def name(device: Panel | Sensor) -> str:
    return type(device).__name__.lower()


@pytest.mark.parametrize("device", DEVICES, ids=name)
def test_it_has_an_author_and_a_reason_and_ends_by_itself(town: Town, device: Panel | Sensor) -> None:
    end_us = NOON_US + HOUR_US
    maintain(town, type(device), device.id, end_us)
    row = town.get(type(device), device.id)
    assert (row.maintenance_author, row.maintenance_reason, row.maintenance_until_us) == ("li", "new detectors", end_us)
    town.clock.advance(3_599)
    town.pass_timers()
    assert town.get(type(device), device.id) == row
    town.clock.advance(1)
    town.pass_timers()
    assert town.get(type(device), device.id) == device
    began, ended = f"{name(device)}.maintenance", f"{name(device)}.maintenance_ended"
    assert town.kinds(device.id) == [began, ended]
    assert town.whys(device.id, began) == ["new detectors"]
    assert town.whys(device.id, ended) == ["the end that li gave it has come"]


@pytest.mark.parametrize("device", DEVICES, ids=name)
def test_it_is_prolonged_and_ended_by_hand(town: Town, device: Panel | Sensor) -> None:
    maintain(town, type(device), device.id, NOON_US + 60 * SECOND_US)
    maintain(town, type(device), device.id, NOON_US + 120 * SECOND_US)
    town.clock.advance(61)
    town.pass_timers()
    assert town.get(type(device), device.id).maintenance_until_us == NOON_US + 120 * SECOND_US
    maintain(town, type(device), device.id, None, "finished")
    maintain(town, type(device), device.id, None, "finished")
    assert town.get(type(device), device.id) == device
    ended = f"{name(device)}.maintenance_ended"
    assert town.kinds(device.id)[2:] == [ended, f"{ended}_again"]
    town.clock.advance(3_600)
    with town.store.read() as read:
        assert read.due_timers(town.clock.now_us(), 100) == []


@pytest.mark.parametrize("device", DEVICES, ids=name)
def test_what_is_not_enrolled_has_none(town: Town, device: Panel | Sensor) -> None:
    with pytest.raises(NotFound, match=f"{name(device)} nobody"):
        maintain(town, type(device), "nobody", NOON_US + HOUR_US)


def test_a_panel_and_a_sensor_of_one_name_have_each_their_own(town: Town) -> None:
    sensor = builders.sensor(id="mall-panel", device="s3")
    with town.store.write() as tx:
        tx.put(sensor)
    maintain(town, Sensor, sensor.id, NOON_US + 60 * SECOND_US)
    maintain(town, Panel, sensor.id, NOON_US + 120 * SECOND_US)
    town.clock.advance(61)
    town.pass_timers()
    assert town.get(Sensor, sensor.id) == sensor
    assert town.get(Panel, sensor.id).maintenance_author == "li"


def test_an_alarm_of_a_panel_in_the_group_does_not_speak_for_a_sensor_of_its_name(town: Town) -> None:
    sensor = builders.sensor(id="mall-panel", device="s3")
    with town.store.write() as tx:
        tx.put(sensor)
    maintain(town, Sensor, sensor.id, NOON_US + HOUR_US)
    town.engine.handle([SignalArrived(builders.fire_signal("gb26875/1")), SignalArrived(alarm(town, sensor, 1))])
    with town.store.read() as read:
        [incident] = read.find(Incident)
    assert [w.automatic for w in incident.witnesses] == [True, False]


def test_a_panel_that_is_enrolled_again_stays_under_it(town: Town) -> None:
    maintain(town, Panel, "mall-panel", NOON_US + HOUR_US)
    enrol(town.store, builders.panel(name="新主机"), "admin")
    under = {"maintenance_author": "li", "maintenance_reason": "new detectors"}
    assert town.get(Panel, "mall-panel") == builders.panel(
        name="新主机", maintenance_until_us=NOON_US + HOUR_US, **under
    )
    town.clock.advance(3_600)
    town.pass_timers()
    assert town.get(Panel, "mall-panel") == builders.panel(name="新主机")


def test_two_sensors_release_under_the_standing_order(town: Town) -> None:
    assert town.alert(both_alarm(town)).state is BroadcastState.ON_AIR


def test_an_alarm_of_sensors_under_it_goes_to_people_and_never_sounds_by_itself(town: Town) -> None:
    for sensor in (FIRST, SECOND):
        maintain(town, Sensor, sensor.id, NOON_US + 24 * HOUR_US)
    incident = both_alarm(town)
    found = town.incident(incident)
    assert (found.state, town.alert(incident).state) == (IncidentState.VERIFYING, BroadcastState.DRAFT)
    assert [w.automatic for w in found.witnesses] == [False, False]
    assert "a witness with its test bit set, under maintenance" in "; ".join(found.reasons)
    for _ in range(6):
        town.clock.advance(60)
        town.pass_timers()
    assert town.alert(incident).state is BroadcastState.DRAFT
    assert town.incident(incident).unanswered


def test_one_sensor_under_it_is_no_second_witness_for_the_standing_order(town: Town) -> None:
    maintain(town, Sensor, FIRST.id, NOON_US + HOUR_US)
    assert town.alert(both_alarm(town)).state is BroadcastState.DRAFT


@pytest.mark.parametrize("way", ["by itself", "before its timer is passed", "by hand"])
def test_after_its_end_sensors_release_again(town: Town, way: str) -> None:
    for sensor in (FIRST, SECOND):
        maintain(town, Sensor, sensor.id, NOON_US + HOUR_US)
    incident = both_alarm(town)
    assert town.alert(incident).state is BroadcastState.DRAFT
    town.clock.advance(1_800 if way == "by hand" else 3_600)
    if way == "by hand":
        for sensor in (FIRST, SECOND):
            maintain(town, Sensor, sensor.id, None)
    elif way == "by itself":
        town.pass_timers()
    assert both_alarm(town, 2) == incident
    assert [w.automatic for w in town.incident(incident).witnesses] == [True, True]
    assert town.alert(incident).state is BroadcastState.ON_AIR


def test_in_one_group_it_counts_from_its_place_in_it(town: Town) -> None:
    group: list[Event] = [
        SignalArrived(alarm(town, FIRST, 1)),
        MaintenanceChanged(Sensor, SECOND.id, "li", "new detectors", NOON_US + HOUR_US),
        SignalArrived(alarm(town, SECOND, 1)),
    ]
    town.engine.handle(group)
    with town.store.read() as read:
        [incident] = read.find(Incident)
    assert [w.automatic for w in incident.witnesses] == [True, False]
    assert town.alert(incident.id).state is BroadcastState.DRAFT
