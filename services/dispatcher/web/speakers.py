"""Speakers and streams: what is last known of each loudspeaker, and what is on air per stream."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from ..engine import desk, queries
from ..engine.events import ServiceChanged
from ..engine.people import Role
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .problems import EndRefused
from .schemas import (
    BehindPage,
    BehindView,
    OutOfServiceRequest,
    SpeakerPage,
    SpeakerView,
    StreamList,
    StreamRequest,
    StreamView,
    WhyRequest,
)

OUT_US_MAX = 366 * 86_400_000_000


def speakers_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about speakers and streams, for the desk."""
    router = APIRouter(tags=["speakers"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))
    officer = Depends(gate.needs(*DESK))

    @router.get("/api/speakers")
    def speakers(
        _: Caller = reader,
        after: str = Query(default="", max_length=64),
        size: int = Query(default=500, ge=1, le=queries.SPEAKERS_PAGE_MAX),
        venue: str = Query(default="", max_length=64),
    ) -> SpeakerPage:
        """Enrolled speakers by id, with what is last known of each."""
        city = deps.engine.read_city()
        with deps.store.read() as read:
            found = queries.speakers_page(read, city, after, size, venue=venue)
            outs = (n.speaker.out_of_service for n in found.rows)
            names = queries.names_of(read, {out.author for out in outs if out is not None})
        rows = [SpeakerView.of(now) for now in found.rows]
        return SpeakerPage(speakers=rows, next=rows[-1].id if found.more else None, names=names)

    @router.post("/api/speakers/{id}/out-of-service")
    def out_of_service(id: str, wanted: OutOfServiceRequest, caller: Caller = reader) -> SpeakerView:
        """Take it out of the second denominator: with author, reason and end. It still plays what it is told."""
        with deps.store.read() as read:
            now_us = read.now_us()
        if not now_us < wanted.until <= now_us + OUT_US_MAX:
            raise EndRefused
        return changed(ServiceChanged(id, caller.person.id, wanted.reason, wanted.until))

    @router.post("/api/speakers/{id}/in-service")
    def in_service(id: str, wanted: WhyRequest, caller: Caller = reader) -> SpeakerView:
        """Put it back."""
        return changed(ServiceChanged(id, caller.person.id, wanted.why, None))

    def changed(change: ServiceChanged) -> SpeakerView:
        deps.engine.handle([change])
        with deps.store.read() as read:
            return SpeakerView.of(queries.speaker_now(read, change.speaker))

    @router.get("/api/streams")
    def streams(
        _: Caller = reader,
        unknown: bool = Query(default=False, description="Only those with something unknown on air."),
    ) -> StreamList:
        """Every stream, with what is on air at the broker but unknown here, and who refuses what is on it."""
        found = streams_as_they_are()
        return StreamList(streams=[s for s in found.streams if s.unknown_on_air]) if unknown else found

    def streams_as_they_are() -> StreamList:
        with deps.store.read() as read:
            found = queries.streams_now(read, deps.engine.city_of(read))
        return StreamList(streams=[StreamView.of(now) for now in found])

    @router.get("/api/streams/behind")
    def behind(
        _: Caller = reader,
        topic: str = Query(min_length=1, max_length=160),
        after: str = Query(default="", max_length=64),
        size: int = Query(default=500, ge=1, le=queries.SPEAKERS_PAGE_MAX),
    ) -> BehindPage:
        """Speakers of a stream that hold an older version of it than the one signed last, by what each said last."""
        city = deps.engine.read_city()
        with deps.store.read() as read:
            found = queries.speakers_behind(read, city, topic, after, size)
        rows = [BehindView(speaker=speaker, version=version) for speaker, version in found.rows]
        return BehindPage(speakers=rows, next=rows[-1].speaker if found.more else None)

    @router.post("/api/streams/adopt")
    def adopt(wanted: StreamRequest, caller: Caller = officer) -> StreamList:
        """Take over what the broker holds on one stream: it stays on air as an order of ours."""
        desk.adopt_stream(deps.store, wanted.topic, caller.person.id, wanted.version)
        return streams_as_they_are()

    @router.post("/api/streams/withdraw")
    def withdraw(wanted: StreamRequest, caller: Caller = officer) -> StreamList:
        """Take off the air what the broker holds on one stream and nobody here knows; what is known stays as it is."""
        desk.withdraw_stream(deps.store, wanted.topic, caller.person.id, wanted.version)
        return streams_as_they_are()

    return router
