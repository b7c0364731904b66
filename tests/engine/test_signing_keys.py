"""Keys in the store: what gateways report, whose release is refused for a key, and what the log and health say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from devices.protocols.documents import Phase
from services.dispatcher.domain.broadcasts import BroadcastState, StandingGiven, Stopped
from services.dispatcher.domain.refusals import KeyEndsTooSoon, NoUsableKey
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.signing_keys import KeyAtGateway, KeyState
from services.dispatcher.engine.air import signing_keys
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Page
from tests import builders
from tests.builders import CITY, DUTY, NOON_US, SECOND_US, Town
from tests.engine.signing import Keys

YEAR_US = 365 * 86_400 * SECOND_US
KEYS = Keys()


@pytest.fixture
def town() -> Town:
    made = builders.town()
    hold(made.store, "gw-0", "host/1", 3_600 * SECOND_US)
    return made


def listed(use: str = "actual", not_after_us: int = NOON_US + YEAR_US) -> KeyState:
    return KeyState(f"{use}-city-1", use, "city", CITY, (1, 2, 3, 4), not_after_us)


def tell(town: Town, fault: str = "", *, use: str = "actual", gateway: str = "gw-0", expires_us: int = 0) -> None:
    """A gateway reports one key of this use, whose canary has just come home."""
    key = listed(use, expires_us or NOON_US + YEAR_US)
    signing_keys.report(town.store, gateway, [KeyReport(key, fault, 0, 1_500)], 1)


def rows(town: Town) -> dict[str, KeyState]:
    with town.store.read() as read:
        return {row.id: row for row in read.find(KeyState, Page())}


def test_a_report_is_one_row_per_key_in_the_databases_clock_and_no_line_of_the_log(town: Town) -> None:
    with town.store.read() as read:
        before = len(read.log_of(None))
    found = KeyReport(listed(), "", 2 * SECOND_US, 1_500, "unknown_key", 7 * SECOND_US)
    signing_keys.report(town.store, "gw-0", [found], 1)
    view = KeyAtGateway("", NOON_US, NOON_US - 2 * SECOND_US, 1_500, "unknown_key", NOON_US - 7 * SECOND_US, 1)
    assert rows(town) == {"actual-city-1": replace(listed(), gateways={"gw-0": view})}
    with town.store.read() as read:
        assert len(read.log_of(None)) == before


def test_each_gateway_has_its_own_say_and_a_key_that_the_newest_document_does_not_list_is_forgotten(town: Town) -> None:
    tell(town)
    tell(town, "empty", gateway="gw-1")
    assert {name: at.fault for name, at in rows(town)["actual-city-1"].gateways.items()} == {
        "gw-0": "",
        "gw-1": "empty",
    }
    report(town, "gw-0", 2, "clock")
    assert list(rows(town)) == ["clock-city-1"]
    report(town, "gw-1", 2, "clock")
    assert list(rows(town)["clock-city-1"].gateways) == ["gw-0", "gw-1"]


@pytest.mark.parametrize(("fault", "says"), [("empty", "is empty"), ("foreign", "another key"), ("absent", "not here")])
def test_a_release_that_no_key_can_sign_is_refused_at_once_with_what_to_do(town: Town, fault: str, says: str) -> None:
    tell(town, fault)
    draft = town.alert(town.signal(builders.storm_signal()))
    with pytest.raises(NoUsableKey) as refused:
        town.release(draft.id, "li")
    assert all(part in refused.value.detail for part in ("actual-city-1", says, "tocsin keys make actual"))
    assert town.alert(draft.incident).released_by == ()


def test_a_release_under_an_expired_key_or_one_that_may_not_speak_there_is_refused(town: Town) -> None:
    draft = town.alert(town.signal(builders.storm_signal()))
    tell(town, expires_us=NOON_US - 1)
    with pytest.raises(NoUsableKey, match="expired on"):
        town.release(draft.id, "li")
    tell(town, use="exercise")
    with pytest.raises(NoUsableKey, match="no key of this use"):
        town.release(draft.id, "li")
    tell(town)
    assert town.release(draft.id, "li", "zhao").state is BroadcastState.ON_AIR


def test_a_release_needs_a_key_that_outlives_what_it_puts_on_air_and_its_follower(town: Town) -> None:
    draft = town.alert(town.signal(builders.storm_signal()))
    ends_us = NOON_US + 2 * draft.valid_s * SECOND_US
    tell(town, expires_us=ends_us - 1)
    with pytest.raises(KeyEndsTooSoon) as refused:
        town.release(draft.id, "li")
    moment = datetime.fromtimestamp((ends_us - 1) / 1_000_000, UTC)
    for part in ("actual-city-1", f"{moment:%Y-%m-%d} at {moment:%H:%M:%S} UTC", "tocsin keys make actual"):
        assert part in refused.value.detail
    tell(town, expires_us=ends_us)
    assert town.release(draft.id, "li", "zhao").state is BroadcastState.ON_AIR


def test_an_older_key_that_lasts_longer_can_end_what_a_shorter_one_puts_on_air(town: Town) -> None:
    short = replace(listed(), id="actual-city-2", not_after_us=NOON_US + 10 * SECOND_US)
    signing_keys.report(town.store, "gw-0", [KeyReport(listed(), "", 0), KeyReport(short, "", 0)], 1)
    assert town.on_air().state is BroadcastState.ON_AIR
    other = builders.town()
    hold(other.store, "gw-0", "host/1", 3_600 * SECOND_US)
    signing_keys.report(other.store, "gw-0", [KeyReport(listed(), "absent"), KeyReport(short, "", 0)], 1)
    with pytest.raises(KeyEndsTooSoon, match="actual-city-2"):
        other.on_air()


def test_followers_and_standing_orders_are_taken_under_a_key_that_ends_soon(town: Town) -> None:
    tell(town)
    alert = town.on_air()
    tell(town, expires_us=NOON_US + 10 * SECOND_US)
    clear = town.follower(alert.id, Phase.ALL_CLEAR)
    assert town.release(clear.id, "li").state is BroadcastState.ON_AIR
    fires = builders.town(playbooks=(builders.fire_playbook(standing=builders.standing_order()),))
    hold(fires.store, "gw-0", "host/1", 3_600 * SECOND_US)
    tell(fires, expires_us=NOON_US + 10 * SECOND_US)
    draft = fires.alert(fires.signal(builders.fire_signal(use=Use.ACTUAL)))
    assert fires.act(draft.id, StandingGiven("rule")).state is BroadcastState.ON_AIR
    (why,) = fires.whys(draft.id, "broadcast.key_ends_early")
    assert "actual-city-1 ends on" in why


def test_a_canary_that_is_merely_late_refuses_no_release(town: Town) -> None:
    signing_keys.report(town.store, "gw-0", [KeyReport(listed(), "")], 1)
    assert town.on_air().state is BroadcastState.ON_AIR


def test_while_no_gateway_has_said_which_keys_it_holds_a_release_is_taken(town: Town) -> None:
    assert town.on_air().state is BroadcastState.ON_AIR


def test_what_a_gateway_that_no_longer_runs_could_sign_does_not_count_while_another_runs(town: Town) -> None:
    tell(town, gateway="gw-7")
    tell(town, "empty")
    draft = town.alert(town.signal(builders.storm_signal()))
    with pytest.raises(NoUsableKey):
        town.release(draft.id, "li")
    hold(town.store, "gw-7", "host/2", 3_600 * SECOND_US)
    assert town.release(draft.id, "li").released_by == ("li",)


def test_stops_and_followers_are_never_refused_for_a_key_and_the_log_says_that_they_cannot_be_signed(
    town: Town,
) -> None:
    tell(town)
    alert = town.on_air()
    tell(town, "empty")
    clear = town.follower(alert.id, Phase.ALL_CLEAR)
    assert town.act(alert.id, Stopped("li", DUTY, "wait")).state is BroadcastState.STOPPED
    assert town.release(clear.id, "li").state is BroadcastState.ON_AIR
    for subject in (alert.id, clear.id):
        (why,) = town.whys(subject, "broadcast.no_usable_key")
        assert "the file of actual-city-1 is empty" in why


def test_a_standing_order_is_never_refused_for_a_key() -> None:
    town = builders.town(playbooks=(builders.fire_playbook(standing=builders.standing_order()),))
    hold(town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    tell(town, "empty")
    draft = town.alert(town.signal(builders.fire_signal(use=Use.ACTUAL)))
    assert town.act(draft.id, StandingGiven("rule")).state is BroadcastState.ON_AIR
    assert town.whys(draft.id, "broadcast.no_usable_key")


def test_health_names_each_use_that_is_needed(town: Town) -> None:
    with town.store.read() as read:
        assert [(u.use, u.well) for u in signing_keys.health(read).uses] == [("clock", False), ("config", False)]
    found = [KeyReport(listed(use), "", 0, 1) for use in ("actual", "config", "clock")]
    signing_keys.report(town.store, "gw-0", found, 1)
    with town.store.read() as read:
        assert [(u.use, u.well) for u in signing_keys.health(read).uses] == [
            ("actual", True), ("clock", True), ("config", True),
        ]  # fmt: skip


def test_a_use_without_a_key_is_red_while_an_order_of_it_is_on_air(town: Town) -> None:
    town.on_air()
    tell(town, use="config")
    with town.store.read() as read:
        actual = next(u for u in signing_keys.health(read).uses if u.use == "actual")
    assert [str(p.trouble) for p in actual.problems] == ["no_key"]


def test_before_any_gateway_has_run_health_says_nothing_of_keys() -> None:
    with builders.town().store.read() as read:
        assert signing_keys.health(read) == signing_keys.KeysHealth((), ())


def test_a_gateway_that_can_not_start_without_its_key_document_signs_with_no_key(town: Town) -> None:
    tell(town)
    tell(town, gateway="gw-7")
    signing_keys.nothing_signs(town.store)
    assert {name: at.fault for name, at in rows(town)["actual-city-1"].gateways.items()} == {
        "gw-0": "",
        "gw-7": "no_document",
    }


def report(town: Town, gateway: str, document: int, *uses: str) -> None:
    """A gateway reports the keys of these uses, all well, as a key document of this version lists them."""
    found = [KeyReport(listed(use), "", 0, 1) for use in uses]
    signing_keys.report(town.store, gateway, found, document)


def well(town: Town) -> dict[str, bool]:
    with town.store.read() as read:
        return {use.use: use.well for use in signing_keys.health(read).uses}


def test_a_key_that_a_newer_document_no_longer_lists_is_gone_though_a_scaled_away_gateway_knew_it(town: Town) -> None:
    for gateway in ("gw-0", "gw-1"):
        hold(town.store, gateway, "host/1", 3 * SECOND_US)
        report(town, gateway, 7, "actual", "clock", "config", "exercise")
    town.clock.advance(60)
    hold(town.store, "gw-0", "host/1", 3_600 * SECOND_US)
    report(town, "gw-0", 8, "actual", "clock", "config")
    assert well(town) == {"actual": True, "clock": True, "config": True}
    assert sorted(rows(town)) == ["actual-city-1", "clock-city-1", "config-city-1"]
    assert list(rows(town)["actual-city-1"].gateways) == ["gw-0"]


def test_a_gateway_that_still_reads_an_older_document_brings_no_revoked_key_back(town: Town) -> None:
    report(town, "gw-0", 8, "actual")
    report(town, "gw-1", 7, "actual", "exercise")
    assert sorted(rows(town)) == ["actual-city-1"]
    report(town, "gw-1", 8, "actual")
    assert {name: view.document for name, view in rows(town)["actual-city-1"].gateways.items()} == {
        "gw-0": 8,
        "gw-1": 8,
    }


def test_an_older_document_changes_nothing_of_what_a_newer_one_says_of_a_key(town: Town) -> None:
    longer = replace(listed(), not_after_us=NOON_US + 2 * YEAR_US)
    signing_keys.report(town.store, "gw-0", [KeyReport(longer, "", 0, 1)], 8)
    report(town, "gw-1", 7, "actual")
    assert rows(town)["actual-city-1"].not_after_us == NOON_US + 2 * YEAR_US


def test_an_older_document_forgets_no_key_that_only_a_newer_one_lists(town: Town) -> None:
    report(town, "gw-0", 8, "actual", "exercise")
    report(town, "gw-1", 7, "actual")
    kept = rows(town)["exercise-city-1"].gateways
    assert {name: (view.fault, view.document) for name, view in kept.items()} == {
        "gw-0": ("", 8),
        "gw-1": ("absent", 7),
    }


def test_while_no_gateway_runs_another_issuers_key_makes_no_release_signable() -> None:
    town = builders.town()
    foreign = replace(listed(), id="actual-coast-1", issuer="coast")
    signing_keys.report(town.store, "gw-0", [KeyReport(foreign, "", 0, 1)], 1)
    draft = town.alert(town.signal(builders.storm_signal()))
    with pytest.raises(NoUsableKey, match="no key of this use"):
        town.release(draft.id, "li")
