"""Waiting for a database that is away, for intakes that acknowledge after commit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import structlog

from ..engine.ports import Conflict, StoreUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")

STORE_AWAY_S = 0.5


class UntilStored:
    """Does a thing again and again until it is done: nothing is acknowledged before, so nothing is lost while the
    database is away. `rest` waits, in seconds; `whose` messages wait at the broker meanwhile."""

    def __init__(self, rest: Callable[[float], None], whose: str) -> None:
        self._rest = rest
        self._whose = whose
        self._away = False

    def __call__(self, do: Callable[[], T]) -> T:
        while True:
            try:
                done = do()
            except Conflict:
                continue
            except StoreUnavailable as away:
                if not self._away:
                    log.warning(f"the database is away: {self._whose} wait at the broker", reason=str(away))
                self._away = True
                self._rest(STORE_AWAY_S)
                continue
            self._away = False
            return done
