"""What nobody here gave out: one row, one red incident, whoever many say so; and nothing that explains itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Manifest, Order, Receipt, SpeakerState, Step, StepKind
from devices.protocols.speaker_link import manifest_topic
from services.dispatcher.adapters.memory import MemoryStore, MemoryTx
from services.dispatcher.domain.broadcasts import Broadcast, Stopped, wire_order
from services.dispatcher.domain.incidents import Incident, IncidentState, Verdict
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, UNREAD_MAX, Sighting
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine import desk, queries
from services.dispatcher.engine.air import compared, receipts, sighted
from services.dispatcher.engine.air.given_out import Remembered
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.air.sighted import LISTED_MAX, LISTED_PER_ACCOUNT_MAX
from services.dispatcher.engine.air.sightings import OPEN_MAX
from services.dispatcher.engine.events import IncidentClosed
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Live, Stream
from tests import builders
from tests.builders import CITY, NOON_US, SECOND_US, STREET, Town
from tests.engine.signing import Keys, sign, states
from tests.engine.signing import read as read_signed

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


def hold(town: Town, speakers: Sequence[str], held: dict[str, int], remembered: Remembered | None = None) -> None:
    state = SpeakerState(True, 1, held, 1, NOON_US // 1_000, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(name, state) for name in speakers], remembered)


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


def on_broker(town: Town, said: Manifest, *, at_start: bool = False) -> str:
    with town.store.write() as tx:
        verdict = compared.found_on_broker(tx, said.stream, b"signed", said, "actual-city-1", 0)
        sighted.found(tx, said, verdict, at_start=at_start)
    return verdict


def lie(town: Town, speaker: str, times: int) -> None:
    """One account names ever new orders."""
    for number in range(times):
        receipts.keep_receipts(town.store, [Arrived(speaker, receipt(f"o-{number}", number), b"raw")])


def close(town: Town, incident: str) -> None:
    town.engine.handle([IncidentClosed(incident, "li", "over")])


def sightings_of(town: Town) -> list[Sighting]:
    with town.store.read() as read:
        return read.find(Sighting, Page(limit=10_000))


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
    lie(town, "square-1", LISTED_MAX + 200)
    assert len(later(town)) == LISTED_PER_ACCOUNT_MAX + 1
    rows = sightings_of(town)
    beyond = town.get(Sighting, "account/square-1")
    assert len(rows) == LISTED_PER_ACCOUNT_MAX + 1
    assert (beyond.said, beyond.account) == (LISTED_MAX + 200 - LISTED_PER_ACCOUNT_MAX, "square-1")
    assert unread(town) == LISTED_PER_ACCOUNT_MAX + UNREAD_MAX
    assert all(row.incident for row in rows)
    assert "square-1" in town.get(Incident, beyond.incident).headline


def test_a_liar_leaves_every_other_account_its_own_alarm(town: Town) -> None:
    lie(town, "square-1", LISTED_MAX + 200)
    before = {alarm.id for alarm in later(town)}
    say(town, ["square-2", "mall-1"], receipt("really-plays"))
    (alarm,) = [each for each in later(town) if each.id not in before]
    assert ("really-plays" in alarm.headline, "2个" in alarm.headline) == (True, True)


def test_a_liar_says_what_a_crowd_says_first_and_the_crowd_is_heard_in_its_own_words(town: Town) -> None:
    lie(town, "square-1", LISTED_PER_ACCOUNT_MAX)
    say(town, ["square-1", "square-2", "mall-1"], receipt("really-plays", 900))
    later(town)
    row = town.get(Sighting, "order/really-plays")
    assert (row.said_by, row.leads) == (("square-2", "mall-1"), True)
    assert town.get(Sighting, "account/square-1").said == 1


def test_when_too_many_accounts_lie_the_rest_is_an_alarm_again_each_time_people_are_done_with_it(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sighted, "LISTED_MAX", 2)
    for number, name in enumerate(("square-1", "square-2", "mall-1", "mall-1")):
        say(town, [name], receipt(f"o-{number}", number))
    later(town)
    rest = town.get(Sighting, "rest")
    assert (len(sightings_of(town)), rest.said) == (3, 2)
    close(town, rest.incident)
    assert not town.get(Incident, rest.incident).open
    assert len(later(town, 3_600)) == 3
    say(town, ["mall-1"], receipt("o-9", 9))
    again = later(town, 11)[-1]
    assert (again.open, again.id) == (True, town.get(Sighting, "rest").incident)
    assert again.id != rest.incident


def test_more_speakers_than_people_were_shown_when_they_closed_it_are_a_new_incident(town: Town) -> None:
    say(town, ["square-1"], receipt("rogue"))
    (alarm,) = later(town)
    close(town, alarm.id)
    say(town, ["square-1"], receipt("rogue", 2, StepKind.FINISHED))
    assert later(town, 11) == [town.get(Incident, alarm.id)]
    say(town, ["square-2"], receipt("rogue"))
    anew = later(town, 11)[-1]
    assert (anew.id != alarm.id, anew.open, "2个" in anew.headline) == (True, True, True)
    assert len(later(town, 3_600)) == 2


def test_an_account_that_goes_on_lying_is_an_alarm_again_after_an_hour(town: Town) -> None:
    lie(town, "square-1", LISTED_PER_ACCOUNT_MAX + 1)
    later(town)
    first = town.get(Sighting, "account/square-1").incident
    close(town, first)
    say(town, ["square-1"], receipt("more", 800))
    later(town, 11)
    assert town.get(Sighting, "account/square-1").incident == first
    town.clock.advance(3_600)
    say(town, ["square-1"], receipt("and-more", 801))
    later(town, 11)
    assert town.get(Sighting, "account/square-1").incident != first


def test_an_order_that_is_given_out_after_speakers_played_it_is_an_alarm_all_the_same(town: Town) -> None:
    draft = town.alert(town.signal(builders.storm_signal()))
    say(town, ["square-1"], receipt(draft.id))
    town.release(draft.id, "li", "zhao")
    assert [draft.id in alarm.headline for alarm in later(town)] == [True]


def test_a_revision_that_speakers_had_before_it_was_ours_is_an_alarm(town: Town) -> None:
    alert = town.on_air()
    say(town, ["square-1"], receipt(alert.id, rev=2))
    town.act(alert.id, Stopped("wang", builders.DUTY, "wait"))
    assert [f"{alert.id}的第2版" in alarm.headline for alarm in later(town)] == [True]


# Streams


def test_a_version_above_ours_is_one_incident_however_many_hold_it(town: Town) -> None:
    remembered = Remembered()
    for _ in range(3):
        hold(town, ["square-1", "square-2"], {DRILLS: VERSION}, remembered)
    (alarm,) = later(town)
    assert (DRILLS in alarm.headline, str(VERSION) in alarm.headline, "2个" in alarm.headline) == (True, True, True)
    hold(town, ["square-1"], {DRILLS: VERSION + 1}, remembered)
    assert len(later(town)) == 2


def test_a_refusal_of_a_version_above_ours_is_an_alarm_too(town: Town) -> None:
    refused = Receipt("journal", 1, "", 0, (Step(StepKind.REFUSED, NOON_US, "version_ahead"),), DRILLS, VERSION)
    say(town, ["square-1"], refused)
    assert [DRILLS in alarm.headline for alarm in later(town)] == [True]


def test_what_was_signed_here_is_none_also_by_another_gateway_a_moment_ago(town: Town) -> None:
    with town.store.write() as tx:
        tx.put(Stream(DRILLS, STREET, "exercise", "city", VERSION))
    remembered = Remembered({DRILLS: VERSION - 1})
    hold(town, ["square-1"], {DRILLS: VERSION}, remembered)
    assert (remembered.highest, later(town, 3_600)) == ({DRILLS: VERSION}, [])


def test_a_version_that_speakers_had_before_ours_went_above_it_is_an_alarm(town: Town) -> None:
    hold(town, ["square-1"], {DRILLS: VERSION})
    with town.store.write() as tx:
        tx.put(Stream(DRILLS, STREET, "exercise", "city", VERSION + 1))
    assert len(later(town)) == 1


def test_one_account_that_names_many_versions_has_nobody_counted(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []

    def counted(tx: MemoryTx, stream: str, version: int) -> int:
        looks.append(stream)
        return 1

    monkeypatch.setattr(MemoryTx, "count_holding", counted)
    names = [f"{n:012}" for n in range(60)]
    hold(town, ["square-1"], {manifest_topic(name, "exercise", "city"): VERSION for name in names})
    assert len(later(town)) == LISTED_PER_ACCOUNT_MAX + 1
    assert (looks, len(sightings_of(town))) == ([], LISTED_PER_ACCOUNT_MAX + 1)


def test_only_what_leads_an_incident_has_its_holders_counted(town: Town) -> None:
    crowd = [f"sp-{n}" for n in range(12)]
    for number in range(OPEN_MAX + 4):
        on_broker(town, manifest((), manifest_topic(f"{number:012}", "exercise", "city")))
    hold(town, crowd, {manifest_topic(f"{n:012}", "exercise", "city"): VERSION for n in range(OPEN_MAX + 4)})
    assert len(later(town)) == OPEN_MAX
    rows = sightings_of(town)
    assert sorted((row.leads, row.speakers) for row in rows) == [(False, 8)] * 4 + [(True, 12)] * OPEN_MAX


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


def test_speakers_hold_what_a_backup_lost_though_only_its_number_is_news(town: Town, keys: Keys) -> None:
    alert, ours = on_the_air(town, keys)
    hold(town, ["square-1"], {alert.stream: ours.version + 3})
    on_broker(town, replace(ours, version=ours.version + 5), at_start=True)
    hold(town, ["square-2"], {alert.stream: ours.version + 5})
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
    steps: dict[str, Callable[[], object]] = {
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
    receipts.keep_receipts(town.store, arrived, sighted.UNSETTLED_US)
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


# A stolen key


@pytest.fixture
def keys() -> Keys:
    return Keys()


def forge(town: Town, ours: Manifest, *, version: int, orders: tuple[Order, ...]) -> str:
    """Somebody who has a key of ours puts this on the broker; what the comparison comes to."""
    said = replace(ours, version=version, orders=orders)
    return on_broker(town, said)


def on_the_air(town: Town, keys: Keys) -> tuple[Broadcast, Manifest]:
    alert = town.on_air()
    return alert, read_signed(sign(town, alert.stream, keys), keys)


def test_our_own_signature_over_a_thiefs_order_excuses_nothing_and_a_stop_goes_out_all_the_same(
    town: Town, keys: Keys
) -> None:
    alert, ours = on_the_air(town, keys)
    evil = replace(ours.orders[0], id="rogue")
    assert forge(town, ours, version=ours.version + 1, orders=(*ours.orders, evil)) == "unknown here"
    town.act(alert.id, Stopped("wang", builders.DUTY, "stop"))
    signed = read_signed(sign(town, alert.stream, keys), keys)
    # Silence goes out; what is not ours is neither revived nor ended before a person decides.
    assert states(signed) == {alert.id: (2, "withdrawn"), "rogue": (1, "in_force")}
    (alarm,) = later(town, 1)
    assert "rogue" in alarm.headline
    assert {row.incident for row in sightings_of(town)} == {alarm.id}
    say(town, ["square-1", "square-2"], receipt("rogue"))
    assert [each.id for each in later(town, 60)] == [alarm.id]


@pytest.mark.parametrize("decide", [desk.adopt_stream, desk.withdraw_stream])
def test_what_our_signature_carries_on_stays_on_the_desk_until_a_person_decides(
    town: Town, keys: Keys, decide: Callable[..., object]
) -> None:
    alert, ours = on_the_air(town, keys)
    evil = replace(ours.orders[0], id="rogue")
    forge(town, ours, version=ours.version + 1, orders=(*ours.orders, evil))
    town.act(alert.id, Stopped("wang", builders.DUTY, "stop"))
    sign(town, alert.stream, keys)
    assert town.whys(alert.stream, "stream.carries_unknown") == ["a person has neither adopted nor withdrawn them"]
    assert [o.id for o in shown(town, alert.stream)] == [alert.id, "rogue"]
    decide(town.store, alert.stream, "li")
    sign(town, alert.stream, keys)
    assert shown(town, alert.stream) == ()


def test_what_a_backup_lost_is_a_red_incident_once_our_own_signature_carries_it_undecided(
    town: Town, keys: Keys
) -> None:
    alert, ours = on_the_air(town, keys)
    lost = replace(ours.orders[0], id="lost")
    on_broker(town, replace(ours, version=ours.version + 1, orders=(*ours.orders, lost)), at_start=True)
    assert later(town, 3_600 * 0.1) == []
    town.act(alert.id, Stopped("wang", builders.DUTY, "stop"))
    sign(town, alert.stream, keys)
    (alarm,) = later(town, 1)
    assert ("本系统的签名" in alarm.headline, "lost" in alarm.headline, alarm.level) == (True, True, 1)


def test_what_a_person_decided_about_is_carried_without_an_alarm(town: Town, keys: Keys) -> None:
    alert, ours = on_the_air(town, keys)
    lost = replace(ours.orders[0], id="lost")
    on_broker(town, replace(ours, version=ours.version + 1, orders=(*ours.orders, lost)), at_start=True)
    desk.adopt_stream(town.store, alert.stream, "li")
    merged = read_signed(sign(town, alert.stream, keys), keys)
    assert states(merged)["lost"] == (1, "in_force")
    town.act(alert.id, Stopped("wang", builders.DUTY, "stop"))
    sign(town, alert.stream, keys)
    # An older copy of ours that comes back late names the adopted order, too.
    assert on_broker(town, merged) == "republish"
    assert later(town, 60) == []


@pytest.mark.parametrize(
    ("below", "verdict"), [(-1, "republish"), (0, "not ours"), (1, "unknown here"), (-60_000_000, "republish")]
)
def test_an_order_of_a_verified_manifest_that_was_never_given_out_is_an_alarm_whatever_its_number(
    town: Town, keys: Keys, below: int, verdict: str
) -> None:
    _, ours = on_the_air(town, keys)
    evil = replace(ours.orders[0], id="rogue")
    assert forge(town, ours, version=ours.version + below, orders=(*ours.orders, evil)) == verdict
    (alarm,) = later(town, 0)
    assert ("rogue" in alarm.headline, alarm.level) == (True, 1)


def test_a_number_above_ours_and_our_own_number_with_other_bytes_are_alarms_though_every_order_is_ours(
    town: Town, keys: Keys
) -> None:
    alert, ours = on_the_air(town, keys)
    assert forge(town, ours, version=ours.version, orders=()) == "not ours"
    assert len(later(town, 0)) == 1
    assert forge(town, ours, version=ours.version + 5, orders=ours.orders) == "newer number"
    assert len(later(town, 0)) == 2
    assert states(read_signed(sign(town, alert.stream, keys), keys)) == {alert.id: (1, "in_force")}


def test_an_older_manifest_of_ours_is_none(town: Town, keys: Keys) -> None:
    alert, ours = on_the_air(town, keys)
    town.act(alert.id, Stopped("wang", builders.DUTY, "stop"))
    sign(town, alert.stream, keys)
    assert on_broker(town, ours) == "republish"
    assert later(town, 3_600) == []


def test_what_explained_an_order_explains_no_newer_version_and_no_other_stream(town: Town, keys: Keys) -> None:
    _, ours = on_the_air(town, keys)
    lost = replace(ours.orders[0], id="lost")
    on_broker(town, replace(ours, version=ours.version + 1, orders=(*ours.orders, lost)), at_start=True)
    on_broker(town, manifest((replace(lost, status="exercise"),)))
    alarms_now = later(town, 0)
    assert len(alarms_now) == 1
    assert town.get(Sighting, "order/lost").incident == alarms_now[0].id


def test_no_crowd_of_forged_manifests_is_left_out_silently(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sighted, "LISTED_MAX", 1)
    for number in range(5):
        on_broker(town, manifest((), manifest_topic(f"{number:012}", "exercise", "city")))
    later(town, 0)
    assert town.get(Sighting, "rest").said == 3
    assert town.get(Sighting, "rest").incident


def shown(town: Town, topic: str) -> tuple[Order, ...]:
    """What the desk is shown as unknown on air on a stream."""
    with town.store.read() as read:
        return next(s.unknown_on_air for s in queries.streams_now(read, None) if s.stream.id == topic)


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
