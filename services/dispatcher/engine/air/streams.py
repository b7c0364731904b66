"""Manifest streams: what is in force on each, checked against its releases again before every signature."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from devices.protocols import document_json, jws, speaker_link
from devices.protocols.speaker_link import Manifest, Order, OrderState, StreamKind, parse_manifest_topic

from ...domain.broadcasts import (
    Act,
    Broadcast,
    BroadcastState,
    Release,
    content_hash,
    people_needed,
    whole_order,
    wire_order,
)
from ...domain.effects import Record, Timer, WakeAt
from ...domain.planning import City
from ...domain.refusals import NoKey, NotFound, OlderKeyDocument, UnknownOnAir
from ...domain.wordings import unfilled
from ..chain import chain_now
from ..ports import Page, Read, Signer, Tx
from ..rows import Stream
from . import room, sighted
from .foreign import foreign_orders, foreign_version, manifest_found, merged, unknown_on_air
from .listed_keys import ListedKeys
from .listing import ROWS_MAX, SILENT_STATES, new_stream, on_stream
from .room import Family, Taken

FRESH_US = 3_600_000_000
REFRESH_US = FRESH_US // 2
LEVEL_WORDS = {1: "red", 2: "orange", 3: "yellow", 4: "blue"}
ALERT_MAY_SOUND = (BroadcastState.DRAFT, BroadcastState.HELD)
FOLLOWER_STATES = (BroadcastState.ON_AIR, BroadcastState.STOPPED)


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
    streams = read.asked(Stream, Page(limit=1), id=topic)
    rows = on_stream(read, topic)
    roots = tuple(dict.fromkeys(b.original or b.id for b in rows if (b.original or b.id) != without))
    alerts = _by_id(read, roots)
    followers: dict[str, list[Broadcast]] = {alert: [] for alert in alerts}
    for follower in read.find(Broadcast, Page(limit=ROWS_MAX), original=roots) if roots else []:
        followers[follower.original].append(follower)
    live = {b.original or b.id for b in rows if b.state is not BroadcastState.WITHDRAWN}
    found = [_family(alerts[id], followers[id]) for id in alerts if id in live]
    ended = [_prepared(followers[id]) for id in alerts if id not in live]
    known = {b.id for b in rows}
    strange = [o for s in streams() for o in foreign_orders(s, [], read.now_us()) if o.id not in known]
    in_force = [order for order in strange if order.state is OrderState.IN_FORCE]
    found += [Family(o.id, f"unknown here: {o.id}", o.level, room.reserved(o, ()), ours=False) for o in in_force]
    return Taken(tuple(found), max(ended, default=0))


def family_of(read: Read, alert: Broadcast) -> Callable[[], Family]:
    """An alert with its followers, drafts included; asked now, read when it is called."""
    followers = read.asked(Broadcast, original=alert.id)
    return lambda: _family(alert, followers())


def _by_id(read: Read, ids: tuple[str, ...]) -> dict[str, Broadcast]:
    return {b.id: b for b in read.find(Broadcast, Page(limit=ROWS_MAX, order="id"), id=ids)} if ids else {}


def _family(b: Broadcast, followers: list[Broadcast]) -> Family:
    over = b.state not in (*ALERT_MAY_SOUND, BroadcastState.ON_AIR, BroadcastState.STOPPED)
    proved_us = [f.start_at_us + f.prove_within_s * 1_000_000 for f in followers if f.state in FOLLOWER_STATES]
    title = f"{b.hazard} {LEVEL_WORDS[b.level]} {b.place_names.get('en') or b.place_names.get('zh', '')} ({b.id})"
    kept = room.reserved(whole_order(b), map(whole_order, followers), over=over)
    return Family(b.id, title, b.level, kept, over, max(proved_us, default=0), prepared=_prepared(followers))


def _prepared(followers: list[Broadcast]) -> int:
    """What the largest of those takes that were not given out."""
    return max((room.size_at_most(whole_order(f)) for f in followers if f.state is BroadcastState.DRAFT), default=0)


def sign_stream(tx: Tx, topic: str, signer: Signer, city: City, audio_base: str = "") -> Signed:
    """The newest signed manifest of a stream: signed anew when its orders changed or its freshness runs out.

    Raises NoKey; UnknownOnAir while the broker holds a newer one to which this database has nothing to add; and
    OlderKeyDocument where a gateway that runs has a newer key document and can sign.
    """
    now_us = tx.now_us()
    stream = tx.get_locked(Stream, topic) or new_stream(topic)
    # Silence needs no release: what was stopped or withdrawn is said even where the release row is lost.
    rows = on_stream(tx, topic)
    shown = [b for b in rows if b.state in SILENT_STATES or _release_shown(tx, b)]
    refused = tuple(b.id for b in rows if b not in shown)
    known = [wire_order(b) for b in shown]
    all_orders = merged(known, stream, now_us)
    if unknown_on_air(stream) and _adds_nothing(shown, foreign_orders(stream, known, now_us)):
        raise UnknownOnAir(topic)
    may_resume = frozenset(b.id for b in rows if b.state is BroadcastState.STOPPED)
    orders, swept_us = room.listed(all_orders, {b.id for b in shown}, may_resume, stream.swept_us, now_us)
    said = _digest(orders, swept_us, audio_base)
    if stream.signed and stream.orders == said and now_us < stream.refresh_us:
        return Signed(topic, stream.manifest_version, stream.signed, False, refused)
    chain = _chain(city, topic)
    keys, document = ListedKeys(tx), signer.document.version
    if keys.newer_runs(document, topic):
        raise OlderKeyDocument(f"version {document}")
    if not signer.signs(stream.use, chain):
        raise NoKey(f"{stream.use} for {stream.area}")
    carried = _carried(tx, stream, known) if unknown_on_air(stream) else ()
    if carried:
        why = "a person has neither adopted nor withdrawn them"
        tx.record(Record("stream.carries_unknown", topic, why, facts={"orders": list(carried)}))
    version = speaker_link.next_version(max(stream.manifest_version, foreign_version(stream)), now_us)
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
    kid = jws.header(raw).kid
    if keys.disowns(kid, manifest, document):
        raise NoKey(f"{kid} is not in the newest key document, or may sign less there")
    refresh_us = now_us + REFRESH_US
    # What was found on the broker is kept until every order of it is known here or over.
    foreign = stream.foreign if len(all_orders) > len(shown) or _outdone(shown, all_orders) else b""
    signed = replace(
        stream, manifest_version=version, orders=said, signed=raw, signed_by=kid,
        refresh_us=refresh_us, foreign=foreign, swept_us=swept_us,
        carried=bool(foreign and (carried or stream.carried)), anew=False,
        silent_since=_silent_since(stream, rows, version),
    )  # fmt: skip
    tx.put(signed)
    tx.wake_at(WakeAt(Timer.REFRESH, topic, refresh_us, refresh_us + 365 * 86_400_000_000))
    facts: dict[str, object] = {"version": version, "orders": [f"{o.id}@{o.rev}:{o.state}" for o in orders]}
    tx.record(Record("stream.signed", topic, "what is in force changed or its freshness ran out", facts=facts))
    return Signed(topic, version, raw, True, refused)


def _silent_since(stream: Stream, rows: list[Broadcast], version: int) -> dict[str, int]:
    """Which version first said of each order that it is silent, now that this one is signed.

    A version number is no time: after a clock that was put back, or a forged number that had to be outdone, ours run
    ahead of it for minutes. So whether a speaker had been told of a stop is seen from the version that said it. An
    order that is resumed is forgotten; one that has run out is remembered while there is room.
    """
    sounding = {b.id for b in rows if not b.silent_us}
    said = {b.id: version for b in rows if b.silent_us} | stream.silent_since
    # Ids sort by time.
    return dict(sorted((id, first) for id, first in said.items() if id not in sounding)[-ROWS_MAX:])


def _chain(city: City, topic: str) -> tuple[str, ...]:
    """The areas whose keys may sign a stream; a speaker's own stream is its area's. Raises NotFound."""
    where = parse_manifest_topic(topic)
    if where.kind is StreamKind.AREA:
        return city.tree.chain(where.name).all
    speaker = city.speakers.get(where.name)
    if speaker is None:
        raise NotFound(where.name)
    return city.tree.chain(speaker.area).all


def _carried(tx: Tx, stream: Stream, known: list[Order]) -> tuple[str, ...]:
    """The orders in force of a manifest on the broker that our own signature is about to carry on."""
    orders = tuple(foreign_orders(stream, known, tx.now_us()))
    return sighted.carried(tx, replace(manifest_found(stream), orders=orders))


def _adds_nothing(shown: list[Broadcast], foreign: list[Order]) -> bool:
    """Whether the broker has all that this database has to say."""
    there = {order.id: order.rev for order in foreign}
    return all(there.get(b.id, 0) >= b.rev for b in shown)


def _outdone(shown: list[Broadcast], orders: list[Order]) -> bool:
    """Whether one of our orders goes out at a revision that only the broker knew."""
    revisions = {b.id: b.rev for b in shown}
    return any(revisions.get(order.id) != order.rev for order in orders)


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
