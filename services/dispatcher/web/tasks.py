"""Tasks: what offices are asked, and their answers. An office sees and answers only what stands on its ladder."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from ..domain.refusals import NotAllowed, NotYourOffice
from ..domain.verification import Task, TaskState
from ..engine import queries
from ..engine.events import TaskAnswered
from ..engine.people import Role
from ..engine.ports import Read
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .schemas import TaskAnswer, TaskPage, TaskView, task_page

READERS = (*DESK, Role.ADMINISTRATOR)


def tasks_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about tasks, for offices and the desk."""
    router = APIRouter(tags=["tasks"])
    anybody = Depends(gate.anyone)
    answering = Depends(gate.needs(Role.OFFICE, *DESK))

    @router.get("/api/tasks")
    def tasks(
        caller: Caller = anybody,
        mine: bool = Query(default=False, description="Only those of my own office."),
        state: list[TaskState] = Query(default=[], max_length=4),
        page: int = Query(default=1, ge=1, le=queries.PAGES_MAX),
        size: int = Query(default=50, ge=1, le=queries.PAGE_ROWS_MAX),
    ) -> TaskPage:
        """Tasks, newest first. Office people are shown their own office's, the desk all of them."""
        wanted = tuple(state)
        with deps.store.read() as read:
            if mine or not caller.has(*READERS):
                if not caller.person.office:
                    raise NotAllowed("no office")
                found = queries.tasks_of_office(read, caller.person.office, wanted, page, size)
            else:
                fields: dict[str, object] = {"state": wanted} if wanted else {}
                found = queries.page_of(read, Task, page, size, **fields)
            names = queries.names_of(read, {t.answered_by for t in found.rows})
        return task_page(found.rows, more=found.more, names=names)

    @router.get("/api/tasks/{id}")
    def task(id: str, caller: Caller = anybody) -> TaskView:
        """One task."""
        with deps.store.read() as read:
            return TaskView.model_validate(_shown_to(read, caller, id))

    @router.post("/api/tasks/{id}/answer")
    def answer(id: str, given: TaskAnswer, caller: Caller = answering) -> TaskView:
        """An office's answer; the same answer again changes nothing."""
        office = caller.person.office
        with deps.store.read() as read:
            asked = _shown_to(read, caller, id)
        if office not in asked.offices:
            raise NotYourOffice(office)
        deps.engine.handle([TaskAnswered(id, caller.person.id, office, given.verdict, given.note)])
        with deps.store.read() as read:
            return TaskView.model_validate(queries.one(read, Task, id))

    return router


def _shown_to(read: Read, caller: Caller, id: str) -> Task:
    task = queries.one(read, Task, id)
    if not caller.has(*READERS) and caller.person.office not in task.offices:
        raise NotYourOffice
    return task
