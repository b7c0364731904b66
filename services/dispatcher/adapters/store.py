"""The SQL store: the engine's port on SQLite or PostgreSQL, by the URL it is given.

SQLite: WAL, every commit synced, one writer at a time. PostgreSQL: rows and names are locked, or versions compared.
A transaction that lost against another raises Conflict; run as a whole again, it sees what the other did.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import cast

import psycopg
import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event, exc, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from ..engine.clock import GuardedClock
from ..engine.ports import Clock, Conflict, Read, StoreUnavailable, Tx
from .store_changes import Changes, PostgresChanges, SqliteChanges
from .store_read import SqlRead
from .store_write import SqlTx

__all__ = ["Conflict", "SqlStore", "HostClock", "open_engine", "translated", "writing"]

CONNECTIONS_MAX = 10
WAIT_S = 5.0
WAL_PAGES = 8_000
"""Pages in SQLite's write-ahead log before they move into the file, 4 KiB each."""
CACHE_KIB = 16_000
LOOK_AGAIN_S = 0.000_5

_WRITES = "tocsin_writes"
_POSTGRES_OPTIONS = "-c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
_SAME_KEY = (sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE)


class HostClock:
    """The machine's own clocks, in µs. The monotonic one goes on while the machine is suspended, where there is such a
    clock: having slept is no jump."""

    def now_us(self) -> int:
        return time.time_ns() // 1_000

    def mono_us(self) -> int:
        return time.clock_gettime_ns(_MONOTONIC) // 1_000


_MONOTONIC = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_BOOT = Path("/proc/sys/kernel/random/boot_id")


def machine_boot() -> str:
    """Names this machine's run since its start; where it can't be told, this process alone."""
    try:
        return _BOOT.read_text("ascii").strip()
    except (OSError, ValueError):
        return f"process/{os.urandom(16).hex()}"


class SqlStore:
    """Where the facts are. Safe for many threads, and for many processes with a store each.

    `url` is `sqlite:///path` or `postgresql://…`. SQLite tells time by `clock`, PostgreSQL by its own, of which
    `elsewhere` says whether it is another machine's. The time of every transaction is that of `self.clock`, which this
    process trusts also when those jump.
    `wait_s` is how long to wait for a connection, or for SQLite's other writers, before giving up.
    Raises StoreUnavailable when the database can't be reached; the next call tries again.
    """

    def __init__(
        self, url: str, clock: Clock | None = None, wait_s: float = WAIT_S, *, elsewhere: bool = False
    ) -> None:
        boot = machine_boot() if clock is None else ""
        self.clock = GuardedClock(clock or HostClock(), boot, elsewhere=elsewhere)
        self._wait_s = wait_s
        self._engine = open_engine(url, wait_s)
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
            with _pipelined(connection) as pipeline:
                tx = SqlTx(connection, self.clock, pipeline)
                yield tx
                tx.flush()
            tx.check()

    @contextmanager
    def _read(self) -> Iterator[Read]:
        with translated(), self._reading.connect() as connection, connection.begin():
            yield SqlRead(connection, self.clock)

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        if self._postgres:
            yield
            return
        if not self._turn.acquire(timeout=self._wait_s):
            raise StoreUnavailable(f"another transaction has been writing for more than {self._wait_s:g} s")
        try:
            yield
        finally:
            self._turn.release()


@contextmanager
def _pipelined(connection: Connection) -> Iterator[psycopg.Pipeline | None]:
    """PostgreSQL is asked in a pipeline: over a network every answer that nobody waits for is time won."""
    driver = connection.connection.dbapi_connection
    if not isinstance(driver, psycopg.Connection):
        yield None
        return
    with driver.pipeline() as pipeline:
        try:
            yield pipeline
        except BaseException:
            # What was still under way is of no interest any more, and the driver would write it to its log.
            with suppress(psycopg.Error):
                pipeline.sync()
            raise


def writing(engine: Engine) -> Engine:
    """The same connections for transactions that write: SQLite must know that from their first word."""
    return engine.execution_options(**{_WRITES: True})


def open_engine(url: str, wait_s: float = WAIT_S) -> Engine:
    """A SQLAlchemy engine as the store uses it. ValueError for a URL of neither database."""
    where = make_url(url)
    match where.get_backend_name():
        case "sqlite":
            return _sqlite(where, wait_s)
        case "postgresql":
            return _postgres(where, wait_s)
        case other:
            raise ValueError(f"the database is SQLite or PostgreSQL, not {other}")


def _sqlite(url: URL, wait_s: float) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError("SQLite needs a file")
    engine = sqlalchemy.create_engine(
        url.set(drivername="sqlite"),
        poolclass=sqlalchemy.QueuePool,
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=wait_s,
        # The connection used last has the warmest page cache.
        pool_use_lifo=True,
        connect_args={"timeout": wait_s, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _settle(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        assert isinstance(connection, sqlite3.Connection)
        # The driver would begin transactions by its own rules; `_begin` does it by ours.
        connection.isolation_level = None
        _begin_log(connection, wait_s)
        for pragma in (
            "synchronous = FULL",
            "foreign_keys = ON",
            f"wal_autocheckpoint = {WAL_PAGES}",
            f"cache_size = -{CACHE_KIB}",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver = cast("sqlite3.Connection", connection.connection.dbapi_connection)
        if connection.get_execution_options().get(_WRITES, False):
            _begin_writing(driver, wait_s)
        else:
            driver.execute("BEGIN")

    return engine


def _begin_log(connection: sqlite3.Connection, wait_s: float) -> None:
    """Of several processes that open a new file at once one makes its write-ahead log, and SQLite lets the others fail
    at once instead of waiting for it."""
    _when_free(connection, "PRAGMA journal_mode = WAL", wait_s)


def _begin_writing(connection: sqlite3.Connection, wait_s: float) -> None:
    """Wait for the writers of other processes. SQLite's own waiting sleeps ever longer between two looks, and an alarm
    has no time for that."""
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        _when_free(connection, "BEGIN IMMEDIATE", wait_s)
    finally:
        connection.execute(f"PRAGMA busy_timeout = {round(wait_s * 1_000)}")


def _when_free(connection: sqlite3.Connection, sql: str, wait_s: float) -> None:
    """Try until other processes let it be. Raises StoreUnavailable."""
    until = time.monotonic() + wait_s
    while True:
        try:
            connection.execute(sql)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise StoreUnavailable(f"the database can't be used now: {error}") from error
            if time.monotonic() >= until:
                raise StoreUnavailable(f"another process has been writing for more than {wait_s:g} s") from error
        time.sleep(LOOK_AGAIN_S)


def _postgres(url: URL, wait_s: float) -> Engine:
    return sqlalchemy.create_engine(
        url.set(drivername="postgresql+psycopg"),
        pool_size=CONNECTIONS_MAX,
        max_overflow=0,
        pool_timeout=wait_s,
        pool_pre_ping=True,
        connect_args={"connect_timeout": max(2, round(wait_s)), "options": _POSTGRES_OPTIONS},
    )


@contextmanager
def translated() -> Iterator[None]:
    """The vendors' words for "not now" become the port's; mistakes of ours stay what they are."""
    try:
        yield
    except exc.TimeoutError as error:
        raise StoreUnavailable("every connection to the database is in use") from error
    except (exc.DBAPIError, sqlite3.Error, psycopg.Error) as error:
        meaning = _meaning(error.orig if isinstance(error, exc.DBAPIError) else error)
        if meaning is None:
            raise
        raise meaning from error


def _meaning(error: BaseException | None) -> StoreUnavailable | None:
    match error:
        case psycopg.errors.SerializationFailure() | psycopg.errors.DeadlockDetected():
            return Conflict("another transaction held what this one needed")
        case psycopg.errors.UniqueViolation():
            return Conflict("another transaction wrote the same key first")
        case sqlite3.IntegrityError() if error.sqlite_errorcode in _SAME_KEY:
            return Conflict("another transaction wrote the same key first")
        case psycopg.OperationalError() | psycopg.InterfaceError() | psycopg.errors.IdleInTransactionSessionTimeout():
            return StoreUnavailable(f"the database can't be used now: {error}")
        case sqlite3.OperationalError() if error.sqlite_errorcode != sqlite3.SQLITE_ERROR:
            return StoreUnavailable(f"the database can't be used now: {error}")
        case _:
            # Wrong SQL or a missing table (SQLITE_ERROR): waiting helps neither.
            return None
