"""Stores to test against: in memory, in a SQLite file, and on a PostgreSQL server started for the session."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.adapters.tables import METADATA
from services.dispatcher.engine.writing import WritableStore
from services.dispatcher.processes.cli_migrate import upgrade
from tests.adapters.neighbours import Neighbours, as_threads
from tests.postgres import PostgresServer

STORES = ("memory", "sqlite", "postgresql")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[WritableStore]:
    """An empty store; a test that takes it runs on every kind."""
    if request.param == "memory":
        yield MemoryStore(HostClock())
        return
    sql_store = SqlStore(request.getfixturevalue(f"{request.param}_url"))
    yield sql_store
    sql_store.close()


@pytest.fixture(params=STORES[1:])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database with its tables, of each kind."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def at_once(store: WritableStore, request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Has two neighbours do a deed at the same time: processes, or threads where the store is in memory."""
    if isinstance(store, MemoryStore):
        return partial(as_threads, store)
    kind = request.node.callspec.params["store"]
    neighbours: Neighbours = request.getfixturevalue("neighbours")
    return partial(neighbours.do, request.getfixturevalue(f"{kind}_url"))


@pytest.fixture(scope="session")
def neighbours() -> Iterator[Neighbours]:
    started = Neighbours()
    yield started
    started.close()


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with its tables and nothing in them."""
    file = tmp_path_factory.mktemp("sqlite") / "empty.db"
    upgrade(f"sqlite:///{file}")
    return file


@pytest.fixture
def sqlite_url(empty_sqlite: Path, tmp_path: Path) -> str:
    file = tmp_path / "tocsin.db"
    shutil.copyfile(empty_sqlite, file)
    return f"sqlite:///{file}"


@pytest.fixture(scope="session")
def migrated_postgres(postgres_server: PostgresServer) -> str:
    postgres_server.execute("CREATE DATABASE tocsin")
    url = postgres_server.url("tocsin")
    upgrade(url)
    return url


@pytest.fixture
def postgresql_url(migrated_postgres: str) -> str:
    engine = sqlalchemy.create_engine(migrated_postgres.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.exec_driver_sql(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY")
    engine.dispose()
    return migrated_postgres
