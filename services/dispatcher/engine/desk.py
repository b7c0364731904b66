"""What people at the desk do that is no event of an incident, a task or a broadcast. Each is one transaction."""

from __future__ import annotations

from . import streams
from .ports import Store


def adopt_stream(store: Store, topic: str, person: str) -> None:
    """Take over what the broker holds on a stream that this database does not know. Raises NotFound."""
    with store.write() as tx:
        streams.adopt(tx, topic, person)
