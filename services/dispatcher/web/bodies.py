"""Bounds on what arrives and headers on what leaves, around the whole app: plain ASGI, no knowledge of the API.

A body is read whole before anything else runs, up to a size and within a time, so that a slow or endless sender
holds neither a worker thread nor memory. What bodies hold beyond their first part counts together, so that many large
ones at once can't fill the memory while small ones, which most messages are, always pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import by_status

BODY_BYTES_MAX = 65_536
FEED_BODY_BYTES_MAX = 1_048_576
BODY_READ_S_MAX = 10.0
UPLOAD_BYTES_MAX = 4_194_304
LARGE_BYTES_TOGETHER_MAX = 67_108_864
RETRY_BUSY_S = 2
LINGER_S_MAX = 2.0
LINGER_BYTES_MAX = 134_217_728
FEED_PATHS = "/api/feeds/"
UPLOAD_PATHS = "/api/uploads"

_NO_STORE = (b"cache-control", b"no-store")
_HARDENING = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)


class BoundedBodies:
    """ASGI middleware. 413 beyond the size, 408 beyond the time, 415 for what is compressed, 503 when large bodies
    fill their share; a sender that leaves is given no answer."""

    def __init__(
        self,
        app: ASGIApp,
        count: Callable[[int], None],
        read_s_max: float = BODY_READ_S_MAX,
        together_max: int = LARGE_BYTES_TOGETHER_MAX,
        linger_s_max: float = LINGER_S_MAX,
    ) -> None:
        self._app = app
        self._count = count
        self._read_s_max = read_s_max
        self._linger_s_max = linger_s_max
        self._large = _Large(together_max)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sending = _hardened(scope["path"], send, self._count)
        bytes_max = _bytes_max(scope["path"])
        if _header(scope, b"content-encoding").strip().lower() not in (b"", b"identity"):
            await self._refuse(415, "", scope, receive, sending)
            return
        if _length_said(scope) > bytes_max:
            await self._refuse(413, f"at most {bytes_max} bytes", scope, receive, sending)
            return
        with self._large.share() as share:
            await self._take(bytes_max, share, scope, receive, sending)

    async def _take(self, bytes_max: int, share: _Share, scope: Scope, receive: Receive, sending: Send) -> None:
        try:
            async with asyncio.timeout(self._read_s_max):
                body = await _read(receive, bytes_max, share)
        except TimeoutError:
            await self._refuse(408, f"within {self._read_s_max:g} s", scope, receive, sending)
            return
        except _Left:
            return
        except _Busy:
            await self._refuse(503, "", scope, receive, sending, {"Retry-After": str(RETRY_BUSY_S)})
            return
        except _TooBig:
            await self._refuse(413, f"at most {bytes_max} bytes", scope, receive, sending)
            return
        await self._app(scope, _replay(body, receive), sending)

    async def _refuse(
        self,
        status: int,
        detail: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        # What is left of the body is not taken, so the connection can't carry another request.
        response = by_status(status, detail=detail, headers={"Connection": "close", **(headers or {})})
        awaited = _header(scope, b"expect").lower() == b"100-continue"

        async def lingering(message: Message) -> None:
            if message["type"] != "http.response.body" or awaited:
                await send(message)
                return
            await send({**message, "more_body": True})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._linger_s_max):
                    await _discard(receive)
            await send({"type": "http.response.body", "body": b""})

        await response(scope, receive, lingering)


class _Left(Exception):
    pass


class _TooBig(Exception):
    pass


class _Busy(Exception):
    pass


@dataclass(slots=True)
class _Share:
    """What one body holds of what large bodies may hold together."""

    of: _Large
    bytes: int = 0

    def grow(self, size: int) -> None:
        """Raises _Busy when a body of this size would not fit beside the others."""
        more = max(0, size - BODY_BYTES_MAX) - self.bytes
        if more > 0 and self.of.held + more > self.of.together_max:
            raise _Busy
        self.bytes += more
        self.of.held += more


class _Large:
    """How much large bodies hold now. The event loop alone touches it."""

    def __init__(self, together_max: int) -> None:
        self.together_max = together_max
        self.held = 0

    @contextmanager
    def share(self) -> Iterator[_Share]:
        share = _Share(self)
        try:
            yield share
        finally:
            self.held -= share.bytes


def _bytes_max(path: str) -> int:
    if path.startswith(FEED_PATHS):
        return FEED_BODY_BYTES_MAX
    return UPLOAD_BYTES_MAX if path.startswith(UPLOAD_PATHS) else BODY_BYTES_MAX


async def _read(receive: Receive, bytes_max: int, share: _Share) -> bytes:
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
        share.grow(size)
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
    said = _header(scope, b"content-length")
    return int(said) if said.isdigit() and len(said) < 20 else 0


def _header(scope: Scope, name: bytes) -> bytes:
    found: bytes = dict(scope["headers"]).get(name, b"")
    return found


async def _discard(receive: Receive) -> None:
    """Read what a refused sender still sends: closing on unread bytes would take the answer away from it again."""
    size = 0
    while size <= LINGER_BYTES_MAX:
        message = await receive()
        size += len(message.get("body", b""))
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            return


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
