"""The databases of a benchmark: each made empty, with the tables of this code, and gone afterwards."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

from services.dispatcher.processes.cli_migrate import upgrade
from simulators.bench.result import BenchFailed


@contextmanager
def fresh_database(file: Path, beside: str = "") -> Iterator[str]:
    """The URL of a new database: the SQLite file named, or one made beside the PostgreSQL database of the URL `beside`,
    which needs the right to make databases and is not touched itself. Raises BenchFailed."""
    if not beside:
        url = f"sqlite:///{file.resolve()}"
        upgrade(url)
        yield url
        return
    where = make_url(beside)
    if where.get_backend_name() != "postgresql":
        raise BenchFailed("The database is postgresql://…; without one it is a SQLite file.")
    name = f"tocsin_bench_{secrets.token_hex(6)}"
    plain = where.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        _run(plain, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    except psycopg.Error as failed:
        raise BenchFailed(f"No database could be made: {failed}") from failed
    try:
        url = where.set(drivername="postgresql", database=name).render_as_string(hide_password=False)
        upgrade(url)
        yield url
    finally:
        _run(plain, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _run(url: str, statement: sql.Composed) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        connection.execute(statement)
