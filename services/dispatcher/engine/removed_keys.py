"""What a signing key leaves behind in the store when it goes from the key document: nothing of it is carried on.

Speakers count no version of a removed key, and end what only that key vouches for once a listed key has spoken on the
same stream. So every stream of the key's use and issuer is signed anew, and what the broker held under that key and no
person has decided about is given up: whoever had the key may have made it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..domain.effects import Carry, Record, Save
from ..domain.signing_keys import KeyState
from .ports import Page, Store, Stream, Tx
from .streams import without_foreign

STREAMS_MAX = 10_000
STREAMS_AT_ONCE = 200


def take_back(store: Store, removed: Sequence[KeyState]) -> None:
    """Have every stream that these keys could sign signed anew. Done again from its beginning after a crash, because
    the caller forgets the keys only afterwards."""
    scopes = {(key.use, key.issuer) for key in removed}
    with store.read() as read:
        rows = read.find(Stream, Page(limit=STREAMS_MAX)) if scopes else []
    topics = sorted(row.id for row in rows if (row.use, row.issuer) in scopes)
    kids = {key.id for key in removed}
    for start in range(0, len(topics), STREAMS_AT_ONCE):
        with store.write() as tx:
            for topic in topics[start : start + STREAMS_AT_ONCE]:
                _sign_anew(tx, topic, kids)


def _sign_anew(tx: Tx, topic: str, kids: set[str]) -> None:
    stream = tx.get_locked(Stream, topic)
    if stream is None:
        return
    if stream.foreign and stream.foreign_kid in kids:
        kid = stream.foreign_kid
        stream, orders = without_foreign(tx, stream)
        facts: dict[str, object] = {"orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders], "kid": kid}
        why = "what was unknown here is given up: the key that signed it has been removed"
        tx.record(Record("stream.key_removed", topic, why, facts=facts))
    tx.put(replace(stream, orders=""))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))
