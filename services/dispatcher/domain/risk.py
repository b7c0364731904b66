"""Risk: a level with its reasons in words, from who reports and how many of them are independent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from .playbook import Corroboration, Playbook
from .signals import Evidence

LEVEL_UNKNOWN_HAZARD = 3
# A member asked of its class costs more than the comparison it is for, and a storm compares many witnesses.
_DETECTOR = Evidence.DETECTOR


@dataclass(frozen=True, slots=True)
class Witness:
    """One independent reporter of an incident: a device of a panel, an authority, a person.

    `automatic` is False when its word may never release by itself: test bit, maintenance, not enrolled, or too old.
    """

    reporter: str
    device: str
    evidence: Evidence
    automatic: bool
    claimed_level: int | None = None


@dataclass(frozen=True, slots=True)
class Rating:
    """A level 1 (red) to 4 (blue), the reasons for it, and what corroborates it with and without people's care."""

    level: int
    reasons: tuple[str, ...]
    corroborated: tuple[Corroboration, ...]
    automatic: tuple[Corroboration, ...]


def rate(witnesses: tuple[Witness, ...], playbook: Playbook | None) -> Rating:
    """Rate an incident. A single detector never corroborates itself."""
    found = corroborations(witnesses)
    trusted = tuple(w for w in witnesses if w.automatic)
    automatic = found if len(trusted) == len(witnesses) else corroborations(trusted)
    claimed = [w.claimed_level for w in witnesses if w.claimed_level is not None]
    if playbook is None:
        level = min(claimed, default=LEVEL_UNKNOWN_HAZARD)
        return Rating(level, ("no playbook for this hazard and place: people decide",), found, ())
    counted = tuple(c for c in found if c in playbook.corroborated_by)
    level = playbook.level_corroborated if counted else playbook.level_suspected
    reasons = tuple(f"{_number(witnesses)}: {_words(c)}" for c in counted) or (_alone(witnesses),)
    if len(trusted) < len(witnesses):
        reasons += ("a witness with its test bit set, under maintenance or heard late never releases by itself",)
    if claimed:
        reasons += (f"the reporter claims level {min(claimed)}",)
        if Corroboration.AUTHORITY in counted:
            level = min(level, *claimed)
    return Rating(level, reasons, counted, tuple(c for c in automatic if c in playbook.corroborated_by))


def corroborations(witnesses: tuple[Witness, ...]) -> tuple[Corroboration, ...]:
    """Which corroborations these witnesses make together. Two reports of one device are one witness."""
    kinds = {w.evidence for w in witnesses}
    detectors = {(w.reporter, w.device) for w in witnesses if w.evidence is _DETECTOR}
    found = []
    if len(detectors) >= 2:
        found.append(Corroboration.TWO_DETECTORS)
    if detectors and Evidence.CALL_POINT in kinds:
        found.append(Corroboration.DETECTOR_AND_CALL_POINT)
    if Evidence.AUTHORITY in kinds:
        found.append(Corroboration.AUTHORITY)
    if Evidence.PERSON in kinds:
        found.append(Corroboration.PERSON)
    return tuple(found)


def _alone(witnesses: tuple[Witness, ...]) -> str:
    kinds = sorted({str(w.evidence) for w in witnesses})
    return f"{_number(witnesses)} ({', '.join(kinds)}): not corroborated"


def _number(witnesses: tuple[Witness, ...]) -> str:
    return "1 witness" if len(witnesses) == 1 else f"{len(witnesses)} witnesses"


def _words(corroboration: Corroboration) -> str:
    return {
        Corroboration.TWO_DETECTORS: "two different detectors",
        Corroboration.DETECTOR_AND_CALL_POINT: "a detector and a manual call point",
        Corroboration.AUTHORITY: "the responsible authority",
        Corroboration.PERSON: "a person's word",
    }[corroboration]
