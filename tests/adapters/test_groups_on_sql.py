"""Groups of signals on real databases: what they leave, names that only a database takes for one, and neighbours."""

from __future__ import annotations

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
from services.dispatcher.domain.signals import Signal, SignalKind, identity
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import Outcome, SignalArrived
from services.dispatcher.processes.wiring import TimeOrderedIds
from tests import builders
from tests.builders import NOON_US, StoppedClock, fire_playbook, fire_signal, storm_playbook, storm_signal
from tests.engine.groups import any_events, in_groups, left_by

ROUNDS = 4
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
    return Engine(store, TimeOrderedIds(store.clock), (storm_playbook(), fire_playbook()))


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


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_a_group_leaves_on_postgresql_what_its_events_leave_in_memory_one_by_one(
    postgresql_url: str, seed: int
) -> None:
    store = SqlStore(postgresql_url)
    with store.read() as read:
        clock = StoppedClock(read.now_us())
    random = Random(seed)
    events = any_events(random, clock.now_us(), timers=False)
    together = left_by(store, clock, in_groups(random, events))
    alone = left_by(MemoryStore(clock), clock, [[event] for event in events])
    store.close()
    *rows, log, told = map(timeless, together)
    *others, said, other_told = map(timeless, alone)
    for one, other in zip([*rows, told], [*others, other_told], strict=True):
        assert one == other
    assert [line[:2] for line in log] == [line[:2] for line in said]


def at_once(store: SqlStore, *groups: list[SignalArrived]) -> list[Outcome]:
    """Each group by an engine and a thread of its own, all at the same time."""
    together = Barrier(len(groups))
    engines = [engine_of(store) for _ in groups]

    def one(number: int) -> Outcome:
        together.wait(timeout=10)
        return engines[number].handle(groups[number])

    with ThreadPoolExecutor(len(groups)) as threads:
        return [done.result(timeout=60) for done in [threads.submit(one, number) for number in range(len(groups))]]


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_groups_that_come_at_once_share_keys_withdrawals_and_incidents(sql_store: SqlStore, turn: int) -> None:
    random = Random(turn)
    names = [f"cap/weather/bureau,{turn}-{number},1" for number in range(8)]
    alerts = [storm_signal(name) for name in names]
    cancels = [
        storm_signal(f"{name}0", kind=SignalKind.CANCEL, references=(name,), observed_us=NOON_US + 1) for name in names
    ]
    fires = [fire_signal(f"gb26875/{number}", device=f"smoke-{number}") for number in range(8)]
    groups = [arrived(*random.sample(signals, len(signals))) for signals in ([*alerts, *fires], [*cancels, *fires])]
    told = at_once(sql_store, *groups, groups[0])
    created = [key for outcome in told for key in outcome.created]
    assert sorted(created) == sorted(s.key for s in (*alerts, *cancels, *fires))
    with sql_store.read() as read:
        named = [row for name in names for row in read.signals_named(identity(name))]
        [fire] = read.find(Incident, hazard="fire")
        storms = [len(incident.witnesses) for incident in read.find(Incident, hazard="rainstorm")]
    assert sorted(row.signal.key for row in named if row.withdrawn) == names
    assert (fire.signal_count, len(fire.witnesses)) == (8, 8)
    assert storms in ([], [0])


def test_a_key_that_a_neighbour_stores_between_looking_and_writing_is_known(postgresql_url: str) -> None:
    store = SqlStore(postgresql_url)
    builders.town(store)
    first, second = fire_signal("gb26875/1"), fire_signal("gb26875/2", device="smoke-2")
    with ThreadPoolExecutor(1) as gateway:
        with store.write() as tx:
            tx.add_signal(first, "")
            assert tx.signal_incident(first.key) == ""
            told = gateway.submit(engine_of(store).handle, arrived(first, second))
            somebody_waits(postgresql_url)
        outcome = told.result(timeout=10)
    assert (outcome.created, outcome.repeated) == ([second.key], 1)
    store.close()


@pytest.mark.parametrize("broken", [{"key": "table/weather/\ud800"}, {"headline": "\ud800"}, {"device": "\ud800"}])
def test_a_signal_that_breaks_its_group_is_kept_by_itself(sql_store: SqlStore, broken: dict[str, str]) -> None:
    good = [storm_signal("cap/weather/1"), fire_signal("gb26875/1"), storm_signal("cap/weather/2")]
    wrong = replace(storm_signal("cap/weather/9"), **broken)  # type: ignore[arg-type]
    told = engine_of(sql_store).handle(arrived(good[0], wrong, good[1], good[2]))
    assert told.created == [signal.key for signal in good]
    with sql_store.read() as read:
        assert [row.reason for row in read.unread()] == ["signal_broke_the_engine"]
