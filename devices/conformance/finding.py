"""What a check is, what it found, and what several checks ask of the bench."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from devices.conformance.bench import Bench
from devices.protocols import speaker_link as link
from devices.protocols.speaker_link import StepKind

SOUND_S_MAX = 90.0
"""A repeat of three characters, with preface and signals, is over by then."""
STATE_S_MAX = 15.0
TOLD_STEPS_MAX = 12


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that must hold. `section` is the page's."""

    text: str
    section: str
    required: bool = True

    def found(self, holds: bool, seen: str, wanted: str = "") -> Finding:
        """What came of it; `wanted` is what was expected, said only where it did not come."""
        return Finding(self, holds, seen if holds or not wanted else f"expected {wanted}; seen: {seen}")

    def untried(self, why: str) -> Finding:
        """What the check is about never happened, so that nothing was seen for it or against it."""
        return Finding(self, None, why)


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found. `holds` None means that it was not tried, and `seen` says why."""

    check: Check
    holds: bool | None
    seen: str


Checks = dict[str, Check]
Finder = Callable[[Bench], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class Part:
    """Checks that are made together, in this order. `sounds` is for those that need a device that plays."""

    checks: tuple[Check, ...]
    finder: Finder
    sounds: bool = False


def untried(checks: Checks, why: str, *names: str) -> Iterator[Finding]:
    """These checks, or all of them, as not tried."""
    for name in names or checks:
        yield checks[name].untried(why)


def state_of(b: Bench) -> link.SpeakerState:
    assert b.state is not None
    return b.state


def version_held(b: Bench, check: Check, held: Callable[[], int], wanted: int) -> Finding:
    holds = b.until(lambda: held() == wanted, STATE_S_MAX)
    refused = {reason for receipt, _ in b.receipts.values() if not receipt.order for reason in _reasons(receipt)}
    seen = f"version {held()}" + (f", documents refused: {', '.join(sorted(refused))}" if refused and not holds else "")
    return check.found(holds, seen, f"version {wanted} in its state within {STATE_S_MAX:.0f} s")


def _reasons(receipt: link.Receipt) -> list[str]:
    return [step.reason for step in receipt.steps if step.reason]


def begins(b: Bench, order: str, within_s: float = SOUND_S_MAX, repeats: int = 0) -> bool:
    """Wait until an order begins, or more repeats than `repeats` of it have begun."""
    return b.until(lambda: len(b.said(order, StepKind.PLAYING)) > repeats, within_s, f"is to begin the order {order}")


def never_began(b: Bench, order: str) -> str:
    return f"the order {order} did not begin within {SOUND_S_MAX:.0f} s: {told(b, order)}"


def is_finished(b: Bench, order: str, repeat: int) -> bool:
    return b.has(order, StepKind.FINISHED, repeat=repeat)


def starts(b: Bench) -> int:
    return sum(step.kind is StepKind.PLAYING for receipt, _ in b.receipts.values() for step in receipt.steps)


def told(b: Bench, order: str) -> str:
    """The receipts of an order, the last ones, each with its reason."""
    said = [
        f"{each.step.kind}: {each.step.reason}" if each.step.reason else str(each.step.kind) for each in b.said(order)
    ]
    cut = ["…"] if len(said) > TOLD_STEPS_MAX else []
    return ", ".join([*cut, *said[-TOLD_STEPS_MAX:]]) or "no receipt"
