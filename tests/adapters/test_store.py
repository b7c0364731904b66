"""What only the SQL store does: conflicts, outages, waking others, and the settings of the databases."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Barrier

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import exc

from services.dispatcher.adapters.rows import KNOWN_MAX, decode, encode
from services.dispatcher.adapters.store import SqlStore, open_engine
from services.dispatcher.domain.effects import Carry, Record, Save
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Venue
from services.dispatcher.domain.signals import Place, Signal
from services.dispatcher.engine.ports import Conflict, Page, StoreUnavailable
from services.dispatcher.engine.rows import Stream
from tests.adapters.neighbours import INCIDENT
from tests.adapters.test_store_contract import SIGNAL
from tests.postgres import PostgresServer

CANARY = Save(Carry.CANARY, "worker")


@pytest.fixture
def two(database_url: str) -> Iterator[tuple[SqlStore, SqlStore]]:
    """Two stores on one database, as two processes have them."""
    stores = SqlStore(database_url), SqlStore(database_url)
    yield stores
    for store in stores:
        store.close()


@pytest.fixture
def postgres_pair(postgresql_url: str) -> Iterator[tuple[SqlStore, SqlStore]]:
    stores = SqlStore(postgresql_url), SqlStore(postgresql_url)
    yield stores
    for store in stores:
        store.close()


def test_who_changes_a_row_that_another_changed_since_must_start_again(
    postgres_pair: tuple[SqlStore, SqlStore],
) -> None:
    mine, theirs = postgres_pair
    with mine.write() as tx:
        tx.put(INCIDENT)
    with pytest.raises(Conflict), mine.write() as tx:
        before = tx.get(Incident, INCIDENT.id)
        assert before is not None
        with theirs.write() as other:
            other.put(replace(other.get_locked(Incident, INCIDENT.id) or INCIDENT, task="theirs"))
        tx.record(Record("lost", INCIDENT.id, "must not stay"))
        tx.put(replace(before, alert="mine"))
    with mine.read() as read:
        assert read.get(Incident, INCIDENT.id) == replace(INCIDENT, task="theirs")
        assert read.log_of(None) == []


def test_a_search_is_a_reading_too(postgres_pair: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = postgres_pair
    with mine.write() as tx:
        tx.put(INCIDENT)
    with pytest.raises(Conflict), mine.write() as tx:
        (before,) = tx.find(Incident, hazard="fire")
        with theirs.write() as other:
            other.get(Incident, INCIDENT.id)
            other.put(replace(INCIDENT, task="theirs"))
        tx.put(replace(before, alert="mine"))


def test_who_locks_the_row_goes_on_from_what_it_is_by_then(postgres_pair: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = postgres_pair
    with mine.write() as tx:
        tx.put(INCIDENT)
    with mine.write() as tx:
        tx.find(Incident, hazard="fire")
        with theirs.write() as other:
            other.put(replace(other.get_locked(Incident, INCIDENT.id) or INCIDENT, task="theirs"))
        locked = tx.get_locked(Incident, INCIDENT.id)
        assert locked == replace(INCIDENT, task="theirs")
        tx.put(replace(locked, alert="mine"))
    with mine.read() as read:
        assert read.get(Incident, INCIDENT.id) == replace(INCIDENT, task="theirs", alert="mine")


def test_two_who_both_found_nothing_can_not_both_insert(postgres_pair: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = postgres_pair
    stream = Stream("s/1", "210200000000", "actual", "dalian")
    with pytest.raises(Conflict), mine.write() as tx:
        assert tx.get_locked(Stream, "s/1") is None
        with theirs.write() as other:
            assert other.get_locked(Stream, "s/1") is None
            other.put(stream)
        tx.put(stream)


def test_a_signal_stored_by_another_meanwhile_is_a_conflict(two: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = two
    with theirs.write() as other:
        other.add_signal(SIGNAL, "i-1")
    with pytest.raises(Conflict), mine.write() as tx:
        tx.add_signal(SIGNAL, "i-2")
    with mine.read() as read:
        assert read.signal_incident(SIGNAL.key) == "i-1"


def test_a_log_line_linked_by_another_meanwhile_is_a_conflict(two: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = two
    with mine.write() as tx:
        tx.record(Record("a", "b", "c"))
        (row,) = tx.unchained(1)
    with theirs.write() as other:
        other.link([replace(row, link=1, hash="theirs")])
    with pytest.raises(Conflict), mine.write() as tx:
        tx.link([replace(row, link=1, hash="mine")])
    with mine.read() as read:
        assert read.chain_head() == (1, "theirs")


def test_of_two_who_hold_what_the_other_wants_one_must_start_again(postgres_pair: tuple[SqlStore, SqlStore]) -> None:
    holding = Barrier(2)

    def cross(store: SqlStore, first: str, second: str) -> str:
        try:
            with store.write() as tx:
                tx.lock(first)
                holding.wait(timeout=10)
                tx.lock(second)
        except Conflict:
            return "must start again"
        return "went on"

    with ThreadPoolExecutor(2) as threads:
        mine = threads.submit(cross, postgres_pair[0], "a", "b")
        theirs = threads.submit(cross, postgres_pair[1], "b", "a")
        assert sorted([mine.result(), theirs.result()]) == ["must start again", "went on"]


def test_names_are_locked_in_one_order_whatever_order_they_are_given_in(
    postgres_pair: tuple[SqlStore, SqlStore],
) -> None:
    def lock(store: SqlStore, *names: str) -> None:
        for _ in range(50):
            with store.write() as tx:
                tx.lock(*names)
                tx.lock(*names)

    with ThreadPoolExecutor(2) as threads:
        both = [
            threads.submit(lock, postgres_pair[0], "a", "b", "c"),
            threads.submit(lock, postgres_pair[1], "c", "b", "a"),
        ]
        assert [done.result() for done in both] == [None, None]


def test_threads_write_more_incidents_at_once_than_are_remembered() -> None:
    def write(number: int) -> None:
        for each in range(4 * KNOWN_MAX):
            encode(replace(INCIDENT, id=f"{number}-{each}"))

    before = sys.getswitchinterval()
    # Threads give way to each other between nearly any two steps.
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for done in [threads.submit(write, number) for number in range(4)]:
                done.result(timeout=60)
    finally:
        sys.setswitchinterval(before)


def test_changing_a_versioned_row_without_reading_it_is_a_mistake_of_ours(database_url: str) -> None:
    store = SqlStore(database_url)
    with store.write() as tx:
        tx.put(INCIDENT)
    with pytest.raises(AssertionError, match="has not read it"), store.write() as tx:
        tx.put(replace(INCIDENT, level=1))
    store.close()


def test_a_search_by_a_field_without_a_column_is_a_mistake_of_ours(database_url: str) -> None:
    store = SqlStore(database_url)
    with store.read() as read:
        with pytest.raises(AssertionError, match="Incident can't be found by headline"):
            read.find(Incident, headline="x")
        with pytest.raises(AssertionError, match="Venue can't be ordered by people"):
            read.find(Venue, Page(order="-people"))
    store.close()


def test_one_transaction_is_one_moment(database_url: str) -> None:
    store = SqlStore(database_url)
    with store.write() as tx:
        moment_us = tx.now_us()
        tx.record(Record("a", "b", "c"))
        assert tx.now_us() == moment_us
        assert [row.at_us for row in tx.log_of(None)] == [moment_us]
    store.close()


def test_sqlite_takes_the_time_from_the_clock_it_is_given(sqlite_url: str) -> None:
    @dataclass
    class Stopped:
        def now_us(self) -> int:
            return 77

        def mono_us(self) -> int:
            return 0

    store = SqlStore(sqlite_url, Stopped())
    with store.write() as tx:
        tx.save(CANARY)
    with store.read() as read:
        assert (read.now_us(), [effect.not_before_us for effect in read.open_effects()]) == (77, [77])
    store.close()


def test_sqlite_syncs_every_commit_and_lets_readers_read(sqlite_url: str) -> None:
    engine = open_engine(sqlite_url)
    with engine.connect() as connection:
        told = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    engine.dispose()
    assert told == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5_000}


def test_a_reader_sees_one_moment_while_others_write(two: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = two
    with mine.read() as read:
        assert read.log_of(None) == []
        with theirs.write() as other:
            other.record(Record("a", "b", "c"))
        assert read.log_of(None) == []
    with mine.read() as read:
        assert [row.kind for row in read.log_of(None)] == ["a"]


def test_who_opens_a_new_sqlite_file_waits_for_another_who_does(tmp_path: Path) -> None:
    first = sqlite3.connect(tmp_path / "new.db", isolation_level=None, check_same_thread=False)
    first.execute("BEGIN IMMEDIATE")
    engine = open_engine(f"sqlite:///{tmp_path / 'new.db'}")
    with ThreadPoolExecutor() as pool:
        second = pool.submit(lambda: engine.connect().exec_driver_sql("PRAGMA journal_mode").scalar())
        wait([second], timeout=0.2)
        assert not second.done()
        first.execute("COMMIT")
        assert second.result(timeout=10) == "wal"
    first.close()
    engine.dispose()


def test_waiting_for_another_writer_of_sqlite_has_an_end(sqlite_url: str) -> None:
    first, second = SqlStore(sqlite_url, wait_s=0.01), SqlStore(sqlite_url, wait_s=0.01)
    with first.write() as tx:
        tx.save(CANARY)
        with pytest.raises(StoreUnavailable, match=r"another process has been writing for more than 0\.01 s"):
            second.write().__enter__()
        with pytest.raises(StoreUnavailable, match=r"another transaction has been writing for more than 0\.01 s"):
            first.write().__enter__()
    with second.write() as tx:
        tx.save(CANARY)
        assert [effect.wanted for effect in tx.open_effects()] == [2]
    first.close()
    second.close()


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql://nobody@/none?host=/nowhere"])
def test_a_database_out_of_reach_is_unavailable(url: str) -> None:
    store = SqlStore(url)
    with pytest.raises(StoreUnavailable) as away, store.read() as read:
        read.get(Incident, "i-1")
    assert isinstance(away.value.__cause__, exc.OperationalError)
    with pytest.raises(StoreUnavailable):
        store.write().__enter__()
    with pytest.raises(StoreUnavailable):
        store.changes()


@pytest.mark.parametrize("url", ["mysql://x/y", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="SQLite"):
        SqlStore(url)


def test_missing_tables_are_no_outage(tmp_path: Path, postgres_server: PostgresServer) -> None:
    for url in (f"sqlite:///{tmp_path / 'bare.db'}", postgres_server.url("postgres")):
        store = SqlStore(url)
        missing = (sqlite3.OperationalError, psycopg.errors.UndefinedTable)
        with pytest.raises(missing, match="incident"), store.read() as read:
            read.get(Incident, "i-1")
        store.close()


def _hang_up(server: PostgresServer) -> None:
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'tocsin'")


def test_a_lost_connection_is_an_outage_and_the_next_call_finds_its_way_back(
    postgresql_url: str, postgres_server: PostgresServer
) -> None:
    store = SqlStore(postgresql_url)
    with pytest.raises(StoreUnavailable), store.write() as tx:
        tx.save(CANARY)
        _hang_up(postgres_server)
        tx.save(CANARY)
    with store.write() as tx:
        assert tx.open_effects() == []
        tx.save(CANARY)
    _hang_up(postgres_server)
    with store.read() as read:
        assert [effect.wanted for effect in read.open_effects()] == [1]
    store.close()


def test_a_saved_effect_wakes_who_waits_elsewhere(two: tuple[SqlStore, SqlStore]) -> None:
    mine, theirs = two
    changes = mine.changes()
    assert changes is mine.changes()
    assert not changes.wait(0.01)
    with theirs.write() as tx:
        tx.save(CANARY)
        tx.save(CANARY)
        assert not changes.wait(0.01)
    assert changes.wait(10)
    assert not changes.wait(0.01)
    with pytest.raises(ZeroDivisionError), theirs.write() as tx:
        tx.save(CANARY)
        1 / 0  # noqa: B018
    assert not changes.wait(0.01)
    changes.close()


def test_who_waits_for_changes_looks_again_after_an_outage(
    postgresql_url: str, postgres_server: PostgresServer
) -> None:
    store = SqlStore(postgresql_url)
    changes = store.changes()
    _hang_up(postgres_server)
    with pytest.raises(StoreUnavailable):
        changes.wait(10)
    assert changes.wait(10)
    assert not changes.wait(0.01)
    changes.close()
    store.close()


def test_rows_of_older_and_newer_code_can_be_read() -> None:
    @dataclass(frozen=True, slots=True)
    class Newer:
        id: str
        place: Place
        added: int = 5

    assert decode(Newer, '{"id":"x","place":{"venue":"v","gone":1}}') == Newer("x", Place("v"))
    older = encode(SIGNAL).replace('"headline"', '"renamed"')
    assert decode(Signal, older) == replace(SIGNAL, headline="")


def test_a_text_no_database_can_hold_is_still_found(database_url: str) -> None:
    store = SqlStore(database_url)
    odd = "nul \0 and half a pair \ud83d"
    with store.write() as tx:
        tx.record(Record(odd, odd, odd, odd, {odd: odd}))
        (row,) = tx.log_of(odd)
    readable = "nul \ufffd and half a pair ?"
    assert (row.kind, row.subject, row.person) == (readable, readable, readable)
    store.close()


def test_text_is_ordered_byte_by_byte(two: tuple[SqlStore, SqlStore]) -> None:
    ids = ["a-b", "B", "_", "ab", "甲", "a", "É"]
    with two[0].write() as tx:
        tx.put(*(replace(INCIDENT, id=id) for id in ids))
    with two[1].read() as read:
        assert [i.id for i in read.find(Incident)] == sorted(ids, key=str.encode)
        assert [i.id for i in read.find(Incident, Page(order="-id"))] == sorted(ids, key=str.encode, reverse=True)


def test_a_password_in_the_url_is_used_and_not_shown() -> None:
    engine = open_engine("postgresql://u:secret@/d?host=/nowhere")
    assert (engine.url.password, "secret" in repr(engine.url)) == ("secret", False)
    assert isinstance(engine, sqlalchemy.Engine)
    engine.dispose()


def test_a_row_that_was_not_there_and_that_another_made_meanwhile_is_a_conflict(
    postgres_pair: tuple[SqlStore, SqlStore],
) -> None:
    ours, theirs = postgres_pair
    with pytest.raises(Conflict), ours.write() as tx:
        assert tx.asked(Stream, id="s")() == []
        with theirs.write() as other:
            other.put(Stream("s", "210202", "actual", "city"))
        tx.put(Stream("s", "210202", "actual", "city", manifest_version=7))
    with ours.read() as read:
        assert [row.manifest_version for row in read.find(Stream)] == [0]
