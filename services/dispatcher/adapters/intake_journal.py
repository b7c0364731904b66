"""The intake journal: a synced, bounded file that counts as commit for a fire panel while the database is away.

A panel gives up after three resends of ten seconds; what it said in that time is kept here and replayed in order, what
could not be understood included.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ..domain.signals import Signal, Unread
from .rows import decode, encode

JOURNAL_BYTES_MAX = 64 * 1024 * 1024
REPLAY_BATCH = 200
_SIGNAL, _UNREAD = b"s", b"u"


class JournalFull(Exception):
    """The intake journal has reached its size: nothing more can be confirmed until the database is back."""


class Commit(Protocol):
    """Takes signals and what could not be read into the database; what it raises leaves the journal as it is."""

    def __call__(self, signals: Sequence[Signal], unread: Sequence[Unread], /) -> None: ...


class IntakeJournal:
    """Appends what panels said, and hands it back in order once the database takes it again."""

    def __init__(self, path: Path, bytes_max: int = JOURNAL_BYTES_MAX) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)

    def keep(self, signals: Sequence[Signal], unread: Sequence[Unread] = ()) -> None:
        """Write them down; they are on the disk when this returns. Raises JournalFull, or OSError from the disk, and
        then nothing of them is kept."""
        lines = [(_SIGNAL, encode(signal)) for signal in signals] + [(_UNREAD, encode(row)) for row in unread]
        data = b"".join(mark + body.encode() + b"\n" for mark, body in lines)
        with self._lock:
            fresh = not self._path.exists()
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                end = _end_of_whole_lines(descriptor)
                if end + len(data) > self._bytes_max:
                    raise JournalFull
                _append(descriptor, end, data)
            finally:
                os.close(descriptor)
            if fresh:
                _sync_folder(self._path.parent)

    def waiting(self) -> bool:
        """Whether anything waits here for the database."""
        try:
            return self._path.stat().st_size > 0
        except FileNotFoundError:
            return False

    def replay(self, commit: Commit, now_us: int) -> int:
        """Hand everything to `commit` in order, then empty the file; how many signals. A line that nobody can read
        becomes unread input of `now_us`. What `commit` raises passes through and everything stays: signals have keys,
        so handing them over twice is harmless."""
        with self._lock:
            if not self.waiting():
                return 0
            signals, unread = self._read(now_us)
            for start in range(0, len(signals), REPLAY_BATCH):
                commit(signals[start : start + REPLAY_BATCH], ())
            for start in range(0, len(unread), REPLAY_BATCH):
                commit((), unread[start : start + REPLAY_BATCH])
            os.truncate(self._path, 0)
            return len(signals)

    def _read(self, now_us: int) -> tuple[list[Signal], list[Unread]]:
        """Every whole line; a torn last line was never confirmed to its panel, which sends it again."""
        whole, _, _ = self._path.read_bytes().rpartition(b"\n")
        signals: list[Signal] = []
        unread: list[Unread] = []
        for line in filter(None, whole.split(b"\n")):
            try:
                if line.startswith(_UNREAD):
                    unread.append(decode(Unread, line[1:].decode()))
                else:
                    signals.append(decode(Signal, line.removeprefix(_SIGNAL).decode()))
            except (msgspec.DecodeError, ValueError, TypeError, AttributeError):
                unread.append(Unread("journal", self._path.name, "line_unreadable", line, now_us))
        return signals, unread


def _end_of_whole_lines(descriptor: int) -> int:
    """Where the last whole line ends: what a crash tore off behind it was confirmed to nobody."""
    size = os.fstat(descriptor).st_size
    if size == 0 or os.pread(descriptor, 1, size - 1) == b"\n":
        return size
    return os.pread(descriptor, size, 0).rfind(b"\n") + 1


def _append(descriptor: int, end: int, data: bytes) -> None:
    try:
        os.ftruncate(descriptor, end)
        written = 0
        while written < len(data):
            written += os.pwrite(descriptor, data[written:], end + written)
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, end)
        raise


def _sync_folder(folder: Path) -> None:
    """A new file is durable when its folder says so too."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
