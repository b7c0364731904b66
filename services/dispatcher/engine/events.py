"""What reaches the engine from the edges. Receipts and heartbeats have a door of their own in `receipts`."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.broadcasts import BroadcastEvent
from ..domain.incidents import Verdict
from ..domain.panels import RequestEvent, RequestKind
from ..domain.polling import PollEvent
from ..domain.signals import Panel, Sensor, Signal, Unread
from ..domain.silences import Silence
from .rows import Asset, TimerRow


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
class NothingBroadcast:
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
    """An effect was tried long enough for people to be told. `again` says whether trying on makes sense."""

    lane: str
    reason: str
    again: bool = False


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


@dataclass(frozen=True, slots=True)
class PollTold:
    """What became of asking a polled feed, by the feed's id, at `at_us`."""

    poll: str
    at_us: int
    event: PollEvent


@dataclass(frozen=True, slots=True)
class SourceHeard:
    """A sign of life of a source (`domain/rhythm.source_id`); `state` is a sensor's where it has changed."""

    source: str
    at_us: int
    state: str = ""


@dataclass(frozen=True, slots=True)
class PanelAsked:
    """A person asks something of a fire panel; `minutes` is how long its people have to answer a duty check."""

    kind: RequestKind
    panel: str
    person: str
    why: str
    minutes: int = 0


@dataclass(frozen=True, slots=True)
class PanelReplied:
    """What a gateway did with a request to a panel, or what came back."""

    request: str
    reply: RequestEvent


@dataclass(frozen=True, slots=True)
class PanelClockOff:
    """A panel's clock is off by so many seconds; None when it says no date."""

    panel: str
    off_s: int | None


Maintained = type[Panel] | type[Sensor]


@dataclass(frozen=True, slots=True)
class MaintenanceChanged:
    """A panel or a sensor is under maintenance until `until_us`, or no longer when that is None."""

    kind: Maintained
    id: str
    person: str
    reason: str
    until_us: int | None


@dataclass(frozen=True, slots=True)
class AccountTaken:
    """The broker ended a connection of a gateway because somebody has connected under its client id: `account` is that
    id, `gateway` the lease that it belongs to, and `owner` the process that held the connection. `said` is False where
    the broker only hangs up again and again."""

    account: str
    gateway: str
    owner: str
    said: bool = True


Event = (
    SignalArrived
    | UnreadArrived
    | TaskAnswered
    | BroadcastAct
    | IncidentClosed
    | NothingBroadcast
    | TimerDue
    | AudioRendered
    | EffectGaveUp
    | ServiceChanged
    | SilenceMade
    | SilenceEnded
    | CanaryAnswered
    | PollTold
    | SourceHeard
    | PanelAsked
    | PanelReplied
    | PanelClockOff
    | MaintenanceChanged
    | AccountTaken
)


@dataclass(slots=True)
class Outcome:
    """What a batch did, for metrics and answers. `reused` are signals that came under the key of another report,
    `tried_on` the lanes of effects that people were told of and that are still wanted."""

    created: list[str] = field(default_factory=list)
    repeated: int = 0
    incidents: list[str] = field(default_factory=list)
    reused: list[Signal] = field(default_factory=list)
    tried_on: list[str] = field(default_factory=list)
