"""Intake: is this delivery new, where is it, and which open incident does it belong to?"""

from __future__ import annotations

from math import cos, floor, radians

from ..domain.incidents import JOIN_DISTANCE_M, JOIN_WITHIN_S_DEFAULT, Incident, IncidentState, SignalJoined
from ..domain.places import distance_m
from ..domain.planning import City
from ..domain.playbook import Playbook, matching
from ..domain.refusals import NotFound
from ..domain.risk import Witness
from ..domain.signals import Evidence, Panel, Place, Sensor, Signal, SignalKind
from .ports import Ids, Page, Read

CELL_E7 = 90_000
OPEN_INCIDENTS_MAX = 500
OPEN_STATES = tuple(s for s in IncidentState if s is not IncidentState.CLOSED)
REPORTS = (SignalKind.ALERT, SignalKind.UPDATE)
SENSOR_KEYS = "mqtt/"
AUTOMATIC_WITHIN_US = 600_000_000
"""A report that reaches the engine later than this, as after an outage, is for people to decide on."""


class Spot:
    """Where a signal happened, resolved against the city: venue, area and point, and what could not be understood."""

    def __init__(self, place: Place, city: City) -> None:
        known = tuple(code for code in place.areas if code in city.tree.areas)
        venue = city.venues.get(place.venue) if place.venue else None
        self.place = Place(venue.id if venue else None, known, place.shapes, place.names)
        self.venue = venue.id if venue else None
        self.lat_e7 = venue.lat_e7 if venue else None
        self.lon_e7 = venue.lon_e7 if venue else None
        unknown = [code for code in place.areas if code not in city.tree.areas]
        self.not_understood = ", ".join(unknown + ([place.venue] if place.venue and venue is None else []))
        if venue is not None:
            self.area = venue.area
        elif known:
            self.area = city.tree.lowest_common(known)
        else:
            self.area = city.code

    @property
    def cells(self) -> tuple[str, ...]:
        """Its own ~1 km cell first, then the eight around it; one name for signals without a point."""
        if self.lat_e7 is None or self.lon_e7 is None:
            return (f"area/{self.area}",)
        row = floor(self.lat_e7 / CELL_E7)
        width = CELL_E7 / max(0.05, cos(radians(row * CELL_E7 / 1e7)))
        column = floor(self.lon_e7 / width)
        near = [(row, column)] + [
            (row + dy, column + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
        ]
        return tuple(f"{y}/{x}" for y, x in near)


def lock_names(signal: Signal, spot: Spot) -> tuple[str, ...]:
    """The join locks of a signal, in one fixed order everywhere."""
    return tuple(sorted(f"join/{signal.use}/{signal.hazard}/{cell}" for cell in spot.cells))


def find_incident(read: Read, signal: Signal, spot: Spot, playbooks: dict[str, Playbook]) -> str | None:
    """The open incident this signal belongs to: by reference first, else of the same use and hazard, near in space
    and time. Sources of different use never join."""
    for reference in signal.references:
        incident_id = read.signal_incident(reference)
        incident = read.get(Incident, incident_id) if incident_id else None
        if incident is not None and incident.open and incident.use is signal.use:
            return incident.id
    if signal.kind is SignalKind.CANCEL and signal.references:
        # It takes back what it names and nothing that only lies near.
        return None
    newest = Page(limit=OPEN_INCIDENTS_MAX, order="-opened_us")
    candidates = read.find(Incident, newest, use=signal.use, hazard=signal.hazard, state=OPEN_STATES)
    for incident in candidates:
        if belongs(incident, signal, spot, playbooks.get(incident.playbook)):
            return incident.id
    return None


def belongs(incident: Incident, signal: Signal, spot: Spot, playbook: Playbook | None) -> bool:
    """Same venue, or within 1 km, or the same named areas; and not after the playbook's joining time."""
    within_s = playbook.join_within_s if playbook else JOIN_WITHIN_S_DEFAULT
    if signal.received_us - incident.last_signal_us > within_s * 1_000_000:
        return False
    if spot.venue is not None and incident.venue is not None:
        if spot.venue == incident.venue:
            return True
        if None in (spot.lat_e7, incident.lat_e7):
            return False
        assert spot.lat_e7 is not None and spot.lon_e7 is not None
        assert incident.lat_e7 is not None and incident.lon_e7 is not None
        near = distance_m(spot.lat_e7, spot.lon_e7, incident.lat_e7, incident.lon_e7) <= JOIN_DISTANCE_M
        # A standing order reaches only the venue of the panel that raised it, so its incident stays that venue's.
        return near and not (playbook is not None and playbook.standing is not None)
    if spot.venue is None and incident.venue is None:
        return bool(set(spot.place.areas) & set(incident.place.areas)) or (
            not spot.place.areas and not incident.place.areas and _same_nowhere(incident, signal, spot)
        )
    return False


def _same_nowhere(incident: Incident, signal: Signal, spot: Spot) -> bool:
    """Two places that nobody understands are the same only for one reporter."""
    if spot.area != incident.area:
        return False
    return not spot.not_understood or any(w.reporter == signal.reporter for w in incident.witnesses)


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
        cell=spot.cells[0],
        lat_e7=spot.lat_e7,
        lon_e7=spot.lon_e7,
        opened_us=now_us,
        last_signal_us=signal.received_us,
    )


def joined(signal: Signal, spot: Spot, incident: Incident, device: Panel | Sensor | None, now_us: int) -> SignalJoined:
    """The signal as the incident sees it, with its witness. A test bit or maintenance makes it a matter for people."""
    if signal.kind not in REPORTS or signal.evidence in (Evidence.FAULT, Evidence.SYSTEM):
        return SignalJoined(signal, None, incident.place)
    automatic = _automatic(signal, device, now_us)
    witness = Witness(signal.reporter, signal.device, signal.evidence, automatic, signal.claimed_level)
    return SignalJoined(signal, witness, _place(signal, spot, incident))


def _place(signal: Signal, spot: Spot, incident: Incident) -> Place:
    """A venue stays. An only reporter may draw its own area anew; a further one never takes from what others named."""
    if incident.venue is not None:
        return incident.place
    if all(w.reporter == signal.reporter for w in incident.witnesses):
        return spot.place
    was, said = incident.place, spot.place
    return Place(
        None,
        tuple(dict.fromkeys((*was.areas, *said.areas))),
        tuple(dict.fromkeys((*was.shapes, *said.shapes))),
        tuple(dict.fromkeys((*was.names, *said.names))),
    )


def device_of(read: Read, signal: Signal) -> Panel | Sensor | None:
    """The enrolled panel or sensor that speaks, None for every other reporter."""
    if signal.evidence not in (Evidence.DETECTOR, Evidence.CALL_POINT):
        return None
    # A panel and a sensor may have the same name; the wire says which of them it is.
    if signal.key.startswith(SENSOR_KEYS):
        return read.get(Sensor, signal.reporter)
    return read.get(Panel, signal.reporter)


def _automatic(signal: Signal, device: Panel | Sensor | None, now_us: int) -> bool:
    if now_us - signal.received_us > AUTOMATIC_WITHIN_US:
        return False
    if signal.expires_us is not None and signal.expires_us <= now_us:
        return False
    if signal.evidence not in (Evidence.DETECTOR, Evidence.CALL_POINT, Evidence.PANEL):
        return True
    if device is None or not device.enabled:
        return False
    if device.maintenance_until_us is not None and now_us < device.maintenance_until_us:
        return False
    return not signal.test_bit or device.test_bit_meaningless


def spot_of(signal: Signal, city: City) -> Spot:
    """Where the signal is; the city itself when nothing of its place is understood."""
    try:
        return Spot(signal.place, city)
    except NotFound:
        return Spot(Place(names=signal.place.names), city)
