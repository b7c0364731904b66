from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import SpeakerState
from services.dispatcher.domain.broadcasts import sentences
from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.domain.signing_keys import KeyState
from services.dispatcher.engine.air import broker_copies, receipts, signing_keys
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.events import CanaryAnswered, EffectGaveUp
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Read, StoreUnavailable, Tx
from services.dispatcher.engine.rows import Lease
from services.dispatcher.web.deps import WebSettings
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.engine.signing import Keys, sign
from tests.web.api import Api, refusal
from tests.web.test_speakers import TOPIC, unknown_on_air


class AwayStore:
    """A store whose database can be away."""

    def __init__(self, town: builders.Town) -> None:
        self._store = town.store
        self.away = False

    @contextmanager
    def write(self) -> Iterator[Tx]:
        self._look()
        with self._store.write() as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[Read]:
        self._look()
        with self._store.read() as read:
            yield read

    def _look(self) -> None:
        if self.away:
            raise StoreUnavailable("connection refused")


def parts(api: Api) -> dict[str, bool]:
    return {part["part"]: part["well"] for part in api.client.get("/api/health").json()["parts"]}


def test_all_is_well_while_gateway_and_worker_are_seen(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3 * SECOND_US)
    keys_are_well(api, "actual", "config", "clock")
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    clear_effects(api)
    speaks(api, *(s.id for s in api.town.engine.read_city().speakers.values()))
    view = api.client.get("/api/health").json()
    assert (view["well"], view["city"], view["effects_open"]) == (True, "示例市", 0)
    assert [(p["part"], p["well"], p["seen_us"], p["still_works"]) for p in view["parts"]] == [
        ("database", True, NOON_US, ""),
        ("gateway", True, NOON_US + 3 * SECOND_US, ""),
        ("effects", True, NOON_US, ""),
        ("worker", True, NOON_US, ""),
        ("clock", True, NOON_US, ""),
        ("room", True, NOON_US, ""),
        ("city", True, NOON_US, ""),
        ("key_actual", True, NOON_US, ""),
        ("key_clock", True, NOON_US, ""),
        ("key_config", True, NOON_US, ""),
        ("streams", True, NOON_US, ""),
        ("speakers", True, NOON_US, ""),
        ("refused_actual", True, NOON_US, ""),
        ("refused_exercise", True, NOON_US, ""),
        ("accounts", True, NOON_US, ""),
    ]
    assert [key["kid"] for key in view["keys"]] == ["actual-city-1", "clock-city-1", "config-city-1"]
    assert view["keys"][0]["gateways"] == [
        {"gateway": "gw-0", "usable": True, "home_us": NOON_US, "took_us": 1_500},
    ]


def speaks(api: Api, *speakers: str) -> None:
    """These speakers say that they are online."""
    said = SpeakerState(True, 1, {}, 1, NOON_US // 1_000, "journal", 0, 50, "mains", (), "")
    receipts.hear_speakers(api.town.store, [(speaker, said) for speaker in speakers], settled_us=0)


def test_health_counts_who_would_hear(api: Api) -> None:
    def part() -> dict[str, Any]:
        api.town.clock.advance(20)
        found: dict[str, Any] = next(
            p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "speakers"
        )
        return found

    everybody = sorted(s.id for s in api.town.engine.read_city().speakers.values() if s.enrolled)
    nobody = part()
    assert (nobody["well"], nobody["what"]) == (False, f"0 of {len(everybody)} speakers in service are online")
    speaks(api, everybody[0])
    some = part()
    assert (some["well"], some["warned"], some["what_zh"]) == (True, True, f"在役终端{len(everybody)}个，在线1个")
    speaks(api, *everybody)
    assert not part()["warned"]
    api.town.clock.advance(901)
    assert not part()["well"]


def test_health_says_that_without_an_actual_key_only_drills_can_be_broadcast(api: Api) -> None:
    keys_are_well(api, "exercise", "config", "clock")
    part = next(p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "key_actual")
    assert (part["well"], part["warned"]) == (True, True)
    assert part["what"] == "there is no actual key: only drills can be broadcast"


def keys_are_well(api: Api, *uses: str, days: int = 365, fault: str = "", home_ago_us: int = 0) -> None:
    """The gateway reports a key of each of these uses, whose canary came home."""
    end_us = api.town.clock.now_us() + days * 86_400 * SECOND_US
    keys = [KeyState(f"{use}-city-1", use, "city", builders.CITY, (1, 2, 3, 4), end_us) for use in uses]
    signing_keys.report(api.town.store, "gw-0", [KeyReport(key, fault, home_ago_us, 1_500) for key in keys], 1)


def clear_effects(api: Api) -> None:
    with api.town.store.write() as tx:
        for effect in tx.claim([str(carry) for carry in Carry], "test", SECOND_US, 100):
            tx.done(effect)


def test_a_part_that_was_not_seen_lately_says_what_still_works_in_both_languages(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3 * SECOND_US)
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    clear_effects(api)
    api.town.clock.advance(181)
    answer = api.client.get("/api/health")
    sick = {p["part"]: p for p in answer.json()["parts"] if not p["well"]}
    assert (answer.status_code, answer.json()["well"], sorted(sick)) == (200, False, ["gateway", "speakers", "worker"])
    assert all(part["still_works"] and part["still_works_zh"] for part in sick.values())


def test_a_gateway_that_is_alive_but_carries_nothing_out_is_shown(api: Api) -> None:
    clear_effects(api)
    with api.town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
    assert parts(api)["effects"]
    api.town.clock.advance(31)
    assert not parts(api)["effects"]


def test_an_effect_is_late_from_when_it_was_first_wanted_however_often_it_is_tried(api: Api) -> None:
    clear_effects(api)
    with api.town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
    for _ in range(4):
        assert parts(api)["effects"]
        api.town.clock.advance(9)
        with api.town.store.write() as tx:
            (effect,) = tx.claim([Carry.PUBLISH_STREAM], "test", SECOND_US, 1)
            tx.retry(effect, tx.now_us() + 5 * SECOND_US, "the broker is away", 1)
            tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
        api.town.clock.advance(1)
        if api.town.clock.now_us() > NOON_US + 30 * SECOND_US:
            break
    assert not parts(api)["effects"]


def test_what_was_seen_in_the_future_was_not_seen(api: Api) -> None:
    later_us = NOON_US + 2 * 3_600 * SECOND_US
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    assert parts(api)["worker"]
    with api.town.store.write() as tx:
        tx.put(Lease("gw-0", "host/1", later_us))
    assert not parts(api)["gateway"]
    api.town.engine.handle([CanaryAnswered(NOON_US + 6 * SECOND_US)])
    assert api.town.kinds("worker")[-1] == "worker.other_time"


class JumpingClock(builders.StoppedClock):
    """The monotonic clock stands; what a test says puts the wall clock by."""

    jumped_us = 0

    def now_us(self) -> int:
        return super().now_us() + self.jumped_us


def jump(api: Api, by_s: int) -> None:
    assert isinstance(api.town.clock, JumpingClock)
    api.town.clock.jumped_us = by_s * SECOND_US


@pytest.fixture
def jumpy() -> Iterator[Api]:
    clock = JumpingClock()
    found = Api(builders.town(clock=clock))
    with found.client:
        yield found


@pytest.mark.parametrize(
    ("by_s", "words", "zh"), [(7_200, "7200 s ahead", "快 7200 秒"), (-60, "60 s behind", "慢 60 秒")]
)
def test_a_clock_that_jumped_is_red_and_says_which_how_far_since_when_and_what_to_do(
    jumpy: Api, by_s: int, words: str, zh: str
) -> None:
    assert parts(jumpy)["clock"]
    jump(jumpy, by_s)
    view = jumpy.client.get("/api/health").json()
    (red,) = [p for p in view["parts"] if p["part"] == "clock"]
    assert (view["well"], red["well"], red["seen_us"]) == (False, False, NOON_US)
    said = f"The clock of this machine has moved: it is {words}, since 2025-06-15 15:06:40 UTC."
    assert red["still_works"].startswith(said)
    assert "stops, corrections, all-clears" in red["still_works"] and "tocsin clock confirm" in red["still_works"]
    assert zh in red["still_works_zh"]
    assert view["now_us"] == NOON_US


def test_the_worker_is_seen_by_its_newest_line_however_many_there_are(api: Api) -> None:
    for _ in range(50):
        api.town.clock.advance(60)
        api.town.engine.handle([CanaryAnswered(api.town.clock.now_us())])
        assert parts(api)["worker"]
    api.town.clock.advance(181)
    assert not parts(api)["worker"]


def test_a_worker_that_cannot_even_be_asked_is_shown_at_once_and_when_it_was_last_seen(api: Api) -> None:
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    api.town.clock.advance(60)
    api.town.engine.handle([EffectGaveUp("canary:worker", "the queue is away")])
    worker = next(p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "worker")
    assert (worker["well"], worker["seen_us"], bool(worker["still_works_zh"])) == (False, NOON_US, True)
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    assert parts(api)["worker"]


@pytest.fixture
def away() -> Iterator[tuple[Api, AwayStore]]:
    town = builders.town()
    store = AwayStore(town)
    api = Api(builders.Town(store, builders.engine(store), town.clock, town.passwords))
    with api.client:
        yield api, store


def test_without_the_database_health_says_so_and_the_manual_way(away: tuple[Api, AwayStore]) -> None:
    api, store = away
    store.away = True
    answer = api.client.get("/api/health")
    assert answer.status_code == 503
    view: dict[str, Any] = answer.json()
    assert [(p["part"], p["well"]) for p in view["parts"]] == [("database", False)]
    assert "手持喇叭" in view["parts"][0]["still_works_zh"]


def test_without_the_database_requests_are_told_to_try_again(away: tuple[Api, AwayStore]) -> None:
    api, store = away
    api.enrol_feed()
    api.token("duty")
    store.away = True
    for answer in (api.get("duty", "/api/me"), api.log_in("duty"), api.cap(builders.cap_alert())):
        assert refusal(answer) == (503, "store_unavailable")
        assert answer.headers["retry-after"] == "2"
    store.away = False
    assert api.cap(builders.cap_alert()).status_code == 202


def test_metrics_are_prometheus_text(api: Api) -> None:
    api.client.get("/api/health")
    answer = api.client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    assert 'tocsin_web_requests_total{status="2xx"} 1.0' in answer.text


def sick(api: Api) -> dict[str, dict[str, Any]]:
    return {p["part"]: p for p in api.client.get("/api/health").json()["parts"] if not p["well"]}


def test_a_key_that_can_not_sign_is_named_with_what_still_works(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    keys_are_well(api, "config", "clock", "actual", fault="empty")
    part = sick(api)["key_actual"]
    assert part["what"] == "the file of actual-city-1 is empty (gw-0)"
    assert part["what_zh"] == "actual-city-1的密钥文件为空（gw-0）"
    assert "hand-held loudspeaker" in part["still_works"]
    assert "手持喇叭" in part["still_works_zh"]


def test_a_canary_that_does_not_come_home_is_red_after_ninety_seconds(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    keys_are_well(api, "config", "clock")
    assert not {"key_config", "key_clock"} & set(sick(api))
    api.town.clock.advance(91)
    assert {"key_config", "key_clock"} <= set(sick(api))


def test_a_key_that_expires_soon_is_a_warning_and_not_red(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    keys_are_well(api, "actual", days=29)
    part = next(p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "key_actual")
    assert (part["well"], part["warned"]) == (True, True)
    assert part["what"].startswith("actual-city-1 expires on ")
    keys_are_well(api, "actual", days=30)
    part = next(p for p in api.client.get("/api/health").json()["parts"] if p["part"] == "key_actual")
    assert (part["well"], part["warned"], part["what"]) == (True, False, "")


def test_a_gateway_that_runs_and_never_told_of_its_keys_is_red(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    assert {"key_config", "key_clock"} <= set(sick(api))


def test_the_stream_that_has_gone_unconfirmed_for_longest_is_named(api: Api) -> None:
    broker_copies.note(api.town.store, "gw-0", {"tocsin/v1/area/1/manifest/actual/city": "missing"})
    assert "streams" not in sick(api)
    api.town.clock.advance(151)
    part = sick(api)["streams"]
    assert part["what"] == "tocsin/v1/area/1/manifest/actual/city has not been confirmed for 151 s: missing"


def test_an_alert_that_was_never_signed_is_not_well_and_says_so(api: Api) -> None:
    alert = api.town.on_air()
    assert "streams" not in sick(api)
    api.town.clock.advance(6)
    part = sick(api)["streams"]
    assert part["what"] == f"{alert.stream} has not been confirmed for 6 s: never signed"
    assert part["what_zh"] == f"{alert.stream}已有6秒未确认：从未签名"
    assert "hand-held loudspeaker" in part["still_works"]


def test_a_comparison_that_no_longer_comes_is_told(api: Api) -> None:
    broker_copies.note(api.town.store, "gw-0", {"tocsin/v1/area/1/manifest/actual/city": broker_copies.SAME})
    api.town.clock.advance(151)
    assert sick(api)["streams"]["what"].endswith("has not been confirmed for 151 s: not compared")


def test_something_unknown_on_air_is_not_well_and_says_adopt_or_withdraw(api: Api) -> None:
    unknown_on_air(api)
    part = sick(api)["streams"]
    said = f"something is on air that this database does not know, on {TOPIC}: adopt or withdraw it"
    assert (part["what"], "接管或撤下" in part["what_zh"]) == (said, True)
    assert api.post("duty", "/api/streams/withdraw", {"topic": TOPIC}).status_code == 200
    assert "streams" not in sick(api)


def test_a_release_that_no_key_can_sign_is_refused_with_a_code_and_what_to_do(api: Api) -> None:
    hold(api.town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    keys_are_well(api, "actual", fault="empty")
    draft = api.town.alert(api.town.signal(builders.storm_signal()))
    sentence = sentences(draft)["zh"]
    answer = api.post("duty", f"/api/broadcasts/{draft.id}/release", {"content": draft.content, "sentence": sentence})
    assert refusal(answer) == (409, "no_usable_key")
    assert "the file of actual-city-1 is empty" in answer.json()["detail"]


def test_a_stream_that_fills_up_is_told_with_what_fills_it_before_it_is_full(api: Api) -> None:
    first = api.town.on_air()
    sign(api.town, first.stream, Keys())
    with api.town.store.write() as tx:
        tx.put(*(replace(first, id=f"{n:032x}", level=2, incident="other") for n in range(500, 505)))
    assert not parts(api)["room"]
    (stream,) = api.get("duty", "/api/streams").json()["streams"]
    assert 70 <= stream["filled_percent"] <= 100
    assert len(stream["filled_by"]) == 6 and all("rainstorm" in title for title in stream["filled_by"])


class CountedStore:
    """A store that counts who reads it, and lets them wait until a test says so."""

    def __init__(self, town: builders.Town) -> None:
        self._store = town.store
        self.reads = 0
        self.go = threading.Event()
        self.go.set()

    def write(self) -> AbstractContextManager[Tx]:
        return self._store.write()

    @contextmanager
    def read(self) -> Iterator[Read]:
        self.reads += 1
        assert self.go.wait(30)
        with self._store.read() as read:
            yield read


@pytest.fixture
def counted() -> Iterator[tuple[Api, CountedStore]]:
    town = builders.town()
    store = CountedStore(town)
    api = Api(builders.Town(store, builders.engine(store), town.clock, town.passwords), WebSettings())
    with api.client:
        yield api, store


def test_everybody_who_asks_within_a_second_gets_the_same_answer(counted: tuple[Api, CountedStore]) -> None:
    api, store = counted
    first = api.client.get("/api/health").json()
    looked = store.reads
    api.town.clock.advance(0.9)
    assert api.client.get("/api/health").json() == first
    assert store.reads == looked
    api.town.clock.advance(0.1)
    assert api.client.get("/api/health").json()["now_us"] == NOON_US + SECOND_US
    assert store.reads == looked + 1


def test_however_many_ask_at_once_health_is_looked_at_once(counted: tuple[Api, CountedStore]) -> None:
    api, store = counted
    store.go.clear()
    looked = store.reads
    with ThreadPoolExecutor(8) as askers:
        asked = [askers.submit(api.client.get, "/api/health") for _ in range(8)]
        store.go.set()
        assert {answer.result().status_code for answer in asked} == {200}
    assert store.reads == looked + 1


def test_how_full_streams_are_is_measured_every_ten_seconds(counted: tuple[Api, CountedStore]) -> None:
    api, _ = counted
    assert parts(api)["room"]
    first = api.town.on_air()
    with api.town.store.write() as tx:
        tx.put(*(replace(first, id=f"{n:032x}", level=2, incident="other") for n in range(500, 508)))
    api.town.clock.advance(9)
    assert parts(api)["room"]
    api.town.clock.advance(1)
    assert not parts(api)["room"]
