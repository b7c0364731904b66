"""Broadcasts: what waits for release, what is on air, who released it, and what speakers have shown."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from devices.protocols.documents import Phase

from ..domain.broadcasts import (
    Broadcast,
    BroadcastEvent,
    BroadcastState,
    Declined,
    ReleaseGiven,
    Resumed,
    Stopped,
)
from ..domain.refusals import NotFound
from ..domain.signals import Use
from ..engine import drafts, queries
from ..engine.events import BroadcastAct
from ..engine.people import Role
from .auth import DESK, Caller, Gate
from .broadcast_schemas import BroadcastDetail, BroadcastPage, BroadcastView, ExpectedPage, ReleaseRequest
from .deps import WebDeps
from .schemas import WhyRequest


def broadcasts_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """What is to be said and what is said, to read."""
    router = APIRouter(tags=["broadcasts"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))

    @router.get("/api/broadcasts")
    def broadcasts(
        _: Caller = reader,
        state: list[BroadcastState] = Query(default=[], max_length=7),
        phase: list[Phase] = Query(default=[], max_length=3),
        use: Use | None = None,
        incident: str = Query(default="", max_length=64),
        page: int = Query(default=1, ge=1, le=queries.PAGES_MAX),
        size: int = Query(default=50, ge=1, le=queries.PAGE_ROWS_MAX),
    ) -> BroadcastPage:
        """Broadcasts, newest first. Prepared corrections and all-clears are among them, in the state draft."""
        fields: dict[str, object] = {
            name: value
            for name, value in (("state", tuple(state)), ("phase", tuple(phase)), ("use", use), ("incident", incident))
            if value
        }
        with deps.store.read() as read:
            found = queries.page_of(read, Broadcast, page, size, **fields)
            names = queries.names_of(read, {person for b in found.rows for person in (*b.released_by, b.stopped_by)})
        return BroadcastPage(broadcasts=[BroadcastView.of(b) for b in found.rows], more=found.more, names=names)

    @router.get("/api/broadcasts/{id}")
    def broadcast(id: str, _: Caller = reader) -> BroadcastDetail:
        """One broadcast with its releases, its counts, and its prepared correction and all-clear."""
        return _detail(deps, id)

    @router.get("/api/broadcasts/{id}/expected")
    def expected(
        id: str,
        _: Caller = reader,
        after: str = Query(default="", max_length=64),
        size: int = Query(default=200, ge=1, le=queries.SPEAKERS_PAGE_MAX),
        silent: bool = Query(default=False, description="Only those that have not shown that they play."),
    ) -> ExpectedPage:
        """The speakers it is meant for, by id, and what each has shown."""
        with deps.store.read() as read:
            found = queries.expected_page(read, id, after, size, silent_only=silent)
        return ExpectedPage.of(found.rows, more=found.more)

    return router


def acts_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """What people do with a broadcast. Every act is recorded with who did it."""
    router = APIRouter(tags=["broadcasts"])
    officer = Depends(gate.needs(*DESK))

    def done(id: str, act: BroadcastEvent) -> BroadcastDetail:
        deps.engine.handle([BroadcastAct(id, act)])
        return _detail(deps, id)

    @router.post("/api/broadcasts/{id}/release")
    def release(id: str, read: ReleaseRequest, caller: Caller = officer) -> BroadcastDetail:
        """Release what was read. Red and orange go on air with the second person's release."""
        return done(id, ReleaseGiven(caller.person.id, caller.roles, read.content, read.sentence))

    @router.post("/api/broadcasts/{id}/decline")
    def decline(id: str, wanted: WhyRequest, caller: Caller = officer) -> BroadcastDetail:
        """Decide not to broadcast; that too is recorded."""
        return done(id, Declined(caller.person.id, caller.roles, wanted.why))

    @router.post("/api/broadcasts/{id}/stop")
    def stop(id: str, wanted: WhyRequest, caller: Caller = officer) -> BroadcastDetail:
        """Take it off the air at once."""
        return done(id, Stopped(caller.person.id, caller.roles, wanted.why))

    @router.post("/api/broadcasts/{id}/resume")
    def resume(id: str, caller: Caller = officer) -> BroadcastDetail:
        """Put it back on air within 60 s, by the person who stopped it."""
        return done(id, Resumed(caller.person.id, caller.roles))

    @router.post("/api/broadcasts/{id}/correct")
    def correct(id: str, read: ReleaseRequest, caller: Caller = officer) -> BroadcastDetail:
        """Release the prepared correction of this alert: one person is enough. The answer is the correction."""
        given = ReleaseGiven(caller.person.id, caller.roles, read.content, read.sentence)
        return done(_follower(deps, id, Phase.CORRECTION), given)

    @router.post("/api/broadcasts/{id}/all-clear")
    def all_clear(id: str, read: ReleaseRequest, caller: Caller = officer) -> BroadcastDetail:
        """Release the prepared all-clear of this alert: one person is enough. The answer is the all-clear."""
        given = ReleaseGiven(caller.person.id, caller.roles, read.content, read.sentence)
        return done(_follower(deps, id, Phase.ALL_CLEAR), given)

    return router


def _follower(deps: WebDeps, original: str, phase: Phase) -> str:
    with deps.store.read() as read:
        prepared = drafts.follower(read, original, phase)
    if prepared is None:
        raise NotFound(f"no {phase} is prepared for broadcast {original}")
    return prepared.id


def _detail(deps: WebDeps, id: str) -> BroadcastDetail:
    with deps.store.read() as read:
        story = queries.broadcast_story(read, id)
        people = {*story.broadcast.released_by, story.broadcast.stopped_by, *(r.person for r in story.releases)}
        return BroadcastDetail.of(story, queries.names_of(read, people))
