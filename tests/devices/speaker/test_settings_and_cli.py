"""Settings, the command, reconnecting, and what the process weighs."""

from __future__ import annotations

import ast
import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest

from devices.speaker.loop import Loop
from devices.speaker.reconnect import FLOOR_US_MAX, Dial, wait_us
from devices.speaker.settings import (
    REQUIRED,
    SETTINGS_TOLD,
    PlayerKind,
    SettingsRefused,
    SpeakerSettings,
    read_settings,
)
from tests.devices.speaker.conftest import SECRETS, Mosquitto
from tests.devices.speaker.desk import ROUNDS_MAX, Desk
from tests.devices.speaker.world import ROOT_KEY, an_order

ROOT = Path(__file__).parents[3]
RESIDENT_KB_MAX = 60 * 1_024


def members(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "id": "sp-1",
        "secret": SECRETS["sp-1"],
        "root_kid": ROOT_KEY.kid,
        "root_key": ROOT_KEY.x,
        "broker_host": "127.0.0.1",
        "store": str(tmp_path / "store"),
        "player": "null",
    } | changes
    return {name: value for name, value in made.items() if value is not None}


def written(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "speaker.json"
    path.write_text(json.dumps(members(tmp_path, **changes)))
    return path


def test_json_and_toml_say_the_same(tmp_path: Path) -> None:
    path = tmp_path / "speaker.toml"
    path.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in members(tmp_path).items()))
    settings = read_settings(path)
    assert settings == read_settings(written(tmp_path))
    assert (settings.player, settings.root.x) == (PlayerKind.NULL, ROOT_KEY.x)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"secret": None}, "missing_setting"),
        ({"id": None}, "missing_setting"),
        ({"root_key": None}, "missing_setting"),
        ({"secret": "short"}, "weak_secret"),
        ({"id": "sp-speaker-number-1", "secret": "sp-speaker-number-1"}, "weak_secret"),
        ({"id": "Speaker 1"}, "bad_id"),
        ({"broker_port": 0}, "out_of_range"),
        ({"broker_port": "1883"}, "wrong_type"),
        ({"volume": True}, "wrong_type"),
        ({"player": "trumpet"}, "unknown_player"),
        ({"colour": "red"}, "unknown_setting"),
    ],
)
def test_settings_that_cannot_be_used_are_refused_with_a_code(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(SettingsRefused) as refused:
        read_settings(written(tmp_path, **changes))
    assert refused.value.code == code


def test_the_secret_is_in_no_text_that_could_be_logged(tmp_path: Path) -> None:
    assert SECRETS["sp-1"] not in repr(read_settings(written(tmp_path)))


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"x" * 70_000])
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "speaker.json"
    path.write_bytes(content)
    with pytest.raises(SettingsRefused):
        read_settings(path)


def test_the_command_refuses_without_a_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devices.command", "speaker", "--settings", str(written(tmp_path, secret="short"))],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == "weak_secret: The secret must have at least 16 characters.\n"


def test_help_speaks_english_and_chinese() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "devices.command", "speaker", "--help"],
        capture_output=True, text=True, check=True, env={**os.environ, "COLUMNS": "200"},
    )  # fmt: skip
    assert "until it is told to stop" in done.stdout
    assert "运行广播终端" in done.stdout
    for name, told in SETTINGS_TOLD.items():
        assert re.search(rf"^ +{name} +{re.escape(told)}$", done.stdout, re.MULTILINE), done.stdout


def test_every_setting_is_told_and_the_required_ones_have_no_default() -> None:
    members = {each.name: each for each in fields(SpeakerSettings)}
    assert SETTINGS_TOLD.keys() == members.keys()
    assert {name for name, each in members.items() if each.default is MISSING} == set(REQUIRED)


@pytest.mark.parametrize(
    ("changes", "sentence", "why"),
    [
        ({"player": "sound_card", "sound_card_command": ["no-such-program"]}, "No usable player", "No such file"),
        ({"player": "sound_card", "sound_card_command": ["sh", "-c", "echo no device >&2; exit 3"]},
         "No usable player", "exit 3: no device"),
        ({"player": "null"}, "The player is null: nothing will be heard.", "sp-1"),
    ],
)  # fmt: skip
def test_speaker_that_nobody_will_hear_says_so_at_its_start(
    tmp_path: Path, changes: dict[str, Any], sentence: str, why: str
) -> None:
    path = written(tmp_path, broker_port=1, **changes)
    with subprocess.Popen(
        [sys.executable, "-m", "devices.command", "speaker", "--settings", str(path)],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env={**os.environ, "NO_COLOR": "1"},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = next(line for line in process.stdout if sentence in line)
        process.kill()
    assert why in said


def test_jitter_is_spread_over_the_whole_spread_and_never_hammers() -> None:
    lost = Dial().connecting().up().lost()
    assert [wait_us(lost, 20, draw) for draw in (0.0, 0.5, 1.0)] == [0, 10_000_000, 20_000_000]
    failing = Dial()
    waits = []
    for _ in range(8):
        failing = failing.connecting().lost()
        waits.append(wait_us(failing, 0, 0.5))
    assert waits == [500_000, 1_000_000, 2_000_000, 4_000_000, *[FLOOR_US_MAX] * 4]


def test_the_agent_imports_nothing_of_the_dispatcher() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, devices.speaker.cli as c; print(sorted({m.split('.')[0] for m in sys.modules} & {*sys.argv}))",
            "services", "simulators", "sqlalchemy", "fastapi", "pydantic", "celery", "lxml", "numpy",
        ],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_an_agent_that_speaks_decodes_and_reports_stays_within_its_memory(broker: Mosquitto, tmp_path: Path) -> None:
    """The real command with the real speech engine and broker; peak resident memory as the kernel counts it."""
    path = written(tmp_path, broker_port=broker.port, reconnect_spread_s=0, player="wav", wav_real_time=False)
    loop = Loop()
    desk = Desk(loop, broker.port, SECRETS["desk"])
    desk.set_up()
    desk.order(an_order(repeat=2, gap_s=0, texts={"zh": "请立即离开低洼处，前往高处避险。" * 20}))
    process = subprocess.Popen(
        [sys.executable, "-m", "devices.command", "speaker", "--settings", str(path)], stdout=subprocess.DEVNULL
    )
    with process:
        for _ in range(ROUNDS_MAX):
            if desk.steps("o-1").count("finished") == 2:
                break
            loop.run_once(wait_us_max=20_000)
        status = Path(f"/proc/{process.pid}/status").read_text()
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    desk.close()
    loop.close()
    assert [f.name for f in sorted((tmp_path / "store" / "heard").glob("*.wav"))] == [
        "000001-actual-o-1-r1.wav",
        "000002-actual-o-1-r2.wav",
    ]
    peak_kb = int(status.split("VmHWM:")[1].split()[0])
    print(f"peak resident memory of a speaker: {peak_kb} kB")
    assert peak_kb <= RESIDENT_KB_MAX


def test_the_agent_opens_no_inbound_port() -> None:
    """Nothing that runs on a pole binds a socket or serves one; it only ever calls out."""
    opening = {"bind", "accept", "create_server", "start_server", "create_unix_server", "serve_forever"}
    found = [
        (file.name, node.lineno)
        for folder in ("speaker", "protocols")
        for file in sorted((ROOT / "devices" / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Attribute | ast.Name)
        and (node.attr if isinstance(node, ast.Attribute) else node.id) in opening
    ]
    assert found == []
