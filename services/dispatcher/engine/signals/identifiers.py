"""Identifiers used twice: a report under the identifier of an earlier one that says something else.

It is neither a repetition nor taken for what it says: nobody knows which of the two holds. The first stays what it was,
the second is kept as unread, once, and stands in the log of the incident.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, replace
from enum import StrEnum

from ...domain.effects import Record
from ...domain.signals import Signal, SignalKind, Unread
from ..ports import Read, Tx

REASON = "identifier_reused"
BY_SENDER = ("cap/", "alert12379/", "ebd/", "plain/", "table/")
"""Keys that hold an identifier of the sender's own. Others are made of what a report says, and its words may change."""


class SignalState(StrEnum):
    """What a signal is to a store that may hold its key."""

    NEW = "new"
    REPEATED = "repeated"
    REUSED = "reused"


def state_of(read: Read, signal: Signal) -> SignalState:
    """Whether a signal is new, a repetition of what is stored, or says something else under its key."""
    stored = read.signal(signal.key)
    if stored is None:
        return SignalState.NEW
    same = not signal.key.startswith(BY_SENDER) or stored.says_the_same(signal)
    return SignalState.REPEATED if same else SignalState.REUSED


def keep(tx: Tx, signal: Signal) -> bool:
    """Whether a signal whose key is known says something else than what was stored under it; it is then kept."""
    if state_of(tx, signal) is not SignalState.REUSED:
        return False
    again = replace(signal, key=f"{signal.key}#{REASON}-{_content(signal)}", kind=SignalKind.INFO, references=())
    if tx.signal_incident(again.key) is not None:
        return True
    # The mark stands beside the first, so that one mistake repeated every minute is one row to read.
    incident = tx.signal_incident(signal.key) or ""
    tx.add_signal(again, "")
    raw = json.dumps(asdict(signal), ensure_ascii=False, default=str).encode("utf-8", "replace")
    tx.add_unread([Unread("engine", f"feed/{signal.reporter}", REASON, raw, signal.received_us)])
    why = "a report with the identifier of an earlier one says something else; it was kept as unread"
    tx.record(Record("signal.identifier_reused", incident or signal.key, why, facts={"key": signal.key}))
    return True


def _content(signal: Signal) -> str:
    said = asdict(replace(signal, received_us=0, observed_us=0, problems=(), signature=""))
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()[:16]
