"""The log's chain where several write at once: a line that commits late is linked late, and no line is lost."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.effects import Record
from services.dispatcher.engine.chain import chain_pass, verify
from services.dispatcher.engine.writing import WritableStore


@pytest.fixture
def postgres(postgresql_url: str) -> Iterator[SqlStore]:
    store = SqlStore(postgresql_url)
    yield store
    store.close()


def record(store: WritableStore, why: str) -> None:
    with store.write() as tx:
        tx.record(Record("k", "thing", why))


def test_a_line_that_commits_after_a_later_one_was_linked_is_linked_behind_it(postgres: SqlStore) -> None:
    record(postgres, "first")
    with postgres.write() as late:
        late.record(Record("k", "thing", "slow"))
        record(postgres, "quick")
        assert chain_pass(postgres) == 2
    assert chain_pass(postgres) == 1
    with postgres.read() as read:
        rows = read.chain(0, 10)
        assert [(row.link, row.seq) for row in rows] == [(1, rows[0].seq), (2, rows[0].seq + 2), (3, rows[0].seq + 1)]
        found = verify(read, (rows[1].hash,))
    assert (found.rows, found.problem) == (3, "")


def test_a_line_that_never_commits_leaves_a_gap_in_the_numbers_and_none_in_the_chain(postgres: SqlStore) -> None:
    record(postgres, "first")
    with pytest.raises(RuntimeError), postgres.write() as tx:
        tx.record(Record("k", "thing", "lost"))
        raise RuntimeError
    record(postgres, "third")
    assert chain_pass(postgres) == 2
    with postgres.read() as read:
        assert (verify(read).rows, verify(read).problem) == (2, "")


def test_every_store_links_and_verifies_alike(store: WritableStore) -> None:
    for why in ("one", "two", "three"):
        record(store, why)
    assert chain_pass(store) == 3
    with store.read() as read:
        assert (verify(read).rows, verify(read).problem) == (3, "")


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE log SET person = 'eve' WHERE link = 2", "was altered"),
        ("UPDATE log SET body = '{}' WHERE link = 3", "was altered"),
        ("DELETE FROM log WHERE link = 2", "link 2 is missing: the next one is 3"),
        ("UPDATE log SET link = NULL, hash = '' WHERE link = 2", "link 2 is missing: the next one is 3"),
        ("DELETE FROM log WHERE link = 3", "its tail was cut"),
    ],
)
def test_what_somebody_did_to_the_table_is_found(database_url: str, statement: str, problem: str) -> None:
    store = SqlStore(database_url)
    for why in ("one", "two", "three"):
        record(store, why)
    chain_pass(store)
    with store.read() as read:
        _, head = read.chain_head()
    with store._engine.begin() as connection:
        connection.exec_driver_sql(statement)
    with store.read() as read:
        assert verify(read, (head,)).problem.endswith(problem)
    store.close()
