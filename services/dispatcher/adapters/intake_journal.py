"""The intake journal: a synced, bounded file that counts as commit for a fire panel while the database is away.

A panel gives up after three resends of ten seconds; what it said in that time is kept here and replayed in order, what
could not be understood included. The file is made long beforehand, so that a full disk is not the end of it: lines
stand one behind another, and the first zero byte is where they end. Several gateways may share it. While one replays,
all of them go on keeping: nobody waits for more than one write.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from ..domain.signals import Signal, Unread
from ..engine.events import Event, Outcome, SignalArrived, UnreadArrived
from ..engine.ports import StoreUnavailable
from .rows import decode, encode

log = logging.getLogger(__name__)

JOURNAL_BYTES_MAX = 64 * 1024 * 1024
RESERVE_BYTES = 4 * 1024 * 1024
"""What is made long beforehand: some six thousand fires."""
REPLAY_BATCH = 200
CHUNK_BYTES = 262_144
_SIGNAL, _UNREAD, _DONE = b"s", b"u", b"d"


class JournalFull(Exception):
    """The intake journal has reached its size: nothing more can be confirmed until the database is back."""


class Commit(Protocol):
    """Takes signals and what could not be read into the database; what it raises leaves the journal as it is."""

    def __call__(self, signals: Sequence[Signal], unread: Sequence[Unread], /) -> None: ...


class PanelJournal(Protocol):
    """What counts as commit while the database is away: `IntakeJournal`, or the simulation's."""

    def waiting(self) -> bool: ...
    def keep(self, signals: Sequence[Signal], unread: Sequence[Unread] = ...) -> None: ...


def commit_or_keep(
    events: Sequence[Event],
    handle: Callable[[Sequence[Event]], Outcome],
    journal: PanelJournal,
    kept: Callable[[int], object] = lambda signals: None,
) -> Outcome:
    """Commit what panels said; while the database is away, and while earlier signals wait in the journal, that counts
    as commit. `kept` is told how many signals it took. Raises StoreUnavailable when it can't take them either."""
    try:
        if journal.waiting():
            raise StoreUnavailable("earlier signals wait in the journal")
        return handle(events)
    except StoreUnavailable:
        signals = [event.signal for event in events if isinstance(event, SignalArrived)]
        try:
            journal.keep(signals, [event.unread for event in events if isinstance(event, UnreadArrived)])
        except (JournalFull, OSError) as full:
            raise StoreUnavailable(f"the intake journal takes nothing: {type(full).__name__} {full}") from full
        kept(len(signals))
        return Outcome()


@dataclass(frozen=True, slots=True)
class _Line:
    """A line that waits, without its end, and where it stands."""

    at: int
    raw: bytes


class IntakeJournal:
    """Appends what panels said, and hands it back in order once the database takes it again.

    Every lock is one of the operating system on the file, so that it holds between processes and ends with them.
    """

    def __init__(self, path: Path, bytes_max: int = JOURNAL_BYTES_MAX, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._path = path
        self._bytes_max = bytes_max
        self._reserve_bytes = min(reserve_bytes, bytes_max)
        self._threads = threading.Lock()
        self._end = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._make_long()

    def keep(self, signals: Sequence[Signal], unread: Sequence[Unread] = ()) -> None:
        """Write them down; they are on the disk when this returns. Raises JournalFull, or OSError from the disk, and
        then nothing of them is kept."""
        lines = [(_SIGNAL, encode(signal)) for signal in signals] + [(_UNREAD, encode(row)) for row in unread]
        data = b"".join(mark + body.encode() + b"\n" for mark, body in lines)
        with self._locked() as file:
            end, torn = self._find_end(file)
            if end + len(data) > self._bytes_max:
                raise JournalFull
            try:
                # Zeros take the place of a torn line, and end the lines wherever older ones stood.
                _write(file, end, data.ljust(torn, b"\0") + b"\0")
                os.fsync(file)
            except OSError:
                with suppress(OSError):
                    _write(file, end, b"\0")
                raise
            self._end = end + len(data)

    def waiting(self) -> bool:
        """Whether anything waits here for the database."""
        try:
            with self._path.open("rb", buffering=0) as file:
                return file.read(1) not in (b"", b"\0")
        except FileNotFoundError:
            return False

    def replay(self, commit: Commit, now_us: int) -> int:
        """Hand everything to `commit` in order, then empty the file; how many signals. 0 while another process does so.

        A line that nobody can read becomes unread input of `now_us`. What `commit` raises passes through, and what it
        did not take stays: signals have keys, so handing them over twice is harmless.
        """
        if not self.waiting():
            return 0
        replayed = at = 0
        with self._replaying() as mine:
            while mine:
                with self._locked() as file:
                    lines = _lines(file, at)
                    if not lines:
                        self._empty(file)
                        return replayed
                signals, unread = self._decoded(lines, now_us)
                commit(signals, unread)
                replayed += len(signals)
                at = lines[-1].at + len(lines[-1].raw) + 1
                with self._locked() as file:
                    # Not synced: a mark that a crash takes back costs a repetition, no more.
                    for line in lines:
                        _write(file, line.at, _DONE)
        return replayed

    def _decoded(self, lines: Sequence[_Line], now_us: int) -> tuple[list[Signal], list[Unread]]:
        signals: list[Signal] = []
        unread: list[Unread] = []
        for line in lines:
            try:
                if line.raw.startswith(_UNREAD):
                    unread.append(decode(Unread, line.raw[1:].decode()))
                else:
                    signals.append(decode(Signal, line.raw.removeprefix(_SIGNAL).decode()))
            except (msgspec.DecodeError, ValueError, TypeError, AttributeError):
                unread.append(Unread("journal", self._path.name, "line_unreadable", line.raw, now_us))
        return signals, unread

    def _make_long(self) -> None:
        """Take room on the disk now, and say so where there is none."""
        try:
            with self._locked() as file:
                if os.fstat(file).st_size < self._reserve_bytes:
                    os.posix_fallocate(file, 0, self._reserve_bytes)
                    os.fsync(file)
        except OSError as cause:
            log.warning("the intake journal has no room of its own path=%s: %s", self._path, cause)

    def _find_end(self, file: int) -> tuple[int, int]:
        """Where the last whole line ends, and how many bytes of a torn one lie behind it: that was confirmed to nobody.

        Goes on from where this process wrote last, if a line still ends there.
        """
        begin = self._end if self._end and os.pread(file, 1, self._end - 1) == b"\n" else 0
        end = at = begin
        while chunk := os.pread(file, CHUNK_BYTES, at):
            lines, zero, _ = chunk.partition(b"\0")
            if (last := lines.rfind(b"\n")) >= 0:
                end = at + last + 1
            at += len(lines)
            if zero:
                break
        return end, at - end

    def _empty(self, file: int) -> None:
        """All of it is in the database. The room stays; what was beyond it is given back."""
        used = self._find_end(file)
        for at in range(0, min(sum(used), self._reserve_bytes), CHUNK_BYTES):
            _write(file, at, bytes(min(CHUNK_BYTES, self._reserve_bytes - at)))
        if os.fstat(file).st_size > self._reserve_bytes:
            os.ftruncate(file, self._reserve_bytes)
        os.fsync(file)
        self._end = 0

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The file, which nobody else reads or writes meanwhile."""
        with self._threads, _opened(self._path) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file

    @contextmanager
    def _replaying(self) -> Iterator[bool]:
        """Whether this process may replay: one at a time does."""
        with _opened(self._path.with_name(f"{self._path.name}.replaying")) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    """The file for reading and writing, made if it is not there; a new one is durable when its folder says so too."""
    fresh = not path.exists()
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if fresh:
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        yield file
    finally:
        os.close(file)


def _lines(file: int, at: int) -> list[_Line]:
    """The next lines that wait, at most a batch; a torn last line is not one."""
    found: list[_Line] = []
    rest = b""
    while len(found) < REPLAY_BATCH and (chunk := os.pread(file, CHUNK_BYTES, at + len(rest))):
        *whole, rest = (rest + chunk.partition(b"\0")[0]).split(b"\n")
        for raw in whole:
            if raw and not raw.startswith(_DONE) and len(found) < REPLAY_BATCH:
                found.append(_Line(at, raw))
            at += len(raw) + 1
        if b"\0" in chunk:
            break
    return found


def _write(file: int, at: int, data: bytes) -> None:
    while data:
        written = os.pwrite(file, data, at)
        at, data = at + written, data[written:]
