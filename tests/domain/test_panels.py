"""Requests to fire panels: who takes them, what comes back, and what becomes of those that nobody answers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.dispatcher.domain.effects import Effect, Record, Sleep, Timer, WakeAt
from services.dispatcher.domain.panels import (
    ALWAYS_US,
    ANSWER_GRACE_US,
    REACH_WITHIN_US,
    TAKEN_FOR_US,
    Confirmed,
    DeadlinePassed,
    Denied,
    DutyAnswered,
    PanelRequest,
    RequestAsked,
    RequestEvent,
    RequestKind,
    RequestState,
    RequestTaken,
    Unheard,
    decide,
    may_take,
)

NOW_US = 1_750_000_000_000_000
DUTY = PanelRequest("r-1", RequestKind.DUTY_CHECK, "panel-7", "li", "night round", NOW_US, minutes=5)
CLOCK = PanelRequest("r-2", RequestKind.SET_CLOCK, "panel-7", "", "its clock is off by 90 s", NOW_US)
SENT = replace(DUTY, state=RequestState.SENT, gateway="gw-0", sent_us=NOW_US, taken_until_us=NOW_US + TAKEN_FOR_US)
CONFIRMED = replace(SENT, state=RequestState.CONFIRMED, confirmed_us=NOW_US)


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects if isinstance(effect, Record)]


def due(effects: list[Effect]) -> list[int]:
    return [effect.due_us for effect in effects if isinstance(effect, WakeAt)]


def test_a_new_request_says_who_asked_and_has_a_deadline() -> None:
    after, effects = decide(DUTY, RequestAsked(), NOW_US)
    facts: dict[str, object] = {"request": "r-1", "minutes": 5}
    due_us = NOW_US + REACH_WITHIN_US
    assert after == DUTY
    assert effects == [
        Record("panel.duty_check.asked", "panel-7", "night round", "li", facts),
        WakeAt(Timer.PANEL_REQUEST, "r-1", due_us, due_us + ALWAYS_US),
    ]


def test_one_gateway_takes_it_and_another_only_after_that_one_has_had_its_time() -> None:
    sent, effects = decide(DUTY, RequestTaken("gw-0"), NOW_US)
    assert (sent, kinds(effects)) == (SENT, ["panel.duty_check.sent"])
    assert decide(sent, RequestTaken("gw-1"), NOW_US + TAKEN_FOR_US - 1) == (sent, [])
    assert not may_take(sent, NOW_US + TAKEN_FOR_US - 1)
    again, _ = decide(sent, RequestTaken("gw-1"), NOW_US + TAKEN_FOR_US)
    assert again.gateway == "gw-1"


def test_people_have_their_minutes_from_the_devices_confirm_on() -> None:
    after, effects = decide(SENT, Confirmed(), NOW_US + 1)
    assert after == replace(SENT, state=RequestState.CONFIRMED, confirmed_us=NOW_US + 1)
    assert due(effects) == [NOW_US + 1 + 5 * 60_000_000 + ANSWER_GRACE_US]


def test_a_clock_that_the_device_confirms_is_set() -> None:
    after, effects = decide(replace(CLOCK, state=RequestState.SENT), Confirmed(), NOW_US + 1)
    assert (after.state, after.confirmed_us, after.ended_us) == (RequestState.DONE, NOW_US + 1, NOW_US + 1)
    assert (kinds(effects), effects[-1]) == (["panel.set_clock.done"], Sleep(Timer.PANEL_REQUEST, "r-2"))


@pytest.mark.parametrize("before", [DUTY, SENT, CONFIRMED])
def test_an_answer_at_any_time_before_the_end_is_an_answer(before: PanelRequest) -> None:
    after, effects = decide(before, DutyAnswered(9), NOW_US + 2)
    assert (after.state, after.operator, after.ended_us) == (RequestState.ANSWERED, 9, NOW_US + 2)
    assert kinds(effects) == ["panel.duty_check.answered"]


def test_nobody_on_duty_is_recorded_with_the_time_they_had() -> None:
    after, effects = decide(CONFIRMED, DeadlinePassed(), NOW_US + 9)
    assert (after.state, after.ended_us) == (RequestState.UNANSWERED, NOW_US + 9)
    record = effects[0]
    assert isinstance(record, Record)
    assert (record.kind, record.why) == ("panel.duty_check.unanswered", "nobody on duty answered within 5 min")
    late, effects = decide(after, DutyAnswered(9), NOW_US + 10)
    assert (late, kinds(effects)) == (after, ["panel.duty_check.answered_late"])


@pytest.mark.parametrize("before", [DUTY, SENT])
def test_a_panel_that_was_never_reached_is_not_a_panel_without_people(before: PanelRequest) -> None:
    after, effects = decide(before, DeadlinePassed(), NOW_US + 9)
    assert (after.state, kinds(effects)) == (RequestState.FAILED, ["panel.duty_check.failed"])


def test_a_denial_ends_it() -> None:
    after, effects = decide(SENT, Denied(), NOW_US + 9)
    assert (after.state, kinds(effects)) == (RequestState.FAILED, ["panel.duty_check.failed"])


def test_unheard_on_one_line_it_waits_for_another() -> None:
    after, effects = decide(SENT, Unheard("gw-0"), NOW_US + 9)
    assert (after.state, may_take(after, NOW_US + 9)) == (RequestState.WAITING, True)
    assert kinds(effects) == ["panel.duty_check.unheard"]
    assert decide(SENT, Unheard("gw-1"), NOW_US + 9) == (SENT, [])


ENDED = [replace(CONFIRMED, state=s) for s in (RequestState.ANSWERED, RequestState.FAILED, RequestState.DONE)]


@pytest.mark.parametrize("before", ENDED)
@pytest.mark.parametrize(
    "event", [RequestTaken("gw-1"), Confirmed(), Denied(), Unheard("gw-0"), DutyAnswered(1), DeadlinePassed()]
)
def test_what_comes_after_the_end_changes_nothing(before: PanelRequest, event: RequestEvent) -> None:
    assert decide(before, event, NOW_US + 9) == (before, [])
