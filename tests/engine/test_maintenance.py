"""Maintenance of fire panels and sensors: with author, reason and end; meanwhile nothing sounds by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.protocols.sensor_mqtt import SensorKind, SensorMessage, SensorState
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import BroadcastState
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.playbook import Corroboration, OnUnanswered
from services.dispatcher.domain.refusals import AskedTwo, NotFound
from services.dispatcher.domain.signals import Panel, Sensor, Signal
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.enrolment import enrol_panel, switch
from services.dispatcher.engine.events import (
    Event,
    IncidentClosed,
    Maintained,
    MaintenanceChanged,
    SignalArrived,
    TaskAnswered,
    TimerDue,
)
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import TimerRow
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
    enrol_panel(town.store, builders.panel(name="新主机"), "admin")
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


# After two detectors have fired


def panel_fires(town: Town, number: int, **changes: Any) -> str:
    """A detector of the panel reports; the incident that it is about."""
    now_us = town.clock.now_us()
    fire = builders.fire_signal(f"gb26875/{number}", device=f"smoke-{number}", observed_us=now_us, received_us=now_us)
    return town.signal(replace(fire, **changes))


def pending_release(town: Town, fires: Callable[[Town], str]) -> str:
    """Two detectors have fired where no speaker stood yet: the end of the ladder may still release under the standing
    order, for one stands there now."""
    town.rebuild(without=("mall-1",))
    incident = fires(town)
    assert "decide now" in town.whys(incident, "incident.missed")[0]
    town.rebuild()
    return incident


def both_of_panel(town: Town) -> str:
    panel_fires(town, 1)
    return panel_fires(town, 2)


def questions(town: Town, incident: str) -> list[Task]:
    """The questions about an incident that are open."""
    with town.store.read() as read:
        return list(read.find(Task, Page(limit=10, order="id"), incident=incident, state=TaskState.ASKED))


def climb(town: Town, minutes: int = 30) -> None:
    for _ in range(minutes):
        town.clock.advance(60)
        town.pass_timers()


CASES: list[tuple[Maintained, list[str], Callable[[Town], str]]] = [
    (Panel, ["mall-panel"], both_of_panel),
    (Sensor, [FIRST.id], both_alarm),
    (Sensor, [FIRST.id, SECOND.id], both_alarm),
]
EACH = pytest.mark.parametrize(("kind", "ids", "fires"), CASES, ids=["panel", "one sensor", "both sensors"])


@EACH
def test_without_it_the_end_of_the_ladder_releases(
    town: Town, kind: Maintained, ids: list[str], fires: Callable[[Town], str]
) -> None:
    incident = pending_release(town, fires)
    climb(town)
    assert town.alert(incident).state is BroadcastState.ON_AIR


@EACH
def test_it_turns_a_standing_release_that_is_still_to_come_into_a_question_to_two_at_once(
    town: Town, kind: Maintained, ids: list[str], fires: Callable[[Town], str]
) -> None:
    incident = pending_release(town, fires)
    [before] = questions(town, incident)
    for id in ids:
        maintain(town, kind, id, NOON_US + 24 * HOUR_US)
    asked = questions(town, incident)
    assert [task.office for task in asked] == [builders.OTHER_OFFICE, builders.CITY_OFFICE]
    assert all(rung.answer_timeout_s <= 60 for task in asked for rung in task.rungs)
    assert all("put under maintenance after its alarm" in task.question["en"] for task in asked)
    assert town.get(Task, before.id).state is TaskState.WITHDRAWN
    assert town.whys(incident, "incident.standing_stopped") == [
        f"the standing order covered it, but li put {ids[0]} under maintenance after its alarm (new detectors): "
        "two people are asked at once"
    ]
    climb(town)
    found = town.incident(incident)
    assert (found.state, found.unanswered, found.alerted) == (IncidentState.VERIFYING, True, False)
    assert "incident.held" in town.kinds(incident)


def test_neither_of_the_two_waits_for_the_silence_of_the_other(town: Town) -> None:
    incident = pending_release(town, both_of_panel)
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    _, desk = questions(town, incident)
    town.engine.handle([TaskAnswered(desk.id, "wang", builders.CITY_OFFICE, Verdict.CONFIRM)])
    assert (town.incident(incident).state, town.alert(incident).verdict) == (IncidentState.CONFIRMED, "confirmed")
    assert town.release(town.alert(incident).id, "li", "zhao").state is BroadcastState.ON_AIR


def test_the_two_are_two_people(town: Town) -> None:
    incident = pending_release(town, both_of_panel)
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    street, desk = questions(town, incident)
    town.engine.handle([TaskAnswered(street.id, "wang", street.office, Verdict.REFUTE)])
    with pytest.raises(AskedTwo):
        town.engine.handle([TaskAnswered(desk.id, "wang", desk.office, Verdict.REFUTE)])
    town.engine.handle([TaskAnswered(desk.id, "chen", desk.office, Verdict.CONFIRM)])
    assert town.incident(incident).state is IncidentState.CONFIRMED
    assert "incident.contradicted" in town.kinds(incident)


def test_the_silence_of_one_of_the_two_decides_nothing(town: Town) -> None:
    incident = pending_release(town, both_of_panel)
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    street, desk = questions(town, incident)
    for rung in range(len(street.rungs)):
        town.clock.advance(60)
        timer = TimerRow(Timer.RUNG, street.id, town.get(Task, street.id).due_us, NOON_US + 24 * HOUR_US)
        assert town.get(Task, street.id).rung == rung
        town.engine.handle([TimerDue(timer)])
    found = town.incident(incident)
    assert (found.task, found.second_task, found.unanswered) == (desk.id, "", False)
    assert "incident.one_unanswered" in town.kinds(incident)
    town.answer(incident, Verdict.CONFIRM)
    assert town.incident(incident).state is IncidentState.CONFIRMED


@pytest.mark.parametrize("way", ["by itself", "by hand"])
def test_the_question_stays_when_it_ends(town: Town, way: str) -> None:
    incident = pending_release(town, both_of_panel)
    maintain(town, Panel, "mall-panel", NOON_US + 60 * SECOND_US)
    asked = questions(town, incident)
    if way == "by hand":
        maintain(town, Panel, "mall-panel", None)
        assert questions(town, incident) == asked
    climb(town)
    assert town.incident(incident).alerted is False
    assert town.alert(incident).state is BroadcastState.DRAFT


def test_after_a_release_has_gone_out_it_changes_nothing_on_air(town: Town) -> None:
    incident = both_of_panel(town)
    before, alert = town.incident(incident), town.alert(incident)
    assert alert.state is BroadcastState.ON_AIR
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    assert (town.incident(incident), town.alert(incident)) == (before, alert)
    assert "incident.standing_stopped" not in town.kinds(incident)


def test_a_first_detector_of_a_panel_that_it_came_upon_later_is_no_witness_for_the_standing_order(town: Town) -> None:
    incident = panel_fires(town, 1)
    maintain(town, Panel, "mall-panel", NOON_US + HOUR_US)
    assert town.whys(incident, "incident.for_people") == [
        "li put mall-panel under maintenance after its alarm (new detectors)"
    ]
    assert town.signal(alarm(town, FIRST, 1)) == incident
    assert town.alert(incident).state is BroadcastState.DRAFT
    assert town.signal(alarm(town, SECOND, 1)) == incident
    assert town.alert(incident).state is BroadcastState.ON_AIR


def test_other_devices_that_are_enough_by_themselves_keep_their_standing_release(town: Town) -> None:
    town.rebuild(without=("mall-1",))
    incident = panel_fires(town, 1)
    both_alarm(town)
    town.rebuild()
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    assert town.incident(incident).standing_stopped == ""
    climb(town)
    assert town.alert(incident).state is BroadcastState.ON_AIR


def test_a_panel_that_is_switched_off_before_the_ladder_ends_releases_nothing_either(town: Town) -> None:
    incident = pending_release(town, both_of_panel)
    switch(town.store, Panel, "mall-panel", False, "sun")
    climb(town, 7)
    assert town.incident(incident).alerted is False
    assert "mall-panel was switched off after its alarm" in town.whys(incident, "incident.standing_stopped")[0]
    assert [task.office for task in questions(town, incident)] != []


def test_a_sensor_of_the_name_of_the_panel_changes_nothing_of_the_panels_word(town: Town) -> None:
    sensor = builders.sensor(id="mall-panel", device="s3")
    with town.store.write() as tx:
        tx.put(sensor)
    incident = pending_release(town, both_of_panel)
    maintain(town, Sensor, "mall-panel", NOON_US + 24 * HOUR_US)
    assert town.incident(incident).standing_stopped == ""
    climb(town)
    assert town.alert(incident).state is BroadcastState.ON_AIR


def test_where_one_office_is_all_there_is_both_questions_go_there(town: Town) -> None:
    others = (builders.OTHER_OFFICE, builders.DISTRICT_OFFICE)
    town.rebuild(without=("mall-1", *others))
    incident = both_of_panel(town)
    town.rebuild(without=others)
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    assert [task.office for task in questions(town, incident)] == [builders.CITY_OFFICE] * 2


def test_closing_the_incident_takes_back_both_questions(town: Town) -> None:
    incident = pending_release(town, both_of_panel)
    maintain(town, Panel, "mall-panel", NOON_US + 24 * HOUR_US)
    town.engine.handle([IncidentClosed(incident, "li", "seen to")])
    assert questions(town, incident) == []
