"""What only the broker knew of a stream: orders and revisions that this database has lost, or somebody else signed."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols import document_json
from devices.protocols.speaker_link import Manifest, Order, OrderState, stub
from devices.protocols.topics import StreamKind, parse_manifest_topic

from ...domain.broadcasts import Broadcast, wire_order
from ...domain.places import Area, Speaker
from ..ports import Page, Read, Tx
from ..rows import Stream

STREAMS_MAX = 10_000
REV_AHEAD_MAX = 1_000
"""How far a revision that only the broker knows may lie above ours. A revision is one act of people or of a timer: what
jumps further is made up, and our signature under it could never be outdone."""


def revision_on_broker(tx: Tx, b: Broadcast) -> int:
    """The revision at which only the broker knew this order, 0 when it did not: a person has not decided on it yet."""
    stream = tx.get(Stream, b.stream)
    found = [] if stream is None else foreign_orders(stream, [wire_order(b)], tx.now_us())
    return max((order.rev for order in found if order.id == b.id), default=0)


def merged(known: list[Order], stream: Stream, now_us: int) -> list[Order]:
    """The known orders and those only a newer manifest on the broker knows, each at its highest revision."""
    best = {order.id: order for order in known}
    for order in foreign_orders(stream, known, now_us):
        mine = best.get(order.id)
        if mine is None or order.rev > mine.rev:
            best[order.id] = order
    return [best[order_id] for order_id in sorted(best)]


def undecided(read: Read, topic: str) -> bool:
    """Whether people have still to decide about what the broker holds of a stream."""
    stream = read.get(Stream, topic)
    return stream is not None and unknown_on_air(stream)


def to_be_signed_anew(read: Read, topic: str) -> bool:
    """Whether a stream has not been signed since a key was removed that could sign it, and there is somebody that it is
    for."""
    stream = read.get(Stream, topic)
    if stream is None or not stream.anew or unknown_on_air(stream):
        return False
    where = parse_manifest_topic(topic)
    return read.get(Area if where.kind is StreamKind.AREA else Speaker, where.name) is not None


def unknown_on_air(stream: Stream) -> bool:
    """Whether the broker holds a newer manifest that waits for a person to adopt or withdraw it."""
    return foreign_version(stream) > stream.manifest_version


def unknown_orders(read: Read, topic: str) -> list[Order]:
    """The orders on a stream that only the broker knew and whose time is not over, as a person decided about them."""
    stream = read.get(Stream, topic)
    return [] if stream is None else foreign_orders(stream, [], read.now_us())


def unknown_topics(read: Read) -> tuple[str, ...]:
    """The streams on which something unknown waits for a person."""
    return tuple(row.id for row in read.find(Stream, Page(limit=STREAMS_MAX)) if waits(row))


def waits(stream: Stream) -> bool:
    """Whether something unknown on a stream waits for a person, also where our own signature carries it meanwhile."""
    return unknown_on_air(stream) or stream.carried


def keeps_foreign(stream: Stream, now_us: int) -> bool:
    """Whether the time of an order that only the broker knew is not over, adopted and withdrawn ones included."""
    return bool(foreign_orders(stream, [], now_us))


def foreign_orders(stream: Stream, known: list[Order], now_us: int) -> list[Order]:
    """The orders that only the broker knew and whose time is not over, by id; and of the known ones those that the
    broker's manifest has swept, as withdrawn. None whose revision jumps."""
    if not stream.foreign:
        return []
    manifest = document_json.decode_manifest(stream.foreign)
    revisions = {order.id: order.rev for order in known}
    found = [o for o in manifest.orders if o.expires > now_us and not jumps(o, revisions.get(o.id, 0))]
    return sorted([*found, *swept_orders(manifest, known)], key=lambda order: order.id)


def swept_orders(manifest: Manifest, known: list[Order]) -> list[Order]:
    """The stubs of the known orders in force that a manifest no longer lists and says are over."""
    names = {order.id for order in manifest.orders}
    # A manifest speaks of its own past alone.
    until_us = min(manifest.swept, manifest.issued)
    over = [o for o in known if o.id not in names and o.start_at < until_us and o.state is OrderState.IN_FORCE]
    return [stub(replace(order, rev=order.rev + 1)) for order in over]


def jumps(order: Order, ours: int) -> bool:
    """Whether a revision lies too far above ours, 0 for an order that is not ours, to be one of ours."""
    return order.rev > ours + REV_AHEAD_MAX


def foreign_version(stream: Stream) -> int:
    return manifest_found(stream).version if stream.foreign else 0


def manifest_found(stream: Stream) -> Manifest:
    return document_json.decode_manifest(stream.foreign)
