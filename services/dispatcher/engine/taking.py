"""A signal is taken in: what it repeats, what it refers to, which incident it belongs to."""

from __future__ import annotations

from ..domain.effects import Record
from ..domain.incidents import Incident
from ..domain.signals import Evidence, Signal, SignalKind
from ..domain.spots import Spot
from .events import Outcome
from .signals import corrections, identifiers, incidents, joining, silencing
from .sources import panels
from .transaction import Work


def take(work: Work, signal: Signal, outcome: Outcome) -> None:
    """Repeated, taken back before it came, silenced, or of an incident: its own or one that is open."""
    tx = work.tx
    if signal.key not in work.prefetched.new and tx.signal_incident(signal.key) is not None:
        outcome.repeated += 1
        if identifiers.keep(tx, signal):
            outcome.reused.append(signal)
            # It may be stored now under a key that another signal of the group has.
            work.prefetched.new.clear()
        elif signal.evidence is Evidence.AUTHORITY:
            corrections.vouch(work, signal)
        return
    work.prefetched.new.discard(signal.key)
    outcome.created.append(signal.key)
    panels.duty_answered(work, signal)
    if corrections.is_cancel_by_name(signal):
        corrections.cancel(work, signal, outcome)
        return
    if corrections.cancelled_before(work, signal):
        return
    spot = work.spot(signal)
    incident = _joins(work, signal, spot)
    if corrections.silenced(work, signal, spot, incident):
        return
    if signal.kind is SignalKind.CANCEL:
        silencing.forget_word(tx, signal, spot)
    opens = signal.kind in joining.REPORTS and signal.evidence not in (Evidence.FAULT, Evidence.SYSTEM)
    if incident is None and not opens:
        tx.add_signal(signal, "")
        if signal.kind is SignalKind.CANCEL:
            tx.record(Record("signal.cancels_unknown", signal.key, "it cancels nothing that is open here"))
        return
    device = joining.device_of(tx, signal, work.prefetched.panels)
    opened = incident is None
    if incident is None:
        incident = joining.open_incident(signal, spot, work.playbooks, work.city, work.ids, tx.now_us())
        why = signal.headline or f"{signal.hazard} reported by {signal.reporter}"
        facts: dict[str, object] = {"use": str(signal.use), "hazard": signal.hazard, "area": spot.area}
        tx.record(Record("incident.opened", incident.id, why, facts=facts))
        for note in spot.notes:
            tx.record(Record(note.kind, incident.id, note.why))
    outcome.incidents.append(incident.id)
    if signal.kind is SignalKind.CANCEL:
        event = corrections.take_back_own(work, incident, signal)
        tx.add_signal(signal, incident.id)
    else:
        updates = signal.kind is SignalKind.UPDATE and not opened
        others = corrections.superseded(work, incident, signal) if updates else None
        tx.add_signal(signal, incident.id)
        event = joining.joined(signal, spot, incident, device, tx.now_us(), others)
    incidents.decide(work, incident, event, opened=opened)
    if opened or joining.is_new_witness(event, incident):
        work.run()
        corrections.hear_silenced(work, incident, signal, spot)


def _joins(work: Work, signal: Signal, spot: Spot) -> Incident | None:
    """The open incident that a signal belongs to, held until the end."""
    listed = work.prefetched.listed
    while True:
        id = joining.find_incident(work.tx, signal, spot, work.playbooks, work.rules, work.city, listed)
        incident = work.tx.get_locked(Incident, id) if id is not None else None
        # People may have closed it before it was held: what is reported now is no part of what they judged.
        if incident is None or incident.open:
            return incident
