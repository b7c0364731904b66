"""Incidents (事件): signals of one hazard, near in space and time, and what can happen to them. Data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .risk import Witness
from .signals import Place, Signal, Use

USELESS_NEVER_US = 10 * 365 * 86_400_000_000
"""Lateness after which a timer's event is still of use."""


class IncidentState(StrEnum):
    SUSPECTED = "suspected"
    VERIFYING = "verifying"
    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    CLOSED = "closed"


class Verdict(StrEnum):
    """What an office answers."""

    CONFIRM = "confirm"
    REFUTE = "refute"
    UNSURE = "unsure"


class Air(StrEnum):
    """Where the incident's present alert is: not released yet, on air, stopped and perhaps resumed, or over."""

    NOT_YET = "not_yet"
    ON_AIR = "on_air"
    STOPPED = "stopped"
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `area` is where its office is sought; `cell` says where it was opened; times are µs UTC.

    `alert` is the newest broadcast drafted for it and `air` where that is. `alerted` says that some alert of it has
    been on air: the standing order is then spent. `held` says that its source took its word back, `refuted_us` when
    people last refuted it, 0 for never or for confirmed since. `lifted` says that its alert ended with a correction or
    an all-clear and nobody reported anything since.

    `task` is the question that is open, and `second_task` the other one where two people are asked at once.
    `standing_stopped` says why its standing order no longer acts on what was reported until then; empty when it may.

    `rules` is the version of the rules that it was last rated by. `inhibited_by` names the graver incident that mutes
    it, `silenced` counts signals that a silence kept from it. `minute_us` and `minute_count` count its signals in the
    present minute, `unlogged` those without a log line of their own; `redraft_waits` says that a draft is due soon.
    `judged` and `judged_reporters` are what an office said last, and of whom that was counted.
    """

    id: str
    use: Use
    hazard: str
    event_code: str
    playbook: str
    state: IncidentState
    level: int
    reasons: tuple[str, ...]
    place: Place
    venue: str | None
    area: str
    cell: str
    lat_e7: int | None
    lon_e7: int | None
    opened_us: int
    last_signal_us: int
    signal_count: int = 0
    witnesses: tuple[Witness, ...] = ()
    headline: str = ""
    task: str = ""
    alert: str = ""
    air: Air = Air.NOT_YET
    alerted: bool = False
    held: bool = False
    refuted_us: int = 0
    unanswered: bool = False
    rules: str = ""
    lifted: bool = False
    inhibited_by: str = ""
    inhibited_why: str = ""
    silenced: int = 0
    minute_us: int = 0
    minute_count: int = 0
    unlogged: int = 0
    redraft_waits: bool = False
    judged: str = ""
    judged_reporters: tuple[str, ...] = ()
    shadow: str = ""
    second_task: str = ""
    standing_stopped: str = ""
    version: int = 0

    @property
    def open(self) -> bool:
        return self.state is not IncidentState.CLOSED

    @property
    def tasks(self) -> tuple[str, ...]:
        """The questions that are open, or were last."""
        return tuple(task for task in (self.task, self.second_task) if task)

    @property
    def alert_released(self) -> bool:
        """Whether the newest alert has left the draft."""
        return self.air is not Air.NOT_YET

    @property
    def drafts(self) -> bool:
        """Whether an alert may be drafted for it now: it stands, nothing mutes it, and none is on air or may be
        resumed."""
        stands = self.open and self.state is not IncidentState.REFUTED and not self.inhibited_by
        return stands and self.air in (Air.NOT_YET, Air.OVER)


@dataclass(frozen=True, slots=True)
class SignalJoined:
    """A signal of the incident, with the place as it is now. `taken_back` names who no longer witnesses after a cancel,
    as (reporter, device); None means the canceller itself. `silenced` says that a silence keeps it from counting."""

    signal: Signal
    witness: Witness | None
    place: Place
    taken_back: tuple[tuple[str, str], ...] | None = None
    silenced: bool = False


@dataclass(frozen=True, slots=True)
class DevicesUntrusted:
    """These witnesses, as (reporter, device), may no longer release anything by what they have said: people say so of
    their panel or sensor."""

    witnesses: tuple[tuple[str, str], ...]
    why: str
    person: str


@dataclass(frozen=True, slots=True)
class MinuteOver:
    """The minute is over in which signals had no log line of their own."""


@dataclass(frozen=True, slots=True)
class RedraftDue:
    """The draft has waited long enough for more."""


@dataclass(frozen=True, slots=True)
class Inhibited:
    """A graver incident mutes this one, until `until_us` at first."""

    by: str
    why: str
    until_us: int


@dataclass(frozen=True, slots=True)
class Uninhibited:
    why: str


@dataclass(frozen=True, slots=True)
class OfficeAnswered:
    task: str
    office: str
    person: str
    verdict: Verdict
    note: str


@dataclass(frozen=True, slots=True)
class LadderEnded:
    """No office answered. `missed` says why a release may no longer come from this timer; empty when it may."""

    task: str
    missed: str = ""


@dataclass(frozen=True, slots=True)
class AlertReleased:
    broadcast: str


@dataclass(frozen=True, slots=True)
class AlertStopped:
    broadcast: str


@dataclass(frozen=True, slots=True)
class AlertOver:
    """An alert is off the air for good. `answered` says that a correction or an all-clear took its place."""

    broadcast: str
    how: str
    answered: bool


@dataclass(frozen=True, slots=True)
class NotBroadcast:
    """A person decides not to broadcast, whether or not anything was drafted."""

    person: str
    why: str


@dataclass(frozen=True, slots=True)
class Close:
    person: str
    why: str


IncidentEvent = (
    SignalJoined
    | DevicesUntrusted
    | MinuteOver
    | RedraftDue
    | Inhibited
    | Uninhibited
    | OfficeAnswered
    | LadderEnded
    | AlertReleased
    | AlertStopped
    | AlertOver
    | NotBroadcast
    | Close
)
