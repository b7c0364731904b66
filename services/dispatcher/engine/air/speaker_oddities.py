"""What is odd about a speaker's connections: numbers that go back or jump, and two devices under one id.

Two devices have one id when a smaller number of one journal comes online again and again, or when journals that were
replaced come back under higher numbers: each device has gone on counting meanwhile. Either may happen once without a
second device, by a message that comes late or a card that is put back, and counts when it happens twice within an hour.
What is odd is shown at the speaker until an hour after the last time, and a flood of it makes no flood of lines in the
log.
"""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.speaker_link import SpeakerState

from ...domain.effects import Record
from ..ports import Tx
from ..rows import Live

CLONED, JUMPED, REUSED = "cloned", "number_jumped", "receipts_reused"
CONNECTIONS_AHEAD_MAX = 1_000
"""How far a connection number may be ahead of the last one: a speaker that lost its link for days is within it."""
ODD_LASTS_US = 3_600_000_000
"""How long after its last oddity a speaker's connection is shown as odd, and how long one line in the log about it
stands for others of its kind."""
JOURNALS_MAX = 4
"""How many journals that a speaker had before are remembered: more devices than that are as odd as two."""
TOLD_MAX = 32
_WHY = {
    CLONED: "two devices claim this id: enrol it anew, so that only one of them has the secret",
    JUMPED: "its connection number jumped",
}


def oddity(before: Live | None, state: SpeakerState) -> str:
    """What is odd about a state beside what was known, "" for nothing."""
    if before is None or not before.journal:
        return ""
    if before.journal != state.journal:
        # A wiped store counts connections anew. An older state that comes late has no number above the known one.
        came_back = state.journal in before.journals and state.connection > before.journals[state.journal]
        return CLONED if came_back else ""
    if state.connection < before.connection:
        return CLONED
    return JUMPED if state.connection > before.connection + CONNECTIONS_AHEAD_MAX else ""


def with_oddity(tx: Tx, live: Live, before: Live | None, odd: str, now_us: int) -> Live:
    """The row with its oddities counted. The sign of a second device is shown once there is another within an hour."""
    if before is None:
        return live
    shown, odd_us = before.oddity, before.odd_us
    if odd:
        alone = odd == CLONED and now_us - odd_us > ODD_LASTS_US
        shown, odd_us = "" if alone else odd, now_us
        if shown and before.oddity != shown:
            facts: dict[str, object] = {"connection": live.connection, "before": before.connection}
            live = tell(tx, live, Record(f"speaker.{odd}", live.id, _WHY[odd], facts=facts), now_us)
    elif now_us - odd_us > ODD_LASTS_US:
        shown = ""
    return replace(
        live,
        oddity=shown,
        odd_us=odd_us,
        cloned=before.cloned + (odd == CLONED),
        jumped=before.jumped + (odd == JUMPED),
    )


def with_journals(live: Live, before: Live | None) -> Live:
    """The row with the journals that this speaker had before, and the highest connection number of each."""
    if before is None or not before.journal or before.journal == live.journal:
        return live
    earlier = {name: number for name, number in before.journals.items() if name != before.journal}
    earlier[before.journal] = max(before.connection, before.journals.get(before.journal, 0))
    return replace(live, journals=dict(list(earlier.items())[-JOURNALS_MAX:]))


def tell(tx: Tx, live: Live, record: Record, now_us: int, about: str = "") -> Live:
    """Write a line about a speaker, unless there was one of this kind, and `about` the same, within the hour. Returns
    the row that remembers it."""
    key = f"{record.kind}/{about}"
    told = {name: at_us for name, at_us in live.told.items() if 0 <= now_us - at_us < ODD_LASTS_US}
    if key in told or len(told) >= TOLD_MAX:
        return live
    tx.record(record)
    return replace(live, told={**told, key: now_us})
