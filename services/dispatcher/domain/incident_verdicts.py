"""What offices' answers and their silence make of an incident. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from .effects import (
    Effect,
    HoldBroadcast,
    LearnVerdict,
    PrepareBroadcast,
    Record,
    ReleaseStanding,
)
from .incidents import (
    Air,
    Incident,
    IncidentState,
    LadderEnded,
    OfficeAnswered,
    Verdict,
)
from .panels import HAZARD_UNATTENDED
from .playbook import OnUnanswered, Playbook
from .refused_documents import DOCUMENTS_REFUSED
from .rhythm import SOURCE_SILENT
from .risk import Rating, rate
from .sightings import UNKNOWN_SOUNDS
from .standing_orders import covers
from .taken_accounts import ACCOUNT_TAKEN

OURS = (SOURCE_SILENT, HAZARD_UNATTENDED, UNKNOWN_SOUNDS, DOCUMENTS_REFUSED, ACCOUNT_TAKEN)
"""Hazards that this system raises by itself."""


def answered(incident: Incident, event: OfficeAnswered, now_us: int) -> tuple[Incident, list[Effect]]:
    said: dict[str, object] = {"office": event.office, "verdict": event.verdict, "note": event.note, "task": event.task}
    record = Record("incident.answered", incident.id, f"{event.office}: {event.verdict}", event.person, said)
    if not incident.open:
        return incident, [replace(record, kind="incident.answered_late", why="the incident is closed")]
    match event.verdict:
        case Verdict.UNSURE:
            return incident, [record]
        case Verdict.CONFIRM:
            confirmed, effects = _confirmed(incident, event, record)
            return _judged(confirmed, "confirmed", effects)
        case Verdict.REFUTE:
            refuted, effects = _refuted(incident, event, record, now_us)
            return _judged(refuted, "refuted", effects)
        case _:
            assert_never(event.verdict)


def _judged(incident: Incident, verdict: str, effects: list[Effect]) -> tuple[Incident, list[Effect]]:
    """Each reporter of an incident is counted once, by the last verdict on it. That it was silent, or that nobody stood
    beside it, was never its own word."""
    if incident.hazard in OURS:
        return incident, effects
    reporters = tuple(sorted({w.reporter for w in incident.witnesses} | set(incident.judged_reporters)))
    known = incident.judged_reporters
    moved = known if incident.judged != verdict else ()
    new = tuple(r for r in reporters if r not in known)
    learned: list[Effect] = []
    if moved:
        learned.append(LearnVerdict(str(incident.use), moved, verdict, incident.judged))
    if new:
        learned.append(LearnVerdict(str(incident.use), new, verdict))
    return replace(incident, judged=verdict, judged_reporters=reporters), [*effects, *learned]


def _confirmed(incident: Incident, event: OfficeAnswered, record: Record) -> tuple[Incident, list[Effect]]:
    effects: list[Effect] = [record]
    if incident.state is IncidentState.REFUTED:
        effects.append(Record("incident.contradicted", incident.id, "confirmed after it was refuted", event.person))
    confirmed = replace(
        incident, state=IncidentState.CONFIRMED, refuted_us=0, held=False, inhibited_by="", inhibited_why=""
    )
    before = (incident.state, incident.held)
    if confirmed.drafts and confirmed.playbook and (confirmed.state, confirmed.held) != before:
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
    refuted = replace(incident, state=IncidentState.REFUTED, refuted_us=now_us, inhibited_by="", inhibited_why="")
    return refuted, effects


def ladder_ended(incident: Incident, event: LadderEnded, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """Of two that are asked at once, the silence of one decides nothing."""
    if incident.second_task and event.task in incident.tasks:
        [left] = [task for task in incident.tasks if task != event.task]
        why = "one of the two that were asked at once did not answer; the other is still asked"
        alone = replace(incident, task=left, second_task="")
        return alone, [Record("incident.one_unanswered", incident.id, why, facts={"task": event.task})]
    return _unanswered(incident, event, playbook)


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
    release = release_if_covered(silent, rate(incident.witnesses, playbook), playbook)
    if not release:
        why = "no office answered; the standing order does not cover it"
        return silent, [Record("incident.held", incident.id, why)]
    why = "no office answered; the standing order covers it"
    # What could not be planned when the alarm came may be by now.
    draft: list[Effect] = [] if incident.alert else [PrepareBroadcast(incident.id)]
    return silent, [Record("incident.unanswered", incident.id, why), *draft, *release]


def release_if_covered(incident: Incident, rating: Rating, playbook: Playbook | None) -> list[Effect]:
    """The release under a standing order, when nothing keeps it back now."""
    rule = covers(incident, rating, playbook) if incident.drafts else ""
    return [ReleaseStanding(incident.id, rule)] if rule else []
