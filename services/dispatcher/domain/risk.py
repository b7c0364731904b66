"""Risk: a level with its reasons in words, from who reports, how many of them are independent, how often they were
right, and where and when it is. Pure.

What may act by itself follows from the witnesses alone; history and circumstances only ever weigh the level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .playbook import Corroboration, Playbook, Target
from .rules import CircumstanceRule, Rules
from .signals import Evidence

LEVEL_UNKNOWN_HAZARD = 3
# A member asked of its class costs more than the comparison it is for, and a storm compares many witnesses.
_DETECTOR, _CALL_POINT = Evidence.DETECTOR, Evidence.CALL_POINT
_AUTHORITY, _PERSON = Evidence.AUTHORITY, Evidence.PERSON
HISTORIES_SHOWN_MAX = 3


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


@dataclass(frozen=True, slots=True)
class History:
    """What offices said of a reporter's incidents, in one use: `id` is made by `history_id`."""

    id: str
    confirmed: int = 0
    refuted: int = 0

    @property
    def verdicts(self) -> int:
        return self.confirmed + self.refuted

    @property
    def reliability(self) -> float:
        """Between 0 and 1, one half before anything is known: two made-up verdicts, one of each, stand beside."""
        return (self.confirmed + 1) / (self.verdicts + 2)

    def judged(self, verdict: str, before: str = "") -> History:
        """With one verdict more, "confirmed" or "refuted", instead of the one `before`."""
        more = {word: (verdict == word) - (before == word) for word in ("confirmed", "refuted")}
        return History(self.id, max(0, self.confirmed + more["confirmed"]), max(0, self.refuted + more["refuted"]))

    @property
    def words(self) -> str:
        return f"{self.confirmed} confirmed, {self.refuted} refuted of {self.verdicts}"


def history_id(use: str, reporter: str) -> str:
    """What a reporter says in earnest and in drills is judged apart."""
    return f"{use}/{reporter}"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known beside the witnesses: the rules, histories by reporter, the kind of venue and the time, µs UTC."""

    rules: Rules = Rules()
    histories: Mapping[str, History] = field(default_factory=dict)
    hazard: str = ""
    venue_kind: str = ""
    at_us: int | None = None


NOTHING_KNOWN = Circumstances()


def rate(witnesses: tuple[Witness, ...], playbook: Playbook | None, around: Circumstances = NOTHING_KNOWN) -> Rating:
    """Rate an incident. A single detector never corroborates itself."""
    plain = _rate(witnesses, playbook)
    level, reasons = plain.level, list(plain.reasons)
    for rule in around.rules.circumstances:
        if level > rule.gravest and _holds(rule, plain, around):
            level -= 1
            reasons.append(f"{rule.reason}: one level graver")
            break
    trust = around.rules.reliability
    if around.histories:
        reporters = {w.reporter for w in witnesses}
        known = [h for r, h in around.histories.items() if r in reporters and h.verdicts]
        known.sort(key=lambda h: (-h.verdicts, h.id))
        reasons += [f"{_whose(h, known)}: {h.words}" for h in known[:HISTORIES_SHOWN_MAX]]
    if trust.doubtful_lowers and not plain.corroborated and 1 < level < 4 and _doubtful(witnesses, around):
        level += 1
        reasons.append("nothing corroborates it and offices refuted most of what its reporters said: one level less")
    return Rating(level, tuple(reasons), plain.corroborated, plain.automatic)


def _whose(history: History, known: list[History]) -> str:
    return "this reporter" if len(known) == 1 else f"the reporter {history.id.partition('/')[2]}"


def _doubtful(witnesses: tuple[Witness, ...], around: Circumstances) -> bool:
    """Every one of them was heard often enough, and was mostly wrong."""
    trust = around.rules.reliability
    found = [around.histories.get(w.reporter) for w in witnesses]
    return bool(found) and all(
        h is not None and h.verdicts >= trust.seen_min and h.reliability < trust.doubtful_below for h in found
    )


def _holds(rule: CircumstanceRule, plain: Rating, around: Circumstances) -> bool:
    if rule.corroborated_only and not plain.corroborated:
        return False
    if rule.hazards is not None and around.hazard not in rule.hazards:
        return False
    if rule.venue_kinds is not None and around.venue_kind not in rule.venue_kinds:
        return False
    if rule.hours is None:
        return True
    if around.at_us is None:
        return False
    hour, (start, end) = around.rules.local_hour(around.at_us), rule.hours
    return start <= hour < end if start <= end else hour >= start or hour < end


def lone_detector(witnesses: tuple[Witness, ...]) -> bool:
    """Whether one device and nothing else speaks: a detector, or a panel that may be repeating it."""
    machines = (Evidence.DETECTOR, Evidence.PANEL)
    return bool(witnesses) and not corroborations(witnesses) and all(w.evidence in machines for w in witnesses)


def may_draft(witnesses: tuple[Witness, ...], playbook: Playbook, venue: str | None, confirmed: bool) -> bool:
    """A single detector never starts a broadcast beyond its own venue, whatever playbooks and rules say: another
    witness does, or a person's word."""
    own_venue_alone = playbook.target is Target.VENUE and venue is not None
    return confirmed or own_venue_alone or not lone_detector(witnesses)


def _rate(witnesses: tuple[Witness, ...], playbook: Playbook | None) -> Rating:
    """What the witnesses say, before anything else weighs in."""
    found = corroborations(witnesses)
    trusted = tuple([w for w in witnesses if w.automatic])
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
    detectors = ((w.reporter, w.device) for w in witnesses if w.evidence is _DETECTOR)
    first = next(detectors, None)
    found = []
    if first is not None and any(other != first for other in detectors):
        found.append(Corroboration.TWO_DETECTORS)
    if first is not None and _CALL_POINT in kinds:
        found.append(Corroboration.DETECTOR_AND_CALL_POINT)
    if _AUTHORITY in kinds:
        found.append(Corroboration.AUTHORITY)
    if _PERSON in kinds:
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
