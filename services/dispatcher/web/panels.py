"""Fire panels: who was heard and when, duty checks and clocks, maintenance, and panels that are not enrolled."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from ..domain.panels import PanelRequest, RequestKind
from ..domain.signals import Panel
from ..engine import queries
from ..engine.events import PanelAsked
from ..engine.people import Role
from ..engine.ports import Page
from ..engine.rows import Stranger
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .maintenance import MaintenanceRequest, begin_maintenance, finish_maintenance
from .panel_schemas import (
    DutyCheckRequest,
    PanelPage,
    PanelRequestView,
    PanelStory,
    PanelView,
    SetClockRequest,
    StrangerList,
    StrangerView,
)
from .schemas import WhyRequest

PANELS_PAGE_MAX = 2_000
STRANGERS_SHOWN_MAX = 1_000


def panels_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about fire panels, for the desk and for administrators."""
    router = APIRouter(tags=["panels"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))

    @router.get("/api/panels")
    def panels(
        _: Caller = reader,
        after: str = Query(default="", max_length=64),
        size: int = Query(default=500, ge=1, le=PANELS_PAGE_MAX),
        venue: str = Query(default="", max_length=64),
    ) -> PanelPage:
        """Enrolled panels by id, with when each was last heard and its maintenance."""
        with deps.store.read() as read:
            found = queries.panels_page(read, after, size, venue=venue)
            names = queries.names_of(read, {now.panel.maintenance_author for now in found.rows})
        rows = [PanelView.of(now) for now in found.rows]
        return PanelPage(panels=rows, next=rows[-1].id if found.more else None, names=names)

    @router.get("/api/panels/strangers")
    def strangers(_: Caller = reader, size: int = Query(default=200, ge=1, le=STRANGERS_SHOWN_MAX)) -> StrangerList:
        """Addresses that are not enrolled, the one heard last first. What they said is unread input."""
        with deps.store.read() as read:
            rows = read.find(Stranger, Page(limit=size, order="-last_us"))
        return StrangerList(strangers=[StrangerView.model_validate(row) for row in rows])

    @router.get("/api/panels/{id}")
    def panel(id: str, _: Caller = reader) -> PanelStory:
        """One panel with its newest requests and what came of them."""
        with deps.store.read() as read:
            found = queries.panel_now(read, id)
            people = {request.person for request in found.requests} | {found.panel.maintenance_author}
            names = queries.names_of(read, people)
        requests = [PanelRequestView.model_validate(request) for request in found.requests]
        return PanelStory(panel=PanelView.of(found), requests=requests, names=names)

    @router.post("/api/panels/{id}/duty-check", status_code=202)
    def duty_check(id: str, wanted: DutyCheckRequest, caller: Caller = reader) -> PanelRequestView:
        """Ask whether somebody is on duty (查岗). The answer, or that nobody gave one, shows in its requests."""
        return asked(PanelAsked(RequestKind.DUTY_CHECK, id, caller.person.id, wanted.why, wanted.minutes))

    @router.post("/api/panels/{id}/set-clock", status_code=202)
    def set_clock(id: str, wanted: SetClockRequest, caller: Caller = reader) -> PanelRequestView:
        """Set its clock to the time of sending."""
        return asked(PanelAsked(RequestKind.SET_CLOCK, id, caller.person.id, wanted.why))

    @router.post("/api/panels/{id}/maintenance")
    def maintenance(id: str, wanted: MaintenanceRequest, caller: Caller = reader) -> PanelView:
        """Under maintenance until then: its fires still open incidents for people, and nothing sounds by itself."""
        begin_maintenance(deps, Panel, id, caller.person.id, wanted)
        return now(id)

    @router.post("/api/panels/{id}/end-maintenance")
    def end_maintenance(id: str, wanted: WhyRequest, caller: Caller = reader) -> PanelView:
        """End its maintenance before its time."""
        finish_maintenance(deps, Panel, id, caller.person.id, wanted)
        return now(id)

    def asked(event: PanelAsked) -> PanelRequestView:
        deps.engine.handle([event])
        newest = Page(limit=1, order="-asked_us")
        with deps.store.read() as read:
            (request,) = read.find(PanelRequest, newest, panel=event.panel, kind=event.kind)
        return PanelRequestView.model_validate(request)

    def now(id: str) -> PanelView:
        with deps.store.read() as read:
            return PanelView.of(queries.panel_now(read, id))

    return router
