"""Audio on the speaker's disk: fetched recordings by their hash, and staged phrases that are never deleted.

Recordings make room for newer ones, least recently used first. What is stored under a hash has that hash.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path

AUDIO_BYTES_TOTAL_MAX = 268_435_456
_SHA256 = re.compile(r"[0-9a-f]{64}")
_EVENT_CODE = re.compile(r"[A-Za-z0-9_-]{1,32}")
PREFACE = "preface"
GENERAL = "general"


class StoreRefused(Exception):
    """The store did not take this audio. `code` is hash_mismatch, over_cap, disk_full or disk_failed."""

    def __init__(self, code: str) -> None:
        super().__init__(f"The store did not take the audio ({code}).")
        self.code = code


class AudioStore:
    """One directory of audio: `audio/<sha256>` may be deleted, `phrases/<event code>.wav` and the preface never are."""

    def __init__(self, directory: Path, bytes_max: int = AUDIO_BYTES_TOTAL_MAX) -> None:
        self.audio = directory / "audio"
        self.phrases = directory / "phrases"
        self._bytes_max = bytes_max
        for folder in (self.audio, self.phrases):
            folder.mkdir(parents=True, exist_ok=True)
        for left_over in self.audio.glob("*.part"):
            left_over.unlink()

    def cached(self) -> tuple[str, ...]:
        """The hashes held, in order of name."""
        return tuple(sorted(p.name for p in self.audio.iterdir() if _SHA256.fullmatch(p.name)))

    def recording(self, sha256: str) -> Path | None:
        """The file of a recording, whose use is noted; None when it is not held."""
        path = self.audio / sha256
        if not _SHA256.fullmatch(sha256) or not path.exists():
            return None
        os.utime(path)
        return path

    def phrase(self, event_code: str) -> Path | None:
        """The staged phrase for an event code, for a shorter code that it begins with, or the general one."""
        if _EVENT_CODE.fullmatch(event_code):
            for length in range(len(event_code), 0, -1):
                path = self.phrases / f"{event_code[:length]}.wav"
                if path.exists():
                    return path
        path = self.phrases / f"{GENERAL}.wav"
        return path if path.exists() else None

    def preface(self) -> Path | None:
        """The drill preface made at provisioning; without one no exercise may sound."""
        path = self.phrases / f"{PREFACE}.wav"
        return path if path.exists() else None

    def stage(self, name: str, wav: bytes) -> None:
        """Put a phrase, or the preface, on the disk for good. Raises StoreRefused."""
        try:
            _write(self.phrases, f"{name}.wav", [wav])
        except OSError as error:
            raise StoreRefused(_code(error)) from error

    def add(self, sha256: str, chunks: Iterable[bytes], bytes_max: int, keep: Collection[str] = ()) -> tuple[str, ...]:
        """Store a recording; returns the hashes that made room for it, never one of `keep`.

        Raises StoreRefused, or what `chunks` raises.
        """
        if not _SHA256.fullmatch(sha256) or bytes_max > self._bytes_max:
            raise StoreRefused("over_cap")
        gone = self._make_room(bytes_max, keep)
        try:
            _write(self.audio, sha256, _checked(sha256, chunks, bytes_max))
        except OSError as error:
            raise StoreRefused(_code(error)) from error
        return gone

    def _make_room(self, needed: int, keep: Collection[str]) -> tuple[str, ...]:
        files = [(p, p.stat()) for p in self.audio.iterdir() if _SHA256.fullmatch(p.name)]
        total = sum(stat.st_size for _, stat in files)
        gone = []
        for path, stat in sorted(files, key=lambda item: (item[1].st_mtime_ns, item[0].name)):
            if total + needed <= self._bytes_max:
                break
            if path.name in keep:
                continue
            path.unlink(missing_ok=True)
            total -= stat.st_size
            gone.append(path.name)
        return tuple(gone)


def _checked(sha256: str, chunks: Iterable[bytes], bytes_max: int) -> Iterable[bytes]:
    """The chunks as they are, refused at the end when they are not what the hash says."""
    seen, count = hashlib.sha256(), 0
    for chunk in chunks:
        count += len(chunk)
        if count > bytes_max:
            raise StoreRefused("over_cap")
        seen.update(chunk)
        yield chunk
    if seen.hexdigest() != sha256:
        raise StoreRefused("hash_mismatch")


def _write(folder: Path, name: str, chunks: Iterable[bytes]) -> None:
    """A file that is there whole or not at all."""
    handle, part = tempfile.mkstemp(suffix=".part", dir=folder)
    try:
        with os.fdopen(handle, "wb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, folder / name)
    except BaseException:
        os.unlink(part)
        raise


def _code(error: OSError) -> str:
    return "disk_full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "disk_failed"
