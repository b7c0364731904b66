"""Incidents: the list, one with its whole story, deciding not to broadcast for one, and closing it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from ..domain.incidents import Incident, IncidentState
from ..domain.signals import Use
from ..engine import queries
from ..engine.events import IncidentClosed, NothingBroadcast
from ..engine.people import Role
from .auth import DESK, Caller, Gate
from .broadcast_schemas import IncidentDetail
from .deps import WebDeps
from .schemas import IncidentPage, IncidentView, WhyRequest


def incidents_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about incidents, for the desk."""
    router = APIRouter(tags=["incidents"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))
    officer = Depends(gate.needs(*DESK))

    @router.get("/api/incidents")
    def incidents(
        _: Caller = reader,
        state: list[IncidentState] = Query(default=[], max_length=5),
        use: Use | None = None,
        page: int = Query(default=1, ge=1, le=queries.PAGES_MAX),
        size: int = Query(default=50, ge=1, le=queries.PAGE_ROWS_MAX),
    ) -> IncidentPage:
        """Incidents, newest first; of any of the states named, or of all."""
        fields: dict[str, object] = {}
        if state:
            fields["state"] = tuple(state)
        if use is not None:
            fields["use"] = use
        with deps.store.read() as read:
            found = queries.page_of(read, Incident, page, size, **fields)
        return IncidentPage(incidents=[IncidentView.model_validate(i) for i in found.rows], more=found.more)

    @router.get("/api/incidents/{id}")
    def incident(id: str, _: Caller = reader) -> IncidentDetail:
        """One incident with its signals, tasks, broadcasts and log."""
        return _detail(deps, id)

    @router.post("/api/incidents/{id}/close")
    def close(id: str, wanted: WhyRequest, caller: Caller = officer) -> IncidentDetail:
        """Close it: its task is withdrawn, a draft not yet released is held. Refused while its alert is on air."""
        deps.engine.handle([IncidentClosed(id, caller.person.id, wanted.why)])
        return _detail(deps, id)

    @router.post("/api/incidents/{id}/not-broadcast")
    def not_broadcast(id: str, wanted: WhyRequest, caller: Caller = officer) -> IncidentDetail:
        """Decide not to broadcast for it, whether or not anything is drafted: recorded with who and why, and a draft
        that waits is declined. Refused while its alert is on air."""
        deps.engine.handle([NothingBroadcast(id, caller.person.id, caller.roles, wanted.why)])
        return _detail(deps, id)

    return router


def _detail(deps: WebDeps, id: str) -> IncidentDetail:
    with deps.store.read() as read:
        story = queries.incident_story(read, id)
        people = queries.log_people(story.log) | {t.answered_by for t in story.tasks}
        return IncidentDetail.of(story, queries.names_of(read, people))
