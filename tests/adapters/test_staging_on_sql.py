"""Staging and the city in memory over every kind of store."""

from __future__ import annotations

from dataclasses import replace

from services.dispatcher.domain.planning import Plan
from services.dispatcher.engine.air.staging import Staged, Staging
from services.dispatcher.engine.cities import city_changed
from services.dispatcher.engine.events import ServiceChanged
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Asset, Wording
from services.dispatcher.engine.writing import WritableStore
from tests import builders
from tests.builders import MALL, NOON_US, SECOND_US, Town, fire_playbook, standing_order

PLAYBOOKS = (fire_playbook(standing=standing_order(), venue_kinds=None),)


def staged(town: Town, staging: Staging) -> Staged:
    """What all bites have done until nothing waited."""
    plans = venues = 0
    more = True
    while more:
        bite = staging.step(town.engine.read_city(), PLAYBOOKS)
        plans, venues, more = plans + bite.plans, venues + bite.venues, bite.more
    return Staged(plans, venues)


def test_plans_are_made_where_something_changed_and_audio_is_held_ready(store: WritableStore) -> None:
    town = builders.town(store)
    staging = Staging(store)
    assert staged(town, staging) == Staged(plans=2)
    with store.write() as tx:
        words = tx.find(Wording, Page())
        tx.put(*(Asset(w.id, w.lang, "opus", w.id * 2, 9_000, 27_000, spoken=True) for w in words))
    staging.look_again()
    assert staged(town, staging) == Staged(venues=2)
    town.engine.handle([ServiceChanged("mall-1", "wu", "water", NOON_US + SECOND_US)])
    assert staged(town, staging) == Staged()
    second = builders.speaker("mall-2", town.engine.read_city().venues[MALL])
    with store.write() as tx:
        tx.put(second)
        city_changed(tx, speakers=(second.id,))
    assert staged(town, staging) == Staged(plans=1)
    assert town.get(Plan, "fire-underground/mall").speakers == ("mall-1", "mall-2")
    assert staged(town, Staging(store)) == Staged()


def test_a_city_that_was_brought_up_to_date_is_the_one_that_is_stored(store: WritableStore) -> None:
    town = builders.town(store)
    before = town.engine.read_city()
    town.engine.handle([ServiceChanged(id, "wu", "water", NOON_US + SECOND_US) for id in ("mall-1", "square-2")])
    with store.write() as tx:
        tx.put(replace(before.venues[MALL], name="新天地"))
        city_changed(tx, venues=(MALL,))
    now, afresh = town.engine.read_city(), builders.engine(store).read_city()
    assert (now.version, now.venues, now.speakers) == (afresh.version, afresh.venues, afresh.speakers)
    assert (now.tree is before.tree, now.speakers["square-1"] is before.speakers["square-1"]) == (True, True)
