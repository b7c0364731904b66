"""Polled feeds: a timeline of asking, answering, failing and taking."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.effects import Carry, Record, Save, Timer, WakeAt
from services.dispatcher.domain.polling import (
    BACKOFF_S_MAX,
    ENTRIES_MAX,
    ENTRIES_PER_ROUND,
    ENTRY_TRIES_MAX,
    EVERY_S_MIN,
    RETRY_AFTER_S_MAX,
    SEEN_MAX,
    USELESS_AFTER_US,
    Failed,
    Poll,
    PollAnswered,
    PollDue,
    PolledEntry,
    PollEffect,
    PollEvent,
    Round,
    Settled,
    conditions,
    decide,
    wait_us,
)

URL = "https://alerts.example.cn/list.atom"
POLL = Poll("met", URL, every_s=60)
T0 = 1_782_864_000_000_000
S = 1_000_000
A, B, C = (PolledEntry(name, f"https://alerts.example.cn/{name}.xml") for name in "abc")
VALIDATORS = {"etag": '"v1"', "last-modified": "Wed, 01 Jul 2026 00:00:00 GMT"}


ASK = Save(Carry.POLL_FEED, "met")


def wake(due_us: int) -> WakeAt:
    return WakeAt(Timer.POLL, "met", due_us, due_us + USELESS_AFTER_US)


def listed(*entries: PolledEntry, digest: str = "d1", headers: dict[str, str] | None = None) -> PollAnswered:
    return PollAnswered(200, VALIDATORS if headers is None else headers, digest, 0.5, entries)


def after(*events: PollEvent, poll: Poll = POLL) -> Poll:
    for event in events:
        poll, _ = decide(poll, event, T0)
    return poll


def delivered(poll: Poll, event: PollEvent) -> str:
    """The tokens of what is to be delivered, in their order."""
    opened = decide(poll, event, T0)[0].round
    return "" if opened is None else "".join(opened.left)


def effects(poll: Poll, event: PollEvent) -> list[PollEffect]:
    return decide(poll, event, T0)[1]


def test_a_first_poll_asks_for_the_whole_list_and_sets_the_next() -> None:
    asked, done = decide(POLL, PollDue(0.5), T0)
    assert done == [wake(T0 + 60 * S), ASK]
    assert asked == replace(POLL, next_due_us=T0 + 60 * S, asked=True)


def test_new_entries_are_delivered_and_nothing_is_seen_before_they_are_taken() -> None:
    answered, done = decide(POLL, listed(A, B), T0)
    assert done == [wake(T0 + 60 * S)]
    assert (answered.seen, answered.etag, answered.digest) == ((), "", "")
    assert answered.round == Round('"v1"', VALIDATORS["last-modified"], "d1", ("a", "b"), more=False)


def test_validators_are_kept_once_every_entry_is_taken() -> None:
    half = after(listed(A, B), Settled(("a",)))
    assert (half.seen, half.etag) == (("a",), "")
    whole = after(Settled(("b",)), poll=half)
    assert (whole.seen, whole.digest, whole.round) == (("a", "b"), "d1", None)
    assert conditions(whole) == {"If-None-Match": '"v1"', "If-Modified-Since": VALIDATORS["last-modified"]}


def test_after_a_crash_between_answer_and_taking_the_list_is_asked_for_anew_and_delivered_again() -> None:
    crashed = after(listed(A, B), PollDue(0.5))
    assert crashed.round is None
    assert conditions(crashed) == {}
    assert delivered(crashed, listed(A, B)) == "ab"


def test_entries_taken_late_are_seen_though_their_round_is_over() -> None:
    late = after(listed(A, B), PollDue(0.5), Settled(("a",)))
    assert late.seen == ("a",)
    assert delivered(late, listed(A, B)) == "b"


@pytest.mark.parametrize(
    "settled",
    [
        [listed()],
        [listed(A), Settled(("a",))],
        [listed(A), Settled(failed=(("a", "http_403"),))],
        [PollAnswered(503, {}, "", 0.5)],
        [Failed("unreachable", 0.5)],
    ],
)
def test_an_errand_is_open_until_its_answer_is_settled_or_known_not_to_come(settled: list[PollEvent]) -> None:
    poll = after(PollDue(0.5))
    for event in settled:
        assert poll.asked
        poll = after(event, poll=poll)
    assert not poll.asked


def test_what_was_settled_late_leaves_the_next_errand_open() -> None:
    assert after(PollDue(0.5), listed(A), PollDue(0.5), Settled(("a",))).asked


def test_an_unchanged_list_delivers_nothing() -> None:
    poll = after(listed(A), Settled(("a",)))
    for same in (PollAnswered(304, {}, "", 0.5), listed(A), PollAnswered(200, VALIDATORS, "d1", 0.5)):
        assert effects(poll, same) == [wake(T0 + 60 * S)]


def test_an_entry_twice_in_a_list_is_delivered_once() -> None:
    assert delivered(POLL, listed(A, A)) == "a"


def test_not_modified_to_a_question_without_validators_is_a_failure() -> None:
    assert after(PollAnswered(304, {}, "", 0.5)).reason == "http_304"


def test_an_entry_that_cannot_be_had_is_tried_again_and_then_given_up_in_the_log() -> None:
    poll = POLL
    for _ in range(ENTRY_TRIES_MAX - 1):
        poll = after(listed(A, B), Settled(("b",), (("a", "http_403"),)), poll=poll)
        assert (poll.seen, poll.etag, poll.round) == (("b",), "", None)
    poll, done = decide(after(listed(A, B), poll=poll), Settled(failed=(("a", "http_403"),)), T0)
    assert done == [
        Record("feed.entry_given_up", "met", "an entry could not be had 5 times: http_403", facts={"token": "a"})
    ]
    assert (poll.seen, poll.tries, poll.etag) == (("b", "a"), (), '"v1"')


def test_an_entry_that_is_had_at_last_starts_counting_anew() -> None:
    poll = after(listed(A), Settled(failed=(("a", "too_slow"),)), listed(A), Settled(("a",)))
    assert (poll.tries, poll.seen) == ((), ("a",))


def test_a_long_list_comes_in_rounds_one_right_after_the_other() -> None:
    many = tuple(PolledEntry(str(n)) for n in range(ENTRIES_PER_ROUND + 5))
    tokens = tuple(entry.token for entry in many)
    poll = after(listed(*many))
    assert poll.round is not None and poll.round.left == tokens[:ENTRIES_PER_ROUND]
    poll, done = decide(poll, Settled(tokens[:ENTRIES_PER_ROUND]), T0)
    assert done == [wake(T0)]
    assert (poll.next_due_us, poll.etag) == (T0, "")
    opened = decide(poll, listed(*many), T0)[0].round
    assert opened is not None and opened.left == tokens[ENTRIES_PER_ROUND:]


def test_entries_that_failed_before_wait_behind_those_never_tried() -> None:
    poll = after(listed(A), Settled(failed=(("a", "too_slow"),)))
    assert delivered(poll, listed(A, B, C)) == "bca"


def test_failures_are_logged_when_they_begin_when_they_change_and_when_they_end() -> None:
    said = []
    poll = POLL
    for event in (
        Failed("unreachable", 0.0),
        Failed("unreachable", 0.0),
        PollAnswered(503, {}, "", 0.0),
        PollAnswered(200, {}, "d", 0.0),
    ):
        poll, done = decide(poll, event, T0)
        said.append([(e.kind, e.why) for e in done if isinstance(e, Record)])
    assert said == [
        [("feed.poll_failing", "unreachable")],
        [],
        [("feed.poll_failing", "http_503")],
        [("feed.poll_recovered", "it answers again after 3 failures")],
    ]
    assert (poll.failures, poll.reason) == (0, "")


def test_the_wait_doubles_with_every_failure_up_to_five_minutes() -> None:
    waits = [wait_us(replace(POLL, failures=n), 1.0) // S for n in range(1, 6)]
    assert waits == [60, 120, 240, BACKOFF_S_MAX, BACKOFF_S_MAX]
    assert wait_us(replace(POLL, failures=3), 0.0) // S == 120


def test_healthy_polls_spread_by_a_tenth() -> None:
    assert (wait_us(POLL, 0.0), wait_us(POLL, 1.0)) == (54 * S, 66 * S)


def test_no_feed_is_asked_more_often_than_every_ten_seconds() -> None:
    assert wait_us(replace(POLL, every_s=0), 0.5) == EVERY_S_MIN * S


def test_a_slow_feed_is_not_asked_more_often_because_it_fails() -> None:
    assert wait_us(replace(POLL, every_s=3_600, failures=9), 1.0) == 3_600 * S


@pytest.mark.parametrize(
    ("retry_after", "wait_s"),
    [
        ("120", 120),
        ("9999999999", RETRY_AFTER_S_MAX),
        ("Wed, 01 Jul 2026 00:02:00 GMT", 120),
        ("Wed, 01 Jul 2020 00:02:00 GMT", 30),
        ("soon", 30),
        ("-5", 30),
        ("", 30),
        ("１２０", 30),
    ],
)
def test_a_server_that_asks_for_time_is_given_it_within_bounds(retry_after: str, wait_s: int) -> None:
    assert after(PollAnswered(503, {"retry-after": retry_after}, "", 0.0)).next_due_us == T0 + wait_s * S


@pytest.mark.parametrize("value", ["x" * 300, "a\r\nHost: other", "\x00", "é"])
def test_a_validator_that_could_not_be_sent_back_is_not_kept(value: str) -> None:
    poll = after(listed(headers={"etag": value, "last-modified": value}))
    assert (poll.etag, poll.last_modified) == ("", "")


def test_what_the_list_still_shows_is_not_forgotten() -> None:
    poll = replace(POLL, seen=tuple(str(n) for n in range(SEEN_MAX)))
    shown = listed(PolledEntry("0"), PolledEntry("new"))
    poll = after(shown, Settled(("new",)), poll=poll)
    assert len(poll.seen) == SEEN_MAX
    assert poll.seen[-2:] == ("0", "new")
    assert poll.seen[0] == "2"


def test_a_list_beyond_all_bounds_is_cut() -> None:
    poll = after(listed(*(PolledEntry(str(n)) for n in range(3 * ENTRIES_MAX))))
    assert poll.round is not None
    assert len(poll.round.left) == ENTRIES_PER_ROUND


TOKENS = st.sampled_from("abcdef")
ENTRIES = st.lists(TOKENS.map(lambda token: PolledEntry(token)), max_size=6).map(tuple)
DRAWS = st.floats(0, 1)
EVENTS = st.one_of(
    st.builds(PollDue, DRAWS),
    st.builds(
        PollAnswered,
        st.sampled_from((200, 200, 204, 301, 304, 403, 503)),
        st.dictionaries(st.sampled_from(("etag", "last-modified", "retry-after")), st.text(max_size=20)),
        st.sampled_from(("d1", "d2")),
        DRAWS,
        ENTRIES,
    ),
    st.builds(Failed, st.text(max_size=300), DRAWS),
    st.builds(
        Settled,
        st.lists(TOKENS, max_size=3, unique=True).map(tuple),
        st.lists(st.tuples(TOKENS, st.text(max_size=5)), max_size=3, unique_by=lambda pair: pair[0]).map(tuple),
    ),
)


@given(st.lists(EVENTS, max_size=30))
def test_in_any_history_validators_never_outrun_what_was_taken_and_a_timer_is_always_set(
    history: list[PollEvent],
) -> None:
    poll, due_us, shown = POLL, None, {"": frozenset[str]()}
    settled: set[str] = set()
    for number, event in enumerate(history):
        now_us = T0 + number * S
        if isinstance(event, PollAnswered) and event.status == 200:
            event = replace(event, digest=f"{number}")
            shown[event.digest] = frozenset(entry.token for entry in event.entries)
        poll, done = decide(poll, event, now_us)
        if isinstance(event, Settled):
            settled |= {*event.taken, *(token for token, _ in event.failed)}
        for effect in done:
            if isinstance(effect, WakeAt):
                due_us = effect.due_us
                assert now_us <= due_us <= now_us + RETRY_AFTER_S_MAX * S
        if poll.round is not None:
            assert not set(poll.round.left) & set(poll.seen)
        assert shown[poll.digest] <= set(poll.seen) <= settled
        assert len(set(poll.seen)) == len(poll.seen)
        assert poll.next_due_us == (due_us or 0)
