"""What joining relies on, whatever the store: signals by name and by witness, where incidents are listed, silences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.risk import History
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use, identity
from services.dispatcher.domain.silences import Silence, SilencedWord
from services.dispatcher.engine.ports import Conflict, Page
from services.dispatcher.engine.rows import Footprint, StoredSignal, Withdrawal
from services.dispatcher.engine.writing import WritableStore
from tests.adapters.neighbours import INCIDENT
from tests.builders import storm_signal

A1, A2 = "cap/weather/bureau,a1,1000", "cap/weather/bureau,a1,2000"
WORD = storm_signal("word", place=Place(areas=("210202000000",), names=("街",)))


def signal(key: str, received_us: int = 10, **changes: Any) -> Signal:
    return storm_signal(key, **{"received_us": received_us, **changes})


def footprint(incident: str, cell: str, **changes: Any) -> Footprint:
    return replace(Footprint(f"{incident}/{cell}", incident, "actual", "fire", cell, 3), **changes)


def test_nothing_goes_by_no_name(store: WritableStore) -> None:
    with store.write() as tx:
        tx.add_signal(signal("gb26875/1", 10), "i-1")
        assert tx.signals_named("") == []


@pytest.mark.parametrize(
    "row",
    [
        footprint("i-1", "venue/mall"),
        Withdrawal("w-1", identity(A1), A1, "weather", "actual", "c", 5, 10),
        History("actual/weather", 12, 3),
        Silence(
            "s-1", Use.ACTUAL, "li", "巡检", 1, 2, "weather", "dev", "fire", "210202000000", False, "zhao", 3, 4, 5
        ),
        SilencedWord("x", "s-1", Use.ACTUAL, "fire", "venue/mall", replace(WORD, evidence=Evidence.DETECTOR)),
    ],
    ids=lambda row: type(row).__name__,
)
def test_what_was_put_comes_back_as_it_was(store: WritableStore, row: Any) -> None:
    with store.write() as tx:
        tx.put(row)
    with store.read() as read:
        assert read.get(type(row), row.id) == row
    with store.write() as tx:
        tx.delete(type(row), row.id)
    with store.read() as read:
        assert read.find(type(row)) == []


def test_a_message_is_found_by_its_name_whatever_time_its_key_gives(store: WritableStore) -> None:
    group = f"{A2}#typhoon-2"
    with store.write() as tx:
        tx.add_signal(signal(A1, 10), "i-1")
        tx.add_signal(signal(A2, 20), "i-2")
        tx.add_signal(signal(group, 30), "")
        tx.add_signal(signal("cap/weather/bureau,a2,1000", 40), "i-3")
        tx.withdraw([A1, "no such signal"])
        found = tx.signals_named(identity(A1))
        assert tx.signals_named(identity(A1), 1) == found[:1]
    assert found == [
        StoredSignal(signal(group, 30), "", False),
        StoredSignal(signal(A2, 20), "i-2", False),
        StoredSignal(signal(A1, 10), "i-1", True),
    ]


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("cap/f/s,a,1000", "cap/f/s,a"),
        ("cap/f/s,a,-5", "cap/f/s,a"),
        ("cap/f/s,a,1000#typhoon-2", "cap/f/s,a"),
        ("cap/f/s,a b,c,1000", "cap/f/s,a b,c"),
        ("cap/f/1", "cap/f/1"),
        ("json/f/a,1000", "json/f/a,1000"),
        ("json/f/a#info", "json/f/a"),
        ("gb26875/1/2", "gb26875/1/2"),
    ],
)
def test_what_a_key_names(key: str, name: str) -> None:
    assert identity(key) == name


def test_names_and_witnesses_of_any_length_are_found(store: WritableStore) -> None:
    long = f"cap/f/{'s' * 5_000},a,1"
    with store.write() as tx:
        tx.add_signal(signal(long, device="d" * 5_000), "i-1")
        assert [row.signal.key for row in tx.signals_named(identity(long))] == [long]
        assert [s.key for s in tx.signals_standing("i-1", f"weather/{'d' * 5_000}")] == [long]


def test_what_stands_of_an_incident_is_found_by_witness_newest_first(store: WritableStore) -> None:
    mine = [signal(f"m-{n}", n) for n in range(3)]
    other = signal("o", 9, device="other")
    with store.write() as tx:
        for each in (*mine, other):
            tx.add_signal(each, "i-1")
        tx.add_signal(signal("elsewhere"), "i-2")
        tx.withdraw(["m-1"])
        assert tx.signals_standing("i-1", "weather/bureau") == [mine[2], mine[0]]
        assert tx.signals_standing("i-1", None) == [other, mine[2], mine[0]]
        assert tx.signals_standing("i-1", None, 1) == [other]


def test_signals_are_read_on_in_the_order_they_came(store: WritableStore) -> None:
    rows = [signal("b", 10), signal("a", 10), signal("c", 20, kind=SignalKind.CANCEL)]
    with store.write() as tx:
        for each in rows:
            tx.add_signal(each, "")
    with store.read() as read:
        assert read.signals_since(9, "") == [rows[1], rows[0], rows[2]]
        assert read.signals_since(10, "a") == [rows[0], rows[2]]
        assert read.signals_since(10, "a", 1) == [rows[0]]
        assert read.signals_since(20, "c") == []


def test_footprints_are_found_by_cell_and_follow_their_rows(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(footprint("i-1", "1/1"), footprint("i-2", "1/2"), footprint("i-2", "1/1", hazard="gas"))
        tx.put(footprint("i-3", "1/1", level=1))
    with store.write() as tx:
        found = tx.find(Footprint, Page(order="-id"), cell=("1/1", "1/2"), hazard="fire", use="actual")
        assert [f.incident for f in found] == ["i-3", "i-2", "i-1"]
        assert [f.incident for f in tx.find(Footprint, cell="1/1", level=(1, 2))] == ["i-3"]
        tx.delete(Footprint, "i-3/1/1")
        assert [f.incident for f in tx.find(Footprint, cell="1/1", hazard="fire")] == ["i-1"]
    with pytest.raises(ZeroDivisionError), store.write() as tx:
        tx.delete(Footprint, "i-1/1/1")
        1 / 0  # noqa: B018
    with store.read() as read:
        assert [f.incident for f in read.find(Footprint, cell="1/1", hazard="fire")] == ["i-1"]


def test_a_row_changed_in_a_transaction_is_read_and_found_as_it_was_left(store: WritableStore) -> None:
    with store.write() as tx:
        tx.put(INCIDENT)
    with store.write() as tx:
        incident = tx.get_locked(Incident, INCIDENT.id)
        assert incident is not None
        for count in range(1, 4):
            tx.put(replace(incident, signal_count=count, inhibited_by="greater"))
            found = tx.get_locked(Incident, INCIDENT.id)
            assert found is not None and found.signal_count == count
        assert [i.signal_count for i in tx.find(Incident, inhibited_by="greater")] == [3]
    with store.read() as read:
        kept = read.get(Incident, INCIDENT.id)
    assert kept == replace(INCIDENT, signal_count=3, inhibited_by="greater")


def test_a_row_that_another_changed_first_is_a_conflict_at_the_latest_at_the_end(postgresql_url: str) -> None:
    """Elsewhere there is one writer at a time."""
    store = SqlStore(postgresql_url)
    with store.write() as tx:
        tx.put(INCIDENT)
    with pytest.raises(Conflict), store.write() as tx:
        mine = tx.get(Incident, INCIDENT.id)
        assert mine is not None
        with store.write() as other:
            theirs = other.get(Incident, INCIDENT.id)
            assert theirs is not None
            other.put(replace(theirs, level=1))
        tx.put(replace(mine, level=2))
    store.close()
