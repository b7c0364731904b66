"""Recorded phrases: made once by an engine, replaced by a person's voice, and never half a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from devices.protocols import wav
from devices.protocols.documents import Phase
from devices.protocols.wav import WavSound
from services.dispatcher.adapters.speech import SpeechFailed
from services.dispatcher.adapters.speech.espeak import Espeak
from services.dispatcher.adapters.speech.phrases import (
    DEFAULT_INDEX,
    Joined,
    Phrases,
    PhrasesRefused,
    make_phrases,
    read_index,
)

BEEP = wav.from_samples([3_000, -3_000] * 800, 16_000)


class Voice:
    """A speech engine that says everything with one beep, but some texts not at all."""

    def __init__(self, *mute: str) -> None:
        self.said: list[tuple[str, str]] = []
        self._mute = mute

    def say(self, text: str, lang: str) -> bytes:
        self.said.append((text, lang))
        if text in self._mute:
            raise SpeechFailed("no breath", retry=True)
        return wav.write(BEEP)


def folder_with(folder: Path, clips: object, rules: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "phrases.json").write_text(json.dumps({"clips": clips, "rules": rules}))
    return folder


def small_folder(folder: Path) -> Path:
    rules = [
        {"code": "", "phase": "alert", "clips": ["danger"]},
        {"code": "12B", "phase": "alert", "clips": ["fire", "leave"]},
    ]
    clips = {"danger": {"zh": "危险。"}, "fire": {"zh": "火灾。"}, "leave": {"zh": "撤离。"}}
    make_phrases(folder_with(folder, clips, rules), Voice())
    return folder


def codes(joined: Joined) -> list[tuple[str, str]]:
    return [(problem.code, problem.where) for problem in joined.problems]


def test_setup_with_the_real_engine_speaks_every_clip_in_both_languages(tmp_path: Path) -> None:
    made = make_phrases(tmp_path, Espeak())
    assert made.problems == ()
    assert set(made.spoken) == {f"{clip}.{lang}" for clip in DEFAULT_INDEX.clips for lang in ("zh", "en")}
    assert read_index(tmp_path) == DEFAULT_INDEX
    for phase in Phase:
        for lang in ("zh-CN", "en-GB"):
            joined = Phrases(tmp_path).clips_for("12B00", phase, lang)
            assert joined.problems == ()
            assert sum(clip.ms for clip in joined.clips) > 2_500


def test_a_second_setup_speaks_only_what_changed(tmp_path: Path) -> None:
    small_folder(tmp_path)
    index = json.loads((tmp_path / "phrases.json").read_text())
    index["clips"]["fire"]["zh"] = "着火了。"
    (tmp_path / "phrases.json").write_text(json.dumps(index))
    voice = Voice()
    made = make_phrases(tmp_path, voice)
    assert voice.said == [("着火了。", "zh")]
    assert (made.spoken, made.kept, made.problems) == (("fire.zh",), ("danger.zh", "leave.zh"), ())


def test_setup_goes_on_when_one_clip_can_not_be_spoken(tmp_path: Path) -> None:
    clips = {"danger": {"zh": "危险。", "en": "Danger."}}
    rules = [{"code": "", "phase": "alert", "clips": ["danger"]}]
    made = make_phrases(folder_with(tmp_path, clips, rules), Voice("危险。"))
    assert made.spoken == ("danger.en",)
    assert [(problem.code, problem.where) for problem in made.problems] == [("speech_failed", "danger.zh")]


def test_the_longest_code_decides_and_its_clips_come_in_order(tmp_path: Path) -> None:
    phrases = Phrases(small_folder(tmp_path))
    assert phrases.clips_for("12B00", Phase.ALERT, "zh-CN") == Joined((BEEP, BEEP), "火灾。撤离。")
    assert phrases.clips_for("11B03", Phase.ALERT, "zh") == Joined((BEEP,), "危险。")


def test_a_recording_dropped_in_is_heard_instead_at_once(tmp_path: Path) -> None:
    phrases = Phrases(small_folder(tmp_path))
    recording = wav.from_samples([9_000, -9_000] * 500, 44_100)
    (tmp_path / "recorded" / "fire.zh.wav").write_bytes(wav.write(recording))
    assert phrases.clips_for("12B00", Phase.ALERT, "zh") == Joined((recording, BEEP), "火灾。撤离。")


@pytest.mark.parametrize(
    ("recording", "code"),
    [
        (b"ID3 this is an MP3", "phrase_not_wav"),
        (wav.write(WavSound(8_000, bytes(16_000))), "phrase_silent"),
        (wav.write(WavSound(8_000, b"\x00\x20" * 8_000 * 61)), "phrase_too_long"),
        (wav.write(WavSound(8_000, b"")), "phrase_too_long"),
    ],
)
def test_a_recording_that_can_not_be_used_leaves_the_made_clip_and_a_problem(
    tmp_path: Path, recording: bytes, code: str
) -> None:
    phrases = Phrases(small_folder(tmp_path))
    (tmp_path / "recorded" / "danger.zh.wav").write_bytes(recording)
    joined = phrases.clips_for("11B03", Phase.ALERT, "zh")
    assert joined.clips == (BEEP,)
    assert codes(joined) == [(code, "recorded/danger.zh.wav")]


def test_half_a_phrase_is_not_said(tmp_path: Path) -> None:
    phrases = Phrases(small_folder(tmp_path))
    (tmp_path / "made" / "leave.zh.wav").unlink()
    joined = phrases.clips_for("12B00", Phase.ALERT, "zh")
    assert joined.clips == ()
    assert codes(joined) == [("phrase_missing", "leave.zh")]


@pytest.mark.parametrize("lang", ["fr", "../../etc", "", "zh/../en"])
def test_a_language_without_clips_says_nothing_and_leads_nowhere(tmp_path: Path, lang: str) -> None:
    assert Phrases(small_folder(tmp_path)).clips_for("12B00", Phase.ALERT, lang).clips == ()


def test_no_rule_for_the_phase_says_nothing(tmp_path: Path) -> None:
    joined = Phrases(small_folder(tmp_path)).clips_for("12B00", Phase.ALL_CLEAR, "zh")
    assert (joined.clips, codes(joined)) == ((), [("no_phrase", "zh")])


RULE = {"code": "", "phase": "alert", "clips": ["a"]}


@pytest.mark.parametrize(
    ("clips", "rules"),
    [
        ([], []),
        ({"../a": {"zh": "x"}}, []),
        ({"A": {"zh": "x"}}, []),
        ({"a": {"../x": "x"}}, []),
        ({"a": "x"}, []),
        ({"a": {"zh": 1}}, []),
        ({"a": {"zh": "x"}}, [{**RULE, "clips": ["b"]}]),
        ({"a": {"zh": "x"}}, [{**RULE, "clips": []}]),
        ({"a": {"zh": "x"}}, [{**RULE, "clips": ["a"] * 7}]),
        ({"a": {"zh": "x"}}, [{**RULE, "phase": "party"}]),
        ({"a": {"zh": "x"}}, [{**RULE, "code": "12B000"}]),
        ({"a": {"zh": "x"}}, ["rule"]),
        ({f"a{n}": {} for n in range(501)}, []),
        ({"a": {"zh": "x"}}, [RULE] * 1_001),
    ],
)
def test_a_broken_index_is_refused_and_at_broadcast_time_only_a_problem(
    tmp_path: Path, clips: object, rules: object
) -> None:
    folder_with(tmp_path, clips, rules)
    with pytest.raises(PhrasesRefused):
        read_index(tmp_path)
    joined = Phrases(tmp_path).clips_for("12B00", Phase.ALERT, "zh")
    assert (joined.clips, codes(joined)) == ((), [("phrases_refused", "phrases.json")])


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 200_000, b" " * 300_000])
def test_an_index_that_is_no_small_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "phrases.json").write_bytes(content)
    with pytest.raises(PhrasesRefused):
        read_index(tmp_path)
