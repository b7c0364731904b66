"""Attention signals: long enough, loud enough, and nobody takes an exercise for the real thing."""

from __future__ import annotations

import math
import struct

import pytest

from devices.protocols import chime, wav
from devices.protocols.chime import Pattern, attention, pattern_for
from devices.protocols.wav import WavSound

RATE = 16_000


def share_at(sound: WavSound, hz: float) -> float:
    """How much of the sound's energy a pure tone explains, 0 to 1, by whole windows of 50 ms (Goertzel)."""
    samples = struct.unpack(f"<{len(sound.pcm) // 2}h", sound.pcm)
    window = RATE // 20
    twice_cos = 2 * math.cos(2 * math.pi * hz / RATE)
    explained = 0.0
    for start in range(0, len(samples) - window + 1, window):
        before = last = 0.0
        for sample in samples[start : start + window]:
            before, last = last, sample + twice_cos * last - before
        explained += (last * last + before * before - twice_cos * last * before) * 2 / window
    return explained / float(sum(sample * sample for sample in samples))


@pytest.mark.parametrize("pattern", Pattern)
@pytest.mark.parametrize("rate", chime.RATES[:2])
def test_every_signal_lasts_at_least_three_seconds_at_full_but_unclipped_level(pattern: Pattern, rate: int) -> None:
    sound = attention(pattern, rate)
    assert sound.rate == rate
    assert 3_000 <= sound.ms <= 12_000
    assert 0.4 < wav.peak(sound) <= chime.PEAK


@pytest.mark.parametrize("pattern", [Pattern.FIRE, Pattern.EXERCISE_FIRE])
def test_the_fire_tone_keeps_the_eight_to_twenty_seconds_of_gb_50116(pattern: Pattern) -> None:
    assert 8_000 <= attention(pattern, RATE).ms <= 20_000


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_each_level_has_its_own_signal_of_at_least_four_seconds(level: int) -> None:
    others = [attention(Pattern.ALERT, RATE, other) for other in (1, 2, 3, 4) if other != level]
    mine = attention(Pattern.ALERT, RATE, level)
    assert mine not in others
    assert mine.ms >= 4_000


def test_the_exercise_is_the_same_at_every_level_and_shares_no_pitch_with_the_alert() -> None:
    exercise = attention(Pattern.EXERCISE, RATE)
    alert = attention(Pattern.ALERT, RATE)
    assert {attention(Pattern.EXERCISE, RATE, level).pcm for level in (1, 2, 3, 4)} == {exercise.pcm}
    for hz in (980.0, 740.0):
        assert share_at(alert, hz) > 0.3
        assert share_at(exercise, hz) < 0.1
    for hz in (392.0, 493.9, 587.3):
        assert share_at(exercise, hz) > 0.1
        assert share_at(alert, hz) < 0.03


@pytest.mark.parametrize("phase", ["alert", "correction", "all_clear", "anything"])
@pytest.mark.parametrize("event_code", ["", "11B03", "12B00", "12B99"])
@pytest.mark.parametrize("use", ["exercise", "config", "", "Actual", "ACTUAL", "actual "])
def test_whatever_is_not_exactly_actual_sounds_as_an_exercise(use: str, phase: str, event_code: str) -> None:
    assert pattern_for(use, phase, event_code) in (Pattern.EXERCISE, Pattern.EXERCISE_FIRE)


def test_an_actual_order_opens_with_the_signal_of_its_phase_and_hazard() -> None:
    assert {
        (phase, code): pattern_for("actual", phase, code)
        for phase in ("alert", "correction", "all_clear")
        for code in ("12B00", "11G01")
    } == {
        ("alert", "12B00"): Pattern.FIRE,
        ("alert", "11G01"): Pattern.ALERT,
        ("correction", "12B00"): Pattern.CORRECTION,
        ("correction", "11G01"): Pattern.CORRECTION,
        ("all_clear", "12B00"): Pattern.ALL_CLEAR,
        ("all_clear", "11G01"): Pattern.ALL_CLEAR,
    }


def test_the_same_signal_has_the_same_bytes_every_time() -> None:
    assert attention(Pattern.FIRE, RATE) == attention(Pattern.FIRE, RATE)
