"""Bounds on what arrives and headers on what leaves, around the whole app: plain ASGI, no knowledge of the API.

A body is read whole before anything else runs, up to a size and within a time, so that a slow or endless sender
holds neither a worker thread nor memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import by_status

BODY_BYTES_MAX = 65_536
FEED_BODY_BYTES_MAX = 1_048_576
BODY_READ_S_MAX = 10.0
FEED_PATHS = "/api/feeds/"

_NO_STORE = (b"cache-control", b"no-store")
_HARDENING = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class BoundedBodies:
    """ASGI middleware. 413 beyond the size, 408 beyond the time; a sender that leaves is given no answer."""

    def __init__(self, app: ASGIApp, count: Callable[[int], None], read_s_max: float = BODY_READ_S_MAX) -> None:
        self._app = app
        self._count = count
        self._read_s_max = read_s_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _hardened(scope["path"], send, self._count)
        bytes_max = FEED_BODY_BYTES_MAX if scope["path"].startswith(FEED_PATHS) else BODY_BYTES_MAX
        if _length_said(scope) > bytes_max:
            await _refuse(413, f"at most {bytes_max} bytes", scope, receive, sending)
            return
        try:
            async with asyncio.timeout(self._read_s_max):
                body = await _read(receive, bytes_max)
        except TimeoutError:
            await _refuse(408, f"within {self._read_s_max:g} s", scope, receive, sending)
            return
        except _Left:
            return
        except _TooBig:
            await _refuse(413, f"at most {bytes_max} bytes", scope, receive, sending)
            return
        await self._app(scope, _replay(body, receive), sending)


class _Left(Exception):
    pass


class _TooBig(Exception):
    pass


async def _read(receive: Receive, bytes_max: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Left
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > bytes_max:
            raise _TooBig
        if not message.get("more_body", False):
            return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _length_said(scope: Scope) -> int:
    said = dict(scope["headers"]).get(b"content-length", b"")
    return int(said) if said.isdigit() and len(said) < 20 else 0


async def _refuse(status: int, detail: str, scope: Scope, receive: Receive, send: Send) -> None:
    # What is left of the body is not read, so the connection can't carry another request.
    response = by_status(status, detail=detail, headers={"Connection": "close"})
    await response(scope, receive, send)


def _hardened(path: str, send: Send, count: Callable[[int], None]) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            count(message["status"])
            headers = list(message.get("headers", []))
            named = {name for name, _ in headers}
            extra = (*_HARDENING, _NO_STORE) if path.startswith("/api/") else _HARDENING
            headers += [(name, value) for name, value in extra if name not in named]
            message = {**message, "headers": headers}
        await send(message)

    return sending
