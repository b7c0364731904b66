"""The gateway's desk for fire panels: sends requests on the lines it holds, and writes down who was heard.

Requests are rows; whichever gateway has the panel on a line takes them. What came back is kept until it is written.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future

from devices.protocols.gb26875 import TimeTag
from devices.protocols.gb26875_objects import DeviceClock, DutyCheck
from devices.protocols.gb26875_units import encode_unit

from ..adapters.gb26875_heard import PanelHeard
from ..adapters.gb26875_line import Reply
from ..adapters.gb26875_server import PanelServer
from ..domain.panels import (
    CLOCK_OFF_US,
    TO_SEND,
    Confirmed,
    Denied,
    PanelRequest,
    RequestEvent,
    RequestKind,
    RequestTaken,
    Unheard,
    may_take,
)
from ..domain.rhythm import SourceKind, source_id
from ..engine.engine import EVENTS_MAX, Engine
from ..engine.events import PanelClockOff, PanelReplied, SourceHeard
from ..engine.ports import Page, Store
from ..engine.rows import PanelLive
from ..engine.sources.panels import StrangerHeard, note_heard, note_strangers

SET_CLOCK_TYPE, DUTY_CHECK_TYPE = 90, 91
REQUESTS_MAX = 1_000
HEARD_EVERY_S = 5.0
CLOCK_AGAIN_S = 3_600.0
"""How often a clock that stays off is brought up; the engine sets it at most once a day."""


class PanelDesk:
    """`run` is one pass, in a thread of its own; `owner` names this gateway."""

    def __init__(self, store: Store, engine: Engine, owner: str, wake: Callable[[], None]) -> None:
        self._store = store
        self._engine = engine
        self._owner = owner
        self._wake = wake
        self._server: PanelServer | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._replies: deque[tuple[PanelRequest, Reply]] = deque()
        self._under_way: set[str] = set()
        self._lock = threading.Lock()
        self._heard_at = float("-inf")
        self._clock_at: dict[str, float] = {}

    def open(self, server: PanelServer, loop: asyncio.AbstractEventLoop) -> None:
        """The server listens on this event loop."""
        self._server, self._loop = server, loop

    def run(self) -> bool:
        """Write down replies, send what is to be sent, and now and then who was heard; False: look again later."""
        if self._server is None:
            return False
        self._write_replies()
        self._send()
        if time.monotonic() >= self._heard_at + HEARD_EVERY_S:
            self._heard_at = time.monotonic()
            self.write_heard()
        return False

    def _write_replies(self) -> None:
        while self._replies:
            request, reply = self._replies[0]
            self._engine.handle([PanelReplied(request.id, self._event_of(reply))])
            self._replies.popleft()
            with self._lock:
                self._under_way.discard(request.id)

    def _event_of(self, reply: Reply) -> RequestEvent:
        match reply:
            case Reply.CONFIRMED:
                return Confirmed()
            case Reply.DENIED:
                return Denied()
            case Reply.UNHEARD:
                return Unheard(self._owner)

    def _send(self) -> None:
        assert self._server is not None and self._loop is not None
        with self._store.read() as read:
            now_us = read.now_us()
            waiting = read.find(PanelRequest, Page(limit=REQUESTS_MAX), state=TO_SEND)
        for request in waiting:
            if request.id in self._under_way or not may_take(request, now_us) or not self._server.holds(request.panel):
                continue
            self._engine.handle([PanelReplied(request.id, RequestTaken(self._owner))])
            with self._store.read() as read:
                taken = read.get(PanelRequest, request.id)
            if taken is None or taken.gateway != self._owner or taken.state not in TO_SEND:
                continue
            with self._lock:
                self._under_way.add(request.id)
            asked = asyncio.run_coroutine_threadsafe(self._server.ask(request.panel, _unit_of(request)), self._loop)
            asked.add_done_callback(lambda done, request=request: self._came(request, done))  # type: ignore[misc]

    def _came(self, request: PanelRequest, done: Future[Reply]) -> None:
        failed = done.cancelled() or done.exception() is not None
        self._replies.append((request, Reply.UNHEARD if failed else done.result()))
        self._wake()

    def write_heard(self) -> None:
        """Write down who was heard since the last time; what can't be written now is written later."""
        assert self._server is not None
        panels, strangers = self._server.heard.take()
        try:
            spoke = [SourceHeard(source_id(SourceKind.PANEL, p.panel), p.at_us) for p in panels]
            for start in range(0, len(spoke), EVENTS_MAX):
                self._engine.handle(spoke[start : start + EVENTS_MAX])
            rows = [PanelLive(p.panel, self._owner, p.peer, p.at_us, p.clock_off_s) for p in panels]
            note_heard(self._store, rows)
            note_strangers(
                self._store, [StrangerHeard(s.address, s.peer, s.frames, s.first_us, s.last_us) for s in strangers]
            )
        except BaseException:
            self._server.heard.give_back(panels, strangers)
            raise
        for panel in filter(_clock_is_off, panels):
            if time.monotonic() >= self._clock_at.get(panel.panel, float("-inf")):
                self._engine.handle([PanelClockOff(panel.panel, panel.clock_off_s)])
                self._clock_at[panel.panel] = time.monotonic() + CLOCK_AGAIN_S


def _clock_is_off(panel: PanelHeard) -> bool:
    """A device without a clock says zero, and has none to set."""
    if panel.clockless:
        return False
    return panel.clock_off_s is None or abs(panel.clock_off_s) * 1_000_000 > CLOCK_OFF_US


def _unit_of(request: PanelRequest) -> Callable[[TimeTag], bytes]:
    if request.kind is RequestKind.SET_CLOCK:
        return lambda now: encode_unit(SET_CLOCK_TYPE, [DeviceClock(now)])
    return lambda _: encode_unit(DUTY_CHECK_TYPE, [DutyCheck(request.minutes)])
