"""Which version of a stream first said that an order of ours is silent.

A version number is no time: after a clock that was put back, or a forged number that had to be outdone, ours run ahead
of it for minutes. So whether a speaker had been told of a stop is seen from the version that said it, and not from the
time of the stop.
"""

from __future__ import annotations

from dataclasses import replace

from ..ports import Tx
from ..rows import Stream
from .listing import ROWS_MAX, on_stream
from .streams import Signed


def note(tx: Tx, signed: Signed) -> None:
    """Write down at the stream which orders a manifest that was signed in this transaction is the first to silence. An
    order that is resumed is forgotten; one that has run out is remembered while there is room."""
    stream = tx.get_locked(Stream, signed.topic) if signed.fresh else None
    if stream is None:
        return
    said = dict(stream.silent_since)
    for order in on_stream(tx, signed.topic):
        if not order.silent_us:
            said.pop(order.id, None)
        else:
            said.setdefault(order.id, signed.version)
    # Ids sort by time.
    said = dict(sorted(said.items())[-ROWS_MAX:])
    if said != stream.silent_since:
        tx.put(replace(stream, silent_since=said))
