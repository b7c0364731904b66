"""The loudspeaker: a port and its three forms. NullPlayer keeps time, WavPlayer writes files, SoundCardPlayer sounds.

A player loads without a sound, plays what it loaded, and reports. It decides nothing.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from devices.speaker import events as e
from devices.speaker.events import Plan, SegmentKind
from devices.speaker.loop import Loop, Timer
from devices.speaker.render import RATE, Renderer, RenderFailed

Report = Callable[..., None]
"""Called as report(event type, field=value, …); the agent adds the clocks."""

PROGRESS_PERCENTS = (20, 40, 60, 80)
POLL_US = 50_000
_HEADER_BYTES = 44


class Player(Protocol):
    """What the agent needs of a loudspeaker. `listen` is called once, before anything else."""

    def listen(self, report: Report) -> None: ...

    def load(self, ticket: int, plan: Plan) -> None:
        """Report SoundLoaded or SoundFailed for this ticket."""

    def play(self, ticket: int) -> None:
        """Sound what was loaded: SoundBegan, SoundProgress, then SoundEnded or SoundFailed."""

    def stop(self, ticket: int) -> None:
        """Silence within 500 ms, or drop what is loading; nothing more is reported of this ticket."""

    def close(self) -> None: ...


@dataclass
class _Run:
    """One sound that is under way: its timers are cancelled together."""

    ticket: int
    ms: int
    timers: list[Timer]

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
        self._loaded: dict[int, Plan] = {}
        self._run: _Run | None = None

    def listen(self, report: Report) -> None:
        self._report = report

    def load(self, ticket: int, plan: Plan) -> None:
        if plan.use != "actual" and not (self._preface and plan.segments[0].kind is SegmentKind.PREFACE):
            self._report(e.SoundFailed, ticket=ticket, reason="no_drill_preface")
            return
        self._loaded[ticket] = plan
        self._report(e.SoundLoaded, ticket=ticket, ms=plan.ms)

    def play(self, ticket: int) -> None:
        plan = self._loaded.pop(ticket)
        self._run = _timed(self._loop, ticket, plan.ms, self._speed, self._report, self._mic_db, self._end)
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


def _timed(
    loop: Loop, ticket: int, ms: int, speed: int, report: Report, mic_db: int | None, end: Callable[[], None]
) -> _Run:
    """Progress and end by the clock."""
    timers = [
        loop.later(
            ms * percent * 10 // speed,
            lambda percent=percent: report(e.SoundProgress, ticket=ticket, percent=percent, mic_db=mic_db),  # type: ignore[misc]
        )
        for percent in PROGRESS_PERCENTS
    ]
    return _Run(ticket, ms, [*timers, loop.later(ms * 1_000 // speed, end)])


class _Rendering:
    """Loading for players that need a WAV file: rendered in a worker, dropped when it is no longer wanted."""

    def __init__(self, loop: Loop, renderer: Renderer, scratch: Path) -> None:
        self._loop = loop
        self._renderer = renderer
        scratch.mkdir(parents=True, exist_ok=True)
        self._folder = tempfile.TemporaryDirectory(dir=scratch)
        self._wanted: dict[int, Plan] = {}
        self._made: dict[int, tuple[Plan, Path, int]] = {}

    def listen(self, report: Report) -> None:
        self._report = report

    def load(self, ticket: int, plan: Plan) -> None:
        self._wanted[ticket] = plan
        target = Path(self._folder.name) / f"{ticket}.wav"
        self._loop.work("render", lambda: self._make(plan, target), lambda made: self._loaded(ticket, target, made))

    def _make(self, plan: Plan, target: Path) -> int | str:
        """Length in ms, or the reason why there is none."""
        try:
            return self._renderer.render(plan, target)
        except RenderFailed as failed:
            return failed.code

    def _loaded(self, ticket: int, target: Path, made: int | str) -> None:
        plan = self._wanted.pop(ticket, None)
        if plan is None:
            target.unlink(missing_ok=True)
        elif isinstance(made, str):
            target.unlink(missing_ok=True)
            self._report(e.SoundFailed, ticket=ticket, reason=made)
        else:
            self._made[ticket] = (plan, target, made)
            self._report(e.SoundLoaded, ticket=ticket, ms=made)

    def _drop(self, ticket: int) -> None:
        self._wanted.pop(ticket, None)
        made = self._made.pop(ticket, None)
        if made is not None:
            made[1].unlink(missing_ok=True)

    def close(self) -> None:
        self._folder.cleanup()


class WavPlayer(_Rendering):
    """Writes what was heard into one WAV file per start, named by number, use, order and repeat.

    With `real_time` it takes as long as the sound would; otherwise the file is there at once. While it sounds the file
    ends in .playing; then it is cut to what was heard.
    """

    def __init__(
        self, loop: Loop, renderer: Renderer, folder: Path, real_time: bool = True, mic_db: int | None = None
    ) -> None:
        super().__init__(loop, renderer, folder / "scratch")
        self._heard_in = folder
        self._real_time = real_time
        self._mic_db = mic_db
        self._count = len([*folder.glob("*.wav"), *folder.glob("*.playing")])
        self._run: _Run | None = None
        self._started_us = 0
        self._file: tuple[Path, Path] | None = None

    def play(self, ticket: int) -> None:
        plan, made, ms = self._made.pop(ticket)
        self._count += 1
        heard = self._heard_in / f"{self._count:06d}-{plan.order.replace('/', '-')}-r{plan.repeat}.wav"
        sounding = heard.with_suffix(".playing")
        try:
            made.replace(sounding)
        except OSError:
            self._loop.later(0, lambda: self._report(e.SoundFailed, ticket=ticket, reason="disk_failed"))
            return
        self._file = (sounding, heard)
        self._started_us = self._loop.mono_us()
        length = ms if self._real_time else 0
        self._run = _timed(self._loop, ticket, length, 1, self._report, self._mic_db, self._end)
        self._run.ms = ms
        self._report(e.SoundBegan, ticket=ticket, mic_db=self._mic_db)

    def stop(self, ticket: int) -> None:
        self._drop(ticket)
        if self._run is not None and self._run.ticket == ticket:
            self._run.cancel()
            self._run = None
            self._keep((self._loop.mono_us() - self._started_us) // 1_000)

    def _end(self) -> None:
        assert self._run is not None
        run, self._run = self._run, None
        reason = self._keep(run.ms)
        if reason:
            self._report(e.SoundFailed, ticket=run.ticket, reason=reason)
        else:
            self._report(e.SoundEnded, ticket=run.ticket, ms=run.ms, mic_db=self._mic_db)

    def _keep(self, ms: int) -> str:
        """What was heard, up to here; a reason when it could not be written."""
        assert self._file is not None
        sounding, heard = self._file
        count = ms * RATE // 1_000 * 2
        try:
            with sounding.open("r+b") as file:
                size = file.seek(0, 2) - _HEADER_BYTES
                count = min(count, size)
                file.truncate(_HEADER_BYTES + count)
                for at, value in ((4, 36 + count), (40, count)):
                    file.seek(at)
                    file.write(value.to_bytes(4, "little"))
            sounding.replace(heard)
        except OSError:
            return "disk_failed"
        return ""

    def close(self) -> None:
        if self._run is not None:
            self.stop(self._run.ticket)
        super().close()


class SoundCardPlayer(_Rendering):
    """Sounds through the sound card by a child process (aplay), which is killed to silence it."""

    def __init__(
        self,
        loop: Loop,
        renderer: Renderer,
        scratch: Path,
        command: tuple[str, ...] = ("aplay", "-q"),
        mic_db: int | None = None,
    ) -> None:
        super().__init__(loop, renderer, scratch)
        self._command = command
        self._mic_db = mic_db
        self._child: subprocess.Popen[bytes] | None = None
        self._ticket = 0
        self._file: Path | None = None
        self._ms = 0
        self._started_us = 0
        self._told = -1

    def play(self, ticket: int) -> None:
        _, self._file, self._ms = self._made.pop(ticket)
        self._ticket, self._started_us, self._told = ticket, self._loop.mono_us(), -1
        try:
            self._child = subprocess.Popen(
                [*self._command, str(self._file)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError:
            self._loop.later(0, lambda: self._finished(ticket, e.SoundFailed, reason="no_sound_card"))
            return
        self._loop.later(POLL_US, lambda: self._poll(ticket))

    def _poll(self, ticket: int) -> None:
        """Look after the child: began when it is alive after the first moment, progress by the clock, then its end."""
        if self._child is None or self._ticket != ticket:
            return
        status = self._child.poll()
        if status is not None and status != 0:
            self._finished(ticket, e.SoundFailed, reason="sound_card_failed")
            return
        passed_ms = (self._loop.mono_us() - self._started_us) // 1_000
        if self._told < 0:
            self._told = 0
            self._report(e.SoundBegan, ticket=ticket, mic_db=self._mic_db)
        for percent in PROGRESS_PERCENTS:
            if self._told < percent <= passed_ms * 100 // max(self._ms, 1) and status is None:
                self._told = percent
                self._report(e.SoundProgress, ticket=ticket, percent=percent, mic_db=self._mic_db)
        if status == 0:
            self._finished(ticket, e.SoundEnded, ms=passed_ms, mic_db=self._mic_db)
        else:
            self._loop.later(POLL_US, lambda: self._poll(ticket))

    def stop(self, ticket: int) -> None:
        self._drop(ticket)
        if self._ticket == ticket:
            self._clear()

    def _finished(self, ticket: int, event_type: Any, **fields: Any) -> None:
        if self._ticket == ticket:
            self._clear()
            self._report(event_type, ticket=ticket, **fields)

    def _clear(self) -> None:
        self._ticket = 0
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            self._file = None

    def close(self) -> None:
        self._clear()
        super().close()
