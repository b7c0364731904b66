"""Bounds on what arrives, asked in plain ASGI, where a sender can be slow, endless or gone."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

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

    def run(self, read_s_max: float = 10.0, linger_s_max: float = 0.0, together_max: int = 10**9) -> Exchange:
        app = BoundedBodies(self._app, self.counted.append, read_s_max, together_max, linger_s_max)
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


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"br", b"gzip, identity"])
def test_a_compressed_body_is_refused_and_nothing_is_unpacked(encoding: bytes) -> None:
    exchange = Exchange(part(b"x"), headers=((b"content-encoding", encoding),)).run()
    assert (exchange.body, exchange.status) == (None, 415)
    assert Exchange(part(b"x"), headers=((b"content-encoding", b" Identity"),)).run().status == 200


def test_what_a_refused_sender_still_sends_is_read_away_after_it_has_its_answer() -> None:
    """Closing upon unread bytes resets the connection, and with it goes the answer."""
    parts = [part(b"x" * 10_000, more=True) for _ in range(20)]
    exchange = Exchange(*parts, part(b"end"))
    exchange.run(linger_s_max=10.0)
    assert (exchange.status, exchange._parts) == (413, [])
    assert [answer.get("more_body") for answer in exchange.answers] == [None, True, None]


def test_who_asks_before_sending_is_answered_at_once() -> None:
    headers = ((b"content-length", b"99999999"), (b"expect", b"100-continue"))
    exchange = Exchange(part(b"x"), headers=headers).run(linger_s_max=10.0)
    assert (exchange.status, len(exchange._parts)) == (413, 1)


def test_large_bodies_share_what_they_may_hold_and_small_ones_always_pass() -> None:
    large = part(b"x" * (BODY_BYTES_MAX + 100))
    path = "/api/feeds/weather/cap"
    assert Exchange(large, path=path).run(together_max=100).status == 200
    refused = Exchange(large, path=path).run(together_max=99)
    assert (refused.status, dict(refused.answers[0]["headers"])[b"retry-after"]) == (503, b"2")
    assert Exchange(part(b"x" * BODY_BYTES_MAX), path=path).run(together_max=0).status == 200


def test_what_a_large_body_held_is_free_when_it_is_answered() -> None:
    held: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        held.append(bounded._large.held)
        raise ValueError

    bounded = BoundedBodies(app, lambda status: None)

    async def receive() -> Any:
        return part(b"x" * (BODY_BYTES_MAX + 7))

    async def send(message: Any) -> None:
        """Nothing is sent."""

    scope: Any = {"type": "http", "method": "POST", "path": "/api/feeds/a/cap", "headers": []}
    with pytest.raises(ValueError):
        asyncio.run(bounded(scope, receive, send))
    assert (held, bounded._large.held) == ([7], 0)
