"""Sounds a speaker can make with nothing but itself: attention chime, drill tone, silence, and joining them.

Everything is a whole WAV file (16-bit mono) in bytes. Standard library only; decoding and playing are the player's.
"""

from __future__ import annotations

from devices.protocols import chime, wav
from devices.protocols.chime import Pattern

RATE = 22_050


def attention_chime(rate: int = RATE, level: int = 1, phase: str = "alert", event_code: str = "") -> bytes:
    """The actual attention signal for an order that is on an actual stream. Never for an exercise: see drill_tone."""
    return wav.write(chime.attention(chime.pattern_for("actual", phase, event_code), rate, level))


def drill_tone(rate: int = RATE) -> bytes:
    """The exercise chime, about 5 s: a slow peal of bells that nobody takes for an alarm."""
    return wav.write(chime.attention(Pattern.EXERCISE, rate))


def silence(ms: int, rate: int = RATE) -> bytes:
    """`ms` milliseconds of nothing."""
    return wav.write(wav.silence(ms, rate))
