"""Joining: which incident a signal belongs to, by what it refers to or by being near in space and time. Pure."""

from __future__ import annotations

from devices.protocols.selector import Circle

from .incidents import Incident
from .nearness import point_near_shapes, points_near, shapes_near
from .places import AreaTree
from .playbook import Playbook
from .rules import Areas, JoinRule, Rules
from .signals import Place, Signal
from .spots import Spot

PLACE_AREAS_MAX = 64
PLACE_SHAPES_MAX = 64
PLACE_NAMES_MAX = 64


def belongs(incident: Incident, signal: Signal, spot: Spot, playbook: Playbook | None, rules: Rules, tree: AreaTree,
            ) -> bool:  # fmt: skip
    """Whether a signal of the incident's use and hazard is near it in space and in time."""
    rule = rules.join(signal.hazard)
    within_s = playbook.join_within_s if playbook else rule.within_s
    if signal.received_us - incident.last_signal_us > within_s * 1_000_000:
        return False
    standing = playbook is not None and playbook.standing is not None
    if spot.venue is not None and incident.venue is not None:
        # A standing order reaches only the venue of the panel that raised it, so its incident stays that venue's.
        return spot.venue == incident.venue or (not standing and _points_near(incident, spot, rule))
    if incident.venue is not None:
        return not standing and _point_report_near(incident, spot, rule)
    if spot.venue is not None:
        return _venue_within(incident, spot, rule, tree)
    if not _fits(incident.place, spot.place):
        return False
    if spot.place.areas and incident.place.areas and _areas_meet(incident.place, spot, rule, tree):
        return True
    if spot.place.shapes and incident.place.shapes:
        return shapes_near(spot.place.shapes, incident.place.shapes, rule.distance_m)
    nowhere = not (spot.place.areas or spot.place.shapes or incident.place.areas or incident.place.shapes)
    return nowhere and _same_nowhere(incident, signal, spot)


def _points_near(incident: Incident, spot: Spot, rule: JoinRule) -> bool:
    if spot.lat_e7 is None or spot.lon_e7 is None or incident.lat_e7 is None or incident.lon_e7 is None:
        return False
    return points_near(spot.lat_e7, spot.lon_e7, incident.lat_e7, incident.lon_e7, rule.distance_m)


def _point_report_near(incident: Incident, spot: Spot, rule: JoinRule) -> bool:
    """A report of a mere point joins a venue near it. One of a wide shape does not: its width would be lost there."""
    shapes = spot.place.shapes
    if incident.lat_e7 is None or incident.lon_e7 is None or len(shapes) != 1 or spot.place.areas:
        return False
    (shape,) = shapes
    small = isinstance(shape, Circle) and shape.radius_m <= rule.distance_m
    return small and point_near_shapes(incident.lat_e7, incident.lon_e7, shapes, rule.distance_m)


def _venue_within(incident: Incident, spot: Spot, rule: JoinRule, tree: AreaTree) -> bool:
    """A venue joins an incident of areas or shapes that holds it, where the rule says overlap: nothing is lost."""
    if rule.areas is not Areas.OVERLAP or spot.lat_e7 is None or spot.lon_e7 is None:
        return False
    if any(code in spot.line for code in incident.place.areas):
        return True
    return point_near_shapes(spot.lat_e7, spot.lon_e7, incident.place.shapes, 0)


def _areas_meet(place: Place, spot: Spot, rule: JoinRule, tree: AreaTree) -> bool:
    if not set(place.areas).isdisjoint(spot.place.areas):
        return True
    if rule.areas is not Areas.OVERLAP:
        return False
    if not set(place.areas).isdisjoint(spot.line):
        return True
    above = {step for code in place.areas if code in tree.areas for step in tree.chain(code).all}
    return not above.isdisjoint(spot.place.areas)


def _fits(place: Place, said: Place) -> bool:
    """Whether both places together stay within the bounds; what does not fit is an incident of its own, not lost."""
    areas = len(set(place.areas) | set(said.areas))
    return areas <= max(PLACE_AREAS_MAX, len(place.areas)) and len(set(place.shapes) | set(said.shapes)) <= max(
        PLACE_SHAPES_MAX, len(place.shapes)
    )


def _same_nowhere(incident: Incident, signal: Signal, spot: Spot) -> bool:
    """Two places that nobody understands are the same only for one reporter."""
    if spot.area != incident.area:
        return False
    unclear = spot.not_understood or any(note.kind == "incident.place_ambiguous" for note in spot.notes)
    return not unclear or any(w.reporter == signal.reporter for w in incident.witnesses)


def united(incident: Incident, said: Place, redraws: bool) -> Place:
    """The incident's place with what a signal says. A venue stays. `redraws` lets an only reporter draw its own area
    anew; else nothing is ever taken from what was named."""
    if incident.venue is not None:
        return incident.place
    if redraws:
        return said
    was = incident.place
    return Place(
        None,
        tuple(dict.fromkeys((*was.areas, *said.areas))),
        tuple(dict.fromkeys((*was.shapes, *said.shapes))),
        tuple(dict.fromkeys((*was.names, *said.names)))[:PLACE_NAMES_MAX],
    )
