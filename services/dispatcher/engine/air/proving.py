"""What follows when an order has had its time to be proved."""

from __future__ import annotations

from devices.protocols.documents import Phase

from ...domain import broadcasts
from ...domain.broadcasts import Broadcast, BroadcastState
from ...domain.effects import Record, Timer, WakeAt
from ...domain.planning import SilentVenue, silent_venues
from ..tasks import asking
from ..transaction import Work
from . import acts, endings

HEARD_AGAIN_US = 60_000_000
VENUES_A_PIECE = 500
VENUES_NAMED_MAX = 1_000
"""Venues that the log names of those that are silent."""


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


def ask_on(work: Work, subject: str) -> None:
    """Ask at the next venues, behind that of the timer; nothing where the alert is off the air."""
    broadcast_id, people, venue = subject.split("/", 2)
    b = work.tx.get_locked(Broadcast, broadcast_id)
    if b is not None and b.state is BroadcastState.ON_AIR:
        _ask_some(work, b, [row for row in _silent(work, b) if (-row.people, row.venue) > (-int(people), venue)])


def _ask_the_ground(work: Work, b: Broadcast) -> None:
    """Silent speakers become one task per venue, most people at risk first."""
    rows = _silent(work, b)
    speakers = sum(len(row.speakers) for row in rows)
    named = [row.venue for row in rows[:VENUES_NAMED_MAX]]
    facts: dict[str, object] = {"venues": named, "venue_count": len(rows), "speakers": speakers}
    work.tx.record(Record("broadcast.silent", b.id, f"{speakers} speakers have not shown that they play", facts=facts))
    _ask_some(work, b, rows)


def _silent(work: Work, b: Broadcast) -> list[SilentVenue]:
    silent = [row.speaker for row in work.tx.expected(b.id, silent_only=True)]
    return silent_venues(silent, work.city, work.tx.now_us())


def _ask_some(work: Work, b: Broadcast, rows: list[SilentVenue]) -> None:
    """A whole city that is silent is asked about in pieces, so that an alarm that comes meanwhile does not wait."""
    for row in rows[:VENUES_A_PIECE]:
        asking.ask_the_ground(work, b, row.venue, row.speakers)
    if len(rows) > VENUES_A_PIECE:
        last, now_us = rows[VENUES_A_PIECE - 1], work.tx.now_us()
        subject = f"{b.id}/{last.people}/{last.venue}"
        work.run([WakeAt(Timer.GROUND, subject, now_us, now_us + broadcasts.TIMER_USELESS_US)])
