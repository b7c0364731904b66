"""The table of retries: every kind of effect has a row, and every row holds together."""

from __future__ import annotations

import pytest

from services.dispatcher.domain.effects import Carry
from services.dispatcher.domain.retries import RETRIES, GivenUp, Retry, failed_long_enough, late_enough


def test_every_kind_of_effect_has_a_row_and_an_answer_of_its_own() -> None:
    assert set(RETRIES) == set(Carry)
    # The same words are missed in the same way, whoever asked for them first.
    answers = [retry.then for carry, retry in RETRIES.items() if carry is not Carry.RENDER_AHEAD]
    assert sorted(answers) == sorted(GivenUp)


@pytest.mark.parametrize("carry", Carry)
def test_a_row_holds_together(carry: Carry) -> None:
    retry = RETRIES[carry]
    assert 0 < retry.backoff_from_us <= retry.backoff_to_us
    # People are told some time: after failures, or when its time is over.
    assert retry.tries is not None or retry.expires_us is not None
    assert (retry.handed_on_us is None) is (retry.late_us is None)
    if retry.handed_on_us is not None and retry.late_us is not None:
        # When it was last looked at is reckoned from the longest that it may have waited since.
        assert retry.backoff_to_us <= retry.handed_on_us <= retry.late_us


def test_the_wait_doubles_from_the_first_to_the_last() -> None:
    retry = Retry(GivenUp.CONFIG_OLD, 8, 100, 1_000)
    assert [retry.backoff_us(failed) for failed in (1, 2, 3, 4, 5, 6, 1_000_000)] == [
        100, 200, 400, 800, 1_000, 1_000, 1_000,
    ]  # fmt: skip


def test_what_fails_on_and_on_is_told_of_again_when_its_failures_have_doubled() -> None:
    retry = Retry(GivenUp.CONFIG_OLD, 8, 100, 1_000)
    assert [failed for failed in range(1, 200) if failed_long_enough(retry, failed)] == [8, 16, 32, 64, 128]
    assert not any(failed_long_enough(Retry(GivenUp.NOT_ASKED, None, 1, 1), failed) for failed in range(1, 200))


def test_what_is_not_done_is_told_of_again_when_its_time_has_doubled_however_rarely_it_is_looked_at() -> None:
    retry = RETRIES[Carry.RENDER_AUDIO]
    assert (retry.handed_on_us, retry.late_us) == (30_000_000, 60_000_000)
    looks = range(0, 1_000_000_000, 30_000_000)
    told = [now for now in looks if late_enough(retry, now - 30_000_000, now)]
    assert told == [60_000_000, 120_000_000, 240_000_000, 480_000_000, 960_000_000]
    assert late_enough(retry, 10_000_000, 70_000_000)
    # A clock that was put back tells of nothing.
    assert not late_enough(retry, 10_000_000, -500_000_000)
