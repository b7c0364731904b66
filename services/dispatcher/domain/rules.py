"""Rules (规则) of joining, storms, inhibition, silences and risk: data with a version, read from one file. Pure.

The defaults here are what holds where a file says nothing; `version` is the hash of the file's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

FIRE = "fire"
SILENCE_H_MAX = 24


class Areas(StrEnum):
    """When two reports of named areas are one incident: a code in common, or also when one area holds the other."""

    SHARED = "shared"
    OVERLAP = "overlap"


@dataclass(frozen=True, slots=True)
class JoinRule:
    """How near is near for one hazard: metres between points and shapes, and seconds since the last signal.

    `within_s` holds for incidents without a playbook; a playbook says its own.
    """

    distance_m: int = 1_000
    within_s: int = 3_600
    areas: Areas = Areas.SHARED


@dataclass(frozen=True, slots=True)
class InhibitionRule:
    """A standing incident of `level` or graver mutes those of `mutes_levels` that lie wholly in its areas.

    `hazards` of the greater one, None for any; `mutes_hazards` of the lesser one, None for the same hazard as the
    greater's. Fires are muted only where `mutes_hazards` names them, incidents at a venue only with `venues` as well.
    It holds for `hold_s` after the last word about the greater one.
    """

    level: int
    mutes_levels: tuple[int, ...]
    hazards: tuple[str, ...] | None = None
    mutes_hazards: tuple[str, ...] | None = None
    venues: bool = False
    hold_s: int = 21_600


@dataclass(frozen=True, slots=True)
class CircumstanceRule:
    """Where and when the same report weighs more: the level is one graver, but never graver than `gravest`.

    `hours` are local hours from (inclusive) to (exclusive), over midnight when the first is the later one.
    """

    reason: str
    hazards: tuple[str, ...] | None = None
    venue_kinds: tuple[str, ...] | None = None
    hours: tuple[int, int] | None = None
    corroborated_only: bool = True
    gravest: int = 2


@dataclass(frozen=True, slots=True)
class ReliabilityRule:
    """What a reporter's history changes, and only for what nothing corroborates: a doubtful one's suspicion is one
    level less grave, but never from red. `seen_min` verdicts come first."""

    seen_min: int = 8
    doubtful_below: float = 0.2
    doubtful_lowers: bool = False


@dataclass(frozen=True, slots=True)
class Rules:
    """All of them. `signals_a_minute_logged` is how many signals of one incident have a log line of their own in a
    minute; the rest share one. `cancel_waits_s` is how long a cancel waits for what it cancels."""

    version: str = "built-in"
    joining: Mapping[str, JoinRule] = field(default_factory=dict)
    joining_default: JoinRule = JoinRule()
    cancel_waits_s: int = 172_800
    signals_a_minute_logged: int = 20
    inhibition: tuple[InhibitionRule, ...] = ()
    silence_h_max: int = SILENCE_H_MAX
    silence_never_alone: tuple[str, ...] = (FIRE,)
    circumstances: tuple[CircumstanceRule, ...] = ()
    reliability: ReliabilityRule = ReliabilityRule()
    utc_offset_min: int = 480

    def join(self, hazard: str) -> JoinRule:
        """The joining rule of a hazard."""
        return self.joining.get(hazard, self.joining_default)

    def local_hour(self, at_us: int) -> int:
        """The hour of the day, 0 to 23, where the city is."""
        return (at_us // 60_000_000 + self.utc_offset_min) // 60 % 24
