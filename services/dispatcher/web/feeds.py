"""Intake of department feeds over HTTP: the feed's own key, its message as raw bytes, an answer after commit.

A message that can't be read is kept as unread and answered with its problems; one of which a part can't be read is
accepted in its other parts, and kept as unread as well. Keys are checked with argon2 once, and
then by digest in bounded memory, so that a busy feed costs no more than a lookup.
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from enum import StrEnum

from fastapi import APIRouter, Depends, Header, Request
from fastapi.responses import JSONResponse, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from ..domain.refusals import NotFound
from ..domain.signals import Feed, Problem, Reading, Unread
from ..engine.engine import EVENTS_MAX
from ..engine.events import SignalArrived, UnreadArrived
from ..feeds import FEEDS
from ..feeds.table_template import template
from .auth import address_of
from .deps import WebDeps
from .intake import Intake
from .problems import FeedDisabled, FeedFormatDiffers, FeedKeyWrong, TooManyTries, problem
from .schemas import FeedAnswer, ProblemOfInput, SignalTaken
from .tries import Tries

KEY_CHARS_MAX = 256
FORMAT_CHARS_MAX = 32
KNOWN_KEYS_MAX = 4_096
WINDOW_US = 60_000_000
WRONG_KEYS_MAX = 10
UNREAD_KEPT_BYTES_MAX = 65_536
PROBLEMS_SHOWN_MAX = 100

_bearer = HTTPBearer(auto_error=False, scheme_name="FeedKey", description="The key that the feed was enrolled with.")
_RAW = {"schema": {"type": "string", "format": "binary"}}
_XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_TYPES = ("application/cap+xml", "application/json", "text/csv", _XLSX, "application/octet-stream")
_BODY = {"requestBody": {"required": True, "content": dict.fromkeys(_TYPES, _RAW)}}
_TEMPLATE_TYPES = {"csv": "text/csv; charset=utf-8", "xlsx": _XLSX}


class TemplateFormat(StrEnum):
    CSV = "csv"
    XLSX = "xlsx"


async def raw_body(request: Request) -> bytes:
    """The body as it came; its size and time are bounded before."""
    return await request.body()


def feeds_router(deps: WebDeps) -> APIRouter:
    """One address per feed and format."""
    router = APIRouter(tags=["feeds"])
    keys = FeedKeys(deps)
    intake = Intake(deps.engine.handle)

    @router.post("/api/feeds/{feed_id}/{format}", status_code=202, response_model=FeedAnswer, openapi_extra=_BODY)
    def message(
        feed_id: str,
        format: str,
        request: Request,
        x_tocsin_key: str | None = Header(default=None),
        bearer: HTTPAuthorizationCredentials | None = Depends(_bearer),
        raw: bytes = Depends(raw_body),
    ) -> FeedAnswer | JSONResponse:
        """One message of the feed. 202 once its signals are committed; 422 when it can't be read."""
        key = x_tocsin_key or (bearer.credentials if bearer is not None else "")
        feed, now_us = keys.feed(feed_id, key, address_of(request))
        if format not in FEEDS:
            raise NotFound(f"format {format[:FORMAT_CHARS_MAX]}")
        if feed.format != format:
            raise FeedFormatDiffers(feed.format)
        found = FEEDS[format](raw, feed, now_us)
        if not found.signals:
            return _not_read(deps, feed, raw, found, now_us)
        if any(p.severity == "error" for p in found.problems):
            _keep_unread(deps, feed, raw, found, now_us)
        return _taken(deps, intake, found)

    content = dict.fromkeys(_TEMPLATE_TYPES.values(), _RAW)

    @router.get("/api/feeds/template.{format}", response_class=Response, responses={200: {"content": content}})
    def table_template(format: TemplateFormat) -> Response:
        """The empty table for departments that have only a spreadsheet. It holds nothing of this city."""
        headers = {"Content-Disposition": f'attachment; filename="tocsin-template.{format}"'}
        return Response(template(format), media_type=_TEMPLATE_TYPES[format], headers=headers)

    return router


def _taken(deps: WebDeps, intake: Intake, found: Reading) -> FeedAnswer:
    events = [SignalArrived(signal) for signal in found.signals]
    created: set[str] = set()
    for start in range(0, len(events), EVENTS_MAX):
        # A table may hold more than one group; what was committed of it counts as repeated when it is sent again.
        created |= intake.accept(events[start : start + EVENTS_MAX])
    deps.counts.feed_signals.labels("new").inc(len(created))
    deps.counts.feed_signals.labels("repeated").inc(len(found.signals) - len(created))
    with deps.store.read() as read:
        signals = [
            SignalTaken(key=s.key, repeated=s.key not in created, incident=read.signal_incident(s.key) or None)
            for s in found.signals
        ]
    return FeedAnswer(accepted=len(signals), signals=signals, problems=_shown(found.problems))


def _not_read(deps: WebDeps, feed: Feed, raw: bytes, found: Reading, now_us: int) -> JSONResponse:
    _keep_unread(deps, feed, raw, found, now_us)
    return problem(
        422,
        "not_read",
        "This message can't be read; it is kept and shown as unread.",
        "无法读取此消息；已作为未读输入保存并显示。",
        errors=[{"where": p.where, "code": p.code, "message": p.message} for p in found.problems[:PROBLEMS_SHOWN_MAX]],
    )


def _keep_unread(deps: WebDeps, feed: Feed, raw: bytes, found: Reading, now_us: int) -> None:
    reason = next((p.code for p in found.problems if p.severity == "error"), "not_read")
    deps.engine.handle([UnreadArrived(Unread("http", f"feed/{feed.id}", reason, raw[:UNREAD_KEPT_BYTES_MAX], now_us))])
    deps.counts.feed_unread.labels(reason).inc()


def _shown(problems: tuple[Problem, ...]) -> list[ProblemOfInput]:
    return [ProblemOfInput.model_validate(p) for p in problems[:PROBLEMS_SHOWN_MAX]]


class FeedKeys:
    """Finds the feed behind an id and a key. A key that was right once is known by its digest under that very hash."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._wrong = Tries(deps.clock.mono_us, WRONG_KEYS_MAX, WINDOW_US)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()

    def feed(self, feed_id: str, key: str, address: str) -> tuple[Feed, int]:
        """The feed, when the key is its own, and the store's time in µs UTC.

        Raises FeedKeyWrong, also for an unknown id, TooManyTries, or FeedDisabled.
        """
        with self._deps.store.read() as read:
            feed, now_us = read.get(Feed, feed_id) if len(feed_id) <= KEY_CHARS_MAX else None, read.now_us()
        try:
            self._check(feed, feed_id, key, address)
        except (FeedKeyWrong, TooManyTries) as refused:
            self._deps.counts.feed_keys.labels(refused.code).inc()
            raise
        self._deps.counts.feed_keys.labels("right").inc()
        assert feed is not None
        if not feed.enabled:
            raise FeedDisabled
        return feed, now_us

    def _check(self, feed: Feed | None, feed_id: str, key: str, address: str) -> None:
        hashed = feed.key_hash if feed is not None else self._deps.passwords.nobody
        proof = (feed_id, hashed, hashlib.sha256(key.encode()).digest())
        if self._is_known(proof):
            return
        if not 0 < len(key) <= KEY_CHARS_MAX:
            raise FeedKeyWrong
        guess = (address,)
        self._wrong.count(guess)
        if not self._deps.passwords.matches(hashed, key) or feed is None:
            raise FeedKeyWrong
        self._wrong.forget(guess)
        with self._lock:
            self._known[proof] = None
            if len(self._known) > KNOWN_KEYS_MAX:
                self._known.popitem(last=False)

    def _is_known(self, proof: tuple[str, str, bytes]) -> bool:
        with self._lock:
            if proof not in self._known:
                return False
            self._known.move_to_end(proof)
            return True
