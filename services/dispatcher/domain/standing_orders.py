"""Standing orders: which cases one covers, and what becomes of its release when people distrust a device. Pure."""

from __future__ import annotations

from dataclasses import replace

from .effects import AskTwo, Effect, PrepareBroadcast, Record
from .incidents import DevicesUntrusted, Incident, IncidentState
from .playbook import Playbook, Target
from .risk import Rating, rate


def covers(incident: Incident, rating: Rating, playbook: Playbook | None) -> str:
    """What a standing order says of this case, empty when it does not cover it. It acts once, at the venue of the
    alarm alone, and never on what people have refuted and nobody has confirmed since."""
    if playbook is None or playbook.standing is None or playbook.target is not Target.VENUE:
        return ""
    if incident.alerted or incident.refuted_us or incident.venue is None:
        return ""
    covering = [c for c in rating.automatic if c in playbook.standing.covers]
    return f"{playbook.id}@{playbook.version}: {', '.join(covering)}" if covering else ""


def covered(incident: Incident, playbook: Playbook | None) -> str:
    """What the standing order says of an incident as it is now, empty when it does not cover it."""
    return covers(incident, rate(incident.witnesses, playbook), playbook)


def untrusted(incident: Incident, event: DevicesUntrusted, playbook: Playbook | None) -> tuple[Incident, list[Effect]]:
    """What these devices have said is for people from now on. A standing release that was still to come becomes a
    question to two people at once; one that has gone out stays on air."""
    doubted = [w for w in incident.witnesses if w.automatic and (w.reporter, w.device) in event.witnesses]
    if not doubted or not incident.open or incident.alerted:
        return incident, []
    witnesses = tuple(replace(w, automatic=False) if w in doubted else w for w in incident.witnesses)
    after = replace(incident, witnesses=witnesses, reasons=(*incident.reasons, event.why))
    if not covered(incident, playbook) or covered(after, playbook):
        return after, [Record("incident.for_people", incident.id, event.why, event.person)]
    why = f"the standing order covered it, but {event.why}: two people are asked at once"
    after = replace(after, standing_stopped=why, unanswered=False)
    stopped = Record("incident.standing_stopped", incident.id, why, event.person)
    if incident.inhibited_by:
        return after, [stopped]
    if incident.state is IncidentState.SUSPECTED:
        after = replace(after, state=IncidentState.VERIFYING)
    # Who confirms it finds the draft ready, also where nothing could be planned when the alarm came.
    draft: list[Effect] = [] if incident.alert else [PrepareBroadcast(incident.id)]
    return after, [stopped, *draft, AskTwo(incident.id, why)]
