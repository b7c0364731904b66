from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.effects import Carry, Record, Save, Sleep, TellIncident, Timer, WakeAt
from services.dispatcher.domain.incidents import LadderEnded, OfficeAnswered, Verdict
from services.dispatcher.domain.playbook import Rung
from services.dispatcher.domain.refusals import NotYourOffice
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.verification import (
    LATE_RUNG_USELESS_US,
    Answered,
    Asked,
    NotReached,
    RungTimedOut,
    Task,
    TaskKind,
    TaskState,
    Withdrawn,
    decide,
    ladder,
)
from tests.builders import NOON_US, SECOND_US, STREET

RUNGS = (Rung(0, 60), Rung(1, 120), Rung(-1, 180))


def task(**changes: Any) -> Task:
    """A task that the street is asked, with two more offices above it."""
    asked = Task(
        id="task",
        kind=TaskKind.VERIFY,
        use=Use.ACTUAL,
        incident="incident",
        broadcast="",
        venue=None,
        area=STREET,
        question={"zh": "是否属实？"},
        rungs=RUNGS,
        offices=("street", "district", "city"),
        rung=0,
        state=TaskState.ASKED,
        asked_us=NOON_US,
        due_us=NOON_US + 60 * SECOND_US,
    )
    return replace(asked, **changes)


def kinds(effects: list[Any]) -> list[str]:
    return [effect.kind for effect in effects if isinstance(effect, Record)]


def test_a_task_begins_on_its_first_rung_with_a_deadline_in_a_row() -> None:
    due_us = NOON_US + 60 * SECOND_US
    asked, effects = decide(task(due_us=0), Asked(), NOON_US)
    assert asked == task()
    assert effects == [
        WakeAt(Timer.RUNG, "task", due_us, due_us + LATE_RUNG_USELESS_US),
        Save(Carry.OFFICE_TASK, "task"),
        Record("task.asked", "task", "street is asked", facts={"rung": 0, "due_us": due_us}),
    ]


def test_an_answer_ends_the_deadline_and_reaches_the_incident() -> None:
    done, effects = decide(task(), Answered("chen", "street", Verdict.CONFIRM, "smoke"), NOON_US)
    assert done == task(state=TaskState.ANSWERED, verdict=Verdict.CONFIRM, answered_by="chen")
    assert effects == [
        Sleep(Timer.RUNG, "task"),
        Save(Carry.OFFICE_TASK, "task"),
        Record("task.answered", "task", "street: confirm", "chen", {"note": "smoke"}),
        TellIncident("incident", OfficeAnswered("task", "street", "chen", Verdict.CONFIRM, "smoke")),
    ]


def test_the_same_answer_again_changes_nothing() -> None:
    answered = task(state=TaskState.ANSWERED, verdict=Verdict.CONFIRM, answered_by="chen")
    again, effects = decide(answered, Answered("wu", "street", Verdict.CONFIRM), NOON_US)
    assert again == answered
    assert effects == [Record("task.answered_again", "task", "the same answer again", "wu")]


def test_an_answer_that_contradicts_is_taken_and_named_so() -> None:
    answered = task(state=TaskState.ANSWERED, verdict=Verdict.CONFIRM, answered_by="chen")
    after, effects = decide(answered, Answered("wu", "district", Verdict.REFUTE), NOON_US)
    assert (after.verdict, after.answered_by) == (Verdict.REFUTE, "wu")
    assert kinds(effects) == ["task.contradicted"]
    assert TellIncident("incident", OfficeAnswered("task", "district", "wu", Verdict.REFUTE, "")) in effects


def test_an_office_of_an_earlier_rung_may_still_answer() -> None:
    after, effects = decide(task(rung=2), Answered("chen", "street", Verdict.REFUTE), NOON_US)
    assert after.state is TaskState.ANSWERED
    assert kinds(effects) == ["task.answered"]


def test_an_answer_after_the_ladder_ended_still_counts() -> None:
    after, effects = decide(
        task(rung=2, state=TaskState.UNANSWERED), Answered("chen", "street", Verdict.CONFIRM), NOON_US
    )
    assert after.state is TaskState.ANSWERED
    assert kinds(effects) == ["task.answered_late"]
    assert any(isinstance(effect, TellIncident) for effect in effects)


def test_an_answer_to_a_withdrawn_task_is_only_recorded() -> None:
    withdrawn = task(state=TaskState.WITHDRAWN)
    after, effects = decide(withdrawn, Answered("chen", "street", Verdict.CONFIRM), NOON_US)
    assert (after, kinds(effects)) == (withdrawn, ["task.answered_late"])


@pytest.mark.parametrize("state", list(TaskState))
def test_an_office_that_stands_on_no_rung_is_refused_in_every_state(state: TaskState) -> None:
    with pytest.raises(NotYourOffice):
        decide(task(state=state), Answered("eve", "elsewhere", Verdict.CONFIRM), NOON_US)


def test_the_office_asked_now_climbs_at_once_when_it_does_not_know() -> None:
    after, effects = decide(task(), Answered("chen", "street", Verdict.UNSURE), NOON_US)
    assert (after.state, after.rung, after.due_us) == (TaskState.ASKED, 1, NOON_US + 120 * SECOND_US)
    assert kinds(effects) == ["task.unsure", "task.asked"]


def test_an_office_passed_over_that_does_not_know_does_not_shorten_the_next_ones_time() -> None:
    second = task(rung=1, due_us=NOON_US + 120 * SECOND_US)
    after, effects = decide(second, Answered("chen", "street", Verdict.UNSURE), NOON_US)
    assert (after, kinds(effects)) == (second, ["task.unsure"])


def test_not_knowing_on_the_last_rung_leaves_the_ladder_to_its_end() -> None:
    last = task(rung=2)
    after, effects = decide(last, Answered("sun", "city", Verdict.UNSURE), NOON_US)
    assert (after, kinds(effects)) == (last, ["task.unsure"])
    ended, effects = decide(after, RungTimedOut(2), NOON_US)
    assert ended.state is TaskState.UNANSWERED
    assert TellIncident("incident", LadderEnded("task")) in effects


@pytest.mark.parametrize("state", [TaskState.ANSWERED, TaskState.UNANSWERED])
def test_not_knowing_never_takes_an_answer_back(state: TaskState) -> None:
    before = task(state=state, verdict=Verdict.CONFIRM)
    after, effects = decide(before, Answered("sun", "city", Verdict.UNSURE), NOON_US)
    assert (after, kinds(effects)) == (before, ["task.unsure"])


def test_silence_climbs_one_rung_with_a_new_deadline() -> None:
    after, effects = decide(task(), RungTimedOut(0), NOON_US)
    assert (after.rung, after.office, after.due_us) == (1, "district", NOON_US + 120 * SECOND_US)
    assert kinds(effects) == ["task.climbed", "task.asked"]


def test_silence_on_the_last_rung_tells_the_incident_and_says_what_was_missed() -> None:
    after, effects = decide(task(rung=2), RungTimedOut(2, "the timer came 61 s late"), NOON_US)
    assert after.state is TaskState.UNANSWERED
    assert effects == [
        Record("task.unanswered", "task", "the ladder has ended and nobody answered"),
        TellIncident("incident", LadderEnded("task", "the timer came 61 s late")),
        Save(Carry.OFFICE_TASK, "task"),
    ]


def test_silence_on_the_ground_tells_no_incident() -> None:
    _, effects = decide(task(kind=TaskKind.GROUND, rung=2), RungTimedOut(2), NOON_US)
    assert not any(isinstance(effect, TellIncident) for effect in effects)


@pytest.mark.parametrize("state", [TaskState.ANSWERED, TaskState.UNANSWERED, TaskState.WITHDRAWN])
def test_a_timer_that_comes_after_the_end_changes_nothing(state: TaskState) -> None:
    before = task(state=state)
    assert decide(before, RungTimedOut(0), NOON_US)[0] == before


def test_a_timer_of_a_rung_that_was_left_changes_nothing() -> None:
    before = task(rung=1)
    after, effects = decide(before, RungTimedOut(0), NOON_US)
    assert (after, kinds(effects)) == (before, ["task.timer_late"])


def test_an_office_that_is_not_reached_is_passed_over_at_once() -> None:
    after, effects = decide(task(), NotReached("the broker is away"), NOON_US)
    assert after == task(rung=1, due_us=NOON_US + 120 * SECOND_US)
    assert kinds(effects) == ["task.not_reached", "task.asked"]
    assert Save(Carry.OFFICE_TASK, "task") in effects


def test_where_nobody_is_left_to_ask_the_deadline_of_the_last_office_stands() -> None:
    after, effects = decide(task(rung=2), NotReached("the broker is away"), NOON_US)
    assert (after, kinds(effects)) == (task(rung=2), ["task.not_reached"])
    assert not any(isinstance(effect, TellIncident | Save | WakeAt) for effect in effects)


@pytest.mark.parametrize("state", [TaskState.ANSWERED, TaskState.UNANSWERED, TaskState.WITHDRAWN])
def test_a_task_that_is_over_does_not_climb_because_it_was_not_told(state: TaskState) -> None:
    before = task(state=state)
    after, effects = decide(before, NotReached("the broker is away"), NOON_US)
    assert (after, kinds(effects)) == (before, ["task.not_reached_late"])


def test_withdrawing_takes_the_deadline_with_it_once() -> None:
    gone, effects = decide(task(), Withdrawn("closed"), NOON_US)
    assert gone == task(state=TaskState.WITHDRAWN)
    assert effects == [
        Sleep(Timer.RUNG, "task"),
        Save(Carry.OFFICE_TASK, "task"),
        Record("task.withdrawn", "task", "closed"),
    ]
    again, effects = decide(gone, Withdrawn("closed"), NOON_US)
    assert (again, kinds(effects)) == (gone, ["task.withdrawn_late"])


@pytest.mark.parametrize(
    ("above", "expected"),
    [
        (("street", "district", "city"), ("street", "district", "city")),
        (("street", "city"), ("street", "city", "city")),
        (("city",), ("city", "city", "city")),
        (("street", "district", "zone", "city"), ("street", "district", "city")),
    ],
)
def test_a_ladder_never_goes_beyond_the_topmost_office(above: tuple[str, ...], expected: tuple[str, ...]) -> None:
    assert ladder(RUNGS, above) == expected
