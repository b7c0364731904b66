"""The speaker's journal: facts on disk, appended and synced, so that a crash at any byte loses no fact.

One line is one group of facts with a checksum in front; a line cut short by a crash never counts, in whole or in part.
Only the latest word on each fact is kept when the file is rewritten. This is not a log for people.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from devices.speaker.events import Image, JournalEntry

COMPACT_BYTES_MIN = 262_144
COMPACT_RATIO = 4
LINE_BYTES_MAX = 16_777_216


class JournalInUse(Exception):
    """Another process works with this store; two speakers must not share one journal."""


class JournalFailed(Exception):
    """The journal could not be written; the facts stay in memory and go with the next ones. `code` says why."""

    def __init__(self, code: str) -> None:
        super().__init__(f"The journal could not be written ({code}).")
        self.code = code


class Journal:
    """The journal in one directory. Opening it locks it; a directory without one gets a new random journal id."""

    def __init__(self, directory: Path) -> None:
        """Raises JournalInUse, and OSError when the directory cannot be made or read."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._path = directory / "journal"
        self._lock = _locked(directory / "lock")
        self._facts: dict[tuple[str, str], str] = {}
        self._live_bytes = 0
        self._behind = False
        self.damaged_lines = 0
        self.persistent = True
        self._size = self._read()
        self.id = self._facts.get(("self", "journal"), "")
        self._file: IO[bytes] | None = None
        if not self.id:
            self.id = secrets.token_hex(16)
            self._remember([JournalEntry("self", "journal", self.id)])
            self._behind = True
        try:
            self._open()
        except JournalFailed:
            self.persistent = False  # A full disk at boot: the speaker still speaks, and says so.

    def image(self) -> Image:
        """What is on record, for the machine's boot."""
        return Image(self.id, tuple(JournalEntry(kind, key, value) for (kind, key), value in self._facts.items()))

    def append(self, entries: Iterable[JournalEntry]) -> None:
        """Make the entries durable together. Raises JournalFailed; they are then written with the next ones."""
        group = list(entries)
        self._remember(group)
        if self._behind or self._size > max(COMPACT_BYTES_MIN, COMPACT_RATIO * self._live_bytes):
            self._open()
            return
        line = _line(group)
        assert self._file is not None
        try:
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, "the line was cut")
            os.fdatasync(self._file.fileno())
        except OSError as error:
            self._behind = True
            raise JournalFailed(_code(error)) from error
        self._size += len(line)

    def close(self) -> None:
        """Give the directory free."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._lock.close()

    def _read(self) -> int:
        """Take up every whole line; returns the size of the file. Damaged lines are counted and passed over."""
        if not self._path.exists():
            return 0
        with self._path.open("rb") as file:
            size = 0
            while line := file.readline(LINE_BYTES_MAX):
                size += len(line)
                group = _group(line)
                if group is None:
                    self.damaged_lines += 1
                    # What follows a cut line must not be glued to it.
                    self._behind = True
                else:
                    self._remember(group)
        return size

    def _remember(self, group: list[JournalEntry]) -> None:
        for entry in group:
            name = (entry.kind, entry.key)
            old = self._facts.pop(name, None)
            if old is not None:
                self._live_bytes -= len(old)
            if entry.value is not None:
                self._facts[name] = entry.value
                self._live_bytes += len(entry.value)

    def _open(self) -> None:
        """Go on with the file, or write it anew when it has damage or mostly outdated facts."""
        try:
            if self._behind or not self._path.exists() or self._size > COMPACT_BYTES_MIN:
                self._rewrite()
            if self._file is None:
                self._file = self._path.open("ab", buffering=0)
        except OSError as error:
            self._behind = True
            raise JournalFailed(_code(error)) from error
        self._behind = False
        self.persistent = True

    def _rewrite(self) -> None:
        """The latest facts in a new file that takes the old one's place in one step."""
        fresh = self._directory / "journal.new"
        size = 0
        with fresh.open("wb") as file:
            for (kind, key), value in self._facts.items():
                size += file.write(_line([JournalEntry(kind, key, value)]))
            file.flush()
            os.fsync(file.fileno())
        os.replace(fresh, self._path)
        _sync_directory(self._directory)
        if self._file is not None:
            self._file.close()
        self._file = self._path.open("ab", buffering=0)
        self._size = size


def _line(group: list[JournalEntry]) -> bytes:
    body = json.dumps([[e.kind, e.key, e.value] for e in group], ensure_ascii=False, separators=(",", ":")).encode()
    return b"%08x " % zlib.crc32(body) + body + b"\n"


def _group(line: bytes) -> list[JournalEntry] | None:
    """The facts of a line, None when its checksum or its end is wrong."""
    checksum, _, body = line.partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(body[:-1]):
        return None
    return [JournalEntry(kind, key, value) for kind, key, value in json.loads(body)]


def _locked(path: Path) -> IO[bytes]:
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise JournalInUse(f"The store {path.parent.name} is in use by another process.") from error
    return file


def _sync_directory(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _code(error: OSError) -> str:
    return "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk_failed"
