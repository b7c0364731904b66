"""The SQL store: the engine's port on SQLite or PostgreSQL, by the URL it is given.

SQLite: WAL, every commit synced, one writer at a time. PostgreSQL: rows and names are locked, or versions compared.
A transaction that lost against another raises Conflict; run as a whole again, it sees what the other did.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import cast

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, exc, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from ..engine.ports import Clock, Conflict, Read, StoreUnavailable, Tx
from .store_changes import Changes, PostgresChanges, SqliteChanges
from .store_read import SqlRead
from .store_write import SqlTx

__all__ = ["Conflict", "SqlStore", "SystemClock", "open_engine", "translated", "writing"]

CONNECTIONS_MAX = 10
WAIT_S_MAX = 5
WAL_PAGES = 8_000
"""Pages in SQLite's write-ahead log before they move into the file, 4 KiB each."""
CACHE_KIB = 16_000

_WRITES = "tocsin_writes"
_POSTGRES_OPTIONS = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
_LOST_SQLSTATES = frozenset({"40001", "40P01"})
"""Serialization failure, deadlock: somebody else went first."""


class SystemClock:
    """The machine's own clocks, in µs."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def mono_us(self) -> int:
        return time.monotonic_ns() // 1_000


class SqlStore:
    """Where the facts are. Safe for many threads, and for many processes with a store each.

    `url` is `sqlite:///path` or `postgresql://…`; `clock` counts only for SQLite, PostgreSQL's own does otherwise.
    Raises StoreUnavailable when the database can't be reached; the next call tries again.
    """

    def __init__(self, url: str, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._engine = open_engine(url)
        self._postgres = self._engine.dialect.name == "postgresql"
        self._writing = writing(self._engine)
        isolation = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if self._postgres else {}
        self._reading = self._engine.execution_options(**isolation)
        # SQLite lets others wait by sleeping; threads of one process wait better for each other here.
        self._turn = threading.Lock()
        self._waiting = threading.local()

    def write(self) -> AbstractContextManager[Tx]:
        """A transaction that commits when its block ends and rolls back when it raises."""
        return self._write()

    def read(self) -> AbstractContextManager[Read]:
        """One snapshot, beside any writer."""
        return self._read()

    def changes(self) -> Changes:
        """What the calling thread waits with for other transactions' commits; a thread's first call makes its own.

        Commits from that first call on are noticed, also those between two waits. Raises StoreUnavailable.
        """
        if not hasattr(self._waiting, "changes"):
            self._waiting.changes = (
                PostgresChanges(self._engine.url) if self._postgres else SqliteChanges(self._engine.url)
            )
        return cast("Changes", self._waiting.changes)

    def close(self) -> None:
        """Close the idle connections. Each thread closes its own `changes`."""
        self._engine.dispose()

    @contextmanager
    def _write(self) -> Iterator[Tx]:
        with translated(), self._my_turn(), self._writing.connect() as connection, connection.begin():
            yield SqlTx(connection, self._now_us)

    @contextmanager
    def _read(self) -> Iterator[Read]:
        with translated(), self._reading.connect() as connection, connection.begin():
            yield SqlRead(connection, self._now_us)

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if self._postgres:
            yield
            return
        if not self._turn.acquire(timeout=WAIT_S_MAX):
            raise StoreUnavailable(f"another transaction has been writing for more than {WAIT_S_MAX} s")
        try:
            yield
        finally:
            self._turn.release()

    def _now_us(self, connection: Connection) -> int:
        if not self._postgres:
            return self._clock.now_us()
        sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)"
        return int(connection.exec_driver_sql(sql).scalar_one())


def writing(engine: Engine) -> Engine:
    """The same connections for transactions that write: SQLite must know that from their first word."""
    return engine.execution_options(**{_WRITES: True})


def open_engine(url: str) -> Engine:
    """A SQLAlchemy engine as the store uses it. ValueError for a URL of neither database."""
    where = make_url(url)
    match where.get_backend_name():
        case "sqlite":
            return _sqlite(where)
        case "postgresql":
            return _postgres(where)
        case other:
            raise ValueError(f"the database is SQLite or PostgreSQL, not {other}")


def _sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file")
    engine = sqlalchemy.create_engine(
        url.set(drivername="sqlite"),
        poolclass=sqlalchemy.QueuePool,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=WAIT_S_MAX,
        # The connection used last has the warmest page cache.
        pool_use_lifo=True,
        connect_args={"timeout": WAIT_S_MAX, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _settle(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        # The driver would begin transactions by its own rules; `_begin` does it by ours.
        connection.isolation_level = None
        for pragma in (
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            f"wal_autocheckpoint = {WAL_PAGES}",
            f"cache_size = -{CACHE_KIB}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres(url: URL) -> Engine:
    return sqlalchemy.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=WAIT_S_MAX,
        pool_pre_ping=True,
        connect_args={"connect_timeout": WAIT_S_MAX, "options": _POSTGRES_OPTIONS},
    )


@contextmanager
def translated() -> Iterator[None]:
    """The vendors' words for "not now" become the port's; mistakes of ours stay what they are."""
    try:
        yield
    except exc.IntegrityError as error:
        # Two transactions wrote the same key; any other broken constraint is a mistake.
        if getattr(error.orig, "sqlstate", "") == "23505" or "UNIQUE" in str(error.orig):
            raise Conflict("another transaction wrote the same key first") from error
        raise
    except exc.OperationalError as error:
        if getattr(error.orig, "sqlstate", None) in _LOST_SQLSTATES:
            raise Conflict("another transaction held what this one needed") from error
        raise StoreUnavailable(f"the database can't be used now: {error.orig}") from error
    except (exc.InterfaceError, exc.TimeoutError) as error:
        raise StoreUnavailable("the database can't be reached now") from error
    except exc.DBAPIError as error:
        if error.connection_invalidated:
            raise StoreUnavailable("the connection to the database was lost") from error
        raise
