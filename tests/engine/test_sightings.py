"""What nobody here gave out: one row, one red incident, whoever many say so; and nothing that explains itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Manifest, Order, Receipt, SpeakerState, Step, StepKind
from devices.protocols.speaker_link import manifest_topic
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.domain.broadcasts import Broadcast, wire_order
from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, UNREAD_MAX, Sighting
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine import desk, receipts, sightings, streams
from services.dispatcher.engine.ports import Live, Page, Stream
from services.dispatcher.engine.receipts import Arrived
from services.dispatcher.engine.sightings import LISTED_MAX, OPEN_MAX
from tests import builders
from tests.builders import CITY, NOON_US, SECOND_US, STREET, Town

ACCEPTED, PLAYING = StepKind.ACCEPTED, StepKind.PLAYING
DRILLS = manifest_topic(STREET, "exercise", "city")
HOUR_US = 3_600 * SECOND_US
VERSION = NOON_US // 1_000 + 7


@pytest.fixture
def town() -> Town:
    return builders.town()


def receipt(order: str, seq: int = 1, kind: StepKind = PLAYING, **changes: Any) -> Receipt:
    return replace(Receipt("journal", seq, order, 1, (Step(kind, NOON_US),)), **changes)


def say(town: Town, speakers: Sequence[str], said: Receipt) -> None:
    """Each of these speakers sends the receipt, in batches as they come off the wire."""
    arrived = [Arrived(name, said, b"raw") for name in speakers]
    for start in range(0, len(arrived), receipts.BATCH_MAX):
        receipts.keep_receipts(town.store, arrived[start : start + receipts.BATCH_MAX])


def hold(town: Town, speakers: Sequence[str], held: dict[str, int], given_out: dict[str, int] | None = None) -> None:
    state = SpeakerState(True, 1, held, 1, NOON_US // 1_000, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(name, state) for name in speakers], given_out)


def later(town: Town, seconds: float = 4) -> list[Incident]:
    """Time passes with its timers; the incidents of this kind, oldest first."""
    town.clock.advance(seconds)
    town.pass_timers()
    return alarms(town)


def alarms(town: Town) -> list[Incident]:
    with town.store.read() as read:
        return read.find(Incident, Page(), hazard=UNKNOWN_SOUNDS)


def unread(town: Town) -> int:
    with town.store.read() as read:
        return read.unread_count()


def manifest(orders: tuple[Order, ...], stream: str = DRILLS, version: int = VERSION) -> Manifest:
    return Manifest(stream, version, NOON_US, NOON_US + HOUR_US, "", orders)


def rogue(town: Town, id: str = "rogue") -> Order:
    """An order that nobody here gave out."""
    draft = town.alert(town.signal(builders.storm_signal()))
    return replace(wire_order(draft), id=id, rev=1, status="exercise", start_at=NOON_US, expires=NOON_US + HOUR_US)


def on_broker(town: Town, said: Manifest, *, at_start: bool = False) -> None:
    with town.store.write() as tx:
        verdict = streams.found_on_broker(tx, said.stream, b"signed", said)
        sightings.found(tx, said, verdict, at_start=at_start)


# Orders


@pytest.mark.parametrize("kind", [ACCEPTED, StepKind.READY, PLAYING, StepKind.FINISHED])
def test_an_order_that_nobody_gave_out_is_a_red_incident_of_its_own(town: Town, kind: StepKind) -> None:
    say(town, ["square-1"], receipt("rogue", kind=kind))
    (alarm,) = later(town)
    assert (alarm.level, alarm.playbook, alarm.alert, alarm.use) == (1, "", "", Use.ACTUAL)
    assert (alarm.state, alarm.area, alarm.place.areas) == (IncidentState.VERIFYING, STREET, (STREET,))
    assert "rogue" in alarm.headline
    task = town.get(Task, alarm.task)
    assert "square-1" in task.question["zh"]
    assert set(task.offices) >= {builders.CITY_OFFICE, builders.STREET_OFFICE}


@pytest.mark.parametrize("kind", [StepKind.REFUSED, StepKind.FAILED, StepKind.SUPERSEDED])
def test_an_order_that_a_speaker_does_not_obey_is_no_alarm(town: Town, kind: StepKind) -> None:
    say(town, ["square-1"], receipt("rogue", kind=kind))
    assert later(town, 3_600) == []


def test_ten_thousand_speakers_that_play_it_are_one_incident_a_few_rows_and_a_count(town: Town) -> None:
    crowd = [f"sp-{number}" for number in range(10_000)]
    for seq, kind in enumerate((ACCEPTED, PLAYING), 1):
        say(town, crowd, receipt("rogue", seq, kind))
    (alarm,) = later(town)
    assert "10000" in alarm.headline
    seen = town.get(Sighting, "order/rogue")
    assert (seen.said, seen.speakers, len(seen.said_by), seen.incident) == (20_000, 10_000, 8, alarm.id)
    assert unread(town) == UNREAD_MAX
    with town.store.read() as read:
        assert len(read.log_of(None)) < 20


def test_the_count_goes_on_while_more_speakers_say_so(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    (alarm,) = later(town)
    say(town, ["square-2", "mall-1"], receipt("rogue"))
    (spread,) = later(town, 11)
    assert (alarm.id, "1个" in alarm.headline, "3个" in spread.headline) == (spread.id, True, True)
    assert town.whys(alarm.id, "incident.spreads") == [
        "3 speakers hold or play order rogue, which was never given out here"
    ]


def test_the_same_receipt_again_says_nothing_new(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    say(town, ["square-1"], receipt("rogue"))
    assert town.get(Sighting, "order/rogue").said == 1


def test_a_draft_that_plays_is_an_alarm(town: Town) -> None:
    draft = town.alert(town.signal(builders.storm_signal()))
    say(town, ["square-1"], receipt(draft.id))
    assert [draft.id in alarm.headline for alarm in later(town)] == [True]


def test_a_revision_above_ours_is_an_alarm(town: Town) -> None:
    alert = town.on_air()
    say(town, ["square-1"], receipt(alert.id))
    assert later(town) == []
    say(town, ["square-1"], receipt(alert.id, 2, rev=9))
    (alarm,) = later(town)
    assert f"指令{alert.id}的第9版" in alarm.headline
    assert town.get(Sighting, f"order/{alert.id}@9").incident == alarm.id


def test_nothing_is_ever_drafted_for_it_whatever_the_office_says(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    (alarm,) = later(town)
    confirmed = town.answer(alarm.id, Verdict.CONFIRM)
    assert (confirmed.state, confirmed.alert) == (IncidentState.CONFIRMED, "")
    with town.store.read() as read:
        assert read.find(Broadcast, Page()) == []


def test_a_liar_that_names_ever_new_orders_fills_no_table_and_no_desk(town: Town) -> None:
    for number in range(LISTED_MAX + 200):
        receipts.keep_receipts(town.store, [Arrived("square-1", receipt(f"o-{number}", number), b"raw")])
    assert len(later(town)) == OPEN_MAX
    with town.store.read() as read:
        rows = read.find(Sighting, Page(limit=10_000))
    assert (len(rows), town.get(Sighting, "many").said) == (LISTED_MAX + 1, 200)
    assert unread(town) == LISTED_MAX + UNREAD_MAX
    assert all(row.incident for row in rows)


# Streams


def test_a_version_above_ours_is_one_incident_however_many_hold_it(town: Town) -> None:
    given_out: dict[str, int] = {}
    for _ in range(3):
        hold(town, ["square-1", "square-2"], {DRILLS: VERSION}, given_out)
    (alarm,) = later(town)
    assert (DRILLS in alarm.headline, str(VERSION) in alarm.headline, "2个" in alarm.headline) == (True, True, True)
    hold(town, ["square-1"], {DRILLS: VERSION + 1}, given_out)
    assert len(later(town)) == 2


def test_a_refusal_of_a_version_above_ours_is_an_alarm_too(town: Town) -> None:
    refused = Receipt("journal", 1, "", 0, (Step(StepKind.REFUSED, NOON_US, "version_ahead"),), DRILLS, VERSION)
    say(town, ["square-1"], refused)
    assert [DRILLS in alarm.headline for alarm in later(town)] == [True]


def test_what_was_signed_here_is_none_also_by_another_gateway_a_moment_ago(town: Town) -> None:
    with town.store.write() as tx:
        tx.put(Stream(DRILLS, STREET, "exercise", "city", VERSION))
    given_out = {DRILLS: VERSION - 1}
    hold(town, ["square-1"], {DRILLS: VERSION}, given_out)
    assert (given_out, later(town, 3_600)) == ({DRILLS: VERSION}, [])


def test_streams_and_orders_of_another_issuer_are_none(town: Town) -> None:
    theirs = manifest((rogue(town, "theirs"),), manifest_topic(STREET, "exercise", "district"))
    say(town, ["square-1"], receipt("theirs"))
    on_broker(town, theirs)
    say(town, ["square-2"], receipt("theirs"))
    hold(town, ["square-1"], {theirs.stream: theirs.version, "no/topic": 5})
    assert later(town, 3_600) == []
    assert town.get(Sighting, "order/theirs").excuse == "another issuer's"


def test_what_a_restored_backup_has_lost_is_shown_as_unknown_on_air_and_is_none(town: Town) -> None:
    lost = manifest((rogue(town, "lost"),))
    hold(town, ["square-2"], {DRILLS: VERSION - 3})
    say(town, ["square-1"], receipt("lost"))
    on_broker(town, lost, at_start=True)
    hold(town, ["square-1"], {DRILLS: VERSION})
    assert later(town) == []
    desk.adopt_stream(town.store, DRILLS, "li")
    say(town, ["square-1"], receipt("lost", 2, StepKind.FINISHED))
    assert later(town, 3_600) == []


def test_another_order_of_a_speaker_that_holds_what_a_backup_lost_is_an_alarm(town: Town) -> None:
    on_broker(town, manifest((rogue(town, "lost"),)), at_start=True)
    hold(town, ["square-1"], {DRILLS: VERSION})
    say(town, ["square-1"], receipt("lost"))
    say(town, ["square-1"], receipt("evil", 2))
    assert ["evil" in alarm.headline for alarm in later(town)] == [True]


def test_what_appears_on_the_broker_while_a_gateway_runs_is_an_alarm_before_speakers_say_so(town: Town) -> None:
    on_broker(town, manifest((rogue(town),)))
    (alarm,) = later(town, 0)
    assert ("rogue" in alarm.headline, alarm.area) == (True, STREET)


def test_manifest_order_and_version_are_one_incident_in_any_order_of_arrival(town: Town) -> None:
    forged = manifest((rogue(town),))
    steps = {
        "order": lambda: say(town, ["square-1", "square-2"], receipt("rogue")),
        "version": lambda: hold(town, ["square-1"], {DRILLS: VERSION}),
        "broker": lambda: on_broker(town, forged),
    }
    for first, second, third in (("order", "version", "broker"), ("broker", "order", "version")):
        again = builders.town()
        forged = manifest((rogue(again),))
        town = again
        for name in (first, second, third):
            steps[name]()
        assert len(later(town)) == 1
        assert len(later(town, 30)) == 1


def test_order_that_was_an_alarm_already_takes_its_stream_along(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    (alarm,) = later(town)
    hold(town, ["square-1"], {DRILLS: VERSION})
    assert [each.id for each in later(town)] == [alarm.id]


def test_a_gateway_that_has_not_compared_the_copies_yet_waits_for_that(town: Town) -> None:
    arrived = [Arrived("square-1", receipt("lost"), b"raw")]
    receipts.keep_receipts(town.store, arrived, sightings.UNSETTLED_US)
    assert later(town, 10) == []
    on_broker(town, manifest((rogue(town, "lost"),)), at_start=True)
    assert later(town, 60) == []


def test_a_sighting_is_forgotten_a_month_after_the_last_word(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    later(town)
    later(town, 11)
    later(town, 30 * 86_400 + 60)
    with town.store.read() as read:
        assert read.find(Sighting, Page()) == []


# Who is behind


def test_speakers_behind_on_a_stream_are_found(town: Town) -> None:
    hold(town, ["square-1"], {DRILLS: 5})
    hold(town, ["square-2"], {DRILLS: 9})
    hold(town, ["mall-1"], {})
    with town.store.read() as read:
        everybody = ("mall-1", "square-1", "square-2")
        assert read.behind(DRILLS, 9, everybody) == [("mall-1", 0), ("square-1", 5)]
        assert read.behind(DRILLS, 9, everybody, "mall-1", 1) == [("square-1", 5)]
        assert read.count_holding(DRILLS, 5) == 2
    assert town.get(Live, "square-2").streams == {DRILLS: 9}


def test_ten_thousand_live_rows_are_told_apart_without_a_row_each(town: Town) -> None:
    assert isinstance(town.store, MemoryStore)
    hold(town, [f"sp-{n}" for n in range(500)], {manifest_topic(CITY, "actual", "city"): VERSION})
    (alarm,) = later(town)
    assert "500个" in alarm.headline


def test_a_version_far_ahead_of_the_time_is_a_red_incident_also_when_a_gateway_finds_it_at_its_start(
    town: Town,
) -> None:
    on_broker(town, manifest((), version=NOON_US // 1_000 + 3_600_000), at_start=True)
    (alarm,) = later(town)
    assert (alarm.level, alarm.playbook, alarm.alert) == (1, "", "")
    assert DRILLS in alarm.headline
