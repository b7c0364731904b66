"""The log's hash chain: rows are written unchained in their transactions, and linked in order soon after."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from .ports import Read, Store, Tx
from .rows import LogRow
from .writing import write

LINK_BATCH = 1_000
BATCHES_MAX = 1_000
FIRST = "0" * 64


def row_hash(previous: str, link: int, row: LogRow) -> str:
    """SHA-256 over the link before, the number and every column of the row, as a JSON list: nothing can be moved from
    one column into the next."""
    parts = [previous, link, row.seq, row.at_us, row.kind, row.subject, row.person, row.body]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def chain_now(tx: Tx) -> tuple[int, str]:
    """Link every row not linked yet (at most a batch), and return the head: its number and hash."""
    tx.lock("chain")
    number, head = tx.chain_head()
    linked = []
    for row in tx.unchained(LINK_BATCH):
        number += 1
        head = row_hash(head or FIRST, number, row)
        linked.append(replace(row, link=number, hash=head))
    tx.link(linked)
    return number, head


def chain_pass(store: Store) -> int:
    """Link everything that waits, a batch in a transaction so that an alarm gets in between; how many rows."""
    total = 0
    for _ in range(BATCHES_MAX):
        with write(store) as tx:
            tx.lock("chain")
            before, _ = tx.chain_head()
            after, _ = chain_now(tx)
        total += after - before
        if after - before < LINK_BATCH:
            break
    return total


@dataclass(frozen=True, slots=True)
class Verified:
    """What `audit verify` found. `problem` is empty when every link holds."""

    rows: int
    head: str
    problem: str = ""


def verify(read: Read, witnessed_heads: tuple[str, ...] = ()) -> Verified:
    """Recompute the chain. `witnessed_heads` are heads that signed manifests carry: each must be a link of this chain,
    else its tail was cut."""
    wanted = set(witnessed_heads) - {"", FIRST}
    previous, number, rows = FIRST, 0, 0
    while batch := read.chain(number, LINK_BATCH):
        for row in batch:
            if row.link != number + 1:
                return Verified(rows, previous, f"link {number + 1} is missing: the next one is {row.link}")
            number += 1
            if row_hash(previous, number, row) != row.hash:
                return Verified(rows, previous, f"link {number} (entry {row.seq}, {row.kind}) was altered")
            previous, rows = row.hash, rows + 1
            wanted.discard(previous)
    stored_number, stored_head = read.chain_head()
    if (stored_number, stored_head or FIRST) != (number, previous):
        return Verified(rows, previous, f"the chain ends at link {number}, but its head says {stored_number}")
    if wanted:
        return Verified(
            rows, previous, f"{len(wanted)} signed manifests carry a head that is not in this log: its tail was cut"
        )
    return Verified(rows, previous)
