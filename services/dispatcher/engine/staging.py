"""Staging: plans and words of standing orders are made ahead, so that an alarm finds them ready."""

from __future__ import annotations

from collections.abc import Iterable

from ..domain.effects import Carry, Save
from ..domain.planning import City, Plan, fill, make_plan, plan_id
from ..domain.playbook import Playbook, Target
from ..domain.refusals import NoTargets, OverCap
from ..domain.signals import Place, Use
from .drafts import wording_for
from .ports import Asset, Store, Tx, Wording


def stage(store: Store, city: City, playbooks: Iterable[Playbook]) -> int:
    """Make every plan that a standing order may need, and ask for the audio of its alert in both uses. How many plans
    were made or made anew. One transaction a venue, so that an alarm never waits for this."""
    made = 0
    for playbook in playbooks:
        if playbook.standing is None or playbook.target is not Target.VENUE:
            continue
        for venue in city.venues.values():
            if playbook.venue_kinds is None or str(venue.kind) in playbook.venue_kinds:
                with store.write() as tx:
                    made += _stage_venue(tx, city, playbook, venue.id)
    return made


def _stage_venue(tx: Tx, city: City, playbook: Playbook, venue: str) -> bool:
    place = Place(venue=venue)
    kept = tx.get(Plan, plan_id(playbook, venue, place))
    if kept is not None and kept.fits(playbook, city, tx.now_us()):
        return False
    try:
        plan = make_plan(playbook, venue, place, city, tx.now_us())
    except (NoTargets, OverCap):
        # A venue without speakers, or beyond the link: an incident there says so when its order is drafted.
        return False
    tx.put(plan)
    texts = fill(playbook.spoken.alert, plan.place_names)
    for use in Use:
        for lang, text in texts.items():
            _want(tx, wording_for(lang, text, str(use), "alert", playbook.level_corroborated, playbook.event_code))
    return True


def _want(tx: Tx, wording: Wording) -> None:
    if tx.get(Asset, wording.id) is None:
        tx.put(wording)
        tx.save(Save(Carry.RENDER_AUDIO, wording.id))
