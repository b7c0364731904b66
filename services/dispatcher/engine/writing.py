"""The engine's way to write. `pyproject.toml` says who may import this module: the engine's rooms, and nobody else."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Protocol, cast

from .ports import Store, Tx


class WritableStore(Store, Protocol):
    """What every store is. Who is handed a store sees a `Store`, which only reads."""

    def write(self) -> AbstractContextManager[Tx]: ...


def write(store: Store) -> AbstractContextManager[Tx]:
    """A transaction that commits when its block ends and rolls back when it raises. Raises StoreUnavailable."""
    return cast("WritableStore", store).write()
