"""Incidents (事件): signals of one hazard, near in space and time. Pure: `decide(incident, event, …)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from .effects import AskOffice, Effect, HoldBroadcast, PrepareBroadcast, Record, ReleaseStanding
from .playbook import OnUnanswered, Playbook, Target
from .refusals import StillOnAir
from .risk import Rating, Witness, rate
from .signals import Place, Signal, SignalKind, Use

WITNESSES_MAX = 64
JOIN_DISTANCE_M = 1_000
JOIN_WITHIN_S_DEFAULT = 3_600
QUIET_AFTER_REFUTED_US = 600_000_000
"""The same device reporting again within this time of a refutation says nothing new."""


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
    """One incident. `area` is where its office is sought; `cell` is its ~1 km join cell; times are µs UTC.

    `alert` is the newest broadcast drafted for it and `air` where that is. `alerted` says that some alert of it has
    been on air: the standing order is then spent. `held` says that its source took its word back, `refuted_us` when
    people last refuted it, 0 for never or for confirmed since.
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
    version: int = 0

    @property
    def open(self) -> bool:
        return self.state is not IncidentState.CLOSED

    @property
    def alert_released(self) -> bool:
        """Whether the newest alert has left the draft."""
        return self.air is not Air.NOT_YET

    @property
    def drafts(self) -> bool:
        """Whether an alert may be drafted for it now: it stands, and none is on air or may be resumed."""
        return self.open and self.state is not IncidentState.REFUTED and self.air in (Air.NOT_YET, Air.OVER)


@dataclass(frozen=True, slots=True)
class SignalJoined:
    signal: Signal
    witness: Witness | None
    place: Place


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
    SignalJoined | OfficeAnswered | LadderEnded | AlertReleased | AlertStopped | AlertOver | NotBroadcast | Close
)


def decide(
    incident: Incident, event: IncidentEvent, playbook: Playbook | None, now_us: int
) -> tuple[Incident, list[Effect]]:
    """What an event makes of an incident. Late, repeated and contradicting events are ordinary.

    Raises StillOnAir for closing one whose alert sounds.
    """
    match event:
        case SignalJoined() if event.signal.kind is SignalKind.CANCEL:
            return _cancelled(_counted(incident, event.signal), event.signal, playbook)
        case SignalJoined():
            return _signal(incident, event, playbook)
        case OfficeAnswered():
            return _answered(incident, event, now_us)
        case LadderEnded():
            return _unanswered(incident, event, playbook)
        case AlertReleased():
            return replace(incident, alert=event.broadcast, air=Air.ON_AIR, alerted=True), []
        case AlertStopped() if event.broadcast == incident.alert:
            return replace(incident, air=Air.STOPPED), []
        case AlertOver() if event.broadcast == incident.alert:
            return _over(incident, event, playbook)
        case AlertStopped() | AlertOver():
            return incident, [Record("incident.other_alert_off", incident.id, f"{event.broadcast} was not its newest")]
        case NotBroadcast():
            return incident, [Record("incident.not_broadcast", incident.id, event.why, event.person)]
        case Close() if incident.air is Air.ON_AIR:
            raise StillOnAir
        case Close() if incident.open:
            closed = replace(incident, state=IncidentState.CLOSED)
            return closed, [
                HoldBroadcast(incident.id, "the incident is closed"),
                Record("incident.closed", incident.id, event.why, event.person),
            ]
        case Close():
            return incident, [Record("incident.closed_again", incident.id, "it was closed already", event.person)]
        case _:
            assert_never(event)


def _counted(incident: Incident, signal: Signal) -> Incident:
    last_us = max(incident.last_signal_us, signal.received_us)
    return replace(incident, signal_count=incident.signal_count + 1, last_signal_us=last_us)


def _signal(incident: Incident, event: SignalJoined, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    signal = event.signal
    if event.witness is None:
        return _counted(incident, signal), [Record("incident.noted", incident.id, signal.headline or signal.key)]
    witnesses = _with(incident.witnesses, event.witness)
    rating = rate(witnesses, playbook)
    rated = replace(
        incident,
        signal_count=incident.signal_count + 1,
        last_signal_us=max(incident.last_signal_us, signal.received_us),
        witnesses=witnesses,
        level=rating.level,
        reasons=rating.reasons,
        place=event.place,
        headline=incident.headline or signal.headline,
        held=False,
    )
    facts: dict[str, object] = {"signal": signal.key, "level": rating.level}
    effects: list[Effect] = [Record("incident.signal", incident.id, "; ".join(rating.reasons), facts=facts)]
    why = _asks_because(incident, event, rating)
    if why:
        rated = replace(rated, state=IncidentState.VERIFYING, unanswered=False)
        # A fire with the test bit releases nothing by itself: people are asked in quick turn.
        short = signal.test_bit and not event.witness.automatic
        effects.append(AskOffice(incident.id, "verify", incident.venue, incident.area, why, short))
    changed = [name for name in ("level", "place", "state", "held") if getattr(rated, name) != getattr(incident, name)]
    if playbook is not None and rated.drafts and (changed or not rated.alert or rated.air is Air.OVER):
        effects.append(PrepareBroadcast(incident.id))
    if rated.air is Air.ON_AIR and (rating.level < incident.level or event.place != incident.place):
        grown = f"its alert on air was released for level {incident.level} and {', '.join(changed)} changed since"
        effects.append(Record("incident.outgrown", incident.id, f"{grown}: stop it to release a new one"))
    return rated, [*effects, *_standing(rated, rating, playbook)]


def _asks_because(incident: Incident, event: SignalJoined, rating: Rating) -> str:
    """Why an office is to be asked for this report, empty when it is not: at first, and anew after a refutation."""
    if incident.state is IncidentState.SUSPECTED:
        return "; ".join(rating.reasons)
    if incident.state is not IncidentState.REFUTED or event.witness is None:
        return ""
    if _name(event.witness) not in map(_name, incident.witnesses):
        return "a further witness after it was refuted"
    if rating.level < incident.level:
        return "a graver report after it was refuted"
    if event.signal.received_us > incident.refuted_us + QUIET_AFTER_REFUTED_US:
        return "reported again, long after it was refuted"
    return ""


def _standing(incident: Incident, rating: Rating, playbook: Playbook | None) -> list[Effect]:
    """A standing order acts once, for what it covers, at the venue of the alarm alone, and never on what people have
    refuted and nobody has confirmed since."""
    if playbook is None or playbook.standing is None or playbook.target is not Target.VENUE:
        return []
    if incident.alerted or incident.refuted_us or not incident.drafts or incident.venue is None:
        return []
    covering = [c for c in rating.automatic if c in playbook.standing.covers]
    if not covering:
        return []
    return [ReleaseStanding(incident.id, f"{playbook.id}@{playbook.version}: {', '.join(covering)}")]


def _cancelled(incident: Incident, signal: Signal, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """A source takes its own word back, and nobody else's: what other witnesses say still counts."""
    left = tuple(w for w in incident.witnesses if (w.reporter, w.device) != (signal.reporter, signal.device))
    why = f"{signal.reporter} cancels {', '.join(signal.references) or signal.key}"
    if len(left) == len(incident.witnesses):
        return incident, [Record("incident.cancel_of_nothing", incident.id, f"{why}, but is no witness here")]
    record = Record("incident.source_cancelled", incident.id, why)
    if not left:
        taken_back = replace(incident, witnesses=(), reasons=(why,), held=True)
        hold: list[Effect] = [] if incident.alert_released else [HoldBroadcast(incident.id, why)]
        return taken_back, [record, *hold]
    rating = rate(left, playbook)
    rated = replace(incident, witnesses=left, level=rating.level, reasons=rating.reasons)
    redraft = playbook is not None and rated.drafts and rated.level != incident.level
    return rated, [record, *([PrepareBroadcast(incident.id)] if redraft else [])]


def _over(incident: Incident, event: AlertOver, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """When nobody said that the danger has passed, the next alert lies ready for people to release."""
    over = replace(incident, air=Air.OVER)
    effects: list[Effect] = [Record("incident.alert_over", incident.id, event.how)]
    if playbook is not None and over.drafts and not event.answered:
        effects.append(PrepareBroadcast(incident.id))
    return over, effects


def _answered(incident: Incident, event: OfficeAnswered, now_us: int) -> tuple[Incident, list[Effect]]:
    said: dict[str, object] = {"office": event.office, "verdict": event.verdict, "note": event.note, "task": event.task}
    record = Record("incident.answered", incident.id, f"{event.office}: {event.verdict}", event.person, said)
    if not incident.open:
        return incident, [replace(record, kind="incident.answered_late", why="the incident is closed")]
    match event.verdict:
        case Verdict.UNSURE:
            return incident, [record]
        case Verdict.CONFIRM:
            return _confirmed(incident, event, record)
        case Verdict.REFUTE:
            return _refuted(incident, event, record, now_us)
        case _:
            assert_never(event.verdict)


def _confirmed(incident: Incident, event: OfficeAnswered, record: Record) -> tuple[Incident, list[Effect]]:
    effects: list[Effect] = [record]
    if incident.state is IncidentState.REFUTED:
        effects.append(Record("incident.contradicted", incident.id, "confirmed after it was refuted", event.person))
    confirmed = replace(incident, state=IncidentState.CONFIRMED, refuted_us=0, held=False)
    if confirmed.drafts and confirmed.playbook and (confirmed.state, confirmed.held) != (incident.state, incident.held):
        effects.append(PrepareBroadcast(incident.id))
    return confirmed, effects


def _refuted(incident: Incident, event: OfficeAnswered, record: Record, now_us: int) -> tuple[Incident, list[Effect]]:
    effects: list[Effect] = [record]
    if incident.state is IncidentState.CONFIRMED:
        effects.append(Record("incident.contradicted", incident.id, "refuted after it was confirmed", event.person))
    if incident.air is Air.ON_AIR:
        why = "refuted while its alert is on air: the correction is prepared"
        effects.append(Record("incident.refuted_on_air", incident.id, why, event.person))
    else:
        effects.append(HoldBroadcast(incident.id, f"{event.office} refutes it"))
    return replace(incident, state=IncidentState.REFUTED, refuted_us=now_us), effects


def _unanswered(incident: Incident, event: LadderEnded, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    silent = replace(incident, unanswered=True)
    if incident.state is not IncidentState.VERIFYING or not incident.drafts:
        return silent, [Record("incident.unanswered", incident.id, "no office answered; nothing depends on it now")]
    standing = playbook.standing if playbook else None
    if standing is None or standing.on_unanswered is OnUnanswered.HOLD or playbook is None:
        why = "no office answered; the playbook holds for people to decide"
        return silent, [Record("incident.held", incident.id, why)]
    if event.missed:
        return silent, [Record("incident.missed", incident.id, f"missed, decide now: {event.missed}")]
    release = _standing(silent, rate(incident.witnesses, playbook), playbook)
    if not release:
        why = "no office answered; the standing order does not cover it"
        return silent, [Record("incident.held", incident.id, why)]
    why = "no office answered; the standing order covers it"
    # What could not be planned when the alarm came may be by now.
    draft: list[Effect] = [] if incident.alert else [PrepareBroadcast(incident.id)]
    return silent, [Record("incident.unanswered", incident.id, why), *draft, *release]


def _name(witness: Witness) -> tuple[str, str, str]:
    return witness.reporter, witness.device, witness.evidence


def _with(witnesses: tuple[Witness, ...], new: Witness) -> tuple[Witness, ...]:
    """The same device again replaces its earlier word, but never weakens one that may act automatically."""
    same = [w for w in witnesses if w.device == new.device and _name(w) == _name(new)]
    if any(old.automatic for old in same) and not new.automatic:
        new = replace(new, automatic=True)
    kept = [w for w in witnesses if w not in same] if same else witnesses
    return (*kept[-(WITNESSES_MAX - 1) :], new)
