"""WAV in and out: 16-bit mono PCM as one value, read from any 16-bit PCM file and written plainly. Pure, no codecs.

A child process that writes WAV to a pipe can't go back to fill in the lengths, so a data chunk that claims more than
is there is read to the end of what is there.
"""

from __future__ import annotations

import io
import struct
import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import BinaryIO

RATE_MIN = 8_000
RATE_MAX = 192_000
SOUND_S_MAX = 600
CHUNKS_MAX = 64
AUDIBLE_PEAK = 0.01

_PCM = 0x0001
_EXTENSIBLE = 0xFFFE


class WavRefused(ValueError):
    """This is not a WAV file that can be used here. `code` is for programs, the message for people."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class WavSound:
    """16-bit little-endian mono PCM at `rate` samples a second."""

    rate: int
    pcm: bytes

    @property
    def ms(self) -> int:
        return round(len(self.pcm) / 2 * 1000 / self.rate)


@dataclass(frozen=True, slots=True)
class _Head:
    rate: int
    channels: int
    frames: int


def read(data: bytes) -> WavSound:
    """A whole WAV file as one mono sound; channels are averaged. Raises WavRefused (over 600 s counts as refused)."""
    file = io.BytesIO(data)
    head = _head(file, len(data))
    pcm = file.read(head.frames * head.channels * 2)
    if head.channels == 1:
        return WavSound(head.rate, pcm)
    left, right = _samples(pcm)[0::2], _samples(pcm)[1::2]
    return WavSound(head.rate, _pcm((a + b) // 2 for a, b in zip(left, right, strict=True)))


def write(sound: WavSound) -> bytes:
    """The sound as a WAV file with a plain 44-byte header."""
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(sound.pcm), b"WAVE",
        b"fmt ", 16, _PCM, 1, sound.rate, sound.rate * 2, 2, 16,
        b"data", len(sound.pcm),
    )  # fmt: skip
    return head + sound.pcm


def silence(ms: int, rate: int) -> WavSound:
    """Nothing, for `ms` milliseconds."""
    return WavSound(rate, bytes(2 * round(ms * rate / 1000)))


def joined(sounds: Iterable[WavSound]) -> WavSound:
    """One after the other. Raises WavRefused when there are none or their rates differ: nothing is resampled here."""
    parts = tuple(sounds)
    if not parts:
        raise WavRefused("nothing_to_join", "There is no sound to join.")
    rate = parts[0].rate
    if any(part.rate != rate for part in parts):
        raise WavRefused("rates_differ", "Only sounds of the same sample rate can be joined.")
    return WavSound(rate, b"".join(part.pcm for part in parts))


def peak(sound: WavSound) -> float:
    """The largest sample as a fraction of full scale, 0.0 to 1.0."""
    samples = _samples(sound.pcm)
    return max(max(samples), -min(samples)) / 32768 if samples else 0.0


def audible(sound: WavSound) -> bool:
    """Whether there is anything in it: a peak of at least 1 % of full scale."""
    return peak(sound) >= AUDIBLE_PEAK


def from_samples(samples: Iterable[int], rate: int) -> WavSound:
    """A sound from integers between -32768 and 32767."""
    return WavSound(rate, _pcm(samples))


def _head(file: BinaryIO, size: int) -> _Head:
    """Walk the chunks up to the data; the file is left at the first sample."""
    riff = file.read(12)
    if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
        raise WavRefused("not_wav", "The file does not begin as a WAV file.")
    form: tuple[int, int] | None = None
    for _ in range(CHUNKS_MAX):
        chunk = file.read(8)
        if len(chunk) < 8:
            break
        name, length = struct.unpack("<4sI", chunk)
        if name == b"fmt ":
            form = _format(file.read(min(length, 40)))
            file.seek(max(0, length - 40) + length % 2, io.SEEK_CUR)
        elif name == b"data":
            if form is None:
                break
            rate, channels = form
            frames = min(length, size - file.tell()) // (2 * channels)
            if frames > SOUND_S_MAX * rate:
                raise WavRefused("too_long", f"The sound is longer than {SOUND_S_MAX} seconds.")
            return _Head(rate, channels, frames)
        else:
            file.seek(length + length % 2, io.SEEK_CUR)
    raise WavRefused("no_sound", "The WAV file has no format and data chunk.")


def _format(chunk: bytes) -> tuple[int, int]:
    """(rate, channels) of a 16-bit PCM format chunk."""
    if len(chunk) < 16:
        raise WavRefused("not_wav", "The format chunk of the WAV file is cut short.")
    tag, channels, rate, _, _, bits = struct.unpack("<HHIIHH", chunk[:16])
    if tag == _EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack("<H", chunk[24:26])
    if tag != _PCM or bits != 16 or channels not in (1, 2) or not RATE_MIN <= rate <= RATE_MAX:
        raise WavRefused("wrong_format", "Only 16-bit PCM with one or two channels at 8 to 192 kHz can be used.")
    return rate, channels


def _samples(pcm: bytes) -> array[int]:
    samples = array("h")
    samples.frombytes(pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _pcm(samples: Iterable[int]) -> bytes:
    packed = array("h", samples)
    if sys.byteorder == "big":
        packed.byteswap()
    return packed.tobytes()
