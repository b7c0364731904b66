"""The loudspeaker with the real decoder and the real local speech; a WAV file is what the street would have heard."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from devices.protocols import wav
from devices.speaker.events import Plan, Segment, SegmentKind
from devices.speaker.loop import Loop
from devices.speaker.player import NullPlayer, Player, SoundCardPlayer, WavPlayer
from devices.speaker.render import RATE, RenderFailed, Studio
from devices.speaker.store import AudioStore

ROUNDS_MAX = 30_000
CHIME = Segment(SegmentKind.CHIME)
PREFACE = Segment(SegmentKind.PREFACE)
SAY = Segment(SegmentKind.SAY, "暴雨，请立即离开低洼处。", "zh")
ACTUAL = Plan("actual/o-1", "actual", 1, 1, (CHIME, SAY), 100, 8_000, 2, "alert", "11B03")
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


def loudness(sound: wav.Sound, from_ms: int = 0, to_ms: int = 10**6) -> float:
    part = sound.pcm[from_ms * RATE // 1_000 * 2 : to_ms * RATE // 1_000 * 2]
    return wav.peak(wav.Sound(RATE, part))


def test_a_text_is_spoken_after_the_chime(studio: Studio, tmp_path: Path) -> None:
    ms = studio.render(ACTUAL, tmp_path / "out.wav")
    sound = wav.read((tmp_path / "out.wav").read_bytes())
    chime_ms = wav.read((tmp_path / "out.wav").read_bytes()).ms - ms
    assert (sound.rate, chime_ms in (0, 1)) == (RATE, True)
    assert ms > 6_000
    assert loudness(sound, ms - 2_500, ms - 500) > 0.05


def test_an_opus_recording_is_decoded_by_a_child(studio: Studio, store: AudioStore, tmp_path: Path) -> None:
    opus = tmp_path / "tone.opus"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", "sine=frequency=440:duration=2", "-b:a", "24k", str(opus)],
        check=True,
    )
    data = opus.read_bytes()
    name = hashlib.sha256(data).hexdigest()
    store.add(name, [data], len(data))
    ms = studio.render(replace(ACTUAL, segments=(Segment(SegmentKind.AUDIO, name, "zh", "opus"),)), tmp_path / "o.wav")
    assert 2_300 <= ms <= 2_600
    assert loudness(wav.read((tmp_path / "o.wav").read_bytes()), 500, 1_500) > 0.05


def test_half_the_volume_is_half_the_amplitude(studio: Studio, tmp_path: Path) -> None:
    studio.render(replace(ACTUAL, segments=(CHIME,)), tmp_path / "loud.wav")
    studio.render(replace(ACTUAL, segments=(CHIME,), volume=50), tmp_path / "soft.wav")
    loud, soft = (wav.peak(wav.read((tmp_path / f"{n}.wav").read_bytes())) for n in ("loud", "soft"))
    assert abs(soft - loud / 2) < 0.001


@pytest.mark.parametrize(
    ("segment", "code"),
    [
        (Segment(SegmentKind.AUDIO, "0" * 64, "zh", "opus"), "no_audio"),
        (Segment(SegmentKind.SAY, "text", "xx"), "no_voice"),
    ],
)
def test_what_is_missing_is_named(studio: Studio, tmp_path: Path, segment: Segment, code: str) -> None:
    with pytest.raises(RenderFailed) as failed:
        studio.render(replace(ACTUAL, segments=(segment,)), tmp_path / "out.wav")
    assert failed.value.code == code


def test_a_recording_that_is_no_sound_fails_to_decode(studio: Studio, store: AudioStore, tmp_path: Path) -> None:
    name = hashlib.sha256(b"no sound").hexdigest()
    store.add(name, [b"no sound"], 8)
    with pytest.raises(RenderFailed) as failed:
        studio.render(replace(ACTUAL, segments=(Segment(SegmentKind.AUDIO, name),)), tmp_path / "out.wav")
    assert failed.value.code == "decode_failed"


def test_without_a_speech_engine_the_text_fails_and_the_chime_alone_still_renders(
    store: AudioStore, tmp_path: Path
) -> None:
    dumb = Studio(store, espeak="no-such-speech-engine")
    with pytest.raises(RenderFailed) as failed:
        dumb.render(ACTUAL, tmp_path / "out.wav")
    assert failed.value.code == "speech_failed"
    phrase = replace(ACTUAL, segments=(CHIME, Segment(SegmentKind.PHRASE, "11B03")))
    assert dumb.render(phrase, tmp_path / "out.wav") > 3_000
    store.stage("11B03", wav.write(wav.silence(1_000, RATE)))
    longer = dumb.render(phrase, tmp_path / "two.wav")
    assert longer - dumb.render(replace(ACTUAL, segments=(CHIME,)), tmp_path / "one.wav") == 1_400


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
        studio.render(DRILL, tmp_path / "out.wav")
    assert failed.value.code == "no_drill_preface"


def test_an_exercise_whose_plan_lacks_the_preface_is_refused_even_when_the_store_has_one(
    studio: Studio, tmp_path: Path
) -> None:
    studio.provision()
    for segments in ((CHIME, SAY), (CHIME, PREFACE), ()):
        with pytest.raises(RenderFailed) as failed:
            studio.render(replace(DRILL, segments=segments), tmp_path / "out.wav")
        assert failed.value.code == "no_drill_preface"


def test_an_exercise_begins_with_the_very_preface_of_the_store(
    studio: Studio, store: AudioStore, tmp_path: Path
) -> None:
    studio.provision()
    studio.render(DRILL, tmp_path / "out.wav")
    preface = store.preface()
    assert preface is not None
    pcm = wav.read(preface.read_bytes()).pcm
    assert wav.read((tmp_path / "out.wav").read_bytes()).pcm.startswith(pcm)


def test_a_text_cannot_become_an_option_of_the_speech_engine(studio: Studio, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    studio.render(replace(ACTUAL, segments=(Segment(SegmentKind.SAY, f"-w {victim}", "en"),)), tmp_path / "out.wav")
    assert not victim.exists()


def test_the_wav_player_writes_one_file_for_each_start(loop: Loop, studio: Studio, tmp_path: Path) -> None:
    ears, heard = Ears(), tmp_path / "heard"
    player = WavPlayer(loop, studio, heard, real_time=False, mic_db=68)
    player.listen(ears)
    player.load(1, replace(ACTUAL, segments=(CHIME,)))
    until(loop, ears, "SoundLoaded")
    player.play(1)
    until(loop, ears, "SoundEnded")
    assert ears.names == ["SoundLoaded", "SoundBegan", *["SoundProgress"] * 4, "SoundEnded"]
    assert [path.name for path in heard.glob("*.wav")] == ["000001-actual-o-1-r1.wav"]
    ms = ears.said[0][1]["ms"]
    assert ears.said[-1][1] == {"ticket": 1, "ms": ms, "mic_db": 68}
    assert abs(wav.read((heard / "000001-actual-o-1-r1.wav").read_bytes()).ms - ms) <= 1
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
    assert wav.read(files[0].read_bytes()).ms < ears.said[0][1]["ms"]
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
    assert ears.names[:2] == ["SoundLoaded", "SoundBegan"]
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
