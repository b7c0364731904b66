"""A plan made into one WAV file: preface, attention signal, recordings decoded and texts spoken by child processes.

Sound passes through in pieces, so that an hour of it costs no memory. Runs in a worker thread, never in the loop.
"""

from __future__ import annotations

import array
import struct
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from devices.protocols import spoken, wav
from devices.speaker import sounds
from devices.speaker.events import Plan, Segment, SegmentKind
from devices.speaker.store import PREFACE, AudioStore, StoreRefused

RATE = sounds.RATE
SECONDS_MAX = 3_600
CHILD_S_MAX = 60
PAUSE_MS = 400
STAGED_BYTES_MAX = 4_000_000
DRILL_TEXT = "这是演练。这是演练。"
_PIECE_BYTES = 65_536
_HEADER_BYTES = 44


class RenderFailed(Exception):
    """The plan cannot be made to sound. `code` says which part failed."""

    def __init__(self, code: str) -> None:
        super().__init__(f"The plan cannot be made to sound ({code}).")
        self.code = code


class Renderer(Protocol):
    """Makes a plan into a WAV file."""

    def render(self, plan: Plan, target: Path) -> int:
        """Write the file; returns its length in ms. Raises RenderFailed."""


class Studio:
    """Renders with what the speaker has: its store, an Opus decoder (ffmpeg) and local speech (espeak-ng)."""

    def __init__(self, store: AudioStore, ffmpeg: str = "ffmpeg", espeak: str = "espeak-ng") -> None:
        self._store = store
        self._ffmpeg = ffmpeg
        self._espeak = espeak
        self._chimes: dict[tuple[str, int, str, str], bytes] = {}

    def provision(self) -> None:
        """Make the drill preface when there is none: the drill tone and the words, or the tone alone without speech."""
        if self._store.preface() is not None:
            return
        try:
            words = b"".join(self._say(DRILL_TEXT, "zh"))
        except RenderFailed:
            words = b""
        pcm = wav.read(sounds.drill_tone(RATE)).pcm + wav.silence(PAUSE_MS, RATE).pcm + words
        try:
            self._store.stage(PREFACE, wav.write(wav.Sound(RATE, pcm)))
        except StoreRefused as error:
            raise RenderFailed(error.code) from error

    def render(self, plan: Plan, target: Path) -> int:
        """Write the plan as 16-bit mono WAV; returns its length in ms. Raises RenderFailed.

        An exercise whose first segment is not the preface, or whose preface is missing, is refused here as well.
        """
        first = plan.segments[0].kind if plan.segments else None
        if plan.use != "actual" and (first is not SegmentKind.PREFACE or self._store.preface() is None):
            raise RenderFailed("no_drill_preface")
        try:
            with target.open("wb") as file:
                return _write(file, self._pieces(plan), plan.volume)
        except OSError as error:
            raise RenderFailed("disk_failed") from error

    def _pieces(self, plan: Plan) -> Iterator[bytes]:
        for segment in plan.segments:
            yield from self._segment(plan, segment)
            yield wav.silence(PAUSE_MS, RATE).pcm

    def _segment(self, plan: Plan, segment: Segment) -> Iterable[bytes]:
        match segment.kind:
            case SegmentKind.PREFACE:
                return self._file(self._store.preface(), "no_drill_preface")
            case SegmentKind.CHIME:
                return [self._chime(plan)]
            case SegmentKind.AUDIO:
                return self._file(self._store.recording(segment.value), "no_audio")
            case SegmentKind.SAY:
                return self._say(segment.value, segment.lang)
            case SegmentKind.PHRASE:
                path = self._store.phrase(segment.value)
                # A speaker without staged phrases still has its chime: an alarm without words beats silence.
                return [] if path is None else self._file(path, "no_phrase")

    def _chime(self, plan: Plan) -> bytes:
        key = (plan.use, plan.level, plan.phase, plan.event_code)
        if key not in self._chimes:
            if len(self._chimes) >= 4:
                self._chimes.pop(next(iter(self._chimes)))
            actual = plan.use == "actual"
            made = sounds.attention_chime(RATE, *key[1:]) if actual else sounds.drill_tone(RATE)
            self._chimes[key] = wav.read(made).pcm
        return self._chimes[key]

    def _file(self, path: Path | None, missing: str) -> Iterator[bytes]:
        """A sound file of any codec as PCM, through the decoder's pipe; staged WAV of our own rate needs no decoder."""
        if path is None:
            raise RenderFailed(missing)
        ready = _staged(path)
        if ready is not None:
            return iter([ready])
        command = [
            self._ffmpeg, "-nostdin", "-v", "error", "-protocol_whitelist", "file,pipe", "-i", str(path),
            "-f", "s16le", "-ac", "1", "-ar", str(RATE), "pipe:1",
        ]  # fmt: skip
        return _child(command, b"", "decode_failed")

    def _say(self, text: str, lang: str) -> Iterator[bytes]:
        """A text through local speech as PCM. The text goes in by the pipe: it can be no option of the command."""
        voice = spoken.espeak_voice(lang)
        if voice is None:
            raise RenderFailed("no_voice")
        words = spoken.readable(text, lang)
        pieces = _child([self._espeak, "-v", voice, "--stdin", "--stdout"], words.encode(), "speech_failed")
        head = b""
        for piece in pieces:
            head += piece
            if len(head) >= _HEADER_BYTES:
                break
        if len(head) <= _HEADER_BYTES or head[24:28] != struct.pack("<I", RATE):
            raise RenderFailed("speech_failed")
        return _after(head[_HEADER_BYTES:], pieces)


def _staged(path: Path) -> bytes | None:
    """The samples of a short 16-bit mono WAV file of our rate; None for everything else."""
    if path.suffix != ".wav" or path.stat().st_size > STAGED_BYTES_MAX:
        return None
    try:
        sound = wav.read(path.read_bytes())
    except wav.WavRefused:
        return None
    return sound.pcm if sound.rate == RATE else None


def _after(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _child(command: list[str], given: bytes, code: str) -> Iterator[bytes]:
    """The standard output of a child in pieces. Raises RenderFailed(code) when it fails, hangs or says nothing."""
    try:
        child = subprocess.Popen(
            ["timeout", "-k", "1", str(CHILD_S_MAX), *command],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError as error:
        raise RenderFailed(code) from error
    with child:
        assert child.stdin is not None and child.stdout is not None
        count, whole = 0, False
        try:
            child.stdin.write(given)
            child.stdin.close()
            while piece := child.stdout.read(_PIECE_BYTES):
                count += len(piece)
                yield piece
            whole = child.wait() == 0 and count > 0
        except BrokenPipeError as error:
            raise RenderFailed(code) from error
        finally:
            if child.poll() is None:
                child.terminate()
        if not whole:
            raise RenderFailed(code)


def _write(file: IO[bytes], pieces: Iterable[bytes], volume: int) -> int:
    """The pieces as WAV at this volume (0–100 of full scale). The header is completed at the end."""
    file.write(bytes(_HEADER_BYTES))
    count, odd = 0, b""
    for piece in pieces:
        whole = odd + piece
        cut = len(whole) & ~1
        odd = whole[cut:]
        count += file.write(_scaled(whole[:cut], volume))
        if count > SECONDS_MAX * RATE * 2:
            raise RenderFailed("over_cap")
    header = wav.write(wav.Sound(RATE, b""))
    file.seek(0)
    file.write(header[:4] + struct.pack("<I", 36 + count) + header[8:40] + struct.pack("<I", count))
    return count * 1_000 // (2 * RATE)


def _scaled(pcm: bytes, volume: int) -> bytes:
    if volume >= 100:
        return pcm
    samples = array.array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    samples = array.array("h", (sample * volume // 100 for sample in samples))
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()
