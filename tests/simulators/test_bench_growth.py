"""The benchmark of growth at small sizes: it does what it measures, and marks what grows faster than the city."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest
from typer.testing import CliRunner

from simulators.bench.cli import app
from simulators.bench.database import fresh_database
from simulators.bench.growth import STEPS, powers
from simulators.bench.result import BenchFailed
from tests.postgres import PostgresServer


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_step_is_done_at_each_size(kind: str, request: pytest.FixtureRequest) -> None:
    words, sizes = ["growth", "--speakers", "16,41"], {"16": 2, "41": 6}
    if kind == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres_server")
        words, sizes = ["growth", "--speakers", "16", "--database", server.url("postgres")], {"16": 2}
    answer = CliRunner().invoke(app, words)
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout.splitlines()[-1])
    assert (told["bench"], told["database"]) == ("growth", kind)
    assert {size: figures["plans"] for size, figures in told["sizes"].items()} == sizes
    assert {figures["plans_made_again"] for figures in told["sizes"].values()} == {0}
    for figures in told["sizes"].values():
        assert {f"{step}_s" for step in STEPS} <= figures.keys()


def test_a_step_that_grows_with_the_square_is_marked_and_one_that_takes_no_time_is_not() -> None:
    square, straight, quick = [0.1, 10.0, 250.0], [0.2, 2.0, 10.0], [0.0001, 0.01, 0.1]
    found = {
        size: {"staging_s": square[at], "draft_s": straight[at], "release_s": quick[at]}
        for at, size in enumerate((1_000, 10_000, 50_000))
    }
    assert powers(found, "s") == {"staging": 2.0, "draft": 1.0}


def test_sizes_that_are_no_numbers_or_too_large_are_refused() -> None:
    for wrong in ("many", "0", "1000,900000"):
        assert CliRunner().invoke(app, ["growth", "--speakers", wrong]).exit_code == 2


def test_a_database_is_made_beside_the_one_that_is_named_and_dropped(
    tmp_path: Path, postgres_server: PostgresServer
) -> None:
    with fresh_database(tmp_path / "unused", postgres_server.url("postgres")) as url, psycopg.connect(url) as made:
        assert made.execute("SELECT count(*) FROM speaker").fetchone() == (0,)
        name = made.info.dbname
    with psycopg.connect(postgres_server.url("postgres")) as left:
        assert left.execute("SELECT count(*) FROM pg_database WHERE datname = %s", (name,)).fetchone() == (0,)
    assert not (tmp_path / "unused").exists()


def test_a_server_of_another_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BenchFailed), fresh_database(tmp_path / "unused", "mysql://bench@127.0.0.1/bench"):
        pass
