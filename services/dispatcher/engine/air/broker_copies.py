"""What the broker holds of the streams on which an order stands, as gateways compare it every minute.

One row per occupied stream, written over; nothing of it goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...domain.broadcasts import Broadcast
from ...domain.effects import Carry, Save
from ..clock import lately
from ..ports import Page, Read, Store
from ..rows import BrokerCopy, Stream
from ..writing import write
from .foreign import keeps_foreign, unknown_on_air, unknown_topics
from .listed_keys import ListedKeys
from .listing import ON_AIR_STATES

BROADCASTS_MAX = 10_000
STREAMS_MAX = 10_000
STREAMS_PER_QUERY = 500
UNCONFIRMED_US_MAX = 150_000_000
"""Two comparisons and the time to publish again what was found wrong."""
PUBLISH_US_MAX = 5_000_000
"""How long a stream may wait to be signed and published while all is well."""
SAME = ""
NOT_SIGNED = "not_signed"
NOT_PUBLISHED = "not_published"


@dataclass(frozen=True, slots=True)
class CopiesHealth:
    """How many occupied streams the broker was last found to hold as stored, how many not, and the one that has gone
    unconfirmed for longest, with since when; `overdue` says that its newest manifest is known not to be out. `unknown`
    are the streams whose newest manifest on the broker this database does not know."""

    confirmed: int
    unconfirmed: int
    oldest: str
    oldest_us: int
    found: str
    now_us: int
    overdue: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def unheld(self) -> bool:
        """Whether the broker does not hold the oldest as it should, or nobody has looked for too long."""
        return self.overdue or (bool(self.oldest) and not lately(self.oldest_us, self.now_us, UNCONFIRMED_US_MAX))

    @property
    def well(self) -> bool:
        return not self.unheld and not self.unknown


def occupied_topics(read: Read, topics: Sequence[str] = ()) -> set[str]:
    """The topics of the streams on which an order of ours stands that has not expired, withdrawn ones included: who
    boots now must learn of a stop too. Among these topics alone, where any are given."""
    now_us, newest = read.now_us(), Page(limit=BROADCASTS_MAX, order="-id")
    among: dict[str, object] = {"stream": tuple(topics)} if topics else {}
    rows = read.find(Broadcast, newest, state=ON_AIR_STATES, **among)
    return {b.stream for b in rows if b.on_manifest and b.expires_us > now_us}


def on_air(read: Read, use: str) -> bool:
    """Whether the store has an order of this use that went on air and has not ended, stopped and withdrawn ones
    included. Its expiry is not looked at."""
    return bool(read.find(Broadcast, Page(limit=1), use=use, state=ON_AIR_STATES))


def occupied(read: Read) -> dict[str, Stream | None]:
    """The occupied streams that no person has to decide about first, by topic; None for one that was never signed. What
    was unknown on the broker and a person has decided on occupies its stream until it expires."""
    now_us = read.now_us()
    rows = {row.id: row for row in read.find(Stream, Page(limit=STREAMS_MAX))}
    topics = occupied_topics(read) | {row.id for row in rows.values() if keeps_foreign(row, now_us)}
    found: dict[str, Stream | None] = {}
    for topic in sorted(topics):
        row = rows.get(topic)
        if row is None or not unknown_on_air(row):
            found[topic] = row if row is not None and row.signed else None
    return found


def overdue(read: Read) -> dict[str, int]:
    """Since when the occupied streams wait to be signed and published that have waited for longer than that takes, by
    topic."""
    now_us = read.now_us()
    late = {
        effect.subject: effect.wanted_us
        for effect in read.open_effects()
        if effect.carry == Carry.PUBLISH_STREAM and effect.wanted_us < now_us - PUBLISH_US_MAX
    }
    topics, standing = sorted(late), set[str]()
    for start in range(0, len(topics), STREAMS_PER_QUERY):
        few = tuple(topics[start : start + STREAMS_PER_QUERY])
        standing |= occupied_topics(read, few)
        standing |= {row.id for row in read.find(Stream, Page(limit=len(few)), id=few) if keeps_foreign(row, now_us)}
    return {topic: late[topic] for topic in topics if topic in standing}


def judged(read: Read, compared: Mapping[str, str]) -> dict[str, str]:
    """What is true of every occupied stream after a comparison of stored and retained bytes: the same bytes say nothing
    where the newest manifest has not been signed or is not out."""
    late, found = overdue(read), dict[str, str]()
    for topic, row in occupied(read).items():
        if row is None:
            found[topic] = NOT_SIGNED
        elif topic in compared:
            what = compared[topic]
            found[topic] = NOT_PUBLISHED if what == SAME and topic in late else what
    return found


def note(store: Store, gateway: str, found: Mapping[str, str]) -> None:
    """Write down what a comparison found of every occupied stream: `SAME`, or what is wrong; the rows of the streams
    that are no longer occupied go."""
    with write(store) as tx:
        tx.lock("broker_copies")
        now_us = tx.now_us()
        kept = {row.id: row for row in tx.find(BrokerCopy, Page(limit=STREAMS_MAX))}
        for topic, what in found.items():
            row = kept.pop(topic, BrokerCopy(topic, now_us, 0, now_us, what, gateway))
            confirmed_us = now_us if what == SAME else row.confirmed_us
            tx.put(replace(row, confirmed_us=confirmed_us, checked_us=now_us, found=what, gateway=gateway))
        for topic in kept:
            tx.delete(BrokerCopy, topic)


def sign_again(store: Store, topic: str, document: int) -> None:
    """Have a stream signed anew: by this version of the key document a speaker that boots now would refuse what is
    stored. What a newer document vouches for stays."""
    with write(store) as tx:
        stream, keys = tx.get_locked(Stream, topic), ListedKeys(tx)
        if stream is not None and (document >= keys.newest() or keys.outlived(stream)):
            tx.put(replace(stream, orders=""))
            tx.save(Save(Carry.PUBLISH_STREAM, topic))


def health(read: Read) -> CopiesHealth:
    """What the rows say of the broker's copies, with what has become overdue or unknown since the last comparison."""
    now_us, unknown = read.now_us(), unknown_topics(read)
    rows = {row.id: row for row in read.find(BrokerCopy, Page(limit=STREAMS_MAX))}
    late = {topic: since_us for topic, since_us in overdue(read).items() if topic not in unknown}
    unconfirmed = {row.id for row in rows.values() if row.found != SAME} | set(late)
    seen = CopiesHealth(len(rows.keys() - unconfirmed), len(unconfirmed), "", 0, SAME, now_us, bool(late), unknown)
    if late:
        topic = min(late, key=lambda topic: (late[topic], topic))
        found = rows[topic].found if topic in rows else NOT_SIGNED
        return replace(seen, oldest=topic, oldest_us=late[topic], found=found or NOT_PUBLISHED)
    if rows:
        oldest = min(rows.values(), key=lambda row: (row.held_us, row.id))
        return replace(seen, oldest=oldest.id, oldest_us=oldest.held_us, found=oldest.found)
    return seen
