from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.asking import SpeakerAnswer
from devices.protocols.documents import Manifest, Receipt, SpeakerState, Step, StepKind
from devices.protocols.speaker_link import manifest_topic
from services.dispatcher.domain.broadcasts import Resumed, Stopped, wire_order
from services.dispatcher.domain.effects import Carry, Timer, WakeAt
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.judgement import (
    BEHIND_US_MAX,
    LATELY_US,
    MIC_DB_MAX,
    MIC_DB_MIN,
    RECEIPT_AHEAD_US_MAX,
    RUNNING_REPEAT_US,
)
from services.dispatcher.domain.places import Speaker
from services.dispatcher.domain.planning import Coverage
from services.dispatcher.domain.refusals import PlanOutOfDate
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS
from services.dispatcher.domain.signals import Unread
from services.dispatcher.engine import desk, queries
from services.dispatcher.engine.air import compared, receipts
from services.dispatcher.engine.air.receipts import Arrived, Counted
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.engine.ports import Tx
from services.dispatcher.engine.rows import Expected, Live, Stream
from services.dispatcher.engine.writing import WritableStore
from services.dispatcher.web.schemas import SpeakerView
from tests import builders
from tests.builders import CITY, NOON_US, SECOND_US, Town

HEARD: dict[str, int | str] = {"mic_db": 74}
PLAYING, FINISHED, REFUSED, FAILED = StepKind.PLAYING, StepKind.FINISHED, StepKind.REFUSED, StepKind.FAILED


@pytest.fixture
def town() -> Town:
    return builders.town()


def receipt(order: str, *steps: Step, seq: int = 1, **changes: Any) -> Receipt:
    return replace(Receipt("journal", seq, order, 1, steps), **changes)


def keep(town: Town, speaker: str, *said: Receipt, microphone: bool = True) -> Counted:
    return receipts.keep_receipts(town.store, [Arrived(speaker, r, b"raw", microphone) for r in said])


def state(**changes: Any) -> SpeakerState:
    now = SpeakerState(True, 1, {}, 1, NOON_US // 1_000, "journal", 0, 80, "mains", (), "")
    return replace(now, **changes)


def counts(town: Town, broadcast: str) -> Coverage:
    with town.store.read() as read:
        return read.coverage(broadcast)


def row(town: Town, broadcast: str, speaker: str) -> Expected:
    with town.store.read() as read:
        return next(r for r in read.expected(broadcast) if r.speaker == speaker)


class Locking:
    """A store that remembers what its transactions lock, in that order."""

    def __init__(self, store: WritableStore) -> None:
        self._store = store
        self.locked: list[tuple[str, str]] = []

    @contextmanager
    def write(self) -> Iterator[Any]:
        with self._store.write() as tx:
            yield _Noting(tx, self.locked)


class _Noting:
    def __init__(self, tx: Tx, locked: list[tuple[str, str]]) -> None:
        self._tx, self._locked = tx, locked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tx, name)

    def get_locked(self, kind: type[Any], id: str) -> Any:
        self._locked.append((kind.__name__, id))
        return self._tx.get_locked(kind, id)

    def wake_at(self, timer: WakeAt) -> None:
        self._locked.append((timer.timer, timer.subject))
        self._tx.wake_at(timer)


def first_locks(locking: Locking) -> list[tuple[str, str]]:
    taken = list(dict.fromkeys(locking.locked))
    locking.locked.clear()
    return taken


def test_receipts_and_states_take_their_locks_in_one_order(town: Town) -> None:
    """Speakers by their ids, then sightings, then the timer that everybody sets: so nobody waits in a circle."""
    locking: Any = Locking(town.store)
    keep(town, "square-2", receipt("never-given", Step(PLAYING, NOON_US)))
    topic, version = manifest_topic(CITY, "actual", "city"), NOON_US // 1_000
    with town.store.write() as tx:
        tx.put(Stream(topic, CITY, "actual", "city", manifest_version=version))
    refused = replace(receipt("", Step(REFUSED, NOON_US, "bad_signature")), rev=0, stream=topic, seq=9)
    said = [
        Arrived("square-2", receipt("never-given", Step(PLAYING, NOON_US + 1)), b"other"),
        Arrived("square-1", receipt("nor-this", Step(PLAYING, NOON_US)), b"raw"),
        Arrived("mall-1", refused, b"raw"),
    ]
    receipts.keep_receipts(locking, said)
    taken = first_locks(locking)
    assert [id for kind, id in taken if kind == "Live"] == ["mall-1", "square-2"]
    assert {kind for kind, _ in taken[:2]} == {"Live"}
    assert taken[-1][0] == Timer.REFUSED
    receipts.hear_speakers(locking, [("square-1", state()), ("mall-1", state(streams={topic: version + 9}))])
    taken = first_locks(locking)
    assert taken[:2] == [("Live", "mall-1"), ("Live", "square-1")]
    assert taken[-1][0] == Timer.REFUSED


def test_steps_move_the_expected_row_on_and_the_first_time_of_a_step_stays(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(StepKind.ACCEPTED, NOON_US + 10), Step(PLAYING, NOON_US + 20)))
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US + 99), Step(FINISHED, NOON_US + 120), seq=2))
    assert row(town, alert.id, "mall-1") == Expected(
        alert.id, "mall-1", accepted_us=NOON_US + 10, playing_us=NOON_US + 20, finished_us=NOON_US + 120
    )


def test_the_same_receipt_twice_changes_nothing(town: Town) -> None:
    alert = town.on_air()
    said = receipt(alert.id, Step(PLAYING, NOON_US + 20))
    keep(town, "mall-1", said)
    before = counts(town, alert.id)
    keep(town, "mall-1", said, said)
    assert counts(town, alert.id) == before
    assert before == Coverage(3, 0, 1, 0, 0, 0, 0, 0)


def test_only_a_microphone_proves(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US + 20, evidence={"repeat": 1, "of": 3})))
    assert (counts(town, alert.id).playing, counts(town, alert.id).proved) == (1, 0)
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US + 21, evidence={"mic_db": 74}), seq=2))
    assert (counts(town, alert.id).playing, counts(town, alert.id).proved) == (1, 1)


@pytest.mark.parametrize("kind", [StepKind.ACCEPTED, StepKind.READY, REFUSED, FAILED, StepKind.SUPERSEDED])
def test_a_microphone_proves_nothing_before_there_is_sound(town: Town, kind: StepKind) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(kind, NOON_US + 20, evidence={"mic_db": 74})))
    assert (counts(town, alert.id).playing, counts(town, alert.id).proved) == (0, 0)


def test_refusing_and_failing_are_counted_and_stay_with_their_reason(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(REFUSED, NOON_US + 1, "rate_limit")))
    keep(town, "mall-1", receipt(alert.id, Step(FAILED, NOON_US + 2), seq=2))
    shown = row(town, alert.id, "mall-1")
    assert (shown.refused, shown.failed) == ("rate_limit", "failed")
    assert (counts(town, alert.id).refused, counts(town, alert.id).failed) == (1, 1)


def test_a_receipt_about_an_order_never_given_is_unread_and_counts_for_nothing(town: Town) -> None:
    alert = town.on_air()
    counted = keep(
        town,
        "mall-1",
        receipt("f" * 32, Step(PLAYING, NOON_US + 20, evidence={"mic_db": 74})),
        receipt(alert.id, Step(PLAYING, NOON_US + 20), seq=2),
    )
    assert (counted.stored, counted.unknown) == (1, 1)
    with town.store.read() as read:
        assert read.unread() == [Unread("mqtt", "receipt/mall-1", "receipt_unknown_order", b"raw", NOON_US)]
    assert counts(town, alert.id).playing == 1


def test_a_speaker_that_an_order_is_not_meant_for_proves_nothing(town: Town) -> None:
    fire = town.on_air(builders.fire_signal())
    assert keep(town, "square-1", receipt(fire.id, Step(PLAYING, NOON_US + 20, evidence={"mic_db": 74}))).unknown == 1
    assert counts(town, fire.id) == Coverage(1, 0, 0, 0, 0, 0, 0, 0)


def test_the_refusal_of_a_whole_document_is_in_the_log(town: Town) -> None:
    said = receipt("", Step(REFUSED, NOON_US + 1, "version_back"), stream="tocsin/v1/area/x", version=7)
    keep(town, "mall-1", said)
    assert town.whys("mall-1", "speaker.refuses") == ["version_back"]


def test_what_is_about_no_order_we_gave_is_shown_once_and_never_asked_for_again(town: Town) -> None:
    refusal = receipt("", Step(REFUSED, NOON_US + 1, "version_back"), stream="tocsin/v1/area/x", version=7)
    strange = receipt("f" * 32, Step(PLAYING, NOON_US + 20), seq=2)
    assert keep(town, "mall-1", refusal, strange, strange) == Counted(
        stored=2, unknown=1, refused=Counter(version_back=1)
    )
    for _ in range(3):
        assert keep(town, "mall-1", strange, refusal) == Counted(stored=2)
    hear(town, "mall-1", state(seq=2))
    assert f"{Carry.ASK_MISSING}:mall-1" not in town.lanes()
    assert town.kinds("mall-1") == ["speaker.refuses", "speaker.online"]
    with town.store.read() as read:
        assert [row.source for row in read.unread()] == ["receipt/mall-1"]


def test_what_is_said_of_a_draft_never_counts_once_it_is_released(town: Town) -> None:
    draft = town.alert(town.signal(builders.storm_signal()))
    said = keep(town, "mall-1", receipt(draft.id, Step(PLAYING, NOON_US + 20, evidence=HEARD)))
    assert (said.stored, said.unknown, row(town, draft.id, "mall-1")) == (0, 1, Expected(draft.id, "mall-1"))
    town.rebuild(without=("square-2",))
    town.engine.handle([SignalArrived(replace(builders.storm_signal(), key="again"))])
    with pytest.raises(PlanOutOfDate):
        town.release(draft.id, "li")
    town.release(draft.id, "li", "zhao")
    assert counts(town, draft.id) == Coverage(2, 0, 0, 0, 0, 0, 0, 0)


def test_what_was_said_of_a_draft_counts_once_it_is_adopted_from_the_broker(town: Town) -> None:
    """As after an older backup: speakers play what the database holds for a draft."""
    draft = town.alert(town.signal(builders.storm_signal()))
    keep(town, "mall-1", receipt(draft.id, Step(PLAYING, NOON_US + 20, evidence=HEARD)))
    order = replace(wire_order(draft), rev=1, start_at=NOON_US, expires=NOON_US + 600 * SECOND_US)
    manifest = Manifest(draft.stream, NOON_US // 1_000, NOON_US, NOON_US + 3_600 * SECOND_US, "", (order,))
    with town.store.write() as tx:
        assert compared.found_on_broker(tx, draft.stream, b"signed", manifest, "actual-city-1", 0) == "unknown here"
    desk.adopt_stream(town.store, draft.stream, "li")
    assert row(town, draft.id, "mall-1") == Expected(draft.id, "mall-1", playing_us=NOON_US + 20, proved=True)


# What can't be


def test_a_speaker_without_a_microphone_plays_and_proves_nothing(town: Town) -> None:
    alert = town.on_air()
    said = keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US, evidence=HEARD)), microphone=False)
    assert (counts(town, alert.id).playing, counts(town, alert.id).proved) == (1, 0)
    assert (row(town, alert.id, "mall-1").doubted, said.doubted) == ("no_microphone", {"no_microphone": 1})


@pytest.mark.parametrize("mic_db", [MIC_DB_MIN - 1, MIC_DB_MAX + 1, 2**53, -74, "74"])
def test_a_loudness_that_cannot_be_proves_nothing(town: Town, mic_db: int | str) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US, evidence={"mic_db": mic_db})))
    assert (counts(town, alert.id).playing, counts(town, alert.id).proved) == (1, 0)
    assert row(town, alert.id, "mall-1").doubted == "out_of_range"


@pytest.mark.parametrize("mic_db", [MIC_DB_MIN, MIC_DB_MAX])
def test_the_limits_of_loudness_prove(town: Town, mic_db: int) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US, evidence={"mic_db": mic_db})))
    assert counts(town, alert.id).proved == 1


@pytest.mark.parametrize(
    ("at_us", "doubt"),
    [
        (NOON_US - BEHIND_US_MAX - 1, "before_start"),
        (NOON_US + RECEIPT_AHEAD_US_MAX + 1, "in_future"),
        (20, "before_start"),
    ],
)
@pytest.mark.parametrize("kind", [PLAYING, FINISHED])
def test_a_sound_at_an_impossible_time_counts_for_nothing(town: Town, kind: StepKind, at_us: int, doubt: str) -> None:
    alert = town.on_air()
    said = keep(town, "mall-1", receipt(alert.id, Step(kind, at_us, evidence=HEARD)))
    assert counts(town, alert.id) == Coverage(3, 0, 0, 0, 0, 0, 0, 0)
    assert (row(town, alert.id, "mall-1"), said.doubted) == (Expected(alert.id, "mall-1", doubted=doubt), {doubt: 1})


def test_a_repeat_may_go_on_a_minute_after_the_end_and_no_longer(town: Town) -> None:
    alert = town.on_air()
    end_us = alert.expires_us + RUNNING_REPEAT_US + RECEIPT_AHEAD_US_MAX
    town.clock.advance(2 * 3_600)
    keep(town, "square-1", receipt(alert.id, Step(FINISHED, end_us)))
    keep(town, "square-2", receipt(alert.id, Step(FINISHED, end_us + 1)))
    shown = {s: row(town, alert.id, s) for s in ("square-1", "square-2")}
    assert shown == {
        "square-1": Expected(alert.id, "square-1", finished_us=end_us),
        "square-2": Expected(alert.id, "square-2", doubted="after_end"),
    }


def test_a_receipt_that_comes_a_day_after_the_end_counts_for_nothing(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(3_600 + LATELY_US // SECOND_US + 1)
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US + 20, evidence=HEARD)))
    assert row(town, alert.id, "mall-1") == Expected(alert.id, "mall-1", doubted="long_over")


def test_a_speaker_without_a_clock_is_judged_by_when_it_is_heard(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(7)
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, 0, evidence=HEARD)))
    assert row(town, alert.id, "mall-1").playing_us == NOON_US + 7 * SECOND_US


def test_nothing_sounds_at_the_revision_that_stopped_it(town: Town) -> None:
    alert = town.on_air()
    town.act(alert.id, Stopped("li", builders.DUTY, "wait"))
    resumed = town.act(alert.id, Resumed("li", builders.DUTY))
    for rev in range(1, resumed.rev + 1):
        keep(town, f"square-{min(rev, 2)}", receipt(alert.id, Step(PLAYING, NOON_US), seq=rev, rev=rev))
    assert row(town, alert.id, "square-1").playing_us == NOON_US
    second = row(town, alert.id, "square-2")
    assert (resumed.rev, second.doubted, second.playing_us) == (3, "revision_withdrawn", NOON_US)
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US, evidence=HEARD), rev=2))
    assert row(town, alert.id, "mall-1") == Expected(alert.id, "mall-1", doubted="revision_withdrawn")


def test_a_proof_beside_an_impossible_one_still_proves(town: Town) -> None:
    alert = town.on_air()
    steps = Step(PLAYING, NOON_US, evidence=HEARD), Step(FINISHED, NOON_US + 3_600 * SECOND_US, evidence=HEARD)
    keep(town, "mall-1", receipt(alert.id, *steps))
    shown = Expected(alert.id, "mall-1", playing_us=NOON_US, proved=True, doubted="in_future")
    assert row(town, alert.id, "mall-1") == shown


def test_an_unknown_order_that_plays_under_a_used_number_is_an_incident(town: Town) -> None:
    alert = town.on_air()
    hear(town, "mall-1", state(seq=5))
    keep(town, "mall-1", receipt(alert.id, Step(StepKind.ACCEPTED, NOON_US), seq=5))
    ghost = [Arrived("mall-1", receipt("ghost", Step(PLAYING, NOON_US), seq=5), b"ghost")]
    counted = receipts.keep_receipts(town.store, ghost)
    assert (counted.unknown, counted.reused) == (1, 1)
    town.clock.advance(10)
    town.pass_timers()
    with town.store.read() as read:
        (incident,) = read.find(Incident, hazard=UNKNOWN_SOUNDS)
        assert incident.level == 1
        assert {u.reason for u in read.unread()} == {"receipt_number_reused", "receipt_unknown_order"}
    assert town.get(Live, "mall-1").oddity == "receipts_reused"
    receipts.keep_receipts(town.store, ghost)
    assert len(town.whys("mall-1", "speaker.receipts_reused")) == 1
    town.clock.advance(3_601)
    assert hear(town, "mall-1", state(seq=5)).oddity == ""


def test_a_flood_of_used_numbers_keeps_few_unread_and_loses_no_step(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", *(receipt(alert.id, Step(StepKind.ACCEPTED, NOON_US), seq=n) for n in range(1, 100)))
    again = [Arrived("mall-1", receipt(alert.id, Step(PLAYING, NOON_US), seq=n), b"%d" % n) for n in range(1, 100)]
    assert receipts.keep_receipts(town.store, again) == Counted(99, 0, reused=99)
    with town.store.read() as read:
        assert [u.reason for u in read.unread()] == ["receipt_number_reused"] * receipts.REUSED_UNREAD_MAX
    assert row(town, alert.id, "mall-1").playing_us == NOON_US


# States


def hear(town: Town, speaker: str, *said: SpeakerState) -> Live:
    receipts.hear_speakers(town.store, [(speaker, s) for s in said])
    return town.get(Live, speaker)


def test_only_changes_are_in_the_log(town: Town) -> None:
    hear(town, "mall-1", state(), state(), state(seq=0))
    town.clock.advance(60)
    live = hear(town, "mall-1", state())
    assert (live.online, live.heard_us) == (True, NOON_US + 60 * SECOND_US)
    hear(town, "mall-1", state(online=False))
    assert town.kinds("mall-1") == ["speaker.online", "speaker.offline"]


DAYS_3_S = 3 * 86_400


def hear_retained(town: Town, speaker: str, *said: SpeakerState) -> Live:
    receipts.hear_speakers(town.store, [(speaker, s) for s in said], retained=True)
    return town.get(Live, speaker)


def test_a_retained_copy_is_no_sign_of_life_however_often_the_gateway_comes_back(town: Town) -> None:
    said = state(connection=2, seq=5)
    before = hear(town, "mall-1", said)
    town.clock.advance(DAYS_3_S)
    alert = town.on_air()
    for _ in range(3):
        assert hear_retained(town, "mall-1", said) == before
    with town.store.read() as read:
        assert queries.speaker_now(read, "mall-1").silent
    assert counts(town, alert.id).online == 0
    assert hear(town, "mall-1", said).heard_us == NOON_US + DAYS_3_S * SECOND_US
    assert counts(town, alert.id).online == 1


def test_a_retained_copy_of_an_unknown_speaker_is_taken_but_was_not_heard(town: Town) -> None:
    live = hear_retained(town, "mall-1", state(connection=4, seq=7, streams={"a": 1}))
    assert (live.online, live.connection, live.seq, live.streams, live.heard_us) == (True, 4, 7, {"a": 1}, 0)
    with town.store.read() as read:
        assert queries.speaker_now(read, "mall-1").silent
        assert SpeakerView.of(queries.speaker_now(read, "mall-1")).heard_us is None
    assert receipts.missing(town.store, "mall-1") == (1, 2, 3, 4, 5, 6, 7)


def test_a_retained_copy_brings_what_was_said_while_the_gateway_was_away(town: Town) -> None:
    before = hear(town, "mall-1", state(connection=2, seq=5))
    town.clock.advance(60)
    live = hear_retained(town, "mall-1", state(connection=3, seq=6, streams={"a": 9}))
    since_us = NOON_US + 60 * SECOND_US
    assert live == replace(before, connection=3, seq=6, streams={"a": 9}, unchanged_us=since_us)
    assert not hear_retained(town, "mall-1", state(connection=3, seq=6, online=False)).online


@pytest.mark.parametrize(
    "older", [state(connection=1, seq=9), state(connection=2, seq=4), state(connection=2, seq=5, journal="other")]
)
def test_a_retained_copy_that_is_older_than_what_is_known_changes_nothing(town: Town, older: SpeakerState) -> None:
    before = hear(town, "mall-1", state(connection=2, seq=5, streams={"a": 9}))
    assert hear_retained(town, "mall-1", older) == before
    gone = hear(town, "mall-1", state(connection=2, seq=5, online=False))
    assert hear_retained(town, "mall-1", state(connection=2, seq=5)) == gone


def test_the_last_will_of_an_older_connection_is_ignored(town: Town) -> None:
    hear(town, "mall-1", state(connection=2))
    assert hear(town, "mall-1", state(connection=1, online=False)).online
    assert town.kinds("mall-1") == ["speaker.online"]


def test_two_connections_with_one_id_are_counted_as_cloned_and_logged_once(town: Town) -> None:
    hear(town, "mall-1", state(connection=5))
    live = hear(town, "mall-1", state(connection=4), state(connection=5), state(connection=4))
    assert (live.connection, live.online, live.cloned, live.oddity) == (4, True, 2, "cloned")
    assert town.kinds("mall-1") == ["speaker.online", "speaker.cloned"]


def test_a_huge_connection_number_darkens_nobody(town: Town) -> None:
    hear(town, "mall-1", state(connection=5))
    assert hear(town, "mall-1", state(connection=2**53 - 1)).jumped == 1
    hear(town, "mall-1", state(connection=2**53 - 1, online=False))
    assert not town.get(Live, "mall-1").online
    live = hear(town, "mall-1", state(connection=6))
    assert (live.online, live.connection, live.heard_us) == (True, 6, NOON_US)
    # The last will of the other one comes late.
    assert hear(town, "mall-1", state(connection=2**53 - 1, online=False)).online
    assert not hear(town, "mall-1", state(connection=6, online=False)).online


def test_a_huge_number_that_is_the_first_ever_heard_darkens_nobody(town: Town) -> None:
    assert not hear(town, "mall-1", state(connection=2**53 - 1, online=False)).online
    assert hear(town, "mall-1", state(connection=1)).online


def test_an_oddity_is_shown_for_an_hour_and_counted_for_ever(town: Town) -> None:
    hear(town, "mall-1", *(state(connection=number) for number in (5, 4, 5, 4)))
    town.clock.advance(3_600)
    assert hear(town, "mall-1", state(connection=5)).oddity == "cloned"
    town.clock.advance(1)
    live = hear(town, "mall-1", state(connection=6))
    assert (live.oddity, live.cloned) == ("", 2)
    hear(town, "mall-1", *(state(connection=number) for number in (5, 4)))
    assert town.kinds("mall-1").count("speaker.cloned") == 2


def test_enrolling_again_forgets_numbers_journal_and_clones(town: Town) -> None:
    hear(town, "mall-1", state(connection=2**53 - 1, seq=900), state(connection=7, seq=2))
    with town.store.write() as tx:
        receipts.enrolled_anew(tx, "mall-1")
    live = hear(town, "mall-1", state(connection=1, journal="fresh", seq=0))
    assert (live.online, live.connection, live.seq, live.cloned, live.jumped, live.oddity) == (True, 1, 0, 0, 0, "")
    assert "speaker.journal_lost" not in town.kinds("mall-1")


def test_a_lost_journal_is_noticed(town: Town) -> None:
    hear(town, "mall-1", state(connection=9))
    hear(town, "mall-1", state(journal="fresh"))
    assert town.kinds("mall-1") == ["speaker.online", "speaker.journal_lost"]


def test_gaps_in_the_receipts_are_asked_for(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US + 20), seq=2))
    hear(town, "mall-1", state(seq=3))
    assert f"{Carry.ASK_MISSING}:mall-1" in town.lanes()
    assert receipts.missing(town.store, "mall-1") == (1, 3)
    assert receipts.missing(town.store, "never-heard") == ()


def test_receipts_that_are_gone_are_shown_once_and_never_asked_for_again(town: Town) -> None:
    alert = town.on_air()
    keep(town, "mall-1", receipt(alert.id, Step(PLAYING, NOON_US), seq=2))
    hear(town, "mall-1", state(seq=4))
    said = ("mall-1", SpeakerAnswer("journal", resent=(3,), gone=(1, 2, 4, 5, 999)))
    assert [receipts.settle_gone(town.store, [said]) for _ in range(2)] == [2, 0]
    assert receipts.missing(town.store, "mall-1") == (3,)
    assert town.whys("mall-1", "speaker.receipts_gone") == ["2 receipts are lost for good, from number 1 to 4"]
    # A receipt that was on its way all the same still counts.
    keep(town, "mall-1", receipt(alert.id, Step(FINISHED, NOON_US + SECOND_US), seq=4))
    assert row(town, alert.id, "mall-1").finished_us == NOON_US + SECOND_US


def test_an_answer_of_another_journal_or_of_a_stranger_settles_nothing(town: Town) -> None:
    hear(town, "mall-1", state(seq=2))
    answers = [
        ("mall-1", SpeakerAnswer("before-the-wipe", gone=(1, 2))),
        ("stranger", SpeakerAnswer("journal", gone=(1, 2))),
    ]
    assert receipts.settle_gone(town.store, answers) == 0
    assert receipts.missing(town.store, "mall-1") == (1, 2)


def test_a_config_that_was_never_given_out_here_is_replaced_by_a_newer_one(town: Town) -> None:
    with town.store.write() as tx:
        tx.done(*tx.claim([Carry.PUBLISH_CONFIG], "x", 1, 10))
    held = NOON_US // 1_000 + 86_400_000
    hear(town, "mall-1", state(config_version=held))
    assert [lane for lane in town.lanes() if lane.startswith("publish_config")] == ["publish_config:mall-1"]
    assert town.get(Speaker, "mall-1").config_version == held + 1
    assert len(town.whys("mall-1", "speaker.config_unknown")) == 1
    hear(town, "mall-1", state(config_version=2**53 - 1))
    assert town.get(Speaker, "mall-1").config_version == held + 1


def test_an_old_config_is_sent_anew(town: Town) -> None:
    with town.store.write() as tx:
        for effect in tx.claim([Carry.PUBLISH_CONFIG], "x", 1, 10):
            tx.done(effect)
    hear(town, "mall-1", state())
    hear(town, "square-1", state(config_version=1))
    assert [lane for lane in town.lanes() if lane.startswith("publish_config")] == ["publish_config:square-1"]
