"""A PostgreSQL server of our own, for tests that need a real one or need to take it away."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy


@dataclass(frozen=True)
class PostgresServer:
    """A server behind a socket in a folder of its own; no network, no password."""

    folder: Path
    user: str
    programs: Path

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={self.folder}"

    def execute(self, *statements: str) -> None:
        """Run statements as the server's owner, each by itself."""
        engine = sqlalchemy.create_engine(self.url("postgres").replace("postgresql:", "postgresql+psycopg:"))
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def start(self, *options: str) -> None:
        """Start the server and wait until it answers."""
        words = f"-k {self.folder} -c listen_addresses='' -c deadlock_timeout=50ms {' '.join(options)}"
        self._control("-l", str(self.folder / "log"), "-w", "-o", words, "start")

    def stop(self) -> None:
        """Take it away at once, as a crash would."""
        self._control("-m", "immediate", "-w", "stop")

    def make(self) -> None:
        """The files of an empty server."""
        words = ["-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N"]
        self._run([str(self.programs / "initdb"), "-D", str(self.folder / "data"), *words])

    def _control(self, *words: str) -> None:
        self._run([str(self.programs / "pg_ctl"), "-D", str(self.folder / "data"), *words])

    def _run(self, command: list[str]) -> None:
        # It refuses to run as root.
        user = self.user if os.getuid() == 0 else None
        subprocess.run(command, user=user, check=True, cwd="/", timeout=60, stdout=subprocess.DEVNULL)


@contextmanager
def started_postgres(*options: str) -> Iterator[PostgresServer]:
    """A running server, without durability unless `options` are given; skips where it is not installed."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not programs:
        pytest.skip("PostgreSQL's server programs are not installed")
    user = "postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name
    # The path of a socket may not be long, so this does not lie below pytest's own folder.
    folder = Path(tempfile.mkdtemp(prefix="tocsin-"))
    server = PostgresServer(folder, user, programs[-1].parent)
    try:
        shutil.chown(folder, user)
        server.make()
        server.start(*(options or ("-c fsync=off",)))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
