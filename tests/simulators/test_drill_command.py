"""`tocsin drill` where there is nothing to drill: one sentence, and status 2."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from services.dispatcher.processes.children import free_port
from simulators.drill import Drill, app
from simulators.scenario import Scenario, Step

SCENARIO = "underground-fire-and-rainstorm"


def run(scenario: str, logins: Path, port: int) -> tuple[int, str]:
    words = [scenario, "--api", f"http://127.0.0.1:{port}", "--panel-port", "1", "--logins", str(logins)]
    result = CliRunner().invoke(app, words, catch_exceptions=False)
    return result.exit_code, result.output


def test_a_scenario_that_there_is_not_is_answered_with_those_that_there_are(tmp_path: Path) -> None:
    assert run("flood", tmp_path / "none", 1) == (2, f"There is no scenario flood; there is {SCENARIO}.\n")


def test_logins_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    file = tmp_path / "none.json"
    assert run(SCENARIO, file, 1) == (2, f"logins_unreadable: {file} can't be read: No such file or directory.\n")


def test_a_system_that_does_not_answer_is_named(tmp_path: Path) -> None:
    file, port = tmp_path / "logins.json", free_port()
    people = {name: {"password": "x"} for name in ("duty", "approver", "office", "city-office")}
    feed, panel = {"id": "f", "key": "k", "area": "210200000000"}, {"address": "0a0b0c0d0e0f", "venue": "v"}
    file.write_text(json.dumps({"people": people, "feed": feed, "panel": panel}))
    status, output = run(SCENARIO, file, port)
    assert (status, output.count("\n")) == (2, 1)
    assert output.startswith(f"unreachable: The system at http://127.0.0.1:{port} can't be asked: ")


def test_a_sensor_that_finds_no_broker_is_an_inject_that_failed() -> None:
    login = {"sensor": {"id": "smoke-1", "gateway": "box-1", "device": "s1", "secret": "x"}}
    drill = Drill(Scenario("sensor", {}, ()), "http://127.0.0.1:1", 1, free_port(), login)
    held, seen = drill._inject(Step(say={}, inject="sensor"))
    assert (held, "refused" in seen.lower()) == (False, True)
