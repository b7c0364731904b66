"""Effects: what a decision wants done. Some are carried out in the same transaction, some are saved and relayed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias


class Carry(StrEnum):
    """Saved effects, by what carries them out."""

    PUBLISH_STREAM = "publish_stream"
    PUBLISH_CONFIG = "publish_config"
    OFFICE_TASK = "office_task"
    ASK_MISSING = "ask_missing"
    RENDER_AUDIO = "render_audio"
    RENDER_AHEAD = "render_ahead"
    CANARY = "canary"
    POLL_FEED = "poll_feed"


class Timer(StrEnum):
    """Every timer there is: what kind of subject it is of, and what it is for. One runs per subject."""

    RUNG = "task/rung"
    EXPIRES = "broadcast/expires"
    PROVE = "broadcast/prove"
    GROUND = "broadcast/ground"
    RESUME = "broadcast/resume"
    REFRESH = "stream/refresh"
    POLL = "poll/due"
    SOURCE_SILENT = "source/silent"
    LOOK = "sighting/look"
    REFUSED = "refused/look"
    MINUTE = "incident/minute"
    REDRAFT = "incident/redraft"
    INHIBITION = "incident/inhibition"
    SILENCE_END = "silence/end"
    WITHDRAWAL_END = "withdrawal/end"
    CANARY = "worker/canary"
    PANEL_REQUEST = "panel_request/deadline"
    PANEL_MAINTENANCE = "panel/maintenance"
    SENSOR_MAINTENANCE = "sensor/maintenance"


@dataclass(frozen=True, slots=True)
class Save:
    """Save an effect for the relay, to be tried as `retries` says. One is open per lane; asking again while it is open
    makes it run once more."""

    carry: Carry
    subject: str

    @property
    def lane(self) -> str:
        return f"{self.carry}:{self.subject}"


@dataclass(frozen=True, slots=True)
class Record:
    """One line of the log: what became true of `subject`, who did it, and why."""

    kind: str
    subject: str
    why: str
    person: str = ""
    facts: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WakeAt:
    """A timer row. After `useless_after_us` its event says it came too late. One that is set already moves, but with
    `only_sooner` never to a later time."""

    timer: Timer
    subject: str
    due_us: int
    useless_after_us: int
    only_sooner: bool = False


@dataclass(frozen=True, slots=True)
class Sleep:
    """Remove a timer that has lost its purpose."""

    timer: Timer
    subject: str


@dataclass(frozen=True, slots=True)
class AskOffice:
    """Open a task for the offices of a place; on the `short` ladder none is waited for longer than a minute."""

    incident: str
    kind: str
    venue: str | None
    area: str
    why: str
    short: bool = False


@dataclass(frozen=True, slots=True)
class AskTwo:
    """Ask two people at once, each by a task of their own on the short ladder: none waits for the other's silence."""

    incident: str
    why: str


@dataclass(frozen=True, slots=True)
class WithdrawTask:
    """Nobody needs to answer this task any longer."""

    task: str
    why: str


@dataclass(frozen=True, slots=True)
class PrepareBroadcast:
    """Draft the playbook's order for this incident, with its correction and all-clear."""

    incident: str


@dataclass(frozen=True, slots=True)
class ReleaseStanding:
    """Release the incident's alert under its playbook's standing order; `rule` says what of it covers the case."""

    incident: str
    rule: str


@dataclass(frozen=True, slots=True)
class HoldBroadcast:
    """The incident no longer stands: drafts not yet released are held."""

    incident: str
    why: str


@dataclass(frozen=True, slots=True)
class RecallPeople:
    """The broadcast is off the air: people sent out to read it aloud at silent venues are called back."""

    broadcast: str
    why: str


@dataclass(frozen=True, slots=True)
class LearnVerdict:
    """An office judged what these reporters said: counted for `judged`, and no longer for `before` where that was
    said of them first. The words are "confirmed" and "refuted"."""

    use: str
    reporters: tuple[str, ...]
    judged: str
    before: str = ""


@dataclass(frozen=True, slots=True)
class RaiseSilence:
    """Make a case of a source's silence."""

    source: str


@dataclass(frozen=True, slots=True)
class EndSilence:
    """A source of this incident speaks again: nothing is left of its part in it."""

    incident: str


@dataclass(frozen=True, slots=True)
class TellIncident:
    """Pass an event on to the incident in the same transaction."""

    incident: str
    event: object


Effect: TypeAlias = (
    Save
    | Record
    | WakeAt
    | Sleep
    | AskOffice
    | AskTwo
    | WithdrawTask
    | PrepareBroadcast
    | ReleaseStanding
    | HoldBroadcast
    | RecallPeople
    | LearnVerdict
    | RaiseSilence
    | EndSilence
    | TellIncident
)
