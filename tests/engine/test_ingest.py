from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.signals import Evidence, Panel, Place, Signal, SignalKind, Unread, Use
from services.dispatcher.engine.events import IncidentClosed, SignalArrived, UnreadArrived
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.signals.joining import AUTOMATIC_WITHIN_US
from tests import builders
from tests.builders import (
    CITY,
    MALL,
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    SQUARE,
    STREET,
    Town,
    fire_playbook,
    fire_signal,
    panel,
    standing_order,
    storm_playbook,
    storm_signal,
)

STANDING = fire_playbook(standing=standing_order(), venue_kinds=None)


@pytest.fixture
def town() -> Town:
    return builders.town()


def standing_town(*panels: Panel) -> Town:
    town = builders.town(playbooks=(storm_playbook(), STANDING))
    with town.store.write() as tx:
        tx.put(*panels)
    return town


def incidents(town: Town) -> list[Incident]:
    with town.store.read() as read:
        return read.find(Incident, Page())


def second(**changes: Any) -> Signal:
    return fire_signal("panel/mall/2", **{"device": "smoke-2", **changes})


def test_a_delivery_repeated_is_one_signal(town: Town) -> None:
    first = town.engine.handle([SignalArrived(fire_signal())])
    again = town.engine.handle([SignalArrived(fire_signal()), SignalArrived(fire_signal())])
    assert (first.created, first.repeated) == (["panel/mall/1"], 0)
    assert (again.created, again.incidents, again.repeated) == ([], [], 2)
    assert town.incident(first.incidents[0]).signal_count == 1


def test_a_report_under_its_other_name_is_a_repeat(town: Town) -> None:
    first = town.engine.handle([SignalArrived(fire_signal("panel/mall/r7", other_key="panel/mall/r6"))])
    again = town.engine.handle([SignalArrived(fire_signal("panel/mall/r8", other_key="panel/mall/r7"))])
    assert (again.created, again.incidents, again.repeated) == ([], [], 1)
    assert town.incident(first.incidents[0]).signal_count == 1


def test_a_report_under_the_name_of_one_more_than_a_minute_ago_is_a_report(town: Town) -> None:
    town.signal(fire_signal("panel/mall/r7", other_key="panel/mall/r6"))
    later = fire_signal("panel/mall/r8", other_key="panel/mall/r7", received_us=NOON_US + 60 * SECOND_US + 1)
    assert town.engine.handle([SignalArrived(later)]).created == ["panel/mall/r8"]


def test_signals_of_one_venue_are_one_incident(town: Town) -> None:
    assert town.signal(fire_signal()) == town.signal(second())


def test_a_further_hazard_is_a_further_incident(town: Town) -> None:
    assert town.signal(fire_signal()) != town.signal(second(hazard="gas"))


def test_sources_of_different_use_never_join(town: Town) -> None:
    actual = town.signal(storm_signal())
    drill = town.signal(storm_signal("cap/drill/1", use=Use.EXERCISE, references=("cap/weather/1",)))
    assert actual != drill
    assert town.incident(drill).use is Use.EXERCISE
    assert town.alert(drill).stream != town.alert(actual).stream


def test_a_signal_after_the_joining_time_opens_another_incident(town: Town) -> None:
    first = town.signal(fire_signal())
    in_time = NOON_US + 3_600 * SECOND_US
    assert town.signal(second(received_us=in_time)) == first
    assert town.signal(fire_signal("late", received_us=in_time + 3_600 * SECOND_US + 1)) != first


def test_a_closed_incident_takes_nothing_in_any_more(town: Town) -> None:
    first = town.signal(fire_signal())
    town.engine.handle([IncidentClosed(first, "li", "over")])
    assert town.signal(second()) != first
    assert town.signal(fire_signal("by-reference", references=("panel/mall/1",), device="smoke-9")) != first


def test_venues_near_each_other_join_without_a_standing_order() -> None:
    town = builders.town(playbooks=(fire_playbook(venue_kinds=None),))
    town.rebuild(builders.venue(MALL, OTHER_STREET, lat_e7=389_050_000), without=(MALL,))
    square = town.signal(fire_signal("square/1", place=Place(venue=SQUARE), reporter="square-panel"))
    assert town.signal(fire_signal()) == square


def test_venues_of_a_standing_order_never_join_however_near() -> None:
    town = standing_town()
    town.rebuild(builders.venue(MALL, OTHER_STREET, lat_e7=389_000_001), without=(MALL,))
    square = town.signal(fire_signal("square/1", place=Place(venue=SQUARE), reporter="square-panel"))
    assert town.signal(fire_signal()) != square


def test_a_standing_order_reaches_the_venue_of_its_panel_alone() -> None:
    town = standing_town(panel())
    incident = town.signal(fire_signal())
    town.signal(second())
    alert = town.alert(incident)
    assert alert.state == "on_air"
    assert (alert.selector.venues, alert.selector.areas, alert.speakers) == ((MALL,), None, 1)
    with town.store.read() as read:
        assert [row.speaker for row in read.expected(alert.id)] == ["mall-1"]


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ((), {}),
        ((panel(enabled=False),), {}),
        ((panel(maintenance_author="wu", maintenance_until_us=NOON_US + 1),), {}),
        ((panel(),), {"test_bit": True}),
        ((panel(),), {"received_us": NOON_US - AUTOMATIC_WITHIN_US - 1}),
        ((panel(),), {"expires_us": NOON_US}),
    ],
    ids=["not enrolled", "switched off", "maintenance", "test bit", "late", "expired"],
)
def test_what_may_not_act_by_itself_goes_to_people(rows: tuple[Panel, ...], changes: dict[str, Any]) -> None:
    town = standing_town(*rows)
    incident = town.signal(fire_signal(**changes))
    town.signal(second(**changes))
    assert (town.incident(incident).state, town.incident(incident).level) == (IncidentState.VERIFYING, 2)
    assert town.alert(incident).state == "draft"
    assert town.incident(incident).task


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (panel(test_bit_meaningless=True), {"test_bit": True}),
        (panel(maintenance_author="wu", maintenance_until_us=NOON_US), {}),
        (panel(), {"received_us": NOON_US - AUTOMATIC_WITHIN_US}),
    ],
    ids=["commissioned", "maintenance over", "just in time"],
)
def test_what_may_act_by_itself_does(row: Panel, changes: dict[str, Any]) -> None:
    town = standing_town(row)
    incident = town.signal(fire_signal(**changes))
    town.signal(second(**changes))
    assert town.alert(incident).state == "on_air"


def test_a_feed_that_has_the_name_of_a_panel_may_do_nothing_that_the_panel_may() -> None:
    town = standing_town(panel())
    incident = town.signal(fire_signal("plain/mall-panel/1"))
    town.signal(fire_signal("plain/mall-panel/2", device="smoke-2"))
    assert (town.incident(incident).level, town.alert(incident).state) == (2, "draft")


def test_a_panel_without_component_opens_an_incident_and_asks_people_and_releases_nothing() -> None:
    town = standing_town(panel())
    incident = town.signal(fire_signal(evidence=Evidence.PANEL, device="1-1"))
    town.signal(second(evidence=Evidence.PANEL, device="2-1"))
    town.signal(fire_signal("panel/mall/3"))
    assert (town.incident(incident).level, town.alert(incident).state) == (3, "draft")
    assert "task.asked" in town.kinds(town.incident(incident).task)


@pytest.mark.parametrize("evidence", [Evidence.FAULT, Evidence.SYSTEM])
def test_faults_and_operations_open_nothing_and_are_kept(town: Town, evidence: Evidence) -> None:
    done = town.engine.handle([SignalArrived(fire_signal(evidence=evidence, kind=SignalKind.INFO))])
    assert (done.created, done.incidents, incidents(town)) == (["panel/mall/1"], [], [])
    with town.store.read() as read:
        assert read.signal_incident("panel/mall/1") == ""


def test_a_cancel_takes_back_what_it_names_and_nothing_near(town: Town) -> None:
    incident = town.signal(storm_signal())
    cancel = storm_signal("cap/weather/9", kind=SignalKind.CANCEL, references=("cap/weather/unknown",))
    assert town.engine.handle([SignalArrived(cancel)]).incidents == []
    assert town.kinds("cap/weather/9") == ["signal.cancels_unknown"]
    assert town.alert(incident).state == "draft"
    town.signal(replace(cancel, key="cap/weather/10", references=("cap/weather/1",)))
    assert town.alert(incident).state == "held"


def test_areas_that_a_second_source_names_are_added_and_never_lost(town: Town) -> None:
    incident = town.signal(storm_signal())
    town.signal(storm_signal("flood/1", reporter="flood", device="flood", place=Place(areas=(OTHER_STREET,))))
    assert town.incident(incident).place.areas == (STREET, OTHER_STREET)


def test_the_only_source_may_draw_its_area_anew(town: Town) -> None:
    incident = town.signal(storm_signal())
    town.signal(storm_signal("cap/weather/2", kind=SignalKind.UPDATE, place=Place(areas=(STREET,))))
    assert town.incident(incident).place.areas == (STREET,)
    assert town.alert(incident).speakers == 2


def test_a_place_that_nobody_understands_is_the_citys_and_said_so(town: Town) -> None:
    incident = town.signal(fire_signal(place=Place(venue="nowhere", areas=("999999999999",))))
    assert (town.incident(incident).area, town.incident(incident).venue) == (CITY, None)
    assert town.whys(incident, "incident.place_unknown") == ["not understood: 999999999999, nowhere"]


def test_two_reporters_in_places_that_nobody_understands_are_two_incidents(town: Town) -> None:
    first = town.signal(fire_signal(place=Place(venue="nowhere")))
    other = town.signal(second(place=Place(venue="elsewhere"), reporter="other-panel"))
    same = town.signal(fire_signal("panel/mall/3", place=Place(venue="nowhere")))
    assert (other != first, same == first) == (True, True)


def test_one_signal_that_breaks_its_group_is_kept_unread_and_the_others_are_committed(town: Town) -> None:
    broken = fire_signal("broken", place=Place(areas=None), reporter="odd-panel")  # type: ignore[arg-type]
    unread = Unread("tcp", "x", "bad_sum", b"\x40\x40", NOON_US)
    done = town.engine.handle(
        [SignalArrived(fire_signal()), SignalArrived(broken), UnreadArrived(unread), SignalArrived(second())]
    )
    assert done.created == ["panel/mall/1", "panel/mall/2"]
    assert len(set(done.incidents)) == 1
    with town.store.read() as read:
        later, odd = read.unread()
        assert read.signal_incident("broken") is None
    assert later == unread
    assert (odd.wire, odd.source, odd.reason) == ("engine", "odd-panel", "signal_broke_the_engine")
    assert b'"broken"' in odd.raw
