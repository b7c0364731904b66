"""Playbooks (预案): which signals, who verifies, what is said, to whom, who must release, what if nobody answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from .signals import Signal


class Corroboration(StrEnum):
    """What turns a suspicion into something a standing order may act on."""

    TWO_DETECTORS = "two_detectors"
    DETECTOR_AND_CALL_POINT = "detector_and_call_point"
    AUTHORITY = "authority"
    PERSON = "person"


class Target(StrEnum):
    """Whom the order is for: the venue of the incident, or the places its signals name."""

    VENUE = "venue"
    PLACES = "places"


class OnUnanswered(StrEnum):
    """Where the ladder ends when no office answers."""

    HOLD = "hold"
    RELEASE = "release"


@dataclass(frozen=True, slots=True)
class Rung:
    """One step of a ladder: `up` counts offices upward from the place (-1 is the topmost), then the wait in seconds."""

    up: int
    answer_timeout_s: int


@dataclass(frozen=True, slots=True)
class Spoken:
    """What is said, per language; `{place}` is filled in."""

    alert: dict[str, str]
    correction: dict[str, str]
    all_clear: dict[str, str]


@dataclass(frozen=True, slots=True)
class StandingOrder:
    """Release without people: for these corroborations, and only at the venue that raised the alarm."""

    covers: tuple[Corroboration, ...]
    on_unanswered: OnUnanswered


@dataclass(frozen=True, slots=True)
class Playbook:
    """One playbook. `version` is the hash of its file; `levels` maps corroborated / uncorroborated to a level 1–4."""

    id: str
    version: str
    title: dict[str, str]
    hazard: str
    hazard_names: dict[str, str]
    event_code: str
    venue_kinds: tuple[str, ...] | None
    claimed_levels: tuple[int, ...] | None
    join_within_s: int
    level_suspected: int
    level_corroborated: int
    corroborated_by: tuple[Corroboration, ...]
    verify: tuple[Rung, ...]
    question: dict[str, str]
    target: Target
    order_class: str
    spoken: Spoken
    volume: int | str
    repeat: int
    gap_s: int
    valid_s: int
    prove_within_s: int
    standing: StandingOrder | None = None


def matching(playbooks: Sequence[Playbook], signal: Signal, venue_kind: str | None) -> Playbook | None:
    """The first playbook for the signal's hazard, venue kind and claimed level, in file order."""
    for playbook in playbooks:
        if playbook.hazard != signal.hazard:
            continue
        if playbook.venue_kinds is not None and venue_kind not in playbook.venue_kinds:
            continue
        if playbook.claimed_levels is not None and signal.claimed_level not in playbook.claimed_levels:
            continue
        return playbook
    return None
