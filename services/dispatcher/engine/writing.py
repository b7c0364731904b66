"""The engine's way to write. `pyproject.toml` says who may import this module: the engine's rooms, and nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import Protocol, cast

from .ports import Store, Tx


class WritableStore(Store, Protocol):
    """What every store is. Who is handed a store sees a `Store`, which only reads."""

    def write(self) -> AbstractContextManager[Tx]: ...


Check = Callable[[Tx], None]
"""Looks at a transaction before anything else is done in it, and raises where it must not be committed."""
_check: ContextVar[Check | None] = ContextVar("check", default=None)


def write(store: Store) -> AbstractContextManager[Tx]:
    """A transaction that commits when its block ends and rolls back when it raises. Raises StoreUnavailable."""
    transaction = cast("WritableStore", store).write()
    check = _check.get()
    return transaction if check is None else _checking(transaction, check)


@contextmanager
def _checking(transaction: AbstractContextManager[Tx], check: Check) -> Iterator[Tx]:
    with transaction as tx:
        check(tx)
        yield tx


@contextmanager
def checked(check: Check) -> Iterator[None]:
    """Every transaction that this thread opens in the block begins with `check`."""
    token = _check.set(check)
    try:
        yield
    finally:
        _check.reset(token)
