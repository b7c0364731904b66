"""The dispatcher's database in the simulation: the memory store, its backups, and processes that die at its commits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.engine.ports import Clock, Read, StoreUnavailable, Tx

Tables = dict[object, dict[Any, Any]]


class Killed(BaseException):
    """The process is gone: nothing may catch this but the one who killed it."""


class Database(MemoryStore):
    """The store in memory with backups. `away` makes it unreachable."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.away = False
        self.commits = 0

    def backup(self) -> Tables:
        """Everything as it is now. Rows never change in place; an order's expected rows are a table of their own."""
        copied = {name: dict(rows) for name, rows in self._tables.items()}
        copied["expected"] = {order: dict(rows) for order, rows in self._tables.get("expected", {}).items()}
        return copied

    def restore(self, backup: Tables) -> Database:
        """Go back to a backup; what is given up is returned as a database of its own."""
        lost = Database(self._clock)
        lost._tables = self.backup()
        self._tables = backup
        return lost

    def wanted(self) -> bool:
        """Whether some effect waits to be claimed now."""
        now_us = self._clock.now_us()
        effects = self.rows("effect").values()
        return any(e.not_before_us <= now_us and e.leased_until_us <= now_us for e in effects)

    def rows(self, table: object) -> dict[Any, Any]:
        """One table as it is, for those who watch; "effect", "timer" and "log" by these names, the rest by type."""
        return self._tables.get(table, {})


class Process:
    """One process's view of the database. It can be killed at any commit and at any of its own `boundary` calls."""

    def __init__(self, database: Database, name: str, committed: Callable[[], None]) -> None:
        self._database, self.name, self._committed = database, name, committed
        self.alive = True
        self.died_at = ""
        self._dies_after: int | None = None

    def die_after(self, boundaries: int) -> None:
        """Be killed at the n-th boundary from now."""
        self._dies_after = boundaries

    @property
    def quiet(self) -> Database:
        """The database for what is written over and counts as no commit: nobody waits for it, and nobody dies in it."""
        return self._database

    @property
    def commits(self) -> int:
        """How often anybody has committed; the same number means that nothing has changed."""
        return self._database.commits

    def spare(self) -> None:
        """It will not be killed after all."""
        self._dies_after = None

    def kill(self) -> None:
        self.alive = False

    def boundary(self, where: str) -> None:
        """A place between two effects."""
        if self._dies_after is None:
            return
        self._dies_after -= 1
        if self._dies_after < 0:
            self._dies_after = None
            self.alive, self.died_at = False, where
            raise Killed

    def write(self) -> AbstractContextManager[Tx]:
        return self._write()

    @contextmanager
    def _write(self) -> Iterator[Tx]:
        if self._database.away:
            raise StoreUnavailable("the database is away")
        with self._database.write() as tx:
            yield tx
            self.boundary("before commit")
        self._database.commits += 1
        self._committed()
        self.boundary("after commit")

    def read(self) -> AbstractContextManager[Read]:
        if self._database.away:
            raise StoreUnavailable("the database is away")
        return self._database.read()
