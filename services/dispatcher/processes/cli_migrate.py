"""The `tocsin migrate` commands: bring the database's tables to what this version of the code needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util.exc import CommandError
from sqlalchemy import Connection

from services.dispatcher.adapters.store import open_engine, translated, writing
from services.dispatcher.engine.ports import StoreUnavailable

from .settings import Settings

MIGRATIONS = Path(__file__).resolve().parents[3] / "deploy" / "migrations"
LOCK_NUMBER = 0x746F6373696E
"""PostgreSQL's advisory lock of whoever changes tables: "tocsin" in ASCII."""

migrate_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Bring the database's tables up to date. 升级数据库结构。"
)
Database = Annotated[
    str,
    typer.Option(
        "--database",
        envvar="TOCSIN_DATABASE_URL",
        help="sqlite:///FILE or postgresql://…; else tocsin.db in the folder TOCSIN_VAR. 数据库地址。",
        metavar="URL",
    ),
]


@dataclass(frozen=True, slots=True)
class Tables:
    """What the database has and what this code needs; `has` is "" for an empty database.

    A database may be ahead: newer code changed it, in a step that this code can still live with.
    """

    has: str
    needs: str
    ahead: bool

    @property
    def ready(self) -> bool:
        return self.ahead or self.has == self.needs


def upgrade(url: str) -> Tables:
    """Create or change what is missing, in one transaction. Safe when several processes start at once.

    Raises StoreUnavailable when the database can't be reached or stays locked by others.
    """
    engine = open_engine(url)
    try:
        with translated(), writing(engine).connect() as connection, connection.begin():
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_NUMBER})")
            before = _tables(connection)
            if before.ready:
                return before
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return _tables(connection)
    finally:
        engine.dispose()


def status(url: str) -> Tables:
    """What the database has, without changing it. Raises StoreUnavailable."""
    engine = open_engine(url)
    try:
        with translated(), engine.connect() as connection:
            return _tables(connection)
    finally:
        engine.dispose()


def _tables(connection: Connection) -> Tables:
    scripts = ScriptDirectory.from_config(_config())
    has = MigrationContext.configure(connection).get_current_revision() or ""
    return Tables(has, scripts.get_current_head() or "", ahead=bool(has) and not _is_known(scripts, has))


def _is_known(scripts: ScriptDirectory, revision: str) -> bool:
    try:
        return scripts.get_revision(revision) is not None
    except CommandError:
        return False


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    return config


@migrate_app.callback()
def migrate() -> None:
    """Bring the database's tables up to date."""


@migrate_app.command("upgrade")
def upgrade_command(database: Database = "") -> None:
    """Create or change what is missing; ends with 1 when the database can't be used. 建立或升级数据表。"""
    _say(upgrade, database)


@migrate_app.command("status")
def status_command(database: Database = "") -> None:
    """Say which tables the database has; ends with 1 when they are behind, or it can't be reached. 查看数据表版本。"""
    if not _say(status, database).ready:
        raise typer.Exit(1)


def _say(ask: Callable[[str], Tables], url: str) -> Tables:
    try:
        tables = ask(url or Settings().database)
    except (StoreUnavailable, ValueError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    has = tables.has or "no tables"
    if tables.ahead:
        typer.echo(f"The database has {has}, from a newer version than this one, which needs {tables.needs}.")
    elif tables.ready:
        typer.echo(f"The database has {has}: up to date.")
    else:
        typer.echo(f"The database has {has}, but {tables.needs} is needed: run `tocsin migrate upgrade`.")
    return tables
