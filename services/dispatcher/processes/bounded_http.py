"""HTTP/1.1 connections that must say what they want in time: uvicorn bounds a body's size and an idle pause, not how
long the head of a request may take. A client that sends a byte a second would hold its connection for ever.
"""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..web.problems import by_status

HEAD_S_MAX = 10.0


class BoundedConnection(H11Protocol):
    """From the connection, or from the answer before, to the end of the next head: at most `HEAD_S_MAX` seconds."""

    head_s_max = HEAD_S_MAX
    _head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        self._forget()
        super().handle_websocket_upgrade(event)

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        """Bytes that trickle in don't move the deadline."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget()
        elif self._head_deadline is None and not self.transport.is_closing():
            self._head_deadline = self.loop.call_later(self.head_s_max, self._too_slow)

    def _forget(self) -> None:
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None

    def _too_slow(self) -> None:
        self._head_deadline = None
        begun, _ = self.conn.trailing_data
        if begun and not self.transport.is_closing():
            answer = by_status(408, detail=f"a head within {self.head_s_max:g} s")
            lines = [f"content-type: {answer.media_type}", f"content-length: {len(answer.body)}", "connection: close"]
            head = "\r\n".join(("HTTP/1.1 408 Request Timeout", *lines, "", "")).encode()
            self.transport.write(head + bytes(answer.body))
        self.transport.close()
