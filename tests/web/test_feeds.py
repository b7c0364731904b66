from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client import generate_latest

from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.signals import Use
from services.dispatcher.engine.ports import Page
from services.dispatcher.web.bodies import FEED_BODY_BYTES_MAX
from services.dispatcher.web.feed_keys import KEYS_PER_ADDRESS_MAX, WRONG_KEYS_MAX
from tests import builders
from tests.web.api import Api, refusal

KEY_OF_STORM = "cap/weather/bureau@weather.example,storm-1,1750000000000000"


def test_a_cap_alert_becomes_a_signal_of_an_incident(api: Api) -> None:
    api.enrol_feed()
    answer = api.cap(builders.cap_alert())
    assert answer.status_code == 202
    body = answer.json()
    incident = body["signals"][0]["incident"]
    assert body == {
        "accepted": 1,
        "signals": [{"key": KEY_OF_STORM, "repeated": False, "reused": False, "incident": incident}],
        "problems": [],
    }
    assert api.get("duty", f"/api/incidents/{incident}").json()["incident"]["hazard"] == "rainstorm"


def test_the_same_alert_again_is_the_same_signal(api: Api) -> None:
    api.enrol_feed()
    first = api.cap(builders.cap_alert()).json()["signals"][0]
    again = api.cap(builders.cap_alert()).json()
    assert again["signals"] == [{"key": KEY_OF_STORM, "repeated": True, "reused": False, "incident": first["incident"]}]
    story = api.get("duty", f"/api/incidents/{first['incident']}").json()
    assert story["incident"]["signal_count"] == 1


def test_the_key_may_come_as_bearer(api: Api) -> None:
    api.enrol_feed()
    headers = {"Authorization": "Bearer feed-key-of-the-weather-bureau"}
    assert api.client.post("/api/feeds/weather/cap", content=builders.cap_alert(), headers=headers).status_code == 202


@pytest.mark.parametrize(("key", "feed"), [("wrong", "weather"), ("", "weather"), ("k" * 257, "weather")])
def test_a_wrong_key_is_refused_and_counted_and_nothing_is_kept(api: Api, key: str, feed: str) -> None:
    api.enrol_feed()
    assert refusal(api.cap(builders.cap_alert(), key=key, feed=feed)) == (401, "feed_key_wrong")
    with api.town.store.read() as read:
        assert (read.find(Incident, Page()), read.unread()) == ([], [])
    assert b'tocsin_feed_keys_total{outcome="feed_key_wrong"} 1.0' in generate_latest(api.deps.registry)


def test_an_unknown_feed_gets_the_answer_of_a_wrong_key(api: Api) -> None:
    api.enrol_feed()
    assert refusal(api.cap(builders.cap_alert(), feed="unknown")) == (401, "feed_key_wrong")


def test_the_key_of_one_feed_opens_no_other(api: Api) -> None:
    api.enrol_feed()
    api.enrol_feed("key-of-the-fire-brigade", id="brigade")
    assert refusal(api.cap(builders.cap_alert(), key="key-of-the-fire-brigade")) == (401, "feed_key_wrong")


def test_guessing_keys_ends_but_a_feed_that_is_known_goes_on(api: Api) -> None:
    api.enrol_feed()
    assert api.cap(builders.cap_alert("storm-0")).status_code == 202
    for _ in range(WRONG_KEYS_MAX):
        assert refusal(api.cap(builders.cap_alert(), key="wrong")) == (401, "feed_key_wrong")
    assert refusal(api.cap(builders.cap_alert(), key="wrong")) == (429, "too_many_tries")
    assert api.cap(builders.cap_alert()).status_code == 202


def test_guesses_at_one_feed_keep_no_other_out(api: Api) -> None:
    api.enrol_feed()
    api.enrol_feed("key-of-the-fire-brigade", id="brigade")
    for _ in range(WRONG_KEYS_MAX + 1):
        refused = refusal(api.cap(builders.cap_alert(), key="wrong"))
    assert refused == (429, "too_many_tries")
    assert api.cap(builders.cap_alert(), key="key-of-the-fire-brigade", feed="brigade").status_code == 202


def test_guesses_from_one_address_end_whatever_they_guess_at(api: Api) -> None:
    api.enrol_feed()
    for number in range(KEYS_PER_ADDRESS_MAX // WRONG_KEYS_MAX):
        api.enrol_feed(id=f"feed-{number}")
        for _ in range(WRONG_KEYS_MAX):
            assert refusal(api.cap(builders.cap_alert(), key="wrong", feed=f"feed-{number}"))[0] == 401
    assert refusal(api.cap(builders.cap_alert())) == (429, "too_many_tries")
    api.town.clock.advance(60)
    assert api.cap(builders.cap_alert()).status_code == 202


def test_a_new_key_ends_the_old_one_at_once(api: Api) -> None:
    api.enrol_feed()
    assert api.cap(builders.cap_alert()).status_code == 202
    api.enrol_feed("a-new-key")
    assert refusal(api.cap(builders.cap_alert())) == (401, "feed_key_wrong")
    assert api.cap(builders.cap_alert(), key="a-new-key").status_code == 202


def test_a_feed_that_is_switched_off_is_told_so_only_with_its_key(api: Api) -> None:
    api.enrol_feed(enabled=False)
    assert refusal(api.cap(builders.cap_alert())) == (403, "feed_disabled")
    assert refusal(api.cap(builders.cap_alert(), key="wrong")) == (401, "feed_key_wrong")


def test_a_feed_of_another_format_and_an_unknown_format_are_refused(api: Api) -> None:
    api.enrol_feed(format="table")
    assert refusal(api.cap(builders.cap_alert())) == (409, "feed_format_differs")
    headers = {"X-Tocsin-Key": "feed-key-of-the-weather-bureau"}
    assert refusal(api.client.post("/api/feeds/weather/fax", content=b"x", headers=headers)) == (404, "not_found")


@pytest.mark.parametrize("raw", [b"", b"<alert>", b"\x00\x01", b"{}", builders.cap_alert()[:-20]])
def test_what_is_not_cap_is_kept_as_unread_and_answered_with_its_problems(api: Api, raw: bytes) -> None:
    api.enrol_feed()
    answer = api.cap(raw)
    assert refusal(answer) == (422, "not_read")
    assert answer.json()["errors"]
    unread = api.get("duty", "/api/unread").json()["unread"]
    assert [(u["wire"], u["source"], u["bytes"], u["head_hex"]) for u in unread] == [
        ("http", "feed/weather", len(raw), raw.hex())
    ]
    assert unread[0]["head_text"] == raw.decode().replace("\0", "\ufffd").replace("\x01", "\ufffd").strip()
    assert unread[0]["reason"] == answer.json()["errors"][0]["code"]


def test_an_exercise_feed_never_raises_an_actual_incident(api: Api) -> None:
    api.enrol_feed(use=Use.EXERCISE)
    incident = api.cap(builders.cap_alert(status="Actual")).json()["signals"][0]["incident"]
    assert api.get("duty", f"/api/incidents/{incident}").json()["incident"]["use"] == "exercise"


def test_a_test_message_is_accepted_and_opens_nothing(api: Api) -> None:
    api.enrol_feed()
    body = api.cap(builders.cap_alert(status="Test")).json()
    assert [(s["repeated"], s["incident"]) for s in body["signals"]] == [(False, None)]
    assert [p["code"] for p in body["problems"]] == ["status_not_aired"]


def test_a_message_that_is_too_big_is_refused_before_it_is_read(api: Api) -> None:
    api.enrol_feed()
    assert refusal(api.cap(b"x" * (FEED_BODY_BYTES_MAX + 1))) == (413, "body_too_big")


def test_many_feeds_at_once_each_get_their_own_answer(api: Api) -> None:
    api.enrol_feed()
    start = threading.Barrier(8)

    def send(number: int) -> list[bool]:
        start.wait()
        # Each number is sent by two.
        answers = [api.cap(builders.cap_alert(f"storm-{number // 2}-{n}")) for n in range(5)]
        return [signal["repeated"] for answer in answers for signal in answer.json()["signals"]]

    with ThreadPoolExecutor(8) as pool:
        repeated = [again for answers in pool.map(send, range(8)) for again in answers]
    assert (len(repeated), sum(repeated)) == (40, 20)
