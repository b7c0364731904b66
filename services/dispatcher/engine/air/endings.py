"""Room to end what is on air: what a release finds or makes free on its stream, and when a follower has done."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.documents import Phase

from ...domain.broadcasts import Broadcast, BroadcastEvent, BroadcastState, Replaced, Retired
from ...domain.effects import Record
from ...domain.refusals import OverCap
from ..ports import Read, Tx
from . import room, streams
from .room import Taken


def no_room(read: Read, alert: Broadcast) -> str:
    """What fills the stream so that this draft can't be released, "" when it can."""
    mine = streams.family_of(read, alert)
    others = streams.taken(read, alert.stream, without=alert.id)
    if room.gives_way(mine(), others, read.now_us()) is not None:
        return ""
    return _full(others)


def _full(others: Taken) -> str:
    filled_by = ", ".join(room.measure(others).filled_by) or "the room kept for red alerts"
    return f"the stream is full of {filled_by}"


def make_room(tx: Tx, joining: Broadcast, person: str) -> list[tuple[str, BroadcastEvent]]:
    """What must leave the stream so that an order finds its room: (broadcast, event). Called under the release lock.

    Raises OverCap for an alert that finds none. A correction or an all-clear has its own since its alert went on air;
    only long after its alert has expired may it find none.
    """
    root = tx.get(Broadcast, joining.original) if joining.original else joining
    assert root is not None
    own = streams.family_of(tx, root)
    others, mine = streams.taken(tx, joining.stream, without=root.id), own()
    if joining.phase is Phase.ALERT:
        gone = room.gives_way(mine, others, tx.now_us())
    else:
        gone = room.gives_way_to_follower(mine, others)
    if gone is None:
        raise OverCap(_full(others))
    staying = others.without(gone)
    filled = room.measure(replace(staying, families=(*staying.families, mine)))
    if filled.percent >= room.TELL_PERCENT and joining.phase is Phase.ALERT:
        facts: dict[str, object] = {"percent": filled.percent, "filled_by": list(filled.filled_by)}
        tx.record(Record("stream.filling", joining.stream, f"{filled.percent} % of its room is taken", facts=facts))
    retired = Retired("its room is needed for another")
    return [
        *((follower, retired) for family in gone for follower in _sounding(tx, family.alert)),
        # Of a correction and an all-clear of one alert, the one released last is in force.
        *((other, Replaced(joining.id, person)) for other in _sounding(tx, joining.original) if other != joining.id),
    ]


def _sounding(read: Read, original: str) -> list[str]:
    """The followers of an alert that are on air or may come back; none for ""."""
    return [b.id for b in read.find(Broadcast, original=original, state=streams.FOLLOWER_STATES)] if original else []


def left_unheard(before: Broadcast, after: Broadcast, event: BroadcastEvent) -> bool:
    """Whether a correction or an all-clear has left the air for good and may have to be given again."""
    if before.phase is Phase.ALERT or isinstance(event, Replaced) or (isinstance(event, Retired) and event.heard):
        return False
    return before.state in streams.FOLLOWER_STATES and after.state is BroadcastState.WITHDRAWN


def heard_by_all(read: Read, follower: Broadcast) -> bool:
    """Whether every speaker has said that it finished this follower, or that it will not sound there. A speaker that
    nobody has heard from may have started the alert, and be about to come back."""
    return all(row.finished_us is not None or row.refused for row in read.expected(follower.id))
