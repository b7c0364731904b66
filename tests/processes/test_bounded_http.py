"""A real server on a real port, and clients that take their time: they end, and nobody else notices."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager

import httpx
import pytest
import uvicorn

from services.dispatcher.processes.bounded_http import BoundedConnection
from services.dispatcher.web.app import create_app
from tests import builders
from tests.web.api import Api

KEY = "feed-key-of-the-weather-bureau"
SLOW_CLIENTS = 60
HEAD = b"POST /api/feeds/weather/cap HTTP/1.1\r\nHost: tocsin\r\nContent-Length: 1000\r\n"


class Hurried(BoundedConnection):
    """As in production, with less patience than a test has."""

    head_s_max = 0.1


@contextmanager
def serving(api: Api, connection: type[BoundedConnection] = BoundedConnection) -> Iterator[tuple[str, int]]:
    server = uvicorn.Server(uvicorn.Config(create_app(api.deps), log_level="error", http=connection))
    with closing(socket.create_server(("127.0.0.1", 0), backlog=128)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def api() -> Api:
    api = Api(builders.town())
    api.enrol_feed()
    # A registry holds one app's counts: the client of `api` is not used here.
    return Api(api.town)


def connected(address: tuple[str, int], said: bytes) -> socket.socket:
    client = socket.create_connection(address, timeout=30)
    client.sendall(said)
    return client


def all_of(client: socket.socket) -> bytes:
    """What comes until the server closes."""
    parts = []
    while part := client.recv(65_536):
        parts.append(part)
    return b"".join(parts)


def report(address: tuple[str, int], content: bytes, feed: str = "weather", key: str = KEY) -> httpx.Response:
    url = f"http://{address[0]}:{address[1]}/api/feeds/{feed}/cap"
    return httpx.post(url, content=content, headers={"X-Tocsin-Key": key}, timeout=30, trust_env=False)


def test_a_head_that_takes_too_long_is_answered_and_closed(api: Api) -> None:
    with serving(api, Hurried) as address, closing(connected(address, HEAD)) as client:
        head, _, body = all_of(client).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/problem+json")
        assert json.loads(body)["code"] == "body_too_slow"


def test_who_connects_and_says_nothing_is_left(api: Api) -> None:
    with serving(api, Hurried) as address, closing(connected(address, b"")) as client:
        assert all_of(client) == b""


def test_the_next_head_on_a_kept_connection_has_its_own_time(api: Api) -> None:
    health = b"GET /api/feeds/template.csv HTTP/1.1\r\nHost: tocsin\r\n\r\n"
    with serving(api, Hurried) as address, closing(connected(address, health + health[:20])) as client:
        said = all_of(client)
        assert (said.count(b"HTTP/1.1 200 OK"), said.count(b"HTTP/1.1 408")) == (1, 1)


def test_slow_senders_of_heads_and_of_bodies_hold_nobody_else_up(api: Api) -> None:
    with serving(api) as address, ExitStack() as held:
        for number in range(SLOW_CLIENTS):
            said = HEAD if number % 2 else HEAD + b"\r\n<"
            held.enter_context(closing(connected(address, said)))
        answers = [report(address, builders.cap_alert(f"storm-{number}")) for number in range(20)]
        assert [answer.status_code for answer in answers] == [202] * 20


def test_a_flood_on_one_feed_is_held_to_its_limit_and_another_feed_is_answered(api: Api) -> None:
    api.enrol_feed(requests_per_minute=5)
    api.enrol_feed("key-of-the-fire-brigade", id="brigade")

    def flood(number: int) -> int:
        return report(address, builders.cap_alert(f"flood-{number}")).status_code

    with serving(api) as address, ThreadPoolExecutor(16) as pool:
        flooding = pool.map(flood, range(100))
        others = [
            report(address, builders.cap_alert(f"fire-{number}"), "brigade", "key-of-the-fire-brigade").status_code
            for number in range(10)
        ]
        assert others == [202] * 10
        assert sorted(flooding) == [202] * 5 + [429] * 95


@pytest.mark.parametrize("length_said", [True, False])
def test_fifty_megabytes_are_refused_with_a_sentence_that_arrives(api: Api, length_said: bool) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(50):
            yield b"x" * 1_000_000

    with serving(api) as address:
        url = f"http://{address[0]}:{address[1]}/api/feeds/weather/cap"
        headers = {"X-Tocsin-Key": KEY, **({"Content-Length": "50000000"} if length_said else {})}
        answer = httpx.post(url, content=pieces(), headers=headers, timeout=30, trust_env=False)
        assert (answer.status_code, answer.json()["code"]) == (413, "body_too_big")
        assert report(address, builders.cap_alert()).status_code == 202
