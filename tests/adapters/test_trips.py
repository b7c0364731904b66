"""How often a fire waits for PostgreSQL: over a network every trip costs its way there and back."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.processes.wiring import TimeOrderedIds
from simulators.bench.database_line import Line, line_to
from tests import builders
from tests.builders import fire_playbook, fire_signal, panel, standing_order, storm_playbook, storm_signal

FIRE_TRIPS_MAX = 12
RELEASED_TRIPS_MAX = 20
"""The report by which a standing order releases the alert: drafted anew, looked at, and put on air."""
AGAIN_TRIPS_MAX = 9
"""Each report after it."""


@pytest.fixture
def line(postgresql_url: str) -> Iterator[Line]:
    with line_to(postgresql_url) as line:
        yield line


def test_a_fire_waits_for_the_database_twelve_times_at_most(line: Line) -> None:
    store = SqlStore(line.url)
    builders.town(store)
    with store.write() as tx:
        tx.put(panel())
    engine = Engine(store, TimeOrderedIds(store.clock), (storm_playbook(), fire_playbook(standing=standing_order())))
    # The first transaction of a process connects and loads the city.
    engine.handle([SignalArrived(storm_signal())])
    trips = []
    for number in range(4):
        now_us = time.time_ns() // 1_000
        fire = fire_signal(f"gb26875/{number}", device=f"smoke-{number}", observed_us=now_us, received_us=now_us)
        before = line.trips
        engine.handle([SignalArrived(fire)])
        trips.append(line.trips - before)
    opened, released, *further = trips
    with store.read() as read:
        assert [b.rule for b in read.find(Broadcast, state=BroadcastState.ON_AIR)] != []
    store.close()
    assert opened <= FIRE_TRIPS_MAX
    assert released <= RELEASED_TRIPS_MAX
    assert max(further) <= AGAIN_TRIPS_MAX
