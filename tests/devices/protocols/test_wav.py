"""WAV reading holds against cut, foreign and boastful files."""

from __future__ import annotations

import io
import struct
import wave

import pytest

from devices.protocols import wav
from devices.protocols.wav import WavRefused, WavSound

RAMP = wav.from_samples(range(-100, 100), 16_000)


def by_the_standard_library(channels: int, width: int, rate: int, pcm: bytes) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(pcm)
    return file.getvalue()


def test_what_is_written_is_read_back_and_is_what_the_standard_library_writes() -> None:
    assert wav.read(wav.write(RAMP)) == RAMP
    assert wav.write(RAMP) == by_the_standard_library(1, 2, 16_000, RAMP.pcm)


def test_two_channels_become_their_average() -> None:
    stereo = by_the_standard_library(2, 2, 8_000, struct.pack("<4h", 100, 300, -50, 50))
    assert wav.read(stereo) == wav.from_samples([200, 0], 8_000)


def test_a_length_that_promises_more_than_is_there_is_read_to_the_end() -> None:
    piped = bytearray(wav.write(RAMP))
    piped[40:44] = struct.pack("<I", 0x7FFFF000)
    assert wav.read(bytes(piped)) == RAMP


def test_chunks_before_the_sound_are_passed_over_odd_ones_with_their_padding() -> None:
    plain = wav.write(RAMP)
    noted = plain[:12] + b"LIST" + struct.pack("<I", 3) + b"abc\0" + plain[12:]
    assert wav.read(noted) == RAMP


def test_no_shorter_prefix_raises_anything_but_a_refusal() -> None:
    whole = wav.write(RAMP)
    outcomes: set[int | str] = set()
    for end in range(len(whole)):
        try:
            outcomes.add(wav.read(whole[:end]).rate)
        except WavRefused as refusal:
            outcomes.add(refusal.code)
    assert outcomes == {"not_wav", "no_sound", 16_000}


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "not_wav"),
        (b"OggS" + bytes(60), "not_wav"),
        (by_the_standard_library(1, 1, 8_000, bytes(8)), "wrong_format"),
        (by_the_standard_library(1, 2, 4_000, bytes(8)), "wrong_format"),
        (by_the_standard_library(1, 2, 8_000, bytes(2 * 8_000 * 601)), "too_long"),
        (b"RIFF\0\0\0\0WAVE" + b"junk\0\0\0\0" * 100_000, "no_sound"),
    ],
)
def test_what_can_not_be_used_is_refused_with_a_code(data: bytes, code: str) -> None:
    with pytest.raises(WavRefused) as refused:
        wav.read(data)
    assert refused.value.code == code


def test_joining_keeps_order_and_refuses_to_mix_rates() -> None:
    assert wav.joined([RAMP, wav.silence(10, 16_000), RAMP]) == WavSound(16_000, RAMP.pcm + bytes(320) + RAMP.pcm)
    with pytest.raises(WavRefused) as refused:
        wav.joined([RAMP, wav.silence(10, 8_000)])
    assert refused.value.code == "rates_differ"
    with pytest.raises(WavRefused) as refused:
        wav.joined([])
    assert refused.value.code == "nothing_to_join"


def test_silence_is_not_audible_and_a_tone_is() -> None:
    assert [wav.audible(sound) for sound in (wav.silence(100, 8_000), WavSound(8_000, b""), RAMP)] == [
        False,
        False,
        False,
    ]
    assert wav.audible(wav.from_samples([0, 2_000, -2_000], 8_000))
