"""The `tocsin` command: what it lists, what it refuses, and how little it loads."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from devices import command

ROOT = Path(__file__).resolve().parents[2]
DECLARED = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][
    command.GROUP
]

LOADED_BY_SPEAKER = """
import contextlib, sys
from devices import command
with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
    command.main(["speaker", "--help"])
print(sorted({name.split(".")[0] for name in sys.modules} & {"services", "simulators", "devices"}))
"""
LOADED_BY_HELP = """
import contextlib, sys
from devices import command
with contextlib.redirect_stdout(None):
    command.main(["--help"])
print(sorted(name for name in sys.modules if name.split(".")[0] in ("services", "simulators", "devices", "typer")))
"""


def run(script: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.strip()


def test_every_declared_command_has_its_two_lines_for_people() -> None:
    assert set(command.ABOUT) == set(DECLARED)


def test_installed_commands_are_the_declared_ones_in_the_order_of_the_table() -> None:
    assert {name: entry.value for name, entry in command.commands().items()} == DECLARED
    assert list(command.commands()) == list(command.ABOUT)


def test_overview_lists_every_command_in_english_and_chinese() -> None:
    lines = command.overview().splitlines()
    for name, (english, chinese) in command.ABOUT.items():
        assert [line.split()[0] for line in lines if english in line and chinese in line] == [name]


def test_help_loads_no_command() -> None:
    assert run(LOADED_BY_HELP) == "['devices', 'devices.command']"


def test_speaker_never_loads_the_dispatcher() -> None:
    assert run(LOADED_BY_SPEAKER) == "['devices']"


def test_unknown_command_is_refused_with_the_nearest_one(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["spaeker"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == "There is no command 'spaeker'; did you mean speaker?\n"


def test_command_like_no_other_is_refused_with_the_way_to_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["?" * 500])
    assert ended.value.code == 2
    assert capsys.readouterr().err == f"There is no command {'?' * 40!r}; tocsin --help lists what there is.\n"


@pytest.mark.parametrize("asked", [[], ["--help"], ["-h"], ["help"]])
def test_bare_command_shows_the_overview(asked: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    command.main(asked)
    assert capsys.readouterr().out == command.overview() + "\n"


def test_command_gets_its_arguments_and_its_full_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(["speaker", "--help"])
    assert ended.value.code == 0
    assert "tocsin speaker" in capsys.readouterr().out
