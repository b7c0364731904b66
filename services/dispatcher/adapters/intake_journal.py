"""The intake journal: a synced, bounded file that counts as commit for a fire panel while the database is away.

A panel gives up after three resends of ten seconds; what it said in that time is kept here and replayed in order.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from ..domain.signals import Signal
from .rows import decode, encode

JOURNAL_BYTES_MAX = 64 * 1024 * 1024
REPLAY_BATCH = 200


class JournalFull(Exception):
    """The intake journal has reached its size: nothing more can be confirmed until the database is back."""


class IntakeJournal:
    """Appends signals, and hands them back in order once the database takes them again."""

    def __init__(self, path: Path, bytes_max: int = JOURNAL_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def keep(self, signals: Sequence[Signal]) -> None:
        """Write the signals down; they are on the disk when this returns. Raises JournalFull."""
        lines = "".join(encode(signal) + "\n" for signal in signals).encode()
        with self._lock:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                if os.fstat(descriptor).st_size + len(lines) > self._bytes_max:
                    raise JournalFull
                os.write(descriptor, lines)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def waiting(self) -> bool:
        """Whether signals wait here for the database."""
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def replay(self, commit: Callable[[Sequence[Signal]], None], unread: Callable[[bytes], None]) -> int:
        """Hand every signal to `commit` in order, and lines that nobody can read to `unread`; then empty the file. How
        many signals. What they raise passes through and everything stays: signals have keys, so twice is harmless."""
        with self._lock:
            if not self.waiting():
                return 0
            signals, broken = self._read()
            for start in range(0, len(signals), REPLAY_BATCH):
                commit(signals[start : start + REPLAY_BATCH])
            for line in broken:
                unread(line)
            os.truncate(self._path, 0)
            return len(signals)

    def _read(self) -> tuple[list[Signal], list[bytes]]:
        """Every whole line; a torn last line was never confirmed to its panel, which sends it again."""
        whole, _, _ = self._path.read_bytes().rpartition(b"\n")
        signals: list[Signal] = []
        broken: list[bytes] = []
        for line in filter(None, whole.split(b"\n")):
            try:
                signals.append(decode(Signal, line.decode()))
            except (msgspec.DecodeError, UnicodeDecodeError):
                broken.append(line)
        return signals, broken
