"""A loudspeaker that writes WAV files: what the street would have heard, for drills and for machines without sound."""

from __future__ import annotations

import shutil
from pathlib import Path

from devices.speaker import events as e
from devices.speaker.loop import Loop
from devices.speaker.player import Run, timed
from devices.speaker.render import RATE, Renderer
from devices.speaker.rendering import Parts, Rendering, said

_HEADER_BYTES = 44


class WavPlayer(Rendering):
    """Writes what was heard into one WAV file per start, named by number, use, order and repeat.

    With `real_time` it takes as long as the sound would; otherwise the file is there as soon as it is made. While it
    sounds the file ends in .playing; then it is cut to what was heard.
    """

    def __init__(
        self, loop: Loop, renderer: Renderer, folder: Path, real_time: bool = True, mic_db: int | None = None
    ) -> None:
        super().__init__(loop, renderer, folder / "scratch")
        self._heard_in = folder
        self._real_time = real_time
        self._mic_db = mic_db
        self._count = len([*folder.glob("*.wav"), *folder.glob("*.playing")])
        self._run: Run | None = None
        self._started_us = 0
        self._waited_us = 0
        self._file: tuple[Path, Path] | None = None

    def play(self, ticket: int) -> None:
        parts = self._parts[ticket]
        self._count += 1
        heard = self._heard_in / f"{self._count:06d}-{parts.plan.order.replace('/', '-')}-r{parts.plan.repeat}.wav"
        sounding = heard.with_suffix(".playing")
        try:
            parts.head.replace(sounding)
        except OSError:
            self.drop(ticket)
            self._loop.later(0, lambda: self._report(e.SoundFailed, ticket=ticket, reason="disk_failed"))
            return
        self._ticket, self._file = ticket, (sounding, heard)
        self._started_us, self._waited_us = self._loop.mono_us(), 0
        self._report(e.SoundBegan, ticket=ticket, mic_db=self._mic_db)
        if parts.ready and self._ticket == ticket:
            self.words_came(parts)

    def words_came(self, parts: Parts) -> None:
        """Put the words behind the head, and go on by the clock; silence that fell between them is not counted."""
        ticket, passed_us = self._ticket, self._loop.mono_us() - self._started_us
        head_us = parts.head_ms * 1_000 if self._real_time else 0
        if parts.spoken is None or not self._append(parts.speech):
            reason = parts.failure or "disk_failed"
            self._run = Run(ticket, parts.head_ms, [])
            self._run.timers = [self._loop.later(max(0, head_us - passed_us), lambda: self._break_off(reason))]
            return
        self._waited_us = max(0, passed_us - head_us)
        ms = parts.head_ms + parts.spoken.ms
        length = ms if self._real_time else 0
        passed_us -= self._waited_us
        self._run = timed(self._loop, ticket, length, self._report, self._mic_db, self._end, passed_us=passed_us)
        self._run.ms = ms

    def _append(self, speech: Path) -> bool:
        assert self._file is not None
        try:
            with speech.open("rb") as words, self._file[0].open("ab") as file:
                words.seek(_HEADER_BYTES)
                shutil.copyfileobj(words, file)
        except OSError:
            return False
        return True

    def stop(self, ticket: int) -> None:
        self.drop(ticket)
        if self._ticket == ticket:
            self._silence((self._loop.mono_us() - self._started_us - self._waited_us) // 1_000)

    def _break_off(self, reason: str) -> None:
        assert self._run is not None
        ticket, ms = self._ticket, self._run.ms
        self.drop(ticket)
        self._silence(ms)
        self._report(e.SoundFailed, ticket=ticket, reason=reason)

    def _end(self) -> None:
        assert self._run is not None
        ticket, ms = self._ticket, self._run.ms
        spoken = self._parts[ticket].spoken
        assert spoken is not None
        self.drop(ticket)
        reason = self._silence(ms)
        if reason:
            self._report(e.SoundFailed, ticket=ticket, reason=reason)
        else:
            self._report(e.SoundEnded, ticket=ticket, ms=ms, mic_db=self._mic_db, **said(spoken))

    def _silence(self, ms: int) -> str:
        """Keep what was heard, up to here; a reason when it could not be written."""
        run, self._run, self._ticket = self._run, None, 0
        if run is not None:
            run.cancel()
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
        if self._ticket:
            self.stop(self._ticket)
        super().close()
