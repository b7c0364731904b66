"""Room to end what is on air: what a release finds or makes free on its stream, and when a follower has done."""

from __future__ import annotations

from devices.protocols.documents import Phase

from ..domain.broadcasts import Broadcast, BroadcastEvent, BroadcastState, Replaced, Retired
from ..domain.effects import Record
from ..domain.refusals import OverCap
from . import room, streams
from .ports import Read, Tx

FULL = "the stream is full of {}"


def no_room(read: Read, alert: Broadcast) -> str:
    """What fills the stream so that this draft can't be released, "" when it can."""
    mine = streams.family_of(read, alert.id)
    others = [family for family in streams.families(read, alert.stream) if family.alert != alert.id]
    if mine is None or room.to_end(mine, others, read.now_us()) is not None:
        return ""
    return FULL.format(", ".join(room.measure(others).filled_by) or "the room kept for red alerts")


def make_room(tx: Tx, joining: Broadcast, person: str) -> list[tuple[str, BroadcastEvent]]:
    """What must leave the stream so that an order finds its room: (broadcast, event). Called under the release lock.

    Raises OverCap for an alert that finds none; a correction or an all-clear has its own since its alert went on air.
    """
    root = joining.original or joining.id
    mine = streams.family_of(tx, root)
    assert mine is not None
    before = streams.families(tx, joining.stream)
    others = [family for family in before if family.alert != root]
    gone = room.to_end(mine, others, tx.now_us())
    if gone is None and joining.phase is Phase.ALERT:
        raise OverCap(no_room(tx, joining))
    staying = [family for family in others if family not in (gone or ())]
    filled = room.measure([*staying, mine])
    if filled.percent >= room.TELL_PERCENT and mine not in before:
        facts: dict[str, object] = {"percent": filled.percent, "filled_by": list(filled.filled_by)}
        tx.record(Record("stream.filling", joining.stream, f"{filled.percent} % of its room is taken", facts=facts))
    retired = Retired("it was on air long enough to be proved, and its room is needed")
    return [
        *((follower, retired) for family in gone or () for follower in _on_air(tx, family.alert)),
        # Of a correction and an all-clear of one alert, the one released last is in force.
        *((other, Replaced(joining.id, person)) for other in _on_air(tx, joining.original) if other != joining.id),
    ]


def _on_air(read: Read, original: str) -> list[str]:
    """The followers of an alert that are on air; none for ""."""
    return [b.id for b in read.find(Broadcast, original=original, state=BroadcastState.ON_AIR)] if original else []


def heard_by_all(read: Read, follower: Broadcast) -> bool:
    """Whether no speaker that started the alert still owes this follower."""
    alert = read.expected(follower.original)
    started = {row.speaker for row in alert if row.playing_us is not None or row.finished_us is not None}
    return all(
        row.finished_us is not None or row.refused or row.speaker not in started for row in read.expected(follower.id)
    )
