"""Rendered audio on disk, each file under the SHA-256 of its bytes. Nothing is ever changed in place.

A file's modification time is when it was last used; collection removes what nobody used for long and nobody keeps.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ..domain.refusals import NotFound, Refused

BLOB_BYTES_MAX = 64_000_000
TOUCH_AFTER_S = 3_600
UNFINISHED_AFTER_S = 3_600

_NAME = re.compile(r"[0-9a-f]{64}")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class BlobMissing(NotFound):
    """There is no audio under this hash."""

    code = "audio_not_found"


class BlobTooLarge(Refused):
    """This is more than an audio file may hold."""

    code = "audio_too_large"


class StoreFull(Refused):
    """The disk for audio is full."""

    code = "audio_store_full"


class StoreBroken(Refused):
    """The disk for audio can't be read or written."""

    code = "audio_store_broken"


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed."""

    files: int
    bytes: int


class Blobs:
    """A folder of audio by hash, safe for many processes at once. Every method raises StoreBroken for a sick disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Store bytes, synced to disk before this returns, and return their SHA-256 in hex. Raises StoreFull."""
        if len(data) > BLOB_BYTES_MAX:
            raise BlobTooLarge(f"{len(data)} bytes, at most {BLOB_BYTES_MAX}")
        name = hashlib.sha256(data).hexdigest()
        path = self._path(name)
        try:
            if not _holds(path, data):
                path.parent.mkdir(parents=True, exist_ok=True)
                _write(path, data)
            else:
                os.utime(path)
        except OSError as error:
            raise _refusal(error) from error
        return name

    def open(self, sha256: str) -> BinaryIO:
        """The bytes as an open file; the caller closes it. Raises BlobMissing, also for what is not a hash."""
        path = self._path(sha256)
        try:
            file = path.open("rb")
            # A download by ten thousand speakers should not write to the disk ten thousand times.
            if time.time() - os.fstat(file.fileno()).st_mtime > TOUCH_AFTER_S:
                os.utime(path)
        except OSError as error:
            raise _refusal(error) from error
        return file

    def size(self, sha256: str) -> int:
        """Length in bytes. Raises BlobMissing."""
        try:
            return self._path(sha256).stat().st_size
        except OSError as error:
            raise _refusal(error) from error

    def exists(self, sha256: str) -> bool:
        """Whether it can be opened now."""
        try:
            return self.size(sha256) >= 0
        except BlobMissing:
            return False

    def collect(self, unused_since: float, keep: Collection[str] = ()) -> Collected:
        """Remove what was last used before `unused_since` (POSIX seconds), except `keep`; and abandoned writes.

        What is in force or staged for a playbook belongs in `keep`, whatever its age."""
        files = size = 0
        for path, stat in self._files():
            unfinished = path.suffix == ".new"
            if unfinished and stat.st_mtime >= time.time() - UNFINISHED_AFTER_S:
                continue
            if not unfinished and (path.name in keep or stat.st_mtime >= unused_since):
                continue
            try:
                path.unlink()
            except FileNotFoundError:
                continue
            except OSError as error:
                raise _refusal(error) from error
            files, size = files + 1, size + stat.st_size
        return Collected(files, size)

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """Every file of ours in the folder; what another process removes meanwhile is passed over."""
        try:
            for path in sorted(self._folder.glob("[0-9a-f][0-9a-f]/*")):
                if not _NAME.fullmatch(path.name) and path.suffix != ".new":
                    continue
                try:
                    yield path, path.stat()
                except FileNotFoundError:
                    continue
        except OSError as error:
            raise _refusal(error) from error

    def _path(self, sha256: str) -> Path:
        """Only 64 small hex digits make a path, so that no name leads out of the folder."""
        if not _NAME.fullmatch(sha256):
            raise BlobMissing
        return self._folder / sha256[:2] / sha256


def _holds(path: Path, data: bytes) -> bool:
    """Whether the file is there and whole; a damaged one is written again."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except FileNotFoundError:
        return False


def _write(path: Path, data: bytes) -> None:
    """Under another name, synced, then renamed: a reader sees all of it or nothing, also after a power failure."""
    handle, fresh = tempfile.mkstemp(suffix=".new", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(fresh, 0o640)
        os.replace(fresh, path)
    except OSError:
        Path(fresh).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _refusal(error: OSError) -> Refused:
    if isinstance(error, FileNotFoundError):
        return BlobMissing()
    if error.errno in _FULL:
        return StoreFull(error.strerror or "")
    return StoreBroken(error.strerror or "")
