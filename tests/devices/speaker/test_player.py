"""The loudspeaker with the real decoder and the real local speech; a WAV file is what the street would have heard."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.protocols import wav
from devices.speaker.events import Segment, SegmentKind, SoundPlan
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer, Player
from devices.speaker.render import RATE, Renderer, RenderFailed, SpokenSegment, Studio
from devices.speaker.sound_card import SoundCardPlayer
from devices.speaker.store import AudioStore
from devices.speaker.wav_player import WavPlayer

ROUNDS_MAX = 30_000
CHIME = Segment(SegmentKind.CHIME)
PREFACE = Segment(SegmentKind.PREFACE)
SAY = Segment(SegmentKind.SAY, "暴雨，请立即离开低洼处。", "zh")
ACTUAL = SoundPlan("actual/o-1", "actual", 1, 1, (CHIME, SAY), 100, 8_000, 2, "alert", "11B03")
DRILL = replace(ACTUAL, order="exercise/d-1", use="exercise", segments=(PREFACE, CHIME, SAY))


class Ears:
    """Collects what a player reports, without the clocks."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, event_type: type, **fields: Any) -> None:
        self.said.append((event_type.__name__, fields))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.said]


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


@pytest.fixture
def store(tmp_path: Path) -> AudioStore:
    return AudioStore(tmp_path / "store")


@pytest.fixture
def studio(store: AudioStore) -> Studio:
    return Studio(store)


def until(loop: Loop, ears: Ears, name: str) -> None:
    for _ in range(ROUNDS_MAX):
        if name in ears.names:
            return
        loop.run_once(wait_us_max=20_000)
    raise AssertionError(f"{name} was not reported: {ears.said}")


def loudness(sound: wav.WavSound, from_ms: int = 0, to_ms: int = 10**6) -> float:
    part = sound.pcm[from_ms * RATE // 1_000 * 2 : to_ms * RATE // 1_000 * 2]
    return wav.peak(wav.WavSound(RATE, part))


def rendered(studio: Studio, plan: SoundPlan, folder: Path) -> tuple[wav.WavSound, SpokenSegment]:
    """Both parts of a plan as they would sound one after the other, and what the words are made of."""
    head_ms = studio.head(plan, folder / "head.wav")
    spoken = studio.speech(plan, folder / "words.wav")
    head, words = (wav.read((folder / f"{name}.wav").read_bytes()) for name in ("head", "words"))
    assert (abs(head.ms - head_ms) <= 1, abs(words.ms - spoken.ms) <= 1) == (True, True)
    return wav.joined([head, words]), spoken


def a_tone(folder: Path, store: AudioStore) -> Segment:
    """A recording of 2 s in the store."""
    opus = folder / "tone.opus"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-b:a", "24k", str(opus)],
        check=True,
    )
    data = opus.read_bytes()
    name = hashlib.sha256(data).hexdigest()
    store.add(name, [data], len(data))
    return Segment(SegmentKind.AUDIO, name, "zh", "opus", SAY.value)


def no_sound(store: AudioStore, text: str = "") -> Segment:
    """A recording that no decoder understands."""
    name = hashlib.sha256(b"no sound").hexdigest()
    store.add(name, [b"no sound"], 8)
    return Segment(SegmentKind.AUDIO, name, "zh", "opus", text)


def test_a_text_is_spoken_after_the_chime(studio: Studio, tmp_path: Path) -> None:
    sound, spoken = rendered(studio, ACTUAL, tmp_path)
    assert (sound.rate, spoken.source, spoken.fell_back) == (RATE, "speech", "")
    assert sound.ms > 6_000
    assert loudness(sound, sound.ms - 2_500, sound.ms - 500) > 0.05


def test_an_opus_recording_is_decoded_by_a_child(studio: Studio, store: AudioStore, tmp_path: Path) -> None:
    sound, spoken = rendered(studio, replace(ACTUAL, segments=(a_tone(tmp_path, store),)), tmp_path)
    assert 2_300 <= sound.ms <= 2_600
    assert (spoken.source, spoken.fell_back) == ("recording", "")
    assert loudness(sound, 500, 1_500) > 0.05


def test_half_the_volume_is_half_the_amplitude(studio: Studio, tmp_path: Path) -> None:
    loud, _ = rendered(studio, replace(ACTUAL, segments=(CHIME,)), tmp_path)
    soft, _ = rendered(studio, replace(ACTUAL, segments=(CHIME,), volume=50), tmp_path)
    assert abs(wav.peak(soft) - wav.peak(loud) / 2) < 0.001


def test_a_recording_that_cannot_be_had_is_spoken_behind_the_same_chime(studio: Studio, tmp_path: Path) -> None:
    gone = Segment(SegmentKind.AUDIO, "0" * 64, "zh", "opus", SAY.value)
    _, spoken = rendered(studio, replace(ACTUAL, segments=(CHIME, gone)), tmp_path)
    assert spoken == replace(rendered(studio, ACTUAL, tmp_path)[1], fell_back="no_audio")


def test_a_recording_that_is_no_sound_is_spoken(studio: Studio, store: AudioStore, tmp_path: Path) -> None:
    bad = no_sound(store, SAY.value)
    _, spoken = rendered(studio, replace(ACTUAL, segments=(CHIME, bad)), tmp_path)
    assert (spoken.source, spoken.fell_back) == ("speech", "decode_failed")


def test_a_text_that_nobody_can_say_becomes_the_recorded_phrase_once(store: AudioStore, tmp_path: Path) -> None:
    store.stage("11B03", wav.write(wav.silence(1_000, RATE)))
    dumb = Studio(store, espeak="no-such-speech-engine")
    english = Segment(SegmentKind.SAY, "Heavy rain. Leave low ground.", "en")
    _, spoken = rendered(dumb, replace(ACTUAL, segments=(CHIME, SAY, english)), tmp_path)
    assert spoken == SpokenSegment(1_000 + 2 * 400, "phrase", "speech_failed")


def test_a_language_without_a_voice_is_not_a_reason_to_lose_the_other(studio: Studio, tmp_path: Path) -> None:
    unknown = Segment(SegmentKind.SAY, "text", "xx")
    _, spoken = rendered(studio, replace(ACTUAL, segments=(CHIME, SAY, unknown)), tmp_path)
    assert (spoken.source, spoken.fell_back, spoken.ms > 2_000) == ("speech", "no_voice", True)


def test_without_speech_and_without_phrases_the_chime_alone_sounds_and_says_so(
    store: AudioStore, tmp_path: Path
) -> None:
    dumb = Studio(store, espeak="no-such-speech-engine")
    sound, spoken = rendered(dumb, ACTUAL, tmp_path)
    assert (spoken.source, spoken.fell_back) == ("chime", "speech_failed")
    assert sound.ms > 4_000


def test_words_that_take_too_long_give_way_to_the_phrase(store: AudioStore, tmp_path: Path) -> None:
    hangs = tmp_path / "hangs"
    hangs.write_text("#!/bin/sh\nexec sleep 600\n")
    hangs.chmod(0o755)
    store.stage("11B03", wav.write(wav.silence(1_000, RATE)))
    slow = Studio(store, espeak=str(hangs), speech_s_max=1)
    _, spoken = rendered(slow, replace(ACTUAL, segments=(CHIME, SAY, SAY)), tmp_path)
    assert (spoken.source, spoken.fell_back) == ("phrase", "speech_failed")


def test_provisioning_makes_the_preface_of_tone_and_words(studio: Studio, store: AudioStore) -> None:
    assert store.preface() is None
    studio.provision()
    preface = store.preface()
    assert preface is not None
    made = wav.read(preface.read_bytes())
    dumb_store = AudioStore(store.audio.parent / "dumb")
    Studio(dumb_store, espeak="no-such-speech-engine").provision()
    tone = dumb_store.preface()
    assert tone is not None
    assert made.ms > wav.read(tone.read_bytes()).ms + 1_000


def test_an_exercise_without_a_preface_is_refused(studio: Studio, tmp_path: Path) -> None:
    with pytest.raises(RenderFailed) as failed:
        studio.head(DRILL, tmp_path / "out.wav")
    assert failed.value.code == "no_drill_preface"


def test_an_exercise_whose_plan_lacks_the_preface_is_refused_even_when_the_store_has_one(
    studio: Studio, tmp_path: Path
) -> None:
    studio.provision()
    for segments in ((CHIME, SAY), (CHIME, PREFACE), ()):
        with pytest.raises(RenderFailed) as failed:
            studio.head(replace(DRILL, segments=segments), tmp_path / "out.wav")
        assert failed.value.code == "no_drill_preface"


def test_an_exercise_begins_with_the_very_preface_of_the_store(
    studio: Studio, store: AudioStore, tmp_path: Path
) -> None:
    studio.provision()
    sound, _ = rendered(studio, DRILL, tmp_path)
    preface = store.preface()
    assert preface is not None
    pcm = wav.read(preface.read_bytes()).pcm
    assert sound.pcm.startswith(pcm)


def test_a_text_cannot_become_an_option_of_the_speech_engine(studio: Studio, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    rendered(studio, replace(ACTUAL, segments=(Segment(SegmentKind.SAY, f"-w {victim}", "en"),)), tmp_path)
    assert not victim.exists()


def test_the_wav_player_writes_one_file_for_each_start(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    ears, heard = Ears(), tmp_path / "heard"
    player = WavPlayer(loop, studio, heard, real_time=False, mic_db=68)
    player.listen(ears)
    player.load(1, replace(ACTUAL, segments=(CHIME,)))
    until(loop, ears, "SoundLoaded")
    player.play(1)
    until(loop, ears, "SoundEnded")
    assert ears.names == ["SoundLoaded", "SoundBegan", "SoundMeasured", *["SoundProgress"] * 4, "SoundEnded"]
    assert [path.name for path in heard.glob("*.wav")] == ["000001-actual-o-1-r1.wav"]
    ms = ears.said[-1][1]["ms"]
    assert ears.said[-1][1] == {"ticket": 1, "ms": ms, "mic_db": 68, "source": "chime", "fell_back": ""}
    assert ms > 3_000
    assert abs(wav.read((heard / "000001-actual-o-1-r1.wav").read_bytes()).ms - ms) <= 1
    player.close()


class SlowWords:
    """A renderer whose words are made only when the test lets them, or fail with a code."""

    def __init__(self, studio: Studio, failure: str = "") -> None:
        self._studio, self._failure = studio, failure
        self.go_on = threading.Event()

    def head(self, plan: SoundPlan, target: Path) -> int:
        return self._studio.head(plan, target)

    def speech(self, plan: SoundPlan, target: Path) -> SpokenSegment:
        assert self.go_on.wait(60)
        if self._failure:
            raise RenderFailed(self._failure)
        return self._studio.speech(plan, target)


def wav_player(loop: Loop, renderer: Renderer, folder: Path, real_time: bool = False) -> tuple[WavPlayer, Ears]:
    """A player that has loaded the head of an order and begun to sound."""
    ears = Ears()
    player = WavPlayer(loop, renderer, folder, real_time)
    player.listen(ears)
    player.load(1, ACTUAL)
    until(loop, ears, "SoundLoaded")
    player.play(1)
    return player, ears


def test_the_chime_sounds_while_the_words_are_still_being_made(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    words = SlowWords(studio)
    player, ears = wav_player(loop, words, tmp_path / "heard")
    assert ears.names == ["SoundLoaded", "SoundBegan"]
    words.go_on.set()
    until(loop, ears, "SoundEnded")
    ended = ears.said[-1][1]
    assert (ended["source"], ended["fell_back"]) == ("speech", "")
    whole, _ = rendered(studio, ACTUAL, tmp_path)
    assert (
        wav.read((tmp_path / "heard" / "000001-actual-o-1-r1.wav").read_bytes()).pcm[: len(whole.pcm) - 100]
        == (whole.pcm[:-100])
    )
    player.close()


def test_words_that_cannot_be_written_end_the_sound_behind_its_chime(
    loop: Loop, studio: Studio, tmp_path: Path
) -> None:
    words = SlowWords(studio, failure="disk_failed")
    player, ears = wav_player(loop, words, tmp_path / "heard")
    words.go_on.set()
    until(loop, ears, "SoundFailed")
    assert ears.said[-1] == ("SoundFailed", {"ticket": 1, "reason": "disk_failed"})
    head_ms = studio.head(ACTUAL, tmp_path / "head.wav")
    assert abs(wav.read((tmp_path / "heard" / "000001-actual-o-1-r1.wav").read_bytes()).ms - head_ms) <= 1
    player.close()


def test_words_that_cannot_be_written_before_the_start_are_a_failed_load(
    loop: Loop, studio: Studio, tmp_path: Path
) -> None:
    ears, words = Ears(), SlowWords(studio, failure="disk_failed")
    player = WavPlayer(loop, words, tmp_path / "heard")
    player.listen(ears)
    player.load(1, ACTUAL)
    words.go_on.set()
    until(loop, ears, "SoundFailed")
    assert ears.said == [("SoundLoaded", {"ticket": 1}), ("SoundFailed", {"ticket": 1, "reason": "disk_failed"})]
    player.close()


def test_a_sound_that_is_stopped_in_its_chime_never_says_its_words(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    words = SlowWords(studio)
    player, ears = wav_player(loop, words, tmp_path / "heard", real_time=True)
    player.stop(1)
    ears.said.clear()
    words.go_on.set()
    player.load(2, ACTUAL)
    until(loop, ears, "SoundLoaded")
    (heard,) = (tmp_path / "heard").glob("*.wav")
    assert wav.read(heard.read_bytes()).ms < 3_000
    assert ears.said == [("SoundLoaded", {"ticket": 2})]
    player.close()


def test_a_sound_that_is_stopped_leaves_only_what_was_heard(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    ears, heard = Ears(), tmp_path / "heard"
    player = WavPlayer(loop, studio, heard)
    player.listen(ears)
    player.load(1, replace(ACTUAL, segments=(CHIME,)))
    until(loop, ears, "SoundLoaded")
    player.play(1)
    player.stop(1)
    files = list(heard.glob("*.wav"))
    assert len(files) == 1
    assert wav.read(files[0].read_bytes()).ms < 3_000
    assert "SoundEnded" not in ears.names
    player.close()


def test_what_is_stopped_while_loading_is_never_reported(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    ears = Ears()
    player = WavPlayer(loop, studio, tmp_path / "heard")
    player.listen(ears)
    player.load(1, ACTUAL)
    player.stop(1)
    player.load(2, replace(ACTUAL, segments=(CHIME,)))
    until(loop, ears, "SoundLoaded")
    assert [fields["ticket"] for _, fields in ears.said] == [2]
    player.close()


def sound_card(loop: Loop, studio: Studio, tmp_path: Path, *command: str) -> tuple[Player, Ears]:
    ears = Ears()
    player = SoundCardPlayer(loop, studio, tmp_path / "scratch", command)
    player.listen(ears)
    player.load(1, replace(ACTUAL, segments=(CHIME,)))
    until(loop, ears, "SoundLoaded")
    player.play(1)
    return player, ears


def test_the_sound_card_player_reports_the_child_that_plays(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    """A child that takes a while stands for the program of a sound card that this machine does not have."""
    script = tmp_path / "play"
    script.write_text("#!/bin/sh\nexec sleep 0.2\n")
    script.chmod(0o755)
    player, ears = sound_card(loop, studio, tmp_path, str(script))
    until(loop, ears, "SoundEnded")
    assert ears.names[:2] == ["SoundLoaded", "SoundMeasured"]
    player.close()


def test_the_sound_card_plays_the_chime_and_then_the_words(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    script = tmp_path / "play"
    script.write_text(f'#!/bin/sh\nbasename "$1" >> {tmp_path}/played\n')
    script.chmod(0o755)
    ears, words = Ears(), SlowWords(studio)
    player = SoundCardPlayer(loop, words, tmp_path / "scratch", (str(script),))
    player.listen(ears)
    player.load(1, ACTUAL)
    until(loop, ears, "SoundLoaded")
    player.play(1)
    until(loop, ears, "SoundBegan")
    words.go_on.set()
    until(loop, ears, "SoundEnded")
    assert (tmp_path / "played").read_text().split() == ["1.wav", "1-words.wav"]
    assert (ears.said[-1][1]["source"], ears.said[-1][1]["fell_back"]) == ("speech", "")
    player.close()


@pytest.mark.parametrize(("command", "reason"), [("no-such-program", "no_sound_card"), ("false", "sound_card_failed")])
def test_a_sound_card_that_is_not_there_is_reported(
    loop: Loop, studio: Studio, tmp_path: Path, command: str, reason: str
) -> None:
    player, ears = sound_card(loop, studio, tmp_path, command)
    until(loop, ears, "SoundFailed")
    assert ears.said[-1][1] == {"ticket": 1, "reason": reason}
    player.close()


def test_stopping_kills_the_child_at_once(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    script = tmp_path / "play"
    script.write_text("#!/bin/sh\nexec sleep 600\n")
    script.chmod(0o755)
    player, ears = sound_card(loop, studio, tmp_path, str(script))
    child = player._child  # type: ignore[attr-defined]
    until(loop, ears, "SoundBegan")
    player.stop(1)
    assert child.returncode is not None
    player.close()


def test_the_null_player_takes_as_long_as_the_sound_would(loop: Loop) -> None:
    ears = Ears()
    player = NullPlayer(loop, mic_db=70, speed=100)
    player.listen(ears)
    player.load(1, replace(ACTUAL, ms=1_000))
    player.play(1)
    before = loop.mono_us()
    until(loop, ears, "SoundEnded")
    assert loop.mono_us() - before >= 10_000
    assert ears.said[-1] == ("SoundEnded", {"ticket": 1, "ms": 1_000, "mic_db": 70})


def test_the_null_player_refuses_an_exercise_when_it_has_no_preface(loop: Loop) -> None:
    ears = Ears()
    player = NullPlayer(loop, preface=False)
    player.listen(ears)
    player.load(1, DRILL)
    assert ears.said == [("SoundFailed", {"ticket": 1, "reason": "no_drill_preface"})]
