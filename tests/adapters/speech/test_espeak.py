"""espeak-ng speaks both languages, and every failure says whether trying again makes sense."""

from __future__ import annotations

from pathlib import Path

import pytest

from devices.protocols import wav
from services.dispatcher.adapters.speech import SpeechFailed
from services.dispatcher.adapters.speech.espeak import Espeak


def program(folder: Path, script: str) -> str:
    """A speech engine that does what the shell script says."""
    path = folder / "engine"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize(
    ("text", "lang"), [("请立即从安全出口撤离。", "zh-CN"), ("Leave now by the nearest exit.", "en")]
)
def test_a_sentence_is_heard_for_seconds_without_clipping(text: str, lang: str) -> None:
    sound = wav.read(Espeak().say(text, lang))
    assert sound.rate == 22_050
    assert 1_500 < sound.ms < 6_000
    assert 0.1 < wav.peak(sound) < 0.95


def test_the_longest_text_is_spoken_whole() -> None:
    assert wav.read(Espeak().say("请立即撤离，" * 83, "zh")).ms > 60_000


def test_a_text_is_never_taken_for_an_option_or_a_command(tmp_path: Path) -> None:
    said = Espeak().say(f"--stdout -w {tmp_path}/owned; touch {tmp_path}/owned $(touch {tmp_path}/owned)", "en")
    assert wav.audible(wav.read(said))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "lang", "sentence"),
    [
        ("a" * 501, "en", "more than 500 characters"),
        ("<>\x00[]", "en", "nothing that can be read out"),
        ("Quittez les lieux.", "fr", "no voice for the language 'fr'"),
        ("Leave.", "--path=/tmp", "no voice for the language '--path=/tmp'"),
        ("，。", "zh", "the engine returned silence"),
    ],
)
def test_what_can_never_be_spoken_is_refused_for_good(text: str, lang: str, sentence: str) -> None:
    with pytest.raises(SpeechFailed) as failed:
        Espeak().say(text, lang)
    assert sentence in failed.value.sentence
    assert not failed.value.retry


@pytest.mark.parametrize(
    ("script", "retry"),
    [
        ("cat >/dev/null; exit 1", True),
        ("sleep 600", True),
        ("cat >/dev/null; echo hello", False),
        ("cat >/dev/null; true", False),
        ("cat /dev/zero", False),
    ],
)
def test_an_engine_that_misbehaves_fails_and_says_whether_to_try_again(
    tmp_path: Path, script: str, retry: bool
) -> None:
    engine = Espeak(program(tmp_path, script), timeout_s=0.3 if "sleep" in script else 30)
    with pytest.raises(SpeechFailed) as failed:
        engine.say("Leave.", "en")
    assert (failed.value.code, failed.value.retry) == ("speech_failed", retry)


def test_an_engine_that_is_not_installed_fails_for_good() -> None:
    with pytest.raises(SpeechFailed) as failed:
        Espeak("/nowhere/espeak-ng").say("Leave.", "en")
    assert not failed.value.retry
