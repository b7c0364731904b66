"""ffmpeg as a child process: loudness (EBU R 128) measured and set, and sound encoded. WAV in, bytes out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from .child import ChildEnded, ChildFailed, run

TARGET_LUFS = -16.0
PEAK_DBTP_MAX = -1.5
OPUS_BITS_PER_S = 24_000
RATE = 48_000
OUTPUT_BYTES_MAX = 64_000_000

# Opus at this bit rate overshoots the peaks it was given, by about 0.5 dB in speech; the limiter leaves 1.5 dB.
_LIMIT_DB = -3.0
# What a horn can't play is taken away, and loud syllables are held back, so that the weak ones carry over a square.
_SHAPE = "highpass=f=120,acompressor=threshold=0.06:ratio=3:attack=4:release=120"
_INTEGRATED = re.compile(r"\bI:\s+(-?[\d.]+|-inf|nan) LUFS")
_PEAK = re.compile(r"\bPeak:\s+(-?[\d.]+|-inf|nan) dBFS")
# Without the exact flags the Ogg stream number is random and equal sounds would have different hashes.
_EXACT = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:a", "+bitexact")


@dataclass(frozen=True, slots=True)
class Loudness:
    """Integrated loudness in LUFS and true peak in dBTP."""

    lufs: float
    peak_dbtp: float


@dataclass(frozen=True, slots=True)
class Ffmpeg:
    """One ffmpeg program by path or name. Every call raises child.ChildFailed when it gives no usable output."""

    program: str = "ffmpeg"
    timeout_s: float = 30.0

    def measure(self, sound: bytes, shape: str = "anull") -> Loudness:
        """Loudness of a whole file, in any codec, after a filter chain; a file of silence is refused."""
        chain = f"{shape},ebur128=peak=true:framelog=verbose"
        complaint = self._run(("-af", chain, "-f", "null", "-"), sound, "info").complaint
        lufs, peak = _INTEGRATED.findall(complaint), _PEAK.findall(complaint)
        if not lufs or not peak:
            raise ChildFailed("refused", "ffmpeg gave no loudness summary.")
        measured = Loudness(float(lufs[-1]), float(peak[-1]))
        if not measured.lufs > -70.0:
            raise ChildFailed("refused", "There is nothing to hear in this sound.")
        return measured

    def levelled(self, sound: bytes) -> bytes:
        """The sound at TARGET_LUFS as raw 16-bit mono PCM at RATE; peaks that would stand out are limited."""
        shape = f"aformat=channel_layouts=mono,{_SHAPE}"
        gain_db = TARGET_LUFS - self.measure(sound, shape).lufs
        limit = 10 ** (_LIMIT_DB / 20)
        chain = (
            f"{shape},volume={gain_db:.2f}dB,aresample={4 * RATE},"
            f"alimiter=limit={limit:.4f}:attack=2:release=30:level=false,aresample={RATE}"
        )
        return self._run(("-af", chain, "-ac", "1", "-f", "s16le", "-c:a", "pcm_s16le", "-"), sound).output

    def opus(self, sound: bytes) -> bytes:
        """Ogg Opus, mono, 24 kbit/s; the same sound gives the same bytes. Fails where libopus is not built in."""
        codec = ("-c:a", "libopus", "-b:a", str(OPUS_BITS_PER_S), "-vbr", "on", "-application", "audio")
        return self._run((*_EXACT, *codec, "-ac", "1", "-ar", str(RATE), "-f", "ogg", "-"), sound).output

    def _run(self, options: Sequence[str], sound: bytes, log: str = "error") -> ChildEnded:
        argv = (self.program, "-hide_banner", "-nostats", "-loglevel", log, "-i", "pipe:0", *options)
        return run(argv, sound, timeout_s=self.timeout_s, output_bytes_max=OUTPUT_BYTES_MAX)
