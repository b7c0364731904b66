"""Receipts and heartbeats: batched, without a log line each; only changes become events.

What a speaker says is judged where it is taken in: `domain/judgement` says what counts, `sighted` takes what nobody
here gave out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from devices.protocols.asking import ASKED_RECEIPTS_MAX, RECEIPTS_KEPT_MAX, SpeakerAnswer
from devices.protocols.speaker_link import Receipt, SpeakerState, Step, StepKind

from ...domain import judgement
from ...domain.broadcasts import Broadcast
from ...domain.effects import Carry, Record, Save
from ...domain.judgement import Doubt
from ...domain.planning import City
from ...domain.signals import Unread
from .. import configs
from ..ports import Store, Tx
from ..rows import NEVER_US, RECEIPT_GONE, Live, ReceiptRow, Stream
from ..writing import write
from . import refused_documents, removed_keys, sighted
from .given_out import GivenOut, Remembered
from .sighted import SETTLED_US, Seen
from .speaker_oddities import CLONED, REUSED, oddity, tell, with_journals, with_oddity

BATCH_MAX = 500
REUSED_UNREAD_MAX = 3
"""How many receipts of one batch and speaker, under numbers that are used already, are kept as unread input."""
MISDIRECTED_UNREAD_MAX = 3
"""How many receipts of one batch about one order, from speakers it is not meant for, are kept as unread input."""
_SAYS_IT_HAS = frozenset({StepKind.ACCEPTED, StepKind.READY, StepKind.PLAYING, StepKind.FINISHED})


@dataclass(frozen=True, slots=True)
class Arrived:
    """One receipt off the wire: the speaker is the topic's, vouched for by the broker's ACL. `microphone` says whether
    the speaker is enrolled with one."""

    speaker: str
    receipt: Receipt
    raw: bytes
    microphone: bool = False


@dataclass(slots=True)
class Counted:
    """What a batch of receipts was: rows as expected (repeats included), new ones about an order never given, how often
    what was said was doubted, by reason, how many came under a number that is stored with other bytes, and refused
    documents by reason."""

    stored: int = 0
    unknown: int = 0
    doubted: Counter[str] = field(default_factory=Counter)
    reused: int = 0
    refused: Counter[str] = field(default_factory=Counter)


def keep_receipts(store: Store, arrived: Sequence[Arrived], settled_us: int = SETTLED_US) -> Counted:
    """Store a batch and move its expected rows on, in one transaction. Repeats change nothing, and what a speaker says
    about no order, or about one never given to it, is shown to people once."""
    with write(store) as tx:
        now_us = tx.now_us()
        orders = _orders(tx, arrived)
        doubted: Counter[str] = Counter()
        rows = [_row(a, orders.get(a.receipt.order), now_us) for a in arrived]
        doubted.update(r.doubted for r in rows if r.doubted)
        added = tx.add_receipts(rows)
        strangers = added.strangers
        _hold(tx, {r.speaker for r in added.reused} | {r.speaker for r in strangers if not r.broadcast})
        _reused(tx, added.reused, now_us)
        sighted.note(tx, _after_stop(tx, arrived, rows, orders), settled_us)
        if not strangers:
            return Counted(len(arrived), 0, doubted, len(added.reused))
        said = {(a.speaker, a.receipt.journal, a.receipt.seq, a.raw): a for a in reversed(arrived)}
        new = [said[r.speaker, r.journal, r.seq, r.raw] for r in strangers]
        _misdirected(tx, [r for r in strangers if r.broadcast and r.given], now_us)
        refusals = [(a.speaker, {a.receipt.stream: a.receipt.version}) for a in new if a.receipt.stream]
        sighted.note(tx, _sightings(new, orders) + GivenOut(tx).never_here(refusals), settled_us)
        refused = refused_documents.note(tx, [(a.speaker, a.receipt) for a in new if not a.receipt.order])
        unknown = sum(1 for a in new if a.receipt.order)
        return Counted(len(arrived) - unknown, unknown, doubted, len(added.reused), refused)


def _hold(tx: Tx, speakers: set[str]) -> None:
    """Hold the rows of all speakers that may change, before anything else and in the order of their ids, so that this
    never waits in a circle with what takes in states."""
    for speaker in sorted(speakers):
        tx.get_locked(Live, speaker)


def _orders(tx: Tx, arrived: Sequence[Arrived]) -> dict[str, Broadcast | None]:
    """What is known here of the orders that a batch speaks of. One that is not on air yet is read again once nobody
    else can give it out meanwhile."""
    named: dict[str, int] = {}
    for a in arrived:
        order, rev = a.receipt.order, a.receipt.rev
        if order and rev > named.get(order, -1):
            named[order] = rev
    orders = {order: tx.get(Broadcast, order) for order in named}
    waiting = sorted(o for o, rev in named.items() if orders[o] is not None and not judgement.given(orders[o], rev))
    tx.lock(*(f"expected/{order}" for order in waiting))
    return orders | {order: tx.get(Broadcast, order) for order in waiting}


def _row(a: Arrived, order: Broadcast | None, now_us: int) -> ReceiptRow:
    r = a.receipt
    given = not r.order or judgement.given(order, r.rev)
    times: dict[StepKind, int] = {}
    refused = failed = doubted = ""
    proved = False
    for step in r.steps:
        at_us: int | None = step.at or now_us
        if step.kind is StepKind.PLAYING or step.kind is StepKind.FINISHED:
            if given:
                judged = judgement.judge_sound(step, r.rev, order, a.microphone, now_us)
                at_us, proved = judged.at_us, proved or judged.proved
                doubted = judged.doubt if judged.doubt == Doubt.AFTER_STOP else doubted or judged.doubt
            else:
                proved = proved or judgement.proves_unjudged(step, a.microphone)
        elif step.kind is StepKind.REFUSED:
            refused = step.reason or "refused"
        elif step.kind is StepKind.FAILED:
            failed = step.reason or "failed"
        if at_us is not None and not (step.kind is StepKind.FINISHED and _more_to_come(step)):
            times.setdefault(step.kind, at_us)
    return ReceiptRow(
        speaker=a.speaker, journal=r.journal, seq=r.seq, broadcast=r.order, rev=r.rev, raw=a.raw, received_us=now_us,
        accepted_us=times.get(StepKind.ACCEPTED), ready_us=times.get(StepKind.READY),
        playing_us=times.get(StepKind.PLAYING), finished_us=times.get(StepKind.FINISHED),
        refused=refused, failed=failed, proved=proved, doubted=doubted, given=given,
    )  # fmt: skip


def _more_to_come(step: Step) -> bool:
    """Every repeat finishes for itself; the order has finished with its last one."""
    evidence = step.evidence or {}
    repeat, of = evidence.get("repeat"), evidence.get("of")
    return isinstance(repeat, int) and isinstance(of, int) and repeat < of


def _misdirected(tx: Tx, rows: Sequence[ReceiptRow], now_us: int) -> None:
    """Receipts about an order of ours from speakers that it is not meant for; a few of them are kept as unread."""
    kept: Counter[str] = Counter()
    unread = []
    for r in rows:
        kept[r.broadcast] += 1
        if kept[r.broadcast] <= MISDIRECTED_UNREAD_MAX:
            unread.append(Unread("mqtt", f"receipt/{r.speaker}", "receipt_unknown_order", r.raw, now_us))
    tx.add_unread(unread)


def _reused(tx: Tx, rows: Sequence[ReceiptRow], now_us: int) -> None:
    """Receipts under numbers that are stored with other bytes: the speaker's card was put back to an older state, or
    two speakers have one. A few are kept as unread, and the speaker is shown as odd."""
    kept: Counter[str] = Counter()
    unread = []
    for r in rows:
        kept[r.speaker] += 1
        if kept[r.speaker] <= REUSED_UNREAD_MAX:
            unread.append(Unread("mqtt", f"receipt/{r.speaker}", "receipt_number_reused", r.raw, now_us))
    tx.add_unread(unread)
    for speaker in sorted(kept):
        live = tx.get_locked(Live, speaker)
        if live is None:
            continue
        if live.oddity != REUSED:
            why = "receipts come under numbers that are used already"
            facts: dict[str, object] = {"receipts": kept[speaker]}
            live = tell(tx, live, Record(f"speaker.{REUSED}", speaker, why, facts=facts), now_us)
        tx.put(replace(live, oddity=REUSED, odd_us=now_us))


def _after_stop(
    tx: Tx, arrived: Sequence[Arrived], rows: Sequence[ReceiptRow], orders: dict[str, Broadcast | None]
) -> list[Seen]:
    """Orders of ours that speakers sound though they had been told that these were taken off the air."""
    seen = []
    for a, row in zip(arrived, rows, strict=True):
        order = orders.get(row.broadcast) if row.doubted == Doubt.AFTER_STOP else None
        live = tx.get(Live, a.speaker) if order is not None else None
        if order is None or live is None or not live.online:
            continue
        held, told = live.streams.get(order.stream, 0), _told_of_stop(tx, order)
        if any(judgement.knew_of_stop(step, order, held, told, live.unchanged_us) for step in a.receipt.steps):
            seen.append(Seen(sighted.of_stopped(order.id, row.rev), a.speaker, a.raw))
    return seen


def _told_of_stop(tx: Tx, order: Broadcast) -> range:
    """The versions of ours that say that this order is silent; none before the first one is signed."""
    stream = tx.get(Stream, order.stream)
    first = stream.silent_since.get(order.id, 0) if stream is not None else 0
    return range(first, stream.manifest_version + 1) if stream is not None and first else range(0)


def _sightings(new: Sequence[Arrived], orders: dict[str, Broadcast | None]) -> list[Seen]:
    """The orders that these receipts show to be held or to play, and that nobody here gave out."""
    return [
        Seen(sighted.of_order(a.receipt.order, a.receipt.rev, orders.get(a.receipt.order)), a.speaker, a.raw)
        for a in new
        if a.receipt.order
        and not judgement.given(orders.get(a.receipt.order), a.receipt.rev)
        # A speaker names what it refuses, too; that plays nowhere.
        and any(step.kind in _SAYS_IT_HAS for step in a.receipt.steps)
    ]


def hear_speakers(
    store: Store,
    states: Sequence[tuple[str, SpeakerState]],
    remembered: Remembered | None = None,
    settled_us: int = SETTLED_US,
    *,
    retained: bool = False,
    city: City | None = None,
) -> Counter[str]:
    """Take in states; gaps in the receipts are asked for, and versions that were never signed here are noted. How often
    a connection number was odd, by what it was. `remembered` is kept from batch to batch. `city` says what each speaker
    should hold: who stays behind is written down, and what is named of which nothing is known here is signed.

    Who says that it is online is: one account has one session at the broker. Who says that it is offline is believed
    only from the connection that counts, or one a little later: what else comes is the last will of an earlier one.

    The broker's `retained` copies tell what was said some time ago, by a speaker that may be dead since: they bring
    what is not known yet, and no speaker counts as heard by them.
    """
    with write(store) as tx:
        now_us = tx.now_us()
        rows: dict[str, Live] = {}
        odd: Counter[str] = Counter()
        given_out, look_soon, unknown = GivenOut(tx, remembered), False, set[str]()
        # In the order of their ids, so that two transactions never wait for each other in a circle; what one speaker
        # says stays in its order.
        for speaker, state in sorted(states, key=itemgetter(0)):
            before = rows.get(speaker) or tx.get_locked(Live, speaker)
            if retained and before is not None and _known(before, state):
                continue
            heard_us = (before.heard_us if before is not None else NEVER_US) if retained else now_us
            odd_now = oddity(before, state)
            if before is not None and not state.online and (odd_now or before.journal != state.journal):
                continue
            live = with_oddity(tx, _live(speaker, state, heard_us, before, now_us), before, odd_now, now_us)
            odd.update([odd_now] if odd_now else ())
            live, news = refused_documents.heard(tx, live, before, given_out, city)
            look_soon = look_soon or news
            unknown |= given_out.unknown(live, city) if city is not None else set()
            rows[speaker] = _changes(tx, before, live, now_us)
        tx.heard(list(rows.values()))
        said = [(speaker, state.streams) for speaker, state in states if state.online]
        sighted.note(tx, given_out.never_here(said), settled_us)
        removed_keys.sign_named(tx, unknown)
        if look_soon:
            refused_documents.look_soon(tx)
    return odd


def _known(before: Live, state: SpeakerState) -> bool:
    """Whether a retained copy is no newer than what is known: a broker that was restarted may have gone back to an
    older one, and only the speaker itself can say that it has a new journal."""
    if not before.journal:
        return False
    came_back = state.online and not before.online and state.connection == before.connection
    older = (state.connection, state.seq) < (before.connection, before.seq)
    return state.journal != before.journal or older or came_back


def enrolled_anew(tx: Tx, speaker: str) -> None:
    """A speaker has a new secret: nothing that was heard under the old one is held against it."""
    live = tx.get_locked(Live, speaker)
    if live is not None:
        forgotten = replace(
            live, online=False, connection=0, journal="", seq=0, cloned=0, jumped=0, oddity="", odd_us=0, streams={},
            unchanged_us=0, journals={}, told={}, refused={},
        )  # fmt: skip
        tx.put(forgotten)


def _live(speaker: str, state: SpeakerState, heard_us: int, before: Live | None, now_us: int) -> Live:
    """What the state says, with what is remembered of the speaker."""
    live = Live(
        id=speaker, online=state.online, connection=state.connection, journal=state.journal, seq=state.seq,
        config_version=state.config_version, keys_version=state.keys_version, chain_head=state.chain_head,
        volume=state.volume, power=state.power, heard_us=heard_us, streams=state.streams,
        unchanged_us=now_us if state.online else 0,
    )  # fmt: skip
    if before is None:
        return live
    if not live.online:
        # A last will was written when the speaker connected: what it holds it has said since.
        live = replace(
            live, streams=before.streams, config_version=before.config_version, keys_version=before.keys_version
        )
    if before.online and live.online and (before.journal, before.connection) == (live.journal, live.connection):
        same = before.streams == live.streams
        live = replace(live, unchanged_us=before.unchanged_us if same else now_us)
    return with_journals(replace(live, journals=before.journals, told=before.told, refused=before.refused), before)


def _changes(tx: Tx, before: Live | None, live: Live, now_us: int) -> Live:
    if before is None or before.online != live.online:
        came = Record("speaker.online" if live.online else "speaker.offline", live.id, "its state says so")
        if live.oddity == CLONED:
            live = tell(tx, live, came, now_us)
        else:
            tx.record(came)
    if before is not None and before.journal and before.journal != live.journal and live.oddity != CLONED:
        lost = Record("speaker.journal_lost", live.id, "it came back with a new journal")
        live = tell(tx, live, lost, now_us)
    if not live.online:
        return live
    if tx.missing_receipts(live.id, live.journal, live.seq, 1):
        tx.save(Save(Carry.ASK_MISSING, live.id))
    configs.compare_with_held(tx, live)
    return live


def missing(store: Store, speaker: str) -> tuple[int, ...]:
    """The numbers of receipts that a speaker has sent in its present journal but we do not hold, ascending."""
    with store.read() as read:
        live = read.get(Live, speaker)
        if live is None:
            return ()
        return tuple(read.missing_receipts(speaker, live.journal, live.seq, ASKED_RECEIPTS_MAX))


def keep_unread(store: Store, rows: Sequence[Unread]) -> None:
    """Keep what speakers said and nobody could read, where people see it."""
    with write(store) as tx:
        tx.add_unread(rows)


def settle_gone(store: Store, answers: Sequence[tuple[str, SpeakerAnswer]]) -> int:
    """Take in what speakers answered: receipts that a speaker no longer has are never asked for again. How many.

    A number settles only if it was really missing of the speaker's present journal, so an answer can make no more rows
    than the speaker keeps receipts. A receipt that comes all the same still moves its expected row on.
    """
    with write(store) as tx:
        return sum(_gone(tx, speaker, answer) for speaker, answer in answers)


def _gone(tx: Tx, speaker: str, answer: SpeakerAnswer) -> int:
    live = tx.get(Live, speaker)
    if live is None or live.journal != answer.journal:
        return 0
    missed = set(tx.missing_receipts(speaker, live.journal, live.seq, RECEIPTS_KEPT_MAX))
    gone = [seq for seq in answer.gone if seq in missed]
    if gone:
        now_us = tx.now_us()
        tx.add_receipts([ReceiptRow(speaker, live.journal, seq, "", 0, RECEIPT_GONE, now_us) for seq in gone])
        why = f"{len(gone)} receipts are lost for good, from number {gone[0]} to {gone[-1]}"
        tx.record(Record("speaker.receipts_gone", speaker, why, facts={"journal": live.journal, "count": len(gone)}))
    return len(gone)
