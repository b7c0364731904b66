"""Puts parts together that several processes share: store, engine, ids, clock, log lines."""

from __future__ import annotations

import logging
import os
import sys
import threading
import uuid
from collections.abc import Callable
from typing import Protocol

import structlog

from ..adapters.playbooks import read_playbooks
from ..adapters.rules import read_rules
from ..adapters.store import HostClock, SqlStore
from ..adapters.store_changes import Changes
from ..engine.clock import GuardedClock
from ..engine.engine import Engine
from ..engine.ports import Clock, Conflict, Store, StoreUnavailable
from .settings import Settings

log = structlog.get_logger(__name__)

STORE_AWAY_S = 0.5
CONFLICT_PAUSE_S = 0.01

__all__ = ["LoopThread", "OpenStore", "HostClock", "TimeOrderedIds", "make_engine", "make_store", "start_logging"]


class TimeOrderedIds:
    """UUIDv7 (RFC 9562 clause 5.7) as 32 hex digits, by the time that is trusted: rows are listed in their order."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def new(self) -> str:
        milliseconds = self._clock.now_us() // 1_000
        random = int.from_bytes(os.urandom(10))
        value = milliseconds << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0x2 << 62 | random & (1 << 62) - 1
        return uuid.UUID(int=value).hex


class OpenStore(Store, Protocol):
    """A process's own store, with its clock: to be read, handed to the engine, and closed."""

    @property
    def clock(self) -> GuardedClock: ...
    def changes(self) -> Changes: ...
    def close(self) -> None: ...


def make_store(settings: Settings) -> OpenStore:
    """The SQL store of these settings."""
    return SqlStore(settings.database, elsewhere=settings.database_elsewhere)


def make_engine(
    settings: Settings,
    store: OpenStore,
    wake: Callable[[], None] = lambda: None,
    differs: Callable[[str], None] = lambda _: None,
) -> Engine:
    """The engine over a store, with the playbooks and rules of these settings. `differs` is told of each hazard that
    the shadow rules would have rated differently."""
    return Engine(
        store,
        TimeOrderedIds(store.clock),
        read_playbooks(settings.playbooks),
        wake,
        rules=read_rules(settings.rules),
        shadow=read_rules(settings.rules_shadow) if settings.rules_shadow is not None else None,
        differs=differs,
    )


def start_logging(process: str) -> None:
    """One line of key=value per event on standard error, UTC."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["timestamp", "level", "event"]),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    structlog.contextvars.bind_contextvars(process=process)


class LoopThread:
    """A thread that does one thing again and again. An error nobody foresaw ends the process: its supervisor starts a
    whole one, which is safer than a half one."""

    def __init__(self, name: str, step: Callable[[], object], pause_s: float) -> None:
        self.name = name
        self._step = step
        self._pause_s = pause_s
        self._wake = threading.Event()
        self._ended = threading.Event()
        self._away = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        """Do the next step at once."""
        self._wake.set()

    def stop(self) -> None:
        """Let the step under way finish, and end."""
        self._ended.set()
        self._wake.set()
        self._thread.join(10)

    def _run(self) -> None:
        try:
            while not self._ended.is_set():
                self._wake.clear()
                if not self._once():
                    self._wake.wait(self._pause_s)
        except BaseException:
            log.critical("a loop died: the process ends so that it starts whole", loop=self.name, exc_info=True)
            os._exit(70)

    def _once(self) -> bool:
        """One step; True when it did something and the next should follow at once."""
        try:
            did = bool(self._step())
        except Conflict as lost:
            # The database is there, and the step as a whole is done again at once.
            log.info("a transaction is done again", loop=self.name, reason=str(lost))
            self._ended.wait(CONFLICT_PAUSE_S)
            return True
        except StoreUnavailable as away:
            if not self._away:
                log.warning("the database is away", loop=self.name, reason=str(away))
            self._away = True
            self._ended.wait(STORE_AWAY_S)
            return True
        if self._away:
            log.info("the database is back", loop=self.name)
        self._away = False
        return did
