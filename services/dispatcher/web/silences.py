"""Silences: what people mute for a reason and a time, and how much each has kept quiet."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import Field, StringConstraints

from ..domain.signals import Use
from ..domain.silences import Silence, SilenceRefused
from ..engine import queries
from ..engine.events import SilenceEnded, SilenceMade
from ..engine.people import Role
from ..feeds.hazards import BY_NAME, OTHER
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .schemas import Names, RequestBody, View, Why, WhyRequest

Matcher = Annotated[str, StringConstraints(strip_whitespace=True, max_length=256)]


class SilenceRequest(RequestBody):
    """Every matcher that is given must fit; at least one must be."""

    use: Use = Use.ACTUAL
    reporter: Matcher = ""
    device: Matcher = ""
    hazard: Annotated[str, StringConstraints(pattern=r"^[a-z_]{0,32}$")] = ""
    area: Annotated[str, StringConstraints(pattern=r"^([0-9]{12})?$")] = Field(
        default="", description="An area's code: it and all below it."
    )
    reason: Why
    until: int = Field(description="When it ends by itself, µs UTC: as soon as possible, and never past the limit.")


class SilenceView(View):
    id: str
    use: Use
    author: str
    reason: str
    made_us: int
    until_us: int
    reporter: str
    device: str
    hazard: str
    area: str
    active: bool
    ended_by: str = Field(description="Who ended it early; empty when its time ran out.")
    ended_us: int
    count: int = Field(description="Signals that it kept quiet: each is stored.")
    passed: int = Field(description="Signals that it fitted and that were heard all the same.")


class SilencePage(View):
    silences: list[SilenceView]
    more: bool
    names: Names


def silences_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about silences, for the desk."""
    router = APIRouter(tags=["silences"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))
    officer = Depends(gate.needs(*DESK))

    @router.get("/api/silences")
    def silences(
        _: Caller = reader,
        active: bool | None = None,
        page: int = Query(default=1, ge=1, le=queries.PAGES_MAX),
        size: int = Query(default=50, ge=1, le=queries.PAGE_ROWS_MAX),
    ) -> SilencePage:
        """Silences, newest first; those that hold, those that ended, or all."""
        fields: dict[str, object] = {} if active is None else {"active": active}
        with deps.store.read() as read:
            found = queries.page_of(read, Silence, page, size, **fields)
            names = queries.names_of(read, {s.author for s in found.rows} | {s.ended_by for s in found.rows})
        rows = [SilenceView.model_validate(s) for s in found.rows]
        return SilencePage(silences=rows, more=found.more, names=names)

    @router.post("/api/silences", status_code=201)
    def silence(wanted: SilenceRequest, caller: Caller = officer) -> SilenceView:
        """Keep quiet what fits. A call point, a cancel, a red, and fire that a second device corroborates are heard."""
        if wanted.hazard and wanted.hazard not in BY_NAME and wanted.hazard != OTHER:
            # It would keep nothing quiet, and people would rely on it.
            raise SilenceRefused(f"no such hazard: {wanted.hazard}")
        asked = Silence(
            "", wanted.use, caller.person.id, wanted.reason, 0, wanted.until, wanted.reporter, wanted.device,
            wanted.hazard, wanted.area,
        )  # fmt: skip
        (id,) = deps.engine.handle([SilenceMade(asked)]).created
        return shown(id)

    @router.post("/api/silences/{id}/end")
    def end_silence(id: str, wanted: WhyRequest, caller: Caller = officer) -> SilenceView:
        """Hear it again from now on."""
        deps.engine.handle([SilenceEnded(id, caller.person.id, wanted.why)])
        return shown(id)

    def shown(id: str) -> SilenceView:
        with deps.store.read() as read:
            return SilenceView.model_validate(queries.one(read, Silence, id))

    return router
