"""A loop whose transaction lost against another's does its step again at once, and does not call the database away."""

from __future__ import annotations

import threading
import time

import structlog.testing

from services.dispatcher.engine.ports import Conflict, StoreUnavailable
from services.dispatcher.processes.wiring import STORE_AWAY_S, LoopThread

WITHIN_S = 30


def _run(*failures: Exception) -> tuple[float, list[str]]:
    """How long a loop takes that fails with these first, and what it logs."""
    left, done = list(failures), threading.Event()

    def step() -> None:
        if left:
            raise left.pop(0)
        done.set()

    with structlog.testing.capture_logs() as logged:
        loop, began = LoopThread("copies", step, 60.0), time.monotonic()
        loop.start()
        assert done.wait(WITHIN_S)
        took_s = time.monotonic() - began
        loop.stop()
    return took_s, [line["event"] for line in logged]


def test_a_lost_transaction_is_done_again_at_once_and_called_what_it_was() -> None:
    took_s, said = _run(Conflict("another transaction changed the stream"), Conflict("and again"))
    assert took_s < STORE_AWAY_S
    assert said == ["a transaction is done again", "a transaction is done again"]


def test_a_database_that_is_away_is_waited_for_and_said_once() -> None:
    took_s, said = _run(StoreUnavailable("away"), StoreUnavailable("away"))
    assert took_s >= 2 * STORE_AWAY_S
    assert said == ["the database is away", "the database is back"]
