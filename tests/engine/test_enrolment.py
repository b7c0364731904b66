"""Enrolment: what is refused leaves nothing behind, and what is enrolled again keeps what must outlast it."""

from __future__ import annotations

import pytest

from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.domain.signals import Feed, Panel, Sensor, Use
from services.dispatcher.engine import enrolment
from services.dispatcher.engine.cities import begin_world
from services.dispatcher.engine.leases import gateway_client
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import BrokerAccount
from tests import builders
from tests.builders import DISTRICT, MALL, Town


@pytest.fixture
def town() -> Town:
    return builders.town()


def feed(id: str, use: Use = Use.EXERCISE) -> Feed:
    return Feed(id, id, "气象局", "cap", use, "hash", DISTRICT)


def rows(town: Town, kind: type[Feed] | type[Panel] | type[BrokerAccount]) -> list[str]:
    with town.store.read() as read:
        return [row.id for row in read.find(kind, Page())]


def test_feeds_are_enrolled_all_or_none(town: Town) -> None:
    enrolment.enrol_feeds(town.store, [feed("one")], "admin", [DISTRICT])
    with pytest.raises(enrolment.UseDiffers):
        enrolment.enrol_feeds(town.store, [feed("two"), feed("one", Use.ACTUAL)], "admin", [DISTRICT])
    with pytest.raises(enrolment.FeedRefused):
        enrolment.enrol_feeds(town.store, [feed("two")], "admin", ["999999999999"])
    assert "one" in rows(town, Feed)
    assert "two" not in rows(town, Feed)


def test_no_speaker_is_enrolled_as_a_gateway_or_beside_one_that_is_unknown(town: Town) -> None:
    with pytest.raises(enrolment.SpeakerRefused):
        enrolment.enrol_speakers(town.store, {gateway_client(0): "hash"}, "admin")
    with pytest.raises(NotFound):
        enrolment.enrol_speakers(town.store, {"mall-1": "hash", "nobody": "hash"}, "admin")
    assert rows(town, BrokerAccount) == []


def test_an_address_and_a_use_are_one_panels_for_good(town: Town) -> None:
    panel = builders.panel(id="new", address="0102030405aa")
    enrolment.enrol_panel(town.store, panel, "admin")
    before = rows(town, Panel)
    with pytest.raises(enrolment.PanelRefused):
        enrolment.enrol_panel(town.store, builders.panel(id="other", address=panel.address), "admin")
    with pytest.raises(enrolment.UseDiffers):
        other = next(use for use in Use if use is not panel.use)
        enrolment.enrol_panel(town.store, builders.panel(id="new", address=panel.address, use=other), "admin")
    with pytest.raises(NotFound):
        enrolment.enrol_panel(town.store, builders.panel(id="far", address="0102030405ab", venue="moon"), "admin")
    assert rows(town, Panel) == before
    assert town.get(Panel, "new") == panel


def test_a_gateway_device_gets_an_account_with_its_first_sensor_alone(town: Town) -> None:
    def sensor(id: str, device: str) -> Sensor:
        return Sensor(id, "box", device, "smoke", MALL, Use.EXERCISE)

    assert enrolment.enrol_sensor(town.store, sensor("a", "1"), "first", "admin")
    assert not enrolment.enrol_sensor(town.store, sensor("b", "2"), "second", "admin")
    assert town.get(BrokerAccount, "box").password_hash == "first"
    with pytest.raises(enrolment.SensorRefused):
        enrolment.enrol_sensor(town.store, sensor("c", "2"), "third", "admin")
    with pytest.raises(NotFound):
        enrolment.renew_gateway_device(town.store, "crate", "hash", "admin")


@pytest.mark.parametrize("kind", [Feed, Panel, Sensor, BrokerAccount])
def test_what_is_not_enrolled_is_not_switched(town: Town, kind: enrolment.Switched) -> None:
    with pytest.raises(NotFound):
        enrolment.switch(town.store, kind, "nobody", False, "admin")


def test_a_replay_never_begins_where_a_city_lives(town: Town) -> None:
    with pytest.raises(AssertionError):
        begin_world(town.store, [feed("one")])
    assert "one" not in rows(town, Feed)
