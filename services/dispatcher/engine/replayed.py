"""The world that recorded signals are replayed in: what decisions rested on, put into an empty store of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..domain.places import Area, Office, Speaker, Venue
from ..domain.risk import History
from ..domain.signals import Panel, Sensor
from ..domain.silences import Silence
from .ports import Page, Read, Store
from .rows import CitySettings
from .writing import write

ROWS_MAX = 200_000
KINDS = (CitySettings, Area, Venue, Office, Speaker, Panel, Sensor, History)


def world_since(read: Read, since_us: int) -> list[object]:
    """The rows that decisions since then rest on: the city, its panels and sensors, what is known of reporters, and
    people's silences."""
    rows: list[object] = []
    for kind in KINDS:
        rows += read.find(kind, Page(limit=ROWS_MAX, order="code" if kind is Area else "id"))
    for silence in read.find(Silence, Page(limit=ROWS_MAX)):
        until_us = silence.ended_us or silence.until_us
        if until_us > since_us:
            rows.append(replace(silence, active=True, until_us=until_us, count=0, passed=0))
    return rows


def begin_world(store: Store, rows: Sequence[object]) -> None:
    """Put a world into an empty store; one in which a city lives is no place for it."""
    with write(store) as tx:
        assert tx.get(CitySettings, "city") is None, "a replay must never write where a city lives"
        tx.put(*rows)
