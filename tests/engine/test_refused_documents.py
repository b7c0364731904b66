"""What speakers refuse of ours: few are said, many are a red incident once, and what mends by itself is no alarm."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from devices.protocols.documents import Receipt, SpeakerState, Step, StepKind
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic, manifest_topic
from services.dispatcher.domain.incidents import Incident, IncidentState
from services.dispatcher.domain.places import Speaker
from services.dispatcher.domain.refused_documents import (
    ALL_CONFIGS,
    DOCUMENTS_REFUSED,
    MENDS_US,
    SETTLES_US,
    RefusedDocument,
    RefusedTopic,
)
from services.dispatcher.domain.signals import Use
from services.dispatcher.domain.signing_keys import KeyAtGateway, KeyState
from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.air import receipts, refused_documents
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.air.refused_documents import TOPICS_MAX
from services.dispatcher.engine.events import IncidentClosed, ServiceChanged
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Live, Stream
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
    state = SpeakerState(True, 1, held or {}, said.get("keys", 1), said.get("config", 0), "journal", 0, 80, "mains",
                         (), "")  # fmt: skip
    receipts.hear_speakers(town.store, [(name, state) for name in speakers])


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
        (1, 1, True),
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


def test_the_sole_speaker_of_a_stream_is_all_of_it(town: Town) -> None:
    own = "tocsin/v1/speaker/mall-1/manifest/actual/city"
    sign(town, own, VERSION)
    refuse(town, ["mall-1"], topic=own)
    (alarm,) = later(town)
    assert alarm.area == town.engine.read_city().speakers["mall-1"].area


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
    gone = SpeakerState(False, 1, {}, 1, 0, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [("mall-1", gone)])
    assert refused(town) == []


def test_a_speaker_that_comes_back_has_time_to_mend(town: Town) -> None:
    refuse(town, SPEAKERS, PASSING)
    town.clock.advance(3_600)
    again = SpeakerState(True, 2, {}, 1, 0, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(name, again) for name in SPEAKERS])
    assert refused(town) == []
    town.clock.advance(MENDS_US // SECOND_US)
    assert len(refused(town)) == 1


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
        topic = f"tocsin/v1/speaker/mall-1/manifest/actual/issuer-{number}"
        with town.store.write() as tx:
            tx.put(Stream(topic, CITY, "actual", "city", manifest_version=VERSION))
        refuse(town, ["mall-1"], topic=topic)
    assert len(later(town, 120)) == refused_documents.OPEN_MAX


def test_enrolling_again_forgets_what_was_refused(town: Town) -> None:
    refuse(town, SPEAKERS)
    with town.store.write() as tx:
        for name in SPEAKERS:
            receipts.enrolled_anew(tx, name)
    assert later(town) == []


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
