"""Loading for players that need WAV files: a plan may sound as soon as its head is there, its words follow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from devices.speaker import events as e
from devices.speaker.events import SoundPlan
from devices.speaker.loop import Loop
from devices.speaker.player import Report
from devices.speaker.render import Renderer, RenderFailed, SpokenSegment

T = TypeVar("T")


@dataclass
class Parts:
    """The two files of a plan. The words are on their way until `spoken` or `failure` says how that ended."""

    plan: SoundPlan
    head: Path
    head_ms: int
    speech: Path
    spoken: SpokenSegment | None = None
    failure: str = ""

    @property
    def ready(self) -> bool:
        return self.spoken is not None or bool(self.failure)


class Rendering:
    """The part that WavPlayer and SoundCardPlayer share. `_ticket` is what sounds now, 0 in silence."""

    def __init__(self, loop: Loop, renderer: Renderer, scratch: Path) -> None:
        self._loop = loop
        self._renderer = renderer
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=scratch)
        self._wanted: set[int] = set()
        self._parts: dict[int, Parts] = {}
        self._ticket = 0

    def listen(self, report: Report) -> None:
        self._report = report

    def load(self, ticket: int, plan: SoundPlan) -> None:
        self._wanted.add(ticket)
        head = Path(self._folder.name) / f"{ticket}.wav"
        self._loop.work(
            "render",
            lambda: _made(self._renderer.head, plan, head),
            lambda made: self._headed(ticket, plan, head, made),
        )

    def _headed(self, ticket: int, plan: SoundPlan, head: Path, made: int | str) -> None:
        if ticket not in self._wanted or isinstance(made, str):
            head.unlink(missing_ok=True)
            if ticket in self._wanted:
                self._wanted.discard(ticket)
                self._report(e.SoundFailed, ticket=ticket, reason=made)
            return
        self._wanted.discard(ticket)
        parts = Parts(plan, head, made, head.with_name(f"{ticket}-words.wav"))
        self._parts[ticket] = parts

        def job() -> SpokenSegment | str:
            # What was dropped meanwhile costs no decoding.
            return _made(self._renderer.speech, plan, parts.speech) if ticket in self._parts else "dropped"

        self._loop.work("speech", job, lambda spoken: self._spoken(ticket, parts, spoken))
        self._report(e.SoundLoaded, ticket=ticket)

    def _spoken(self, ticket: int, parts: Parts, spoken: SpokenSegment | str) -> None:
        if self._parts.get(ticket) is not parts:
            parts.speech.unlink(missing_ok=True)
            return
        if isinstance(spoken, str):
            parts.failure = spoken
        else:
            parts.spoken = spoken
        sounds = self._ticket == ticket
        if parts.spoken is not None:
            # What is heard of this may begin the plan, with its words, or silence it.
            self._report(e.SoundMeasured, ticket=ticket, ms=parts.head_ms + parts.spoken.ms)
        if sounds and self._ticket == ticket:
            self.words_came(parts)
        elif parts.failure:
            self.drop(ticket)
            self._report(e.SoundFailed, ticket=ticket, reason=parts.failure)

    def words_came(self, parts: Parts) -> None:
        """The words of what sounds now are there, or never will be."""

    def drop(self, ticket: int) -> None:
        self._wanted.discard(ticket)
        parts = self._parts.pop(ticket, None)
        if parts is not None:
            parts.head.unlink(missing_ok=True)
            parts.speech.unlink(missing_ok=True)

    def close(self) -> None:
        self._folder.cleanup()


def _made(make: Callable[[SoundPlan, Path], T], plan: SoundPlan, target: Path) -> T | str:
    """What the renderer made, or the reason why it could not."""
    try:
        return make(plan, target)
    except RenderFailed as failed:
        return failed.code


def said(spoken: SpokenSegment) -> dict[str, str]:
    """What the end of a sound says of its words."""
    return {"source": spoken.source, "fell_back": spoken.fell_back}
