"""Incidents about the service itself and its sources: without playbook, so that nothing of them can be aired."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...domain.effects import Record
from ...domain.incidents import Incident, IncidentState, SignalJoined
from ...domain.places import OfficeKind
from ...domain.planning import City
from ...domain.risk import Witness
from ...domain.signals import Evidence, Place, Signal, SignalKind, Use
from ..ports import Page
from ..signals import incidents
from ..transaction import Work
from . import asking

OPEN = (IncidentState.SUSPECTED, IncidentState.VERIFYING)


def own_signal(key: str, hazard: str, level: int, area: str, zh: str, en: str, now_us: int) -> Signal:
    """What the dispatcher itself reports."""
    return Signal(
        key=key,
        reporter="dispatcher",
        use=Use.ACTUAL,
        kind=SignalKind.ALERT,
        evidence=Evidence.SYSTEM,
        hazard=hazard,
        event_code="",
        place=Place(areas=(area,)),
        observed_us=now_us,
        received_us=now_us,
        claimed_level=level,
        headline=zh,
        description=f"{en}.",
    )


def join_own(work: Work, signal: Signal, open_max: int, fits: Callable[[Incident], bool]) -> Incident | None:
    """Join such a signal to the newest open incident of its kind that fits, to the newest of all where as many as
    `open_max` are open; None where there is none."""
    tx = work.tx
    tx.lock(f"join/{signal.hazard}")
    open_now = tx.find(Incident, Page(limit=open_max, order="-opened_us"), hazard=signal.hazard, state=OPEN)
    for each in open_now:
        fitting = len(open_now) >= open_max or fits(each)
        incident = tx.get_locked(Incident, each.id) if fitting else None
        if incident is not None and incident.state in OPEN:
            tx.add_signal(signal, incident.id)
            incidents.decide(work, incident, SignalJoined(signal, None, incident.place))
            return incident
    return None


def open_own(work: Work, signal: Signal, question: dict[str, str], facts: dict[str, object]) -> Incident:
    """Open an incident for such a signal, and ask the duty desk and the offices of its area."""
    (area,) = signal.place.areas
    return open_asked(work, signal, area, _duty_desks(work.city, area), question, facts)


def open_asked(
    work: Work, signal: Signal, area: str, first: tuple[str, ...], question: dict[str, str], facts: dict[str, object]
) -> Incident:
    """Open an incident in which no playbook has a say, and ask the offices of `first`, then those of its place."""
    tx, level = work.tx, signal.claimed_level
    assert level is not None
    venue = work.city.venues.get(signal.place.venue) if signal.place.venue else None
    incident = Incident(
        id=work.ids.new(), use=signal.use, hazard=signal.hazard, event_code="", playbook="",
        state=IncidentState.VERIFYING, level=level, reasons=(signal.description,), place=signal.place,
        venue=venue.id if venue else None, area=area, cell=f"area/{area}", lat_e7=venue.lat_e7 if venue else None,
        lon_e7=venue.lon_e7 if venue else None, opened_us=tx.now_us(), last_signal_us=signal.received_us,
        signal_count=1, headline=signal.headline,
        witnesses=(Witness(signal.reporter, "", Evidence.SYSTEM, False, level),),
    )  # fmt: skip
    tx.put(incident)
    tx.add_signal(signal, incident.id)
    facts = {"hazard": signal.hazard, "area": area, **facts}
    tx.record(Record("incident.opened", incident.id, signal.headline, facts=facts))
    task = asking.ask_about_source(work, incident, first, question)
    if task is not None:
        incident = replace(incident, task=task)
        tx.put(incident)
    return incident


def _duty_desks(city: City, area: str) -> tuple[str, ...]:
    return tuple(o.id for o in city.offices if o.kind is OfficeKind.DUTY and o.area in city.tree.chain(area).all)
