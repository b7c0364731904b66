"""A loudspeaker that sounds, through the program of the sound card."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

from devices.protocols import wav
from devices.speaker import events as e
from devices.speaker.loop import Loop
from devices.speaker.player import PROGRESS_PERCENTS
from devices.speaker.render import RATE, Renderer
from devices.speaker.rendering import Parts, Rendering, said

POLL_US = 50_000
TRIAL_MS, TRIAL_S_MAX = 20, 3


def trouble(command: tuple[str, ...]) -> str:
    """Why this command can't play a WAV file on this machine, "" when it can. Plays a moment of silence."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(wav.write(wav.silence(TRIAL_MS, RATE)))
        file.flush()
        try:
            done = subprocess.run(
                [*command, file.name], stdin=subprocess.DEVNULL, capture_output=True, timeout=TRIAL_S_MAX, check=False
            )
        except subprocess.TimeoutExpired:
            return f"it took more than {TRIAL_S_MAX} s for {TRIAL_MS} ms of silence"
        except OSError as failed:
            return failed.strerror or type(failed).__name__
    if done.returncode == 0:
        return ""
    said = done.stderr.decode(errors="replace").strip().splitlines()
    return f"exit {done.returncode}{': ' + said[-1][:200] if said else ''}"


class SoundCardPlayer(Rendering):
    """Sounds through the sound card by child processes (aplay), one for each part, killed to silence them."""

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
        self._in_words = False
        self._before_ms = 0
        self._started_us = 0
        self._told = -1

    def play(self, ticket: int) -> None:
        self._ticket, self._told = ticket, -1
        self._before_ms, self._in_words = 0, False
        self._sound(self._parts[ticket].head)
        self._loop.later(POLL_US, lambda: self._poll(ticket))

    def _sound(self, file: Path) -> None:
        ticket, self._started_us = self._ticket, self._loop.mono_us()
        try:
            self._child = subprocess.Popen(
                [*self._command, str(file)],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        except OSError:
            self._loop.later(0, lambda: self._finished(ticket, e.SoundFailed, reason="no_sound_card"))

    def _poll(self, ticket: int) -> None:
        """Look after the child: began when it is alive after the first moment, progress by the clock, then its end."""
        if self._ticket != ticket:
            return
        parts = self._parts[ticket]
        status = self._child.poll() if self._child is not None else None
        if status is not None and status != 0:
            self._finished(ticket, e.SoundFailed, reason="sound_card_failed")
            return
        if self._told < 0 and self._child is not None:
            self._told = 0
            self._report(e.SoundBegan, ticket=ticket, mic_db=self._mic_db)
        self._tell_progress(ticket, parts)
        if self._ticket != ticket:
            return  # What was just reported has silenced it.
        if status == 0:
            self._before_ms, self._child = self._heard_ms(), None
        if self._child is None and self._go_on(ticket, parts):
            return
        self._loop.later(POLL_US, lambda: self._poll(ticket))

    def _heard_ms(self) -> int:
        passed_us = self._loop.mono_us() - self._started_us if self._child is not None else 0
        return self._before_ms + passed_us // 1_000

    def _tell_progress(self, ticket: int, parts: Parts) -> None:
        if parts.spoken is None:
            return
        done = self._heard_ms() * 100 // max(parts.head_ms + parts.spoken.ms, 1)
        for percent in PROGRESS_PERCENTS:
            if self._told < percent <= min(done, 99):
                self._told = percent
                self._report(e.SoundProgress, ticket=ticket, percent=percent, mic_db=self._mic_db)

    def _go_on(self, ticket: int, parts: Parts) -> bool:
        """A part has ended: start the next one when it is there. True when the whole sound is over."""
        if parts.failure and not self._in_words:
            self._finished(ticket, e.SoundFailed, reason=parts.failure)
        elif parts.spoken is not None and (self._in_words or not parts.spoken.ms):
            ms = self._before_ms
            self._finished(ticket, e.SoundEnded, ms=ms, mic_db=self._mic_db, **said(parts.spoken))
        else:
            if parts.spoken is not None:
                self._in_words = True
                self._sound(parts.speech)
            return False
        return True

    def stop(self, ticket: int) -> None:
        self.drop(ticket)
        if self._ticket == ticket:
            self._clear()

    def _finished(self, ticket: int, event_type: Any, **fields: Any) -> None:
        if self._ticket == ticket:
            self.drop(ticket)
            self._clear()
            self._report(event_type, ticket=ticket, **fields)

    def _clear(self) -> None:
        self._ticket = 0
        if self._child is not None:
            self._child.kill()
            self._child.wait()
            self._child = None

    def close(self) -> None:
        self._clear()
        super().close()
