"""What the broker holds of the streams on which an order stands, as gateways compare it every minute.

One row per occupied stream, written over; nothing of it goes to the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..domain.broadcasts import Broadcast
from ..domain.effects import Carry, Save
from .ports import BrokerCopy, Page, Read, Store, Stream, Tx
from .streams import ON_AIR_STATES, unknown_on_air

BROADCASTS_MAX = 10_000
STREAMS_MAX = 10_000
STREAMS_PER_QUERY = 500
UNCONFIRMED_US_MAX = 150_000_000
"""Two comparisons and the time to publish again what was found wrong."""
SAME = ""


@dataclass(frozen=True, slots=True)
class CopiesHealth:
    """How many occupied streams the broker was last found to hold as stored, how many not, and the one that has gone
    unconfirmed for longest, with since when."""

    confirmed: int
    unconfirmed: int
    oldest: str
    oldest_us: int
    found: str
    now_us: int

    @property
    def well(self) -> bool:
        return not self.oldest or self.now_us - self.oldest_us <= UNCONFIRMED_US_MAX


def occupied_topics(read: Read) -> list[str]:
    """The topics of the streams on which an order stands that has not expired, withdrawn ones included: who boots now
    must learn of a stop too."""
    now_us = read.now_us()
    rows = read.find(Broadcast, Page(limit=BROADCASTS_MAX, order="-id"), state=ON_AIR_STATES)
    return sorted({b.stream for b in rows if b.on_manifest and b.expires_us > now_us})


def on_air(read: Read, use: str) -> bool:
    """Whether an order of this use went on air and its time is not over."""
    return bool(read.find(Broadcast, Page(limit=1), use=use, state=ON_AIR_STATES))


def occupied(read: Read) -> dict[str, Stream]:
    """The occupied streams that have been signed and that no person has to decide about first, by topic."""
    topics, found = occupied_topics(read), {}
    for start in range(0, len(topics), STREAMS_PER_QUERY):
        few = tuple(topics[start : start + STREAMS_PER_QUERY])
        for stream in read.find(Stream, Page(limit=STREAMS_PER_QUERY), id=few):
            if stream.signed and not unknown_on_air(stream):
                found[stream.id] = stream
    return found


def note(store: Store, gateway: str, found: Mapping[str, str]) -> None:
    """Write down what a comparison found of every occupied stream: `SAME`, or what is wrong; the rows of the streams
    that are no longer occupied go."""
    with store.write() as tx:
        tx.lock("broker_copies")
        now_us = tx.now_us()
        kept = {row.id: row for row in tx.find(BrokerCopy, Page(limit=STREAMS_MAX))}
        for topic, what in found.items():
            row = kept.pop(topic, BrokerCopy(topic, now_us, 0, now_us, what, gateway))
            confirmed_us = now_us if what == SAME else row.confirmed_us
            tx.put(replace(row, confirmed_us=confirmed_us, checked_us=now_us, found=what, gateway=gateway))
        for topic in kept:
            tx.delete(BrokerCopy, topic)


def sign_again(tx: Tx, topic: str) -> None:
    """Have a stream signed anew: a speaker that boots now would refuse what is stored."""
    stream = tx.get_locked(Stream, topic)
    if stream is not None:
        tx.put(replace(stream, orders=""))
        tx.save(Save(Carry.PUBLISH_STREAM, topic))


def health(read: Read) -> CopiesHealth:
    """What the rows say of the broker's copies."""
    now_us = read.now_us()
    rows = read.find(BrokerCopy, Page(limit=STREAMS_MAX))
    if not rows:
        return CopiesHealth(0, 0, "", 0, SAME, now_us)
    oldest = min(rows, key=lambda row: (row.held_us, row.id))
    unconfirmed = sum(1 for row in rows if row.found != SAME)
    return CopiesHealth(len(rows) - unconfirmed, unconfirmed, oldest.id, oldest.held_us, oldest.found, now_us)
