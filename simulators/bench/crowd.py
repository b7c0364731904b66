"""Processes full of plain connections, seen from the benchmark: started, asked who holds what, ended."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from simulators.bench.result import BenchFailed

CONNECTIONS_EACH = 5_000
CONNECT_WITHIN_S = 150.0
HELD_WITHIN_S = 30.0
END_WITHIN_S = 5.0


@dataclass(frozen=True, slots=True)
class Login:
    """One connection: its login, and the filters it subscribes to."""

    name: str
    secret: str
    filters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """A message that every connection holds; times in ns of the machine's monotonic clock."""

    topic: str
    sha256: str
    first_ns: int
    last_ns: int


class Crowd:
    """Plain connections spread over processes of at most `each`. Every method raises BenchFailed."""

    def __init__(self, port: int, logins: Sequence[Login], each: int = CONNECTIONS_EACH) -> None:
        self._said: queue.Queue[tuple[int, dict[str, Any]]] = queue.Queue()
        self._processes: list[subprocess.Popen[str]] = []
        try:
            for start in range(0, len(logins), each):
                self._start(port, logins[start : start + each])
            self._wait_until_ready()
        except BaseException:
            self.close()
            raise

    def holds(self, topic: str) -> Held:
        """The next message on this topic that every connection holds."""
        parts: dict[str, dict[int, dict[str, Any]]] = {}
        give_up = time.monotonic() + HELD_WITHIN_S
        while True:
            number, line = self._next(give_up, f"not every connection held a message on {topic}")
            if line.get("topic") != topic:
                continue
            found = parts.setdefault(line["sha256"], {})
            found[number] = line
            if len(found) == len(self._processes):
                first_ns = min(part["first_ns"] for part in found.values())
                last_ns = max(part["last_ns"] for part in found.values())
                return Held(topic, line["sha256"], first_ns, last_ns)

    def close(self) -> None:
        """End every process."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                process.wait(END_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _start(self, port: int, logins: Sequence[Login]) -> None:
        command = [sys.executable, "-m", "simulators.bench.connections"]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        number = len(self._processes)
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()
        assert process.stdin is not None
        # Secrets go by standard input: a command line can be read by everybody.
        asked = {"port": port, "connections": [[login.name, login.secret, login.filters] for login in logins]}
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        except BrokenPipeError as broken:
            raise BenchFailed("A process of plain connections ended at once.") from broken

    def _listen(self, number: int, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                self._said.put((number, json.loads(line)))
        self._said.put((number, {"failed": "the process ended"}))

    def _wait_until_ready(self) -> None:
        ready: set[int] = set()
        give_up = time.monotonic() + CONNECT_WITHIN_S
        while len(ready) < len(self._processes):
            number, line = self._next(give_up, "not every plain connection was let in")
            if "ready" in line:
                ready.add(number)

    def _next(self, give_up: float, otherwise: str) -> tuple[int, dict[str, Any]]:
        try:
            number, line = self._said.get(timeout=max(0.0, give_up - time.monotonic()))
        except queue.Empty as nothing:
            raise BenchFailed(f"In time, {otherwise}.") from nothing
        if "failed" in line:
            raise BenchFailed(f"Plain connections failed: {line['failed']}.")
        return number, line
