"""The clock's page: what is trusted, and an administrator who confirms the time after a jump."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.web.api import Api, refusal

TWO_HOURS_US = 7_200 * SECOND_US


class JumpingClock(builders.StoppedClock):
    """The monotonic clock stands; what a test says puts the wall clock by."""

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


@pytest.mark.parametrize("who", ["duty", "chief", "street"])
def test_nobody_but_an_administrator_confirms_the_time(api: Api, clock: JumpingClock, who: str) -> None:
    clock.jumped_us = TWO_HOURS_US
    answer = api.post(who, "/api/clock/confirm", {"serial": 1, "why": "by the radio"})
    assert refusal(answer) == (403, "not_allowed")
    assert not api.get("admin", "/api/clock").json()["well"]
