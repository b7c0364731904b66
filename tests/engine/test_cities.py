from __future__ import annotations

from dataclasses import replace

import pytest

from services.dispatcher.domain.broadcasts import BroadcastState
from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.places import Office, OfficeKind, OutOfService, VenueKind
from services.dispatcher.domain.planning import Plan
from services.dispatcher.domain.playbook import Playbook, Target
from services.dispatcher.domain.refusals import NotFound, PlanOutOfDate, WrongState
from services.dispatcher.domain.signals import Place
from services.dispatcher.engine.air.staging import PLANS_A_BITE, Staged, Staging
from services.dispatcher.engine.cities import CHANGES_KEPT, CityInMemory, city_changed, import_city
from services.dispatcher.engine.events import AudioRendered, ServiceChanged
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Asset, CityChange, CitySettings, Wording
from tests import builders
from tests.builders import (
    DISTRICT,
    MALL,
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    SQUARE,
    Town,
    city_settings,
    fire_playbook,
    standing_order,
    storm_playbook,
)


@pytest.fixture
def town() -> Town:
    return builders.town()


def test_an_import_raises_the_version_and_sends_every_config_anew(town: Town) -> None:
    assert town.get(CitySettings, "city").version == 1
    town.rebuild()
    city = town.engine.read_city()
    assert (city.version, len(city.speakers)) == (2, 3)
    assert {f"publish_config:{name}" for name in city.speakers} <= town.lanes()


def test_configs_never_go_back_behind_what_speakers_hold_from_before_a_restore(town: Town) -> None:
    before = town.engine.read_city().speakers["mall-1"].config_version
    town.clock.advance(1)
    town.rebuild()
    assert (before, town.engine.read_city().speakers["mall-1"].config_version) == (
        NOON_US // 1_000,
        NOON_US // 1_000 + 1_000,
    )


@pytest.mark.parametrize("moved_s", [-7_200, 0], ids=["clock put back", "same millisecond"])
def test_versions_of_configs_never_go_back_or_stay(moved_s: int, town: Town) -> None:
    before = town.engine.read_city().speakers["mall-1"].config_version
    town.clock.advance(moved_s)
    town.rebuild()
    assert town.engine.read_city().speakers["mall-1"].config_version == before + 1


def test_a_speaker_no_longer_named_is_struck_off_and_kept(town: Town) -> None:
    town.rebuild(without=("mall-1",))
    assert not town.engine.read_city().speakers["mall-1"].enrolled


def test_an_office_no_longer_named_is_not_asked_any_more(town: Town) -> None:
    town.rebuild(builders.office("new-office", DISTRICT, OfficeKind.TOWN), without=("district-centre",))
    with town.store.read() as read:
        assert sorted(o.id for o in read.find(Office, Page())) == [
            "city-duty",
            "new-office",
            "other-office",
            "street-office",
        ]


def test_another_city_does_not_go_over_this_one(town: Town) -> None:
    with pytest.raises(WrongState), town.store.write() as tx:
        import_city(tx, city_settings(code="440307000000"), [], "test")


def test_service_of_an_unknown_speaker_is_refused(town: Town) -> None:
    with pytest.raises(NotFound):
        town.engine.handle([ServiceChanged("nobody", "wu", "water", NOON_US)])


def test_the_city_is_read_again_when_it_has_changed(town: Town) -> None:
    assert town.engine.read_city() is town.engine.read_city()
    town.rebuild(builders.speaker("mall-2", town.engine.read_city().venues[MALL]))
    assert "mall-2" in town.engine.read_city().speakers


# Staging


def staged(town: Town, playbooks: tuple[Playbook, ...], staging: Staging | None = None) -> Staged:
    """Everything that a gateway stages, bite after bite, with the audio there is; what all bites have done."""
    staging = staging or Staging(town.store)
    staging.look_again(everywhere=True)
    plans = venues = 0
    more = True
    while more:
        bite = staging.step(town.engine.read_city(), playbooks)
        plans, venues, more = plans + bite.plans, venues + bite.venues, bite.more
    return Staged(plans, venues)


def test_standing_orders_find_plan_and_words_ready_in_both_uses(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()), storm_playbook())
    assert staged(town, playbooks) == Staged(plans=1)
    assert staged(town, playbooks) == Staged()
    plan = town.get(Plan, "fire-underground/mall")
    assert (plan.speakers, plan.stream_area) == (("mall-1",), builders.OTHER_STREET)
    assert sum(lane.startswith(Carry.RENDER_AHEAD) for lane in town.lanes()) == 4


def test_nothing_is_staged_for_what_people_release_or_where_nobody_would_hear_it(town: Town) -> None:
    town.rebuild(without=("mall-1",))
    playbooks = (
        fire_playbook(standing=standing_order()),
        fire_playbook(id="places", standing=standing_order(), target=Target.PLACES),
        storm_playbook(),
    )
    assert staged(town, playbooks) == Staged()


def test_only_plans_that_looked_at_what_changed_are_made_anew(town: Town) -> None:
    """One struck off: its venue's. One out of service: none, because it stays targeted."""
    playbooks = (
        fire_playbook(standing=standing_order(), venue_kinds=None),
        fire_playbook(id="gas", standing=standing_order(), venue_kinds=None),
    )
    staging = Staging(town.store)
    assert staged(town, playbooks, staging) == Staged(plans=4)
    town.engine.handle([ServiceChanged("square-1", "wu", "water", NOON_US + SECOND_US)])
    assert staged(town, playbooks, staging) == Staged()
    town.rebuild(without=("square-1",))
    assert staged(town, playbooks, staging) == Staged(plans=2)
    town.clock.advance(30 * 86_400)
    assert staged(town, playbooks) == Staged()


def test_a_changed_playbook_has_its_own_plans_made_anew_and_its_new_words_asked_for(town: Town) -> None:
    fire, gas = (fire_playbook(id=id, standing=standing_order(), venue_kinds=None) for id in ("fire", "gas"))
    staging = Staging(town.store)
    staged(town, (fire, gas), staging)
    spoken = replace(gas.spoken, alert={"zh": "{place}燃气泄漏。"})
    before = town.lanes()
    assert staged(town, (fire, replace(gas, version="v2", spoken=spoken)), staging) == Staged(plans=2)
    assert sum(lane.startswith(Carry.RENDER_AHEAD) for lane in town.lanes() - before) == 4


def test_each_step_is_one_short_bite_and_goes_on_where_the_last_one_ended(town: Town) -> None:
    halls = [builders.venue(f"hall-{n:02}", OTHER_STREET, kind=VenueKind.UNDERGROUND) for n in range(60)]
    town.rebuild(*halls, *(builders.speaker(f"{hall.id}-1", hall) for hall in halls))
    staging, playbooks = Staging(town.store), (fire_playbook(standing=standing_order()),)
    city = town.engine.read_city()
    assert [staging.step(city, playbooks).plans for _ in range(4)] == [PLANS_A_BITE, PLANS_A_BITE, 11, 0]


def test_a_standing_order_acts_on_the_city_as_it_is_whatever_was_staged() -> None:
    playbook = fire_playbook(standing=standing_order())
    town = builders.town(playbooks=(playbook,))
    staged(town, (playbook,))
    mall = town.engine.read_city().venues[MALL]
    with town.store.write() as tx:
        tx.put(builders.panel(), builders.speaker("mall-2", mall), replace(mall, name="新天地"))
        city_changed(tx, venues=(MALL,), speakers=("mall-2",))
    town.signal(builders.fire_signal())
    incident = town.signal(builders.fire_signal("panel/mall/2", device="smoke-2"))
    alert = town.alert(incident)
    assert (alert.state, alert.speakers, alert.place_names) == (BroadcastState.ON_AIR, 2, {"zh": "新天地"})
    with town.store.read() as read:
        assert [row.speaker for row in read.expected(alert.id)] == ["mall-1", "mall-2"]


def test_a_draft_whose_place_got_another_name_is_read_and_released_anew(town: Town) -> None:
    draft = town.alert(town.signal(builders.fire_signal()))
    renamed = replace(town.engine.read_city().venues[MALL], name="新天地")
    with town.store.write() as tx:
        tx.put(renamed)
        city_changed(tx, venues=(MALL,))
    with pytest.raises(PlanOutOfDate):
        town.release(draft.id, "li")
    assert town.release(draft.id, "li").texts["zh"] == "新天地发生火情，请立即撤离。"


def test_only_rows_that_changed_are_read_again(town: Town) -> None:
    before = town.engine.read_city()
    town.engine.handle([ServiceChanged("mall-1", "wu", "water", NOON_US + SECOND_US)])
    after = town.engine.read_city()
    assert (after.version, after.tree is before.tree) == (before.version + 1, True)
    assert after.speakers["mall-1"].out_of_service == OutOfService("wu", "water", NOON_US + SECOND_US)
    assert after.at_venue(SQUARE) is before.at_venue(SQUARE)
    assert after.changed_venues(before) == [MALL]


def test_a_change_that_names_no_rows_or_is_not_known_any_more_has_the_whole_city_read(town: Town) -> None:
    other = CityInMemory()
    for named in ((), ("mall-1",)):
        before = town.engine.read_city()
        with town.store.write() as tx:
            tx.put(replace(before.speakers["square-1"], lat_e7=before.speakers["square-1"].lat_e7 + 1))
            city_changed(tx, speakers=named)
        with town.store.read() as read:
            whole = CityInMemory().get(read)
            if not named:
                assert other.get(read).speakers == town.engine.read_city().speakers == whole.speakers
    # What was named was read, and nothing else: who changes a row must name it.
    assert town.engine.read_city().speakers["square-1"] == before.speakers["square-1"] != whole.speakers["square-1"]


def test_lists_of_changed_rows_are_kept_for_a_while(town: Town) -> None:
    for _ in range(CHANGES_KEPT + 2):
        with town.store.write() as tx:
            city_changed(tx, speakers=("mall-1",))
    with town.store.read() as read:
        assert len(read.find(CityChange, Page(limit=2 * CHANGES_KEPT))) == CHANGES_KEPT


def rendered(town: Town, count: int = 100) -> list[Asset]:
    """The worker renders the first `count` of the words it was asked for."""
    with town.store.read() as read:
        wordings = read.find(Wording, Page())[:count]
    assets = [Asset(w.id, w.lang, "opus", w.id * 2, 9_000, 27_000, spoken=True) for w in wordings]
    town.engine.handle([AudioRendered(asset) for asset in assets])
    return assets


def test_speakers_of_a_standing_order_hold_its_audio_ready_once_all_of_it_is_rendered(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()), storm_playbook())
    staging = Staging(town.store)
    staged(town, playbooks, staging)
    rendered(town, 3)
    assert staged(town, playbooks, staging) == Staged()
    before = town.engine.read_city()
    assets = rendered(town)
    assert staged(town, playbooks, staging) == Staged(venues=1)
    after = town.engine.read_city()
    held = after.venues[MALL].staged
    assert {audio.sha256 for audio in held} == {asset.sha256 for asset in assets}
    assert [audio.lang for audio in held] == ["zh", "en", "zh", "en"]
    assert {s.id for s in after.speakers.values() if s.config_version > before.speakers[s.id].config_version} == {
        "mall-1"
    }
    assert f"{Carry.PUBLISH_CONFIG}:mall-1" in town.lanes()
    assert staged(town, playbooks, staging) == Staged()


def test_two_gateways_tell_speakers_of_their_audio_once(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()),)
    one, other = Staging(town.store), Staging(town.store)
    city = town.engine.read_city()
    staged(town, playbooks, one)
    other.step(city, playbooks)
    rendered(town)
    assert staged(town, playbooks, one) == Staged(venues=1)
    version = town.engine.read_city().speakers["mall-1"].config_version
    while (bite := other.step(city, playbooks)).more:
        assert bite.venues == 0
    assert town.engine.read_city().speakers["mall-1"].config_version == version


def test_what_is_staged_survives_an_import_and_goes_with_its_standing_order(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()),)
    staging = Staging(town.store)
    staged(town, playbooks, staging)
    rendered(town)
    staged(town, playbooks, staging)
    town.rebuild()
    assert len(town.engine.read_city().venues[MALL].staged) == 4
    assert staged(town, (fire_playbook(),), staging) == Staged(venues=1)
    assert town.engine.read_city().venues[MALL].staged == ()


# Leases


def test_a_name_is_held_by_one_until_it_no_longer_renews(town: Town) -> None:
    assert hold(town.store, "gw-0", "one", 3 * SECOND_US)
    assert not hold(town.store, "gw-0", "two", 3 * SECOND_US)
    town.clock.advance(2)
    assert hold(town.store, "gw-0", "one", 3 * SECOND_US)
    town.clock.advance(2)
    assert not hold(town.store, "gw-0", "two", 3 * SECOND_US)
    town.clock.advance(1)
    assert hold(town.store, "gw-0", "two", 3 * SECOND_US)
    assert not hold(town.store, "gw-0", "one", 3 * SECOND_US)
    assert hold(town.store, "gw-1", "one", 3 * SECOND_US)


def test_venues_are_named_in_plans() -> None:
    town = builders.town(playbooks=(fire_playbook(venue_kinds=None),))
    incident = town.signal(builders.fire_signal(place=Place(venue=SQUARE)))
    assert town.alert(incident).texts["zh"] == "场所square发生火情，请立即撤离。"
