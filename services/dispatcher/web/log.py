"""The log, unread input and the city, to read."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Depends, Query, Request, Response

from ..engine import queries
from ..engine.people import Role
from ..engine.rows import CitySettings
from ..feeds.report import clean
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .schemas import (
    RAW_SHOWN_BYTES,
    AreaView,
    CityView,
    LogLine,
    LogPage,
    OfficeView,
    UnreadPage,
    UnreadView,
    VenueView,
)

LOG_ROWS_MAX = 500
UNREAD_ROWS_MAX = 200


def log_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """What happened, and what could not be understood."""
    router = APIRouter(tags=["log"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))

    @router.get("/api/log")
    def log(
        _: Caller = reader,
        subject: str = Query(default="", max_length=200),
        after: int | None = Query(default=None, ge=0, le=queries.SEQ_MAX, description="Without it: the newest lines."),
        size: int = Query(default=100, ge=1, le=LOG_ROWS_MAX),
    ) -> LogPage:
        """Lines of the log in their order, of one subject or of all."""
        with deps.store.read() as read:
            wanted = subject or None
            rows = queries.newest_lines(read, wanted, size) if after is None else read.log_of(wanted, after, size)
            names = queries.names_of(read, queries.log_people(rows))
        more = rows[-1].seq if len(rows) == size else None
        return LogPage(lines=[LogLine.of(row) for row in rows], next=more, names=names)

    @router.get("/api/unread")
    def unread(
        _: Caller = reader,
        page: int = Query(default=1, ge=1, le=queries.PAGES_MAX),
        size: int = Query(default=50, ge=1, le=UNREAD_ROWS_MAX),
    ) -> UnreadPage:
        """Input that could not be understood, newest first."""
        with deps.store.read() as read:
            rows, count = read.unread(size, (page - 1) * size), read.unread_count()
        return UnreadPage(
            count=count,
            unread=[
                UnreadView(
                    wire=row.wire,
                    source=row.source,
                    reason=row.reason,
                    at_us=row.at_us,
                    bytes=len(row.raw),
                    head_hex=row.raw[:RAW_SHOWN_BYTES].hex(),
                    head_text=clean(row.raw[:RAW_SHOWN_BYTES].decode("utf-8", "replace")),
                )
                for row in rows
            ],
        )

    return router


def city_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """The city as the console and the office pages need it."""
    router = APIRouter(tags=["city"])
    anybody = Depends(gate.anyone)

    @router.get("/api/city", response_model=CityView)
    def city(request: Request, response: Response, _: Caller = anybody) -> CityView | Response:
        """Areas, venues and offices. It changes rarely: ask again with If-None-Match."""
        loaded = deps.engine.read_city()
        with deps.store.read() as read:
            settings = queries.one(read, CitySettings, "city")
        today = datetime.fromtimestamp(deps.clock.now_us() / 1e6, UTC).date()
        etag = f'"{loaded.code}-{loaded.version}-{today.isoformat()}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        response.headers.update(headers)
        return CityView(
            code=loaded.code,
            name=settings.name,
            issuer=loaded.issuer,
            version=loaded.version,
            speakers=sum(1 for s in loaded.speakers.values() if s.enrolled),
            areas=[AreaView.model_validate(a) for a in loaded.tree.in_force(today)],
            venues=[VenueView.model_validate(v) for v in loaded.venues.values()],
            offices=[OfficeView.model_validate(o) for o in loaded.offices],
        )

    return router
