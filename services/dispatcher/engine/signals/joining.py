"""Intake: is this delivery new, what does it refer to, and which open incident does it belong to?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence

from ...domain.incidents import Incident, IncidentState, SignalJoined
from ...domain.joining import belongs, united
from ...domain.planning import City
from ...domain.playbook import Playbook, matching
from ...domain.risk import Witness
from ...domain.rules import Rules
from ...domain.signals import Evidence, Panel, Place, Sensor, Signal, SignalKind, identity, is_further_group, message_of
from ...domain.spots import Spot, lock_cells, look_cells, venue_cell
from ..ports import Ids, Page, Read
from ..rows import Footprint, StoredSignal
from .scope import FROM_FEEDS

CANDIDATES_MAX = 200
REFERENCES_MAX = 100
WORD_LOCKS = 64
REPORTS = (SignalKind.ALERT, SignalKind.UPDATE)
FROM_DEVICES = (Evidence.DETECTOR, Evidence.CALL_POINT, Evidence.PANEL)
"""What comes from panels and sensors, whose enrolment says whether it may act without people."""
SENSOR_KEYS = "mqtt/"
REPEAT_WITHIN_US = 60_000_000
"""A panel's report is a repeat of an earlier one for no longer."""
AUTOMATIC_WITHIN_US = 600_000_000
"""A report that reaches the engine later than this, as after an outage, is for people to decide on."""


def lock_names(signal: Signal, spot: Spot, rules: Rules) -> tuple[str, ...]:
    """The locks of a signal, in one fixed order everywhere: where it may join, and what it is called and refers to."""
    joins = [f"join/{signal.use}/{signal.hazard}/{cell}" for cell in lock_cells(spot, rules, signal.hazard)]
    words = [f"word/{signal.reporter}/{zlib.crc32(name.encode()) % WORD_LOCKS}" for name in names_of(signal)]
    return tuple(sorted((*joins, *words)))


def names_of(signal: Signal) -> tuple[str, ...]:
    """What the signal goes by whatever its time is, and what it refers to."""
    if not signal.references:
        return (identity(signal.key),)
    return tuple(dict.fromkeys(identity(key) for key in (signal.key, *signal.references[:REFERENCES_MAX])))


def repeats_other(read: Read, signal: Signal) -> bool:
    """Whether it came before under its other name, and not longer ago than anything is repeated."""
    stored = read.signal(signal.other_key) if signal.other_key else None
    return stored is not None and abs(signal.received_us - stored.received_us) <= REPEAT_WITHIN_US


def referred(read: Read, signal: Signal) -> tuple[list[StoredSignal], bool]:
    """What the signal's references mean, of its own reporter and use, and whether it was found by identifier alone
    because the time in a reference is wrong."""
    found: dict[str, StoredSignal] = {}
    loosely = False
    for reference in signal.references[:REFERENCES_MAX]:
        rows = [
            row
            for row in read.signals_named(identity(reference))
            if row.signal.reporter == signal.reporter and row.signal.use is signal.use and row.signal.key != signal.key
        ]
        exact = [row for row in rows if message_of(row.signal.key) == message_of(reference)]
        if not exact:
            # A message can't refer to what was said after it.
            exact = [row for row in rows if row.signal.observed_us <= signal.observed_us]
            loosely = loosely or bool(exact)
        found.update((row.signal.key, row) for row in exact)
    return list(found.values()), loosely


def find_incident(
    read: Read, signal: Signal, spot: Spot, playbooks: dict[str, Playbook], rules: Rules, city: City,
    listed: Mapping[str, Sequence[Footprint]],
) -> str | None:  # fmt: skip
    """The open incident this signal belongs to: by reference first, else of the same use and hazard, near in space
    and time. Sources of different use never join. `listed` are the footprints of some cells, the newest first."""
    named, _ = referred(read, signal) if signal.references else ([], False)
    same = [each for each in named if each.signal.hazard == signal.hazard]
    for each in same or ([] if is_further_group(signal.key) else named):
        incident = read.get(Incident, each.incident) if each.incident else None
        if incident is not None and incident.open and incident.use is signal.use:
            return incident.id
    if signal.kind is SignalKind.CANCEL and signal.references:
        # It takes back what it names and nothing that only lies near.
        return None
    tried: set[str] = set()
    for row in _candidates(read, signal, spot, rules, listed):
        if row.incident in tried:
            continue
        tried.add(row.incident)
        incident = read.get(Incident, row.incident)
        if incident is None or not incident.open:
            continue
        if belongs(incident, signal, spot, playbooks.get(incident.playbook), rules, city.tree):
            return incident.id
    return None


def _candidates(
    read: Read, signal: Signal, spot: Spot, rules: Rules, listed: Mapping[str, Sequence[Footprint]]
) -> Iterator[Footprint]:
    """Where incidents are listed that the signal may belong to, its own venue first: it is nearly always there."""
    newest = Page(limit=CANDIDATES_MAX, order="-id")
    hazard, use = signal.hazard, str(signal.use)
    if spot.venue is not None:
        here = venue_cell(spot.venue)
        if here in listed:
            yield from [row for row in listed[here] if (row.hazard, row.use) == (hazard, use)][:CANDIDATES_MAX]
        else:
            yield from read.find(Footprint, newest, cell=here, hazard=hazard, use=use)
    yield from read.find(Footprint, newest, cell=look_cells(spot, rules, hazard), hazard=hazard, use=use)


def open_incident(
    signal: Signal, spot: Spot, playbooks: dict[str, Playbook], city: City, ids: Ids, now_us: int
) -> Incident:
    """A new incident for a signal that belongs to none."""
    kind = str(city.venues[spot.venue].kind) if spot.venue else None
    playbook = matching(tuple(playbooks.values()), signal, kind)
    return Incident(
        id=ids.new(),
        use=signal.use,
        hazard=signal.hazard,
        event_code=signal.event_code,
        playbook=playbook.id if playbook else "",
        state=IncidentState.SUSPECTED,
        level=playbook.level_suspected if playbook else 3,
        reasons=(),
        place=spot.place,
        venue=spot.venue,
        area=spot.area,
        cell=spot.cell,
        lat_e7=spot.lat_e7,
        lon_e7=spot.lon_e7,
        opened_us=now_us,
        last_signal_us=signal.received_us,
    )


def joined(
    signal: Signal, spot: Spot, incident: Incident, device: Panel | Sensor | None, now_us: int,
    others: Sequence[Place] | None = None,
) -> SignalJoined:  # fmt: skip
    """The signal as the incident sees it, with its witness. A test bit or maintenance makes it a matter for people.

    `others` are the places that an only reporter still stands by beside what this update says; None when this signal
    takes nothing away.
    """
    if signal.kind not in REPORTS or signal.evidence in (Evidence.FAULT, Evidence.SYSTEM):
        return SignalJoined(signal, None, incident.place)
    automatic = _automatic(signal, device, now_us) and not spot.by_name
    witness = Witness(signal.reporter, signal.device, signal.evidence, automatic, signal.claimed_level)
    redraws = others is not None and all(w.reporter == signal.reporter for w in incident.witnesses)
    place = united(incident, spot.place, redraws)
    if redraws:
        for other in others or ():
            place = united_places(place, other)
    return SignalJoined(signal, witness, place if incident.venue is None else incident.place)


def is_new_witness(event: SignalJoined, incident: Incident) -> bool:
    """Whether it brings a witness of which the incident has not heard."""
    if event.witness is None:
        return False
    reporter, device = event.witness.reporter, event.witness.device
    return not [w for w in incident.witnesses if w.device == device and w.reporter == reporter]


def united_places(one: Place, other: Place) -> Place:
    """Both together; a venue among them counts by its area only where nothing else is said."""
    return Place(
        None,
        tuple(dict.fromkeys((*one.areas, *other.areas))),
        tuple(dict.fromkeys((*one.shapes, *other.shapes))),
        tuple(dict.fromkeys((*one.names, *other.names))),
    )


def device_of(read: Read, signal: Signal, panels: Mapping[str, Panel | None]) -> Panel | Sensor | None:
    """The enrolled panel or sensor that speaks, None for every other reporter; `panels` are those looked up already."""
    if of_panel(signal):
        return panels[signal.reporter] if signal.reporter in panels else read.get(Panel, signal.reporter)
    of_sensor = signal.evidence in FROM_DEVICES and signal.key.startswith(SENSOR_KEYS)
    return read.get(Sensor, signal.reporter) if of_sensor else None


def of_panel(signal: Signal) -> bool:
    """Whether a fire panel speaks. A feed, a panel and a sensor may have the same name; the wire says which it is."""
    return signal.evidence in FROM_DEVICES and not signal.key.startswith((*FROM_FEEDS, SENSOR_KEYS))


def _automatic(signal: Signal, device: Panel | Sensor | None, now_us: int) -> bool:
    if now_us - signal.received_us > AUTOMATIC_WITHIN_US:
        return False
    if signal.expires_us is not None and signal.expires_us <= now_us:
        return False
    if signal.evidence not in FROM_DEVICES:
        return True
    if device is None or not device.enabled:
        return False
    if device.maintenance_until_us is not None and now_us < device.maintenance_until_us:
        return False
    return not signal.test_bit or device.test_bit_meaningless
