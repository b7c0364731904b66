"""Renderings as they reach a speaker: measured after encoding, and something is heard whatever fails."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from devices.protocols import wav
from devices.protocols.documents import Phase
from services.dispatcher.adapters.audio import Rendered, render
from services.dispatcher.adapters.ffmpeg import Ffmpeg
from services.dispatcher.adapters.speech import Speech
from services.dispatcher.adapters.speech.espeak import Espeak
from services.dispatcher.adapters.speech.phrases import Phrases, make_phrases
from services.dispatcher.domain.signals import Use

NO_ENGINE = Espeak("/nowhere/espeak-ng")
NO_FFMPEG = Ffmpeg("/nowhere/ffmpeg")
TEXT = {"zh": "本楼发生火灾，请立即撤离。", "en": "Heavy rain. Leave the underground car park."}


@pytest.fixture(scope="module")
def phrases(tmp_path_factory: pytest.TempPathFactory) -> Phrases:
    folder = tmp_path_factory.mktemp("phrases")
    clips = {"fire": {"zh": "发生火灾。"}, "leave": {"zh": "请立即撤离。"}}
    rules = [{"code": "12B", "phase": "alert", "clips": ["fire", "leave"]}]
    (folder / "phrases.json").write_text(json.dumps({"clips": clips, "rules": rules}))
    assert make_phrases(folder, Espeak()).problems == ()
    return Phrases(folder)


def rendered(
    phrases: Phrases,
    *,
    lang: str = "zh",
    use: Use = Use.ACTUAL,
    phase: Phase = Phase.ALERT,
    event_code: str = "12B00",
    speech: Speech | None = None,
    ffmpeg: Ffmpeg | None = None,
    text: str | None = None,
) -> Rendered:
    return render(
        TEXT[lang] if text is None else text,
        lang,
        level=1,
        phase=phase,
        use=use,
        event_code=event_code,
        speech=speech or Espeak(),
        phrases=phrases,
        ffmpeg=ffmpeg or Ffmpeg(),
    )


def codes(result: Rendered) -> list[str]:
    return [problem.code for problem in result.problems]


def decoded_ms(data: bytes) -> int:
    argv = ["ffmpeg", "-loglevel", "error", "-i", "pipe:0", "-ac", "1", "-ar", "16000", "-f", "s16le", "-"]
    return len(subprocess.run(argv, input=data, capture_output=True, check=True).stdout) // 32


@pytest.mark.parametrize("use", Use)
@pytest.mark.parametrize(("lang", "event_code"), [("zh", "12B00"), ("en", "11B03")])
def test_an_order_is_opus_at_the_right_loudness_with_its_text_spoken(
    phrases: Phrases, use: Use, lang: str, event_code: str
) -> None:
    result = rendered(phrases, use=use, lang=lang, event_code=event_code)
    measured = Ffmpeg().measure(result.data)
    assert (result.lang, result.codec, result.spoken, result.problems) == (lang, "opus", True, ())
    assert result.sha256 == hashlib.sha256(result.data).hexdigest()
    assert result.data[:4] == b"OggS" and b"OpusHead" in result.data[:64]
    assert abs(measured.lufs + 16) < 1.5
    assert measured.peak_dbtp <= -1.5
    assert abs(decoded_ms(result.data) - result.ms) <= 20
    assert len(result.data) * 8 / result.ms < 40


def test_an_exercise_differs_from_the_actual_order_in_every_phase_without_ffmpeg_too(phrases: Phrases) -> None:
    for phase in Phase:
        actual, exercise = (rendered(phrases, phase=phase, use=use, ffmpeg=NO_FFMPEG) for use in Use)
        assert actual.data[44:32_044] != exercise.data[44:32_044]


def test_the_same_order_has_the_same_name_every_time(phrases: Phrases) -> None:
    assert rendered(phrases, lang="en", event_code="11B03") == rendered(phrases, lang="en", event_code="11B03")


def test_a_fire_voice_is_said_again_until_it_lasts_the_ten_seconds_of_gb_50116(phrases: Phrases) -> None:
    tone_ms = rendered(phrases, speech=NO_ENGINE, lang="en", ffmpeg=NO_FFMPEG).ms
    assert 8_000 <= tone_ms <= 20_000
    voice_ms = rendered(phrases, ffmpeg=NO_FFMPEG).ms - tone_ms - 500 - 300
    assert 10_000 <= voice_ms <= 30_000


def test_a_fire_text_longer_than_thirty_seconds_is_said_whole_and_reported(phrases: Phrases) -> None:
    result = rendered(phrases, text="请立即撤离，不要乘坐电梯。" * 12, ffmpeg=NO_FFMPEG)
    assert result.ms > 45_000
    assert codes(result) == ["no_opus", "fire_voice_long"]


def test_without_an_engine_the_recorded_phrase_is_heard(phrases: Phrases) -> None:
    result = rendered(phrases, speech=NO_ENGINE)
    assert (result.codec, result.spoken, codes(result)) == ("opus", False, ["speech_failed", "phrase_instead"])
    assert result.ms > rendered(phrases, lang="en", speech=NO_ENGINE).ms + 4_000


def test_without_engine_and_phrase_the_attention_signal_is_heard_and_it_is_an_error(phrases: Phrases) -> None:
    result = rendered(phrases, lang="en", speech=NO_ENGINE, event_code="11B03")
    assert (result.codec, result.ms, result.spoken) == ("opus", 4_000, False)
    assert [(problem.severity, problem.code) for problem in result.problems] == [
        ("warning", "speech_failed"),
        ("warning", "no_phrase"),
        ("error", "chime_only"),
    ]
    assert Ffmpeg().measure(result.data).lufs > -18


@pytest.mark.parametrize("script", ["exit 127", 'case "$*" in *libopus*) exit 1;; *) exec ffmpeg "$@";; esac'])
def test_without_opus_it_is_a_wav_of_16_khz(phrases: Phrases, tmp_path: Path, script: str) -> None:
    program = tmp_path / "ffmpeg-without-opus"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    result = rendered(phrases, lang="en", event_code="11B03", ffmpeg=Ffmpeg(str(program)))
    sound = wav.read(result.data)
    assert (result.codec, result.spoken, codes(result)) == ("wav", True, ["no_opus"])
    assert (sound.rate, sound.ms) == (16_000, result.ms)
    assert Ffmpeg().measure(result.data).lufs > -20
    assert Ffmpeg().measure(result.data).peak_dbtp <= -1.5


class Silent:
    """An engine that answers with nothing to hear."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def say(self, text: str, lang: str) -> bytes:
        return self._answer


@pytest.mark.parametrize("answer", [b"", b"RIFF", wav.write(wav.silence(3_000, 22_050))])
def test_an_engine_that_lies_about_speaking_is_found_out(phrases: Phrases, answer: bytes) -> None:
    result = rendered(phrases, speech=Silent(answer), ffmpeg=NO_FFMPEG)
    assert (result.spoken, codes(result)) == (False, ["speech_failed", "phrase_instead", "no_opus"])
