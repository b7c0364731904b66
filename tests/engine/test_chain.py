from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.domain.effects import Record
from services.dispatcher.engine.chain import FIRST, LINK_BATCH, Verified, chain_now, chain_pass, row_hash, verify
from services.dispatcher.engine.rows import LogRow
from tests.builders import NOON_US, StoppedClock


def store_with(lines: int) -> MemoryStore:
    store = MemoryStore(StoppedClock())
    write(store, lines)
    return store


def write(store: MemoryStore, lines: int) -> None:
    with store.write() as tx:
        for number in range(lines):
            tx.record(Record("k", "thing", f"line {number}", "li", {"n": number}))


@dataclass
class Log:
    """A log as it stands in a database that somebody else has had in their hands."""

    rows: list[LogRow]
    head: tuple[int, str] = (0, "")

    def chain(self, after_link: int, limit: int) -> list[LogRow]:
        found = [row for row in self.rows if row.link is not None and row.link > after_link]
        return sorted(found, key=lambda row: row.link or 0)[:limit]

    def chain_head(self) -> tuple[int, str]:
        return self.head


def chained(lines: int = 5) -> tuple[Log, str]:
    store = store_with(lines)
    chain_pass(store)
    with store.read() as read:
        number, head = read.chain_head()
        return Log(read.chain(0, 1_000), (number, head)), head


def checked(log: Log, *witnessed: str) -> Verified:
    return verify(log, witnessed)  # type: ignore[arg-type]


def test_lines_are_linked_in_order_each_over_the_one_before() -> None:
    log, head = chained(3)
    previous = FIRST
    for link, row in enumerate(log.rows, 1):
        assert (row.link, row.hash) == (link, row_hash(previous, link, row))
        previous = row.hash
    assert head == previous


def test_a_whole_log_is_found_whole() -> None:
    log, head = chained(5)
    assert checked(log, head, log.rows[1].hash, "", FIRST) == Verified(5, head)


def test_an_empty_log_is_whole() -> None:
    assert checked(Log([])) == Verified(0, FIRST)


CHANGES: list[Callable[[LogRow], LogRow]] = [
    lambda row: replace(row, at_us=row.at_us + 1),
    lambda row: replace(row, kind="broadcast.declined"),
    lambda row: replace(row, subject="other"),
    lambda row: replace(row, person="zhao"),
    lambda row: replace(row, body=row.body.replace("2", "3")),
    lambda row: replace(row, seq=99),
    lambda row: replace(row, kind=row.kind + row.subject, subject=""),
    lambda row: replace(row, hash="0" * 64),
]


@pytest.mark.parametrize("change", CHANGES)
def test_an_altered_line_is_named(change: Callable[[LogRow], LogRow]) -> None:
    log, _ = chained(5)
    log.rows[2] = change(log.rows[2])
    found = checked(log)
    assert (found.rows, "link 3 " in found.problem, found.problem.endswith("was altered")) == (2, True, True)


def test_a_line_taken_out_is_missed() -> None:
    log, _ = chained(5)
    del log.rows[2]
    assert checked(log).problem == "link 3 is missing: the next one is 4"


def test_a_line_taken_out_and_the_rest_renumbered_is_an_altered_line() -> None:
    log, head = chained(5)
    log.rows = [*log.rows[:2], *(replace(row, link=(row.link or 0) - 1) for row in log.rows[3:])]
    log.head = (4, head)
    assert checked(log).problem == "link 3 (entry 4, k) was altered"


def test_a_line_put_in_between_is_found() -> None:
    log, _ = chained(5)
    false = replace(log.rows[2], seq=77, person="eve", link=3, hash="1" * 64)
    log.rows = [*log.rows[:2], false, *(replace(row, link=(row.link or 0) + 1) for row in log.rows[2:])]
    assert checked(log).problem == "link 3 (entry 77, k) was altered"


def test_a_tail_cut_off_with_its_head_left_is_found() -> None:
    log, _ = chained(5)
    log.rows = log.rows[:3]
    assert checked(log).problem == "the chain ends at link 3, but its head says 5"


def test_a_tail_cut_off_with_its_head_is_found_by_what_was_signed() -> None:
    log, head = chained(5)
    log.rows = log.rows[:3]
    log.head = (3, log.rows[-1].hash)
    assert checked(log) == Verified(3, log.rows[-1].hash)
    assert checked(log, head).problem == ("1 signed manifests carry a head that is not in this log: its tail was cut")


def test_a_tail_made_anew_is_found_by_what_was_signed() -> None:
    log, head = chained(5)
    forged = replace(log.rows[4], person="eve")
    log.rows[4] = replace(forged, hash=row_hash(log.rows[3].hash, 5, forged))
    log.head = (5, log.rows[4].hash)
    assert checked(log).problem == ""
    assert checked(log, head).problem != ""


def test_text_moved_between_columns_never_has_the_same_hash() -> None:
    row = LogRow(1, NOON_US, "a", "b\x1fc", "d", "{}")
    moved = LogRow(1, NOON_US, "a\x1fb", "c", "d", "{}")
    assert row_hash(FIRST, 1, row) != row_hash(FIRST, 1, moved)


def test_a_pass_links_everything_that_waits_in_batches() -> None:
    store = store_with(2 * LINK_BATCH + 1)
    assert chain_pass(store) == 2 * LINK_BATCH + 1
    assert chain_pass(store) == 0
    with store.read() as read:
        assert verify(read).rows == 2 * LINK_BATCH + 1


def test_a_transaction_that_fails_links_nothing() -> None:
    store = store_with(3)
    with pytest.raises(RuntimeError), store.write() as tx:
        chain_now(tx)
        raise RuntimeError
    with store.read() as read:
        assert read.chain_head() == (0, "")
    assert chain_pass(store) == 3
