"""What a signing key leaves behind in the store when it goes from the key document: nothing of it is carried on.

Speakers count no version of a removed key, and end what only that key vouches for once a listed key has spoken on the
same stream. So every stream of the key's use and issuer is signed anew, and what the broker held under that key and no
person has decided about is given up: whoever had the key may have made it up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from devices.protocols.documents import Use
from devices.protocols.refusals import Refused
from devices.protocols.topics import StreamKind, parse_manifest_topic

from ...domain.effects import Carry, Record, Save
from ...domain.places import Area, Speaker
from ...domain.signing_keys import KeyState
from ..ports import Page, Store, Tx
from ..rows import Live, Stream
from ..writing import write
from .compared import without_foreign
from .listing import new_stream

STREAMS_MAX = 10_000
STREAMS_AT_ONCE = 200
AREAS_MAX = 1_000_000
SPEAKERS_MAX = 1_000_000
CONFIGS_AT_ONCE = 500


def take_back(store: Store, removed: Sequence[KeyState]) -> None:
    """Have every stream that these keys could sign signed anew, and every config where one was a config key. Speakers
    may hold a manifest on a stream where nothing was ever signed here: it is signed as well. Done again from its
    beginning after a crash, because the caller forgets the keys only afterwards."""
    if any(key.use == Use.CONFIG for key in removed):
        _configs_again(store)
    scopes = {(key.use, key.issuer) for key in removed}
    if not scopes:
        return
    with store.read() as read:
        rows = read.find(Stream, Page(limit=STREAMS_MAX))
        areas = {area.code for area in read.find(Area, Page(limit=AREAS_MAX))}
        held = {topic for live in read.find(Live, Page(limit=SPEAKERS_MAX)) for topic in _named(live, areas)}
    _all_anew(store, {t for t in held | {row.id for row in rows} if _scope(t) in scopes}, {key.id for key in removed})


def signed_by_none_of(store: Store, kids: Collection[str]) -> None:
    """Have every stream signed anew that is signed by another key than these: a gateway that had not yet seen the
    newest key document was the last to sign it."""
    with store.read() as read:
        rows = read.find(Stream, Page(limit=STREAMS_MAX))
    late = [row for row in rows if row.orders and row.signed and row.signed_by not in kids]
    _all_anew(store, {row.id for row in late}, {row.signed_by for row in late})


def _scope(topic: str) -> tuple[str, str]:
    where = parse_manifest_topic(topic)
    return str(where.use), where.issuer


def _named(live: Live, areas: Collection[str]) -> Iterator[str]:
    """The streams that a speaker says it holds, as far as there can be such."""
    for topic in live.streams:
        try:
            where = parse_manifest_topic(topic)
        except Refused:
            continue
        if where.name in areas if where.kind is StreamKind.AREA else where.name == live.id:
            yield topic


def _all_anew(store: Store, found: Collection[str], kids: Collection[str]) -> None:
    topics = sorted(found)
    for start in range(0, len(topics), STREAMS_AT_ONCE):
        with write(store) as tx:
            for topic in topics[start : start + STREAMS_AT_ONCE]:
                _sign_anew(tx, topic, kids)


def _configs_again(store: Store) -> None:
    """A speaker that has taken a config of the removed key takes ours again, at the version that it has."""
    with store.read() as read:
        ids = sorted(s.id for s in read.find(Speaker, Page(limit=SPEAKERS_MAX)) if s.enrolled)
    for start in range(0, len(ids), CONFIGS_AT_ONCE):
        with write(store) as tx:
            for id in ids[start : start + CONFIGS_AT_ONCE]:
                tx.save(Save(Carry.PUBLISH_CONFIG, id))


def _sign_anew(tx: Tx, topic: str, kids: Collection[str]) -> None:
    stream = tx.get_locked(Stream, topic) or new_stream(topic)
    if stream.foreign and stream.foreign_kid in kids:
        kid = stream.foreign_kid
        stream, orders = without_foreign(tx, stream)
        facts: dict[str, object] = {"orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders], "kid": kid}
        why = "what was unknown here is given up: the key that signed it has been removed"
        tx.record(Record("stream.key_removed", topic, why, facts=facts))
    tx.put(replace(stream, orders="", anew=True))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))
