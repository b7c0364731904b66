"""`tocsin drill` where there is nothing to drill: one sentence, and status 2."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from typer.testing import CliRunner

from services.dispatcher.processes.children import free_port
from simulators.drill import Drill, DrillRefused, app, check_key
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


class Health(BaseHTTPRequestHandler):
    """A running system as far as its health goes; each look gets the next answer, the last one again and again."""

    answers: ClassVar[list[dict[str, Any]]] = []

    def do_GET(self) -> None:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing is logged."""


@pytest.fixture
def api() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Health)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def answer(*, well: bool, usable: bool = True, not_after_us: int = 9, what: str = "") -> dict[str, Any]:
    key = {"use": "exercise", "not_after_us": not_after_us, "gateways": [{"usable": usable}]}
    return {"now_us": 5, "parts": [{"part": "key_exercise", "well": well, "what": what}], "keys": [key]}


def test_a_drill_waits_for_the_canary_of_a_system_that_has_just_started(api: str) -> None:
    Health.answers = [{"now_us": 5, "parts": [], "keys": []}, answer(well=False), answer(well=True)]
    check_key(api)
    assert len(Health.answers) == 1


@pytest.mark.parametrize("broken", [{"usable": False}, {"not_after_us": 4}])
def test_a_drill_with_a_key_that_can_not_sign_is_refused_at_once(api: str, broken: dict[str, Any]) -> None:
    Health.answers = [answer(well=False, what="the file of exercise-1 is empty", **broken)]
    with pytest.raises(DrillRefused, match=r"nothing of it would sound: the file of exercise-1 is empty\. Look at"):
        check_key(api, within_s=3_600)


def test_a_drill_whose_canary_does_not_come_home_or_that_has_no_key_is_refused(api: str) -> None:
    Health.answers = [answer(well=False, what="the canary has never come home")]
    with pytest.raises(DrillRefused, match="never come home"):
        check_key(api, within_s=0)
    Health.answers = [{"now_us": 5, "parts": [], "keys": []}]
    with pytest.raises(DrillRefused, match="no exercise key is listed"):
        check_key(api, within_s=0)


def test_the_command_says_one_sentence_and_starts_nothing(api: str, tmp_path: Path) -> None:
    file = tmp_path / "logins.json"
    file.write_text("{}")
    Health.answers = [answer(well=False, usable=False, what="the file of exercise-1 is empty")]
    status, output = run(SCENARIO, file, int(api.rpartition(":")[2]))
    assert (status, output.count("\n")) == (2, 1)
    assert output.startswith("drill_refused: The drill does not start")
