from __future__ import annotations

import pytest

from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.places import Office, OfficeKind
from services.dispatcher.domain.planning import City, Plan
from services.dispatcher.domain.playbook import Playbook, Target
from services.dispatcher.domain.refusals import NotFound, WrongState
from services.dispatcher.domain.signals import Place
from services.dispatcher.engine.air.staging import stage, stage_audio, standing_words
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.events import AudioRendered, ServiceChanged
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Asset, CitySettings, Wording
from tests import builders
from tests.builders import (
    DISTRICT,
    MALL,
    NOON_US,
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


def test_standing_orders_find_plan_and_words_ready_in_both_uses(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()), storm_playbook())
    assert stage(town.store, town.engine.read_city(), playbooks) == 1
    assert stage(town.store, town.engine.read_city(), playbooks) == 0
    plan = town.get(Plan, "fire-underground/mall")
    assert (plan.speakers, plan.stream_area) == (("mall-1",), builders.OTHER_STREET)
    assert sum(lane.startswith(Carry.RENDER_AHEAD) for lane in town.lanes()) == 4


def test_plans_are_made_anew_for_a_changed_city_and_when_they_are_a_day_old(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order(), venue_kinds=None),)
    assert stage(town.store, town.engine.read_city(), playbooks) == 2
    town.rebuild(without=("square-1",))
    assert stage(town.store, town.engine.read_city(), playbooks) == 2
    town.clock.advance(86_401)
    assert stage(town.store, town.engine.read_city(), playbooks) == 2


def test_nothing_is_staged_for_what_people_release_or_where_nobody_would_hear_it(town: Town) -> None:
    town.rebuild(without=("mall-1",))
    playbooks = (
        fire_playbook(standing=standing_order()),
        fire_playbook(id="places", standing=standing_order(), target=Target.PLACES),
        storm_playbook(),
    )
    assert stage(town.store, town.engine.read_city(), playbooks) == 0


def rendered(town: Town, count: int = 100) -> list[Asset]:
    """The worker renders the first `count` of the words it was asked for."""
    with town.store.read() as read:
        wordings = read.find(Wording, Page())[:count]
    assets = [Asset(w.id, w.lang, "opus", w.id * 2, 9_000, 27_000, spoken=True) for w in wordings]
    town.engine.handle([AudioRendered(asset) for asset in assets])
    return assets


def staged_audio(town: Town, city: City, playbooks: tuple[Playbook, ...]) -> int:
    return stage_audio(town.store, city, standing_words(city, playbooks))


def test_speakers_of_a_standing_order_hold_its_audio_ready_once_all_of_it_is_rendered(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()), storm_playbook())
    stage(town.store, town.engine.read_city(), playbooks)
    rendered(town, 3)
    assert staged_audio(town, town.engine.read_city(), playbooks) == 0
    before = town.engine.read_city()
    assets = rendered(town)
    assert staged_audio(town, before, playbooks) == 1
    after = town.engine.read_city()
    staged = after.venues[MALL].staged
    assert {audio.sha256 for audio in staged} == {asset.sha256 for asset in assets}
    assert [audio.lang for audio in staged] == ["zh", "en", "zh", "en"]
    assert {s.id for s in after.speakers.values() if s.config_version > before.speakers[s.id].config_version} == {
        "mall-1"
    }
    assert f"{Carry.PUBLISH_CONFIG}:mall-1" in town.lanes()
    assert staged_audio(town, after, playbooks) == 0


def test_what_is_staged_survives_an_import_and_goes_with_its_standing_order(town: Town) -> None:
    playbooks = (fire_playbook(standing=standing_order()),)
    stage(town.store, town.engine.read_city(), playbooks)
    rendered(town)
    staged_audio(town, town.engine.read_city(), playbooks)
    town.rebuild()
    assert len(town.engine.read_city().venues[MALL].staged) == 4
    assert staged_audio(town, town.engine.read_city(), (fire_playbook(),)) == 1
    assert town.engine.read_city().venues[MALL].staged == ()


def test_venues_are_named_in_plans() -> None:
    town = builders.town(playbooks=(fire_playbook(venue_kinds=None),))
    incident = town.signal(builders.fire_signal(place=Place(venue=SQUARE)))
    assert town.alert(incident).texts["zh"] == "场所square发生火情，请立即撤离。"
