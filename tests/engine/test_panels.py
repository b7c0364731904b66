"""Fire panels through the engine: duty checks, clocks, what holds their fires back, and strangers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.dispatcher.domain.broadcasts import BroadcastState
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.panels import (
    EARLY_ANSWER_US,
    Confirmed,
    PanelRequest,
    RequestKind,
    RequestState,
    RequestTaken,
    Unheard,
)
from services.dispatcher.domain.playbook import Corroboration, OnUnanswered
from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.domain.signals import Evidence, Panel, SignalKind
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.enrolment import enrol_panel
from services.dispatcher.engine.events import (
    MaintenanceChanged,
    PanelAsked,
    PanelClockOff,
    PanelReplied,
    SignalArrived,
    TimerDue,
)
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import PanelLive, Stranger
from services.dispatcher.engine.sources.panels import (
    STRANGERS_MAX,
    PanelOff,
    StillAsking,
    StrangerHeard,
    note_heard,
    note_strangers,
)
from tests import builders
from tests.builders import NOON_US, SECOND_US, Town, fire_signal

PANEL = "mall-panel"
DAY_S = 86_400


@pytest.fixture
def town() -> Town:
    made = builders.town()
    with made.store.write() as tx:
        tx.put(builders.panel())
    return made


def standing_town(**changes: object) -> Town:
    """A standing order that releases for two detectors, also when nobody answers."""
    order = builders.standing_order(Corroboration.TWO_DETECTORS, on_unanswered=OnUnanswered.RELEASE)
    made = builders.town(playbooks=(builders.fire_playbook(standing=order),))
    with made.store.write() as tx:
        tx.put(builders.panel(**changes))
    return made


def ask(town: Town, kind: RequestKind = RequestKind.DUTY_CHECK) -> PanelRequest:
    town.engine.handle([PanelAsked(kind, PANEL, "li", "night round", 5)])
    return newest(town)


def newest(town: Town) -> PanelRequest:
    with town.store.read() as read:
        return read.find(PanelRequest, Page(limit=1, order="-id"))[0]


def confirmed(town: Town) -> PanelRequest:
    request = ask(town)
    town.engine.handle([PanelReplied(request.id, RequestTaken("gw-0")), PanelReplied(request.id, Confirmed())])
    return newest(town)


def on_duty(town: Town, ago_us: int = 0) -> None:
    said = fire_signal(
        "panel/duty/1",
        kind=SignalKind.INFO,
        evidence=Evidence.SYSTEM,
        device="duty",
        description="operator 9",
        received_us=town.clock.now_us() - ago_us,
    )
    town.engine.handle([SignalArrived(said)])


def test_what_was_pressed_before_anybody_asked_is_no_answer_though_it_comes_after(town: Town) -> None:
    confirmed(town)
    on_duty(town, ago_us=EARLY_ANSWER_US + 1)
    assert newest(town).state is RequestState.CONFIRMED


def test_a_duty_check_is_sent_confirmed_and_answered(town: Town) -> None:
    request = confirmed(town)
    assert (request.person, request.state, request.gateway) == ("li", RequestState.CONFIRMED, "gw-0")
    on_duty(town)
    assert (newest(town).state, newest(town).operator) == (RequestState.ANSWERED, 9)
    assert town.kinds(PANEL) == [
        "panel.duty_check.asked",
        "panel.duty_check.sent",
        "panel.duty_check.confirmed",
        "panel.duty_check.answered",
    ]
    town.clock.advance(3_600)
    town.pass_timers()
    assert newest(town).state is RequestState.ANSWERED


def test_when_nobody_on_duty_answers_the_office_is_asked_and_nothing_can_sound(town: Town) -> None:
    confirmed(town)
    town.clock.advance(5 * 60 + 29)
    town.pass_timers()
    assert newest(town).state is RequestState.CONFIRMED
    town.clock.advance(1)
    town.pass_timers()
    assert newest(town).state is RequestState.UNANSWERED
    with town.store.read() as read:
        (incident,) = read.find(Incident)
    assert (incident.hazard, incident.venue, incident.state, incident.alert) == (
        "unattended",
        builders.MALL,
        IncidentState.VERIFYING,
        "",
    )
    assert incident.headline == "商场主机：消防控制室5分钟内无人应答查岗"
    assert town.get(Task, incident.task).office == builders.OTHER_OFFICE


def test_a_panel_that_is_on_no_line_is_recorded_as_not_reached(town: Town) -> None:
    ask(town)
    town.clock.advance(120)
    town.pass_timers()
    assert newest(town).state is RequestState.FAILED
    assert town.whys(PANEL, "panel.duty_check.failed") == ["the panel was not reached"]
    with town.store.read() as read:
        assert read.find(Incident) == []


def test_one_duty_check_at_a_time_and_none_to_a_panel_that_is_off_or_unknown(town: Town) -> None:
    ask(town)
    with pytest.raises(StillAsking):
        ask(town)
    ask(town, RequestKind.SET_CLOCK)
    with town.store.write() as tx:
        tx.put(builders.panel(enabled=False))
    with pytest.raises(PanelOff):
        ask(town)
    with pytest.raises(NotFound):
        town.engine.handle([PanelAsked(RequestKind.DUTY_CHECK, "nobody", "li", "", 5)])


def test_an_answer_that_nobody_asked_for_is_kept_as_information(town: Town) -> None:
    on_duty(town)
    with town.store.read() as read:
        assert read.signal_incident("panel/duty/1") == ""
        assert read.find(PanelRequest) == []


def test_a_request_that_its_gateway_lost_is_taken_again(town: Town) -> None:
    request = ask(town)
    town.engine.handle([PanelReplied(request.id, RequestTaken("gw-0")), PanelReplied(request.id, Unheard("gw-0"))])
    town.engine.handle([PanelReplied(request.id, RequestTaken("gw-1"))])
    assert (newest(town).gateway, newest(town).state) == ("gw-1", RequestState.SENT)


def test_a_clock_that_is_off_is_set_once_a_day_and_never_twice_at_once(town: Town) -> None:
    off = PanelClockOff(PANEL, 90)
    town.engine.handle([off])
    town.engine.handle([off])
    with town.store.read() as read:
        (request,) = read.find(PanelRequest)
    assert (request.kind, request.person, request.why) == (RequestKind.SET_CLOCK, "", "its clock is off by 90 s")
    town.engine.handle([PanelReplied(request.id, RequestTaken("gw-0")), PanelReplied(request.id, Confirmed())])
    town.clock.advance(DAY_S - 1)
    town.engine.handle([off])
    with town.store.read() as read:
        assert [r.state for r in read.find(PanelRequest)] == [RequestState.DONE]
    town.clock.advance(1)
    town.engine.handle([PanelClockOff(PANEL, None), PanelClockOff("nobody", 90)])
    with town.store.read() as read:
        assert [r.why for r in read.find(PanelRequest)] == ["its clock is off by 90 s", "its clock says no date"]


def maintain(town: Town, until_us: int) -> None:
    town.engine.handle([MaintenanceChanged(Panel, PANEL, "li", "new detectors", until_us)])


def two_detectors(town: Town, **changes: object) -> str:
    town.signal(fire_signal("panel/mall/1", device="smoke-1", **changes))
    return town.signal(fire_signal("panel/mall/2", device="smoke-2", **changes))


def test_two_detectors_release_under_the_standing_order() -> None:
    town = standing_town()
    assert town.alert(two_detectors(town)).state is BroadcastState.ON_AIR


@pytest.mark.parametrize("why", ["maintenance", "test bit"])
def test_a_fire_under_maintenance_or_with_the_test_bit_goes_to_people_and_never_sounds_by_itself(why: str) -> None:
    town = standing_town()
    if why == "maintenance":
        maintain(town, NOON_US + 86_400 * SECOND_US)
    incident = two_detectors(town, test_bit=why == "test bit")
    found = town.incident(incident)
    assert (found.state, town.alert(incident).state) == (IncidentState.VERIFYING, BroadcastState.DRAFT)
    assert "a witness with its test bit set, under maintenance" in "; ".join(found.reasons)
    for _ in range(6):
        town.clock.advance(60)
        town.pass_timers()
    assert town.alert(incident).state is BroadcastState.DRAFT
    assert town.incident(incident).unanswered


def test_a_fire_with_the_test_bit_asks_people_on_a_ladder_no_longer_than_a_minute_a_rung() -> None:
    town = standing_town()
    task = town.get(Task, town.incident(two_detectors(town, test_bit=True)).task)
    assert [rung.answer_timeout_s for rung in task.rungs] == [60, 60, 60]
    plain = standing_town()
    task = plain.get(Task, plain.incident(two_detectors(plain)).task)
    assert [rung.answer_timeout_s for rung in task.rungs] == [60, 120, 180]


def test_a_panel_whose_test_bit_means_nothing_releases_like_any_other() -> None:
    town = standing_town(test_bit_meaningless=True)
    assert town.alert(two_detectors(town, test_bit=True)).state is BroadcastState.ON_AIR


def test_one_detector_with_the_test_bit_does_not_make_two_of_another() -> None:
    town = standing_town()
    town.signal(fire_signal("panel/mall/1", device="smoke-1", test_bit=True))
    incident = town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    assert town.alert(incident).state is BroadcastState.DRAFT


def test_a_maintenance_that_has_ended_no_longer_holds_fires_back() -> None:
    town = standing_town()
    maintain(town, NOON_US + 60 * SECOND_US)
    town.clock.advance(60)
    # The end counts, not the timer pass that notes it.
    incident = two_detectors(town, received_us=NOON_US + 60 * SECOND_US)
    assert town.alert(incident).state is BroadcastState.ON_AIR


STRANGER = StrangerHeard("0102030405aa", "10.0.0.9:4000", 3, NOON_US, NOON_US + 5)


def test_strangers_are_counted_and_shown_until_they_are_enrolled(town: Town) -> None:
    note_strangers(town.store, [STRANGER])
    note_strangers(town.store, [replace(STRANGER, peer="10.0.0.9:4001", frames=2, last_us=NOON_US + 9)])
    assert town.get(Stranger, "0102030405aa") == Stranger("0102030405aa", "10.0.0.9:4001", NOON_US, NOON_US + 9, 5)
    assert town.kinds("0102030405aa") == ["panel.stranger"]
    enrol_panel(town.store, builders.panel(id="new", address="0102030405aa"), "admin")
    with town.store.read() as read:
        assert read.find(Stranger) == []


def test_no_more_strangers_are_listed_than_the_limit(town: Town) -> None:
    with town.store.write() as tx:
        tx.put(*(Stranger(f"{number:012x}", "", 0, 0, 1) for number in range(STRANGERS_MAX - 1)))
    note_strangers(town.store, [replace(STRANGER, address="a" * 12), STRANGER])
    with town.store.read() as read:
        assert read.get(Stranger, "a" * 12) is not None
        assert read.get(Stranger, STRANGER.address) is None


def test_when_panels_were_heard_is_kept_without_a_line_of_the_log(town: Town) -> None:
    note_heard(town.store, [PanelLive(PANEL, "gw-0", "10.0.0.8:1", NOON_US, -3)])
    note_heard(town.store, [])
    assert town.get(PanelLive, PANEL) == PanelLive(PANEL, "gw-0", "10.0.0.8:1", NOON_US, -3)
    assert town.kinds(PANEL) == []


def test_a_deadline_that_comes_twice_is_one(town: Town) -> None:
    confirmed(town)
    town.clock.advance(3_600)
    with town.store.read() as read:
        (timer,) = read.due_timers(read.now_us(), 10)
    town.engine.handle([TimerDue(timer)])
    town.engine.handle([TimerDue(timer)])
    assert town.kinds(PANEL).count("panel.duty_check.unanswered") == 1
