"""Incidents (事件): signals of one hazard, near in space and time. Pure: `decide(incident, event, …)`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import assert_never

from .effects import AskOffice, Effect, HoldBroadcast, PrepareBroadcast, Record, ReleaseStanding
from .playbook import OnUnanswered, Playbook
from .risk import Rating, Witness, rate
from .signals import Place, Signal, SignalKind, Use

WITNESSES_MAX = 64
JOIN_DISTANCE_M = 1_000
JOIN_WITHIN_S_DEFAULT = 3_600


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


@dataclass(frozen=True, slots=True)
class Incident:
    """One incident. `area` is where its office is sought; `cell` is its ~1 km join cell; times are µs UTC.

    `alert` is the broadcast drafted or on air for it, `alert_released` whether that has left the draft.
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
    alert_released: bool = False
    unanswered: bool = False
    version: int = 0

    @property
    def open(self) -> bool:
        return self.state is not IncidentState.CLOSED


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
class AlertOver:
    broadcast: str
    how: str


@dataclass(frozen=True, slots=True)
class Close:
    person: str
    why: str


IncidentEvent = SignalJoined | OfficeAnswered | LadderEnded | AlertReleased | AlertOver | Close


def decide(
    incident: Incident, event: IncidentEvent, playbook: Playbook | None, now_us: int
) -> tuple[Incident, list[Effect]]:
    """What an event makes of an incident. Late, repeated and contradicting events are ordinary."""
    match event:
        case SignalJoined():
            return _signal(incident, event, playbook)
        case OfficeAnswered():
            return _answered(incident, event)
        case LadderEnded():
            return _unanswered(incident, event, playbook)
        case AlertReleased():
            return replace(incident, alert_released=True), []
        case AlertOver():
            return incident, [Record("incident.alert_over", incident.id, event.how)]
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


def _signal(incident: Incident, event: SignalJoined, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    signal = event.signal
    counted = replace(
        incident,
        signal_count=incident.signal_count + 1,
        last_signal_us=max(incident.last_signal_us, signal.received_us),
    )
    if signal.kind is SignalKind.CANCEL:
        why = f"{signal.reporter} cancels {', '.join(signal.references) or signal.key}"
        return counted, [Record("incident.source_cancelled", incident.id, why), *_cancelled(counted, why)]
    if event.witness is None:
        return counted, [Record("incident.noted", incident.id, signal.headline or signal.key)]
    witnesses = _with(incident.witnesses, event.witness)
    rating = rate(witnesses, playbook)
    rated = replace(
        counted,
        witnesses=witnesses,
        level=rating.level,
        reasons=rating.reasons,
        place=event.place,
        headline=incident.headline or signal.headline,
    )
    effects: list[Effect] = [
        Record(
            "incident.signal",
            incident.id,
            "; ".join(rating.reasons),
            facts={"signal": signal.key, "level": rating.level},
        )
    ]
    first = incident.state is IncidentState.SUSPECTED
    more = len(witnesses) > len(incident.witnesses)
    if first or (incident.state is IncidentState.REFUTED and more):
        why = "; ".join(rating.reasons) if first else "a further witness after it was refuted"
        rated = replace(rated, state=IncidentState.VERIFYING, unanswered=False)
        effects.append(AskOffice(incident.id, "verify", incident.venue, incident.area, why))
    changed = first or rating.level != incident.level or event.place != incident.place or rated.state != incident.state
    if playbook is not None and not incident.alert_released and changed:
        effects.append(PrepareBroadcast(incident.id))
    effects += _standing(incident, rated, rating, playbook)
    return rated, effects


def _standing(before: Incident, rated: Incident, rating: Rating, playbook: Playbook | None) -> list[Effect]:
    """A standing order acts once, never on an incident that people have refuted, and only for what it covers."""
    if playbook is None or playbook.standing is None or rated.alert_released:
        return []
    if before.state in (IncidentState.REFUTED, IncidentState.CLOSED) or rated.venue is None:
        return []
    covering = [c for c in rating.automatic if c in playbook.standing.covers]
    if not covering:
        return []
    return [ReleaseStanding(rated.id, f"{playbook.id}@{playbook.version}: {', '.join(covering)}")]


def _cancelled(incident: Incident, why: str) -> list[Effect]:
    return [] if incident.alert_released else [HoldBroadcast(incident.id, why)]


def _answered(incident: Incident, event: OfficeAnswered) -> tuple[Incident, list[Effect]]:
    said: dict[str, object] = {"office": event.office, "verdict": event.verdict, "note": event.note, "task": event.task}
    record = Record("incident.answered", incident.id, f"{event.office}: {event.verdict}", event.person, said)
    if not incident.open:
        return incident, [replace(record, kind="incident.answered_late", why="the incident is closed")]
    match event.verdict:
        case Verdict.UNSURE:
            return incident, [record]
        case Verdict.CONFIRM:
            effects: list[Effect] = [record]
            if incident.state is IncidentState.REFUTED:
                effects.append(
                    Record("incident.contradicted", incident.id, "confirmed after it was refuted", event.person)
                )
            if not incident.alert_released and incident.state is not IncidentState.CONFIRMED and incident.playbook:
                effects.append(PrepareBroadcast(incident.id))
            return replace(incident, state=IncidentState.CONFIRMED), effects
        case Verdict.REFUTE:
            effects = [record]
            if incident.state is IncidentState.CONFIRMED:
                effects.append(
                    Record("incident.contradicted", incident.id, "refuted after it was confirmed", event.person)
                )
            if incident.alert_released:
                why = "refuted while its alert is on air: the correction is prepared"
                effects.append(Record("incident.refuted_on_air", incident.id, why, event.person))
            else:
                effects.append(HoldBroadcast(incident.id, f"{event.office} refutes it"))
            return replace(incident, state=IncidentState.REFUTED), effects
        case _:
            assert_never(event.verdict)


def _unanswered(incident: Incident, event: LadderEnded, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    silent = replace(incident, unanswered=True)
    if incident.state is not IncidentState.VERIFYING or incident.alert_released:
        return silent, [Record("incident.unanswered", incident.id, "no office answered; nothing depends on it now")]
    standing = playbook.standing if playbook else None
    if standing is None or standing.on_unanswered is OnUnanswered.HOLD or playbook is None:
        return silent, [
            Record("incident.held", incident.id, "no office answered; the playbook holds for people to decide")
        ]
    if event.missed:
        return silent, [Record("incident.missed", incident.id, f"missed, decide now: {event.missed}")]
    release = _standing(incident, silent, rate(incident.witnesses, playbook), playbook)
    if not release:
        return silent, [
            Record("incident.held", incident.id, "no office answered; the standing order does not cover it")
        ]
    return silent, [
        Record("incident.unanswered", incident.id, "no office answered; the standing order covers it"),
        *release,
    ]


def _with(witnesses: tuple[Witness, ...], new: Witness) -> tuple[Witness, ...]:
    """The same device again replaces its earlier word, but never weakens one that may act automatically."""
    kept = []
    for old in witnesses:
        if (old.reporter, old.device, old.evidence) != (new.reporter, new.device, new.evidence):
            kept.append(old)
        elif old.automatic and not new.automatic:
            new = replace(new, automatic=True)
    return tuple(kept[-(WITNESSES_MAX - 1) :]) + (new,)
