"""Which broadcasts stand on a manifest stream."""

from __future__ import annotations

from devices.protocols.topics import parse_manifest_topic

from ...domain.broadcasts import Broadcast, BroadcastState
from ..ports import Page, Read
from ..rows import Stream

KEPT_AFTER_EXPIRY_US = 60_000_000
ROWS_MAX = 1_000
SILENT_STATES = (BroadcastState.STOPPED, BroadcastState.WITHDRAWN)
ON_AIR_STATES = (BroadcastState.ON_AIR, *SILENT_STATES)


def on_stream(read: Read, topic: str) -> list[Broadcast]:
    """Orders that ever went on air and have not expired, withdrawn ones included."""
    rows = read.find(Broadcast, Page(limit=ROWS_MAX, order="-id"), stream=topic, state=ON_AIR_STATES)
    return [b for b in rows if b.on_manifest and b.expires_us + KEPT_AFTER_EXPIRY_US > read.now_us()]


def new_stream(topic: str) -> Stream:
    where = parse_manifest_topic(topic)
    return Stream(id=topic, area=where.name, use=where.use, issuer=where.issuer)
