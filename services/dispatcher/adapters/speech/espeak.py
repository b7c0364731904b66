"""espeak-ng as a child process, one per text: the voice that is always there. Formant speech, plain but clear."""

from __future__ import annotations

from devices.protocols import wav
from devices.protocols.documents import TEXT_CHARS_MAX
from devices.protocols.spoken import espeak_voice, readable

from ..child import ChildFailed, run
from . import SpeechFailed

WORDS_PER_MINUTE = {"zh": 170, "cmn": 170, "en": 145}
_AMPLITUDE = "60"  # of 200; at the default of 100 the engine clips its own peaks
OUTPUT_BYTES_MAX = 32_000_000


class Espeak:
    """Speaks Mandarin and English. `program` is a path or a name on the search path; nothing is started here."""

    def __init__(self, program: str = "espeak-ng", timeout_s: float = 15.0) -> None:
        self._program = program
        self._timeout_s = timeout_s

    def say(self, text: str, lang: str) -> bytes:
        """See Speech. 22.05 kHz; slower than talk, because squares echo."""
        voice = espeak_voice(lang)
        if voice is None:
            raise SpeechFailed(f"there is no voice for the language {lang[:20]!r}", retry=False)
        if len(text) > TEXT_CHARS_MAX:
            raise SpeechFailed(f"the text has more than {TEXT_CHARS_MAX} characters", retry=False)
        said = readable(text, lang)
        if not said:
            raise SpeechFailed("the text has nothing that can be read out", retry=False)
        pace = WORDS_PER_MINUTE[lang.split("-")[0].lower()]
        argv = [self._program, "-v", voice, "-b", "1", "-s", str(pace), "-a", _AMPLITUDE, "--stdin", "--stdout"]
        try:
            ended = run(argv, said.encode(), timeout_s=self._timeout_s, output_bytes_max=OUTPUT_BYTES_MAX)
            sound = wav.read(ended.output)
        except ChildFailed as error:
            raise SpeechFailed(str(error), retry=error.code in ("too_slow", "refused")) from error
        except wav.WavRefused as error:
            raise SpeechFailed(str(error), retry=False) from error
        if not wav.audible(sound):
            raise SpeechFailed("the engine returned silence", retry=False)
        return wav.write(sound)
