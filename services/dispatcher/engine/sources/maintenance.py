"""Maintenance of fire panels and sensors: people begin it with a reason and an end, and it ends by itself at that end.

What it means for a later alarm stands in `ingest`, and for silence in `rhythm`: both look at the end, not at its
timer. An alarm before it is for people from then on, where nothing of it has gone on air yet.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

from ...domain.effects import Record, Sleep, Timer, WakeAt
from ...domain.incidents import DevicesUntrusted, Incident
from ...domain.panels import ALWAYS_US
from ...domain.refusals import NotFound
from ...domain.signals import Panel, Sensor
from ...domain.spots import venue_cell
from ..events import Maintained, MaintenanceChanged
from ..ports import Page
from ..rows import Footprint
from ..signals import incidents, witnesses
from ..transaction import Work

D = TypeVar("D", Panel, Sensor)

INCIDENTS_MAX = 200
KINDS: dict[str, Maintained] = {"panel": Panel, "sensor": Sensor}
"""By the name that stands in timers and in lines of the log."""
_TIMERS: dict[Maintained, Timer] = {Panel: Timer.PANEL_MAINTENANCE, Sensor: Timer.SENSOR_MAINTENANCE}
_NAMES = {kind: name for name, kind in KINDS.items()}


def change(work: Work, event: MaintenanceChanged) -> None:
    """Begin, move or end a maintenance, with author and end. Raises NotFound."""
    name = _NAMES[event.kind]
    device = work.tx.get_locked(event.kind, event.id)
    if device is None:
        raise NotFound(f"{name} {event.id}")
    if event.until_us is None:
        _end(work, device, event.person, event.reason)
        return
    author, until_us = event.person, event.until_us
    _maintained(work, device, author, until_us, event.reason)
    work.tx.record(Record(f"{name}.maintenance", device.id, event.reason, author, {"until_us": until_us}))
    work.tx.wake_at(WakeAt(_TIMERS[event.kind], device.id, until_us, until_us + ALWAYS_US))
    if work.tx.now_us() < until_us:
        _distrust(work, event.kind, device.id)


def due(work: Work, kind: Maintained, id: str) -> None:
    """The end that its author gave a maintenance has come."""
    device = work.tx.get_locked(kind, id)
    if device is not None and device.maintenance_until_us is not None:
        _end(work, device, "", f"the end that {device.maintenance_author} gave it has come")


def _end(work: Work, device: Panel | Sensor, person: str, why: str) -> None:
    name = _NAMES[type(device)]
    if device.maintenance_until_us is None:
        work.tx.record(Record(f"{name}.maintenance_ended_again", device.id, "it was under no maintenance", person))
        return
    _maintained(work, device, "", None, "")
    work.tx.record(Record(f"{name}.maintenance_ended", device.id, why, person))
    work.tx.sleep(Sleep(_TIMERS[type(device)], device.id))


def _distrust(work: Work, kind: Maintained, id: str) -> None:
    """What the device has said before no longer releases anything by itself."""
    device = work.tx.get(kind, id)
    assert device is not None
    listed = Page(limit=INCIDENTS_MAX, order="-id")
    rows = work.tx.find(Footprint, listed, cell=venue_cell(device.venue), use=str(device.use))
    for name in dict.fromkeys(row.incident for row in rows):
        incident = work.tx.get_locked(Incident, name)
        said = witnesses.said_by(work.tx, incident, device) if incident is not None else ()
        if incident is not None and said:
            why = witnesses.under_maintenance(device)
            incidents.decide(work, incident, DevicesUntrusted(said, why, device.maintenance_author))
            work.run()


def _maintained(work: Work, device: Panel | Sensor, author: str, until_us: int | None, reason: str) -> None:
    work.prefetched.panels.pop(device.id, None)
    work.tx.put(replace(device, maintenance_author=author, maintenance_until_us=until_us, maintenance_reason=reason))


def carried_over(before: D | None, after: D) -> D:
    """A device that is enrolled again, under the maintenance of before: enrolling must not end it unseen."""
    if before is None:
        return after
    return replace(
        after,
        maintenance_author=before.maintenance_author,
        maintenance_until_us=before.maintenance_until_us,
        maintenance_reason=before.maintenance_reason,
    )
