"""What a speaker can sound with nothing but itself."""

from __future__ import annotations

import io
import wave

from devices.speaker import sounds


def params(file: bytes) -> tuple[int, int, int]:
    with wave.open(io.BytesIO(file)) as opened:
        return opened.getnchannels(), opened.getsampwidth(), opened.getframerate()


def test_every_sound_is_a_16_bit_mono_wav_at_the_rate_asked_for() -> None:
    made = [sounds.attention_chime(16_000), sounds.drill_tone(16_000), sounds.silence(100, 16_000)]
    assert [params(file) for file in made] == [(1, 2, 16_000)] * 3


def test_the_drill_tone_is_no_attention_chime_of_any_phase_or_hazard() -> None:
    actual = {
        sounds.attention_chime(16_000, level, phase, event_code)
        for level in (1, 4)
        for phase in ("alert", "correction", "all_clear")
        for event_code in ("", "12B00")
    }
    assert len(actual) == 5
    assert sounds.drill_tone(16_000) not in actual
