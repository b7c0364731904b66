"""What reaches the engine from the edges. Receipts and heartbeats have a door of their own in `receipts`."""

from __future__ import annotations

from dataclasses import dataclass

from ..domain.broadcasts import BroadcastEvent
from ..domain.incidents import Verdict
from ..domain.signals import Signal, Unread
from ..domain.silences import Silence
from .ports import Asset, TimerRow


@dataclass(frozen=True, slots=True)
class SignalArrived:
    signal: Signal


@dataclass(frozen=True, slots=True)
class UnreadArrived:
    unread: Unread


@dataclass(frozen=True, slots=True)
class TaskAnswered:
    task: str
    person: str
    office: str
    verdict: Verdict
    note: str = ""


@dataclass(frozen=True, slots=True)
class BroadcastAct:
    """A person's act upon a broadcast: release, decline, stop, resume."""

    broadcast: str
    act: BroadcastEvent


@dataclass(frozen=True, slots=True)
class IncidentClosed:
    incident: str
    person: str
    why: str


@dataclass(frozen=True, slots=True)
class NotBroadcast:
    """A person decides not to broadcast for an incident; a draft that waits is declined with it."""

    incident: str
    person: str
    roles: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class TimerDue:
    """A due timer row. `missed` says why it may no longer cause a release; empty when it may."""

    timer: TimerRow
    missed: str = ""


@dataclass(frozen=True, slots=True)
class AudioRendered:
    asset: Asset


@dataclass(frozen=True, slots=True)
class EffectGaveUp:
    lane: str
    reason: str


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """A speaker goes out of service until `until_us`, or comes back when that is None."""

    speaker: str
    person: str
    reason: str
    until_us: int | None


@dataclass(frozen=True, slots=True)
class SilenceMade:
    """A person silences; the engine gives it its id and its beginning."""

    silence: Silence


@dataclass(frozen=True, slots=True)
class SilenceEnded:
    """A person ends a silence before its time."""

    silence: str
    person: str
    why: str


@dataclass(frozen=True, slots=True)
class CanaryAnswered:
    asked_us: int


Event = (
    SignalArrived
    | UnreadArrived
    | TaskAnswered
    | BroadcastAct
    | IncidentClosed
    | NotBroadcast
    | TimerDue
    | AudioRendered
    | EffectGaveUp
    | ServiceChanged
    | SilenceMade
    | SilenceEnded
    | CanaryAnswered
)
