from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.engine.events import CanaryAnswered, EffectGaveUp
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Read, StoreUnavailable, Tx
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.engine.signing import Keys, sign
from tests.web.api import Api, refusal


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
    api.town.engine.handle([CanaryAnswered(NOON_US)])
    clear_effects(api)
    view = api.client.get("/api/health").json()
    assert (view["well"], view["city"], view["effects_open"]) == (True, "示例市", 0)
    assert [(p["part"], p["well"], p["seen_us"], p["still_works"]) for p in view["parts"]] == [
        ("database", True, NOON_US, ""),
        ("gateway", True, NOON_US + 3 * SECOND_US, ""),
        ("effects", True, NOON_US, ""),
        ("worker", True, NOON_US, ""),
        ("room", True, NOON_US, ""),
        ("city", True, NOON_US, ""),
    ]


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
    assert (answer.status_code, answer.json()["well"], sorted(sick)) == (200, False, ["gateway", "worker"])
    assert all(part["still_works"] and part["still_works_zh"] for part in sick.values())


def test_a_gateway_that_is_alive_but_carries_nothing_out_is_shown(api: Api) -> None:
    clear_effects(api)
    with api.town.store.write() as tx:
        tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
    assert parts(api)["effects"]
    api.town.clock.advance(31)
    assert not parts(api)["effects"]


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


def test_a_stream_that_fills_up_is_told_with_what_fills_it_before_it_is_full(api: Api) -> None:
    first = api.town.on_air()
    sign(api.town, first.stream, Keys())
    with api.town.store.write() as tx:
        tx.put(*(replace(first, id=f"{n:032x}", level=2, incident="other") for n in range(500, 505)))
    assert not parts(api)["room"]
    (stream,) = api.get("duty", "/api/streams").json()["streams"]
    assert 70 <= stream["filled_percent"] <= 100
    assert len(stream["filled_by"]) == 6 and all("rainstorm" in title for title in stream["filled_by"])
