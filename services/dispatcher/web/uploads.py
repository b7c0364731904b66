"""Files that people hand in for a department: read and shown first, taken only as they were shown.

Whoever hands in a file vouches for it with their name, which stands on every signal and in the log. It is a person's
word then and not the department's own wire, unless the department's signature on it holds.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace

from fastapi import APIRouter, Depends, Query
from fastapi.responses import JSONResponse

from ..domain.refusals import ContentChanged, NotFound
from ..domain.signals import BY_HAND, Evidence, Feed, Problem, Reading, Signal
from ..engine import desk
from ..engine.people import Role
from ..engine.ports import Page
from ..engine.rows import Person
from ..engine.signals import identifiers
from ..feeds import FEEDS
from ..feeds.detect import detect
from ..feeds.report import clean
from ..feeds.signed import PROVED
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .feeds import FORMAT_CHARS_MAX, RAW_BODY, raw_body
from .problems import FeedDisabled
from .schemas import FeedChoice, FeedChoices, SignalView, UploadSignal, UploadView
from .taking import Taking, not_read, shown

ID_CHARS_MAX = 64
FILE_NAME_CHARS_MAX = 200
FEEDS_SHOWN_MAX = 2_000


def uploads_router(deps: WebDeps, gate: Gate, taking: Taking) -> APIRouter:
    """Files for feeds, from the desk and from administrators."""
    router = APIRouter(tags=["feeds"])
    officer = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))

    @router.get("/api/uploads/feeds")
    def choices(_: Caller = officer) -> FeedChoices:
        """The feeds that a file may be handed in for."""
        with deps.store.read() as read:
            rows = read.find(Feed, Page(limit=FEEDS_SHOWN_MAX), enabled=True)
        return FeedChoices(feeds=[FeedChoice.model_validate(row) for row in rows])

    @router.post("/api/uploads", response_model=UploadView, openapi_extra=RAW_BODY)
    def upload(
        feed: str = Query(min_length=1, max_length=ID_CHARS_MAX, description="The feed that the file speaks for."),
        format: str = Query(default="", max_length=FORMAT_CHARS_MAX, description="Empty: told by how it begins."),
        name: str = Query(default="", max_length=FILE_NAME_CHARS_MAX, description="The file's name, for the log."),
        dry_run: bool = Query(default=False, description="Say what would be taken, and take nothing."),
        content: str = Query(default="", max_length=64, description="What the dry run said of its content."),
        caller: Caller = officer,
        raw: bytes = Depends(raw_body),
    ) -> UploadView | JSONResponse:
        """A file of at most 4 MB. Without `dry_run` it is taken, if it still says what `content` stands for."""
        with deps.store.read() as read:
            source, now_us = read.get(Feed, feed), read.now_us()
        if source is None:
            raise NotFound(f"feed {feed}")
        if not source.enabled:
            raise FeedDisabled
        told = format or detect(raw)
        if told not in FEEDS:
            raise NotFound(f"format {told}")
        found = _by_hand(taking.read(replace(source, format=told), told, raw, now_us), source, caller.person)
        digest = content_of(source.id, told, found)
        view = _view(source, told, clean(name), raw, digest, found)
        if dry_run:
            return _with_states(deps, view, found)
        if digest != content:
            raise ContentChanged
        if not found.signals or any(p.severity == "error" for p in found.problems):
            taking.keep_unread(f"upload/{source.id}/{caller.person.id}", raw, found, now_us)
        if not found.signals:
            return not_read(found)
        view = _with_states(deps, view, found)
        view.answer = taking.take(found)
        facts: dict[str, object] = {"name": view.name, "bytes": view.bytes, "sha256": view.sha256, "format": told}
        desk.record_upload(deps.store, source.id, len(found.signals), caller.person.id, facts)
        return view

    return router


def content_of(feed_id: str, format: str, found: Reading) -> str:
    """What a reading would take, as 64 hexadecimal digits; the moment of reading does not count."""
    said = [asdict(replace(s, received_us=0, observed_us=0, problems=())) for s in found.signals]
    text = json.dumps([feed_id, format, said], sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _by_hand(found: Reading, feed: Feed, person: Person) -> Reading:
    said = f"{person.name} handed this in as a file for {feed.name}."
    problem = Problem("warning", BY_HAND, "", said)
    return Reading(tuple(_vouched(signal, problem) for signal in found.signals), found.problems)


def _vouched(signal: Signal, problem: Problem) -> Signal:
    by_wire = signal.evidence is Evidence.AUTHORITY and signal.signature not in PROVED
    evidence = Evidence.PERSON if by_wire else signal.evidence
    return replace(signal, evidence=evidence, problems=(*signal.problems, problem))


def _view(feed: Feed, format: str, name: str, raw: bytes, digest: str, found: Reading) -> UploadView:
    return UploadView(
        feed=feed.id,
        format=format,
        name=name,
        bytes=len(raw),
        sha256=hashlib.sha256(raw).hexdigest(),
        content=digest,
        signals=[],
        problems=shown(found.problems),
    )


def _with_states(deps: WebDeps, view: UploadView, found: Reading) -> UploadView:
    """The view with every signal, and what the database makes of each."""
    with deps.store.read() as read:
        view.signals = [
            UploadSignal(signal=SignalView.model_validate(signal), state=identifiers.state_of(read, signal))
            for signal in found.signals
        ]
    return view
