"""The loudspeaker: the port, and NullPlayer, which only keeps time. WAV files and sound card have their own modules.

A player loads without a sound, plays what it loaded, and reports. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from devices.speaker import events as e
from devices.speaker.events import SegmentKind, SoundPlan
from devices.speaker.loop import Loop, LoopTimer

Report = Callable[..., None]
"""Called as report(event type, field=value, …); the agent adds the clocks."""

PROGRESS_PERCENTS = (20, 40, 60, 80)


class Player(Protocol):
    """What the agent needs of a loudspeaker. `listen` is called once, before anything else."""

    def listen(self, report: Report) -> None: ...

    def load(self, ticket: int, plan: SoundPlan) -> None:
        """Report SoundLoaded as soon as the plan can begin, or SoundFailed, also when that turns out later; and
        SoundMeasured as soon as its length is known, unless SoundLoaded said it."""

    def play(self, ticket: int) -> None:
        """Sound what was loaded: SoundBegan, SoundProgress, then SoundEnded or SoundFailed."""

    def stop(self, ticket: int) -> None:
        """Silence within 500 ms, or drop what is loading; nothing more is reported of this ticket."""

    def close(self) -> None: ...


@dataclass
class Run:
    """One sound that is under way: its timers are cancelled together."""

    ticket: int
    ms: int
    timers: list[LoopTimer]

    def cancel(self) -> None:
        for timer in self.timers:
            timer.cancel()


class NullPlayer:
    """Makes no sound and takes as long as the sound would. `mic_db` is what its microphone is said to hear.

    `speed` divides the durations; `preface` False stands for a speaker that was never provisioned for drills.
    """

    def __init__(self, loop: Loop, mic_db: int | None = None, speed: int = 1, preface: bool = True) -> None:
        self._loop = loop
        self._mic_db = mic_db
        self._speed = speed
        self._preface = preface
        self._loaded: dict[int, SoundPlan] = {}
        self._run: Run | None = None

    def listen(self, report: Report) -> None:
        self._report = report

    def load(self, ticket: int, plan: SoundPlan) -> None:
        if plan.use != "actual" and not (self._preface and plan.segments[0].kind is SegmentKind.PREFACE):
            self._report(e.SoundFailed, ticket=ticket, reason="no_drill_preface")
            return
        self._loaded[ticket] = plan
        self._report(e.SoundLoaded, ticket=ticket, ms=plan.ms)

    def play(self, ticket: int) -> None:
        plan = self._loaded.pop(ticket)
        self._run = timed(self._loop, ticket, plan.ms, self._report, self._mic_db, self._end, self._speed)
        self._report(e.SoundBegan, ticket=ticket, mic_db=self._mic_db)

    def stop(self, ticket: int) -> None:
        self._loaded.pop(ticket, None)
        if self._run is not None and self._run.ticket == ticket:
            self._run.cancel()
            self._run = None

    def close(self) -> None:
        if self._run is not None:
            self.stop(self._run.ticket)

    def _end(self) -> None:
        assert self._run is not None
        run, self._run = self._run, None
        self._report(e.SoundEnded, ticket=run.ticket, ms=run.ms, mic_db=self._mic_db)


def timed(
    loop: Loop,
    ticket: int,
    ms: int,
    report: Report,
    mic_db: int | None,
    end: Callable[[], None],
    speed: int = 1,
    passed_us: int = 0,
) -> Run:
    """Progress and end by the clock, of a sound of which `passed_us` have been heard already."""
    timers = [
        loop.later(
            max(0, ms * percent * 10 // speed - passed_us),
            lambda percent=percent: report(e.SoundProgress, ticket=ticket, percent=percent, mic_db=mic_db),  # type: ignore[misc]
        )
        for percent in PROGRESS_PERCENTS
    ]
    return Run(ticket, ms, [*timers, loop.later(max(0, ms * 1_000 // speed - passed_us), end)])
