"""Keys that change without a gap, requests that are signed, and how much one feed may send."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from httpx import Response

from services.dispatcher.domain.refusals import Refused
from services.dispatcher.domain.signals import Feed
from services.dispatcher.engine import enrolment
from services.dispatcher.feeds.request_hmac import WINDOW_S, signature
from services.dispatcher.web.feed_limits import AT_ONCE, FeedLimits
from services.dispatcher.web.feed_replays import KEPT_US, Replays
from services.dispatcher.web.problems import RateLimited, RequestReplayed
from tests import builders
from tests.builders import NOON_US, StoppedClock
from tests.web.api import Api, refusal

OLD, NEW = "feed-key-of-the-weather-bureau", "the-new-key-of-the-weather-bureau"
PATH = "/api/feeds/weather/cap"
SECRET = "what the bureau signs with"
NOON_S = NOON_US // 1_000_000
ALERT = builders.cap_alert()


def renew(api: Api, until_us: int | None) -> None:
    enrolment.renew_feed_key(api.town.store, "weather", api.town.passwords.hash(NEW), until_us, "test")


def opens(api: Api, key: str) -> bool:
    answer = api.cap(ALERT, key=key)
    return answer.status_code == 202 or refusal(answer) != (401, "feed_key_wrong")


def test_both_keys_open_until_the_old_ones_end(api: Api) -> None:
    api.enrol_feed()
    assert opens(api, OLD)
    renew(api, NOON_US + 60_000_000)
    assert (opens(api, OLD), opens(api, NEW), opens(api, OLD)) == (True, True, True)
    api.town.clock.advance(60)
    assert (opens(api, OLD), opens(api, NEW)) == (False, True)


def test_the_old_key_opens_until_the_new_one_is_first_used(api: Api) -> None:
    api.enrol_feed()
    renew(api, None)
    api.town.clock.advance(10**7)
    assert (opens(api, OLD), opens(api, NEW), opens(api, OLD), opens(api, NEW)) == (True, True, False, True)
    assert api.town.kinds("weather") == ["feed.key_renewed", "feed.old_key_ended"]


def test_a_key_before_the_old_one_has_ended(api: Api) -> None:
    api.enrol_feed("the-first-key")
    enrolment.renew_feed_key(api.town.store, "weather", api.town.passwords.hash(OLD), None, "test")
    renew(api, None)
    assert (opens(api, "the-first-key"), opens(api, OLD), opens(api, NEW)) == (False, True, True)


def test_neither_key_stands_in_the_database(api: Api) -> None:
    api.enrol_feed()
    renew(api, None)
    kept = str(api.town.get(Feed, "weather"))
    assert OLD not in kept and NEW not in kept


def send(api: Api, at_s: int = NOON_S, secret: str = SECRET, body: bytes = ALERT, **changed: Any) -> Response:
    headers = {
        "X-Tocsin-Key": OLD,
        "X-Tocsin-Time": str(at_s),
        "X-Tocsin-Signature": signature(secret, "POST", PATH, at_s, body),
        **changed.pop("headers", {}),
    }
    answer: Response = api.client.post(PATH, content=changed.pop("content", body), headers=headers)
    return answer


def enrol_signing(api: Api, **changes: Any) -> None:
    api.enrol_feed(hmac_secret=f"sealed for weather: {SECRET}", hmac_required=True, **changes)


def test_a_signature_is_what_any_other_tool_makes_of_the_same_lines() -> None:
    """By: openssl dgst -sha256 -hmac SECRET over the four lines."""
    assert signature(SECRET, "POST", PATH, 1_782_864_000, b"<alert/>") == (
        "sha256=1ac86b87b2644152fa802642adf376d2335fe5d6a339022a94dc77d88a08c262"
    )


def test_a_request_that_is_signed_is_taken_once(api: Api) -> None:
    enrol_signing(api)
    assert send(api).status_code == 202
    assert refusal(send(api)) == (409, "request_replayed")
    again = send(api, NOON_S + 1)
    assert (again.status_code, again.json()["signals"][0]["repeated"]) == (202, True)


@pytest.mark.parametrize(
    "changes",
    [
        {"secret": "another"},
        {"content": builders.cap_alert("storm-2")},
        {"headers": {"X-Tocsin-Time": str(NOON_S + 1)}},
        {"headers": {"X-Tocsin-Time": ""}},
        {"headers": {"X-Tocsin-Time": "x" * 200}},
        {"headers": {"X-Tocsin-Time": "９" * 9}},
        {"headers": {"X-Tocsin-Signature": ""}},
        {"headers": {"X-Tocsin-Signature": "sha256="}},
        {"headers": {"X-Tocsin-Signature": "sha256=\xff"}},
    ],
)
def test_a_request_that_is_not_signed_as_it_stands_is_refused(api: Api, changes: dict[str, Any]) -> None:
    enrol_signing(api)
    if "headers" in changes:
        changes = {"headers": {name: value.encode() for name, value in changes["headers"].items()}}
    assert refusal(send(api, **changes)) == (401, "request_signature_wrong")


@pytest.mark.parametrize("late_s", [-WINDOW_S - 1, WINDOW_S + 1])
def test_a_signed_request_counts_only_near_its_time(api: Api, late_s: int) -> None:
    enrol_signing(api)
    assert refusal(send(api, NOON_S + late_s)) == (401, "request_not_in_time")
    near = NOON_S + (late_s // abs(late_s)) * WINDOW_S
    assert send(api, near).status_code == 202


def test_a_signature_for_one_format_is_none_for_another(api: Api) -> None:
    enrol_signing(api, format="table")
    headers = {"X-Tocsin-Key": OLD, "X-Tocsin-Time": str(NOON_S)}
    headers["X-Tocsin-Signature"] = signature(SECRET, "POST", PATH, NOON_S, b"x")
    answer = api.client.post("/api/feeds/weather/table", content=b"x", headers=headers)
    assert refusal(answer) == (401, "request_signature_wrong")


def test_a_feed_that_need_not_sign_may_and_then_must_do_it_right(api: Api) -> None:
    enrol_signing(api)
    with api.town.store.write() as tx:
        feed = tx.get(Feed, "weather")
        assert feed is not None
    enrolment.set_feed_secret(api.town.store, "weather", feed.hmac_secret, False, "test")
    assert api.cap(ALERT).status_code == 202
    assert refusal(send(api, secret="another")) == (401, "request_signature_wrong")
    api.enrol_feed()
    assert refusal(send(api)) == (401, "request_signature_wrong")


def test_a_signed_request_that_failed_here_may_be_sent_again_as_it_was(api: Api) -> None:
    enrol_signing(api)
    opened = api.deps.open_secret

    def away(feed_id: str, sealed: str) -> str:
        raise Refused("no key file")

    object.__setattr__(api.deps, "open_secret", away)
    assert refusal(send(api)) == (503, "secret_unavailable")
    object.__setattr__(api.deps, "open_secret", opened)
    assert send(api).status_code == 202


def test_replays_are_remembered_as_long_as_they_could_count_and_no_longer() -> None:
    clock = StoppedClock()
    replays = Replays(clock.mono_us, per_feed_max=2)
    replays.remember("a", "1")
    replays.remember("b", "1")
    with pytest.raises(RequestReplayed):
        replays.remember("a", "1")
    replays.remember("a", "2")
    with pytest.raises(RateLimited) as full:
        replays.remember("a", "3")
    assert full.value.retry_after_s == KEPT_US // 1_000_000 + 1
    clock.advance(KEPT_US // 1_000_000)
    replays.remember("a", "3")


def test_a_feed_that_has_used_up_its_minute_is_told_when_to_come_again_and_others_go_on(api: Api) -> None:
    api.enrol_feed(requests_per_minute=3)
    api.enrol_feed("key-of-the-fire-brigade", id="brigade")
    assert [api.cap(ALERT).status_code for _ in range(3)] == [202] * 3
    refused = api.cap(ALERT)
    assert (refusal(refused), refused.headers["retry-after"]) == ((429, "rate_limited"), "20")
    assert api.cap(ALERT, key="key-of-the-fire-brigade", feed="brigade").status_code == 202
    api.town.clock.advance(20)
    assert [api.cap(ALERT).status_code for _ in range(2)] == [202, 429]


def test_signals_count_as_well_and_one_large_delivery_may_overdraw(api: Api) -> None:
    api.enrol_feed(format="table", signals_per_minute=60)
    rows = "".join(f"{number},暴雨,红,{builders.STREET}\n" for number in range(90))
    table = f"编号,灾种,级别,区划代码\n{rows}".encode()

    def post() -> Response:
        answer: Response = api.client.post("/api/feeds/weather/table", content=table, headers={"X-Tocsin-Key": OLD})
        return answer

    assert post().json()["accepted"] == 90
    refused = post()
    assert (refusal(refused), refused.headers["retry-after"]) == ((429, "rate_limited"), "31")
    api.town.clock.advance(31)
    assert post().json()["accepted"] == 90


def test_a_wrong_key_uses_up_nothing_of_the_feeds(api: Api) -> None:
    api.enrol_feed(requests_per_minute=1)
    for _ in range(3):
        assert refusal(api.cap(ALERT, key="wrong")) == (401, "feed_key_wrong")
    assert api.cap(ALERT).status_code == 202


def test_a_feed_that_sends_much_at_once_waits_for_itself_alone() -> None:
    clock = StoppedClock()
    limits = FeedLimits(clock.mono_us)
    limits.count(builders.feed("hash"), b"weather")
    limits.count(builders.feed("hash", id="brigade"), b"brigade")
    flood, other = limits.early(b"weather"), limits.early(b"brigade")
    assert flood is not None and other is not None and limits.early(b"unknown") is None

    async def turns() -> tuple[bool, bool]:
        for _ in range(AT_ONCE):
            await flood.turns.acquire()
        return flood.turns.locked(), other.turns.locked()

    assert asyncio.run(turns()) == (True, False)
