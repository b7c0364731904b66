"""Groups of signals on real databases: what they leave, names that only a database takes for one, and neighbours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, is_dataclass, replace
from random import Random
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.signals import Signal, SignalKind
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.engine.ports import Conflict, Withdrawal
from services.dispatcher.processes.wiring import TimeOrderedIds
from tests import builders
from tests.builders import StoppedClock, fire_playbook, fire_signal, storm_playbook, storm_signal
from tests.engine.groups import any_events, in_groups, left_by

LONG = f"table/weather/{'x' * 300}"
SAME_IN_A_COLUMN = (
    ("table/weather/1\0", "table/weather/1\ufffd"),
    ("table/weather/1\ufffd", "table/weather/1\0"),
)


@pytest.fixture
def sql_store(database_url: str) -> Iterator[SqlStore]:
    made = SqlStore(database_url)
    builders.town(made, StoppedClock())
    yield made
    made.close()


def engine_of(store: SqlStore) -> Engine:
    return Engine(store, TimeOrderedIds(), (storm_playbook(), fire_playbook()))


def arrived(*signals: Signal) -> list[SignalArrived]:
    return [SignalArrived(signal) for signal in signals]


@pytest.mark.parametrize("keys", SAME_IN_A_COLUMN)
def test_two_keys_that_the_database_holds_as_one_are_one_signal_in_a_group(
    sql_store: SqlStore, keys: tuple[str, str]
) -> None:
    told = engine_of(sql_store).handle(arrived(storm_signal("cap/weather/1"), *map(storm_signal, keys)))
    assert (told.created, told.repeated) == (["cap/weather/1", keys[0]], 1)


@pytest.mark.parametrize("keys", SAME_IN_A_COLUMN)
def test_two_keys_that_the_database_holds_as_one_are_both_known_when_one_is(
    sql_store: SqlStore, keys: tuple[str, str]
) -> None:
    engine = engine_of(sql_store)
    engine.handle(arrived(storm_signal(keys[0])))
    told = engine.handle(arrived(storm_signal("cap/weather/1"), *map(storm_signal, keys)))
    assert (told.created, told.repeated) == (["cap/weather/1"], 2)
    with sql_store.read() as read:
        assert read.stored_keys(keys) == set(keys)


def test_the_key_under_which_a_reused_name_was_kept_is_known_in_the_same_group(sql_store: SqlStore) -> None:
    first, again = storm_signal("table/weather/1"), storm_signal("table/weather/1", headline="something else")
    tried = builders.town()
    tried.engine.handle(arrived(first, again))
    with tried.store.read() as read:
        [kept] = [s.key for s in read.signals_since(0, "") if s.key != first.key]
    told = engine_of(sql_store).handle(arrived(first, again, replace(first, key=kept)))
    assert (told.created, told.repeated) == ([first.key], 2)


def somebody_waits(url: str) -> None:
    """Come back when a transaction waits for another one's rows."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    sql = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.exec_driver_sql(sql).scalar():
            pass
    engine.dispose()


def test_a_fire_that_is_reported_while_people_close_its_incident_opens_another(postgresql_url: str) -> None:
    store = SqlStore(postgresql_url)
    builders.town(store)
    engine = engine_of(store)
    [first] = engine.handle(arrived(fire_signal("gb26875/1"))).incidents
    with ThreadPoolExecutor(1) as gateway:
        with store.write() as tx:
            incident = tx.get_locked(Incident, first)
            assert incident is not None
            tx.put(replace(incident, state=IncidentState.CLOSED))
            told = gateway.submit(engine.handle, arrived(fire_signal("gb26875/2", device="smoke-2")))
            somebody_waits(postgresql_url)
        [second] = told.result(timeout=10).incidents
    with store.read() as read:
        states = {i.id: (i.state, i.signal_count) for i in read.find(Incident)}
    assert states == {first: (IncidentState.CLOSED, 1), second: (IncidentState.VERIFYING, 1)}
    store.close()


def timeless(row: Any) -> Any:
    """A row without its times: the server's clock goes on between two days that are alike."""
    if is_dataclass(row) and not isinstance(row, type):
        return timeless(asdict(row))
    if isinstance(row, dict):
        return {name: timeless(value) for name, value in row.items() if not str(name).endswith("_us")}
    return [timeless(each) for each in row] if isinstance(row, list | tuple) else row


@pytest.mark.parametrize("seed", range(4))
def test_a_group_leaves_on_postgresql_what_its_events_leave_in_memory_one_by_one(
    postgresql_url: str, seed: int
) -> None:
    store = SqlStore(postgresql_url)
    with store.read() as read:
        clock = StoppedClock(read.now_us())
    random = Random(seed)
    events = any_events(random, clock.now_us())
    together = left_by(store, clock, in_groups(random, events))
    alone = left_by(MemoryStore(clock), clock, [[event] for event in events])
    store.close()
    *rows, log, told = map(timeless, together)
    *others, said, other_told = map(timeless, alone)
    assert (rows, told) == (others, other_told)
    assert [line[:2] for line in log] == [line[:2] for line in said]
