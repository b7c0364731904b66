"""Manifest streams: what is in force on each, checked against its releases again before every signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from devices.protocols import document_json, speaker_link
from devices.protocols.speaker_link import MANIFEST_BYTES_MAX, MANIFEST_ORDERS_MAX, Manifest, Order
from devices.protocols.topics import parse_manifest_topic

from ..domain.broadcasts import (
    TIMER_USELESS_US,
    Act,
    Broadcast,
    BroadcastState,
    Release,
    content_hash,
    wire_order,
)
from ..domain.effects import Carry, Record, Save, WakeAt
from ..domain.incidents import Incident
from ..domain.planning import City
from ..domain.refusals import NoKey, NotFound, OverCap
from .chain import chain_now
from .ports import CitySettings, Page, Signer, Stream, Tx

FRESH_US = 3_600_000_000
REFRESH_US = FRESH_US // 2
SIGNATURE_ROOM_BYTES = 600
KEPT_AFTER_EXPIRY_US = 60_000_000
SILENT_STATES = (BroadcastState.STOPPED, BroadcastState.WITHDRAWN)
ON_AIR_STATES = (BroadcastState.ON_AIR, *SILENT_STATES)


@dataclass(frozen=True, slots=True)
class Signed:
    """What goes to the broker for one stream; `fresh` is False when the stored bytes still say everything."""

    topic: str
    version: int
    raw: bytes
    fresh: bool


def check_caps(tx: Tx, joining: Broadcast) -> None:
    """Raise OverCap when the stream's manifest would no longer fit the link with this order in it."""
    orders = [wire_order(b) for b in _on_stream(tx, joining.stream) if b.id != joining.id] + [wire_order(joining)]
    if len(orders) > MANIFEST_ORDERS_MAX:
        raise OverCap(f"{len(orders)} orders on one stream")
    size = len(document_json.encode(_manifest(joining.stream, 2**53, 0, "0" * 64, orders))) * 4 // 3
    if size + SIGNATURE_ROOM_BYTES > MANIFEST_BYTES_MAX:
        raise OverCap(f"a manifest of about {size} bytes")


def sign_stream(tx: Tx, topic: str, signer: Signer, city: City) -> Signed:
    """The newest signed manifest of a stream: signed anew when its orders changed or its freshness runs out."""
    now_us = tx.now_us()
    stream = tx.get_locked(Stream, topic) or _new_stream(topic)
    # Silence needs no release: what was stopped or withdrawn is said even where the release row is lost.
    shown = [b for b in _on_stream(tx, topic) if b.state in SILENT_STATES or _release_shown(tx, b)]
    orders = merged([wire_order(b) for b in shown], stream, now_us)
    said = _digest(orders)
    if stream.signed and stream.orders == said and now_us < stream.refresh_us:
        return Signed(topic, stream.manifest_version, stream.signed, fresh=False)
    chain = city.tree.chain(stream.area).all
    if not signer.signs(stream.use, chain):
        raise NoKey(f"{stream.use} for {stream.area}")
    version = speaker_link.next_version(max(stream.manifest_version, _foreign_version(stream)), now_us)
    _, head = chain_now(tx)
    raw = signer.sign_manifest(_manifest(topic, version, now_us, head, orders), chain)
    refresh_us = now_us + REFRESH_US
    tx.put(replace(stream, manifest_version=version, orders=said, signed=raw, refresh_us=refresh_us))
    tx.wake_at(WakeAt("stream", topic, "refresh", refresh_us, refresh_us + 365 * 86_400_000_000))
    facts: dict[str, object] = {"version": version, "orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders]}
    tx.record(Record("stream.signed", topic, "what is in force changed or its freshness ran out", facts=facts))
    return Signed(topic, version, raw, fresh=True)


def merged(known: list[Order], stream: Stream, now_us: int) -> list[Order]:
    """The known orders and those only a newer manifest on the broker knows, each at its highest revision."""
    best = {order.id: order for order in known}
    if stream.foreign:
        for order in document_json.decode_manifest(stream.foreign).orders:
            mine = best.get(order.id)
            if order.expires + KEPT_AFTER_EXPIRY_US > now_us and (mine is None or order.rev > mine.rev):
                best[order.id] = order
    return [best[order_id] for order_id in sorted(best)]


def found_on_broker(tx: Tx, topic: str, raw: bytes, manifest: Manifest) -> str:
    """Compare the broker's verified copy with the row: "same", "republish" (ours is newer), "unknown here", or
    "another issuer's", which is no business of ours."""
    city = tx.get(CitySettings, "city")
    if city is not None and parse_manifest_topic(topic).issuer != city.issuer:
        # Another dispatcher's stream, whatever its keys say: adopting it would put our signature under its orders.
        return "another issuer's"
    stream = tx.get_locked(Stream, topic)
    if stream is not None and stream.signed == raw:
        return "same"
    if stream is not None and stream.manifest_version >= manifest.version:
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        return "republish"
    row = stream or _new_stream(topic)
    if row.foreign and _foreign_version(row) >= manifest.version:
        return "unknown here"
    tx.put(replace(row, foreign=document_json.encode(manifest)))
    orders = [f"{o.id}@{o.rev}:{o.state}" for o in manifest.orders]
    why = f"version {manifest.version} is on air but unknown here: adopt or withdraw"
    tx.record(Record("stream.unknown_on_air", topic, why, facts={"orders": orders}))
    return "unknown here"


def adopt(tx: Tx, topic: str, person: str) -> None:
    """A person takes over what the broker holds: known broadcasts get its state, unknown orders run out."""
    stream = tx.get_locked(Stream, topic)
    if stream is None or not stream.foreign:
        raise NotFound(f"nothing unknown on {topic}")
    for order in document_json.decode_manifest(stream.foreign).orders:
        mine = tx.get_locked(Broadcast, order.id)
        if mine is None or mine.rev >= order.rev:
            continue
        withdrawn = order.state is speaker_link.OrderState.WITHDRAWN
        state = BroadcastState.WITHDRAWN if withdrawn else BroadcastState.ON_AIR
        tx.put(replace(mine, rev=order.rev, state=state, start_at_us=order.start_at, expires_us=order.expires))
        tx.wake_at(WakeAt("broadcast", mine.id, "expires", order.expires, order.expires + TIMER_USELESS_US))
        incident = tx.get_locked(Incident, mine.incident)
        if incident is not None and mine.phase is speaker_link.Phase.ALERT:
            # Its alert is out: a standing order must not release another.
            tx.put(replace(incident, alert=mine.id, alert_released=True))
    tx.record(Record("stream.adopted", topic, "what the broker holds is taken over", person))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))


def _on_stream(tx: Tx, topic: str) -> list[Broadcast]:
    """Orders that ever went on air and have not expired, withdrawn ones included."""
    rows = tx.find(Broadcast, Page(limit=200, order="id"), stream=topic, state=ON_AIR_STATES)
    return [b for b in rows if b.on_manifest and b.expires_us + KEPT_AFTER_EXPIRY_US > tx.now_us()]


def _release_shown(tx: Tx, b: Broadcast) -> bool:
    """Law 1, once more at the last door: release rows for exactly this content, by enough different people."""
    acts = [r for r in tx.find(Release, broadcast=b.id) if r.content == b.content]
    people = {r.person for r in acts if r.act is Act.RELEASE and r.person}
    standing = any(r.act is Act.STANDING and r.rule == b.rule and b.rule for r in acts)
    if b.content == content_hash(b) and (standing or len(people) >= b.people_needed):
        return True
    tx.record(Record("stream.release_not_shown", b.id, "no valid release for this content: it is not signed"))
    return False


def _manifest(topic: str, version: int, now_us: int, head: str, orders: list[Order]) -> Manifest:
    return Manifest(topic, version, now_us, now_us + FRESH_US, head, tuple(orders))


def _digest(orders: list[Order]) -> str:
    return hashlib.sha256(document_json.encode(_manifest("", 0, 0, "", orders))).hexdigest()


def _new_stream(topic: str) -> Stream:
    where = parse_manifest_topic(topic)
    return Stream(id=topic, area=where.name, use=where.use, issuer=where.issuer)


def _foreign_version(stream: Stream) -> int:
    return document_json.decode_manifest(stream.foreign).version if stream.foreign else 0
