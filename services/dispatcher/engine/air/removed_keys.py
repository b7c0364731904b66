"""What a signing key leaves behind in the store when it goes from the key document, or may sign less: nothing of it is
carried on.

Speakers count no version of a removed key, and end what only that key vouches for once a listed key has spoken on the
same stream. So every stream of the key's use and issuer is signed anew, and what the broker held under that key and no
person has decided about is given up: whoever had the key may have made it up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from devices.protocols.documents import KeyUse
from devices.protocols.topics import parse_manifest_topic

from ...domain.effects import Carry, Record, Save
from ...domain.places import Speaker
from ...domain.signing_keys import KeyState
from ..ports import Page, Store, Tx
from ..rows import Stream
from ..writing import write
from .compared import without_foreign
from .foreign import manifest_found
from .listed_keys import ListedKeys
from .listing import new_stream

STREAMS_MAX = 10_000
STREAMS_AT_ONCE = 200
SPEAKERS_MAX = 1_000_000
CONFIGS_AT_ONCE = 500


def take_back(store: Store, limited: Sequence[KeyState], listed: Collection[KeyState]) -> None:
    """Have every known stream of the use and issuer of these keys signed anew, and every config where one was a config
    key, because they are gone or may sign less under a document with the keys that are `listed`. Done again from its
    beginning after a crash, because the caller forgets the keys only afterwards."""
    if any(key.use == KeyUse.CONFIG for key in limited):
        _configs_again(store)
    scopes = {(key.use, key.issuer) for key in limited}
    # Another key under the same name vouches for nothing that this one signed.
    others = {key.id: key.x for key in limited}
    left = [key for key in listed if others.get(key.id, key.x) == key.x]
    with store.read() as read:
        rows = read.find(Stream, Page(limit=STREAMS_MAX))
    _all_anew(store, (row.id for row in rows if _scope(row.id) in scopes), set(others), left)


def sign_outlived(store: Store) -> None:
    """Have every stream signed anew that was signed or compared under a key which may not sign that any more: by a
    gateway that had not yet seen the newest key document."""
    with store.read() as read:
        keys = ListedKeys(read)
        late = [row.id for row in read.find(Stream, Page(limit=STREAMS_MAX)) if keys.outlived(row)]
        late = [topic for topic in late if keys.newer_runs(-1, topic)]
    _all_anew(store, late, ())


def sign_named(tx: Tx, named: Iterable[str]) -> None:
    """Have these streams signed, which speakers name, where nothing was ever signed here: what a speaker has in force
    there ends only with a manifest of a listed key."""
    for topic in sorted(named):
        if tx.get_locked(Stream, topic) is None:
            tx.put(replace(new_stream(topic), anew=True))
            tx.save(Save(Carry.PUBLISH_STREAM, topic))


def _scope(topic: str) -> tuple[str, str]:
    where = parse_manifest_topic(topic)
    return str(where.use), where.issuer


def _all_anew(
    store: Store, found: Iterable[str], kids: Collection[str], listed: Collection[KeyState] | None = None
) -> None:
    topics = sorted(found)
    for start in range(0, len(topics), STREAMS_AT_ONCE):
        with write(store) as tx:
            keys = ListedKeys(tx, listed)
            for topic in topics[start : start + STREAMS_AT_ONCE]:
                _sign_anew(tx, topic, kids, keys)


def _configs_again(store: Store) -> None:
    """A speaker that has taken a config of the removed key takes ours again, at the version that it has."""
    with store.read() as read:
        ids = sorted(s.id for s in read.find(Speaker, Page(limit=SPEAKERS_MAX)) if s.enrolled)
    for start in range(0, len(ids), CONFIGS_AT_ONCE):
        with write(store) as tx:
            for id in ids[start : start + CONFIGS_AT_ONCE]:
                tx.save(Save(Carry.PUBLISH_CONFIG, id))


def _sign_anew(tx: Tx, topic: str, kids: Collection[str], keys: ListedKeys) -> None:
    """Sign a stream anew, without what was found of it under one of these keys, or under one that may not sign it."""
    stream = tx.get_locked(Stream, topic) or new_stream(topic)
    kid = stream.foreign_kid if stream.foreign else ""
    if kid and (kid in kids or not keys.vouches(kid, manifest_found(stream))):
        version = manifest_found(stream).version
        stream, orders = without_foreign(tx, stream)
        if keys.counts(kid, topic):
            # Speakers go on counting the version of a key that may still sign something there.
            stream = replace(stream, manifest_version=max(stream.manifest_version, version))
        facts: dict[str, object] = {"orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders], "kid": kid}
        why = "what was unknown here is given up: the key that signed it may not sign it any more"
        tx.record(Record("stream.key_removed", topic, why, facts=facts))
    tx.put(replace(stream, orders="", anew=True))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))
