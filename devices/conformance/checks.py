"""Every check in the order in which it is made, and a run through them. A check may rest on those before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devices.conformance.bench import Bench, RunStopped
from devices.conformance.finding import Check, Finding, Part, starts
from devices.conformance.key_checks import REMOVED_KEY
from devices.conformance.link_checks import AFTER_SOUNDS, before_sounds, connects
from devices.conformance.papers import BenchPapers
from devices.conformance.sound_checks import SOUNDS
from devices.protocols.jws import SigningKey

RUN_STOPPED = "the run stopped"


@dataclass(frozen=True, slots=True)
class Trial:
    """What a run came to: a finding for every check, and why it stopped before its end, if it did."""

    findings: list[Finding]
    stopped: RunStopped | None = None

    def count(self, holds: bool | None, required: bool | None = None) -> int:
        """How many findings are of this kind; `required` None counts both."""
        kinds = [f for f in self.findings if f.holds is holds]
        return sum(required is None or f.check.required is required for f in kinds)

    @property
    def all_held(self) -> bool:
        """Whether everything required was tried and held."""
        return not self.stopped and all(f.holds for f in self.findings if f.check.required)


def parts(speaker: str) -> tuple[Part, ...]:
    """Every check of a run, in order."""
    named = BenchPapers(speaker, SigningKey.generate("names"))
    for topic in named.streams():
        named.signed(topic)
    return *before_sounds(named), *SOUNDS, REMOVED_KEY, *AFTER_SOUNDS


def all_checks(speaker: str) -> list[Check]:
    return [check for part in parts(speaker) for check in part.checks]


def trial(bench: Bench, device_s_max: float, found: Callable[[Finding], None]) -> Trial:
    """Make every check in turn, giving each finding to `found` as it comes."""
    findings: list[Finding] = []
    try:
        connects(bench, device_s_max)
        for part in parts(bench.papers.speaker):
            for finding in _tried(bench, part):
                findings.append(finding)
                found(finding)
    except RunStopped as stopped:
        left = all_checks(bench.papers.speaker)[len(findings) :]
        return Trial([*findings, *(check.untried(RUN_STOPPED) for check in left)], stopped)
    return Trial(findings)


def _tried(bench: Bench, part: Part) -> Iterator[Finding]:
    if part.sounds and not starts(bench):
        for check in part.checks:
            yield check.untried("nothing sounds on this device")
    else:
        yield from part.finder(bench)
