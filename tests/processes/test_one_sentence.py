"""Commands without what they need end with one sentence and a code, never with a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LONGGANG = str(Path(__file__).parents[2] / "deploy" / "cities" / "longgang")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["gateway", "--check"], "keys_missing"),
        (["gateway"], "keys_missing"),
        (["city", "import", LONGGANG], "store_unavailable"),
        (["panel", "list"], "store_unavailable"),
        (["sensor", "list"], "store_unavailable"),
        (["audit", "verify"], "store_unavailable"),
    ],
)
def test_in_an_empty_folder_there_is_one_sentence(tmp_path: Path, words: list[str], code: str) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    ended = subprocess.run(
        [sys.executable, "-m", "devices.command", *words],
        env=environment | {"TOCSIN_VAR": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert (ended.stderr.split(": ")[0], ended.stderr.count("\n")) == (code, 1)
