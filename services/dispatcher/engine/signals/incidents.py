"""An incident decides: rated with its reporters' history, muted by a graver one, listed where it is."""

from __future__ import annotations

from dataclasses import replace

from ...domain import incident_decisions
from ...domain.effects import Effect, LearnVerdict, Record, WithdrawTask
from ...domain.incidents import Incident, IncidentEvent, SignalJoined
from ...domain.playbook import Playbook
from ...domain.refusals import NotFound
from ...domain.risk import Circumstances, History, history_id, rate
from ..transaction import Work
from . import footprints, muting


def tell(work: Work, incident_id: str, event: IncidentEvent) -> None:
    """Let an incident decide, and carry out what it wants."""
    incident = work.tx.get_locked(Incident, incident_id)
    if incident is None:
        raise NotFound(f"incident {incident_id}")
    decide(work, incident, event)


def decide(work: Work, incident: Incident, event: IncidentEvent, *, opened: bool = False) -> None:
    """The same for an incident at hand, new ones included."""
    playbook, now_us = work.playbooks.get(incident.playbook), work.tx.now_us()
    around = _around(work, incident, event)
    after, effects = incident_decisions.decide(incident, event, playbook, now_us, around)
    before = None if opened else incident
    if muting.concerns(before, after, work.rules):
        # A red that ends and a blue that opens under it at the same moment must see each other.
        work.tx.lock(f"mute/{after.use}")
    if isinstance(event, SignalJoined) and not after.inhibited_by and (opened or after.level != incident.level):
        greater = muting.greater_of(work.tx, after, work.rules, work.city)
        if greater is not None:
            # Decided again as a muted one, so that nobody is asked first.
            muted, told = incident_decisions.decide(incident, greater, playbook, now_us, around)
            after, effects = incident_decisions.decide(muted, event, playbook, now_us, around)
            effects = [*told, *effects]
    if isinstance(event, SignalJoined) and event.witness is not None and work.shadow is not None:
        after, effects = _shadowed(work, after, effects, playbook, around)
    work.tx.put(after)
    footprints.relist(work.tx, before, after, work.city, work.prefetched)
    if not after.open:
        effects = [*effects, *(WithdrawTask(task, "the incident is closed") for task in after.tasks)]
    work.next([*effects, *muting.consequences(work.tx, before, after, work.rules, work.city)])


def learn(work: Work, effect: LearnVerdict) -> None:
    """Count what an office found for or against those who reported it."""
    for reporter in sorted(effect.reporters):
        id = history_id(effect.use, reporter)
        kept = work.tx.get_locked(History, id) or History(id)
        work.tx.put(kept.judged(effect.judged, effect.before))
        work.prefetched.histories.pop(id, None)


def _around(work: Work, incident: Incident, event: IncidentEvent) -> Circumstances:
    """What a rating takes in beside the witnesses."""
    if not isinstance(event, SignalJoined):
        return Circumstances(work.rules)
    reporters = {w.reporter for w in incident.witnesses} | {event.signal.reporter}
    known = {r: h for r in reporters if (h := _history(work, history_id(incident.use, r))) is not None}
    venue = work.city.venues.get(incident.venue) if incident.venue else None
    kind = str(venue.kind) if venue is not None else ""
    return Circumstances(work.rules, known, incident.hazard, kind, incident.opened_us)


def _history(work: Work, id: str) -> History | None:
    histories = work.prefetched.histories
    if id not in histories:
        histories[id] = work.tx.get(History, id)
    return histories[id]


def _shadowed(
    work: Work, after: Incident, effects: list[Effect], playbook: Playbook | None, around: Circumstances
) -> tuple[Incident, list[Effect]]:
    """Rate by the other rules as well, and put on record where they differ; nothing else ever comes of it."""
    assert work.shadow is not None
    other = rate(after.witnesses, playbook, replace(around, rules=work.shadow))
    said = "" if other.level == after.level else f"level {other.level} by {work.shadow.version}"
    if said == after.shadow:
        return after, effects
    if said:
        facts: dict[str, object] = {"level": after.level, "other": other.level, "rules": work.shadow.version}
        why = f"{said}, {after.level} by {work.rules.version}: {'; '.join(other.reasons)}"
        effects = [*effects, Record("incident.shadow", after.id, why, facts=facts)]
        work.differs(after.hazard)
    return replace(after, shadow=said), effects
