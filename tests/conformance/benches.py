"""A broker, the runner and a device, each a process of its own, as a maker has them on the bench."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMAND = "from devices.conformance.cli import app; app(prog_name='tocsin conformance')"
SPEAKER = "pole-7"
SECRETS = {SPEAKER: "secret-of-the-device-7", "runner": "secret-of-the-runner"}


@contextmanager
def broker(folder: Path) -> Iterator[int]:
    """A Mosquitto with an account for the runner and one for the device; its port."""
    folder.mkdir(exist_ok=True)
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{name}:{secret}\n" for name, secret in SECRETS.items()))
    passwords.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n")
    with program(["mosquitto", "-c", str(config)]):
        until_s = time.monotonic() + 20
        while not _listens(port) and time.monotonic() < until_s:
            time.sleep(0.05)
        yield port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def program(command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that ends with the block."""
    silent = {"stdout": subprocess.DEVNULL, "stderr": None}
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, **silent)  # type: ignore[call-overload]
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


@contextmanager
def runner(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`tocsin conformance`, begun; it waits for the device."""
    login = folder / "login.json"
    login.write_text(
        json.dumps({"name": "runner", "secret": SECRETS["runner"], "speaker_secret": SECRETS[SPEAKER]}), "utf-8"
    )
    process = subprocess.Popen(
        [
            sys.executable, "-u", "-c", COMMAND, "--broker", f"127.0.0.1:{port}",
            "--speaker", SPEAKER, "--login", str(login), "--root-out", str(folder / "root.json"),
        ],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)


def given_at_installation(folder: Path, port: int) -> dict[str, object]:
    """What is installed in the device once the runner has made its root."""
    until_s = time.monotonic() + 30
    while time.monotonic() < until_s:
        try:
            root = json.loads((folder / "root.json").read_text("utf-8"))
            break
        except (FileNotFoundError, ValueError):
            time.sleep(0.05)
    return {
        "id": SPEAKER, "secret": SECRETS[SPEAKER], "broker_host": "127.0.0.1", "broker_port": port,
        "root_kid": root["root_kid"], "root_key": root["root_key"],
    }  # fmt: skip
