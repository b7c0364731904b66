"""Tasks (核实任务): a question or an order to an office, with a ladder of deadlines. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from .effects import Carry, Effect, Record, Save, Sleep, TellIncident, Timer, WakeAt
from .incidents import LadderEnded, OfficeAnswered, Verdict
from .playbook import Rung
from .refusals import NotYourOffice
from .signals import Use

LATE_RUNG_USELESS_US = 60_000_000
LADDER_WITHOUT_PLAYBOOK = (Rung(0, 300), Rung(1, 600), Rung(-1, 900))
SHORT_RUNG_S = 60
"""The longest wait on the short ladder, for reports that never release anything by themselves."""
LADDER_ON_THE_GROUND = (Rung(0, 600), Rung(1, 900), Rung(-1, 1_800))


class TaskKind(StrEnum):
    """VERIFY asks whether it is true; GROUND sends people with hand-held loudspeakers to a silent venue."""

    VERIFY = "verify"
    GROUND = "ground"


class TaskState(StrEnum):
    ASKED = "asked"
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `offices` is the ladder's office for each rung; `rung` counts from 0; the deadline is a timer row."""

    id: str
    kind: TaskKind
    use: Use
    incident: str
    broadcast: str
    venue: str | None
    area: str
    question: dict[str, str]
    rungs: tuple[Rung, ...]
    offices: tuple[str, ...]
    rung: int
    state: TaskState
    asked_us: int
    due_us: int
    people: int = 0
    verdict: Verdict | None = None
    answered_by: str = ""
    version: int = 0

    @property
    def office(self) -> str:
        """The office that is asked now."""
        return self.offices[self.rung]

    @property
    def rung_began_us(self) -> int:
        """When the office that is asked now was asked."""
        return self.due_us - self.rungs[self.rung].answer_timeout_s * 1_000_000

    @property
    def on_last_rung(self) -> bool:
        return self.rung == len(self.rungs) - 1


@dataclass(frozen=True, slots=True)
class Asked:
    """The first moment of a task."""


@dataclass(frozen=True, slots=True)
class Answered:
    person: str
    office: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class RungTimedOut:
    """A rung's deadline passed. `missed` says why it no longer may cause a release; empty when it may."""

    rung: int
    missed: str = ""


@dataclass(frozen=True, slots=True)
class NotReached:
    """The task does not get through to the office that is asked now."""

    why: str


@dataclass(frozen=True, slots=True)
class Withdrawn:
    why: str


TaskEvent = Asked | Answered | RungTimedOut | NotReached | Withdrawn


def decide(task: Task, event: TaskEvent, now_us: int) -> tuple[Task, list[Effect]]:
    """What an event makes of a task. An office once asked may answer at any later rung too."""
    match event:
        case Asked():
            return _on_rung(task, 0, now_us)
        case Answered(office=office) if office not in task.offices:
            raise NotYourOffice(office)
        case Answered() if task.state is TaskState.ANSWERED and event.verdict is task.verdict:
            return task, [Record("task.answered_again", task.id, "the same answer again", event.person)]
        case Answered() if task.state is TaskState.WITHDRAWN:
            return task, [Record("task.answered_late", task.id, "the task was withdrawn", event.person)]
        case Answered(verdict=Verdict.UNSURE):
            return _unsure(task, event, now_us)
        case Answered():
            return _answered(task, event)
        case RungTimedOut() if task.state is not TaskState.ASKED or event.rung != task.rung:
            return task, [Record("task.timer_late", task.id, f"rung {event.rung} no longer matters")]
        case RungTimedOut() if task.on_last_rung:
            ended = replace(task, state=TaskState.UNANSWERED)
            effects_out: list[Effect] = [Record("task.unanswered", task.id, "the ladder has ended and nobody answered")]
            if task.kind is TaskKind.VERIFY:
                effects_out.append(TellIncident(task.incident, LadderEnded(task.id, event.missed)))
            return ended, [*effects_out, Save(Carry.OFFICE_TASK, task.id)]
        case RungTimedOut():
            climbed, effects = _on_rung(task, task.rung + 1, now_us)
            return climbed, [Record("task.climbed", task.id, f"{task.office} did not answer"), *effects]
        case NotReached() if task.state is not TaskState.ASKED:
            return task, [Record("task.not_reached_late", task.id, f"it is {task.state} already")]
        case NotReached() if task.on_last_rung:
            why = f"{task.office} is not reached: {event.why}; nobody is left to ask, and its deadline stands"
            return task, [Record("task.not_reached", task.id, why)]
        case NotReached():
            climbed, effects = _on_rung(task, task.rung + 1, now_us)
            why = f"{task.office} is not reached: {event.why}; the next office is asked"
            return climbed, [Record("task.not_reached", task.id, why), *effects]
        case Withdrawn() if task.state is TaskState.ASKED:
            gone = replace(task, state=TaskState.WITHDRAWN)
            return gone, [_asleep(task), Save(Carry.OFFICE_TASK, task.id), Record("task.withdrawn", task.id, event.why)]
        case Withdrawn():
            return task, [Record("task.withdrawn_late", task.id, f"it is {task.state} already")]
        case _:
            assert_never(event)


def _on_rung(task: Task, rung: int, now_us: int) -> tuple[Task, list[Effect]]:
    due_us = now_us + task.rungs[rung].answer_timeout_s * 1_000_000
    asked = replace(task, rung=rung, due_us=due_us, state=TaskState.ASKED)
    return asked, [
        WakeAt(Timer.RUNG, task.id, due_us, due_us + LATE_RUNG_USELESS_US),
        Save(Carry.OFFICE_TASK, task.id),
        Record("task.asked", task.id, f"{asked.office} is asked", facts={"rung": rung, "due_us": due_us}),
    ]


def _answered(task: Task, event: Answered) -> tuple[Task, list[Effect]]:
    kind = "task.contradicted" if task.state is TaskState.ANSWERED else "task.answered"
    if task.state is TaskState.UNANSWERED:
        kind = "task.answered_late"
    done = replace(task, state=TaskState.ANSWERED, verdict=event.verdict, answered_by=event.person)
    effects: list[Effect] = [
        _asleep(task),
        Save(Carry.OFFICE_TASK, task.id),
        Record(kind, task.id, f"{event.office}: {event.verdict}", event.person, {"note": event.note}),
    ]
    if task.kind is TaskKind.VERIFY:
        answer = OfficeAnswered(task.id, event.office, event.person, event.verdict, event.note)
        effects.append(TellIncident(task.incident, answer))
    return done, effects


def _unsure(task: Task, event: Answered, now_us: int) -> tuple[Task, list[Effect]]:
    """Not knowing is no answer: the ladder goes on, at once when the office asked now says so, to its end."""
    why = f"{event.office} can't say"
    if task.state is not TaskState.ASKED:
        return task, [Record("task.unsure", task.id, f"{why}; it is {task.state} already", event.person)]
    if event.office != task.office:
        return task, [Record("task.unsure", task.id, f"{why}; {task.office} is asked now", event.person)]
    if task.on_last_rung:
        return task, [Record("task.unsure", task.id, f"{why}; nobody is left to ask", event.person)]
    climbed, effects = _on_rung(task, task.rung + 1, now_us)
    return climbed, [Record("task.unsure", task.id, f"{why}: the next office is asked", event.person), *effects]


def _asleep(task: Task) -> Sleep:
    return Sleep(Timer.RUNG, task.id)


def short(rungs: tuple[Rung, ...]) -> tuple[Rung, ...]:
    """The same offices, none waited for longer than a minute."""
    return tuple(replace(rung, answer_timeout_s=min(rung.answer_timeout_s, SHORT_RUNG_S)) for rung in rungs)


def ladder(rungs: tuple[Rung, ...], offices_above: tuple[str, ...]) -> tuple[str, ...]:
    """The office of each rung, given those from the place upward; a rung beyond the top asks the topmost again."""
    return tuple(offices_above[-1 if r.up < 0 else min(r.up, len(offices_above) - 1)] for r in rungs)
