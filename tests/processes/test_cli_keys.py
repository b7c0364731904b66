"""`tocsin keys list`: use, scope, expiry and whether each key signs here, with a warning before one ends; and the last
key of its kind is not revoked by a slip."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from devices.protocols.documents import KeyUse
from services.dispatcher.adapters.keystore import DAY_US, KeyFolder, Scope
from services.dispatcher.processes.cli_keys import expiry_lines, keys_app
from tests.builders import CITY, DISTRICT

NOW_US = time.time_ns() // 1_000


@pytest.fixture
def folder(tmp_path: Path) -> KeyFolder:
    made = KeyFolder(tmp_path / "keys")
    made.init("city", CITY, NOW_US)
    return made


def make(folder: KeyFolder, use: KeyUse, days: int, area: str = CITY) -> str:
    return folder.make(Scope(use, "city", area, days), NOW_US).kid


def shown(folder: KeyFolder) -> dict[str, str]:
    result = CliRunner().invoke(keys_app, ["list", "--keys", str(folder.folder)])
    assert result.exit_code == 0, result.output
    return {line.split()[0]: line for line in result.stdout.splitlines()}


def test_each_key_is_shown_with_use_expiry_and_whether_it_signs(folder: KeyFolder) -> None:
    for use in (KeyUse.ACTUAL, KeyUse.EXERCISE):
        make(folder, use, 400)
    (folder.folder / "actual-city-1.pem").write_bytes(b"")
    (folder.folder / "exercise-city-1.pem").unlink()
    lines = shown(folder)
    assert lines["actual-city-1"].endswith("CAN'T SIGN: the file of actual-city-1 is empty")
    assert lines["exercise-city-1"].endswith("its private half is not here")
    assert lines["clock-city-1"].endswith("signs here")
    assert all(part in lines["actual-city-1"] for part in (" actual ", CITY, "levels 1,2,3,4", "until ", "days)"))


def test_json_says_the_same_and_nothing_else_stands_beside_it(folder: KeyFolder) -> None:
    make(folder, KeyUse.ACTUAL, 400)
    (folder.folder / "actual-city-1.pem").write_bytes(b"")
    result = CliRunner().invoke(keys_app, ["list", "--json", "--keys", str(folder.folder)])
    faults = {key["kid"]: key["fault"] for key in json.loads(result.stdout)["keys"]}
    assert faults == {"config-city-1": "", "clock-city-1": "", "actual-city-1": "empty"}


def warned(folder: KeyFolder) -> list[str]:
    return [line.split()[1] for line in expiry_lines(folder.document().keys, NOW_US)]


def test_a_key_that_ends_within_thirty_days_is_warned_of_unless_a_newer_one_has_its_scope(folder: KeyFolder) -> None:
    make(folder, KeyUse.ACTUAL, 29)
    make(folder, KeyUse.EXERCISE, 31)
    assert warned(folder) == ["actual-city-1"]
    make(folder, KeyUse.ACTUAL, 365, DISTRICT)
    assert warned(folder) == ["actual-city-1"]
    make(folder, KeyUse.ACTUAL, 365)
    assert warned(folder) == []


def test_an_expired_key_is_said_to_be_expired(folder: KeyFolder) -> None:
    folder.make(Scope(KeyUse.ACTUAL, "city", CITY, 1), NOW_US - 2 * DAY_US)
    (line,) = expiry_lines(folder.document().keys, NOW_US)
    assert line.startswith("WARNING: actual-city-1 expired on ")
    assert "EXPIRED on " in shown(folder)["actual-city-1"]


def test_the_last_key_of_its_kind_is_revoked_only_when_that_is_said_twice(folder: KeyFolder) -> None:
    first = make(folder, KeyUse.ACTUAL, 365)
    refused = CliRunner().invoke(keys_app, ["revoke", first, "--keys", str(folder.folder)])
    assert refused.exit_code == 1
    assert all(part in refused.output for part in ("last_key", first, "--yes"))
    assert first in shown(folder)
    second = make(folder, KeyUse.ACTUAL, 30)
    assert CliRunner().invoke(keys_app, ["revoke", first, "--keys", str(folder.folder)]).exit_code == 0
    assert CliRunner().invoke(keys_app, ["revoke", second, "--yes", "--keys", str(folder.folder)]).exit_code == 0
    assert set(shown(folder)) == {"config-city-1", "clock-city-1"}
