"""A real Mosquitto on a free loopback port, with a password file and one account for each speaker."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

SECRETS = {"sp-1": "secret-of-speaker-1", "sp-2": "secret-of-speaker-2", "desk": "secret-of-the-desk-1"}

SIGNAL_AGAIN_S = 1.0


@dataclass
class Mosquitto:
    """A broker that can be stopped and started again on the same port."""

    port: int
    config: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            ["mosquitto", "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.process.poll() is None, "the broker did not start"

    def stop(self) -> None:
        while self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(SIGNAL_AGAIN_S)
                self.process = None
            except subprocess.TimeoutExpired:
                # It listens before its main loop begins, and what is signalled in between is lost on it.
                continue


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "broker"
    folder.mkdir()
    passwords = folder / "passwords"
    passwords.write_text("".join(f"{name}:{secret}\n" for name, secret in SECRETS.items()))
    passwords.chmod(0o600)
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "mosquitto.conf"
    config.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser root\n"
        "max_queued_messages 0\nmax_inflight_messages 0\n"
    )
    mosquitto = Mosquitto(port, config)
    mosquitto.start()
    yield mosquitto
    mosquitto.stop()
