"""What people at the desk do that is no event of an incident, a task or a broadcast. Each is one transaction."""

from __future__ import annotations

from ..domain.effects import Record
from .air import compared
from .ports import Store
from .writing import write


def adopt_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take over what the broker holds on a stream that this database does not know; `version` is the manifest's that
    the person has read. Raises NotFound, or ChangedOnAir when it is another by now."""
    with write(store) as tx:
        compared.check_unknown(tx, topic, version)
        compared.adopt(tx, topic, person)


def withdraw_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take off the air what the broker holds on a stream and this database does not know; `version` and refusals as in
    `adopt_stream`."""
    with write(store) as tx:
        compared.check_unknown(tx, topic, version)
        compared.withdraw_unknown(tx, topic, person)


def record_upload(store: Store, feed: str, signals: int, by: str, facts: dict[str, object]) -> None:
    """A person handed in a file for a feed, and it was taken."""
    with write(store) as tx:
        tx.record(Record("upload.taken", feed, f"{signals} signals from a file", by, facts))
