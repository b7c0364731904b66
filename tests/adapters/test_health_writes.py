"""A database that answers every question while no write goes through: health says so, and says when it is over."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
import sqlalchemy

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.domain.effects import Record
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, hold
from services.dispatcher.engine.ports import StoreUnavailable, Tx
from services.dispatcher.web.health_writes import PROOF_LASTS_US, WAITED_LASTS_US, WriteProof
from tests import builders
from tests.builders import SECOND_US
from tests.web.api import Api

WITHIN_S = 30.0
_HOLDER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
"""


@contextmanager
def sqlite_held(url: str) -> Iterator[None]:
    """Another process holds SQLite's write lock, as a backup tool would that was left alone."""
    file = url.removeprefix("sqlite:///")
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.communicate("\n", timeout=WITHIN_S)


@contextmanager
def postgres_held(url: str) -> Iterator[None]:
    """Another session has locked what gateways write every second; everything can still be read."""
    engine = sqlalchemy.create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        connection.exec_driver_sql("LOCK TABLE lease IN EXCLUSIVE MODE")
        yield
        connection.rollback()
    engine.dispose()


def held(url: str) -> Callable[[str], object]:
    return sqlite_held if url.startswith("sqlite") else postgres_held


@pytest.fixture
def api(database_url: str) -> Iterator[Api]:
    store = SqlStore(database_url)
    api = Api(builders.town(store, builders.StoppedClock()))
    with api.client:
        yield api
    store.close()


def database(api: Api) -> tuple[int, bool, str]:
    answer = api.client.get("/api/health")
    part = answer.json()["parts"][0]
    assert part["part"] == "database"
    return answer.status_code, part["well"], part["what"]


def until(api: Api, *, well: bool) -> None:
    by = time.monotonic() + WITHIN_S
    while database(api)[1] is not well:
        assert time.monotonic() < by
        api.town.clock.advance(1)
        time.sleep(0.05)


def test_while_writes_wait_the_database_is_not_well_and_heals(api: Api, database_url: str) -> None:
    assert database(api) == (200, True, "")
    wait = held(database_url)(database_url)
    api.town.clock.advance(11)
    with wait:  # type: ignore[attr-defined]
        status, well, what = database(api)
        assert (status, well) == (503, False)
        assert what.startswith("it answers, but ")
        # It stays so while each try gives up and another one waits.
        for _ in range(3):
            assert not database(api)[1]
    until(api, well=True)
    assert database(api)[0] == 200


def test_a_gateway_that_renews_its_lease_is_proof_enough_and_nothing_is_tried(database_url: str) -> None:
    store = SqlStore(database_url)
    assert hold(store, "gw-0", "host/1", GATEWAY_LEASE_US)
    proof = WriteProof(store, HostClock())
    with held(database_url)(database_url):  # type: ignore[attr-defined]
        assert proof.fault(committed=True) == ""
        assert proof.fault(committed=False) != ""
    by = time.monotonic() + WITHIN_S
    while proof.fault(committed=False):
        assert time.monotonic() < by
    store.close()


def test_a_lock_on_what_no_gateway_writes_every_second_is_seen_too(postgresql_url: str) -> None:
    store = SqlStore(postgresql_url)
    clock = builders.StoppedClock()
    proof = WriteProof(store, clock)
    engine = sqlalchemy.create_engine(postgresql_url.replace("postgresql:", "postgresql+psycopg:"))

    def waits() -> None:
        with pytest.raises(StoreUnavailable), store.write() as tx:
            tx.record(Record("test.waits", "test", "it waits"))

    with engine.connect() as holder:
        holder.exec_driver_sql("LOCK TABLE log IN EXCLUSIVE MODE")
        waiting = threading.Thread(target=waits)
        waiting.start()
        by, fault = time.monotonic() + WITHIN_S, ""
        while not fault:
            assert time.monotonic() < by
            assert hold(store, "gw-0", "host/1", GATEWAY_LEASE_US)
            with store.read() as read:
                fault = proof.fault(committed=True, waited_us=read.longest_wait_us())
            time.sleep(0.05)
        waiting.join(WITHIN_S)
        holder.rollback()
    engine.dispose()
    assert fault.endswith(" s for another's lock")
    with store.read() as read:
        assert read.longest_wait_us() == 0
    # It stays a while, so that it does not come and go with every try.
    assert proof.fault(committed=True) == fault
    clock.advance(WAITED_LASTS_US // SECOND_US)
    assert proof.fault(committed=True) == ""
    store.close()


class Held(MemoryStore):
    """A store of which a write hangs while it is `held`, and fails while it is `full`."""

    def __init__(self, clock: builders.StoppedClock) -> None:
        super().__init__(clock)
        self.free, self.full, self.tried = threading.Event(), False, 0

    def write(self) -> AbstractContextManager[Tx]:
        self.tried += 1
        assert self.free.wait(WITHIN_S)
        if self.full:
            raise StoreUnavailable("the disk is full")
        return super().write()

    def let_go(self) -> None:
        """What hangs ends well."""
        self.free.set()
        for thread in threading.enumerate():
            if thread.name == "write proof":
                thread.join(WITHIN_S)


def hanging() -> tuple[Held, builders.StoppedClock, WriteProof]:
    clock = builders.StoppedClock()
    store = Held(clock)
    return store, clock, WriteProof(store, clock, wait_s=0.05)


def test_a_lease_holder_that_comes_and_goes_leaves_one_try_that_hangs() -> None:
    store, clock, proof = hanging()
    for second in range(4):
        assert proof.fault(committed=False) == f"it answers, but a write has waited for {second} s"
        assert proof.fault(committed=True) == ""
        clock.advance(1)
    assert store.tried == 1
    store.let_go()


def test_a_try_that_ended_long_ago_proves_nothing_of_now() -> None:
    store, clock, proof = hanging()
    assert proof.fault(committed=False) != ""
    store.let_go()
    clock.advance(600)
    store.full = True
    assert proof.fault(committed=False) == "it answers, but can't be written: the disk is full"
    assert store.tried == 2


def test_a_proof_is_as_old_as_the_end_of_its_try() -> None:
    store, clock, proof = hanging()
    assert proof.fault(committed=False) != ""
    store.let_go()
    clock.advance(PROOF_LASTS_US // SECOND_US - 1)
    assert proof.fault(committed=False) == ""
    store.full = True
    clock.advance(1)
    assert proof.fault(committed=False) != ""


_FULL = """
import resource, sys
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore, HostClock
from services.dispatcher.engine.rows import Lease
from services.dispatcher.web.health_writes import WriteProof

store = SqlStore(sys.argv[1])
proof = WriteProof(store, HostClock())
assert proof.fault(committed=False) == ""
# No file of this process grows any more, as on a disk that is full.
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
with store.read() as read:
    assert read.find(Lease)
print(WriteProof(store, HostClock()).fault(committed=False))
"""


def test_a_full_disk_is_no_well_database(sqlite_url: str) -> None:
    done = subprocess.run([sys.executable, "-c", _FULL, sqlite_url], capture_output=True, text=True, timeout=WITHIN_S)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("it answers, but can't be written: ")
