"""Manifest streams: what is in force on each, checked against its releases again before every signature."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from devices.protocols import document_json, speaker_link
from devices.protocols.documents import VERSION_AHEAD_MS_MAX
from devices.protocols.speaker_link import Manifest, Order, OrderState, Phase, stub
from devices.protocols.topics import parse_manifest_topic

from ...domain.broadcasts import (
    TIMER_USELESS_US,
    Act,
    Broadcast,
    BroadcastState,
    Release,
    content_hash,
    people_needed,
    prepared_again,
    silenced_at,
    whole_order,
    wire_order,
)
from ...domain.effects import Carry, Record, Save, Timer, WakeAt
from ...domain.incidents import Air, Incident
from ...domain.planning import City
from ...domain.refusals import ChangedOnAir, NoKey, NotFound, UnknownOnAir
from ...domain.wordings import unfilled
from ..chain import chain_now
from ..ports import CitySettings, Page, Read, Signer, Stream, Tx
from . import room, sighted
from .room import Family, Taken

FRESH_US = 3_600_000_000
REFRESH_US = FRESH_US // 2
KEPT_AFTER_EXPIRY_US = 60_000_000
ROWS_MAX = 1_000
STREAMS_MAX = 10_000
AHEAD = "ahead of the time"
REV_AHEAD_MAX = 1_000
"""How far a revision that only the broker knows may lie above ours. A revision is one act of people or of a timer: what
jumps further is made up, and our signature under it could never be outdone."""
LEVEL_WORDS = {1: "red", 2: "orange", 3: "yellow", 4: "blue"}
ALERT_MAY_SOUND = (BroadcastState.DRAFT, BroadcastState.HELD)
FOLLOWER_STATES = (BroadcastState.ON_AIR, BroadcastState.STOPPED)
SILENT_STATES = (BroadcastState.STOPPED, BroadcastState.WITHDRAWN)
ON_AIR_STATES = (BroadcastState.ON_AIR, *SILENT_STATES)


@dataclass(frozen=True, slots=True)
class Signed:
    """What goes to the broker for one stream; `fresh` is False when the stored bytes still say everything.

    `refused` names the orders that stand in the database as on air and were not signed, because no release shows.
    """

    topic: str
    version: int
    raw: bytes
    fresh: bool
    refused: tuple[str, ...] = ()


def taken(read: Read, topic: str, without: str = "") -> Taken:
    """What the room of a stream is kept for, but for the family of one alert."""
    rows = _on_stream(read, topic)
    roots = tuple(dict.fromkeys(b.original or b.id for b in rows if (b.original or b.id) != without))
    alerts = _by_id(read, roots)
    followers: dict[str, list[Broadcast]] = {alert: [] for alert in alerts}
    for follower in read.find(Broadcast, Page(limit=ROWS_MAX), original=roots) if roots else []:
        followers[follower.original].append(follower)
    live = {b.original or b.id for b in rows if b.state is not BroadcastState.WITHDRAWN}
    found = [_family(alerts[id], followers[id]) for id in alerts if id in live]
    ended = [
        room.size_at_most(whole_order(follower))
        for id in alerts
        if id not in live
        for follower in followers[id]
        if follower.state is BroadcastState.DRAFT
    ]
    stream = read.get(Stream, topic)
    known = {b.id for b in rows}
    strange = [] if stream is None else [o for o in _foreign(stream, [], read.now_us()) if o.id not in known]
    in_force = [order for order in strange if order.state is OrderState.IN_FORCE]
    found += [Family(o.id, f"unknown here: {o.id}", o.level, room.reserved(o, ()), ours=False) for o in in_force]
    return Taken(tuple(found), max(ended, default=0))


def family_of(read: Read, alert: Broadcast) -> Family:
    """An alert with its followers, drafts included."""
    return _family(alert, read.find(Broadcast, original=alert.id))


def _by_id(read: Read, ids: tuple[str, ...]) -> dict[str, Broadcast]:
    return {b.id: b for b in read.find(Broadcast, Page(limit=ROWS_MAX, order="id"), id=ids)} if ids else {}


def _family(b: Broadcast, followers: list[Broadcast]) -> Family:
    over = b.state not in (*ALERT_MAY_SOUND, BroadcastState.ON_AIR, BroadcastState.STOPPED)
    proved_us = [f.start_at_us + f.prove_within_s * 1_000_000 for f in followers if f.state in FOLLOWER_STATES]
    title = f"{b.hazard} {LEVEL_WORDS[b.level]} {b.place_names.get('en') or b.place_names.get('zh', '')} ({b.id})"
    kept = room.reserved(whole_order(b), map(whole_order, followers), over=over)
    return Family(b.id, title, b.level, kept, over, max(proved_us, default=0))


def revision_on_broker(tx: Tx, b: Broadcast) -> int:
    """The revision at which only the broker knew this order, 0 when it did not: a person has not decided on it yet."""
    stream = tx.get(Stream, b.stream)
    found = [] if stream is None else _foreign(stream, [wire_order(b)], tx.now_us())
    return max((order.rev for order in found if order.id == b.id), default=0)


def sign_stream(tx: Tx, topic: str, signer: Signer, city: City, audio_base: str = "") -> Signed:
    """The newest signed manifest of a stream: signed anew when its orders changed or its freshness runs out.

    Raises NoKey, and UnknownOnAir while the broker holds a newer one to which this database has nothing to add.
    """
    now_us = tx.now_us()
    stream = tx.get_locked(Stream, topic) or _new_stream(topic)
    # Silence needs no release: what was stopped or withdrawn is said even where the release row is lost.
    rows = _on_stream(tx, topic)
    shown = [b for b in rows if b.state in SILENT_STATES or _release_shown(tx, b)]
    refused = tuple(b.id for b in rows if b not in shown)
    known = [wire_order(b) for b in shown]
    all_orders = merged(known, stream, now_us)
    if unknown_on_air(stream) and _adds_nothing(shown, _foreign(stream, known, now_us)):
        raise UnknownOnAir(topic)
    may_resume = frozenset(b.id for b in rows if b.state is BroadcastState.STOPPED)
    orders, swept_us = room.listed(all_orders, {b.id for b in shown}, may_resume, stream.swept_us)
    said = _digest(orders, swept_us, audio_base)
    if stream.signed and stream.orders == said and now_us < stream.refresh_us:
        return Signed(topic, stream.manifest_version, stream.signed, False, refused)
    chain = city.tree.chain(stream.area).all
    if not signer.signs(stream.use, chain):
        raise NoKey(f"{stream.use} for {stream.area}")
    carried = _carried(tx, stream, known) if unknown_on_air(stream) else ()
    if carried:
        why = "a person has neither adopted nor withdrawn them"
        tx.record(Record("stream.carries_unknown", topic, why, facts={"orders": list(carried)}))
    version = speaker_link.next_version(max(stream.manifest_version, _foreign_version(stream)), now_us)
    _, head = chain_now(tx)
    manifest = Manifest(
        topic,
        version,
        now_us,
        now_us + FRESH_US,
        head,
        tuple(orders),
        swept=min(swept_us, now_us),
        audio_base=audio_base,
    )
    raw = signer.sign_manifest(manifest, chain)
    refresh_us = now_us + REFRESH_US
    # What was found on the broker is kept until every order of it is known here or over.
    foreign = stream.foreign if len(all_orders) > len(shown) or _outdone(shown, all_orders) else b""
    signed = replace(
        stream, manifest_version=version, orders=said, signed=raw, refresh_us=refresh_us, foreign=foreign,
        swept_us=swept_us, carried=bool(foreign and (carried or stream.carried)),
    )  # fmt: skip
    tx.put(signed)
    tx.wake_at(WakeAt(Timer.REFRESH, topic, refresh_us, refresh_us + 365 * 86_400_000_000))
    facts: dict[str, object] = {"version": version, "orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders]}
    tx.record(Record("stream.signed", topic, "what is in force changed or its freshness ran out", facts=facts))
    return Signed(topic, version, raw, True, refused)


def _carried(tx: Tx, stream: Stream, known: list[Order]) -> tuple[str, ...]:
    """The orders in force of a manifest on the broker that our own signature is about to carry on."""
    orders = tuple(_foreign(stream, known, tx.now_us()))
    return sighted.carried(tx, replace(_manifest_found(stream), orders=orders))


def _adds_nothing(shown: list[Broadcast], foreign: list[Order]) -> bool:
    """Whether the broker has all that this database has to say."""
    there = {order.id: order.rev for order in foreign}
    return all(there.get(b.id, 0) >= b.rev for b in shown)


def _outdone(shown: list[Broadcast], orders: list[Order]) -> bool:
    """Whether one of our orders goes out at a revision that only the broker knew."""
    revisions = {b.id: b.rev for b in shown}
    return any(revisions.get(order.id) != order.rev for order in orders)


def merged(known: list[Order], stream: Stream, now_us: int) -> list[Order]:
    """The known orders and those only a newer manifest on the broker knows, each at its highest revision."""
    best = {order.id: order for order in known}
    for order in _foreign(stream, known, now_us):
        mine = best.get(order.id)
        if mine is None or order.rev > mine.rev:
            best[order.id] = order
    return [best[order_id] for order_id in sorted(best)]


def undecided(read: Read, topic: str) -> bool:
    """Whether people have still to decide about what the broker holds of a stream."""
    stream = read.get(Stream, topic)
    return stream is not None and unknown_on_air(stream)


def unknown_on_air(stream: Stream) -> bool:
    """Whether the broker holds a newer manifest that waits for a person to adopt or withdraw it."""
    return _foreign_version(stream) > stream.manifest_version


def unknown_orders(read: Read, topic: str) -> list[Order]:
    """The orders on a stream that only the broker knew and whose time is not over, as a person decided about them."""
    stream = read.get(Stream, topic)
    return [] if stream is None else _foreign(stream, [], read.now_us())


def unknown_topics(read: Read) -> tuple[str, ...]:
    """The streams on which something unknown waits for a person."""
    return tuple(row.id for row in read.find(Stream, Page(limit=STREAMS_MAX)) if waits(row))


def waits(stream: Stream) -> bool:
    """Whether something unknown on a stream waits for a person, also where our own signature carries it meanwhile."""
    return unknown_on_air(stream) or stream.carried


def keeps_foreign(stream: Stream, now_us: int) -> bool:
    """Whether the time of an order that only the broker knew is not over, adopted and withdrawn ones included."""
    return bool(_foreign(stream, [], now_us))


def _foreign(stream: Stream, known: list[Order], now_us: int) -> list[Order]:
    """The orders that only the broker knew and whose time is not over, by id; and of the known ones those that the
    broker's manifest has swept, as withdrawn. None whose revision jumps."""
    if not stream.foreign:
        return []
    manifest = document_json.decode_manifest(stream.foreign)
    revisions = {order.id: order.rev for order in known}
    found = [o for o in manifest.orders if o.expires > now_us and not _jumps(o, revisions.get(o.id, 0))]
    return sorted([*found, *_swept(manifest, known)], key=lambda order: order.id)


def _swept(manifest: Manifest, known: list[Order]) -> list[Order]:
    """The stubs of the known orders in force that a manifest no longer lists and says are over."""
    names = {order.id for order in manifest.orders}
    # A manifest speaks of its own past alone.
    until_us = min(manifest.swept, manifest.issued)
    over = [o for o in known if o.id not in names and o.start_at < until_us and o.state is OrderState.IN_FORCE]
    return [stub(replace(order, rev=order.rev + 1)) for order in over]


def _jumps(order: Order, ours: int) -> bool:
    """Whether a revision lies too far above ours, 0 for an order that is not ours, to be one of ours."""
    return order.rev > ours + REV_AHEAD_MAX


def found_on_broker(tx: Tx, topic: str, raw: bytes, manifest: Manifest, kid: str = "") -> str:
    """Compare the broker's verified copy, signed by the key `kid`, with the row: "same"; "republish" (ours is newer, or
    a person has decided about it); "not ours" (our version with other bytes); "ahead of the time" (no speaker takes
    it); "unknown here"; "newer number" (it has nothing else that we don't); or "another issuer's", which is no business
    of ours."""
    city = tx.get(CitySettings, "city")
    if city is not None and parse_manifest_topic(topic).issuer != city.issuer:
        # Another dispatcher's stream, whatever its keys say: adopting it would put our signature under its orders.
        return "another issuer's"
    stream = tx.get_locked(Stream, topic)
    if stream is not None and stream.signed == raw:
        return "same"
    row = stream or _new_stream(topic)
    if manifest.version > max(row.manifest_version, tx.now_us() // 1_000 + VERSION_AHEAD_MS_MAX):
        # Nothing of it is on air, and whoever signed above it would be refused by every speaker as well.
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        return AHEAD
    if unknown_on_air(row) and _foreign_version(row) == manifest.version:
        return "unknown here"
    if row.manifest_version >= manifest.version:
        tx.save(Save(Carry.PUBLISH_STREAM, topic))
        # Where `orders` is empty, what was signed last is no longer what the version says.
        return "not ours" if row.orders and row.manifest_version == manifest.version else "republish"
    known = [wire_order(b) for b in _on_stream(tx, topic)]
    found = replace(row, foreign=document_json.encode(manifest), foreign_kid=kid, carried=False)
    revisions = {order.id: order.rev for order in known}
    made_up = any(_jumps(order, revisions.get(order.id, 0)) for order in manifest.orders)
    if row.signed and not made_up and merged(known, found, tx.now_us()) == merged(known, row, tx.now_us()):
        # Only its number is news, as after an older backup: what is signed next goes above it.
        tx.put(_above(row, manifest))
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
    for order in (*manifest.orders, *_swept(manifest, [wire_order(b) for b in _on_stream(tx, topic)])):
        mine = tx.get_locked(Broadcast, order.id)
        if mine is not None and mine.rev < order.rev and not _jumps(order, mine.rev) and _same_words(mine, order):
            _take_over(tx, mine, order, person)
    stream = tx.get_locked(Stream, topic)
    assert stream is not None
    tx.put(_above(stream, _unknown(tx, topic)))
    tx.record(Record("stream.adopted", topic, "what the broker holds is taken over", person))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))


def withdraw_unknown(tx: Tx, topic: str, person: str) -> None:
    """A person takes off the air what the broker holds and this database does not know. What speakers have been told is
    over is over here as well; what else is known stays as it is here. Raises NotFound when nothing unknown is there."""
    manifest, now_us = _unknown(tx, topic), tx.now_us()
    withdrawn = []
    for order in (*manifest.orders, *_swept(manifest, [wire_order(b) for b in _on_stream(tx, topic)])):
        mine = tx.get_locked(Broadcast, order.id)
        if order.expires <= now_us or (mine is not None and mine.rev >= order.rev):
            continue
        if _jumps(order, mine.rev if mine is not None else 0):
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
    tx.put(_above(replace(stream, foreign=document_json.encode(replace(manifest, orders=orders))), manifest))
    facts: dict[str, object] = {"orders": sorted(changed)}
    tx.record(Record("stream.unknown_withdrawn", topic, "what was unknown here is taken off the air", person, facts))
    tx.save(Save(Carry.PUBLISH_STREAM, topic))


def _unknown(tx: Tx, topic: str) -> Manifest:
    stream = tx.get_locked(Stream, topic)
    if stream is None or not stream.foreign:
        raise NotFound(f"nothing unknown on {topic}")
    return document_json.decode_manifest(stream.foreign)


def _above(stream: Stream, manifest: Manifest) -> Stream:
    """The stream so that it is signed anew, above the version of this manifest. From then on nothing unknown
    waits on it for a person."""
    version, swept_us = max(stream.manifest_version, manifest.version), max(stream.swept_us, manifest.swept)
    return replace(stream, manifest_version=version, orders="", foreign_kid="", swept_us=swept_us, carried=False)


def without_foreign(tx: Tx, stream: Stream) -> tuple[Stream, tuple[Order, ...]]:
    """The stream, locked, without what only the broker knew of it, and that. What our own signature has said of it
    meanwhile is outdone: of our orders by a higher revision, of the others by the sweep."""
    manifest = _manifest_found(stream)
    known = {b.id: b for b in _on_stream(tx, stream.id)}
    there = _foreign(stream, [wire_order(b) for b in known.values()], tx.now_us())
    swept_us = stream.swept_us
    for order in there:
        b = known.get(order.id)
        if b is None:
            swept_us = max(swept_us, order.start_at + 1)
        elif b.rev < order.rev:
            locked = tx.get_locked(Broadcast, b.id)
            assert locked is not None
            rev = order.rev + 1
            tx.put(silenced_at(locked, rev, tx.now_us()) if locked.state in SILENT_STATES else replace(locked, rev=rev))
    if manifest.version > stream.manifest_version:
        swept_us = stream.swept_us
    return replace(stream, foreign=b"", foreign_kid="", carried=False, swept_us=swept_us), manifest.orders


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


def _on_stream(read: Read, topic: str) -> list[Broadcast]:
    """Orders that ever went on air and have not expired, withdrawn ones included."""
    rows = read.find(Broadcast, Page(limit=ROWS_MAX, order="-id"), stream=topic, state=ON_AIR_STATES)
    return [b for b in rows if b.on_manifest and b.expires_us + KEPT_AFTER_EXPIRY_US > read.now_us()]


def _release_shown(tx: Tx, b: Broadcast) -> bool:
    """Law 1, once more at the last door: release rows for exactly this content, by enough different people. The row's
    own word on how many are enough, and on its times, does not count. Words that hold a placeholder were never read by
    anybody as they would sound."""
    acts = [r for r in tx.find(Release, broadcast=b.id) if r.content == b.content]
    people = {r.person for r in acts if r.act is Act.RELEASE and r.person}
    standing = any(r.act is Act.STANDING and r.rule == b.rule and b.rule for r in acts)
    adopted = any(r.act is Act.ADOPT and r.person for r in acts)
    lasts = b.expires_us - b.start_at_us == b.valid_s * 1_000_000
    enough = standing or adopted or len(people) >= people_needed(b.level, b.phase)
    if b.content == content_hash(b) and lasts and enough and not any(map(unfilled, b.texts.values())):
        return True
    tx.record(Record("stream.release_not_shown", b.id, "no valid release for this content: it is not signed"))
    return False


def _digest(orders: list[Order], swept_us: int, audio_base: str) -> str:
    said = Manifest("", 0, 0, 0, "", tuple(orders), swept=swept_us, audio_base=audio_base)
    return hashlib.sha256(document_json.encode(said)).hexdigest()


def _new_stream(topic: str) -> Stream:
    where = parse_manifest_topic(topic)
    return Stream(id=topic, area=where.name, use=where.use, issuer=where.issuer)


def _foreign_version(stream: Stream) -> int:
    return _manifest_found(stream).version if stream.foreign else 0


def _manifest_found(stream: Stream) -> Manifest:
    return document_json.decode_manifest(stream.foreign)
