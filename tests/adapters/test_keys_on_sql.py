"""What gateways find of keys and of the broker's copies, kept in every kind of store."""

from __future__ import annotations

from dataclasses import replace

from services.dispatcher.domain.signing_keys import KeyState
from services.dispatcher.engine.air import broker_copies, signing_keys
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import BrokerCopy, Stream
from services.dispatcher.engine.writing import WritableStore

KEY = KeyState("actual-city-1", "actual", "city", "210200000000", (1, 2, 3, 4), 2**52)


def test_a_key_comes_back_with_what_each_gateway_knows(store: WritableStore) -> None:
    signing_keys.report(store, "gw-0", [KeyReport(KEY, "", 1_000_000, 1_500)], 1)
    signing_keys.report(store, "gw-1", [KeyReport(KEY, "empty", None, 0, "unknown_key", 0)], 1)
    with store.read() as read:
        (row,) = read.find(KeyState, Page(), use="actual")
    assert replace(row, gateways={}) == KEY
    assert {name: (at.fault, at.failed, at.home_us > 0) for name, at in row.gateways.items()} == {
        "gw-0": ("", "", True),
        "gw-1": ("empty", "unknown_key", False),
    }
    signing_keys.report(store, "gw-0", [], 1)
    signing_keys.report(store, "gw-1", [], 1)
    with store.read() as read:
        assert read.find(KeyState, Page()) == []


def test_copies_are_kept_for_occupied_streams_alone(store: WritableStore) -> None:
    broker_copies.note(store, "gw-0", {"a": "", "b": "missing"})
    broker_copies.note(store, "gw-0", {"b": ""})
    with store.read() as read:
        (row,) = read.find(BrokerCopy, Page())
        seen = broker_copies.health(read)
    assert (row.id, row.found, row.confirmed_us >= row.since_us) == ("b", "", True)
    assert (seen.confirmed, seen.unconfirmed, seen.well) == (1, 0, True)


def test_streams_are_read_by_several_topics_at_once(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(*(Stream(name, "210200000000", "actual", "city") for name in ("a", "b", "c")))
    with store.read() as read:
        assert [row.id for row in read.find(Stream, Page(), id=("a", "c"))] == ["a", "c"]
