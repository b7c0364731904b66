"""Muting: finds the graver incident that mutes a lesser one, and the lesser ones that a graver one mutes or lets go."""

from __future__ import annotations

from collections.abc import Iterator

from ...domain import inhibition
from ...domain.effects import Effect, TellIncident
from ...domain.incidents import Incident, Inhibited, Uninhibited
from ...domain.planning import City
from ...domain.rules import Rules
from ..ports import Page, Read
from ..rows import Footprint

GREATER_MAX = 50
LESSER_MAX = 500
LISTED_MAX = 2_000


def greater_of(read: Read, lesser: Incident, rules: Rules, city: City) -> Inhibited | None:
    """What mutes this incident now, if anything does."""
    if not inhibition.may_be_muted(lesser, rules):
        return None
    now_us = read.now_us()
    levels = tuple(range(1, max(rule.level for rule in rules.inhibition) + 1))
    line = city.tree.chain(lesser.area).all if lesser.area in city.tree.areas else (city.code,)
    cells = tuple(f"area/{code}" for code in line)
    fields: dict[str, object] = {"cell": cells, "use": str(lesser.use), "level": levels}
    if all(rule.mutes_hazards is None for rule in rules.inhibition):
        fields["hazard"] = lesser.hazard
    for row in read.find(Footprint, Page(limit=GREATER_MAX, order="-id"), **fields):
        greater = read.get(Incident, row.incident)
        why = inhibition.inhibits(greater, lesser, rules, city.tree, now_us) if greater is not None else ""
        if greater is not None and why:
            return Inhibited(greater.id, why, max(now_us, inhibition.hold_until_us(greater, rules)) + 1)
    return None


def concerns(before: Incident | None, after: Incident, rules: Rules) -> bool:
    """Whether a change could mute anything or let anything be heard."""
    if not rules.inhibition or (before is not None and _weight(before) == _weight(after)):
        return False
    rows = (after,) if before is None else (before, after)
    return any(
        row.inhibited_by or inhibition.may_mute(row, rules) or inhibition.may_be_muted(row, rules) for row in rows
    )


def consequences(read: Read, before: Incident | None, after: Incident, rules: Rules, city: City) -> Iterator[Effect]:
    """What a change of one incident means for those it mutes, and for itself if it is muted."""
    if not concerns(before, after, rules):
        return
    if after.inhibited_by:
        yield from recheck(read, after, rules, city)
    if before is not None and inhibition.may_mute(before, rules):
        for lesser in read.find(Incident, Page(limit=LESSER_MAX), inhibited_by=after.id):
            yield from recheck(read, lesser, rules, city)
    if inhibition.may_mute(after, rules) and inhibition.stands(after):
        yield from _mute_below(read, after, rules, city)


def recheck(read: Read, lesser: Incident, rules: Rules, city: City) -> Iterator[Effect]:
    """Whether what mutes an incident still does; another may take its place."""
    if not lesser.inhibited_by:
        return
    greater = read.get(Incident, lesser.inhibited_by)
    now_us = read.now_us()
    why = inhibition.inhibits(greater, lesser, rules, city.tree, now_us) if greater is not None else ""
    if greater is not None and why:
        until_us = max(now_us, inhibition.hold_until_us(greater, rules)) + 1
        yield TellIncident(lesser.id, Inhibited(greater.id, why, until_us))
        return
    other = greater_of(read, lesser, rules, city)
    if other is not None:
        yield TellIncident(lesser.id, other)
        return
    yield TellIncident(lesser.id, Uninhibited("what muted it no longer stands, no longer holds it, or has grown old"))


def _mute_below(read: Read, greater: Incident, rules: Rules, city: City) -> Iterator[Effect]:
    codes = [code for code in greater.place.areas if code in city.tree.areas]
    cells = tuple(f"{where}/{code}" for code in codes for where in ("area", "under"))
    levels = tuple(sorted({level for rule in rules.inhibition for level in rule.mutes_levels}))
    fields: dict[str, object] = {"cell": cells, "use": str(greater.use), "level": levels}
    if all(rule.mutes_hazards is None for rule in rules.inhibition):
        fields["hazard"] = greater.hazard
    now_us = read.now_us()
    rows = read.find(Footprint, Page(limit=LISTED_MAX, order="-id"), **fields) if cells else []
    for id in list(dict.fromkeys(row.incident for row in rows))[:LESSER_MAX]:
        lesser = read.get(Incident, id)
        if lesser is None or lesser.inhibited_by:
            continue
        why = inhibition.inhibits(greater, lesser, rules, city.tree, now_us)
        if why:
            until_us = max(now_us, inhibition.hold_until_us(greater, rules)) + 1
            yield TellIncident(lesser.id, Inhibited(greater.id, why, until_us))


def _weight(incident: Incident) -> tuple[object, ...]:
    """What muting looks at."""
    return (
        incident.state, incident.level, incident.place, incident.held, incident.lifted, incident.air,
        incident.inhibited_by,
    )  # fmt: skip
