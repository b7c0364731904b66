"""The dead man's switch: a timeline of speaking, expecting and falling silent."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.effects import EndSilence, RaiseSilence, Record, Sleep, Timer, WakeAt
from services.dispatcher.domain.rhythm import (
    GRACE_US,
    USELESS_AFTER_US,
    Heard,
    Listening,
    RhythmEvent,
    RhythmExpected,
    SilenceDue,
    SourceKind,
    Spoke,
    decide,
    source_id,
    source_of,
    span_words,
)

S = 1_000_000
T0 = 1_782_864_000_000_000
HOUR_S = 3_600
HEARD = Heard("panel/p-1", heard_us=T0, from_us=T0, rhythm_s=HOUR_S)
DUE_US = T0 + HOUR_S * S + GRACE_US
CASE = replace(HEARD, incident="i-1")


def wake(due_us: int) -> WakeAt:
    return WakeAt(Timer.SOURCE_SILENT, "panel/p-1", due_us, due_us + USELESS_AFTER_US)


def test_a_source_of_which_a_rhythm_is_expected_is_watched_from_now_on() -> None:
    new = Heard("panel/p-1")
    assert decide(new, RhythmExpected(HOUR_S), T0) == (replace(new, rhythm_s=HOUR_S, from_us=T0), [wake(DUE_US)])


def test_the_same_rhythm_again_changes_nothing() -> None:
    assert decide(HEARD, RhythmExpected(HOUR_S), T0 + S) == (HEARD, [])


def test_another_rhythm_counts_from_when_it_was_last_heard() -> None:
    quicker = replace(HEARD, rhythm_s=60)
    assert decide(HEARD, RhythmExpected(60), T0 + S) == (quicker, [wake(T0 + 60 * S + GRACE_US)])


def test_of_which_nothing_is_expected_any_more_the_timer_sleeps() -> None:
    assert decide(HEARD, RhythmExpected(0), T0) == (
        replace(HEARD, rhythm_s=0),
        [Sleep(Timer.SOURCE_SILENT, "panel/p-1")],
    )


def test_speaking_moves_no_timer() -> None:
    assert decide(HEARD, Spoke(T0 + S), T0 + S) == (replace(HEARD, heard_us=T0 + S), [])


def test_what_comes_late_never_makes_it_older() -> None:
    assert decide(HEARD, Spoke(T0 - S, "alarm"), T0 + S) == (replace(HEARD, state="alarm"), [])


def test_a_timer_that_finds_a_word_since_is_set_anew() -> None:
    spoke = replace(HEARD, heard_us=T0 + 30 * 60 * S)
    assert decide(spoke, SilenceDue(), DUE_US) == (spoke, [wake(DUE_US + 30 * 60 * S)])


def test_silence_beyond_rhythm_and_grace_is_raised() -> None:
    assert decide(HEARD, SilenceDue(), DUE_US) == (HEARD, [RaiseSilence(HEARD.id)])


def test_a_source_that_never_spoke_is_raised_as_that() -> None:
    never = replace(HEARD, heard_us=0)
    assert decide(never, SilenceDue(), DUE_US) == (never, [RaiseSilence(HEARD.id)])


def test_a_case_that_is_open_is_not_raised_again() -> None:
    assert decide(CASE, SilenceDue(), DUE_US) == (CASE, [])


def test_a_source_that_speaks_again_is_done_with_its_case_and_watched_anew() -> None:
    at_us = T0 + 3 * HOUR_S * S
    again = replace(HEARD, heard_us=at_us)
    record = Record(
        "source.heard_again",
        "panel/p-1",
        "it speaks again after 10800 s",
        facts={"incident": "i-1", "silent_s": 10_800},
    )
    assert decide(CASE, Spoke(at_us), at_us) == (
        again,
        [record, EndSilence("i-1"), wake(at_us + HOUR_S * S + GRACE_US)],
    )


def test_silence_under_maintenance_is_excused_and_a_whole_rhythm_given_after_it() -> None:
    excused, effects = decide(HEARD, SilenceDue(excuse="it is under maintenance"), DUE_US)
    assert (excused, effects) == (
        replace(HEARD, excused=True, from_us=DUE_US),
        [wake(DUE_US + HOUR_S * S + GRACE_US)],
    )
    later_us = DUE_US + HOUR_S * S + GRACE_US
    back, effects = decide(excused, SilenceDue(), later_us)
    assert (back.excused, effects) == (False, [wake(later_us + HOUR_S * S + GRACE_US)])
    assert decide(back, SilenceDue(), later_us + HOUR_S * S + GRACE_US)[1] == [RaiseSilence(HEARD.id)]


def test_silence_counts_from_when_this_system_began_to_listen() -> None:
    later = replace(HEARD, from_us=T0 + 600 * S)
    assert decide(HEARD, SilenceDue(listening_us=T0 + 600 * S), DUE_US) == (later, [wake(DUE_US + 600 * S)])
    assert decide(later, SilenceDue(listening_us=T0 + 600 * S), DUE_US + 600 * S) == (later, [RaiseSilence(HEARD.id)])


def test_a_wire_listens_anew_after_it_was_deaf() -> None:
    wire, effects = decide(Heard("wire/mqtt"), Listening(T0), T0)
    assert (wire, effects) == (Heard("wire/mqtt", T0, T0), [])
    wire, _ = decide(wire, Listening(T0 + 60 * S), T0 + 60 * S)
    assert wire == Heard("wire/mqtt", T0 + 60 * S, T0)
    wire, _ = decide(wire, Listening(T0 + 121 * S), T0 + 121 * S)
    assert wire == Heard("wire/mqtt", T0 + 121 * S, T0 + 121 * S)


def test_nobody_is_silent_while_this_system_was_away() -> None:
    anew, effects = decide(HEARD, SilenceDue(missed="the timer came 3600 s late"), DUE_US + HOUR_S * S)
    assert anew == replace(HEARD, from_us=DUE_US + HOUR_S * S)
    assert effects == [wake(anew.due_us)]


@pytest.mark.parametrize(
    ("span_s", "words"),
    [
        (0, ("0秒", "0 seconds")),
        (119, ("119秒", "119 seconds")),
        (120, ("2分钟", "2 minutes")),
        (7_199, ("119分钟", "119 minutes")),
        (7_560, ("2小时", "2 hours")),
        (172_800, ("2天", "2 days")),
    ],
)
def test_a_span_is_said_in_a_unit_that_people_use(span_s: int, words: tuple[str, str]) -> None:
    assert span_words(span_s) == words


def test_a_source_has_its_kind_in_its_name() -> None:
    assert source_of(source_id(SourceKind.PANEL, "a/b")) == (SourceKind.PANEL, "a/b")


EVENTS = st.one_of(
    st.builds(Spoke, st.integers(0, 10**6).map(lambda s: T0 + s * S), st.sampled_from(("", "alarm", "normal"))),
    st.builds(RhythmExpected, st.sampled_from((0, 60, HOUR_S))),
    st.builds(SilenceDue, st.sampled_from(("", "", "off")), st.sampled_from(("", "", "late"))),
)


@given(st.lists(EVENTS, max_size=30))
def test_in_any_history_what_is_watched_has_a_timer_or_a_case(history: list[RhythmEvent]) -> None:
    heard, timer_us = Heard("panel/p-1"), None
    for number, event in enumerate(history):
        if isinstance(event, SilenceDue):
            if timer_us is None:
                continue
            timer_us = None
        heard, effects = decide(heard, event, T0 + number * HOUR_S * S)
        for effect in effects:
            match effect:
                case WakeAt():
                    timer_us = effect.due_us
                case Sleep():
                    timer_us = None
                case RaiseSilence():
                    heard = replace(heard, incident="i-1")
        if heard.rhythm_s and not heard.incident:
            assert timer_us is not None
