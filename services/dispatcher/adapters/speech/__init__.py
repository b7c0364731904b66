"""Speech: the port that turns a text into sound, one engine a module. Retrying is the caller's."""

from __future__ import annotations

from typing import Protocol

from ...domain.refusals import Refused


class SpeechFailed(Refused):
    """The speech engine did not speak this text."""

    code = "speech_failed"

    def __init__(self, detail: str, *, retry: bool) -> None:
        super().__init__(detail)
        self.retry = retry


class Speech(Protocol):
    """A voice. Implementations keep no state that two threads could disturb."""

    def say(self, text: str, lang: str) -> bytes:
        """The text (≤ 500 characters) spoken in `lang` (BCP 47), as a 16-bit mono WAV file.

        Raises SpeechFailed; its `retry` says whether the same call may succeed later."""
        ...
