"""Programs that `tocsin up` starts and that end when it ends, by any death: Mosquitto, Redis and our own processes.

Start children from the main thread: the kernel ends a child when the thread that started it ends.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from services.dispatcher.adapters import broker
from services.dispatcher.adapters.broker import BrokerLogin

LOG_BYTES_MAX = 4 * 1024 * 1024
LOG_TAIL_LINES = 12
_ANSWER_WITHIN_S = 30.0
_STOP_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.02
_PORT_TRIES = 5
_LEASH = Path(__file__).with_name("leash.py")
_BARE_ENVIRONMENT = {"LC_ALL": "C.UTF-8"}
"""Services of others see nothing of our environment, where settings may stand."""


class ChildWontStart(Exception):
    """A program that is missing, ended early or gave no answer; `code` is absent, ended, silent or open_to_all."""

    def __init__(self, code: str, sentence: str) -> None:
        self.code = code
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Account:
    """The account a child runs under."""

    uid: int
    gid: int


def account_for(*names: str) -> Account | None:
    """The first of `names` this machine has, else nobody; None when we are not root and keep our own account."""
    if os.geteuid() != 0:
        return None
    for name in (*names, "nobody"):
        with suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(entry.pw_uid, entry.pw_gid)
    raise ChildWontStart("absent", f"None of the accounts {', '.join(names)} and nobody exists to run a service under.")


def program(name: str) -> str:
    """The full path of a program. Raises ChildWontStart(absent). Debian keeps daemons off an ordinary user's PATH."""
    found = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin")
    if found is None:
        raise ChildWontStart("absent", f"The program {name} is not installed; deploy/packages.txt names its package.")
    return found


class Child:
    """One running program: its process, and its log file, which keeps what the last runs wrote."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], log: Path) -> None:
        self.name = name
        self.process = process
        self.log = log

    @classmethod
    def start(
        cls,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        log: Path | None = None,
        account: Account | None = None,
        environment: Mapping[str, str] | None = None,
        given: bytes = b"",
    ) -> Self:
        """Start `command` (its first word a full path) in `folder`; `given` is its standard input.

        It has its own session, so that Ctrl-C reaches us alone and we stop children in our order.
        """
        assert threading.current_thread() is threading.main_thread(), "a child dies with the thread that started it"
        log = log or folder / f"{name}.log"
        _make_room(log)
        who = ("-", "-") if account is None else (str(account.uid), str(account.gid))
        leash = [sys.executable, "-I", "-S", str(_LEASH), str(os.getpid()), *who, *command]
        with log.open("ab") as sink:
            process = subprocess.Popen(
                leash,
                cwd=folder,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )
        assert process.stdin is not None
        with suppress(BrokenPipeError), process.stdin:
            process.stdin.write(given)
        return cls(name, process, log)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def tail(self) -> str:
        """The last lines of the log."""
        with self.log.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(lines[-LOG_TAIL_LINES:])

    def wait_until(self, answers: Callable[[], bool], *, within_s: float = _ANSWER_WITHIN_S) -> None:
        """Return once `answers()`. Raises ChildWontStart with the end of the log: the child ended or stays silent."""
        give_up = time.monotonic() + within_s
        while not answers():
            if not self.running:
                sentence = f"{self.name} ended with status {self.process.returncode} instead of answering."
                raise ChildWontStart("ended", f"{sentence} Its log ends:\n{self.tail()}")
            if time.monotonic() > give_up:
                sentence = f"{self.name} gave no answer within {within_s:g} seconds."
                raise ChildWontStart("silent", f"{sentence} Its log ends:\n{self.tail()}")
            time.sleep(_LOOK_AGAIN_S)

    def stop(self, *, within_s: float = _STOP_WITHIN_S) -> int:
        """End the child, by force when it does not listen; returns its status."""
        if self.running:
            self.process.terminate()
            try:
                self.process.wait(within_s)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()


class Mosquitto:
    """A broker of our own at 127.0.0.1:`port`, with its files, retained messages and sessions in `folder`."""

    def __init__(
        self, folder: Path, *, port: int | None = None, queued_bytes_max: int = broker.QUEUED_BYTES_MAX
    ) -> None:
        self.folder = folder
        self.port = port
        self.queued_bytes_max = queued_bytes_max
        self.account = account_for("mosquitto")
        self.child: Child | None = None

    def start(self, logins: Sequence[BrokerLogin]) -> int:
        """Start, wait until the logins work, return the port. Raises ChildWontStart, LoginRefused or OSError."""
        _own_folder(self.folder, self.account)
        probe = self._write(logins)
        self.child, self.port = _on_a_port(self.port, lambda port: self._started(port, probe))
        if broker.connects(self.port, "", "") is not False:
            self.stop()
            raise ChildWontStart("open_to_all", "Mosquitto let a client in without a login, so it was stopped.")
        return self.port

    def reload(self, logins: Sequence[BrokerLogin]) -> None:
        """Put new logins in force and return when they are. Clients whose login is gone are disconnected."""
        child, port = self.child, self.port
        assert child is not None, "start comes first"
        assert port is not None, "start sets it"
        probe = self._write(logins)
        child.process.send_signal(signal.SIGHUP)
        child.wait_until(lambda: broker.connects(port, *probe) is True)

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
            self.child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _write(self, logins: Sequence[BrokerLogin]) -> tuple[str, str]:
        """Write the logins and one more, new each time: once it works, the others do. It may use no topic of anyone."""
        name, secret = "up-probe", broker.new_secret()
        probe = BrokerLogin.with_secret(name, secret)
        broker.write_login_files(self.folder, [*logins, probe], _owner(self.account))
        return name, secret

    def _started(self, port: int, probe: tuple[str, str]) -> Child:
        config = broker.config_lines(port, queued_bytes_max=self.queued_bytes_max)
        broker.write_private(self.folder / broker.CONFIG_FILE, config, _owner(self.account))
        # Every path is relative: the folders above may be closed to the account that Mosquitto runs under.
        command = [program("mosquitto"), "-c", broker.CONFIG_FILE]
        child = Child.start("mosquitto", command, self.folder, account=self.account, environment=_BARE_ENVIRONMENT)
        _wait_or_stop(child, lambda: broker.connects(port, *probe) is True)
        return child


class Redis:
    """A Redis of our own at 127.0.0.1:`port` with a password nobody chose. Nothing is kept: losing it loses no fact."""

    def __init__(self, folder: Path, *, port: int | None = None) -> None:
        self.folder = folder
        self.port = port
        self.password = broker.new_secret()
        self.account = account_for("redis")
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """The address with its password, for this machine's own processes; keep it out of logs and command lines."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def start(self) -> int:
        """Start, wait until it answers, return the port. Raises ChildWontStart or OSError."""
        _own_folder(self.folder, self.account)
        self.child, self.port = _on_a_port(self.port, self._started)
        return self.port

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()
            self.child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _started(self, port: int) -> Child:
        settings = (
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {self.password}",
            "protected-mode yes",
            "daemonize no",
            "dir ./",
            'save ""',
            "appendonly no",
            "maxmemory 256mb",
            "maxmemory-policy noeviction",
            "",
        )
        # By standard input, because Redis opens a configuration file by its full path, which may be closed to it.
        command = [program("redis-server"), "-"]
        child = Child.start(
            "redis",
            command,
            self.folder,
            account=self.account,
            environment=_BARE_ENVIRONMENT,
            given="\n".join(settings).encode(),
        )
        _wait_or_stop(child, lambda: _redis_answers(port, self.password))
        return child


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _on_a_port(wanted: int | None, start: Callable[[int], Child]) -> tuple[Child, int]:
    """Start on `wanted`, or on a free port, trying others when somebody else is quicker to take it."""
    if wanted is not None:
        return start(wanted), wanted
    for _ in range(_PORT_TRIES - 1):
        port = free_port()
        try:
            return start(port), port
        except ChildWontStart as refusal:
            if refusal.code != "ended" or "in use" not in str(refusal):
                raise
    port = free_port()
    return start(port), port


def _wait_or_stop(child: Child, answers: Callable[[], bool]) -> None:
    try:
        child.wait_until(answers)
    except BaseException:
        child.stop()
        raise


def _redis_answers(port: int, password: str) -> bool:
    expected = b"+OK\r\n+PONG\r\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0) as link:
            link.sendall(f"AUTH {password}\r\nPING\r\n".encode())
            return link.recv(len(expected), socket.MSG_WAITALL) == expected
    except OSError:
        return False


def _own_folder(folder: Path, account: Account | None) -> None:
    """Make the folder and give it, with the files an earlier run left, to the account that will write there."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if account is not None:
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.uid, account.gid, follow_symlinks=False)


def _owner(account: Account | None) -> tuple[int, int] | None:
    return None if account is None else (account.uid, account.gid)


def _make_room(log: Path) -> None:
    """Set a long log aside, over the one set aside before."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_name(f"{log.name}.1"))
