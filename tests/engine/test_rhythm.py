"""A source that falls silent is a case for its office, and for nobody's loudspeaker."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.places import OfficeKind
from services.dispatcher.domain.rhythm import COARSE_US, GRACE_US, SENSORS_WIRE, Heard
from services.dispatcher.domain.signals import BY_HAND, Problem, Sensor, Unread, Use
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.events import IncidentClosed, SignalArrived, SourceHeard, TimerDue, UnreadArrived
from services.dispatcher.engine.sources import dead_man
from tests import builders
from tests.builders import CITY, MALL, SECOND_US, Town, feed, fire_playbook, panel, storm_signal

HOUR_S = 3_600
PANEL, FEED, SENSOR = "panel/mall-panel", "feed/weather", "sensor/smoke-1"
LATER_S = HOUR_S + GRACE_US // SECOND_US


def sensor(**changes: object) -> Sensor:
    made = Sensor("smoke-1", "box-1", "s1", "smoke", MALL, Use.ACTUAL, "机房烟感", rhythm_s=HOUR_S)
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def town() -> Town:
    at = builders.town()
    with at.store.write() as tx:
        tx.put(panel(rhythm_s=HOUR_S), feed("x", rhythm_s=HOUR_S), sensor())
    return at


def watch(town: Town, *sources: str) -> None:
    dead_man.watch(town.store, dict.fromkeys(sources, HOUR_S))


def heard(town: Town, source: str, state: str = "") -> None:
    town.engine.handle([SourceHeard(source, town.clock.now_us(), state)])


def cases(town: Town) -> list[Incident]:
    with town.store.read() as read:
        return read.find(Incident, hazard="source_silent")


def tasks(town: Town) -> list[Task]:
    with town.store.read() as read:
        return read.find(Task)


def row(town: Town, source: str) -> Heard:
    return town.get(Heard, source)


def after_a_rhythm(town: Town, rhythms: float = 1) -> None:
    town.clock.advance(LATER_S * rhythms)
    town.pass_timers()


def test_a_panel_that_falls_silent_is_a_case_for_the_office_of_its_place(town: Town) -> None:
    watch(town, PANEL)
    heard(town, PANEL)
    town.clock.advance(HOUR_S)
    town.pass_timers()
    assert cases(town) == []
    after_a_rhythm(town)
    [incident] = cases(town)
    assert (incident.state, incident.level, incident.venue, incident.use, incident.playbook) == (
        IncidentState.VERIFYING, 4, MALL, Use.ACTUAL, "",
    )  # fmt: skip
    assert incident.headline == "消防主机“商场主机”已2小时没有任何消息"
    [task] = tasks(town)
    assert (task.office, task.incident, task.state) == (builders.OTHER_OFFICE, incident.id, TaskState.ASKED)
    assert "是否确已中断" in task.question["zh"]
    assert row(town, PANEL).incident == incident.id
    assert town.kinds(PANEL) == ["source.silent"]


def test_a_source_that_never_said_anything_is_a_case_too(town: Town) -> None:
    watch(town, SENSOR)
    after_a_rhythm(town)
    assert [i.headline for i in cases(town)] == ["传感器“机房烟感”登记后从未有消息"]


def test_a_feed_is_asked_for_at_its_departments_duty_room_first(town: Town) -> None:
    town.rebuild(builders.office("bureau-duty", CITY, OfficeKind.DEPARTMENT, name="气象局值班室", answers=()))
    watch(town, FEED)
    after_a_rhythm(town)
    [task] = tasks(town)
    assert task.offices == ("bureau-duty", builders.CITY_OFFICE, builders.CITY_OFFICE)


def test_nothing_of_silence_is_ever_drafted_even_with_a_playbook_for_it() -> None:
    at = builders.town(playbooks=(fire_playbook(hazard="source_silent", venue_kinds=None),))
    with at.store.write() as tx:
        tx.put(panel(rhythm_s=HOUR_S))
    watch(at, PANEL)
    after_a_rhythm(at)
    [incident] = cases(at)
    at.answer(incident.id, Verdict.CONFIRM)
    confirmed = at.incident(incident.id)
    assert (confirmed.state, confirmed.alert) == (IncidentState.CONFIRMED, "")


def test_who_speaks_again_closes_the_case_and_withdraws_the_question(town: Town) -> None:
    watch(town, PANEL)
    after_a_rhythm(town)
    [incident] = cases(town)
    heard(town, PANEL)
    assert town.incident(incident.id).state is IncidentState.CLOSED
    assert [task.state for task in tasks(town)] == [TaskState.WITHDRAWN]
    assert town.kinds(PANEL) == ["source.silent", "source.heard_again"]
    assert town.whys(incident.id, "incident.closed") == ["every source of it speaks again"]
    after_a_rhythm(town)
    assert len(cases(town)) == 2


def test_sources_of_one_place_share_a_case_that_the_last_one_closes(town: Town) -> None:
    watch(town, PANEL, SENSOR)
    after_a_rhythm(town)
    [incident] = cases(town)
    assert (incident.signal_count, len(tasks(town))) == (2, 1)
    heard(town, SENSOR)
    assert town.incident(incident.id).open
    heard(town, PANEL)
    assert not town.incident(incident.id).open


def test_what_falls_silent_after_an_office_has_answered_is_asked_about_anew(town: Town) -> None:
    watch(town, PANEL)
    after_a_rhythm(town)
    [first] = cases(town)
    town.answer(first.id, Verdict.CONFIRM)
    watch(town, SENSOR)
    after_a_rhythm(town)
    assert len(cases(town)) == 2
    assert len(tasks(town)) == 2


def test_who_stays_silent_after_people_closed_the_case_is_a_case_again_a_rhythm_later(town: Town) -> None:
    watch(town, PANEL)
    after_a_rhythm(town)
    [first] = cases(town)
    town.engine.handle([IncidentClosed(first.id, "li", "修好了")])
    town.clock.advance(HOUR_S)
    town.pass_timers()
    assert [case.open for case in cases(town)] == [False]
    after_a_rhythm(town)
    assert [case.open for case in cases(town)] == [False, True]


@pytest.mark.parametrize(
    "change", [{"enabled": False}, {"maintenance_author": "li", "maintenance_until_us": builders.NOON_US + 10**12}]
)
def test_what_is_off_or_under_maintenance_raises_nothing_and_then_has_a_whole_rhythm(
    town: Town, change: dict[str, object]
) -> None:
    watch(town, SENSOR)
    with town.store.write() as tx:
        tx.put(sensor(**change))
    for _ in range(3):
        after_a_rhythm(town)
    assert cases(town) == []
    with town.store.write() as tx:
        tx.put(sensor())
    after_a_rhythm(town)
    assert cases(town) == []
    after_a_rhythm(town)
    assert len(cases(town)) == 1


def test_a_source_that_is_gone_is_forgotten(town: Town) -> None:
    watch(town, PANEL)
    with town.store.write() as tx:
        tx.delete(type(panel()), "mall-panel")
    after_a_rhythm(town)
    with town.store.read() as read:
        assert read.find(Heard) == []
        assert read.due_timers(town.clock.now_us() * 2, 10) == []
    assert cases(town) == []


def test_a_system_that_was_away_itself_gives_everybody_a_rhythm(town: Town) -> None:
    watch(town, PANEL)
    town.clock.advance(5 * HOUR_S)
    with town.store.read() as read:
        [timer] = read.due_timers(read.now_us(), 10)
    town.engine.handle([TimerDue(timer, "the timer came 14400 s late")])
    assert cases(town) == []
    after_a_rhythm(town)
    assert len(cases(town)) == 1


def test_no_sensor_is_silent_while_its_broker_is_away_nor_until_a_rhythm_after(town: Town) -> None:
    watch(town, SENSOR)
    heard(town, SENSORS_WIRE)
    heard(town, SENSOR)
    for _ in range(3):
        after_a_rhythm(town)
    heard(town, SENSORS_WIRE)
    assert cases(town) == []
    for _ in range(4 * HOUR_S // 60):
        town.clock.advance(60)
        heard(town, SENSORS_WIRE)
        town.pass_timers()
        if cases(town):
            break
    assert town.clock.now_us() - row(town, SENSORS_WIRE).from_us == HOUR_S * SECOND_US + GRACE_US


def test_every_signal_and_every_unread_message_of_a_feed_is_a_sign_of_life(town: Town) -> None:
    watch(town, FEED)
    for number in range(4):
        town.clock.advance(HOUR_S * 0.6)
        now_us = town.clock.now_us()
        said = storm_signal(f"cap/weather/{number}", received_us=now_us)
        unread = Unread("http", "feed/weather", "not_xml", b"?", now_us)
        town.engine.handle([SignalArrived(said) if number % 2 else UnreadArrived(unread)])
        town.pass_timers()
    assert cases(town) == []


def test_a_file_that_people_hand_in_is_no_sign_of_life_of_the_departments_wire(town: Town) -> None:
    by_hand = Problem("warning", BY_HAND, "", "Li handed this in.")
    unread = Unread("http", "upload/weather/li", "not_xml", b"?", town.clock.now_us())
    town.engine.handle([SignalArrived(storm_signal(problems=(by_hand,))), UnreadArrived(unread)])
    with town.store.read() as read:
        assert read.find(Heard) == []


def test_signals_of_panels_and_sensors_are_heard_under_their_own_names(town: Town) -> None:
    fires = [builders.fire_signal("gb26875/mall-panel/1"), builders.fire_signal("mqtt/smoke-1/1", reporter="smoke-1")]
    town.engine.handle([SignalArrived(fire) for fire in fires])
    with town.store.read() as read:
        assert [h.id for h in read.find(Heard)] == [PANEL, SENSOR]


def test_a_chatty_source_is_written_down_once_in_a_while(town: Town) -> None:
    watch(town, PANEL)
    heard(town, PANEL)
    first_us = row(town, PANEL).heard_us
    town.clock.advance((COARSE_US - 1) / SECOND_US)
    heard(town, PANEL)
    assert row(town, PANEL).heard_us == first_us
    town.clock.advance(1 / SECOND_US)
    heard(town, PANEL)
    assert row(town, PANEL).heard_us == first_us + COARSE_US


def test_a_new_state_is_written_down_at_once(town: Town) -> None:
    heard(town, SENSOR)
    heard(town, SENSOR, "alarm")
    heard(town, SENSOR)
    assert row(town, SENSOR).state == "alarm"


def test_five_hundred_silent_panels_of_a_street_are_one_question(town: Town) -> None:
    panels = [panel(id=f"p-{n}", address=f"{n:012x}", rhythm_s=HOUR_S) for n in range(500)]
    with town.store.write() as tx:
        tx.put(*panels)
    watch(town, *(f"panel/{p.id}" for p in panels))
    town.clock.advance(LATER_S)
    town.pass_timers()
    [incident] = cases(town)
    assert (incident.signal_count, len(tasks(town))) == (500, 1)
    town.engine.handle([SourceHeard(f"panel/{p.id}", town.clock.now_us()) for p in panels])
    assert not town.incident(incident.id).open
