from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Audio, Order, OrderClass, OrderState, Phase
from devices.protocols.selector import Selector
from services.dispatcher.domain.broadcast_decisions import decide
from services.dispatcher.domain.broadcasts import (
    RESUME_WITHIN_US,
    TIMER_USELESS_US,
    AudioReady,
    Broadcast,
    BroadcastEvent,
    BroadcastState,
    Declined,
    Expired,
    Held,
    ReleaseGiven,
    Replaced,
    Resumed,
    ResumeEnded,
    StandingGiven,
    Stopped,
    content_hash,
    people_needed,
    sentences,
    wire_order,
)
from services.dispatcher.domain.effects import (
    Carry,
    Effect,
    RecallPeople,
    Record,
    Save,
    Sleep,
    TellIncident,
    Timer,
    WakeAt,
)
from services.dispatcher.domain.incidents import AlertOver, AlertReleased, AlertStopped
from services.dispatcher.domain.refusals import (
    AlreadyReleasedByYou,
    ApproverMissing,
    ContentChanged,
    NotAllowed,
    Refused,
    ResumeTooLate,
    SentenceDiffers,
    WrongState,
)
from services.dispatcher.domain.signals import Use
from tests.builders import BOTH, DUTY, NOON_US, SECOND_US, released_by

STREAM = "tocsin/v1/area/210202000000/manifest/actual/city"
DRAFT, HELD, DECLINED, ON_AIR, STOPPED, WITHDRAWN, ENDED = BroadcastState
PUBLISH = Save(Carry.PUBLISH_STREAM, STREAM)
EXPIRES_US = NOON_US + 3_600 * SECOND_US


def broadcast(**changes: Any) -> Broadcast:
    """A red storm alert that waits for two people."""
    draft = Broadcast(
        id="alert",
        incident="incident",
        use=Use.ACTUAL,
        phase=Phase.ALERT,
        original="",
        playbook="storm-red",
        state=DRAFT,
        hazard="rainstorm",
        hazard_names={"zh": "暴雨", "en": "rainstorm"},
        event_code="11B03",
        level=1,
        order_class=OrderClass.EMERGENCY,
        place_names={"zh": "区划0100"},
        texts={"zh": "暴雨，请到高处避险。", "en": "Rainstorm: go to higher ground."},
        selector=Selector(areas=("210202001000",)),
        stream=STREAM,
        speakers=3,
        plan="plan",
        verdict="unverified",
        volume=90,
        repeat=3,
        gap_s=10,
        valid_s=3_600,
        prove_within_s=120,
        people_needed=2,
    )
    changed = replace(draft, **changes)
    return replace(changed, content=changes.get("content", content_hash(changed)))


def on_air(**changes: Any) -> Broadcast:
    return broadcast(
        **{
            "state": ON_AIR,
            "rev": 1,
            "start_at_us": NOON_US,
            "expires_us": EXPIRES_US,
            "released_by": ("li", "zhao"),
            "approved": True,
            **changes,
        }
    )


def stopped(**changes: Any) -> Broadcast:
    return on_air(**{"state": STOPPED, "rev": 2, "stopped_by": "li", "stopped_us": NOON_US, **changes})


def kinds(effects: list[Effect]) -> list[str]:
    return [effect.kind for effect in effects if isinstance(effect, Record)]


def over(why: str, answered: bool) -> TellIncident:
    return TellIncident("incident", AlertOver("alert", why, answered))


# Release


def test_one_person_of_two_puts_nothing_on_air() -> None:
    b = broadcast()
    signed, effects = decide(b, released_by("li", b), NOON_US)
    assert signed == replace(b, released_by=("li",), approved=True)
    assert effects == [Record("broadcast.released_by_one", "alert", sentences(b)["zh"], "li")]


def test_the_second_person_puts_it_on_air_with_its_deadlines_in_rows() -> None:
    b = broadcast(released_by=("li",), approved=True)
    out, effects = decide(b, released_by("zhao", b, DUTY), NOON_US)
    assert out == on_air()
    prove_us = NOON_US + 120 * SECOND_US
    facts: dict[str, object] = {"rev": 1, "content": b.content, "speakers": 3}
    assert effects == [
        PUBLISH,
        WakeAt(Timer.EXPIRES, "alert", EXPIRES_US, EXPIRES_US + TIMER_USELESS_US),
        WakeAt(Timer.PROVE, "alert", prove_us, prove_us + TIMER_USELESS_US),
        Record("broadcast.on_air", "alert", sentences(b)["zh"], "zhao", facts),
        TellIncident("incident", AlertReleased("alert")),
    ]


@pytest.mark.parametrize("level", [1, 2])
def test_red_and_orange_need_two_people_and_their_followers_one(level: int) -> None:
    assert [people_needed(level, phase) for phase in Phase] == [2, 1, 1]


@pytest.mark.parametrize("level", [3, 4])
def test_yellow_and_blue_need_one(level: int) -> None:
    assert [people_needed(level, phase) for phase in Phase] == [1, 1, 1]


def test_the_same_person_twice_is_one_person() -> None:
    b = broadcast(released_by=("li",), approved=True)
    with pytest.raises(AlreadyReleasedByYou):
        decide(b, released_by("li", b), NOON_US)


def test_two_people_of_whom_none_approves_are_refused() -> None:
    b = broadcast(released_by=("li",))
    with pytest.raises(ApproverMissing):
        decide(b, released_by("wang", b, DUTY), NOON_US)


@pytest.mark.parametrize("roles", [frozenset(), frozenset({"office"}), frozenset({"administrator"})])
def test_other_roles_release_nothing(roles: frozenset[str]) -> None:
    b = broadcast(level=3, people_needed=1)
    with pytest.raises(NotAllowed):
        decide(b, released_by("eve", b, roles), NOON_US)


def test_content_that_changed_since_it_was_read_is_refused() -> None:
    read, now = broadcast(level=3), broadcast(level=2)
    with pytest.raises(ContentChanged):
        decide(now, released_by("li", read), NOON_US)


@pytest.mark.parametrize(
    ("was", "said"),
    [("实警", "演练"), ("3个", "4个"), ("红色", "橙色"), ("暴雨", "台风"), ("区划0100", "区划0200"), ("。", "")],
)
def test_another_sentence_is_refused(was: str, said: str) -> None:
    b = broadcast()
    given = released_by("li", b)
    with pytest.raises(SentenceDiffers):
        decide(b, replace(given, sentence=given.sentence.replace(was, said)), NOON_US)


def test_the_sentence_says_hazard_place_number_and_use_in_words_in_both_languages() -> None:
    assert sentences(broadcast()) == {
        "zh": "【实警】向区划0100的3个终端播发暴雨红色警报（尚未核实）。",
        "en": "ACTUAL: broadcast the red rainstorm alert to 3 speakers in 区划0100 (not yet verified).",
    }
    exercise = broadcast(use=Use.EXERCISE, phase=Phase.ALL_CLEAR, level=3)
    assert sentences(exercise) == {
        "zh": "【演练】向区划0100的3个终端播发暴雨黄色解除（接续原警报）。",
        "en": "EXERCISE: broadcast the yellow rainstorm all-clear to 3 speakers in 区划0100 (it follows its alert).",
    }


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_the_sentence_may_be_confirmed_in_either_language(lang: str) -> None:
    b = broadcast(level=3, people_needed=1)
    assert decide(b, released_by("li", b, lang=lang), NOON_US)[0].state is ON_AIR


@pytest.mark.parametrize("state", [s for s in BroadcastState if s is not DRAFT])
def test_only_a_draft_is_released(state: BroadcastState) -> None:
    b = broadcast(state=state)
    with pytest.raises(WrongState):
        decide(b, released_by("li", b), NOON_US)


# The standing order


def test_a_standing_order_releases_a_draft_and_leaves_its_rule() -> None:
    out, effects = decide(broadcast(), StandingGiven("storm-red@v1: authority"), NOON_US)
    assert (out.state, out.rule, out.released_by) == (ON_AIR, "storm-red@v1: authority", ())
    assert kinds(effects) == ["broadcast.on_air"]


@pytest.mark.parametrize("state", [s for s in BroadcastState if s is not DRAFT])
def test_a_standing_order_does_nothing_to_anything_but_a_draft(state: BroadcastState) -> None:
    b = broadcast(state=state)
    same, effects = decide(b, StandingGiven("storm-red@v1: authority"), NOON_US)
    assert (same, kinds(effects)) == (b, ["broadcast.standing_late"])


# Declining and holding


@pytest.mark.parametrize("state", [DRAFT, HELD])
def test_deciding_not_to_broadcast_is_recorded_with_who_and_why(state: BroadcastState) -> None:
    declined, effects = decide(broadcast(state=state), Declined("li", DUTY, "a drill nearby"), NOON_US)
    assert declined.state is DECLINED
    assert effects == [Record("broadcast.declined", "alert", "a drill nearby", "li")]


@pytest.mark.parametrize("state", [DECLINED, ON_AIR, STOPPED, WITHDRAWN, ENDED])
def test_what_is_no_draft_is_not_declined(state: BroadcastState) -> None:
    with pytest.raises(WrongState):
        decide(broadcast(state=state), Declined("li", DUTY, "no"), NOON_US)


@pytest.mark.parametrize("phase", [Phase.CORRECTION, Phase.ALL_CLEAR])
def test_a_prepared_correction_can_not_be_declined_away(phase: Phase) -> None:
    with pytest.raises(WrongState):
        decide(broadcast(phase=phase, original="x"), Declined("li", DUTY, "no"), NOON_US)


def test_holding_takes_back_what_people_had_released() -> None:
    held, effects = decide(broadcast(released_by=("li",), approved=True), Held("refuted"), NOON_US)
    assert held == broadcast(state=HELD)
    assert kinds(effects) == ["broadcast.held"]


def test_holding_what_was_stopped_ends_the_time_for_resuming() -> None:
    gone, effects = decide(stopped(), Held("the incident is closed"), NOON_US)
    assert (gone.state, gone.rev) == (WITHDRAWN, 2)
    assert effects == [
        Sleep(Timer.RESUME, "alert"),
        Record("broadcast.withdrawn", "alert", "the incident is closed"),
        over("the incident is closed", False),
    ]


@pytest.mark.parametrize("state", [HELD, DECLINED, ON_AIR, WITHDRAWN, ENDED])
def test_holding_changes_nothing_else(state: BroadcastState) -> None:
    b = broadcast(state=state)
    same, effects = decide(b, Held("refuted"), NOON_US)
    assert (same, kinds(effects)) == (b, ["broadcast.not_held"])


# Stop and resume


def test_stopping_withdraws_it_with_a_higher_revision_and_calls_people_back() -> None:
    off, effects = decide(on_air(), Stopped("li", DUTY, "wait"), NOON_US)
    assert off == replace(stopped(), withdrawn_revs=(2,), silent_us=NOON_US)
    until_us = NOON_US + RESUME_WITHIN_US
    assert effects == [
        PUBLISH,
        WakeAt(Timer.RESUME, "alert", until_us, until_us + TIMER_USELESS_US),
        Record("broadcast.stopped", "alert", "wait", "li"),
        RecallPeople("alert", "it was stopped"),
        TellIncident("incident", AlertStopped("alert")),
    ]


@pytest.mark.parametrize("state", [s for s in BroadcastState if s is not ON_AIR])
def test_only_what_is_on_air_is_stopped(state: BroadcastState) -> None:
    with pytest.raises(WrongState):
        decide(broadcast(state=state), Stopped("li", DUTY, "wait"), NOON_US)


@pytest.mark.parametrize("after_us", [0, RESUME_WITHIN_US])
def test_the_same_person_resumes_within_sixty_seconds_under_the_same_release(after_us: int) -> None:
    resumed, effects = decide(stopped(), Resumed("li", DUTY), NOON_US + after_us)
    assert resumed == on_air(rev=3)
    prove_us = NOON_US + after_us + 120 * SECOND_US
    assert effects == [
        PUBLISH,
        Sleep(Timer.RESUME, "alert"),
        WakeAt(Timer.PROVE, "alert", prove_us, prove_us + TIMER_USELESS_US),
        Record("broadcast.resumed", "alert", "under the same release", "li"),
        TellIncident("incident", AlertReleased("alert")),
    ]


@pytest.mark.parametrize(
    ("person", "after_us", "expires_us"),
    [
        ("zhao", 0, EXPIRES_US),
        ("li", RESUME_WITHIN_US + 1, EXPIRES_US),
        ("li", 30 * SECOND_US, NOON_US + 30 * SECOND_US),
    ],
)
def test_anybody_else_or_too_late_needs_a_new_release(person: str, after_us: int, expires_us: int) -> None:
    with pytest.raises(ResumeTooLate):
        decide(stopped(expires_us=expires_us), Resumed(person, DUTY), NOON_US + after_us)


@pytest.mark.parametrize("state", [s for s in BroadcastState if s is not STOPPED])
def test_only_what_was_stopped_is_resumed(state: BroadcastState) -> None:
    with pytest.raises(WrongState):
        decide(broadcast(state=state), Resumed("li", DUTY), NOON_US)


@pytest.mark.parametrize("act", [Stopped("eve", frozenset(), "x"), Resumed("eve", frozenset())])
def test_other_roles_neither_stop_nor_resume(act: BroadcastEvent) -> None:
    with pytest.raises(NotAllowed):
        decide(on_air(), act, NOON_US)


def test_what_nobody_resumed_in_time_is_withdrawn_for_good() -> None:
    gone, effects = decide(stopped(), ResumeEnded(), NOON_US + RESUME_WITHIN_US)
    assert gone == stopped(state=WITHDRAWN)
    assert over("it was stopped, and nobody resumed it within 60 s", False) in effects


@pytest.mark.parametrize("state", [s for s in BroadcastState if s is not STOPPED])
def test_the_end_of_resuming_changes_nothing_else(state: BroadcastState) -> None:
    b = broadcast(state=state)
    same, effects = decide(b, ResumeEnded(), NOON_US)
    assert (same, kinds(effects)) == (b, ["broadcast.timer_late"])


# Correction, all-clear, and the end of its time


@pytest.mark.parametrize("before", [on_air(), stopped()])
def test_a_follower_withdraws_its_alert_with_a_higher_revision(before: Broadcast) -> None:
    gone, effects = decide(before, Replaced("follower", "wang"), NOON_US)
    assert (gone.state, gone.rev) == (WITHDRAWN, before.rev + 1)
    why = "follower takes its place"
    assert effects == [
        PUBLISH,
        Sleep(Timer.RESUME, "alert"),
        Record("broadcast.withdrawn", "alert", why, "wang"),
        RecallPeople("alert", why),
        over(why, True),
    ]


@pytest.mark.parametrize("state", [WITHDRAWN, ENDED])
def test_a_follower_of_what_is_over_changes_nothing_about_it(state: BroadcastState) -> None:
    b = on_air(state=state)
    same, effects = decide(b, Replaced("follower", "wang"), NOON_US)
    assert (same, kinds(effects)) == (b, ["broadcast.withdrawn_late"])


def test_one_person_is_enough_for_a_correction_of_red() -> None:
    b = broadcast(phase=Phase.CORRECTION, original="x", people_needed=1)
    out, effects = decide(b, released_by("wang", b, DUTY), NOON_US)
    assert out.state is ON_AIR
    assert not any(isinstance(effect, TellIncident) for effect in effects)


@pytest.mark.parametrize("before", [on_air(), stopped()])
def test_its_time_over_ends_it(before: Broadcast) -> None:
    ended, effects = decide(before, Expired(), EXPIRES_US)
    assert ended == replace(before, state=ENDED)
    why = "its time is over"
    assert effects == [
        PUBLISH,
        Record("broadcast.ended", "alert", why),
        Sleep(Timer.RESUME, "alert"),
        RecallPeople("alert", why),
        over(why, False),
    ]


def test_what_was_withdrawn_leaves_the_manifest_when_its_time_is_over_and_not_before() -> None:
    withdrawn = on_air(state=WITHDRAWN, rev=2)
    same, effects = decide(withdrawn, Expired(), EXPIRES_US - 1)
    assert same == withdrawn
    assert effects == [WakeAt(Timer.EXPIRES, "alert", EXPIRES_US, EXPIRES_US + TIMER_USELESS_US)]
    ended, effects = decide(withdrawn, Expired(), EXPIRES_US)
    assert ended.state is ENDED
    assert effects == [PUBLISH, Record("broadcast.ended", "alert", "its time is over")]


@pytest.mark.parametrize("state", [DRAFT, HELD, DECLINED, ENDED])
def test_time_over_matters_to_nothing_that_is_not_live(state: BroadcastState) -> None:
    b = broadcast(state=state)
    same, effects = decide(b, Expired(), EXPIRES_US)
    assert (same, kinds(effects)) == (b, ["broadcast.timer_late"])


# Audio

SOUND = Audio("zh", "0" * 64, "opus", 5_000, 15_000)


def test_audio_that_comes_on_air_goes_out_with_a_higher_revision() -> None:
    heard, effects = decide(on_air(), AudioReady((SOUND,)), NOON_US)
    assert heard == on_air(rev=2, audio=(SOUND,))
    assert effects == [PUBLISH, Record("broadcast.audio", "alert", "its audio was rendered")]


@pytest.mark.parametrize("before", [broadcast(), broadcast(state=HELD), stopped()])
def test_audio_that_comes_before_or_between_waits(before: Broadcast) -> None:
    assert decide(before, AudioReady((SOUND,)), NOON_US) == (replace(before, audio=(SOUND,)), [])


@pytest.mark.parametrize("state", [DECLINED, WITHDRAWN, ENDED])
def test_audio_of_what_is_over_changes_nothing(state: BroadcastState) -> None:
    b = on_air(state=state)
    assert decide(b, AudioReady((SOUND,)), NOON_US) == (b, [])


def test_the_same_audio_again_changes_nothing() -> None:
    b = on_air(audio=(SOUND,))
    assert decide(b, AudioReady((SOUND,)), NOON_US) == (b, [])


# What a release stands for


@pytest.mark.parametrize(
    "changes",
    [
        {"hazard": "typhoon"},
        {"event_code": "11B01"},
        {"level": 2},
        {"use": Use.EXERCISE},
        {"phase": Phase.CORRECTION},
        {"verdict": "confirmed"},
        {"order_class": OrderClass.DAILY},
        {"original": "other"},
        {"stream": STREAM.replace("actual", "exercise")},
        {"repeat": 4},
        {"gap_s": 11},
        {"volume": 100},
        {"valid_s": 7_200},
        {"texts": {"zh": "别的"}},
        {"selector": Selector(areas=("210202000000",))},
        {"selector": Selector()},
    ],
)
def test_the_content_changes_with_all_that_people_release(changes: dict[str, Any]) -> None:
    assert content_hash(broadcast(**changes)) != content_hash(broadcast())


@pytest.mark.parametrize(
    "changes",
    [{"audio": (SOUND,)}, {"start_at_us": 1}, {"rev": 7}, {"state": HELD}, {"plan": "p2"}, {"released_by": ("li",)}],
)
def test_the_content_does_not_change_with_what_nobody_reads(changes: dict[str, Any]) -> None:
    assert content_hash(broadcast(**changes)) == content_hash(broadcast())


@pytest.mark.parametrize("phase", [Phase.CORRECTION, Phase.ALL_CLEAR])
def test_the_verdict_on_the_alert_changes_nothing_about_a_follower(phase: Phase) -> None:
    before = broadcast(phase=phase, original="x")
    assert content_hash(replace(before, verdict="confirmed")) == content_hash(before)


def test_the_order_as_speakers_see_it() -> None:
    assert wire_order(on_air()) == Order(
        id="alert",
        rev=1,
        status="actual",
        order_class=OrderClass.EMERGENCY,
        level=1,
        event_code="11B03",
        phase=Phase.ALERT,
        texts={"zh": "暴雨，请到高处避险。", "en": "Rainstorm: go to higher ground."},
        audio=(),
        selector=Selector(areas=("210202001000",)),
        volume=90,
        repeat=3,
        gap_s=10,
        start_at=NOON_US,
        expires=EXPIRES_US,
        state=OrderState.IN_FORCE,
    )


@pytest.mark.parametrize("state", [STOPPED, WITHDRAWN])
def test_what_is_off_the_air_is_withdrawn_on_the_wire(state: BroadcastState) -> None:
    assert wire_order(on_air(state=state)).state is OrderState.WITHDRAWN


EVENTS: list[Callable[[Broadcast], BroadcastEvent]] = [
    lambda b: released_by("li", b),
    lambda b: ReleaseGiven("li", BOTH, "", ""),
    lambda b: StandingGiven("rule"),
    lambda b: Declined("li", BOTH, "no"),
    lambda b: Held("why"),
    lambda b: Stopped("li", BOTH, "why"),
    lambda b: Resumed("li", BOTH),
    lambda b: ResumeEnded(),
    lambda b: Replaced("x", "li"),
    lambda b: Expired(),
    lambda b: AudioReady((SOUND,)),
]


@pytest.mark.parametrize("state", list(BroadcastState))
@pytest.mark.parametrize("event", EVENTS)
def test_no_event_takes_the_revision_back_or_sounds_without_a_release(
    state: BroadcastState, event: Callable[[Broadcast], BroadcastEvent]
) -> None:
    b = stopped(state=state) if state is STOPPED else on_air(state=state)
    try:
        after, _ = decide(b, event(b), NOON_US)
    except Refused:
        return
    assert after.rev >= b.rev
    if after.state is ON_AIR and state is not ON_AIR:
        assert isinstance(event(b), ReleaseGiven | StandingGiven | Resumed)
