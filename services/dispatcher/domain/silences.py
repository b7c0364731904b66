"""Silences (静默): a person mutes what a reporter, a device, a hazard or an area sends, for a reason and a time. Pure.

A silenced signal is stored and counted; it opens nothing and asks nobody. A silence never covers a call point, a
cancel, a red, what people say of a fire, nor a hazard of `silence_never_alone` (fire always) that a second device
corroborates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .places import AreaTree
from .refusals import Refused
from .rules import FIRE, Rules
from .signals import Evidence, Signal, SignalKind, Use

ACTIVE_MAX = 200
MINUTE_US = 60_000_000


class SilenceRefused(Refused):
    """A silence needs something to match, a reason, and an end within the hours that the rules allow."""

    code = "silence_refused"


class TooManySilences(Refused):
    """There are too many silences already: end one that is no longer needed."""

    code = "too_many_silences"


@dataclass(frozen=True, slots=True)
class Silence:
    """What is silenced: every matcher that is not empty must fit. Times µs UTC; `active` until its end or its ending.

    `count` is how many signals it silenced, `passed` how many it would have but for the rules of safety.
    """

    id: str
    use: Use
    author: str
    reason: str
    made_us: int
    until_us: int
    reporter: str = ""
    device: str = ""
    hazard: str = ""
    area: str = ""
    active: bool = True
    ended_by: str = ""
    ended_us: int = 0
    count: int = 0
    passed: int = 0
    version: int = 0


@dataclass(frozen=True, slots=True)
class SilencedWord:
    """The newest silenced word of one device at one place, so that a second device can still corroborate it.

    `id` is made of place and device; `cell` is where it is looked for.
    """

    id: str
    silence: str
    use: Use
    hazard: str
    cell: str
    signal: Signal


def check(silence: Silence, rules: Rules, tree: AreaTree, now_us: int) -> None:
    """Raises SilenceRefused when it may not be made."""
    if not (silence.reporter or silence.device or silence.hazard or silence.area):
        raise SilenceRefused("nothing to match")
    if silence.area and silence.area not in tree.areas:
        raise SilenceRefused(f"no such area: {silence.area[:32]}")
    if not now_us < silence.until_us <= now_us + rules.silence_h_max * 60 * MINUTE_US:
        raise SilenceRefused(f"at most {rules.silence_h_max} h")
    if not silence.reason.strip():
        raise SilenceRefused("no reason")


def covering(silences: Sequence[Silence], signal: Signal, line: Sequence[str], now_us: int) -> Silence | None:
    """The silence that fits this signal, the one that ends last; `line` is the signal's areas and those above."""
    fitting = [s for s in silences if s.active and s.made_us <= now_us < s.until_us and _fits(s, signal, line)]
    return max(fitting, key=lambda s: (s.until_us, s.id), default=None)


def may_be_silenced(signal: Signal) -> bool:
    """Cancels, calls for help by hand, what people say of a fire and the red of anybody are heard whatever is
    silenced."""
    if signal.kind is SignalKind.CANCEL or signal.evidence is Evidence.CALL_POINT or signal.claimed_level == 1:
        return False
    return not (signal.evidence in (Evidence.AUTHORITY, Evidence.PERSON) and signal.hazard == FIRE)


def never_alone(signal: Signal, rules: Rules) -> bool:
    """Whether a second device is enough to break the silence of this one."""
    return signal.hazard == FIRE or signal.hazard in rules.silence_never_alone


def _fits(silence: Silence, signal: Signal, line: Sequence[str]) -> bool:
    return (
        silence.use is signal.use
        and silence.reporter in ("", signal.reporter)
        and silence.device in ("", signal.device)
        and silence.hazard in ("", signal.hazard)
        and (not silence.area or silence.area in line)
    )
