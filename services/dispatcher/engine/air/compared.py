"""The broker's copy of a stream is compared with ours, and a person decides about what is unknown here."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from devices.protocols import document_json
from devices.protocols.documents import VERSION_AHEAD_MS_MAX
from devices.protocols.speaker_link import Manifest, Order, OrderState, Phase, stub
from devices.protocols.topics import parse_manifest_topic

from ...domain.broadcasts import (
    TIMER_USELESS_US,
    Act,
    Broadcast,
    BroadcastState,
    Release,
    prepared_again,
    silenced_at,
    wire_order,
)
from ...domain.effects import Carry, Record, Save, Timer, WakeAt
from ...domain.incidents import Air, Incident
from ...domain.refusals import ChangedOnAir, NotFound, OlderKeyDocument
from ..ports import Tx
from ..rows import CitySettings, Stream
from .foreign import foreign_orders, foreign_version, jumps, manifest_found, merged, swept_orders, unknown_on_air
from .listed_keys import ListedKeys
from .listing import SILENT_STATES, new_stream, on_stream

AHEAD = "ahead of the time"


def found_on_broker(tx: Tx, topic: str, raw: bytes, manifest: Manifest, kid: str, document: int) -> str:
    """Compare the broker's copy with the row. It was signed by the key `kid`, and verified with this version of the key
    document. "same"; "republish" (ours is newer, or a person has decided about it, or a newer document takes the copy
    from its key); "not ours" (our version with other bytes); "ahead of the time" (no speaker takes it); "unknown here";
    "newer number" (it has nothing else that we don't); or "another issuer's", which is no business of ours.

    Raises OlderKeyDocument where a gateway that runs has a newer document: that one compares."""
    city = tx.get(CitySettings, "city")
    if city is not None and parse_manifest_topic(topic).issuer != city.issuer:
        # Another dispatcher's stream, whatever its keys say: adopting it would put our signature under its orders.
        return "another issuer's"
    stream = tx.get_locked(Stream, topic)
    keys = ListedKeys(tx)
    if keys.newer_runs(document):
        raise OlderKeyDocument(f"version {document}")
    if stream is not None and stream.signed == raw:
        return "same"
    row = stream or new_stream(topic)
    if keys.disowns(kid, manifest, document):
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        return "republish"
    if manifest.version > max(row.manifest_version, tx.now_us() // 1_000 + VERSION_AHEAD_MS_MAX):
        # Nothing of it is on air, and whoever signed above it would be refused by every speaker as well.
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        return AHEAD
    if unknown_on_air(row) and foreign_version(row) == manifest.version:
        return "unknown here"
    if row.manifest_version >= manifest.version:
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        # Where `orders` is empty, what was signed last is no longer what the version says.
        return "not ours" if row.orders and row.manifest_version == manifest.version else "republish"
    known = [wire_order(b) for b in on_stream(tx, topic)]
    found = replace(row, foreign=document_json.encode(manifest), foreign_kid=kid, carried=False)
    revisions = {order.id: order.rev for order in known}
    made_up = any(jumps(order, revisions.get(order.id, 0)) for order in manifest.orders)
    if row.signed and not made_up and merged(known, found, tx.now_us()) == merged(known, row, tx.now_us()):
        # Only its number is news, as after an older backup: what is signed next goes above it.
        tx.put(_above(tx, row, manifest))
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        return "newer number"
    tx.put(found)
    orders = [f"{o.id}@{o.rev}:{o.state}" for o in manifest.orders]
    why = f"version {manifest.version} is on air but unknown here: adopt or withdraw"
    tx.record(Record("stream.unknown_on_air", topic, why, facts={"orders": orders}))
    return "unknown here"


def check_unknown(tx: Tx, topic: str, version: int | None) -> None:
    """Raise ChangedOnAir when what is unknown on a stream is no longer what a person has read, NotFound when nothing
    is."""
    if version is not None and _unknown(tx, topic).version != version:
        raise ChangedOnAir(topic)


def adopt(tx: Tx, topic: str, person: str) -> None:
    """A person takes over what the broker holds: known broadcasts get its state, unknown orders run out.

    Raises NotFound when nothing unknown is there.
    """
    manifest = _unknown(tx, topic)
    for order in (*manifest.orders, *swept_orders(manifest, [wire_order(b) for b in on_stream(tx, topic)])):
        mine = tx.get_locked(Broadcast, order.id)
        if mine is not None and mine.rev < order.rev and not jumps(order, mine.rev) and _same_words(mine, order):
            _take_over(tx, mine, order, person)
    stream = tx.get_locked(Stream, topic)
    assert stream is not None
    tx.put(_above(tx, stream, _unknown(tx, topic)))
    tx.record(Record("stream.adopted", topic, "what the broker holds is taken over", person))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))


def withdraw_unknown(tx: Tx, topic: str, person: str) -> None:
    """A person takes off the air what the broker holds and this database does not know. What speakers have been told is
    over is over here as well; what else is known stays as it is here. Raises NotFound when nothing unknown is there."""
    manifest, now_us = _unknown(tx, topic), tx.now_us()
    withdrawn = []
    for order in (*manifest.orders, *swept_orders(manifest, [wire_order(b) for b in on_stream(tx, topic)])):
        mine = tx.get_locked(Broadcast, order.id)
        if order.expires <= now_us or (mine is not None and mine.rev >= order.rev):
            continue
        if jumps(order, mine.rev if mine is not None else 0):
            # No revision of ours goes above it; it ends when the key that signed it is removed.
            continue
        if order.state is OrderState.IN_FORCE:
            order = stub(replace(order, rev=order.rev + 1))
            withdrawn.append(order)
        if mine is not None:
            _take_over(tx, mine, order, person)
            if mine.original:
                # It may have to be given again, in this time.
                again = hashlib.sha256(f"{mine.id} {order.rev} again".encode()).hexdigest()[:32]
                tx.put(prepared_again(mine, again))
    changed = {order.id: order for order in withdrawn}
    stream = tx.get_locked(Stream, topic)
    assert stream is not None
    orders = tuple(changed.get(order.id, order) for order in manifest.orders)
    tx.put(_above(tx, replace(stream, foreign=document_json.encode(replace(manifest, orders=orders))), manifest))
    facts: dict[str, object] = {"orders": sorted(changed)}
    tx.record(Record("stream.unknown_withdrawn", topic, "what was unknown here is taken off the air", person, facts))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))


def _unknown(tx: Tx, topic: str) -> Manifest:
    stream = tx.get_locked(Stream, topic)
    if stream is None or not stream.foreign:
        raise NotFound(f"nothing unknown on {topic}")
    return document_json.decode_manifest(stream.foreign)


def _above(tx: Tx, stream: Stream, manifest: Manifest) -> Stream:
    """The stream so that it is signed anew, above the version of this manifest. From then on nothing unknown
    waits on it for a person."""
    version = max(stream.manifest_version, manifest.version)
    swept_us = max(stream.swept_us, min(manifest.swept, tx.now_us()))
    return replace(stream, manifest_version=version, orders="", foreign_kid="", swept_us=swept_us, carried=False)


def without_foreign(tx: Tx, stream: Stream) -> tuple[Stream, tuple[Order, ...]]:
    """The stream, locked, without what only the broker knew of it, and that. What our own signature has said of it
    meanwhile is outdone: of our orders by a higher revision, of the others by the sweep. No sweep reaches what has not
    begun: that stays, withdrawn, as after a person's decision."""
    manifest, now_us = manifest_found(stream), tx.now_us()
    known = {b.id: b for b in on_stream(tx, stream.id)}
    there = foreign_orders(stream, [wire_order(b) for b in known.values()], now_us)
    swept_us, to_come = stream.swept_us, list[Order]()
    for order in there:
        b = known.get(order.id)
        if b is None and order.start_at >= now_us:
            to_come.append(stub(replace(order, rev=order.rev + 1)) if order.state is OrderState.IN_FORCE else order)
        elif b is None:
            swept_us = max(swept_us, order.start_at + 1)
        elif b.rev < order.rev:
            locked = tx.get_locked(Broadcast, b.id)
            assert locked is not None
            rev = order.rev + 1
            tx.put(silenced_at(locked, rev, now_us) if locked.state in SILENT_STATES else replace(locked, rev=rev))
    if manifest.version > stream.manifest_version:
        swept_us, to_come = stream.swept_us, []
    left = document_json.encode(replace(manifest, orders=tuple(to_come), swept=0)) if to_come else b""
    return replace(stream, foreign=left, foreign_kid="", carried=False, swept_us=swept_us), manifest.orders


def _same_words(mine: Broadcast, order: Order) -> bool:
    """Whether the broadcast of this id is what the order says; a draft may have been written anew since."""
    ours = wire_order(mine)
    if order.state is OrderState.WITHDRAWN:
        ours = stub(ours)
    return (ours.texts, ours.selector, ours.level, ours.phase, ours.event_code) == (
        order.texts, order.selector, order.level, order.phase, order.event_code,
    )  # fmt: skip


def _take_over(tx: Tx, mine: Broadcast, order: Order, person: str) -> None:
    """Give a known broadcast the state that the broker holds. The person answers for it, as the log then shows."""
    silent = order.state is OrderState.WITHDRAWN
    state = BroadcastState.WITHDRAWN if silent else BroadcastState.ON_AIR
    there = silenced_at(mine, order.rev, tx.now_us()) if silent else replace(mine, rev=order.rev, silent_us=0)
    tx.put(replace(there, state=state, start_at_us=order.start_at, expires_us=order.expires))
    # What speakers have said of it since counts.
    if mine.original and not mine.on_manifest:
        tx.copy_expected(mine.original, mine.id)
    else:
        tx.plan_expected(mine.id, [row.speaker for row in tx.expected(mine.id)])
    tx.wake_at(WakeAt(Timer.EXPIRES, mine.id, order.expires, order.expires + TIMER_USELESS_US))
    if not silent:
        name = hashlib.sha256(f"{mine.id} {order.rev} {person}".encode()).hexdigest()[:32]
        why = "found on air and taken over"
        tx.put(Release(name, mine.id, Act.ADOPT, person, mine.content, "", why, tx.now_us()))
    incident = tx.get_locked(Incident, mine.incident)
    if incident is not None and mine.phase is Phase.ALERT:
        # Its alert is out: a standing order must not release another.
        tx.put(replace(incident, alert=mine.id, air=Air.OVER if silent else Air.ON_AIR, alerted=True))
