"""Stores to test against: in memory, in a SQLite file, and on a PostgreSQL server started for the session."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.store import SqlStore, SystemClock
from services.dispatcher.adapters.tables import METADATA
from services.dispatcher.engine.ports import Store
from services.dispatcher.processes.cli_migrate import upgrade
from tests.adapters.neighbours import Neighbours, as_threads

STORES = ("memory", "sqlite", "postgresql")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """An empty store; a test that takes it runs on every kind."""
    if request.param == "memory":
        yield MemoryStore(SystemClock())
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
def at_once(store: Store, request: pytest.FixtureRequest) -> Callable[[str], None]:
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


@dataclass(frozen=True)
class PostgresServer:
    """A server of our own behind a socket in a folder of its own; no network, no password."""

    folder: Path
    user: str

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={self.folder}"

    def execute(self, *statements: str) -> None:
        """Run statements as the server's owner, each by itself."""
        engine = sqlalchemy.create_engine(self.url("postgres").replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """PostgreSQL without durability, since nothing here outlives the session. It refuses to run as root."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("PostgreSQL's server programs are not installed")
    bin = programs[-1].parent
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    as_user = partial(subprocess.run, user=user if os.getuid() == 0 else None, check=True, cwd="/", timeout=60)
    # The path of a socket may not be long, so this does not lie below pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="tocsin-"))
    try:
        shutil.chown(folder, user)
        data, log = folder / "data", folder / "log"
        as_user(
            [bin / "initdb", "-D", data, "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"], capture_output=True
        )
        quick = f"-k {folder} -c listen_addresses='' -c fsync=off -c deadlock_timeout=50ms"
        as_user([bin / "pg_ctl", "-D", data, "-l", log, "-w", "-o", quick, "start"], stdout=subprocess.DEVNULL)
        try:
            yield PostgresServer(folder, user)
        finally:
            as_user([bin / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop"], stdout=subprocess.DEVNULL)
    finally:
        shutil.rmtree(folder)


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
