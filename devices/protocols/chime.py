"""Attention signals, made by arithmetic and shared by dispatcher and speaker. Pure; no file, no clock, no codec.

What a person hears tells Actual from Exercise before a word is said: actual signals are two hard tones that
alternate or sweep, the exercise chime is a slow peal of three bells. No pattern resembles a long wailing siren,
which in this country means air defence.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from enum import StrEnum

from devices.protocols import wav
from devices.protocols.wav import WavSound

PEAK = 0.7
FIRE_EVENT = "12B"
RATES = (16_000, 22_050, 44_100, 48_000)

_RAMP_S = 0.005
_HARD = ((1, 1.0), (2, 0.45), (3, 0.25))
_SOFT = ((1, 1.0), (2, 0.2))
_BELL = ((1, 1.0), (2, 0.5), (3, 0.2), (4.2, 0.1))

_ALERT_HZ = (980.0, 740.0)
_ALERT_SWITCH_MS = {1: 125, 2: 200, 3: 320, 4: 500}
_ALERT_MS_MIN = 4_000
_FIRE_SWEEP_HZ = (600.0, 1_200.0)
_FIRE_CYCLES = 3
_CORRECTION_HZ = (880.0, 660.0)
_ALL_CLEAR_HZ = 520.0
_PEAL_HZ = (392.0, 493.9, 587.3)
_PEAL_STROKE_S = 0.6
_PEALS = 2
_FIRE_EXERCISE_PEALS = 5


class Pattern(StrEnum):
    """Which attention signal opens a broadcast."""

    ALERT = "alert"
    FIRE = "fire"
    CORRECTION = "correction"
    ALL_CLEAR = "all_clear"
    EXERCISE = "exercise"
    EXERCISE_FIRE = "exercise_fire"


def is_fire(event_code: str) -> bool:
    """Whether GB 50116's alternation of tone and voice applies: fires in buildings (12B), not forest fire."""
    return event_code.startswith(FIRE_EVENT)


def pattern_for(use: str, phase: str, event_code: str) -> Pattern:
    """The signal for an order. Whatever is not exactly "actual" sounds as an exercise."""
    fire = phase == "alert" and is_fire(event_code)
    if use != "actual":
        return Pattern.EXERCISE_FIRE if fire else Pattern.EXERCISE
    match phase:
        case "correction":
            return Pattern.CORRECTION
        case "all_clear":
            return Pattern.ALL_CLEAR
        case _:
            return Pattern.FIRE if fire else Pattern.ALERT


def attention(pattern: Pattern, rate: int, level: int = 1) -> WavSound:
    """The attention signal, 3 to 6 s; for fire 8 to 20 s of tone (GB 50116). `level` 1 (red) is the most hurried.

    `rate` is one of RATES, in samples a second; anything else is an error of ours.
    """
    assert rate in RATES, rate
    match pattern:
        case Pattern.ALERT:
            return _alert(rate, level)
        case Pattern.FIRE:
            return _fire(rate)
        case Pattern.CORRECTION:
            pair = [_tone(hz, hz, 0.8, rate, _SOFT) for hz in _CORRECTION_HZ]
            return wav.joined(pair * 2)
        case Pattern.ALL_CLEAR:
            return _tone(_ALL_CLEAR_HZ, _ALL_CLEAR_HZ, 3.5, rate, _SOFT)
        case Pattern.EXERCISE:
            return _peals(_PEALS, rate)
        case Pattern.EXERCISE_FIRE:
            return _peals(_FIRE_EXERCISE_PEALS, rate)


def _alert(rate: int, level: int) -> WavSound:
    """Two hard tones in turn, at least 4 s, more hurried as the level rises."""
    switch_ms = _ALERT_SWITCH_MS[min(max(level, 1), 4)]
    pair = wav.joined(_tone(hz, hz, switch_ms / 1000, rate, _HARD) for hz in _ALERT_HZ)
    return wav.joined([pair] * math.ceil(_ALERT_MS_MIN / (2 * switch_ms)))


def _fire(rate: int) -> WavSound:
    """Rising sweeps in the temporal-three rhythm of ISO 8201: three of 0.5 s, 0.5 s apart, then 1.5 s of rest."""
    sweep = _tone(*_FIRE_SWEEP_HZ, 0.5, rate, _HARD)
    rest = wav.silence(500, rate)
    three = [sweep, rest, sweep, rest, sweep]
    cycle = wav.joined([*three, wav.silence(1_500, rate)])
    return wav.joined([*[cycle] * (_FIRE_CYCLES - 1), *three])


def _peals(count: int, rate: int) -> WavSound:
    """Three rising bells, `count` times, each stroke fading before the next; the last one rings out."""
    strokes = [_bell(hz, _PEAL_STROKE_S, rate) for hz in _PEAL_HZ]
    return wav.joined([*strokes * count, _bell(_PEAL_HZ[0], 2 * _PEAL_STROKE_S, rate)])


def _tone(from_hz: float, to_hz: float, seconds: float, rate: int, partials: tuple[tuple[int, float], ...]) -> WavSound:
    """A tone that slides evenly from one pitch to another, with short ramps so that it does not click."""
    count = round(seconds * rate)
    ramp = max(1, round(_RAMP_S * rate))
    scale = PEAK * 32767 / sum(share for _, share in partials)

    def samples() -> Iterator[int]:
        for n in range(count):
            t = n / rate
            angle = 2 * math.pi * (from_hz * t + (to_hz - from_hz) * t * t / (2 * seconds))
            edge = min(1.0, n / ramp, (count - 1 - n) / ramp)
            yield round(edge * scale * sum(share * math.sin(k * angle) for k, share in partials))

    return wav.from_samples(samples(), rate)


def _bell(hz: float, seconds: float, rate: int) -> WavSound:
    """One stroke: struck at once, gone by the end."""
    count = round(seconds * rate)
    ramp = max(1, round(_RAMP_S * rate))
    scale = PEAK * 32767 / sum(share for _, share in _BELL)

    def samples() -> Iterator[int]:
        for n in range(count):
            angle = 2 * math.pi * hz * n / rate
            fade = min(1.0, n / ramp, (count - 1 - n) / ramp) * math.exp(-3.0 * n / count)
            yield round(fade * scale * sum(share * math.sin(k * angle) for k, share in _BELL))

    return wav.from_samples(samples(), rate)
