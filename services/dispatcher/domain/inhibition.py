"""Inhibition: a city-wide red mutes the blue beneath it. Pure.

The lesser incident stays visible with its reason, asks nobody and drafts nothing. What people confirmed, what is on
the air, and anything in doubt is never muted; use never mixes.
"""

from __future__ import annotations

from .incidents import Air, Incident, IncidentState
from .places import AreaTree
from .rules import FIRE, InhibitionRule, Rules


def may_be_muted(incident: Incident, rules: Rules) -> bool:
    """Whether any rule could mute it, whatever else is open."""
    return _mutable(incident) and any(_is_lesser(incident, rule) for rule in rules.inhibition)


def may_mute(incident: Incident, rules: Rules) -> bool:
    """Whether any rule could let it mute others."""
    return any(_is_greater(incident, rule) for rule in rules.inhibition)


def inhibits(greater: Incident, lesser: Incident, rules: Rules, tree: AreaTree, now_us: int) -> str:
    """Why the greater incident mutes the lesser one, empty when it does not."""
    if greater.id == lesser.id or greater.use is not lesser.use or greater.level >= lesser.level:
        return ""
    if not _mutable(lesser) or not stands(greater):
        return ""
    for rule in rules.inhibition:
        fresh = now_us - greater.last_signal_us <= rule.hold_s * 1_000_000
        same = rule.mutes_hazards is not None or greater.hazard == lesser.hazard
        if fresh and same and _is_greater(greater, rule) and _is_lesser(lesser, rule) and _holds(greater, lesser, tree):
            return f"a {greater.hazard} of level {greater.level} stands for the whole of its area: {greater.headline}"
    return ""


def stands(greater: Incident) -> bool:
    """Whether an incident is still what it was: open, not refuted, not taken back and not declared over."""
    return (
        greater.open
        and greater.state is not IncidentState.REFUTED
        and not (greater.held or greater.lifted or greater.inhibited_by)
    )


def hold_until_us(greater: Incident, rules: Rules) -> int:
    """Until when the last word about the greater incident counts, at most."""
    return greater.last_signal_us + max((rule.hold_s for rule in rules.inhibition), default=0) * 1_000_000


def _mutable(incident: Incident) -> bool:
    asked = incident.state in (IncidentState.SUSPECTED, IncidentState.VERIFYING)
    return asked and incident.air in (Air.NOT_YET, Air.OVER)


def _is_greater(incident: Incident, rule: InhibitionRule) -> bool:
    return incident.level <= rule.level and (rule.hazards is None or incident.hazard in rule.hazards)


def _is_lesser(incident: Incident, rule: InhibitionRule) -> bool:
    if incident.level not in rule.mutes_levels:
        return False
    named = rule.mutes_hazards is not None and incident.hazard in rule.mutes_hazards
    if rule.mutes_hazards is not None and not named:
        return False
    if incident.hazard == FIRE and not named:
        return False
    return incident.venue is None or (rule.venues and named)


def _holds(greater: Incident, lesser: Incident, tree: AreaTree) -> bool:
    """Whether every area of the lesser one lies in the greater one's; a mere shape is not known to lie in anything but
    the whole city."""
    wide = [code for code in greater.place.areas if code in tree.areas]
    if not wide or greater.venue is not None:
        return False
    narrow = lesser.place.areas if lesser.venue is None else (lesser.area,)
    if lesser.venue is None and lesser.place.shapes and tree.root not in wide:
        return False
    return all(
        code in tree.areas and any(tree.is_within(code, each) for each in wide) for code in narrow or (lesser.area,)
    )
