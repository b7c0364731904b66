"""kill -9 at random moments: nothing is lost, nothing stale comes back, nobody hears an order twice."""

from __future__ import annotations

import random
import time
from pathlib import Path

from services.dispatcher.engine.chain import verify
from tests.acceptance.running import (
    Running,
    close_incident,
    communities,
    coverage,
    eventually,
    running,
    starts,
    storm_on_air,
)

GATEWAY_KILLS = 20
BROKER_KILLS = 5


def test_killing_gateway_and_broker_loses_nothing_and_plays_nothing_twice(tmp_path: Path) -> None:
    dice = random.Random(20)
    with running(tmp_path) as town:
        areas = communities(town)
        orders: list[str] = []
        for round_number in range(GATEWAY_KILLS):
            pause_s = dice.uniform(0.0, 0.6)

            def kill(pause_s: float = pause_s) -> None:
                time.sleep(pause_s)
                town.kill("gateway")

            orders.append(_round(town, areas[round_number % len(areas)], kill, _before(orders, len(areas))))
        for round_number in range(GATEWAY_KILLS, GATEWAY_KILLS + BROKER_KILLS):
            area = areas[round_number % len(areas)]
            orders.append(_round(town, area, town.kill_broker, _before(orders, len(areas))))
        _nothing_was_lost(town, orders)


def _before(orders: list[str], areas: int) -> str:
    """The order that the area whose turn it is had last; empty for none."""
    return orders[-areas] if len(orders) >= areas else ""


def _round(town: Running, area: str, kill: object, before: str) -> str:
    """One warning for an area; an earlier one there is let finish, and closed, so that this one is another incident."""
    assert callable(kill)
    if before:
        eventually(lambda: _finished(town, before), f"every speaker of {area} has played {before}")
        close_incident(town, before)
    order = storm_on_air(town, area, kill)
    eventually(lambda: _all_play(town, order), f"every speaker of {area} plays {order}")
    return order


def _all_play(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0


def _finished(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["finished"] == counts["targeted"]


def _nothing_was_lost(town: Running, orders: list[str]) -> None:
    assert len(set(orders)) == GATEWAY_KILLS + BROKER_KILLS
    eventually(
        lambda: all(coverage(town, order)["finished"] == coverage(town, order)["targeted"] for order in orders),
        "finished",
    )
    twice = {key: times for key, times in starts(town).items() if times != 1}
    assert twice == {}
    on_air = town.rows("SELECT subject FROM log WHERE kind = 'broadcast.on_air'")
    assert sorted(subject for (subject,) in on_air) == sorted(orders)
    eventually(lambda: not town.rows("SELECT lane FROM effect WHERE carry = 'publish_stream'"), "no manifest waits")
    with town.system.store.read() as read:
        assert verify(read).problem == ""
    assert town.rows("SELECT reason FROM unread") == []
