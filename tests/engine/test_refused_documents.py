"""What speakers refuse of ours: few are said, many are a red incident once, and what mends by itself is no alarm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Receipt, SpeakerState, Step, StepKind
from devices.protocols.refusals import SENTENCES
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic, manifest_topic
from services.dispatcher.adapters.memory import MemoryTx
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.places import Speaker
from services.dispatcher.domain.refused_documents import (
    ALL_CONFIGS,
    DOCUMENTS_REFUSED,
    MENDS_US,
    NONE_GIVEN,
    SETTLES_US,
    RefusedDocument,
    RefusedTopic,
)
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.signing_keys import KeyAtGateway, KeyState
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.air import receipts, refused_documents
from services.dispatcher.engine.air.given_out import Remembered
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.air.refused_documents import TOPICS_MAX
from services.dispatcher.engine.air.streams import REFRESH_US
from services.dispatcher.engine.cities import city_changed
from services.dispatcher.engine.events import IncidentClosed, ServiceChanged
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import BrokerCopy, Live, Stream
from tests import builders
from tests.builders import CITY, NOON_US, SECOND_US, Town

ACTUAL = manifest_topic(CITY, "actual", "city")
DRILLS = manifest_topic(CITY, "exercise", "city")
VERSION = NOON_US // 1_000
SPEAKERS = ("mall-1", "square-1", "square-2")
LASTING, PASSING = "bad_signature", "stale"


@pytest.fixture
def town() -> Town:
    town = builders.town()
    assert set(SPEAKERS) == set(town.engine.read_city().speakers)
    sign(town, ACTUAL, VERSION)
    online(town, SPEAKERS)
    return town


def sign(town: Town, topic: str, version: int) -> None:
    """This version was given out."""
    with town.store.write() as tx:
        stream = tx.get_locked(Stream, topic) or Stream(topic, CITY, topic.split("/")[5], "city")
        tx.put(replace(stream, manifest_version=version))


_NUMBERS: Iterator[int] = iter(range(1, 1_000_000))


def refuse(
    town: Town, speakers: Sequence[str], reason: str = LASTING, topic: str = ACTUAL, version: int = 0
) -> receipts.Counted:
    said = Step(StepKind.REFUSED, NOON_US, reason)
    arrived = [
        Arrived(name, Receipt("journal", next(_NUMBERS), "", 0, (said,), topic, version), b"raw") for name in speakers
    ]
    return receipts.keep_receipts(town.store, arrived)


def online(town: Town, speakers: Sequence[str], held: dict[str, int] | None = None, **said: int) -> None:
    connection, is_online = said.get("connection", 1), bool(said.get("is_online", 1))
    keys, config = said.get("keys", 1), said.get("config", 0)
    state = SpeakerState(is_online, connection, held or {}, keys, config, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(name, state) for name in speakers], city=town.engine.read_city())


def later(town: Town, seconds: float = 40) -> list[Incident]:
    """Time passes with its timers; the incidents of this kind, oldest first."""
    for _ in range(int(seconds // 5)):
        town.clock.advance(5)
        town.pass_timers()
    with town.store.read() as read:
        return read.find(Incident, Page(), hazard=DOCUMENTS_REFUSED)


def refused(town: Town) -> list[RefusedTopic]:
    with town.store.read() as read:
        return list(refused_documents.refused_now(read, town.engine.read_city()))


def test_a_manifest_that_all_refuse_is_one_red_incident_that_says_what_to_do(town: Town) -> None:
    refuse(town, SPEAKERS)
    (alarm,) = later(town)
    assert (alarm.level, alarm.playbook, alarm.alert, alarm.use) == (1, "", "", Use.ACTUAL)
    assert (alarm.state, alarm.area) == (IncidentState.VERIFYING, CITY)
    assert "3个终端中的3个" in alarm.headline
    assert "bad_signature" in alarm.headline
    task = town.get(Task, alarm.task)
    assert "new secrets" in task.question["en"]
    assert "mall-1" in task.question["zh"]
    assert later(town, 600) == [alarm]


def test_a_key_that_nobody_holds_says_to_compare_the_keys(town: Town) -> None:
    refuse(town, SPEAKERS, "unknown_key")
    (alarm,) = later(town)
    assert "tocsin keys list" in town.get(Task, alarm.task).question["en"]


@pytest.mark.parametrize(("reason", "wait_us"), [(LASTING, SETTLES_US), (PASSING, MENDS_US)])
def test_nothing_is_said_before_it_could_have_mended(town: Town, reason: str, wait_us: int) -> None:
    refuse(town, SPEAKERS, reason)
    assert later(town, wait_us // SECOND_US - 5) == []
    assert refused(town) == []
    assert len(later(town, 15)) == 1


@pytest.mark.parametrize("reason", [LASTING, PASSING, "unknown_key", "version_ahead"])
def test_who_refuses_once_and_then_holds_it_is_no_alarm(town: Town, reason: str) -> None:
    refuse(town, SPEAKERS, reason)
    town.clock.advance(10)
    online(town, SPEAKERS, {ACTUAL: VERSION})
    assert later(town, 600) == []
    assert not any(town.get(Live, name).refuses for name in SPEAKERS)


def test_a_speaker_that_held_it_before_refuses_somebody_elses_bytes(town: Town) -> None:
    online(town, SPEAKERS, {ACTUAL: VERSION})
    refuse(town, SPEAKERS)
    refuse(town, SPEAKERS, "version_back", version=VERSION - 1)
    assert later(town, 600) == []


def test_an_older_version_is_no_answer_and_one_above_ours_is_none(town: Town) -> None:
    refuse(town, SPEAKERS)
    online(town, SPEAKERS, {ACTUAL: VERSION - 1})
    refuse(town, SPEAKERS, "version_back", version=VERSION)
    online(town, SPEAKERS, {ACTUAL: VERSION + 1})
    assert len(later(town)) == 1


def test_a_version_that_is_not_ours_is_no_refusal_of_ours(town: Town) -> None:
    refuse(town, SPEAKERS, "version_ahead", version=VERSION + 1)
    assert refused(town) == []


def test_other_bytes_under_our_number_are_answered_by_a_newer_version_alone(town: Town) -> None:
    refuse(town, SPEAKERS, "version_conflict", version=VERSION)
    online(town, SPEAKERS, {ACTUAL: VERSION})
    assert len(later(town)) == 1
    sign(town, ACTUAL, VERSION + 1)
    online(town, SPEAKERS, {ACTUAL: VERSION + 1})
    assert refused(town) == []


def test_one_of_many_is_said_and_no_incident(town: Town) -> None:
    refuse(town, ["mall-1"])
    assert later(town) == []
    assert refused(town) == [RefusedTopic(ACTUAL, "actual", VERSION, 3, {LASTING: 1}, ("mall-1",))]
    assert not refused(town)[0].many


@pytest.mark.parametrize(
    ("speakers", "meant", "many"),
    [
        (1, 1, False),
        (2, 2, True),
        (1, 2, False),
        (2, 40, True),
        (2, 41, False),
        (14, 300, False),
        (15, 300, True),
        (499, 9_999, False),
    ],
)
def test_a_twentieth_is_many_and_two_at_least_or_all(speakers: int, meant: int, many: bool) -> None:
    assert RefusedTopic("t", "actual", 1, meant, {LASTING: speakers}).many is many


def test_the_sole_speaker_of_a_stream_is_said_and_no_incident_whatever_it_refuses(town: Town) -> None:
    own = "tocsin/v1/speaker/mall-1/manifest/actual/city"
    sign(town, own, VERSION)
    for reason in sorted(SENTENCES)[:12]:
        refuse(town, ["mall-1"], reason, own)
        assert later(town, 60) == []
    assert [(r.speakers, r.meant, r.many) for r in refused(town)] == [(1, 1, False)]


def test_a_speaker_that_names_what_is_not_for_it_counts_nowhere(town: Town) -> None:
    own = "tocsin/v1/speaker/mall-1/manifest/actual/city"
    sign(town, own, VERSION)
    refuse(town, ["square-1"], topic=own)
    refuse(town, ["square-1"], topic="tocsin/v1/area/999999999999/manifest/actual/city")
    refuse(town, ["square-1"], topic=config_topic("mall-1"))
    assert later(town) == []
    assert refused(town) == []


def test_a_liar_fills_neither_its_row_nor_the_log(town: Town) -> None:
    for number in range(200):
        topic = manifest_topic(f"{number:012}", "actual", "city")
        sign(town, topic, VERSION)
        refuse(town, ["mall-1"], f"made-up-{number}", topic=topic)
    assert len(town.get(Live, "mall-1").refused) == TOPICS_MAX
    assert len(town.whys("mall-1", "speaker.refuses")) == 1


def test_an_exercise_that_all_refuse_is_health_and_no_incident(town: Town) -> None:
    sign(town, DRILLS, VERSION)
    refuse(town, SPEAKERS, topic=DRILLS)
    assert later(town) == []
    (drills,) = refused(town)
    assert (drills.use, drills.many) == ("exercise", True)


def test_keys_and_configs_count_too(town: Town) -> None:
    with town.store.write() as tx:
        at = {"gw-0": KeyAtGateway("", NOON_US, document=7)}
        tx.put(KeyState("k", "actual", "city", CITY, (1,), NOON_US, at))
        for name in SPEAKERS:
            row = tx.get_locked(Speaker, name)
            assert row is not None
            tx.put(replace(row, config_version=5))
            refuse_config = Step(StepKind.REFUSED, NOON_US, LASTING)
            said = Receipt("journal", next(_NUMBERS), "", 0, (refuse_config,), config_topic(name), 0)
            refused_documents.note(tx, [(name, said)])
    refuse(town, SPEAKERS, "bad_signature", topic=KEYS_TOPIC)
    assert len(later(town)) == 2
    assert {(r.topic, r.speakers, r.meant) for r in refused(town)} == {(KEYS_TOPIC, 3, 3), (ALL_CONFIGS, 3, 3)}
    online(town, SPEAKERS, keys=7, config=5)
    assert refused(town) == []


def test_who_is_offline_or_out_of_service_is_not_counted(town: Town) -> None:
    refuse(town, SPEAKERS)
    for name in ("square-1", "square-2"):
        town.engine.handle([ServiceChanged(name, "li", "repair", NOON_US + 3_600 * SECOND_US)])
    town.clock.advance(20)
    assert [(r.speakers, r.meant) for r in refused(town)] == [(1, 1)]
    online(town, ["mall-1"], is_online=0)
    assert refused(town) == []


def test_a_speaker_that_comes_back_has_time_to_mend(town: Town) -> None:
    refuse(town, SPEAKERS, PASSING)
    online(town, SPEAKERS, is_online=0)
    town.clock.advance(3_600)
    online(town, SPEAKERS, connection=2)
    assert later(town, MENDS_US // SECOND_US - 5) == []
    assert len(later(town, 5)) == 1


def test_a_link_that_comes_and_goes_hides_no_refusal(town: Town) -> None:
    refuse(town, SPEAKERS, PASSING)
    for number in range(1, 4):
        online(town, SPEAKERS, connection=number)
        found = later(town, 20)
        online(town, SPEAKERS, connection=number, is_online=0)
        town.clock.advance(5)
    assert len(found) == 1


def test_another_version_that_is_held_gives_time_anew(town: Town) -> None:
    refuse(town, SPEAKERS, PASSING)
    town.clock.advance(25)
    online(town, SPEAKERS, {ACTUAL: VERSION - 1})
    assert later(town, 25) == []
    assert len(later(town, 5)) == 1


def test_a_newer_version_that_is_refused_joins_the_open_incident_and_opens_one_after_it(town: Town) -> None:
    refuse(town, SPEAKERS)
    (first,) = later(town)
    sign(town, ACTUAL, VERSION + 1)
    refuse(town, SPEAKERS)
    (same,) = later(town)
    assert (same.id, same.signal_count) == (first.id, 2)
    assert str(VERSION + 1) in same.headline
    town.engine.handle([IncidentClosed(first.id, "li", "seen")])
    assert len(later(town, 600)) == 1
    sign(town, ACTUAL, VERSION + 2)
    refuse(town, SPEAKERS)
    assert len(later(town)) == 2


def test_many_streams_do_not_make_many_incidents(town: Town) -> None:
    for number in range(TOPICS_MAX):
        zone = builders.area(f"2102990000{number:02}", CITY, overlay=True, members=(builders.DISTRICT,))
        topic = manifest_topic(zone.code, "actual", "city")
        with town.store.write() as tx:
            tx.put(zone, Stream(topic, zone.code, "actual", "city", manifest_version=VERSION))
            city_changed(tx)
        refuse(town, SPEAKERS, topic=topic)
    assert len(later(town, 120)) == refused_documents.OPEN_MAX


def test_enrolling_again_forgets_what_was_refused(town: Town) -> None:
    refuse(town, SPEAKERS)
    with town.store.write() as tx:
        for name in SPEAKERS:
            receipts.enrolled_anew(tx, name)
    assert later(town) == []


def heartbeats(town: Town, seconds: int, held: dict[str, int] | None = None, **said: int) -> list[Incident]:
    """Speakers tell their state every minute meanwhile."""
    found: list[Incident] = []
    for _ in range(0, seconds, 60):
        online(town, SPEAKERS, held, **said)
        found = later(town, 60)
    return found


def on_broker(town: Town, version: int) -> None:
    """This version was signed now, and the broker is seen to hold it."""
    sign(town, ACTUAL, version)
    with town.store.write() as tx:
        now_us, stream = tx.now_us(), tx.get_locked(Stream, ACTUAL)
        assert stream is not None
        tx.put(replace(stream, refresh_us=now_us + REFRESH_US))
        tx.put(BrokerCopy(ACTUAL, now_us, now_us, now_us, "", "gw-0"))


def test_a_forgery_that_took_the_word_hides_no_refusal_of_ours(town: Town) -> None:
    online(town, SPEAKERS, {ACTUAL: VERSION})
    refuse(town, SPEAKERS, "unknown_key")
    assert later(town, 60) == []
    # By a key that nobody has: refused for the same reason, which nobody says twice.
    on_broker(town, VERSION + 60_000)
    (alarm,) = heartbeats(town, 240, {ACTUAL: VERSION})
    assert f"版本{VERSION + 60_000}被3个终端中的3个拒收：{NONE_GIVEN} 3个" in alarm.headline
    assert "give no reason" in town.get(Task, alarm.task).question["en"]
    online(town, SPEAKERS, {ACTUAL: VERSION + 60_000})
    assert refused(town) == []


def test_who_goes_on_refusing_after_enrolling_again_is_seen(town: Town) -> None:
    on_broker(town, VERSION)
    refuse(town, SPEAKERS)
    with town.store.write() as tx:
        for name in SPEAKERS:
            receipts.enrolled_anew(tx, name)
    assert len(heartbeats(town, 240)) == 1


def test_a_receipt_gives_the_reason_of_who_stays_behind(town: Town) -> None:
    on_broker(town, VERSION)
    heartbeats(town, 120)
    refuse(town, SPEAKERS)
    assert [dict(r.reasons) for r in refused(town)] == [{LASTING: 3}]


def test_who_takes_it_late_stays_behind_nothing(town: Town) -> None:
    on_broker(town, VERSION)
    town.clock.advance(20)
    online(town, SPEAKERS)
    assert town.get(Live, "mall-1").refuses
    assert later(town, 65) == []
    assert heartbeats(town, 300, {ACTUAL: VERSION}) == []
    assert not town.get(Live, "mall-1").refuses


def test_what_the_broker_was_not_seen_to_hold_leaves_nobody_behind(town: Town) -> None:
    on_broker(town, VERSION)
    town.clock.advance(60)
    with town.store.write() as tx:
        stream = tx.get_locked(Stream, ACTUAL)
        assert stream is not None
        tx.put(replace(stream, manifest_version=VERSION + 60_000, refresh_us=tx.now_us() + REFRESH_US))
    assert heartbeats(town, 300, {ACTUAL: VERSION}) == []


def test_older_keys_and_configs_leave_speakers_behind_too(town: Town) -> None:
    with town.store.write() as tx:
        at = {"gw-0": KeyAtGateway("", NOON_US, document=7)}
        tx.put(KeyState("k", "actual", "city", CITY, (1,), NOON_US, at))
        for name in SPEAKERS:
            row = tx.get_locked(Speaker, name)
            assert row is not None
            tx.put(replace(row, config_version=5, config_digest="said"))
        city_changed(tx)
    assert len(heartbeats(town, 240, keys=6, config=4)) == 2
    assert {(r.topic, r.speakers) for r in refused(town)} == {(KEYS_TOPIC, 3), (ALL_CONFIGS, 3)}
    assert len(heartbeats(town, 240, keys=7, config=5)) == 2
    assert refused(town) == []


def configs_refused(town: Town, version: int) -> list[Incident]:
    """A config of this version was made for each speaker, and each refuses its own."""
    with town.store.write() as tx:
        for name in SPEAKERS:
            row = tx.get_locked(Speaker, name)
            assert row is not None
            tx.put(replace(row, config_version=version))
    for name in SPEAKERS:
        refuse(town, [name], topic=config_topic(name))
    return later(town)


def test_another_outbreak_of_refused_configs_is_an_incident_of_its_own(town: Town) -> None:
    (first,) = configs_refused(town, 5)
    town.engine.handle([IncidentClosed(first.id, "li", "seen")])
    # While anybody of then goes on, closing it is enough.
    assert len(configs_refused(town, 7)) == 1
    online(town, SPEAKERS, config=7)
    assert len(later(town, 3_600)) == 1
    online(town, SPEAKERS, config=7)
    second = configs_refused(town, 9)
    assert len(second) == 2
    assert second[-1].open
    assert later(town, 600) == second


def looks(town: Town) -> int:
    with town.store.read() as read:
        return sum(row.timer == Timer.REFUSED for row in read.due_timers(2**62, 1_000))


def test_one_timer_serves_all_and_ends_with_the_refusals_that_can_be_looked_at(town: Town) -> None:
    for number in range(12):
        refuse(town, ["mall-1"], sorted(SENTENCES)[number])
        later(town, 5)
    assert looks(town) == 1
    with town.store.write() as tx:
        scrapped = tx.get_locked(Speaker, "mall-1")
        assert scrapped is not None
        tx.put(replace(scrapped, enrolled=False))
        city_changed(tx)
    later(town, 60)
    assert looks(town) == 0


def test_a_later_time_puts_no_look_off(town: Town) -> None:
    refuse(town, SPEAKERS)
    later(town, 10)
    refuse(town, SPEAKERS, topic=DRILLS)
    refuse(town, ["mall-1"], PASSING, KEYS_TOPIC)
    assert len(later(town, 5)) == 1


def test_who_refuses_offline_is_looked_at_once_it_comes_online(town: Town) -> None:
    refuse(town, SPEAKERS)
    online(town, SPEAKERS, is_online=0)
    assert later(town, 60) == []
    assert looks(town) == 0
    online(town, SPEAKERS, connection=2)
    assert len(later(town, 15)) == 1


def test_a_refusal_before_the_first_state_is_kept(town: Town) -> None:
    fresh = builders.town()
    sign(fresh, ACTUAL, VERSION)
    refuse(fresh, SPEAKERS)
    assert later(fresh) == []
    online(fresh, SPEAKERS)
    assert len(later(fresh, 60)) == 1


def test_what_is_answered_depends_on_the_version_alone() -> None:
    entry = RefusedDocument(LASTING, 0, 10, NOON_US)
    assert [entry.answered(held, 12) for held in (0, 9, 10, 12, 13)] == [False, False, True, True, False]
    partly = RefusedDocument("not_issuer", 10, 10, NOON_US)
    assert [partly.answered(held, 12) for held in (9, 10, 11, 12, 13)] == [False, False, True, True, False]


def configs_given_out(town: Town, version: int) -> None:
    with town.store.write() as tx:
        for name in SPEAKERS:
            speaker = tx.get_locked(Speaker, name)
            assert speaker is not None
            tx.put(replace(speaker, config_version=version, config_digest="digest"))


def test_one_broken_pole_hides_no_later_outbreak_of_refused_configs(town: Town) -> None:
    squares = ("square-1", "square-2")

    def refuse_configs(*names: str) -> None:
        for name in names:
            refuse(town, [name], "key_area", config_topic(name))

    def minutes(number: int) -> None:
        for _ in range(number):
            town.clock.advance(60)
            online(town, ["mall-1"], {ACTUAL: VERSION}, config=4)
            online(town, squares, {ACTUAL: VERSION}, config=5)
            town.pass_timers()

    configs_given_out(town, 5)
    online(town, SPEAKERS, {ACTUAL: VERSION}, config=4)
    refuse_configs("mall-1", "square-1")
    (first,) = later(town, 60)
    online(town, squares, {ACTUAL: VERSION}, config=5)
    town.engine.handle([IncidentClosed(first.id, "li", "seen")])
    minutes(120)
    assert [(r.speakers, r.many) for r in refused(town)] == [(1, False)]
    configs_given_out(town, 6)
    refuse_configs(*squares)
    minutes(2)
    assert [(r.speakers, r.many) for r in refused(town)] == [(3, True)]
    assert len(later(town, 30)) == 2
    minutes(5)
    assert len(later(town, 30)) == 2


def test_a_state_costs_no_read_for_each_stream_on_air(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    with town.store.write() as tx:
        for number in range(300):
            topic = f"tocsin/v1/speaker/sp-{number}/manifest/actual/city"
            signed = Stream(topic, CITY, "actual", "city", manifest_version=1, refresh_us=REFRESH_US + 1)
            tx.put(signed, BrokerCopy(topic, NOON_US, NOON_US, NOON_US, "", "gw-0"))
    reads: list[str] = []
    for name in ("get", "find"):
        plain = getattr(MemoryTx, name)

        def counted(self: MemoryTx, kind: type, *args: Any, plain: Any = plain, **fields: Any) -> Any:
            reads.extend([kind.__name__] if kind is Stream else [])
            return plain(self, kind, *args, **fields)

        monkeypatch.setattr(MemoryTx, name, counted)
    remembered = Remembered()
    state = SpeakerState(True, 1, {}, 1, 0, "journal", 0, 80, "mains", (), "")
    for read_now in (1, 0):
        reads.clear()
        receipts.hear_speakers(town.store, [("mall-1", state)], remembered, city=town.engine.read_city())
        assert len(reads) == read_now
