"""Waiting for other transactions' commits, so that the relay wakes within milliseconds of a saved effect.

A hint and no more: it may wake for nothing, and who waits also looks at times of its own.
"""

from __future__ import annotations

import sqlite3
import time
from typing import Protocol

import psycopg
from sqlalchemy import URL

from ..engine.ports import StoreUnavailable
from .store_write import CHANNEL

LOOK_EVERY_S = 0.005
CONNECT_S_MAX = 5


class Changes(Protocol):
    """Tells of commits since the last wait. For one thread at a time."""

    def wait(self, timeout_s: float) -> bool:
        """Whether something was committed since the last call, at most `timeout_s` later. Raises StoreUnavailable."""

    def close(self) -> None:
        """Let go of the connection."""


class SqliteChanges:
    """Asks SQLite's data_version, which moves with any commit of another connection, every few milliseconds."""

    def __init__(self, url: URL) -> None:
        self._file = url.database or ""
        self._connection: sqlite3.Connection | None = None
        self._version = self._look()

    def wait(self, timeout_s: float) -> bool:
        until = time.monotonic() + timeout_s
        while True:
            version = self._look()
            if version != self._version:
                self._version = version
                return True
            left_s = until - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(LOOK_EVERY_S, left_s))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _look(self) -> int:
        try:
            if self._connection is None:
                self._connection = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        except sqlite3.Error as error:
            self.close()
            raise StoreUnavailable("the database file can't be read now") from error


class PostgresChanges:
    """Listens for the notice that `save` sends with its transaction."""

    def __init__(self, url: URL) -> None:
        self._where = url.set(drivername="postgresql").render_as_string(hide_password=False)
        self._connection: psycopg.Connection | None = None
        self._listen()

    def wait(self, timeout_s: float) -> bool:
        try:
            if self._connection is None:
                # What was said while nobody listened is unknown: look.
                self._listen()
                return True
            told = False
            for _ in self._connection.notifies(timeout=timeout_s, stop_after=1):
                told = True
            return told
        except psycopg.OperationalError as error:
            self.close()
            raise StoreUnavailable("the connection to the database was lost") from error

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _listen(self) -> None:
        try:
            connection = psycopg.connect(self._where, autocommit=True, connect_timeout=CONNECT_S_MAX)
            connection.execute(f"LISTEN {CHANNEL}")
        except psycopg.OperationalError as error:
            raise StoreUnavailable("the database can't be reached now") from error
        self._connection = connection
