"""The fan-out benchmark at a small size: the whole product runs, and each road's manifest reaches every connection."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from simulators.bench.cli import app

ROADS = ("raw", "ours", "http")


def test_every_road_reaches_every_connection_with_the_bytes_that_were_signed() -> None:
    answer = CliRunner().invoke(app, ["fanout", "--speakers", "6", "--rounds", "1"])
    assert answer.exit_code == 0, answer.output
    told = json.loads(answer.stdout.splitlines()[-1])
    assert (told["bench"], told["speakers"], told["agents"], told["rounds"]) == ("fanout", 6, 0, 1)
    assert all(0 < told[f"{road}_first_s"] <= told[f"{road}_s"] for road in ROADS)
    assert told["manifest_bytes"] > 0 and told["ratio"] > 0 and told["http_ratio"] > 0


def test_benchmark_of_real_agents_alone_is_refused() -> None:
    answer = CliRunner().invoke(app, ["fanout", "--speakers", "2", "--agents", "2"])
    assert answer.exit_code == 2
