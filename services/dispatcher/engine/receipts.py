"""Receipts and heartbeats: batched, without a log line each; only changes become events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from devices.protocols.asking import ASKED_RECEIPTS_MAX, RECEIPTS_KEPT_MAX, Answer
from devices.protocols.speaker_link import Receipt, SpeakerState, Step, StepKind

from ..domain.effects import Carry, Record, Save
from ..domain.places import Speaker
from ..domain.signals import Unread
from .ports import Live, ReceiptRow, Store, Tx

BATCH_MAX = 500
_GONE = b'{"gone":true,"steps":[]}'
"""Stands in the row of a receipt that never came and never will."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """One receipt off the wire: the speaker is the topic's, vouched for by the broker's ACL."""

    speaker: str
    receipt: Receipt
    raw: bytes


@dataclass(slots=True)
class Counted:
    """What a batch of receipts was: rows as expected (repeats included), and new ones about an order never given."""

    stored: int = 0
    unknown: int = 0


def keep_receipts(store: Store, arrived: Sequence[Arrived]) -> Counted:
    """Store a batch and move its expected rows on, in one transaction. Repeats change nothing, and what a speaker says
    about no order, or about one never given to it, is shown to people once."""
    with store.write() as tx:
        now_us = tx.now_us()
        strangers = tx.add_receipts([_row(a, now_us) for a in arrived])
        if not strangers:
            return Counted(stored=len(arrived))
        unknown = [r for r in strangers if r.broadcast]
        tx.add_unread([Unread("mqtt", f"receipt/{r.speaker}", "receipt_unknown_order", r.raw, now_us) for r in unknown])
        said = {(a.speaker, a.receipt.journal, a.receipt.seq): a for a in reversed(arrived)}
        for r in strangers:
            if not r.broadcast:
                _document_refused(tx, said[r.speaker, r.journal, r.seq])
    return Counted(stored=len(arrived) - len(unknown), unknown=len(unknown))


def _row(a: Arrived, now_us: int) -> ReceiptRow:
    times: dict[StepKind, int] = {}
    refused = failed = ""
    proved = False
    for step in a.receipt.steps:
        if not (step.kind is StepKind.FINISHED and _more_to_come(step)):
            times.setdefault(step.kind, step.at)
        if step.kind is StepKind.REFUSED:
            refused = step.reason or "refused"
        elif step.kind is StepKind.FAILED:
            failed = step.reason or "failed"
        elif step.kind is StepKind.PLAYING or step.kind is StepKind.FINISHED:
            proved = proved or (step.evidence is not None and "mic_db" in step.evidence)
    r = a.receipt
    return ReceiptRow(
        speaker=a.speaker, journal=r.journal, seq=r.seq, broadcast=r.order, rev=r.rev, raw=a.raw, received_us=now_us,
        accepted_us=times.get(StepKind.ACCEPTED), ready_us=times.get(StepKind.READY),
        playing_us=times.get(StepKind.PLAYING), finished_us=times.get(StepKind.FINISHED),
        refused=refused, failed=failed, proved=proved,
    )  # fmt: skip


def _more_to_come(step: Step) -> bool:
    """Every repeat finishes for itself; the order has finished with its last one."""
    evidence = step.evidence or {}
    repeat, of = evidence.get("repeat"), evidence.get("of")
    return isinstance(repeat, int) and isinstance(of, int) and repeat < of


def _document_refused(tx: Tx, a: Arrived) -> None:
    reasons = ", ".join(step.reason for step in a.receipt.steps) or "refused"
    facts: dict[str, object] = {"stream": a.receipt.stream, "version": a.receipt.version}
    tx.record(Record("speaker.refuses", a.speaker, reasons, facts=facts))


def hear_speakers(store: Store, states: Sequence[tuple[str, SpeakerState]]) -> None:
    """Take in retained states: a smaller connection number is ignored, gaps in the receipts are asked for."""
    with store.write() as tx:
        now_us = tx.now_us()
        rows: dict[str, Live] = {}
        for speaker, state in states:
            before = rows.get(speaker) or tx.get(Live, speaker)
            if before is not None and before.journal != state.journal:
                # A wiped store counts connections anew; a last will from before the wipe says nothing of now.
                if not state.online:
                    continue
            elif before is not None and state.connection < before.connection:
                if state.online:
                    rows[speaker] = replace(before, cloned=before.cloned + 1)
                    tx.record(Record("speaker.cloned", speaker, "two connections claim this id"))
                continue
            rows[speaker] = live = _live(speaker, state, now_us, before)
            _changes(tx, before, live)
        tx.heard(list(rows.values()))


def _live(speaker: str, state: SpeakerState, now_us: int, before: Live | None) -> Live:
    return Live(
        id=speaker, online=state.online, connection=state.connection, journal=state.journal, seq=state.seq,
        config_version=state.config_version, keys_version=state.keys_version, chain_head=state.chain_head,
        volume=state.volume, power=state.power, heard_us=now_us, cloned=before.cloned if before else 0,
    )  # fmt: skip


def _changes(tx: Tx, before: Live | None, live: Live) -> None:
    if before is None or before.online != live.online:
        tx.record(Record("speaker.online" if live.online else "speaker.offline", live.id, "its state says so"))
    if before is not None and before.journal and before.journal != live.journal:
        tx.record(Record("speaker.journal_lost", live.id, "it came back with a new journal"))
    if not live.online:
        return
    if tx.missing_receipts(live.id, live.journal, live.seq, 1):
        tx.save(Save(Carry.ASK_MISSING, live.id))
    speaker = tx.get(Speaker, live.id)
    if speaker is not None and live.config_version < speaker.config_version:
        tx.save(Save(Carry.PUBLISH_CONFIG, live.id))


def missing(store: Store, speaker: str) -> tuple[int, ...]:
    """The numbers of receipts that a speaker has sent in its present journal but we do not hold, ascending."""
    with store.read() as read:
        live = read.get(Live, speaker)
        if live is None:
            return ()
        return tuple(read.missing_receipts(speaker, live.journal, live.seq, ASKED_RECEIPTS_MAX))


def settle_gone(store: Store, answers: Sequence[tuple[str, Answer]]) -> int:
    """Take in what speakers answered: receipts that a speaker no longer has are never asked for again. How many.

    A number settles only if it was really missing of the speaker's present journal, so an answer can make no more rows
    than the speaker keeps receipts. A receipt that comes all the same still moves its expected row on.
    """
    with store.write() as tx:
        return sum(_gone(tx, speaker, answer) for speaker, answer in answers)


def _gone(tx: Tx, speaker: str, answer: Answer) -> int:
    live = tx.get(Live, speaker)
    if live is None or live.journal != answer.journal:
        return 0
    missed = set(tx.missing_receipts(speaker, live.journal, live.seq, RECEIPTS_KEPT_MAX))
    gone = [seq for seq in answer.gone if seq in missed]
    if gone:
        now_us = tx.now_us()
        tx.add_receipts([ReceiptRow(speaker, live.journal, seq, "", 0, _GONE, now_us) for seq in gone])
        why = f"{len(gone)} receipts are lost for good, from number {gone[0]} to {gone[-1]}"
        tx.record(Record("speaker.receipts_gone", speaker, why, facts={"journal": live.journal, "count": len(gone)}))
    return len(gone)
