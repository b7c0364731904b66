"""Trusted time on real databases: two stores of one database stand for two processes, and its clock jumps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from services.dispatcher.adapters.store import HostClock, SqlStore, machine_boot
from services.dispatcher.domain.effects import Carry, Record, Save, Timer, WakeAt
from services.dispatcher.engine import clock
from services.dispatcher.engine.rows import ClockState, Moment
from tests.builders import SECOND_US
from tests.postgres import PostgresServer

HOUR_US = 3_600 * SECOND_US
STARTS_TAKE_US = 4 * SECOND_US


@dataclass
class JumpingClock:
    """The machine's clocks, the wall clock off by what a test says."""

    machine: HostClock = field(default_factory=HostClock)
    off_us: int = 0

    def now_us(self) -> int:
        return self.machine.now_us() + self.off_us

    def mono_us(self) -> int:
        return self.machine.mono_us()


@dataclass
class Town:
    """One database whose clock `jump` puts by so many seconds in all; `open` is a process that starts."""

    open: Callable[[], SqlStore]
    jump: Callable[[int], None]
    began: HostClock = field(default_factory=HostClock)

    def __post_init__(self) -> None:
        self.gateway, self.web = self.open(), self.open()

    def true(self, now_us: int) -> bool:
        """Whether this is the true time, as near as a busy machine lets a test say."""
        return abs(now_us - self.began.now_us()) < STARTS_TAKE_US


@pytest.fixture(params=["sqlite", "postgresql"])
def town(request: pytest.FixtureRequest) -> Iterator[Town]:
    url: str = request.getfixturevalue(f"{request.param}_url")
    wall = JumpingClock()
    opened: list[SqlStore] = []

    def start() -> SqlStore:
        opened.append(SqlStore(url, wall))
        return opened[-1]

    if request.param == "sqlite":
        yield Town(start, lambda seconds: setattr(wall, "off_us", seconds * SECOND_US))
    else:
        server: PostgresServer = request.getfixturevalue("postgres_server")
        jump = server_clock(server)
        yield Town(start, jump)
        jump(0)
        server.execute("ALTER DATABASE tocsin RESET search_path")
    for store in opened:
        store.close()


def server_clock(server: PostgresServer) -> Callable[[int], None]:
    """Puts the clock of the database that the tests use by so many seconds: a function of its own stands before the
    server's, as far as new connections see."""
    from sqlalchemy import create_engine

    engine = create_engine(server.url("tocsin").replace("postgresql:", "postgresql+psycopg:"))

    def jump(seconds: int) -> None:
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE SCHEMA IF NOT EXISTS jumping")
            connection.exec_driver_sql(
                "CREATE OR REPLACE FUNCTION jumping.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS"
                f" 'SELECT pg_catalog.clock_timestamp() + interval ''{seconds} s'''"
            )
        engine.dispose()

    jump(0)
    server.execute("ALTER DATABASE tocsin SET search_path = jumping, public, pg_catalog")
    return jump


def moment(store: SqlStore) -> Moment:
    with store.read() as read:
        return read.moment()


def kept(store: SqlStore) -> ClockState:
    with store.read() as read:
        row = read.get(ClockState, clock.ROW)
    assert row is not None
    return row


def log(store: SqlStore) -> list[tuple[str, str]]:
    with store.read() as read:
        return [(row.kind, row.person) for row in read.log_of(None)]


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_every_process_and_every_later_one_goes_on_by_trusted_time(town: Town, by_s: int) -> None:
    clock.begin(town.gateway)
    assert town.true(moment(town.web).now_us)
    town.jump(by_s)
    with town.web.write() as tx:
        tx.save(Save(Carry.CANARY, "worker"))
        assert town.true(tx.now_us())
    for store in (town.gateway, town.web, town.open()):
        seen = clock.clock_pass(store)
        assert town.true(seen.now_us) and town.true(store.clock.now_us())
        assert abs(seen.state.jump_us - by_s * SECOND_US) < STARTS_TAKE_US
    assert log(town.web) == [("clock.jumped", "")]
    with town.web.read() as read:
        assert all(town.true(effect.not_before_us) for effect in read.open_effects())


def test_a_clock_that_comes_back_is_trusted_again(town: Town) -> None:
    clock.begin(town.gateway)
    moment(town.web)
    town.jump(7_200)
    clock.clock_pass(town.gateway)
    town.jump(0)
    assert not moment(town.web).state.since_us
    clock.clock_pass(town.gateway)
    assert log(town.web) == [("clock.jumped", ""), ("clock.back", "")]


@pytest.mark.parametrize("by_s", [-7_200, 7_200])
def test_a_confirmed_time_is_everybodys_and_moves_what_measures_a_duration(town: Town, by_s: int) -> None:
    clock.begin(town.gateway)
    moment(town.web)
    with town.gateway.write() as tx:
        due_us = tx.now_us() + 60 * SECOND_US
        tx.wake_at(WakeAt(Timer.PROVE, "b-1", due_us, due_us))
        tx.wake_at(WakeAt(Timer.EXPIRES, "b-1", due_us, due_us))
        tx.save(Save(Carry.CANARY, "worker"))
        (effect,) = tx.claim([Carry.CANARY], "gateway", 5 * SECOND_US, 1)
        tx.save(Save(Carry.PUBLISH_STREAM, "topic"))
    assert effect.expires_us is not None
    town.jump(by_s)
    clock.clock_pass(town.gateway)
    by_us = clock.confirm(town.web, kept(town.web).serial, "admin", "by the radio")
    assert abs(by_us - by_s * SECOND_US) < STARTS_TAKE_US
    for store in (town.gateway, town.web, town.open()):
        seen = clock.clock_pass(store)
        assert town.true(seen.now_us - by_s * SECOND_US) and not seen.state.since_us
    with town.web.read() as read:
        timers = {t.timer: t.due_us for t in read.due_timers(2**62, 10)}
        moved, free = sorted(read.open_effects(), key=lambda e: e.carry)
    assert timers == {Timer.PROVE: due_us + by_us, Timer.EXPIRES: due_us}
    assert (moved.leased_until_us, moved.expires_us) == (effect.leased_until_us + by_us, effect.expires_us + by_us)
    assert (free.leased_until_us, free.expires_us, free.wanted_us) == (0, None, free.not_before_us)
    assert log(town.web) == [("clock.jumped", ""), ("clock.confirmed", "admin")]


def test_a_start_before_the_newest_line_of_the_log_is_a_jump(town: Town) -> None:
    clock.begin(town.gateway)
    town.jump(7_200)
    clock.confirm(town.gateway, _looked(town.gateway), "admin", "by the radio")
    clock.clock_pass(town.gateway)
    with town.gateway.write() as tx:
        newest_us = tx.now_us()
        tx.record(Record("worker.alive", "worker", "the canary came back"))
        tx.delete(ClockState, clock.ROW)
    town.jump(0)
    again = town.open()
    seen = clock.begin(again)
    assert seen.state.moved == clock.Moved.BEHIND
    assert abs(seen.now_us - newest_us) < STARTS_TAKE_US


def _looked(store: SqlStore) -> int:
    clock.clock_pass(store)
    return kept(store).serial


def test_one_boot_of_a_machine_has_one_name() -> None:
    assert machine_boot() == machine_boot() != ""
