from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.selector import Selector
from devices.protocols.speaker_link import Manifest, Order, OrderClass, OrderState, Phase, stub
from devices.protocols.topics import manifest_topic
from services.dispatcher.domain.signals import Use
from services.dispatcher.engine import queries
from services.dispatcher.engine.air.compared import found_on_broker
from services.dispatcher.engine.air.foreign import merged
from services.dispatcher.engine.rows import Stream
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.web.api import Api, refusal

HOUR_US = 3_600 * SECOND_US
TOPIC = manifest_topic(builders.CITY, "actual", "city")


def test_a_speaker_shows_where_it_stands_and_what_it_last_said(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.heard([builders.live("mall-1")])
    page = api.get("duty", "/api/speakers", venue="mall").json()
    assert page == {
        "speakers": [
            {
                "id": "mall-1",
                "name": "终端mall-1",
                "venue": "mall",
                "area": builders.OTHER_STREET,
                "lat_e7": 389_200_000,
                "lon_e7": 1_216_000_000,
                "microphone": False,
                "online": True,
                "silent": False,
                "heard_us": NOON_US,
                "volume": 80,
                "power": "mains",
                "cloned": 0,
                "jumped": 0,
                "oddity": "",
                "config_current": True,
                "out_of_service": None,
            }
        ],
        "next": None,
        "names": {},
    }


def test_a_speaker_with_an_older_config_than_was_made_for_it_is_not_current(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.heard([builders.live("mall-1", config_version=1)])
    assert not api.get("duty", "/api/speakers", venue="mall").json()["speakers"][0]["config_current"]


def test_a_speaker_never_heard_offline_or_not_heard_for_long_is_silent(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.heard(
            [builders.live("square-1", online=False), builders.live("square-2", heard_us=NOON_US - 901 * SECOND_US)]
        )
    rows = api.get("duty", "/api/speakers").json()["speakers"]
    assert [(row["id"], row["online"], row["silent"], row["heard_us"]) for row in rows] == [
        ("mall-1", False, True, None),
        ("square-1", False, True, NOON_US),
        ("square-2", False, True, NOON_US - 901 * SECOND_US),
    ]


def test_speakers_come_in_pages_by_id(api: Api) -> None:
    first = api.get("duty", "/api/speakers", size=2).json()
    assert ([s["id"] for s in first["speakers"]], first["next"]) == (["mall-1", "square-1"], "square-1")
    second = api.get("duty", "/api/speakers", size=2, after="square-1").json()
    assert ([s["id"] for s in second["speakers"]], second["next"]) == (["square-2"], None)
    assert api.get("duty", "/api/speakers", after="square-2").json()["speakers"] == []


def test_out_of_service_has_author_reason_and_end(api: Api) -> None:
    path = "/api/speakers/mall-1/out-of-service"
    row = api.post("duty", path, {"reason": "检修", "until": NOON_US + HOUR_US}).json()
    assert row["out_of_service"] == {"author": "duty", "reason": "检修", "until_us": NOON_US + HOUR_US}
    page = api.get("duty", "/api/speakers", venue="mall").json()
    assert (page["speakers"][0]["out_of_service"]["author"], page["names"]) == ("duty", {"duty": "duty"})
    api.town.clock.advance(3_600)
    assert api.get("duty", "/api/speakers", venue="mall").json()["speakers"][0]["out_of_service"] is None


def test_out_of_service_without_an_end_in_the_next_year_is_refused(api: Api) -> None:
    path = "/api/speakers/mall-1/out-of-service"
    for until in (0, NOON_US, NOON_US + 367 * 24 * HOUR_US):
        assert refusal(api.post("duty", path, {"reason": "检修", "until": until})) == (422, "end_refused")
    assert refusal(api.post("duty", path, {"reason": "检修"})) == (422, "malformed")
    assert refusal(api.post("duty", path, {"reason": " ", "until": NOON_US + 1})) == (422, "malformed")


def test_a_speaker_comes_back_into_service_before_its_end(api: Api) -> None:
    api.post("duty", "/api/speakers/mall-1/out-of-service", {"reason": "检修", "until": NOON_US + HOUR_US})
    row = api.post("admin", "/api/speakers/mall-1/in-service", {"why": "修好"}).json()
    assert row["out_of_service"] is None
    lines = api.get("duty", "/api/log", subject="mall-1").json()["lines"]
    assert [(line["kind"], line["person"], line["why"]) for line in lines] == [
        ("speaker.out_of_service", "duty", "检修"),
        ("speaker.in_service", "admin", "修好"),
    ]


def test_an_unknown_speaker_is_not_found(api: Api) -> None:
    body = {"reason": "检修", "until": NOON_US + HOUR_US}
    assert refusal(api.post("duty", "/api/speakers/unknown/out-of-service", body)) == (404, "not_found")


def unknown_on_air(api: Api) -> Manifest:
    """A broker that holds an order nobody here knows."""
    order = Order(
        id="stranger",
        rev=3,
        status="actual",
        order_class=OrderClass.EMERGENCY,
        level=1,
        event_code="11B03",
        phase=Phase.ALERT,
        texts={"zh": "请到高处避险。"},
        audio=(),
        selector=Selector(areas=(builders.CITY,)),
        volume=90,
        repeat=3,
        gap_s=10,
        start_at=NOON_US,
        expires=NOON_US + HOUR_US,
        state=OrderState.IN_FORCE,
        corrects=None,
    )
    manifest = Manifest(TOPIC, 7, NOON_US, NOON_US + HOUR_US, "0" * 64, (order,))
    with api.town.store.write() as tx:
        assert found_on_broker(tx, TOPIC, b"signed elsewhere", manifest, "actual-city-1", 0) == "unknown here"
    return manifest


def test_what_is_on_air_but_unknown_here_is_shown_and_adopted_by_an_officer(api: Api) -> None:
    unknown_on_air(api)
    streams = api.get("admin", "/api/streams").json()["streams"]
    assert [(s["topic"], s["manifest_version"], s["unknown_on_air"]) for s in streams] == [
        (
            TOPIC,
            0,
            [
                {
                    "id": "stranger",
                    "rev": 3,
                    "state": "in_force",
                    "phase": "alert",
                    "level": 1,
                    "expires": NOON_US + HOUR_US,
                    "texts": {"zh": "请到高处避险。"},
                }
            ],
        )
    ]
    assert refusal(api.post("admin", "/api/streams/adopt", {"topic": TOPIC})) == (403, "not_allowed")
    assert api.post("chief", "/api/streams/adopt", {"topic": TOPIC}).status_code == 200
    lines = api.get("duty", "/api/log", subject=TOPIC).json()["lines"]
    assert [(line["kind"], line["person"]) for line in lines] == [
        ("stream.unknown_on_air", ""),
        ("stream.adopted", "chief"),
    ]


def test_a_stream_with_nothing_unknown_has_nothing_to_adopt(api: Api) -> None:
    assert refusal(api.post("duty", "/api/streams/adopt", {"topic": TOPIC})) == (404, "not_found")
    assert refusal(api.post("duty", "/api/streams/withdraw", {"topic": TOPIC})) == (404, "not_found")
    assert refusal(api.post("duty", "/api/streams/withdraw", {"topic": ""})) == (422, "malformed")


def test_what_is_on_air_but_unknown_here_is_taken_off_the_air_by_an_officer(api: Api) -> None:
    (stranger,) = unknown_on_air(api).orders
    body = {"topic": TOPIC}
    for who in ("admin", "street"):
        assert refusal(api.post(who, "/api/streams/withdraw", body)) == (403, "not_allowed")
    (stream,) = api.post("duty", "/api/streams/withdraw", body).json()["streams"]
    assert stream["unknown_on_air"] == []
    with api.town.store.write() as tx:
        row = tx.get(Stream, TOPIC)
        assert row is not None
        (said,) = merged([], row, NOON_US)
    assert said == stub(replace(stranger, rev=4))
    assert f"publish_stream:{TOPIC}" in api.town.lanes()
    lines = api.get("duty", "/api/log", subject=TOPIC).json()["lines"]
    assert [(line["kind"], line["person"]) for line in lines] == [
        ("stream.unknown_on_air", ""),
        ("stream.unknown_withdrawn", "duty"),
    ]


def test_only_streams_with_something_unknown_are_listed_where_that_is_asked(api: Api) -> None:
    known = api.town.on_air(builders.storm_signal(use=Use.EXERCISE))
    with api.town.store.write() as tx:
        tx.put(Stream(known.stream, builders.CITY, "exercise", "city"))
    unknown_on_air(api)
    assert {s["topic"] for s in api.get("duty", "/api/streams").json()["streams"]} == {known.stream, TOPIC}
    listed = api.get("duty", "/api/streams", unknown=True).json()["streams"]
    assert [s["topic"] for s in listed] == [TOPIC]


@pytest.mark.parametrize("decision", ["adopt", "withdraw"])
def test_what_changed_on_air_since_it_was_read_is_not_decided_on(api: Api, decision: str) -> None:
    manifest = unknown_on_air(api)
    (read,) = api.get("duty", "/api/streams").json()["streams"]
    assert read["unknown_version"] == manifest.version
    with api.town.store.write() as tx:
        newer = replace(manifest, version=manifest.version + 1)
        assert found_on_broker(tx, TOPIC, b"newer", newer, "actual-city-1", 0) == "unknown here"
    body = {"topic": TOPIC, "version": read["unknown_version"]}
    assert refusal(api.post("duty", f"/api/streams/{decision}", body)) == (409, "changed_on_air")
    assert api.town.kinds(TOPIC) == ["stream.unknown_on_air", "stream.unknown_on_air"]
    (stream,) = api.post("duty", f"/api/streams/{decision}", {**body, "version": manifest.version + 1}).json()[
        "streams"
    ]
    assert (stream["unknown_on_air"], stream["unknown_version"]) == ([], 0)


def test_speakers_behind_on_a_stream_are_listed_with_the_version_that_they_hold(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.put(Stream(TOPIC, builders.CITY, "actual", "city", 9))
        tx.heard([builders.live("mall-1", streams={TOPIC: 8}), builders.live("square-1", streams={TOPIC: 9})])
        tx.heard([builders.live("square-2")])
    found = api.get("duty", "/api/streams/behind", topic=TOPIC).json()
    assert found["speakers"] == [{"speaker": "mall-1", "version": 8}, {"speaker": "square-2", "version": 0}]
    first = api.get("duty", "/api/streams/behind", topic=TOPIC, size=1).json()
    assert (first["speakers"][0]["speaker"], first["next"]) == ("mall-1", "mall-1")
    assert api.get("duty", "/api/streams/behind", topic="no/stream").status_code == 404


@pytest.mark.parametrize("size", [1, 2, 5])
def test_a_page_of_speakers_behind_reads_no_more_than_it_shows(
    api: Api, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    monkeypatch.setattr(queries, "BEHIND_PER_QUERY", 2)
    with api.town.store.write() as tx:
        tx.put(Stream(TOPIC, builders.CITY, "actual", "city", 9))
        tx.heard([builders.live(name) for name in ("mall-1", "square-1", "square-2", "zzz-not-enrolled")])
    city = api.town.engine.read_city()
    shown, after = [], ""
    with api.town.store.read() as read:
        limits: list[int] = []
        behind = read.behind

        def watched(*wanted: Any, **more: Any) -> list[tuple[str, int]]:
            limits.append(wanted[-1])
            return behind(*wanted, **more)

        monkeypatch.setattr(read, "behind", watched)
        while True:
            page = queries.speakers_behind(read, city, TOPIC, after, size)
            shown += [speaker for speaker, _ in page.rows]
            assert len(page.rows) <= size
            if not page.more:
                break
            after = page.rows[-1][0]
    assert shown == ["mall-1", "square-1", "square-2"]
    assert max(limits) <= size + 1
