"""Bounds on what arrives, asked in plain ASGI, where a sender can be slow, endless or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from services.dispatcher.web.bodies import BODY_BYTES_MAX, BoundedBodies

Message = dict[str, Any]


class Exchange:
    """One request sent in parts, and what came back."""

    def __init__(self, *parts: Message, path: str = "/api/x", headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        self._parts = list(parts)
        self._scope = {"type": "http", "method": "POST", "path": path, "headers": list(headers)}
        self.answers: list[Message] = []
        self.counted: list[int] = []
        self.body: bytes | None = None

    def run(self, read_s_max: float = 10.0) -> Exchange:
        app = BoundedBodies(self._app, self.counted.append, read_s_max)
        asyncio.run(app(self._scope, self._receive, self._send))
        return self

    async def _receive(self) -> Message:
        if not self._parts:
            await asyncio.Event().wait()
        return self._parts.pop(0)

    async def _send(self, message: Any) -> None:
        self.answers.append(message)

    async def _app(
        self, scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
    ) -> None:
        self.body = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": [(b"cache-control", b"private")]})
        await send({"type": "http.response.body", "body": b""})

    @property
    def status(self) -> int | None:
        return self.answers[0]["status"] if self.answers else None


def part(body: bytes, *, more: bool = False) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


def test_a_body_in_parts_reaches_the_app_whole() -> None:
    exchange = Exchange(part(b"a", more=True), part(b"", more=True), part(b"b")).run()
    assert (exchange.body, exchange.status, exchange.counted) == (b"ab", 200, [200])


def test_a_body_of_exactly_the_limit_is_taken_and_one_more_byte_is_not() -> None:
    assert Exchange(part(b"x" * BODY_BYTES_MAX)).run().status == 200
    refused = Exchange(part(b"x" * BODY_BYTES_MAX, more=True), part(b"x")).run()
    assert (refused.body, refused.status) == (None, 413)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_read() -> None:
    length = (b"content-length", str(BODY_BYTES_MAX + 1).encode())
    refused = Exchange(headers=(length,)).run()
    assert (refused.status, dict(refused.answers[0]["headers"])[b"connection"]) == (413, b"close")


def test_a_sender_that_never_ends_is_told_that_it_took_too_long() -> None:
    assert Exchange(part(b"a", more=True)).run(read_s_max=0.0).status == 408


def test_a_sender_that_leaves_gets_no_answer_and_reaches_nothing() -> None:
    left = Exchange(part(b"a", more=True), {"type": "http.disconnect"}).run()
    assert (left.body, left.answers, left.counted) == (None, [], [])


def test_answers_of_the_api_are_not_stored_unless_they_say_so() -> None:
    exchange = Exchange(part(b"")).run()
    assert exchange.answers[0]["headers"] == [
        (b"cache-control", b"private"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"x-frame-options", b"DENY"),
    ]
    refused = Exchange(headers=((b"content-length", b"99999999"),)).run()
    assert dict(refused.answers[0]["headers"])[b"cache-control"] == b"no-store"
