"""Intake of department feeds over HTTP: the feed's own key, its message as raw bytes, an answer after commit."""

from __future__ import annotations

from collections.abc import AsyncIterator
from enum import StrEnum

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..domain.refusals import NotFound
from ..feeds import FEEDS
from ..feeds.table_template import template
from .auth import address_of
from .deps import WebDeps
from .feed_keys import KEY_CHARS_MAX, FeedKeys, SignedBy, key_digest
from .feed_limits import FeedLimits
from .problems import FeedFormatDiffers
from .schemas import FeedAnswer
from .taking import Taking, not_read

FORMAT_CHARS_MAX = 32

_bearer = HTTPBearer(auto_error=False, scheme_name="FeedKey", description="The key that the feed was enrolled with.")
_RAW = {"schema": {"type": "string", "format": "binary"}}
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_TYPES = ("application/cap+xml", "application/json", "text/csv", _XLSX, "application/octet-stream")
RAW_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(_TYPES, _RAW)}}
_TEMPLATE_TYPES = {"csv": "text/csv; charset=utf-8", "xlsx": _XLSX}


class TemplateFormat(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"


async def raw_body(request: Request) -> bytes:
    """The body as it came; its size and time are bounded before."""
    return await request.body()


# Asynchronous only because they wait for nothing: plain functions would be sent through a worker thread.
async def _key(
    x_tocsin_key: str | None = Header(default=None),
    bearer: HTTPAuthorizationCredentials | None = Depends(_bearer),
) -> str:
    """The key as the request shows it."""
    return x_tocsin_key or (bearer.credentials if bearer is not None else "")


async def _signed_by(
    x_tocsin_time: str = Header(default="", max_length=KEY_CHARS_MAX),
    x_tocsin_signature: str = Header(default="", max_length=KEY_CHARS_MAX),
) -> SignedBy:
    """The request's own signature, for feeds that sign."""
    return SignedBy(x_tocsin_time, x_tocsin_signature)


def feeds_router(deps: WebDeps, taking: Taking) -> APIRouter:
    """One address per feed and format."""
    router = APIRouter(tags=["feeds"])
    keys = FeedKeys(deps)
    limits = FeedLimits(deps.clock.mono_us)

    async def turn(feed_id: str, key: str = Depends(_key)) -> AsyncIterator[None]:
        """Wait for the feed's own turn, or be refused, before a worker thread is taken."""
        share = limits.early(key_digest(feed_id, key))
        if share is None:
            yield
            return
        async with share.turns:
            yield

    @router.post(
        "/api/feeds/{feed_id}/{format}",
        status_code=202,
        response_model=FeedAnswer,
        openapi_extra=RAW_BODY,
        dependencies=[Depends(turn)],
    )
    def message(
        feed_id: str,
        format: str,
        request: Request,
        key: str = Depends(_key),
        by: SignedBy = Depends(_signed_by),
        raw: bytes = Depends(raw_body),
    ) -> FeedAnswer | JSONResponse:
        """One message of the feed. 202 once its signals are committed; 422 when it can't be read."""
        feed, now_us = keys.feed(feed_id, key, address_of(request))
        limits.count(feed, key_digest(feed_id, key))
        if format not in FEEDS:
            raise NotFound(f"format {format[:FORMAT_CHARS_MAX]}")
        if feed.format != format:
            raise FeedFormatDiffers(feed.format)
        with keys.signed(feed, f"/api/feeds/{feed.id}/{format}", by, raw, now_us):
            found = taking.read(feed, format, raw, now_us)
            limits.spend(feed, len(found.signals))
            if not found.signals or any(p.severity == "error" for p in found.problems):
                taking.keep_unread(f"feed/{feed.id}", raw, found, now_us)
            return taking.take(found) if found.signals else not_read(found)

    content = dict.fromkeys(_TEMPLATE_TYPES.values(), _RAW)

    @router.get("/api/feeds/template.{format}", response_class=Response, responses={200: {"content": content}})
    def table_template(format: TemplateFormat) -> Response:
        """The empty table for departments that have only a spreadsheet. It holds nothing of this city."""
        headers = {"Content-Disposition": f'attachment; filename="tocsin-template.{format}"'}
        return Response(template(format), media_type=_TEMPLATE_TYPES[format], headers=headers)

    return router
