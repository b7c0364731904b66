"""Tables are created once, by whoever comes first, and are what the code expects."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text
from typer.testing import CliRunner

from services.dispatcher.adapters.rows import encode
from services.dispatcher.adapters.store import SqlStore, open_engine
from services.dispatcher.adapters.tables import METADATA
from services.dispatcher.domain.signals import Place
from services.dispatcher.engine.ports import StoreUnavailable
from services.dispatcher.engine.rows import CitySettings, Footprint
from services.dispatcher.processes.cli_migrate import MIGRATIONS, Tables, migrate_app, status, upgrade
from tests import builders
from tests.adapters.neighbours import INCIDENT
from tests.postgres import PostgresServer

ROOT = Path(__file__).resolve().parents[2]
HEAD = sorted((MIGRATIONS / "versions").glob("[0-9]*.py"))[-1].name[:4]
UPGRADE = "import sys; from services.dispatcher.processes.cli_migrate import upgrade; print(upgrade(sys.argv[1]).has)"


@pytest.fixture(params=["sqlite", "postgresql"])
def bare_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'bare 100%.db'}"
        return
    server: PostgresServer = request.getfixturevalue("postgres_server")
    server.execute("CREATE DATABASE bare")
    yield server.url("bare")
    server.execute("DROP DATABASE bare WITH (FORCE)")


def test_a_bare_database_gets_exactly_the_tables_the_code_knows(bare_url: str) -> None:
    assert upgrade(bare_url) == Tables(HEAD, HEAD, ahead=False)
    engine = open_engine(bare_url)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    engine.dispose()


def test_upgrading_again_changes_nothing_that_is_stored(bare_url: str) -> None:
    upgrade(bare_url)
    store = SqlStore(bare_url)
    city = CitySettings("city", "210200000000", "大连", "dalian")
    with store.write() as tx:
        tx.put(city)
    assert upgrade(bare_url) == Tables(HEAD, HEAD, ahead=False)
    with store.read() as read:
        assert read.get(CitySettings, "city") == city
    store.close()


def test_processes_that_start_at_once_create_the_tables_once(bare_url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, bare_url], cwd=ROOT, text=True, stdout=-1, stderr=-1)
        for _ in range(2)
    ]
    said = [process.communicate(timeout=60) for process in started]
    assert [out for out, _ in said] == [f"{HEAD}\n"] * 2, said


def test_a_database_that_newer_code_changed_is_left_alone(bare_url: str) -> None:
    upgrade(bare_url)
    engine = open_engine(bare_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    assert upgrade(bare_url) == Tables("9999", HEAD, ahead=True)
    assert status(bare_url).ready


def test_incidents_open_before_joining_had_tables_are_found_by_place_and_by_name_afterwards(bare_url: str) -> None:
    _upgrade_to_before("0004", bare_url)
    signal = builders.storm_signal("cap/weather/bureau,a1,1000", place=Place(areas=("210202000000",)))
    incident = replace(INCIDENT, place=signal.place, cell="area/210202000000", area="210202000000")
    _insert(bare_url, "incident", incident, "id use hazard state venue area opened_us version")
    _insert(bare_url, "signal", signal, "key received_us", incident=incident.id)
    assert upgrade(bare_url) == Tables(HEAD, HEAD, ahead=False)
    store = SqlStore(bare_url)
    with store.read() as read:
        assert {f.cell for f in read.find(Footprint, incident=incident.id)} == {
            "area/210202000000",
            "under/210202000000",
        }
        assert [row.incident for row in read.signals_named("cap/weather/bureau,a1")] == [incident.id]
        assert read.signals_standing(incident.id, "weather/bureau") == [signal]
    store.close()


def _upgrade_to_before(revision: str, url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    before = ScriptDirectory.from_config(config).get_revision(revision).down_revision
    engine = open_engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, str(before))
    engine.dispose()


def _insert(url: str, table: str, row: object, columns: str, **more: object) -> None:
    """A row as older code wrote it."""
    names = columns.split()
    values = {name: getattr(row, name) for name in names} | more | {"body": encode(row)}
    marks = ", ".join(f":{name}" for name in values)
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})"), values)
    engine.dispose()


def test_an_upgrade_that_fails_leaves_nothing_half_done(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    engine = open_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE wording (somebody_elses INTEGER)")
    with pytest.raises(Exception, match="wording"):
        upgrade(url)
    with engine.connect() as connection:
        names = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'table'").scalars().all()
    engine.dispose()
    assert names == ["wording"]


def test_the_commands_say_what_the_database_has(bare_url: str) -> None:
    run = CliRunner().invoke
    environment = {"TOCSIN_DATABASE_URL": bare_url}
    before = run(migrate_app, ["status"], env=environment)
    assert (before.exit_code, before.output) == (
        1,
        f"The database has no tables, but {HEAD} is needed: run `tocsin migrate upgrade`.\n",
    )
    done = run(migrate_app, ["upgrade", "--database", bare_url])
    assert (done.exit_code, done.output) == (0, f"The database has {HEAD}: up to date.\n")
    after = run(migrate_app, ["status"], env=environment)
    assert (after.exit_code, after.output) == (0, f"The database has {HEAD}: up to date.\n")


def test_the_commands_say_in_one_sentence_why_a_database_can_not_be_used() -> None:
    run = CliRunner().invoke
    for name in ("status", "upgrade"):
        away = run(migrate_app, [name, "--database", "sqlite:////nowhere/at/all.db"])
        said = "the database can't be used now: unable to open database file\n"
        assert (away.exit_code, away.output) == (1, said)
        other = run(migrate_app, [name, "--database", "mysql://x/y"])
        assert (other.exit_code, other.output) == (1, "the database is SQLite or PostgreSQL, not mysql\n")
    with pytest.raises(StoreUnavailable):
        upgrade("postgresql://nobody@/none?host=/nowhere")


def test_without_an_address_the_database_is_that_of_the_folder(tmp_path: Path) -> None:
    environment = {"TOCSIN_VAR": str(tmp_path), "TOCSIN_DATABASE_URL": None}
    done = CliRunner().invoke(migrate_app, ["upgrade"], env=environment)
    assert (done.exit_code, done.output) == (0, f"The database has {HEAD}: up to date.\n")
    assert (tmp_path / "tocsin.db").is_file()
