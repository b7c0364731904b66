from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.effects import (
    AskOffice,
    AskTwo,
    Effect,
    HoldBroadcast,
    LearnVerdict,
    PrepareBroadcast,
    Record,
    ReleaseStanding,
    WithdrawTask,
)
from services.dispatcher.domain.incident_decisions import QUIET_AFTER_REFUTED_US, WITNESSES_MAX, decide
from services.dispatcher.domain.incidents import (
    Air,
    AlertOver,
    AlertReleased,
    AlertStopped,
    Close,
    DevicesUntrusted,
    Incident,
    IncidentState,
    Inhibited,
    LadderEnded,
    NotBroadcast,
    OfficeAnswered,
    SignalJoined,
    Uninhibited,
    Verdict,
)
from services.dispatcher.domain.playbook import Corroboration, OnUnanswered, Playbook, Target
from services.dispatcher.domain.refusals import StillOnAir
from services.dispatcher.domain.risk import Witness
from services.dispatcher.domain.signals import Evidence, Place, SignalKind, Use
from tests.builders import MALL, NOON_US, OTHER_STREET, STREET, fire_playbook, fire_signal, standing_order, storm_signal

FIRE = fire_playbook()
STANDING = fire_playbook(standing=standing_order())
TWO = (
    Witness("mall-panel", "smoke-1", Evidence.DETECTOR, True),
    Witness("mall-panel", "smoke-2", Evidence.DETECTOR, True),
)
VERIFYING, CONFIRMED, REFUTED, CLOSED, SUSPECTED = (
    IncidentState.VERIFYING,
    IncidentState.CONFIRMED,
    IncidentState.REFUTED,
    IncidentState.CLOSED,
    IncidentState.SUSPECTED,
)


def incident(**changes: Any) -> Incident:
    """A fire in the mall that an office is asked about, after one detector."""
    fire = Incident(
        id="incident",
        use=Use.ACTUAL,
        hazard="fire",
        event_code="12B00",
        playbook="fire-underground",
        state=VERIFYING,
        level=3,
        reasons=(),
        place=Place(venue=MALL),
        venue=MALL,
        area=OTHER_STREET,
        cell="1/1",
        lat_e7=389_200_000,
        lon_e7=1_216_000_000,
        opened_us=NOON_US,
        last_signal_us=NOON_US,
        signal_count=1,
        witnesses=TWO[:1],
        headline="感烟探测器报警",
        alert="alert",
        rules="built-in",
        minute_us=NOON_US,
        minute_count=1,
    )
    return replace(fire, **changes)


def joined(witness: Witness | None = TWO[1], place: Place | None = None, **changes: Any) -> SignalJoined:
    return SignalJoined(fire_signal("panel/mall/2", **changes), witness, place or Place(venue=MALL))


def after(before: Incident, event: Any, playbook: Playbook | None = FIRE) -> tuple[Incident, list[Effect]]:
    decided, effects = decide(before, event, playbook, NOON_US)
    # How many came within the minute is what the tests of storms are about.
    return replace(decided, minute_count=before.minute_count), effects


def kinds(effects: list[Effect]) -> list[str]:
    """What they are, without what is learned of reporters, which has tests of its own."""
    told = [e for e in effects if not isinstance(e, LearnVerdict)]
    return [e.kind if isinstance(e, Record) else type(e).__name__ for e in told]


def said(verdict: Verdict) -> OfficeAnswered:
    return OfficeAnswered("task", "street", "chen", verdict, "")


# Signals


def test_the_first_signal_asks_an_office_and_drafts() -> None:
    opened = incident(state=SUSPECTED, signal_count=0, witnesses=(), headline="", alert="")
    rated, effects = after(opened, joined(TWO[0]))
    reasons = ("1 witness (detector): not corroborated",)
    assert rated == incident(reasons=reasons, alert="")
    assert effects == [
        Record(
            "incident.signal", "incident", reasons[0], facts={"signal": "panel/mall/2", "level": 3, "rules": "built-in"}
        ),
        AskOffice("incident", "verify", MALL, OTHER_STREET, reasons[0]),
        PrepareBroadcast("incident"),
    ]


def test_without_a_playbook_people_are_asked_and_nothing_is_drafted() -> None:
    opened = incident(state=SUSPECTED, witnesses=(), playbook="")
    rated, effects = after(opened, joined(TWO[0]), None)
    assert (rated.state, kinds(effects)) == (VERIFYING, ["incident.signal", "AskOffice"])


def test_a_second_detector_raises_the_level_and_drafts_anew_without_asking_twice() -> None:
    rated, effects = after(incident(), joined())
    assert (rated.level, rated.witnesses, rated.signal_count) == (2, TWO, 2)
    assert kinds(effects) == ["incident.signal", "PrepareBroadcast"]


def test_the_same_device_again_drafts_nothing_anew() -> None:
    rated, effects = after(incident(), joined(TWO[0]))
    assert (rated.level, rated.witnesses) == (3, TWO[:1])
    assert kinds(effects) == ["incident.signal"]


def test_information_is_counted_and_noted_and_is_no_witness() -> None:
    rated, effects = after(incident(), joined(None))
    assert rated == incident(signal_count=2)
    assert kinds(effects) == ["incident.noted"]


def test_a_test_bit_never_weakens_what_the_same_device_said_without_it() -> None:
    rated, _ = after(incident(), joined(replace(TWO[0], automatic=False)))
    assert rated.witnesses == TWO[:1]


def test_what_a_device_said_with_its_test_bit_is_made_good_without_it() -> None:
    rated, _ = after(incident(witnesses=(replace(TWO[0], automatic=False),)), joined(TWO[0]))
    assert rated.witnesses == TWO[:1]


def test_the_number_of_witnesses_is_bounded() -> None:
    many = tuple(Witness("mall-panel", f"smoke-{n}", Evidence.DETECTOR, True) for n in range(WITNESSES_MAX))
    rated, _ = after(incident(witnesses=many), joined(replace(TWO[0], device="one more")))
    assert len(rated.witnesses) == WITNESSES_MAX
    assert rated.witnesses[-1].device == "one more"


def test_an_alert_on_air_is_never_drafted_over_and_people_see_that_it_is_outgrown() -> None:
    rated, effects = after(incident(air=Air.ON_AIR, alerted=True), joined())
    assert rated.level == 2
    assert kinds(effects) == ["incident.signal", "incident.outgrown"]


def test_nothing_is_drafted_while_a_stopped_alert_may_be_resumed() -> None:
    assert kinds(after(incident(air=Air.STOPPED, alerted=True), joined())[1]) == ["incident.signal"]


def test_any_report_after_the_alert_is_over_drafts_the_next_one() -> None:
    _, effects = after(incident(air=Air.OVER, alerted=True), joined(TWO[0]))
    assert kinds(effects) == ["incident.signal", "PrepareBroadcast"]


# Cancelling


def cancel(**changes: Any) -> SignalJoined:
    return SignalJoined(
        fire_signal("panel/mall/3", kind=SignalKind.CANCEL, references=("panel/mall/1",), **changes), None, Place()
    )


def test_the_only_source_taking_its_word_back_holds_the_draft() -> None:
    held, effects = after(incident(), cancel())
    why = "mall-panel cancels panel/mall/1"
    assert held == incident(signal_count=2, witnesses=(), reasons=(why,), held=True)
    assert effects == [Record("incident.source_cancelled", "incident", why), HoldBroadcast("incident", why)]


def test_a_stranger_takes_nobody_elses_word_back() -> None:
    held, effects = after(incident(), cancel(reporter="stranger"))
    assert held == incident(signal_count=2)
    assert kinds(effects) == ["incident.cancel_of_nothing"]


def test_one_of_two_witnesses_cancelling_leaves_the_other_and_lowers_the_level() -> None:
    left, effects = after(incident(witnesses=TWO, level=2), cancel())
    assert (left.witnesses, left.level, left.held) == (TWO[1:], 3, False)
    assert kinds(effects) == ["incident.source_cancelled", "PrepareBroadcast"]


def test_a_witness_that_was_cancelled_no_longer_corroborates() -> None:
    held, _ = after(incident(), cancel(), STANDING)
    rated, effects = after(held, joined(), STANDING)
    assert rated.witnesses == TWO[1:]
    assert kinds(effects) == ["incident.signal", "PrepareBroadcast"]


def test_cancelling_holds_nothing_that_is_on_air() -> None:
    _, effects = after(incident(air=Air.ON_AIR), cancel())
    assert kinds(effects) == ["incident.source_cancelled"]


def test_a_new_report_after_cancelling_wakes_the_draft() -> None:
    rated, effects = after(incident(witnesses=(), held=True), joined(TWO[0]))
    assert (rated.held, kinds(effects)) == (False, ["incident.signal", "PrepareBroadcast"])


# The standing order


def test_a_standing_order_acts_on_what_it_covers_after_the_draft() -> None:
    _, effects = after(incident(), joined(), STANDING)
    assert effects[1:] == [
        PrepareBroadcast("incident"),
        ReleaseStanding("incident", "fire-underground@v1: two_detectors"),
    ]


@pytest.mark.parametrize(
    ("changes", "playbook"),
    [
        ({"alerted": True}, STANDING),
        ({"refuted_us": NOON_US - 1}, STANDING),
        ({"state": REFUTED, "refuted_us": NOON_US}, STANDING),
        ({"venue": None}, STANDING),
        ({"air": Air.ON_AIR}, STANDING),
        ({"air": Air.OVER}, replace(STANDING, standing=standing_order(Corroboration.DETECTOR_AND_CALL_POINT))),
        ({}, replace(STANDING, target=Target.PLACES)),
        ({}, FIRE),
    ],
)
def test_a_standing_order_does_not_act(changes: dict[str, Any], playbook: Playbook) -> None:
    _, effects = after(incident(**changes), joined(), playbook)
    assert "ReleaseStanding" not in kinds(effects)


@pytest.mark.parametrize("automatic", [(True, False), (False, True), (False, False)])
def test_a_standing_order_never_acts_on_a_witness_that_may_not(automatic: tuple[bool, bool]) -> None:
    first, second = (replace(w, automatic=a) for w, a in zip(TWO, automatic, strict=True))
    rated, effects = after(incident(witnesses=(first,)), joined(second), STANDING)
    assert rated.level == 2
    assert kinds(effects) == ["incident.signal", "PrepareBroadcast"]


def test_a_panel_without_component_raises_attention_and_corroborates_nothing() -> None:
    panel = Witness("mall-panel", "1-1", Evidence.PANEL, True)
    rated, effects = after(incident(), joined(panel, evidence=Evidence.PANEL), STANDING)
    assert (rated.level, rated.signal_count) == (3, 2)
    assert kinds(effects) == ["incident.signal"]


def test_what_people_refuted_is_released_by_nobody_but_people_however_many_detectors_follow() -> None:
    refuted, _ = after(incident(), said(Verdict.REFUTE), STANDING)
    asked, first = after(refuted, joined(), STANDING)
    third = Witness("mall-panel", "smoke-3", Evidence.DETECTOR, True)
    _, second = after(asked, joined(third), STANDING)
    assert kinds(first) == ["incident.signal", "AskOffice", "PrepareBroadcast"]
    assert kinds(second) == ["incident.signal"]


def test_a_confirmation_gives_the_standing_order_back_what_a_refutation_took() -> None:
    refuted = incident(state=REFUTED, refuted_us=NOON_US)
    confirmed, _ = after(refuted, said(Verdict.CONFIRM), STANDING)
    assert "ReleaseStanding" in kinds(after(confirmed, joined(), STANDING)[1])


# Refuted and asked again


def test_a_further_witness_after_a_refutation_asks_again() -> None:
    rated, effects = after(incident(state=REFUTED, refuted_us=NOON_US, unanswered=True), joined())
    assert (rated.state, rated.unanswered) == (VERIFYING, False)
    asked = AskOffice("incident", "verify", MALL, OTHER_STREET, "a further witness after it was refuted")
    assert asked in effects and PrepareBroadcast("incident") in effects


def test_the_device_that_was_refuted_asks_nobody_again_soon_and_revives_no_draft() -> None:
    rated, effects = after(incident(state=REFUTED, refuted_us=NOON_US), joined(TWO[0]))
    assert (rated.state, kinds(effects)) == (REFUTED, ["incident.signal"])


def test_the_same_device_long_after_a_refutation_asks_again() -> None:
    late = joined(TWO[0], received_us=NOON_US + QUIET_AFTER_REFUTED_US + 1)
    rated, effects = after(incident(state=REFUTED, refuted_us=NOON_US), late)
    assert (rated.state, kinds(effects)) == (VERIFYING, ["incident.signal", "AskOffice", "PrepareBroadcast"])


def test_a_graver_word_of_the_same_authority_after_a_refutation_asks_again() -> None:
    bureau = Witness("weather", "bureau", Evidence.AUTHORITY, True, 3)
    playbook = fire_playbook(
        level_suspected=3, level_corroborated=3, corroborated_by=(Corroboration.AUTHORITY,), target=Target.PLACES
    )
    before = incident(state=REFUTED, refuted_us=NOON_US, witnesses=(bureau,))
    rated, effects = after(before, joined(replace(bureau, claimed_level=1)), playbook)
    assert (rated.state, rated.level) == (VERIFYING, 1)
    assert "AskOffice" in kinds(effects)


# Offices


def test_a_confirmation_drafts_with_the_new_verdict() -> None:
    confirmed, effects = after(incident(), said(Verdict.CONFIRM))
    assert confirmed == incident(state=CONFIRMED, judged="confirmed", judged_reporters=("mall-panel",))
    assert kinds(effects) == ["incident.answered", "PrepareBroadcast"]


def test_a_confirmation_again_drafts_nothing() -> None:
    assert kinds(after(incident(state=CONFIRMED), said(Verdict.CONFIRM))[1]) == ["incident.answered"]


def test_a_confirmation_wakes_a_draft_whose_source_took_its_word_back() -> None:
    confirmed, effects = after(incident(state=CONFIRMED, held=True), said(Verdict.CONFIRM))
    assert (confirmed.held, kinds(effects)) == (False, ["incident.answered", "PrepareBroadcast"])


def test_a_refutation_holds_the_draft() -> None:
    refuted, effects = after(incident(), said(Verdict.REFUTE))
    judged = {"judged": "refuted", "judged_reporters": ("mall-panel",)}
    assert refuted == incident(state=REFUTED, refuted_us=NOON_US, **judged)
    learned = LearnVerdict("actual", ("mall-panel",), "refuted")
    assert effects[1:] == [HoldBroadcast("incident", "street refutes it"), learned]


def test_a_refutation_on_air_points_to_the_correction_and_withdraws_nothing_by_itself() -> None:
    refuted, effects = after(incident(air=Air.ON_AIR), said(Verdict.REFUTE))
    assert refuted.state is REFUTED
    assert kinds(effects) == ["incident.answered", "incident.refuted_on_air"]


@pytest.mark.parametrize(
    ("state", "verdict", "record"),
    [
        (CONFIRMED, Verdict.REFUTE, "refuted after it was confirmed"),
        (REFUTED, Verdict.CONFIRM, "confirmed after it was refuted"),
    ],
)
def test_answers_that_contradict_are_named_so(state: IncidentState, verdict: Verdict, record: str) -> None:
    _, effects = after(incident(state=state), said(verdict))
    assert Record("incident.contradicted", "incident", record, "chen") in effects


@pytest.mark.parametrize("state", [VERIFYING, CONFIRMED, REFUTED])
def test_not_knowing_changes_nothing(state: IncidentState) -> None:
    before = incident(state=state)
    same, effects = after(before, said(Verdict.UNSURE))
    assert (same, kinds(effects)) == (before, ["incident.answered"])


@pytest.mark.parametrize("verdict", list(Verdict))
def test_an_answer_to_a_closed_incident_is_only_recorded(verdict: Verdict) -> None:
    closed = incident(state=CLOSED)
    same, effects = after(closed, said(verdict))
    assert (same, kinds(effects)) == (closed, ["incident.answered_late"])


# The end of the ladder


def test_nobody_answering_holds_where_the_playbook_says_so() -> None:
    silent, effects = after(incident(witnesses=TWO), LadderEnded("task"), STANDING)
    assert silent == incident(witnesses=TWO, unanswered=True)
    assert kinds(effects) == ["incident.held"]


RELEASING = replace(STANDING, standing=standing_order(on_unanswered=OnUnanswered.RELEASE))


def test_nobody_answering_releases_what_the_standing_order_covers() -> None:
    _, effects = after(incident(witnesses=TWO), LadderEnded("task"), RELEASING)
    assert kinds(effects) == ["incident.unanswered", "ReleaseStanding"]


def test_nobody_answering_never_releases_what_the_standing_order_does_not_cover() -> None:
    assert kinds(after(incident(), LadderEnded("task"), RELEASING)[1]) == ["incident.held"]


def test_nobody_answering_too_late_is_missed_and_for_people_to_decide() -> None:
    _, effects = after(incident(witnesses=TWO), LadderEnded("task", "the timer came 61 s late"), RELEASING)
    assert effects == [Record("incident.missed", "incident", "missed, decide now: the timer came 61 s late")]


@pytest.mark.parametrize(
    "changes", [{"state": CONFIRMED}, {"state": REFUTED}, {"state": CLOSED}, {"air": Air.ON_AIR}, {"air": Air.STOPPED}]
)
def test_nobody_answering_matters_no_more(changes: dict[str, Any]) -> None:
    _, effects = after(incident(witnesses=TWO, **changes), LadderEnded("task"), RELEASING)
    assert kinds(effects) == ["incident.unanswered"]


# Devices that people distrust


GONE = DevicesUntrusted((("mall-panel", "smoke-1"), ("mall-panel", "smoke-2")), "li put it under maintenance", "li")
FOR_PEOPLE = tuple(replace(w, automatic=False) for w in TWO)
STOPPED_WHY = "the standing order covered it, but li put it under maintenance: two people are asked at once"


@pytest.mark.parametrize("playbook", [STANDING, RELEASING])
def test_a_standing_release_still_to_come_becomes_a_question_to_two_at_once(playbook: Playbook) -> None:
    asked, effects = after(incident(witnesses=TWO), GONE, playbook)
    reasons = ("li put it under maintenance",)
    assert asked == incident(witnesses=FOR_PEOPLE, reasons=reasons, standing_stopped=STOPPED_WHY)
    assert effects == [
        Record("incident.standing_stopped", "incident", STOPPED_WHY, "li"),
        AskTwo("incident", STOPPED_WHY),
    ]
    assert kinds(after(asked, LadderEnded("task"), playbook)[1]) == ["incident.held"]


def test_where_nothing_was_drafted_yet_the_question_comes_with_a_draft() -> None:
    _, effects = after(incident(witnesses=TWO, alert=""), GONE, RELEASING)
    assert kinds(effects) == ["incident.standing_stopped", "PrepareBroadcast", "AskTwo"]


def test_one_of_the_two_devices_is_enough_for_the_question() -> None:
    asked, effects = after(incident(witnesses=TWO), replace(GONE, witnesses=GONE.witnesses[1:]), STANDING)
    assert (asked.witnesses, kinds(effects)[-1]) == ((TWO[0], FOR_PEOPLE[1]), "AskTwo")


@pytest.mark.parametrize(
    "changes",
    [{"alerted": True, "air": Air.ON_AIR}, {"alerted": True, "air": Air.OVER}, {"state": CLOSED}],
)
def test_what_has_gone_out_or_is_closed_stays_as_it_is(changes: dict[str, Any]) -> None:
    before = incident(witnesses=TWO, **changes)
    assert after(before, GONE, STANDING) == (before, [])


def test_devices_that_said_nothing_here_change_nothing() -> None:
    before = incident(witnesses=TWO)
    assert after(before, replace(GONE, witnesses=(("other-panel", "smoke-1"),)), STANDING) == (before, [])


@pytest.mark.parametrize(
    ("changes", "playbook"), [({"witnesses": TWO[:1]}, STANDING), ({"witnesses": TWO}, FIRE), ({"refuted_us": 5}, FIRE)]
)
def test_where_no_standing_release_was_to_come_their_word_is_for_people(
    changes: dict[str, Any], playbook: Playbook
) -> None:
    doubted, effects = after(incident(**changes), GONE, playbook)
    assert not any(w.automatic for w in doubted.witnesses)
    assert kinds(effects) == ["incident.for_people"]


def test_a_muted_incident_asks_two_at_once_when_it_is_heard_again() -> None:
    muted = incident(witnesses=TWO, inhibited_by="graver", state=SUSPECTED)
    stopped, effects = after(muted, GONE, STANDING)
    assert kinds(effects) == ["incident.standing_stopped"]
    heard, effects = after(stopped, Uninhibited("it is over"), STANDING)
    assert (heard.state, kinds(effects)) == (VERIFYING, ["incident.uninhibited", "AskTwo", "PrepareBroadcast"])


def test_muting_takes_back_both_questions() -> None:
    asked = incident(witnesses=FOR_PEOPLE, task="one", second_task="other")
    _, effects = after(asked, Inhibited("graver", "a red one", NOON_US), STANDING)
    assert [e.task for e in effects if isinstance(e, WithdrawTask)] == ["one", "other"]


@pytest.mark.parametrize(("silent", "left"), [("one", "other"), ("other", "one")])
def test_the_silence_of_one_of_two_decides_nothing(silent: str, left: str) -> None:
    asked = incident(witnesses=FOR_PEOPLE, task="one", second_task="other")
    alone, effects = after(asked, LadderEnded(silent), RELEASING)
    assert alone == incident(witnesses=FOR_PEOPLE, task=left)
    assert kinds(effects) == ["incident.one_unanswered"]
    assert kinds(after(alone, LadderEnded(left), RELEASING)[1]) == ["incident.held"]


# Its alert


def test_a_release_and_its_end_are_followed() -> None:
    out, _ = after(incident(), AlertReleased("alert"))
    assert out == incident(air=Air.ON_AIR, alerted=True)
    stopped, _ = after(out, AlertStopped("alert"))
    assert stopped == incident(air=Air.STOPPED, alerted=True)
    resumed, _ = after(stopped, AlertReleased("alert"))
    assert resumed == out


def test_an_alert_that_ran_out_leaves_the_next_one_ready_for_people() -> None:
    over, effects = after(incident(air=Air.ON_AIR, alerted=True), AlertOver("alert", "its time is over", False))
    assert over == incident(air=Air.OVER, alerted=True)
    assert kinds(effects) == ["incident.alert_over", "PrepareBroadcast"]


@pytest.mark.parametrize("state", [REFUTED, CLOSED])
def test_nothing_is_drafted_for_what_no_longer_stands(state: IncidentState) -> None:
    _, effects = after(incident(state=state, air=Air.ON_AIR), AlertOver("alert", "its time is over", False))
    assert kinds(effects) == ["incident.alert_over"]


def test_a_correction_or_an_all_clear_drafts_no_further_alert() -> None:
    _, effects = after(incident(air=Air.ON_AIR), AlertOver("alert", "x takes its place", True))
    assert kinds(effects) == ["incident.alert_over"]


@pytest.mark.parametrize("event", [AlertStopped("older"), AlertOver("older", "its time is over", False)])
def test_word_of_an_older_alert_changes_nothing(event: Any) -> None:
    before = incident(air=Air.ON_AIR)
    same, effects = after(before, event)
    assert (same, kinds(effects)) == (before, ["incident.other_alert_off"])


def test_deciding_not_to_broadcast_is_recorded_where_nothing_was_drafted() -> None:
    before = incident(alert="", playbook="")
    with pytest.raises(StillOnAir):
        after(replace(before, air=Air.ON_AIR), NotBroadcast("li", "a drill nearby"), None)
    same, effects = after(before, NotBroadcast("li", "a drill nearby"), None)
    assert (same, effects) == (before, [Record("incident.not_broadcast", "incident", "a drill nearby", "li")])


# Closing


@pytest.mark.parametrize("air", [Air.NOT_YET, Air.STOPPED, Air.OVER])
def test_closing_holds_the_draft(air: Air) -> None:
    closed, effects = after(incident(air=air), Close("li", "over"))
    assert closed == incident(air=air, state=CLOSED)
    assert effects == [
        HoldBroadcast("incident", "the incident is closed"),
        Record("incident.closed", "incident", "over", "li"),
    ]


@pytest.mark.parametrize("state", [VERIFYING, CONFIRMED, REFUTED])
def test_an_incident_whose_alert_sounds_is_not_closed(state: IncidentState) -> None:
    with pytest.raises(StillOnAir):
        after(incident(state=state, air=Air.ON_AIR), Close("li", "over"))


def test_closing_again_changes_nothing() -> None:
    closed = incident(state=CLOSED)
    same, effects = after(closed, Close("li", "over"))
    assert (same, kinds(effects)) == (closed, ["incident.closed_again"])


def test_an_area_drawn_anew_before_the_release_is_drafted_anew() -> None:
    before = incident(venue=None, place=Place(areas=(STREET,)), playbook="storm-red", witnesses=())
    event = SignalJoined(storm_signal(), Witness("weather", "bureau", Evidence.AUTHORITY, True, 1), Place(areas=("x",)))
    rated, effects = after(before, event)
    assert rated.place == Place(areas=("x",))
    assert "PrepareBroadcast" in kinds(effects)
