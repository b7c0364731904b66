"""A plan made into two WAV files: a head of preface and attention signal, and the speech, made by child processes.

The head is there in a moment, so that sound begins while recordings are still decoded and texts spoken. A tone alone is
ambiguous: whatever fails in the speech is followed at once by the next best, down to the recorded phrase. Sound passes
through in pieces, so that an hour of it costs no memory. Runs in worker threads, never in the loop.
"""

from __future__ import annotations

import array
import struct
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import dropwhile, takewhile
from pathlib import Path
from typing import IO, Protocol

from devices.protocols import spoken, wav
from devices.speaker import sounds
from devices.speaker.events import Segment, SegmentKind, SoundPlan
from devices.speaker.store import PREFACE, AudioStore, StoreRefused

RATE = sounds.RATE
SECONDS_MAX = 3_600
CHILD_S_MAX = 20
SPEECH_S_MAX = 25
PHRASE_S_MAX = 5
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


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """The speech of a plan: its length, what its first words are made of (recording, speech, phrase, or chime when
    there are none), and the code of the failure that it fell back from, "" if none."""

    ms: int
    source: str
    fell_back: str = ""


class Renderer(Protocol):
    """Makes a plan into two WAV files, to be played one after the other."""

    def head(self, plan: SoundPlan, target: Path) -> int:
        """Write what comes before the words; returns its length in ms. Raises RenderFailed."""

    def speech(self, plan: SoundPlan, target: Path) -> SpokenSegment:
        """Write the words. Raises RenderFailed only when not even a recorded phrase can be written."""


@dataclass(slots=True)
class _SaidSegment:
    """What the words of one plan are made of so far, and until when (monotonic s) children may take."""

    until_s: float
    sources: list[str] = field(default_factory=list)
    fell_back: str = ""


def _is_head(segment: Segment) -> bool:
    return segment.kind in (SegmentKind.PREFACE, SegmentKind.CHIME)


class Studio:
    """Renders with what the speaker has: its store, an Opus decoder (ffmpeg) and local speech (espeak-ng)."""

    def __init__(
        self, store: AudioStore, ffmpeg: str = "ffmpeg", espeak: str = "espeak-ng", speech_s_max: int = SPEECH_S_MAX
    ) -> None:
        self._store = store
        self._speech_s_max = speech_s_max
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
            self._store.stage(PREFACE, wav.write(wav.WavSound(RATE, pcm)))
        except StoreRefused as error:
            raise RenderFailed(error.code) from error

    def head(self, plan: SoundPlan, target: Path) -> int:
        """Write preface and attention signal as 16-bit mono WAV; returns the length in ms. Raises RenderFailed.

        An exercise whose first segment is not the preface, or whose preface is missing, is refused here as well.
        """
        first = plan.segments[0].kind if plan.segments else None
        if plan.use != "actual" and (first is not SegmentKind.PREFACE or self._store.preface() is None):
            raise RenderFailed("no_drill_preface")
        return _written(target, self._head_pieces(plan), plan.volume)

    def speech(self, plan: SoundPlan, target: Path) -> SpokenSegment:
        """Write the words as 16-bit mono WAV, within about half a minute. Raises RenderFailed when the disk is full."""
        said = _SaidSegment(time.monotonic() + self._speech_s_max)
        ms = _written(target, self._speech_pieces(plan, said), plan.volume)
        return SpokenSegment(ms, said.sources[0] if said.sources else "chime", said.fell_back)

    def _head_pieces(self, plan: SoundPlan) -> Iterator[bytes]:
        for segment in takewhile(_is_head, plan.segments):
            if segment.kind is SegmentKind.PREFACE:
                yield from self._file(self._store.preface(), "no_drill_preface")
            else:
                yield self._chime(plan)
            yield wav.silence(PAUSE_MS, RATE).pcm

    def _speech_pieces(self, plan: SoundPlan, said: _SaidSegment) -> Iterator[bytes]:
        for segment in dropwhile(_is_head, plan.segments):
            yield from self._words(plan, segment, said)
            yield wav.silence(PAUSE_MS, RATE).pcm

    def _words(self, plan: SoundPlan, segment: Segment, said: _SaidSegment) -> Iterator[bytes]:
        """The first of recording, local speech and recorded phrase that works; after what broke off comes the next."""
        ways = [segment]
        if segment.kind is SegmentKind.AUDIO and segment.text:
            ways.append(Segment(SegmentKind.SAY, segment.text, segment.lang))
        if segment.kind is not SegmentKind.PHRASE:
            ways.append(Segment(SegmentKind.PHRASE, plan.event_code))
        for way in ways:
            try:
                yield from self._way(way, said)
                return
            except RenderFailed as failed:
                said.fell_back = said.fell_back or failed.code

    def _way(self, way: Segment, said: _SaidSegment) -> Iterator[bytes]:
        seconds = min(CHILD_S_MAX, round(said.until_s - time.monotonic()))
        match way.kind:
            case SegmentKind.AUDIO:
                yield from self._file(self._store.recording(way.value), "no_audio", seconds)
                said.sources.append("recording")
            case SegmentKind.SAY:
                yield from self._say(way.value, way.lang, seconds)
                said.sources.append("speech")
            case _:
                path = self._store.phrase(way.value)
                # A speaker without staged phrases still has its chime: an alarm without words beats silence. One phrase
                # stands for the order, in however many languages it failed.
                if path is not None and "phrase" not in said.sources:
                    yield from self._file(path, "no_phrase", PHRASE_S_MAX)
                    said.sources.append("phrase")

    def _chime(self, plan: SoundPlan) -> bytes:
        key = (plan.use, plan.level, plan.phase, plan.event_code)
        if key not in self._chimes:
            if len(self._chimes) >= 4:
                self._chimes.pop(next(iter(self._chimes)))
            actual = plan.use == "actual"
            made = sounds.attention_chime(RATE, *key[1:]) if actual else sounds.drill_tone(RATE)
            self._chimes[key] = wav.read(made).pcm
        return self._chimes[key]

    def _file(self, path: Path | None, missing: str, seconds: int = CHILD_S_MAX) -> Iterator[bytes]:
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
        return _child(command, b"", "decode_failed", seconds)

    def _say(self, text: str, lang: str, seconds: int = CHILD_S_MAX) -> Iterator[bytes]:
        """A text through local speech as PCM. The text goes in by the pipe: it can be no option of the command."""
        voice = spoken.espeak_voice(lang)
        if voice is None:
            raise RenderFailed("no_voice")
        words = spoken.readable(text, lang)
        pieces = _child([self._espeak, "-v", voice, "--stdin", "--stdout"], words.encode(), "speech_failed", seconds)
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


def _child(command: list[str], given: bytes, code: str, seconds: int) -> Iterator[bytes]:
    """The standard output of a child in pieces. Raises RenderFailed(code) when it fails, hangs or says nothing."""
    if seconds <= 0:
        raise RenderFailed(code)
    try:
        child = subprocess.Popen(
            ["timeout", "-k", "1", str(seconds), *command],
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


def _written(target: Path, pieces: Iterable[bytes], volume: int) -> int:
    try:
        with target.open("wb") as file:
            return _write(file, pieces, volume)
    except OSError as error:
        raise RenderFailed("disk_failed") from error


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
    header = wav.write(wav.WavSound(RATE, b""))
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
