"""What health says of the broker's copies of occupied streams, and which streams are occupied."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.dispatcher.domain.broadcasts import Broadcast, Stopped
from services.dispatcher.domain.effects import Carry
from services.dispatcher.engine.air import broker_copies, compared
from services.dispatcher.engine.air.broker_copies import SAME, CopiesHealth
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import BrokerCopy, Stream
from tests import builders
from tests.builders import DUTY, NOON_US, SECOND_US, Town
from tests.engine.signing import Keys, read, sign

KEYS = Keys()


@pytest.fixture
def town() -> Town:
    return builders.town()


def occupied(town: Town) -> list[str]:
    with town.store.read() as read:
        return list(broker_copies.occupied(read))


def test_only_streams_with_an_order_whose_time_is_not_over_are_asked_for(town: Town) -> None:
    assert occupied(town) == []
    alert = town.on_air()
    assert occupied(town) == [alert.stream]
    sign(town, alert.stream, KEYS)
    assert occupied(town) == [alert.stream]
    town.act(alert.id, Stopped("li", DUTY, "wait"))
    assert occupied(town) == [alert.stream]
    town.clock.advance(alert.valid_s + 1)
    assert occupied(town) == []


def test_the_stream_that_has_gone_unconfirmed_for_longest_is_shown(town: Town) -> None:
    broker_copies.note(town.store, "gw-0", {"a": "", "b": "missing"})
    town.clock.advance(100)
    broker_copies.note(town.store, "gw-0", {"a": "", "b": "missing"})
    with town.store.read() as read:
        seen = broker_copies.health(read)
    assert (seen.confirmed, seen.unconfirmed, seen.oldest, seen.oldest_us, seen.found) == (
        1,
        1,
        "b",
        NOON_US,
        "missing",
    )
    assert seen.well
    town.clock.advance(51)
    with town.store.read() as read:
        assert not broker_copies.health(read).well
    broker_copies.note(town.store, "gw-0", {"b": ""})
    with town.store.read() as read:
        assert broker_copies.health(read).well
        assert [row.id for row in read.find(BrokerCopy, Page())] == ["b"]


def test_a_comparison_that_no_longer_comes_is_not_well(town: Town) -> None:
    broker_copies.note(town.store, "gw-0", {"a": ""})
    town.clock.advance(151)
    with town.store.read() as read:
        assert not broker_copies.health(read).well


def test_what_speakers_would_refuse_is_signed_anew(town: Town) -> None:
    alert = town.on_air()
    first = sign(town, alert.stream, KEYS)
    broker_copies.sign_again(town.store, alert.stream, 1)
    assert f"publish_stream:{alert.stream}" in town.lanes()
    assert sign(town, alert.stream, KEYS).version > first.version
    assert town.get(Stream, alert.stream).orders


def compare(town: Town) -> dict[str, str]:
    """One comparison where the broker holds exactly what is stored; what it writes down."""
    with town.store.read() as reads:
        signed = [topic for topic, row in broker_copies.occupied(reads).items() if row is not None]
        found = broker_copies.judged(reads, dict.fromkeys(signed, SAME))
    broker_copies.note(town.store, "gw-0", found)
    return found


def health(town: Town) -> CopiesHealth:
    with town.store.read() as reads:
        return broker_copies.health(reads)


def published(town: Town, topic: str) -> None:
    """The gateway signs a stream and has it at the broker."""
    sign(town, topic, KEYS)
    with town.store.write() as tx:
        tx.done(*(e for e in tx.claim([Carry.PUBLISH_STREAM], "test", SECOND_US, 100) if e.subject == topic))


def test_an_alert_on_air_that_was_never_signed_is_not_well_after_five_seconds(town: Town) -> None:
    alert = town.on_air()
    assert compare(town) == {alert.stream: "not_signed"}
    town.clock.advance(5)
    assert health(town).well
    town.clock.advance(1)
    seen = health(town)
    assert (seen.well, seen.confirmed, seen.unconfirmed) == (False, 0, 1)
    assert (seen.oldest, seen.oldest_us, seen.found) == (alert.stream, NOON_US, "not_signed")


def test_an_alert_that_was_never_signed_is_not_well_before_any_comparison(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(6)
    seen = health(town)
    assert (seen.well, seen.unconfirmed, seen.oldest, seen.found) == (False, 1, alert.stream, "not_signed")


def test_a_stop_that_can_not_be_signed_is_not_confirmed_by_the_manifest_before_it(town: Town) -> None:
    alert = town.on_air()
    published(town, alert.stream)
    assert compare(town) == {alert.stream: SAME}
    town.clock.advance(60)
    town.act(alert.id, Stopped("li", DUTY, "wait"))
    stopped_us = town.clock.now_us()
    town.clock.advance(6)
    seen = health(town)
    assert (seen.well, seen.confirmed, seen.unconfirmed) == (False, 0, 1)
    assert (seen.oldest, seen.oldest_us, seen.found) == (alert.stream, stopped_us, "not_published")
    assert compare(town) == {alert.stream: "not_published"}
    published(town, alert.stream)
    assert compare(town) == {alert.stream: SAME}
    seen = health(town)
    assert (seen.well, seen.confirmed, seen.unconfirmed, seen.oldest) == (True, 1, 0, alert.stream)


def test_a_stream_without_an_order_that_waits_to_be_signed_is_not_counted(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(alert.valid_s + 1)
    assert (compare(town), health(town).well) == ({}, True)


def unknown(town: Town) -> str:
    """An alert runs, and the broker holds a newer manifest with another order."""
    alert = town.on_air()
    published(town, alert.stream)
    known = read(sign(town, alert.stream, KEYS), KEYS)
    strange = replace(known.orders[0], id="f" * 32, expires=known.orders[0].expires + 3_600 * SECOND_US)
    newer = replace(known, version=known.version + 60_000, orders=(strange,))
    raw = KEYS.sign_manifest(newer, (builders.CITY,))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, alert.stream, raw, newer, "actual-city-1", 0) == "unknown here"
    return alert.stream


def test_what_is_unknown_on_air_is_not_well_until_a_person_has_decided(town: Town) -> None:
    topic = unknown(town)
    assert (health(town).unknown, health(town).well, occupied(town)) == ((topic,), False, [])
    with town.store.write() as tx:
        compared.withdraw_unknown(tx, topic, "li")
    assert (health(town).unknown, health(town).well) == ((), True)
    town.clock.advance(6)
    assert not health(town).well
    published(town, topic)
    assert health(town).well


def test_what_a_person_has_withdrawn_occupies_its_stream_until_it_expires(town: Town) -> None:
    topic = unknown(town)
    with town.store.write() as tx:
        compared.withdraw_unknown(tx, topic, "li")
    published(town, topic)
    with town.store.read() as reads:
        alert = next(b for b in reads.find(Broadcast, Page(), stream=topic) if b.on_manifest)
    town.clock.advance(alert.valid_s + 60)
    assert occupied(town) == [topic]
    town.clock.advance(3_600)
    assert occupied(town) == []
