"""What a signing key leaves behind in the store when it goes from the key document: nothing of it is carried on.

Speakers count no version of a removed key, and end what only that key vouches for once a listed key has spoken on the
same stream. So every stream of the key's use and issuer is signed anew, and what the broker held under that key and no
person has decided about is given up: whoever had the key may have made it up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from devices.protocols.documents import Use

from ...domain.effects import Carry, Record, Save
from ...domain.places import Speaker
from ...domain.signing_keys import KeyState
from ..ports import Page, Store, Tx
from ..rows import Stream
from .compared import without_foreign

STREAMS_MAX = 10_000
STREAMS_AT_ONCE = 200
SPEAKERS_MAX = 1_000_000
CONFIGS_AT_ONCE = 500


def take_back(store: Store, removed: Sequence[KeyState]) -> None:
    """Have every stream that these keys could sign signed anew, and every config where one was a config key. Done again
    from its beginning after a crash, because the caller forgets the keys only afterwards."""
    if any(key.use == Use.CONFIG for key in removed):
        _configs_again(store)
    scopes = {(key.use, key.issuer) for key in removed}
    with store.read() as read:
        rows = read.find(Stream, Page(limit=STREAMS_MAX)) if scopes else []
    topics = sorted(row.id for row in rows if (row.use, row.issuer) in scopes)
    kids = {key.id for key in removed}
    for start in range(0, len(topics), STREAMS_AT_ONCE):
        with store.write() as tx:
            for topic in topics[start : start + STREAMS_AT_ONCE]:
                _sign_anew(tx, topic, kids)


def _configs_again(store: Store) -> None:
    """A speaker that has taken a config of the removed key takes ours again, at the version that it has."""
    with store.read() as read:
        ids = sorted(s.id for s in read.find(Speaker, Page(limit=SPEAKERS_MAX)) if s.enrolled)
    for start in range(0, len(ids), CONFIGS_AT_ONCE):
        with store.write() as tx:
            for id in ids[start : start + CONFIGS_AT_ONCE]:
                tx.save(Save(Carry.PUBLISH_CONFIG, id))


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
