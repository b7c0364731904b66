"""The clock's page: what is trusted, and an administrator who confirms the time after a jump."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from services.dispatcher.engine.rows import Stream
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.web.api import Api, refusal

TWO_HOURS_US = 7_200 * SECOND_US


class JumpingClock(builders.StoppedClock):
    """What a test says puts the wall clock by, against the monotonic one."""

    jumped_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.jumped_us


@pytest.fixture
def clock() -> JumpingClock:
    return JumpingClock()


@pytest.fixture
def api(clock: JumpingClock) -> Iterator[Api]:
    found = Api(builders.town(clock=clock))
    with found.client:
        yield found


def test_a_clock_in_order_is_shown_as_such_and_not_confirmed(api: Api) -> None:
    shown = api.get("duty", "/api/clock").json()
    assert shown == {
        "well": True,
        "trusted_us": NOON_US,
        "shown_us": NOON_US,
        "jump_us": 0,
        "since_us": 0,
        "moved": "",
        "serial": 0,
        "words": "the clock is in order",
        "words_zh": "时钟正常",
    }
    answer = api.post("admin", "/api/clock/confirm", {"serial": 0, "why": "by the radio"})
    assert refusal(answer) == (409, "clock_in_order")


def test_an_administrator_confirms_the_time_that_was_looked_at(api: Api, clock: JumpingClock) -> None:
    api.token("admin")
    clock.jumped_us = TWO_HOURS_US
    shown = api.get("admin", "/api/clock").json()
    assert (shown["well"], shown["trusted_us"], shown["shown_us"]) == (False, NOON_US, NOON_US + TWO_HOURS_US)
    assert (shown["jump_us"], shown["since_us"], shown["moved"]) == (TWO_HOURS_US, NOON_US, "machine")
    body = {"serial": shown["serial"], "why": "by the radio"}
    after = api.post("admin", "/api/clock/confirm", body).json()
    assert (after["well"], after["trusted_us"], after["jump_us"]) == (True, NOON_US + TWO_HOURS_US, 0)
    with api.town.store.read() as read:
        (row,) = [row for row in read.log_of("clock") if row.kind == "clock.confirmed"]
    assert row.person and "by the radio" in row.body and str(TWO_HOURS_US) in row.body
    assert refusal(api.post("admin", "/api/clock/confirm", body)) == (409, "clock_in_order")


def test_a_clock_that_moved_on_since_is_looked_at_again(api: Api, clock: JumpingClock) -> None:
    clock.jumped_us = TWO_HOURS_US
    serial = api.get("admin", "/api/clock").json()["serial"]
    clock.jumped_us = 0
    api.get("admin", "/api/clock")
    clock.jumped_us = -TWO_HOURS_US
    answer = api.post("admin", "/api/clock/confirm", {"serial": serial, "why": "by the radio"})
    assert refusal(answer) == (409, "clock_moved_on")


def test_a_time_that_was_put_back_behind_what_is_signed_is_red_until_speakers_take_orders_again(
    api: Api, clock: JumpingClock
) -> None:
    """A wrong time was confirmed, manifests were signed by it, and the right one is confirmed again."""
    api.token("admin")
    confirm(api, clock, TWO_HOURS_US)
    with api.town.store.write() as tx:
        tx.put(Stream("topic", "area", "exercise", "city", tx.now_us() // 1_000, signed=b"signed"))
    assert health(api)["well"]
    confirm(api, clock, 0)
    red = health(api)
    assert not red["well"] and "nothing new before 2025-06-15 16:56:40 UTC" in red["still_works"]
    assert "16:56:40" in red["still_works_zh"]
    api.town.clock.advance(110 * 60 - 1)
    assert not health(api)["well"]
    api.town.clock.advance(1)
    assert health(api)["well"]


def confirm(api: Api, clock: JumpingClock, jumped_us: int) -> None:
    clock.jumped_us = jumped_us
    serial = api.get("admin", "/api/clock").json()["serial"]
    answer = api.post("admin", "/api/clock/confirm", {"serial": serial, "why": "by the radio"})
    assert answer.status_code == 200, answer.text


def health(api: Api) -> dict[str, Any]:
    (part,) = [p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "clock"]
    return dict(part)


@pytest.mark.parametrize("who", ["duty", "chief", "street"])
def test_nobody_but_an_administrator_confirms_the_time(api: Api, clock: JumpingClock, who: str) -> None:
    clock.jumped_us = TWO_HOURS_US
    answer = api.post(who, "/api/clock/confirm", {"serial": 1, "why": "by the radio"})
    assert refusal(answer) == (403, "not_allowed")
    assert not api.get("admin", "/api/clock").json()["well"]
