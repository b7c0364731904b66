"""`tocsin conformance` against our own agent, another maker's speaker, and a speaker that checks no signature."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.conformance.cli import app
from tests.conformance.benches import broker, given_at_installation, program, runner

RUN_S_MAX = 600
FOREIGN = "tests.conformance.foreign_speaker"
DEVICES: dict[str, tuple[Sequence[str], dict[str, object]]] = {
    "own": (("tests.conformance.quick_agent", "8"), {"player": "null", "reconnect_spread_s": 0}),
    "foreign": ((FOREIGN, "{store}", "1.0"), {"spread_s": 0}),
    "unchecked": ((FOREIGN, "{store}", "1.0", "unchecked"), {"spread_s": 0}),
}

Ended = tuple[int, list[str]]


def tried(folder: Path, device: Sequence[str], more: dict[str, object]) -> Ended:
    """How the runner ended, and the lines of its table."""
    folder.mkdir()
    store = str(folder / "store")
    if "player" in more:
        more = more | {"store": store}
    with broker(folder / "broker") as port, runner(folder, port) as process:
        settings = folder / "device.json"
        settings.write_text(json.dumps(given_at_installation(folder, port) | more), "utf-8")
        arguments = [each.format(store=store) for each in device[1:]]
        with program([sys.executable, "-m", device[0], str(settings), *arguments]):
            said, _ = process.communicate(timeout=RUN_S_MAX)
        return process.returncode, [line for line in said.splitlines() if line]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    """Every device on a bench of its own, all at once: a run is mostly waiting."""
    folder = tmp_path_factory.mktemp("benches")
    with ThreadPoolExecutor(len(DEVICES)) as benches:
        runs = {name: benches.submit(tried, folder / name, *device) for name, device in DEVICES.items()}
        return {name: run.result() for name, run in runs.items()}


@pytest.mark.parametrize("device", ["own", "foreign"])
def test_device_that_keeps_to_the_page_holds(device: str, ended: dict[str, Ended]) -> None:
    code, table = ended[device]
    assert (code, [line for line in table if line.startswith(("FAILS", "not tried"))]) == (0, []), "\n".join(table)


def test_device_that_checks_no_signature_is_told_so(ended: dict[str, Ended]) -> None:
    code, table = ended["unchecked"]
    failed = [line for line in table if line.startswith("FAILS")]
    assert code == 1
    assert any("another's signature under a good key's name" in line for line in failed), "\n".join(table)
    assert any("does nothing that was refused" in line for line in failed), "\n".join(table)


def test_every_row_names_its_section_of_the_page(ended: dict[str, Ended]) -> None:
    table = ended["own"][1]
    at = next(line for line in table if line.startswith("result")).index("section")
    rows = [line for line in table if line.startswith("holds")]
    assert len(rows) > 60
    assert [line for line in rows if line[at - 1] != " " or line[at] not in "1234567"] == []


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.1:x", ":1"])
def test_broker_without_host_or_port_is_refused(address: str, tmp_path: Path) -> None:
    given = ["--broker", address, "--speaker", "pole-7", "--login", "x", "--root-out", str(tmp_path / "root")]
    assert CliRunner().invoke(app, given).exit_code == 2
    assert not (tmp_path / "root").exists()


def test_login_file_without_a_secret_is_refused(tmp_path: Path) -> None:
    login = tmp_path / "login.json"
    login.write_text('{"name": "runner"}', "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", str(login), "--root-out", str(tmp_path / "root")]
    assert CliRunner().invoke(app, given).exit_code == 2


def test_root_file_that_holds_no_root_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    root.write_text("[]", "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", "x", "--root-out", str(root)]
    assert CliRunner().invoke(app, given).exit_code == 2
    assert root.read_text("utf-8") == "[]"


def test_broker_that_is_not_there_is_said_so(tmp_path: Path) -> None:
    login = tmp_path / "login.json"
    login.write_text('{"name": "runner", "secret": "s"}', "utf-8")
    given = ["--broker", "127.0.0.1:1", "--speaker", "p", "--login", str(login), "--root-out", str(tmp_path / "root")]
    ended = CliRunner().invoke(app, given)
    assert (ended.exit_code, "cannot be reached" in ended.output) == (2, True)
