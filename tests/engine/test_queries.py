from __future__ import annotations

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.domain.effects import Record
from services.dispatcher.engine import queries
from tests.builders import StoppedClock


def store_with(lines: int, every: int = 1) -> MemoryStore:
    """A log of so many lines, each `every`th of them about the subject "thing"."""
    store = MemoryStore(StoppedClock())
    with store.write() as tx:
        for number in range(1, lines + 1):
            tx.record(Record("k", "thing" if number % every == 0 else "other", str(number)))
    return store


@pytest.mark.parametrize("lines", [0, 1, 2, 3, 7, 8, 9, 100, 1_025])
def test_the_newest_line_is_found_whatever_their_number(lines: int) -> None:
    with store_with(lines).read() as read:
        assert queries.last_seq(read, None) == lines


@pytest.mark.parametrize("known", [0, 1, 50, 99, 100])
def test_the_newest_line_is_found_from_any_line_known_before(known: int) -> None:
    with store_with(100).read() as read:
        assert queries.last_seq(read, None, known) == 100


@pytest.mark.parametrize(
    ("lines", "every", "size"), [(100, 7, 3), (100, 7, 14), (100, 7, 15), (100, 1, 100), (5, 9, 2)]
)
def test_the_newest_lines_of_a_subject_are_found_among_others(lines: int, every: int, size: int) -> None:
    expected = [str(number) for number in range(1, lines + 1) if number % every == 0][-size:]
    with store_with(lines, every).read() as read:
        found = queries.newest_lines(read, "thing", size)
    assert [row.seq for row in found] == [int(number) for number in expected]
