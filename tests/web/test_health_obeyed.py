"""What health, the streams' page and the counters say of refusals, clones and taken accounts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from devices.protocols.documents import Receipt, SpeakerState, Step, StepKind
from devices.protocols.speaker_link import manifest_topic
from services.dispatcher.adapters.metrics import GatewayMetrics
from services.dispatcher.engine.air import receipts, refused_documents
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.events import AccountTaken
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, hold
from services.dispatcher.engine.rows import Stream
from tests.builders import CITY, NOON_US
from tests.web.api import Api

VERSION = NOON_US // 1_000
_NUMBERS: Iterator[int] = iter(range(1, 1_000_000))


def part(api: Api, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(p for p in api.client.get("/api/health").json()["parts"] if p["part"] == name)
    return found


def everybody(api: Api) -> list[str]:
    return sorted(api.town.engine.read_city().speakers)


def online(api: Api, *speakers: str, **said: Any) -> None:
    state = SpeakerState(True, 1, {}, 1, 0, "journal", 0, 50, "mains", (), "")
    receipts.hear_speakers(api.town.store, [(speaker, replace(state, **said)) for speaker in speakers])


def refuse(api: Api, use: str, *speakers: str) -> str:
    """These speakers refuse what was given out to the city, and have had the time to mend."""
    topic = manifest_topic(CITY, use, "city")
    with api.town.store.write() as tx:
        tx.put(tx.get_locked(Stream, topic) or Stream(topic, CITY, use, "city", manifest_version=VERSION))
    step = Step(StepKind.REFUSED, NOON_US, "unknown_key")
    said = [Arrived(name, Receipt("journal", next(_NUMBERS), "", 0, (step,), topic, 0), b"raw") for name in speakers]
    receipts.keep_receipts(api.town.store, said)
    api.town.clock.advance(60)
    return topic


def test_few_that_refuse_are_a_warning_with_number_and_reason(api: Api) -> None:
    online(api, *everybody(api))
    refuse(api, "actual", everybody(api)[0])
    said = part(api, "refused_actual")
    assert (said["well"], said["warned"]) == (True, True)
    assert "1 of 3 speakers refuse" in said["what"]
    assert "unknown_key 1个" in said["what_zh"]


@pytest.mark.parametrize(("use", "other"), [("actual", "exercise"), ("exercise", "actual")])
def test_many_that_refuse_are_red_in_their_own_use_alone_until_they_obey(api: Api, use: str, other: str) -> None:
    online(api, *everybody(api))
    topic = refuse(api, use, *everybody(api))
    red = part(api, f"refused_{use}")
    assert (red["well"], red["warned"]) == (False, False)
    assert "tocsin keys list" in red["still_works"]
    assert red["still_works_zh"]
    assert part(api, f"refused_{other}")["well"]
    online(api, *everybody(api), streams={topic: VERSION})
    assert part(api, f"refused_{use}")["well"]


def test_the_stream_s_page_says_who_refuses_it_and_what_to_do(api: Api) -> None:
    online(api, *everybody(api))
    topic = refuse(api, "actual", *everybody(api))
    shown = {s["topic"]: s["refused"] for s in api.get("duty", "/api/streams").json()["streams"]}[topic]
    assert (shown["speakers"], shown["meant"], shown["many"]) == (3, 3, True)
    assert (shown["reasons"], shown["said_by"]) == ({"unknown_key": 3}, everybody(api))
    assert "hand-held loudspeaker" in shown["do"]
    online(api, *everybody(api), streams={topic: VERSION})
    (healed,) = api.get("duty", "/api/streams").json()["streams"]
    assert healed["refused"] is None


def test_the_counters_follow(api: Api) -> None:
    registry = CollectorRegistry()
    metrics = GatewayMetrics(registry)
    online(api, *everybody(api))
    refuse(api, "exercise", *everybody(api))
    with api.town.store.read() as read:
        metrics.refusing(refused_documents.refused_now(read, api.town.engine.read_city()))
    text = generate_latest(registry).decode()
    assert 'tocsin_speakers_refusing{use="exercise"} 3.0' in text
    assert 'tocsin_speakers_refusing{use="actual"} 0.0' in text


def test_a_clone_is_a_warning_that_names_it(api: Api) -> None:
    online(api, *everybody(api))
    for journal, connection in (("a", 1), ("b", 1), ("a", 2), ("b", 2)):
        online(api, "mall-1", journal=journal, connection=connection)
    said = part(api, "speakers")
    assert (said["well"], said["warned"]) == (True, True)
    assert "enrol it anew: mall-1" in said["what"]


def test_an_account_that_somebody_else_uses_is_red(api: Api) -> None:
    assert part(api, "accounts")["well"]
    hold(api.town.store, "gw-0", "host/1", GATEWAY_LEASE_US)
    api.town.engine.handle([AccountTaken("gw-0", "gw-0", "host/1", said=False)])
    red = part(api, "accounts")
    assert not red["well"]
    assert "gw-0" in red["what"]
    assert "most likely" in red["what"]
    assert "new secrets" in red["still_works"]
