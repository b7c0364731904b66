"""A child process can't hang, flood or surprise its parent."""

from __future__ import annotations

import pytest

from services.dispatcher.adapters.child import ChildEnded, ChildFailed, run


def test_input_goes_in_and_output_and_complaint_come_out() -> None:
    ended = run(["sh", "-c", "cat; echo careful >&2"], b"x" * 300_000, timeout_s=20, output_bytes_max=400_000)
    assert ended == ChildEnded(b"x" * 300_000, "careful\n")


def test_a_child_that_reads_nothing_is_no_error() -> None:
    assert run(["true"], b"x" * 1_000_000, timeout_s=20, output_bytes_max=10) == ChildEnded(b"", "")


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["/nowhere/at-all"], "absent"),
        (["/dev/null"], "absent"),
        (["sh", "-c", "echo no >&2; exit 3"], "refused"),
        (["sh", "-c", "kill -9 $$"], "refused"),
        (["cat", "/dev/zero"], "too_much"),
    ],
)
def test_every_way_to_fail_has_a_code(argv: list[str], code: str) -> None:
    with pytest.raises(ChildFailed) as failed:
        run(argv, b"", timeout_s=20, output_bytes_max=100_000)
    assert failed.value.code == code


@pytest.mark.parametrize("script", ["sleep 600", "sleep 600 & exit 0"])
def test_a_child_that_takes_too_long_is_ended_with_its_own_children(script: str) -> None:
    with pytest.raises(ChildFailed) as failed:
        run(["sh", "-c", script], b"", timeout_s=0.2, output_bytes_max=10)
    assert failed.value.code == "too_slow"
