"""An order that sounds after it was taken off the air: never proof, shown as such, and an alarm where it was known."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.documents import Receipt, SpeakerState, Step, StepKind
from services.dispatcher.domain.broadcasts import Broadcast, Resumed, Stopped
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.judgement import STOP_REACHES_US, Doubt
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, Sighting, stopped_id
from services.dispatcher.engine.air import receipts
from services.dispatcher.engine.air.listing import new_stream
from services.dispatcher.engine.air.receipts import Arrived
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Expected, Stream
from tests import builders
from tests.builders import NOON_US, SECOND_US, Town
from tests.engine.signing import Keys, sign

PLAYING, FINISHED = StepKind.PLAYING, StepKind.FINISHED
HEARD: dict[str, int | str] = {"mic_db": 74}
MINUTE_US = 60 * SECOND_US
STOPPED_US = NOON_US + 10 * SECOND_US
LATE_US = STOPPED_US + STOP_REACHES_US + 1


@pytest.fixture
def town() -> Town:
    return builders.town()


def stopped(town: Town) -> Broadcast:
    """An alert that was on air for ten seconds, and its stop signed."""
    alert = town.on_air()
    town.clock.advance(10)
    town.act(alert.id, Stopped("li", frozenset({"duty_officer"}), "wrong place"))
    with town.store.write() as tx:
        stream = tx.get_locked(Stream, alert.stream) or Stream(alert.stream, builders.CITY, "actual", "city")
        said = STOPPED_US // 1_000
        tx.put(replace(stream, manifest_version=said, silent_since={alert.id: said}))
    return town.get(Broadcast, alert.id)


def say(town: Town, order: Broadcast, *steps: Step, rev: int = 1, seq: int = 1, speaker: str = "mall-1") -> Expected:
    said = Receipt("journal", seq, order.id, rev, steps)
    receipts.keep_receipts(town.store, [Arrived(speaker, said, b"raw%d" % seq, microphone=True)])
    with town.store.read() as read:
        return next(row for row in read.expected(order.id) if row.speaker == speaker)


def hold(town: Town, order: Broadcast, version: int, speaker: str = "mall-1", *, is_online: bool = True) -> None:
    said = SpeakerState(is_online, 1, {order.stream: version}, 1, 0, "journal", 0, 80, "mains", (), "")
    receipts.hear_speakers(town.store, [(speaker, said)])


def alarms(town: Town) -> list[Incident]:
    town.clock.advance(5)
    town.pass_timers()
    with town.store.read() as read:
        return read.find(Incident, Page(), hazard=UNKNOWN_SOUNDS)


@pytest.mark.parametrize("kind", [PLAYING, FINISHED])
def test_what_sounds_minutes_after_the_stop_is_no_proof_and_is_shown(town: Town, kind: StepKind) -> None:
    order = stopped(town)
    town.clock.advance(300)
    row = say(town, order, Step(kind, STOPPED_US + 5 * MINUTE_US, evidence=HEARD))
    assert (row.playing_us, row.finished_us, row.proved, row.doubted) == (None, None, False, Doubt.AFTER_STOP)
    with town.store.read() as read:
        assert (read.coverage(order.id).after_stop, read.coverage(order.id).playing) == (1, 0)


@pytest.mark.parametrize("at_us", [NOON_US + 1, STOPPED_US - 1, STOPPED_US, STOPPED_US + STOP_REACHES_US])
def test_what_began_before_the_stop_could_reach_it_counts(town: Town, at_us: int) -> None:
    order = stopped(town)
    town.clock.advance(300)
    row = say(town, order, Step(PLAYING, at_us, evidence=HEARD))
    assert (row.playing_us, row.proved, row.doubted) == (at_us, True, "")


def test_a_step_without_a_time_is_of_the_moment_it_came_and_never_an_alarm(town: Town) -> None:
    order = stopped(town)
    hold(town, order, order.silent_us // 1_000)
    town.clock.advance(300)
    assert say(town, order, Step(PLAYING, 0, evidence=HEARD)).doubted == Doubt.AFTER_STOP
    assert alarms(town) == []


def test_an_order_that_was_resumed_sounds_by_right(town: Town) -> None:
    order = stopped(town)
    town.clock.advance(20)
    town.act(order.id, Resumed("li", frozenset({"duty_officer"})))
    assert town.get(Broadcast, order.id).silent_us == 0
    town.clock.advance(60)
    row = say(town, order, Step(PLAYING, LATE_US + 30 * SECOND_US, evidence=HEARD))
    assert (row.proved, row.doubted) == (True, "")


def test_a_stop_that_is_replaced_still_counts_from_the_first_silence(town: Town) -> None:
    order = stopped(town)
    town.clock.advance(61)
    town.pass_timers()
    gone = town.get(Broadcast, order.id)
    assert (str(gone.state), gone.silent_us) == ("withdrawn", STOPPED_US)


def test_that_it_expired_unheard_of_the_stop_is_no_sound(town: Town) -> None:
    order = stopped(town)
    town.clock.advance(order.valid_s + 60)
    row = say(town, order, Step(FINISHED, order.expires_us, "order_expired", {"repeat": 1, "of": 3}))
    assert row.doubted == ""


def test_after_stop_outranks_an_earlier_doubt_and_nothing_outranks_it(town: Town) -> None:
    order = stopped(town)
    town.clock.advance(300)
    assert say(town, order, Step(PLAYING, NOON_US, evidence={"mic_db": 900})).doubted == Doubt.OUT_OF_RANGE
    both = Step(PLAYING, NOON_US, evidence={"mic_db": 900}), Step(PLAYING, LATE_US)
    assert say(town, order, *both, seq=2).doubted == Doubt.AFTER_STOP
    assert say(town, order, Step(PLAYING, NOON_US, evidence={"mic_db": 900}), seq=3).doubted == Doubt.AFTER_STOP


def test_who_held_the_stop_and_sounds_is_a_red_incident_once(town: Town) -> None:
    order = stopped(town)
    for name in ("mall-1", "square-1"):
        hold(town, order, order.silent_us // 1_000, name)
    town.clock.advance(300)
    for seq, name in enumerate(("mall-1", "square-1", "mall-1"), 1):
        say(town, order, Step(PLAYING, STOPPED_US + 4 * MINUTE_US), seq=seq, speaker=name)
    (alarm,) = alarms(town)
    assert (alarm.level, alarm.playbook, alarm.alert) == (1, "", "")
    assert alarm.headline == f"2个终端在指令{order.id}停播之后仍在播放，而它们已持有停播后的清单"
    assert town.get(Sighting, stopped_id(order.id)).said_by == ("mall-1", "square-1")
    assert alarms(town) == [alarm]


def test_who_was_cut_off_could_not_know(town: Town) -> None:
    order = stopped(town)
    hold(town, order, order.silent_us // 1_000 - 10_000)
    town.clock.advance(300)
    hold(town, order, order.silent_us // 1_000 - 10_000, is_online=False)
    town.clock.advance(300)
    hold(town, order, order.silent_us // 1_000 - 10_000)
    assert say(town, order, Step(PLAYING, STOPPED_US + 6 * MINUTE_US)).doubted == Doubt.AFTER_STOP
    # The stop is held now; what comes late is of the time before.
    hold(town, order, order.silent_us // 1_000)
    say(town, order, Step(PLAYING, STOPPED_US + 7 * MINUTE_US), seq=2)
    assert alarms(town) == []


def test_a_speaker_that_is_offline_by_its_last_word_is_no_alarm(town: Town) -> None:
    order = stopped(town)
    hold(town, order, order.silent_us // 1_000)
    hold(town, order, order.silent_us // 1_000, is_online=False)
    town.clock.advance(300)
    say(town, order, Step(PLAYING, STOPPED_US + 4 * MINUTE_US))
    assert alarms(town) == []


@pytest.mark.parametrize(("held_after", "knew"), [(False, False), (True, True)])
def test_our_numbers_may_run_ahead_of_the_time(town: Town, held_after: bool, knew: bool) -> None:
    """A forged number was outdone, or a clock was put back: only the version that says the stop tells of it."""
    keys = Keys()
    alert = town.on_air()
    with town.store.write() as tx:
        stream = new_stream(alert.stream)
        tx.put(replace(stream, manifest_version=NOON_US // 1_000 + 400_000))
    before = sign(town, alert.stream, keys).version
    hold(town, alert, before)
    town.clock.advance(10)
    town.act(alert.id, Stopped("li", frozenset({"duty_officer"}), "wrong place"))
    after = sign(town, alert.stream, keys).version
    if held_after:
        hold(town, alert, after)
    town.clock.advance(60)
    say(town, town.get(Broadcast, alert.id), Step(PLAYING, STOPPED_US + 50 * SECOND_US))
    assert bool(alarms(town)) is knew


def test_an_order_that_was_resumed_has_no_stop_to_know_of(town: Town) -> None:
    keys = Keys()
    alert = town.on_air()
    town.act(alert.id, Stopped("li", frozenset({"duty_officer"}), "wrong place"))
    first = sign(town, alert.stream, keys).version
    assert town.get(Stream, alert.stream).silent_since == {alert.id: first}
    town.act(alert.id, Resumed("li", frozenset({"duty_officer"})))
    sign(town, alert.stream, keys)
    assert town.get(Stream, alert.stream).silent_since == {}
