"""Recorded phrases: the floor under speech. Picks and joins clips for an order when no engine speaks its text.

A folder holds `phrases.json` (which clips exist, and which are said for which event and phase), `made/` (clips that a
speech engine spoke once, at setup) and `recorded/` (a person's voice; a file dropped in there is used instead of the
made one of the same name). Clips are WAV, 16-bit, at most 60 s, named `<clip>.<language>.wav`.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devices.protocols import wav
from devices.protocols.documents import Phase
from devices.protocols.wav import WavRefused, WavSound

from ...domain.refusals import PlaceholderLeft
from ...domain.signals import Problem
from ...domain.wordings import unfilled
from . import Speech, SpeechFailed
from .sentences import CLIPS, RULES

INDEX_FILE = "phrases.json"
INDEX_BYTES_MAX = 262_144
CLIPS_MAX = 500
RULES_MAX = 1_000
RULE_CLIPS_MAX = 6
CLIP_MS_MAX = 60_000
CLIP_BYTES_MAX = 24_000_000

_CLIP_ID = re.compile(r"[a-z0-9-]{1,40}")
_LANG = re.compile(r"[a-z]{2,3}")
_PAUSE_MS = 350


@dataclass(frozen=True, slots=True)
class Rule:
    """What is said for the events whose code begins with `code` ("" is any event), in this phase: clips in order."""

    code: str
    phase: Phase
    clips: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Index:
    """`phrases.json`: the text of each clip per language, and the rules."""

    clips: Mapping[str, Mapping[str, str]]
    rules: tuple[Rule, ...]


DEFAULT_INDEX = Index(CLIPS, tuple(Rule(code, Phase(phase), clips) for code, phase, clips in RULES))


class PhrasesRefused(Exception):
    """The index of the recorded phrases can't be used as it stands."""

    code = "phrases_refused"


@dataclass(frozen=True, slots=True)
class Joined:
    """The clips for an order, one sound each at the rate it was recorded with, the pause between them, and what is
    wrong with the folder. `clips` is empty when nothing fits or a part is missing: half a phrase could mislead."""

    clips: tuple[WavSound, ...]
    text: str
    pause_ms: int = _PAUSE_MS
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Made:
    """What a setup run did: clip names spoken anew, left as they were, and not spoken (with the reason)."""

    spoken: tuple[str, ...]
    kept: tuple[str, ...]
    problems: tuple[Problem, ...]


class Phrases:
    """The phrases of one folder, read from disk at each call: a recording dropped in counts at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def clips_for(self, event_code: str, phase: Phase, lang: str) -> Joined:
        """The clips for the longest rule whose code begins the event's, in the language's first part ("zh-CN": zh)."""
        lang = lang.split("-")[0].lower()
        try:
            index = read_index(self._folder)
        except PhrasesRefused as error:
            return Joined((), "", problems=(_warning(error.code, INDEX_FILE, str(error)),))
        fitting = [rule for rule in index.rules if rule.phase == phase and event_code.startswith(rule.code)]
        if not fitting or not _LANG.fullmatch(lang):
            return Joined((), "", problems=(_warning("no_phrase", lang, "No recorded phrase fits this order."),))
        rule = max(fitting, key=lambda rule: len(rule.code))
        sounds: list[WavSound] = []
        problems: list[Problem] = []
        for clip in rule.clips:
            sound = self._clip(clip, lang, problems)
            if sound is None:
                problems.append(_warning("phrase_missing", f"{clip}.{lang}", "A clip of the phrase is missing."))
                return Joined((), "", problems=tuple(problems))
            sounds.append(sound)
        text = "".join(index.clips[clip].get(lang, "") for clip in rule.clips)
        return Joined(tuple(sounds), text, problems=tuple(problems))

    def _clip(self, clip: str, lang: str, problems: list[Problem]) -> WavSound | None:
        """The person's recording, else the made clip, else None; a file that can't be used is a problem, not an end."""
        for shelf in ("recorded", "made"):
            name = f"{shelf}/{clip}.{lang}.wav"
            path = self._folder / name
            try:
                if path.stat().st_size > CLIP_BYTES_MAX:
                    raise WavRefused("too_long", "The file is too large for a phrase.")
                sound = wav.read(path.read_bytes())
                if not 0 < sound.ms <= CLIP_MS_MAX:
                    raise WavRefused("too_long", "A clip lasts between a moment and 60 seconds.")
                if not wav.audible(sound):
                    raise WavRefused("silent", "There is nothing to hear in this file.")
                return sound
            except FileNotFoundError:
                continue
            except OSError as error:
                problems.append(_warning("phrase_unreadable", name, error.strerror or "The file can't be read."))
            except WavRefused as error:
                problems.append(_warning(f"phrase_{error.code}", name, str(error)))
        return None


def make_phrases(folder: Path, speech: Speech) -> Made:
    """Speak every clip whose text has no made clip yet; the setup step of a city. Safe to repeat.

    Writes the default index when there is none; a city edits texts and rules in it. Raises PhrasesRefused when the
    index is broken, OSError when the folder can't be written."""
    (folder / "made").mkdir(parents=True, exist_ok=True)
    (folder / "recorded").mkdir(exist_ok=True)
    if not (folder / INDEX_FILE).exists():
        _write(folder / INDEX_FILE, _index_json(DEFAULT_INDEX))
    made = _Making()
    for clip, texts in read_index(folder).clips.items():
        for lang, text in texts.items():
            _make(folder / "made" / f"{clip}.{lang}.wav", text, lang, speech, made)
    return Made(tuple(made.spoken), tuple(made.kept), tuple(made.problems))


@dataclass(slots=True)
class _Making:
    spoken: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def _make(path: Path, text: str, lang: str, speech: Speech, made: _Making) -> None:
    """The text lies beside its clip, so that an edited text is noticed; it is written last."""
    beside = path.with_suffix(".txt")
    if path.exists() and beside.exists() and beside.read_text(encoding="utf-8") == text:
        made.kept.append(path.stem)
        return
    if left := unfilled(text):
        made.problems.append(_warning(PlaceholderLeft.code, path.stem, PlaceholderLeft(left).sentence))
        return
    try:
        sound = speech.say(text, lang)
    except SpeechFailed as error:
        made.problems.append(_warning(error.code, path.stem, error.sentence))
        return
    _write(path, sound)
    _write(beside, text.encode())
    made.spoken.append(path.stem)


def read_index(folder: Path) -> Index:
    """The folder's index, checked. Raises PhrasesRefused with a sentence that names the first thing wrong."""
    path = folder / INDEX_FILE
    try:
        with path.open("rb") as file:
            raw = file.read(INDEX_BYTES_MAX + 1)
    except OSError as error:
        raise PhrasesRefused(f"The index can't be read: {error.strerror}.") from error
    if len(raw) > INDEX_BYTES_MAX:
        raise PhrasesRefused(f"The index has more than {INDEX_BYTES_MAX} bytes.")
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise PhrasesRefused("The index is not JSON.") from error
    return _checked(document)


def _checked(document: object) -> Index:
    match document:
        case {"clips": dict(clips), "rules": list(rules)} if len(clips) <= CLIPS_MAX and len(rules) <= RULES_MAX:
            checked = {clip: _texts(clip, texts) for clip, texts in clips.items()}
            return Index(checked, tuple(_rule(rule, checked) for rule in rules))
        case _:
            raise PhrasesRefused(f"The index has `clips` (≤ {CLIPS_MAX}) and `rules` (≤ {RULES_MAX}), both filled.")


def _texts(clip: str, texts: object) -> dict[str, str]:
    if not _CLIP_ID.fullmatch(clip):
        raise PhrasesRefused(f"The clip name {clip[:40]!r} may have small letters, digits and hyphens only.")
    if not isinstance(texts, dict) or not all(
        isinstance(text, str) and _LANG.fullmatch(lang) for lang, text in texts.items()
    ):
        raise PhrasesRefused(f"The clip {clip!r} has one text per language.")
    return texts


def _rule(rule: object, clips: Mapping[str, object]) -> Rule:
    match rule:
        case {"code": str(code), "phase": str(phase), "clips": list(named)}:
            if phase not in tuple(Phase) or not 0 < len(named) <= RULE_CLIPS_MAX or len(code) > 5:
                raise PhrasesRefused(f"The rule for {code[:10]!r} needs a phase and 1 to {RULE_CLIPS_MAX} clips.")
            if not all(isinstance(clip, str) and clip in clips for clip in named):
                raise PhrasesRefused(f"The rule for {code[:10]!r} names a clip that the index does not have.")
            return Rule(code, Phase(phase), tuple(named))
        case _:
            raise PhrasesRefused("A rule has `code`, `phase` and `clips`.")


def _index_json(index: Index) -> bytes:
    rules = [{"code": rule.code, "phase": rule.phase.value, "clips": list(rule.clips)} for rule in index.rules]
    return json.dumps({"clips": index.clips, "rules": rules}, ensure_ascii=False, indent=1).encode()


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all: a clip cut short by a power failure would be worse than none."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _warning(code: str, where: str, message: str) -> Problem:
    return Problem("warning", code, where, message)
