"""Tasks: which offices are asked what, in which order, and what their answers do."""

from __future__ import annotations

from dataclasses import replace

from ...domain import verification
from ...domain.broadcasts import Broadcast
from ...domain.effects import AskOffice, AskTwo, Record, TellIncident, WithdrawTask
from ...domain.incidents import Incident, LadderEnded
from ...domain.places import OfficeKind, offices_above
from ...domain.playbook import Playbook, Rung
from ...domain.refusals import AskedTwo, NotFound
from ...domain.verification import (
    LADDER_ON_THE_GROUND,
    LADDER_WITHOUT_PLAYBOOK,
    Answered,
    Asked,
    Task,
    TaskEvent,
    TaskKind,
    TaskState,
    ladder,
    short,
)
from ...domain.wordings import filled
from ..rows import OnLadder
from ..transaction import Work

STANDING_STOPPED = " (The device was put under maintenance after its alarm: nothing is broadcast by itself.)"


def tell(work: Work, task_id: str, event: TaskEvent) -> None:
    """Let a task decide."""
    task = work.tx.get_locked(Task, task_id)
    if task is None:
        raise NotFound(f"task {task_id}")
    if isinstance(event, Answered) and event.person in _answered_beside(work, task):
        raise AskedTwo
    after, effects = verification.decide(task, event, work.tx.now_us())
    _keep(work, after, task.state)
    work.next(effects)


def _keep(work: Work, task: Task, before: TaskState | None) -> None:
    """Write it down; each office on its ladder finds it by what has become of it."""
    work.tx.put(task)
    if task.state is not before:
        offices = dict.fromkeys(task.offices)
        work.tx.put(*(OnLadder(f"{task.id}/{office}", office, task.id, task.state) for office in offices))


def ask(work: Work, effect: AskOffice) -> None:
    """Ask the offices of a place, one after the other."""
    incident = work.tx.get_locked(Incident, effect.incident)
    assert incident is not None
    playbook = work.playbooks.get(incident.playbook)
    question = _question(work, incident, playbook)
    rungs = playbook.verify if playbook else LADDER_WITHOUT_PLAYBOOK
    if effect.short:
        rungs = short(rungs)
    where = effect.venue, effect.area
    _asked(work, incident, _open_task(work, TaskKind.VERIFY, incident, "", *where, question, rungs, 0), None)


def ask_two(work: Work, effect: AskTwo) -> None:
    """Ask the office of the place and the city's duty desk at once, whoever of them answers first."""
    incident = work.tx.get_locked(Incident, effect.incident)
    assert incident is not None
    playbook = work.playbooks.get(incident.playbook)
    question = _question(work, incident, playbook)
    told = {"zh": "（报警后设备转入维护，自动播发已停止）"}
    question = {lang: f"{text}{told.get(lang, STANDING_STOPPED)}" for lang, text in question.items()}
    rungs = short(playbook.verify if playbook else LADDER_WITHOUT_PLAYBOOK)
    where = incident.venue, incident.area
    one = other = _open_task(work, TaskKind.VERIFY, incident, "", *where, question, rungs, 0)
    if one is not None:
        desk = _other_desk(work, incident.area)
        other = _open_task(work, TaskKind.VERIFY, incident, "", *where, question, rungs, 0, desk)
    _asked(work, incident, one, other)


def ask_the_ground(work: Work, b: Broadcast, venue: str, speakers: tuple[str, ...]) -> None:
    """Send people with hand-held loudspeakers to a venue whose speakers stayed silent."""
    incident = work.tx.get(Incident, b.incident)
    assert incident is not None
    place = work.city.venues[venue]
    named = f"{place.name}（{len(speakers)}）"
    question = {
        "zh": f"{named}个终端没有播发证明：请带手持喇叭到现场，照稿播报：{b.texts.get('zh', '')}",
        "en": f"{len(speakers)} speakers at {place.name} have not proved that they played: go there with a "
        f"hand-held loudspeaker and read out: {b.texts.get('en', b.texts.get('zh', ''))}",
    }
    _open_task(work, TaskKind.GROUND, incident, b.id, venue, place.area, question, LADDER_ON_THE_GROUND, place.people)


def ask_about_source(work: Work, incident: Incident, first: tuple[str, ...], question: dict[str, str]) -> str | None:
    """Ask about a source that is silent: the offices of `first`, then those of its place. None when nobody is."""
    rungs = LADDER_WITHOUT_PLAYBOOK
    where = incident.venue, incident.area
    return _open_task(work, TaskKind.VERIFY, incident, "", *where, question, rungs, 0, first)


def _answered_beside(work: Work, task: Task) -> tuple[str, ...]:
    """Who has answered the other question where two people are asked at once."""
    incident = work.tx.get(Incident, task.incident)
    pair = incident.tasks if incident is not None and incident.second_task else ()
    if task.id not in pair:
        return ()
    others = [work.tx.get(Task, other) for other in pair if other != task.id]
    return tuple(other.answered_by for other in others if other is not None)


def _other_desk(work: Work, area: str) -> tuple[str, ...]:
    """Who is asked beside the first office of an area: a duty desk above it, or the topmost office; nobody else
    where that is the only one."""
    above = offices_above(work.city.tree, work.city.offices, area)
    _, *others = [o for o in above if str(TaskKind.VERIFY) in o.answers]
    duty = [o.id for o in others if o.kind is OfficeKind.DUTY]
    return tuple((duty or [o.id for o in others])[-1:])


def _question(work: Work, incident: Incident, playbook: Playbook | None) -> dict[str, str]:
    place = work.city.venues[incident.venue].name if incident.venue else work.city.tree.area(incident.area).name
    if playbook is not None:
        return filled(playbook.question, {"zh": place})
    return {
        "zh": f"{place}：{incident.headline or incident.hazard}，是否属实？",
        "en": f"{place}: {incident.headline or incident.hazard}: is it true?",
    }


def _asked(work: Work, incident: Incident, task: str | None, other: str | None) -> None:
    """The question of an incident is another now."""
    if task is None:
        # A ladder without offices has ended: what the playbook says of that end holds, once all else is decided.
        work.later(TellIncident(incident.id, LadderEnded("")))
        return
    work.later(*(WithdrawTask(before, "asked anew") for before in incident.tasks))
    work.tx.put(replace(work.fresh(incident), task=task, second_task=other or ""))


def _open_task(
    work: Work, kind: TaskKind, incident: Incident, broadcast: str, venue: str | None, area: str,
    question: dict[str, str], rungs: tuple[Rung, ...], people: int, first: tuple[str, ...] = (),
) -> str | None:  # fmt: skip
    above = offices_above(work.city.tree, work.city.offices, area)
    asked = tuple(dict.fromkeys((*first, *(o.id for o in above if str(kind) in o.answers))))
    if not asked:
        work.tx.record(Record("task.nobody", incident.id, f"no office answers for {area}"))
        return None
    task = Task(
        id=work.ids.new(), kind=kind, use=incident.use, incident=incident.id, broadcast=broadcast, venue=venue,
        area=area, question=question, rungs=rungs, offices=ladder(rungs, asked), rung=0, state=TaskState.ASKED,
        asked_us=work.tx.now_us(), due_us=0, people=people,
    )  # fmt: skip
    after, effects = verification.decide(task, Asked(), work.tx.now_us())
    _keep(work, after, None)
    work.next(effects)
    return task.id
