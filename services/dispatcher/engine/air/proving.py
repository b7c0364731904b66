"""What follows when an order has had its time to be proved."""

from __future__ import annotations

from devices.protocols.documents import Phase

from ...domain import broadcasts
from ...domain.broadcasts import Broadcast, BroadcastState
from ...domain.effects import Record, Timer, WakeAt
from ...domain.planning import silent_venues
from ..tasks import asking
from ..transaction import Work
from . import acts, endings

HEARD_AGAIN_US = 60_000_000


def due(work: Work, broadcast_id: str) -> None:
    """The time to be proved is over: people go to where an alert is silent, and a follower heard by all has done."""
    b = work.tx.get_locked(Broadcast, broadcast_id)
    if b is None or b.state is not BroadcastState.ON_AIR:
        return
    if b.phase is Phase.ALERT:
        _ask_the_ground(work, b)
        return
    if endings.heard_by_all(work.tx, b):
        why = "every speaker has finished it or said that it will not sound there"
        acts.tell(work, b.id, broadcasts.Retired(why, heard=True))
        return
    again_us = work.tx.now_us() + HEARD_AGAIN_US
    work.run([WakeAt(Timer.PROVE, b.id, again_us, again_us + broadcasts.TIMER_USELESS_US)])


def _ask_the_ground(work: Work, b: Broadcast) -> None:
    """Silent speakers become one task per venue, most people at risk first."""
    silent = [row.speaker for row in work.tx.expected(b.id, silent_only=True)]
    rows = silent_venues(silent, work.city, work.tx.now_us())
    facts: dict[str, object] = {"venues": [r.venue for r in rows], "speakers": len(silent)}
    work.tx.record(
        Record("broadcast.silent", b.id, f"{len(silent)} speakers have not shown that they play", facts=facts)
    )
    for row in rows:
        asking.ask_the_ground(work, b, row.venue, row.speakers)
