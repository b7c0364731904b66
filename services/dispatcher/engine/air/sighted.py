"""What nobody here gave out is written down here, in the transactions that take it in; nothing is raised here.

Speakers' reports, the broker's copies, and what our own signature carries on for want of a person's decision. A timer
looks at each row afterwards (`sightings.look`). Ten thousand speakers that say the same make one row; one account makes
a few rows at most, and what it says beyond them is counted in a row of its own.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices.protocols import document_json
from devices.protocols.documents import Manifest, OrderState

from ...domain import sightings
from ...domain.broadcasts import Broadcast
from ...domain.effects import Timer, WakeAt
from ...domain.incidents import USELESS_NEVER_US, Incident, IncidentState
from ...domain.sightings import SAID_BY_MAX, UNREAD_MAX, Listing, Sighting, order_id, stream_id
from ...domain.signals import Unread
from ..ports import Page, Tx
from ..rows import Stream

SETTLED_US = 3_000_000
"""How long after the first report a sighting is looked at: the broker's copy has been compared by then."""
UNSETTLED_US = 20_000_000
"""The same while this gateway has not compared the broker's copies yet."""
RECOUNT_US = 10_000_000
KEPT_US = 30 * 86_400_000_000
LISTED_MAX = 500
ACCOUNTS_MAX = 200
LISTED_PER_ACCOUNT_MAX = 4
"""How many of the listed sightings one account may have been the first to say."""
ROWS_MAX = 2 * LISTED_MAX + ACCOUNTS_MAX + 1
QUIET_US = 600_000_000
"""What is on the broker again after so long, though its incident is over, is raised anew."""
OVER = (IncidentState.REFUTED, IncidentState.CLOSED)
FOUND_AT_START = "shown as unknown on air since a gateway started"


@dataclass(frozen=True, slots=True)
class Seen:
    """One speaker's report of something that nobody here gave out; `raw` is what it sent, empty for a state."""

    sighting: Sighting
    speaker: str
    raw: bytes = b""


def of_order(order: str, rev: int, known: Broadcast | None) -> Sighting:
    """The sighting of an order, or of a revision that a known order never had."""
    if known is None or known.rev == 0:
        return Sighting(order_id(order), order=order, rev=rev)
    return Sighting(order_id(order, rev), order=order, rev=rev)


def of_stopped(order: str, rev: int) -> Sighting:
    """The sighting of an order of ours that sounds after it was stopped."""
    return Sighting(sightings.stopped_id(order), order=order, rev=rev, after_stop=True)


def of_stream(stream: str, version: int) -> Sighting:
    """The sighting of a version of a stream."""
    return Sighting(stream_id(stream, version), stream=stream, version=version)


def note(tx: Tx, seen: Sequence[Seen], settled_us: int = SETTLED_US) -> None:
    """Write down what speakers say: a row and a timer for each sighting, and a few of their messages as unread."""
    by_id: dict[str, list[Seen]] = defaultdict(list)
    listed = _Listed(tx, LISTED_MAX)
    for each in seen:
        # Several accounts may say a new thing in one batch: the first one that has room left is who lists it.
        id = each.sighting.id
        by_id[id if id in by_id else listed.id_for(each)].append(each)
    # In the order of their ids, so that two transactions never wait for each other in a circle.
    for id in sorted(by_id):
        _said(tx, id, by_id[id], settled_us)


def _said(tx: Tx, id: str, said: Sequence[Seen], settled_us: int) -> None:
    now_us = tx.now_us()
    row = tx.get_locked(Sighting, id) or _fresh(id, said[0], now_us)
    names = (*row.said_by, *(each.speaker for each in said if each.speaker))
    said_by = tuple(dict.fromkeys(names))[:SAID_BY_MAX]
    kept = [each for each in said if each.raw][: max(0, UNREAD_MAX - row.unread)]
    reason = "receipt_after_stop" if row.after_stop else "receipt_unknown_order"
    tx.add_unread([Unread("mqtt", f"receipt/{e.speaker}", reason, e.raw, now_us) for e in kept])
    look_us = row.look_us
    if not row.excuse:
        look_us = min(row.look_us, now_us + RECOUNT_US) if row.look_us else now_us + settled_us
    after = replace(
        row, said_by=said_by, said=row.said + len(said), unread=row.unread + len(kept), last_us=now_us,
        look_us=look_us, anew=row.anew or _over(tx, row),
    )  # fmt: skip
    tx.put(after)
    if look_us != row.look_us:
        wake(tx, after)


def _fresh(id: str, seen: Seen, now_us: int) -> Sighting:
    if id == seen.sighting.id:
        return replace(seen.sighting, first_us=now_us)
    listing = Listing.ACCOUNT if id == sightings.account_id(seen.speaker) else Listing.REST
    return Sighting(id, listing=listing, account=seen.speaker if listing is Listing.ACCOUNT else "", first_us=now_us)


def _over(tx: Tx, row: Sighting) -> bool:
    """Whether people are done with the incident of a row."""
    incident = tx.get(Incident, row.incident) if row.incident else None
    return incident is not None and incident.state in OVER


def found(tx: Tx, manifest: Manifest, verdict: str, *, at_start: bool) -> None:
    """Write down what a comparison with a verified copy on the broker came to. What a gateway finds `at_start` above
    ours is the sign of a restored backup, which the desk is shown as unknown on air. Whatever else was never signed
    here proves that somebody else has a key: nothing that happens here afterwards excuses it."""
    excuse, whole = "", ""
    match verdict:
        case "same":
            return
        case "another issuer's":
            excuse = verdict
        case "unknown here" | "newer number":
            whole = stream_id(manifest.stream, manifest.version)
            excuse = FOUND_AT_START if at_start else ""
            if at_start:
                _lost_until(tx, manifest)
        case "not ours" | "ahead of the time":
            # Also at a start: a key that somebody else has, or a clock that was wrong.
            whole = stream_id(manifest.stream, manifest.version)
        case "republish":
            # An older one of ours may come back; the orders that it names were given out then.
            pass
        case _:
            raise AssertionError(verdict)
    unknown = _unknown_orders(tx, manifest)
    if verdict == "republish":
        unknown = _not_carried(tx, manifest, unknown)
    rows = [of_stream(manifest.stream, manifest.version)] if whole else []
    rows += [replace(s, stream=manifest.stream, version=manifest.version, part_of=whole) for s in unknown]
    _on_broker(tx, rows, tuple(s.order for s in unknown), excuse)


def carried(tx: Tx, manifest: Manifest) -> tuple[str, ...]:
    """Our own signature carries on what only this manifest of the broker has, because something of ours had to be said
    before a person adopted or withdrew it: a red incident, whatever explained the manifest until now. Returns the
    orders that are carried; none when it has none in force."""
    now_us = tx.now_us()
    sound = {o.id for o in manifest.orders if o.state is OrderState.IN_FORCE and o.expires > now_us}
    orders = [row for row in _unknown_orders(tx, manifest) if row.order in sound]
    if not orders:
        return ()
    ids = tuple(row.order for row in orders)
    whole = replace(of_stream(manifest.stream, manifest.version), carried=True, orders=ids)
    for row in sorted([whole, *orders], key=lambda s: s.id):
        kept = tx.get_locked(Sighting, row.id) or replace(row, first_us=now_us, part_of=whole.id if row.order else "")
        if kept.incident:
            continue
        after = replace(
            kept, stream=whole.stream, version=whole.version, excuse="", on_broker=True, carried=row.carried,
            last_us=now_us, look_us=now_us,
        )  # fmt: skip
        tx.put(after)
        wake(tx, after)
    return ids


def _not_carried(tx: Tx, manifest: Manifest, unknown: list[Sighting]) -> list[Sighting]:
    """Without the orders that our own signature has carried on, which an older copy of ours names."""
    stream = tx.get(Stream, manifest.stream)
    if stream is None or not stream.foreign:
        return unknown
    there = {order.id: order.rev for order in document_json.decode_manifest(stream.foreign).orders}
    return [row for row in unknown if row.rev > there.get(row.order, -1)]


def _unknown_orders(tx: Tx, manifest: Manifest) -> list[Sighting]:
    """The orders of a manifest that were never given out here, and the revisions of ours that never were."""
    pairs = [(order, tx.get(Broadcast, order.id)) for order in manifest.orders]
    return [of_order(order.id, order.rev, mine) for order, mine in pairs if mine is None or mine.rev < order.rev]


def _on_broker(tx: Tx, rows: Sequence[Sighting], orders: tuple[str, ...], excuse: str) -> None:
    # Whoever signed these holds a key: no flood of speakers' reports crowds them out.
    now_us, listed = tx.now_us(), _Listed(tx, 2 * LISTED_MAX)
    for row in sorted(rows, key=lambda s: s.id):
        kept = tx.get_locked(Sighting, row.id)
        if kept is not None and _stands(kept, row, excuse):
            if _over(tx, kept) and now_us - kept.last_us > QUIET_US:
                kept = replace(kept, anew=True, look_us=now_us)
                wake(tx, kept)
            tx.put(replace(kept, last_us=now_us))
            continue
        if kept is None and not listed.room():
            _said(tx, sightings.REST, [Seen(row, "")], 0)
            continue
        fresh = kept or replace(row, first_us=now_us)
        fresh = replace(
            fresh, stream=row.stream, version=row.version, part_of=row.part_of, excuse=excuse, last_us=now_us,
            look_us=now_us + KEPT_US if excuse else now_us, on_broker=not excuse,
            orders=fresh.orders if row.order else orders,
        )  # fmt: skip
        tx.put(fresh)
        wake(tx, fresh)


def _stands(kept: Sighting, row: Sighting, excuse: str) -> bool:
    """Whether what was decided about a sighting holds for this copy of it, too: an excuse explains no newer version and
    no other stream."""
    explained = kept.stream == row.stream and kept.version >= row.version
    return bool(kept.incident or (kept.excuse and (excuse or explained)))


def _lost_until(tx: Tx, manifest: Manifest) -> None:
    """A restored backup has lost the versions up to this one: whoever holds one of them is explained."""
    stream = tx.get_locked(Stream, manifest.stream)
    if stream is not None and stream.lost_until < manifest.version:
        tx.put(replace(stream, lost_until=manifest.version))


class _Listed:
    """How many sightings are listed, and of each account how many it was the first to say; looked up once in a
    transaction, when the first new one comes."""

    def __init__(self, tx: Tx, listed_max: int) -> None:
        self._tx, self._max = tx, listed_max
        self._things = self._accounts = -1
        self._first: Counter[str] = Counter()

    def room(self) -> bool:
        """Whether one more may be listed, which then is."""
        self._look()
        self._things += 1
        return self._things <= self._max

    def id_for(self, seen: Seen) -> str:
        """The row that a report goes to: its own, or that of the account which has said too much, or of the rest."""
        if self._tx.get(Sighting, seen.sighting.id) is not None:
            return seen.sighting.id
        self._look()
        if self._first[seen.speaker] >= LISTED_PER_ACCOUNT_MAX:
            account = sightings.account_id(seen.speaker)
            if self._tx.get(Sighting, account) is None:
                self._accounts += 1
            return account if self._accounts <= ACCOUNTS_MAX else sightings.REST
        if not self.room():
            return sightings.REST
        self._first[seen.speaker] += 1
        return seen.sighting.id

    def _look(self) -> None:
        if self._things >= 0:
            return
        rows = self._tx.find(Sighting, Page(limit=ROWS_MAX))
        things = [row for row in rows if row.listing is Listing.THING]
        self._things, self._accounts = len(things), len(rows) - len(things)
        # What a manifest on the broker explains or proves, no account has made up.
        self._first.update(r.said_by[0] for r in things if r.said_by and not r.on_broker and not r.excuse)


def wake(tx: Tx, row: Sighting) -> None:
    """Set the timer that looks at a row."""
    tx.wake_at(WakeAt(Timer.LOOK, row.id, row.look_us, row.look_us + USELESS_NEVER_US))
