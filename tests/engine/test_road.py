"""The road from signal to air and off it, through the engine on the memory store."""

from __future__ import annotations

import json

import pytest

from devices.protocols.documents import Phase
from services.dispatcher.domain.broadcasts import BroadcastState, Declined, Resumed, Stopped
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import IncidentState, Verdict
from services.dispatcher.domain.places import OutOfService
from services.dispatcher.domain.playbook import OnUnanswered
from services.dispatcher.domain.refusals import (
    ContentChanged,
    NotAllowed,
    NotFound,
    PlanOutOfDate,
    ResumeTooLate,
    StillOnAir,
    WrongState,
)
from services.dispatcher.domain.signals import Place, SignalKind
from services.dispatcher.domain.verification import Task, TaskKind, TaskState
from services.dispatcher.engine.air.proving import VENUES_A_PIECE, VENUES_NAMED_MAX
from services.dispatcher.engine.events import (
    AudioRendered,
    IncidentClosed,
    NothingBroadcast,
    ServiceChanged,
    SignalArrived,
    TimerDue,
)
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Asset, ReceiptRow
from tests import builders
from tests.builders import (
    BOTH,
    CITY_OFFICE,
    DISTRICT_OFFICE,
    DUTY,
    MALL,
    NOON_US,
    OTHER_OFFICE,
    SQUARE,
    STREET,
    STREET_OFFICE,
    Town,
    fire_playbook,
    fire_signal,
    panel,
    released_by,
    speaker,
    standing_order,
    storm_playbook,
    storm_signal,
    venue,
)

DRAFT, HELD, DECLINED, ON_AIR, STOPPED, WITHDRAWN, ENDED = BroadcastState


@pytest.fixture
def town() -> Town:
    return builders.town()


def standing_town(on_unanswered: OnUnanswered = OnUnanswered.HOLD) -> Town:
    town = builders.town(playbooks=(fire_playbook(standing=standing_order(on_unanswered=on_unanswered)),))
    with town.store.write() as tx:
        tx.put(panel())
    return town


def tasks(town: Town, **fields: object) -> list[Task]:
    with town.store.read() as read:
        return read.find(Task, Page(limit=10_000), **fields)


def expected(town: Town, broadcast: str) -> list[str]:
    with town.store.read() as read:
        return [row.speaker for row in read.expected(broadcast)]


def test_a_signal_leaves_a_question_and_three_prepared_broadcasts(town: Town) -> None:
    incident = town.signal(storm_signal())
    alert = town.alert(incident)
    followers = [town.follower(alert.id, phase) for phase in (Phase.CORRECTION, Phase.ALL_CLEAR)]
    assert [(b.state, b.people_needed, b.original) for b in (alert, *followers)] == [
        (DRAFT, 2, ""),
        (DRAFT, 1, alert.id),
        (DRAFT, 1, alert.id),
    ]
    assert expected(town, alert.id) == ["mall-1", "square-1", "square-2"]
    task = town.get(Task, town.incident(incident).task)
    assert (task.office, task.question["zh"]) == ("district-centre", "区划02000是否有险情？")
    assert town.kinds(incident) == ["incident.opened", "incident.signal"]


def test_two_people_put_it_on_air_and_the_stream_is_to_be_published(town: Town) -> None:
    alert = town.on_air()
    assert (alert.state, alert.rev, alert.released_by) == (ON_AIR, 1, ("li", "zhao"))
    assert f"publish_stream:{alert.stream}" in town.lanes()
    assert town.incident(alert.incident).alert_released


def test_a_release_given_to_other_content_expires_and_says_what_changed(town: Town) -> None:
    incident = town.signal(fire_signal())
    town.answer(incident, Verdict.CONFIRM)
    storm = town.signal(storm_signal())
    alert = town.release(town.alert(storm).id, "li")
    town.answer(storm, Verdict.CONFIRM)
    assert town.alert(storm).released_by == ()
    assert town.whys(alert.id, "broadcast.release_expired") == [
        "verdict changed from unverified to confirmed: li must confirm again"
    ]
    with pytest.raises(ContentChanged):
        town.act(alert.id, released_by("zhao", alert))


def test_a_release_expires_when_the_area_changes(town: Town) -> None:
    incident = town.signal(storm_signal())
    alert = town.release(town.alert(incident).id, "li")
    town.signal(storm_signal("cap/weather/2", kind=SignalKind.UPDATE, place=Place(areas=(STREET,))))
    assert town.whys(alert.id, "broadcast.release_expired") == [
        "area changed from 区划02001、区划02002 to 区划02001; the words changed: li must confirm again"
    ]


def test_a_release_survives_what_changes_nothing_that_was_read(town: Town) -> None:
    incident = town.signal(storm_signal())
    alert = town.release(town.alert(incident).id, "li")
    town.signal(storm_signal("cap/weather/2"))
    assert town.release(alert.id, "zhao").state is ON_AIR


def test_a_plan_out_of_date_is_made_again_and_refused_once(town: Town) -> None:
    alert = town.release(town.alert(town.signal(storm_signal())).id, "li")
    town.rebuild(speaker("mall-2", venue(MALL, builders.OTHER_STREET)))
    with pytest.raises(PlanOutOfDate):
        town.act(alert.id, released_by("zhao", alert))
    again = town.get(type(alert), alert.id)
    assert (again.state, again.speakers, again.released_by) == (DRAFT, 4, ("li",))
    assert expected(town, alert.id) == ["mall-1", "mall-2", "square-1", "square-2"]
    assert town.release(alert.id, "zhao").state is ON_AIR


def test_a_plan_with_as_many_but_other_speakers_is_taken_over_without_a_word(town: Town) -> None:
    alert = town.alert(town.signal(storm_signal()))
    town.rebuild(speaker("mall-9", venue(MALL, builders.OTHER_STREET)), without=("mall-1",))
    town.release(alert.id, "li", "zhao")
    assert expected(town, alert.id) == ["mall-9", "square-1", "square-2"]


def test_a_standing_order_plans_anew_what_is_out_of_date_and_goes_out(town: Town) -> None:
    town = standing_town(OnUnanswered.RELEASE)
    incident = town.signal(fire_signal())
    town.rebuild(speaker("mall-2", venue(MALL, builders.OTHER_STREET)))
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    alert = town.alert(incident)
    assert (alert.state, alert.speakers, expected(town, alert.id)) == (ON_AIR, 2, ["mall-1", "mall-2"])


def test_a_standing_order_releases_only_after_its_whole_draft_is_there(town: Town) -> None:
    town = standing_town()
    done = town.engine.handle(
        [SignalArrived(fire_signal()), SignalArrived(fire_signal("panel/mall/2", device="smoke-2"))]
    )
    alert = town.alert(done.incidents[0])
    assert (alert.state, alert.rule) == (ON_AIR, "fire-underground@v1: two_detectors")
    assert [town.follower(alert.id, p).state for p in (Phase.CORRECTION, Phase.ALL_CLEAR)] == [DRAFT, DRAFT]
    kinds = town.kinds(alert.id)
    assert kinds.index("broadcast.drafted") < kinds.index("broadcast.on_air")


def test_a_standing_order_without_speakers_is_missed_and_for_people_to_decide() -> None:
    town = standing_town()
    town.rebuild(without=("mall-1",))
    incident = town.signal(fire_signal())
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    assert town.whys(incident, "incident.missed") == [
        "the standing order covers it, but nothing could be planned: decide now"
    ]


def test_a_refuted_draft_is_held_and_the_standing_order_leaves_it_so() -> None:
    town = standing_town()
    incident = town.signal(fire_signal())
    town.answer(incident, Verdict.REFUTE)
    assert town.alert(incident).state is HELD
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    town.signal(fire_signal("panel/mall/3", device="smoke-3"))
    assert (town.incident(incident).state, town.alert(incident).state) == (IncidentState.VERIFYING, DRAFT)


def test_reopening_after_a_refutation_asks_anew(town: Town) -> None:
    incident = town.signal(fire_signal())
    first = town.incident(incident).task
    town.answer(incident, Verdict.REFUTE)
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    second = town.get(Task, town.incident(incident).task)
    assert (second.id != first, second.state, second.rung) == (True, TaskState.ASKED, 0)
    assert town.incident(incident).state is IncidentState.VERIFYING


def test_a_ladder_climbs_in_rows_to_its_end_and_the_incident_shows_it(town: Town) -> None:
    incident = town.signal(fire_signal())
    for wait_s in (60, 120, 180):
        town.clock.advance(wait_s)
        town.pass_timers()
    task = town.get(Task, town.incident(incident).task)
    assert (task.state, task.office, town.incident(incident).unanswered) == (TaskState.UNANSWERED, "city-duty", True)
    assert town.whys(incident, "incident.held") == ["no office answered; the playbook holds for people to decide"]


def test_where_nobody_answers_for_a_place_the_ladder_has_ended_at_once() -> None:
    town = builders.town()
    town.rebuild(without=(STREET_OFFICE, OTHER_OFFICE, DISTRICT_OFFICE, CITY_OFFICE))
    incident = town.signal(storm_signal())
    assert town.incident(incident).unanswered
    assert town.kinds(incident)[-2:] == ["task.nobody", "incident.held"]
    assert town.alert(incident).state is DRAFT


def test_deciding_not_to_broadcast_is_in_the_log_and_in_a_row(town: Town) -> None:
    alert = town.alert(town.signal(storm_signal()))
    assert town.act(alert.id, Declined("li", DUTY, "only drizzle")).state is DECLINED
    assert town.whys(alert.id, "broadcast.declined") == ["only drizzle"]


def test_deciding_not_to_broadcast_is_recorded_where_nothing_was_drafted(town: Town) -> None:
    incident = town.signal(fire_signal(hazard="smog"))
    town.engine.handle([NothingBroadcast(incident, "li", DUTY, "harmless")])
    assert town.incident(incident).alert == ""
    assert town.whys(incident, "incident.not_broadcast") == ["harmless"]


def test_deciding_not_to_broadcast_an_incident_declines_its_draft(town: Town) -> None:
    incident = town.signal(storm_signal())
    town.engine.handle([NothingBroadcast(incident, "li", DUTY, "only drizzle")])
    assert town.alert(incident).state is DECLINED
    with pytest.raises(NotAllowed):
        town.engine.handle([NothingBroadcast(incident, "eve", frozenset(), "no")])


def test_a_declined_alert_comes_back_only_with_something_new(town: Town) -> None:
    incident = town.signal(fire_signal())
    declined = town.act(town.alert(incident).id, Declined("li", DUTY, "steam"))
    town.signal(fire_signal("panel/mall/1b"))
    assert town.alert(incident) == declined
    town.signal(fire_signal("panel/mall/2", device="smoke-2"))
    assert (town.alert(incident).id != declined.id, town.alert(incident).state) == (True, DRAFT)


def test_stopping_and_resuming_by_the_same_person(town: Town) -> None:
    alert = town.on_air()
    stopped = town.act(alert.id, Stopped("wang", DUTY, "wait"))
    assert (stopped.state, stopped.rev) == (STOPPED, 2)
    town.clock.advance(59)
    with pytest.raises(ResumeTooLate):
        town.act(alert.id, Resumed("li", BOTH))
    resumed = town.act(alert.id, Resumed("wang", DUTY))
    assert (resumed.state, resumed.rev, resumed.released_by) == (ON_AIR, 3, ("li", "zhao"))


def test_what_nobody_resumes_needs_a_new_release_which_lies_ready(town: Town) -> None:
    alert = town.on_air()
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    town.clock.advance(60)
    town.pass_timers()
    fresh = town.alert(alert.incident)
    assert town.get(type(alert), alert.id).state is WITHDRAWN
    assert (fresh.id != alert.id, fresh.state, fresh.released_by) == (True, DRAFT, ())
    assert town.release(fresh.id, "li", "zhao").state is ON_AIR


def test_one_person_corrects_red_and_the_original_goes_off_the_air_with_it(town: Town) -> None:
    alert = town.on_air()
    correction = town.release(town.follower(alert.id, Phase.CORRECTION).id, "wang")
    original = town.get(type(alert), alert.id)
    assert (correction.state, original.state, original.rev) == (ON_AIR, WITHDRAWN, 2)
    assert expected(town, correction.id) == expected(town, alert.id)
    assert correction.stream == original.stream


def test_a_correction_goes_to_the_originals_speakers_even_when_the_city_has_changed(town: Town) -> None:
    alert = town.on_air()
    town.rebuild(without=("square-2",))
    correction = town.release(town.follower(alert.id, Phase.CORRECTION).id, "wang")
    assert expected(town, correction.id) == ["mall-1", "square-1", "square-2"]


@pytest.mark.parametrize("phase", [Phase.CORRECTION, Phase.ALL_CLEAR])
def test_nothing_follows_an_alert_that_was_never_on_air(town: Town, phase: Phase) -> None:
    alert = town.alert(town.signal(storm_signal()))
    with pytest.raises(WrongState):
        town.release(town.follower(alert.id, phase).id, "wang")
    assert town.follower(alert.id, phase).state is DRAFT


def test_a_correction_is_possible_after_the_alert_has_run_out(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(3_600)
    town.pass_timers()
    assert town.get(type(alert), alert.id).state is ENDED
    assert town.release(town.follower(alert.id, Phase.CORRECTION).id, "wang").state is ON_AIR


def test_an_alert_that_ran_out_can_be_released_again_by_people(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(3_600)
    town.pass_timers()
    fresh = town.alert(alert.incident)
    assert (fresh.id != alert.id, fresh.state) == (True, DRAFT)


def test_an_incident_is_not_closed_while_its_alert_sounds(town: Town) -> None:
    alert = town.on_air()
    with pytest.raises(StillOnAir):
        town.engine.handle([IncidentClosed(alert.incident, "li", "over")])
    town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    town.engine.handle([IncidentClosed(alert.incident, "li", "over")])
    assert town.incident(alert.incident).state is IncidentState.CLOSED


def test_closing_after_a_stop_ends_the_time_for_resuming(town: Town) -> None:
    alert = town.on_air()
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    town.engine.handle([IncidentClosed(alert.incident, "li", "over")])
    with pytest.raises(WrongState):
        town.act(alert.id, Resumed("wang", DUTY))
    assert town.get(type(alert), alert.id).state is WITHDRAWN


def test_closing_withdraws_the_question_and_holds_the_draft(town: Town) -> None:
    incident = town.signal(storm_signal())
    town.engine.handle([IncidentClosed(incident, "li", "a drill nearby")])
    assert town.get(Task, town.incident(incident).task).state is TaskState.WITHDRAWN
    assert town.alert(incident).state is HELD
    followers = [town.follower(town.alert(incident).id, phase) for phase in (Phase.CORRECTION, Phase.ALL_CLEAR)]
    assert [b.state for b in followers] == [ENDED, ENDED]
    with pytest.raises(WrongState):
        town.release(town.alert(incident).id, "li")


def played(town: Town, alert: str, *speakers: str) -> None:
    with town.store.write() as tx:
        tx.add_receipts([ReceiptRow(s, "j", 1, alert, 1, b"", NOON_US, playing_us=NOON_US) for s in speakers])


def test_silent_speakers_become_one_task_per_venue_most_people_first(town: Town) -> None:
    alert = town.on_air()
    played(town, alert.id, "square-2")
    town.clock.advance(120)
    town.pass_timers()
    ground = tasks(town, kind=TaskKind.GROUND)
    assert [(t.venue, t.people, t.broadcast) for t in ground] == [(MALL, 900, alert.id), (SQUARE, 500, alert.id)]
    assert ground[0].question["zh"] == (
        "场所mall（1）个终端没有播发证明：请带手持喇叭到现场，照稿播报：区划02001、区划02002暴雨，请到高处避险。"
    )


def test_a_silent_city_is_asked_about_in_pieces_and_each_venue_once(town: Town) -> None:
    squares = [venue(f"v/{number}", STREET, people=number % 7) for number in range(2 * VENUES_A_PIECE + 1)]
    town.rebuild(*squares, *(speaker(f"s-{number}", square) for number, square in enumerate(squares)))
    alert = town.on_air()
    town.clock.advance(120)
    asked = [0]
    while due := [t for t in town.due() if t.timer in (Timer.PROVE, Timer.GROUND)]:
        town.engine.handle([TimerDue(due[0])])
        asked.append(len(tasks(town, kind=TaskKind.GROUND)))
    assert asked == [0, VENUES_A_PIECE, 2 * VENUES_A_PIECE, len(squares) + 2]
    ground = tasks(town, kind=TaskKind.GROUND)
    assert {t.venue for t in ground} == {MALL, SQUARE, *(square.id for square in squares)}
    assert [t.people for t in ground] == sorted((t.people for t in ground), reverse=True)
    [silent] = [json.loads(row.body) for row in town.log(alert.id) if row.kind == "broadcast.silent"]
    assert (silent["facts"]["venue_count"], len(silent["facts"]["venues"])) == (len(squares) + 2, VENUES_NAMED_MAX)


def test_nobody_else_is_asked_once_the_alert_of_a_silent_city_is_off_the_air(town: Town) -> None:
    squares = [venue(f"v/{number}", STREET) for number in range(VENUES_A_PIECE)]
    town.rebuild(*squares, *(speaker(f"s-{number}", square) for number, square in enumerate(squares)))
    alert = town.on_air()
    town.clock.advance(120)
    [due] = [t for t in town.due() if t.timer is Timer.PROVE]
    town.engine.handle([TimerDue(due)])
    town.act(alert.id, Stopped("wang", DUTY, "wait"))
    town.pass_timers()
    assert len(tasks(town, kind=TaskKind.GROUND)) == VENUES_A_PIECE


def test_people_on_the_ground_are_called_back_with_the_all_clear(town: Town) -> None:
    alert = town.on_air()
    town.clock.advance(120)
    town.pass_timers()
    town.release(town.follower(alert.id, Phase.ALL_CLEAR).id, "wang")
    assert {t.state for t in tasks(town, kind=TaskKind.GROUND)} == {TaskState.WITHDRAWN}


def test_nobody_is_sent_out_when_everybody_played_or_the_alert_is_off_the_air(town: Town) -> None:
    alert = town.on_air()
    played(town, alert.id, "square-1", "square-2", "mall-1")
    other = town.on_air(fire_signal())
    town.act(other.id, Stopped("wang", DUTY, "wait"))
    town.clock.advance(120)
    town.pass_timers()
    assert tasks(town, kind=TaskKind.GROUND) == []


def test_out_of_service_shows_in_both_denominators_and_has_author_reason_and_end(town: Town) -> None:
    until_us = NOON_US + 10
    town.engine.handle([ServiceChanged("mall-1", "wu", "water", until_us)])
    alert = town.on_air()
    with town.store.read() as read:
        counts = read.coverage(alert.id)
    assert (counts.targeted, counts.out_of_service) == (3, 1)
    assert town.engine.read_city().speakers["mall-1"].out_of_service == OutOfService("wu", "water", until_us)
    town.engine.handle([ServiceChanged("mall-1", "wu", "dry again", None)])
    assert town.engine.read_city().speakers["mall-1"].out_of_service is None
    assert town.kinds("mall-1") == ["speaker.out_of_service", "speaker.in_service"]


def test_a_newly_imported_city_keeps_what_is_out_of_service(town: Town) -> None:
    town.engine.handle([ServiceChanged("mall-1", "wu", "water", NOON_US + 10)])
    town.rebuild()
    assert town.engine.read_city().speakers["mall-1"].out_of_service == OutOfService("wu", "water", NOON_US + 10)


def test_rendered_audio_reaches_the_order_on_air(town: Town) -> None:
    alert = town.on_air()
    asset = Asset(alert.wordings["zh"], "zh", "opus", "0" * 64, 5_000, 15_000, True)
    town.engine.handle([AudioRendered(asset)])
    heard = town.get(type(alert), alert.id)
    assert (heard.rev, [a.sha256 for a in heard.audio]) == (2, ["0" * 64])
    town.engine.handle([AudioRendered(asset)])
    assert town.get(type(alert), alert.id) == heard


def test_an_incident_without_a_playbook_has_people_and_no_draft(town: Town) -> None:
    incident = town.signal(storm_signal(hazard="smog"))
    assert (town.incident(incident).alert, town.incident(incident).state) == ("", IncidentState.VERIFYING)
    assert town.get(Task, town.incident(incident).task).question["en"].endswith("is it true?")


def test_a_place_without_speakers_says_so_and_asks_people_all_the_same() -> None:
    town = builders.town(playbooks=(storm_playbook(),))
    town.rebuild(without=("square-1", "square-2", "mall-1"))
    incident = town.signal(storm_signal())
    assert town.whys(incident, "broadcast.not_planned") == ["No enrolled speaker stands where this order is meant for."]
    assert town.incident(incident).task


@pytest.mark.parametrize("act", [Stopped("li", BOTH, "x"), Resumed("li", BOTH), Declined("li", BOTH, "x")])
def test_an_unknown_broadcast_is_refused(town: Town, act: object) -> None:
    with pytest.raises(NotFound):
        town.act("nothing", act)  # type: ignore[arg-type]


def test_a_timer_that_somebody_moved_on_meanwhile_does_nothing(town: Town) -> None:
    incident = town.signal(fire_signal())
    with town.store.read() as read:
        stale = next(t for t in read.due_timers(2**62, 10) if t.timer == Timer.RUNG)
    town.clock.advance(60)
    town.engine.handle([TimerDue(stale)])
    before = town.get(Task, town.incident(incident).task)
    town.engine.handle([TimerDue(stale)])
    assert town.get(Task, before.id) == before
    assert before.rung == 1
