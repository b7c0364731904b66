"""`tocsin conformance` against our own agent, another maker's speaker, and a speaker that checks no signature."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.conformance.benches import broker, given_at_installation, program, runner

RUN_S_MAX = 400
FOREIGN = "tests/conformance/foreign_speaker.py"


def tried(folder: Path, device: Sequence[str], more: dict[str, object]) -> tuple[int, list[str]]:
    """How the runner ended, and the lines of its table."""
    with broker(folder / "broker") as port, runner(folder, port) as process:
        settings = folder / "device.json"
        settings.write_text(json.dumps(given_at_installation(folder, port) | more), "utf-8")
        with program([sys.executable, *device[:1], str(settings), *device[1:]]):
            said, _ = process.communicate(timeout=RUN_S_MAX)
        return process.returncode, [line for line in said.splitlines() if line]


def test_our_own_agent_holds(tmp_path: Path) -> None:
    more = {"store": str(tmp_path / "store"), "player": "null", "reconnect_spread_s": 0}
    code, table = tried(tmp_path, ["tests/conformance/quick_agent.py", "8"], more)
    assert (code, [line for line in table if line.startswith(("FAILS", "not tried"))]) == (0, []), "\n".join(table)


def test_another_makers_speaker_holds(tmp_path: Path) -> None:
    code, table = tried(tmp_path, [FOREIGN, str(tmp_path / "store"), "1.0"], {"spread_s": 0})
    assert (code, [line for line in table if line.startswith(("FAILS", "not tried"))]) == (0, []), "\n".join(table)


def test_speaker_that_checks_no_signature_is_told_so(tmp_path: Path) -> None:
    code, table = tried(tmp_path, [FOREIGN, str(tmp_path / "store"), "1.0", "unchecked"], {"spread_s": 0})
    failed = [line for line in table if line.startswith("FAILS")]
    assert code == 1
    assert any("another's signature under a good key's name" in line for line in failed), "\n".join(table)
    assert any("does nothing that was refused" in line for line in failed), "\n".join(table)


@pytest.mark.parametrize("broker_address", ["127.0.0.1", "127.0.0.1:x", ":1"])
def test_broker_without_host_or_port_is_refused(broker_address: str, tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from devices.conformance.cli import app

    given = ["--broker", broker_address, "--speaker", "pole-7", "--login", "x", "--root-out", str(tmp_path / "root")]
    assert CliRunner().invoke(app, given).exit_code == 2
    assert not (tmp_path / "root").exists()
