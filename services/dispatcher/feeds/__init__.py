"""Department feeds: one pure module per format, and the table the edges choose from.

A format is a function from bytes, the enrolled feed and the time of receipt (µs UTC) to a Reading; it never raises.
Fire panels (`gb26875`) and sensors (`mqtt_sensor`) are not in the table: they speak over a connection, not in files.
"""

from __future__ import annotations

from collections.abc import Callable

from services.dispatcher.domain.signals import Feed, Reading
from services.dispatcher.feeds import alert12379, alertmanager, atom, cap, ebd, plain, table

FEEDS: dict[str, Callable[[bytes, Feed, int], Reading]] = {
    cap.FORMAT: cap.reading,
    alert12379.FORMAT: alert12379.reading,
    alertmanager.FORMAT: alertmanager.reading,
    plain.FORMAT: plain.reading,
    table.FORMAT: table.reading,
    ebd.FORMAT: ebd.reading,
    atom.FORMAT: atom.reading,
}
