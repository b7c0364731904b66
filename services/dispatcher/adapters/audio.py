"""Rendering of one order in one language: attention signal, then the voice, at one loudness, ready for speakers.

The only module that knows pydub. What can fail has a floor under it (law 12): no speech, then recorded phrases; no
phrase, then the signal alone; no ffmpeg or no Opus in it, then WAV. Each step down is named in `problems`.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from devices.protocols import chime, wav
from devices.protocols.chime import Pattern
from devices.protocols.documents import Phase
from devices.protocols.wav import WavSound

from ..domain.signals import Problem, Use
from .child import ChildFailed
from .ffmpeg import PEAK_DBTP_MAX, RATE, TARGET_LUFS, Ffmpeg
from .speech import Speech, SpeechFailed
from .speech.phrases import Phrases

with warnings.catch_warnings():
    # pydub imports the deprecated audioop and complains when ffmpeg is absent; ffmpeg is not run through pydub here.
    warnings.simplefilter("ignore")
    from pydub import AudioSegment
    from pydub.silence import detect_leading_silence

FALLBACK_RATE = 16_000
FIRE_VOICE_MS_MIN = 10_000
FIRE_VOICE_MS_MAX = 30_000
LUFS_TOLERANCE = 2.0

_AFTER_CHIME_MS = 500
_BETWEEN_VOICES_MS = 800
_TAIL_MS = 300
_SILENT_DBFS = -50.0
_BETWEEN_SAMPLES_DB = 0.5  # the true peak lies that much above the highest sample, at most, in this material


@dataclass(frozen=True, slots=True)
class Rendered:
    """One language of an order as sound. `codec` is "opus" (Ogg, 24 kbit/s mono) or "wav" (16-bit mono, 16 kHz).

    `sha256` names the bytes: the same order on the same machine gives the same name. `spoken` says whether the order's
    own text is heard; otherwise `problems` says what is heard instead."""

    lang: str
    codec: str
    data: bytes
    sha256: str
    ms: int
    spoken: bool
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Voice:
    """What is said: clips in order and the pause between them. No clips: nothing could be said."""

    clips: tuple[WavSound, ...]
    pause_ms: int
    spoken: bool
    problems: tuple[Problem, ...]


def render(
    text: str,
    lang: str,
    *,
    level: int,
    phase: Phase,
    use: Use,
    event_code: str,
    speech: Speech,
    phrases: Phrases,
    ffmpeg: Ffmpeg,
) -> Rendered:
    """Attention signal and voice for one order, at -16 LUFS and at most -1.5 dBTP (WAV: by RMS and sample peak).

    `level` is 1 (red) to 4; an exercise opens with the exercise chime whatever else is given. For a fire alert tone
    and voice keep GB 50116's times (8-20 s, 10-30 s), so that the order's repeats alternate them. Always returns."""
    voice = _voice(text, lang, phase, event_code, speech, phrases)
    pattern = chime.pattern_for(use.value, phase.value, event_code)
    problems = list(voice.problems)
    fire = pattern in (Pattern.FIRE, Pattern.EXERCISE_FIRE)
    try:
        tone = _chime(ffmpeg, pattern, level)
        mixed = _mix(tone, [_levelled(ffmpeg, clip) for clip in voice.clips], voice.pause_ms, fire)
        codec, data = "opus", ffmpeg.opus(_wav(mixed))
        problems += _loudness_problems(ffmpeg, data)
    except ChildFailed as error:
        problems.append(_warning("no_opus", f"This is WAV, because Opus could not be made: {error}"))
        tone = _plain(chime.attention(pattern, FALLBACK_RATE, level))
        mixed = _mix(tone, [_plain(clip) for clip in voice.clips], voice.pause_ms, fire)
        codec, data = "wav", _wav(mixed)
    if fire and len(mixed) - len(tone) > _AFTER_CHIME_MS + FIRE_VOICE_MS_MAX + _TAIL_MS:
        problems.append(_warning("fire_voice_long", "The voice lasts longer than the 30 seconds of GB 50116."))
    name = hashlib.sha256(data).hexdigest()
    return Rendered(lang, codec, data, name, len(mixed), voice.spoken, tuple(problems))


def _voice(text: str, lang: str, phase: Phase, event_code: str, speech: Speech, phrases: Phrases) -> _Voice:
    """The text by the engine, else the recorded phrase, else nothing."""
    try:
        sound = wav.read(speech.say(text, lang))
        if wav.audible(sound):
            return _Voice((sound,), 0, True, ())
        failure = _warning(SpeechFailed.code, "The speech engine returned silence.")
    except SpeechFailed as error:
        failure = _warning("speech_failed_for_now" if error.retry else error.code, error.sentence)
    except wav.WavRefused as error:
        failure = _warning(SpeechFailed.code, f"The speech engine returned no usable sound: {error}")
    joined = phrases.clips_for(event_code, phase, lang)
    if joined.clips:
        instead = _warning("phrase_instead", f"A recorded phrase is heard instead: {joined.text}")
    else:
        instead = Problem("error", "chime_only", "audio", "Nothing is said: only the attention signal is heard.")
    return _Voice(joined.clips, joined.pause_ms, False, (failure, *joined.problems, instead))


def _mix(tone: AudioSegment, clips: Iterable[AudioSegment], pause_ms: int, fire: bool) -> AudioSegment:
    """Signal, breath, voice, breath. Without a voice the signal stands alone."""
    trimmed = [_trimmed(clip) for clip in clips]
    if not trimmed:
        return tone
    rate = tone.frame_rate
    voice = trimmed[0]
    for clip in trimmed[1:]:
        voice += _rest(pause_ms, rate) + clip
    if fire:
        voice = _long_enough(voice)
    return tone + _rest(_AFTER_CHIME_MS, rate) + voice + _rest(_TAIL_MS, rate)


def _long_enough(voice: AudioSegment) -> AudioSegment:
    """The voice said again until it lasts 10 s (GB 50116), never past 30 s; a longer text is never cut."""
    again = _rest(_BETWEEN_VOICES_MS, voice.frame_rate) + voice
    while len(voice) < FIRE_VOICE_MS_MIN and len(voice) + len(again) <= FIRE_VOICE_MS_MAX:
        voice += again
    return voice


@lru_cache(maxsize=16)
def _chime(ffmpeg: Ffmpeg, pattern: Pattern, level: int) -> AudioSegment:
    return _levelled(ffmpeg, chime.attention(pattern, RATE, level))


def _levelled(ffmpeg: Ffmpeg, sound: WavSound) -> AudioSegment:
    return _segment(WavSound(RATE, ffmpeg.levelled(wav.write(sound))))


def _plain(sound: WavSound) -> AudioSegment:
    """Loudness as near as RMS comes to it, when nothing is there that measures loudness."""
    segment = _segment(sound).set_frame_rate(FALLBACK_RATE)
    return segment.apply_gain(min(TARGET_LUFS - segment.dBFS, PEAK_DBTP_MAX - _BETWEEN_SAMPLES_DB - segment.max_dBFS))


def _trimmed(voice: AudioSegment) -> AudioSegment:
    """Without the silence an engine or a person leaves before and after."""
    start = detect_leading_silence(voice, silence_threshold=_SILENT_DBFS)
    end = detect_leading_silence(voice.reverse(), silence_threshold=_SILENT_DBFS)
    return voice[start : len(voice) - end]


def _loudness_problems(ffmpeg: Ffmpeg, data: bytes) -> list[Problem]:
    """What the finished file measures, not what was aimed at."""
    measured = ffmpeg.measure(data)
    if abs(measured.lufs - TARGET_LUFS) <= LUFS_TOLERANCE and measured.peak_dbtp <= PEAK_DBTP_MAX:
        return []
    message = f"It measures {measured.lufs:.1f} LUFS with peaks of {measured.peak_dbtp:.1f} dBTP."
    return [_warning("loudness_off", message)]


def _segment(sound: WavSound) -> AudioSegment:
    return AudioSegment(data=sound.pcm, sample_width=2, frame_rate=sound.rate, channels=1)


def _rest(ms: int, rate: int) -> AudioSegment:
    return AudioSegment.silent(duration=ms, frame_rate=rate)


def _wav(segment: AudioSegment) -> bytes:
    return wav.write(WavSound(segment.frame_rate, segment.raw_data))


def _warning(code: str, message: str) -> Problem:
    return Problem("warning", code, "audio", message)
