"""Keeps the dead man's switch supplied, in the gateway: which sources are expected to speak, and which panels did.

Feeds and sensors are heard where their messages are committed, panels where `panel_desk` writes down who was heard.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..domain.rhythm import SENSORS_WIRE, SourceKind, source_id
from ..domain.signals import Feed, Panel, Sensor
from ..engine.engine import Engine
from ..engine.events import SourceHeard
from ..engine.ports import Page, Store
from ..engine.sources import dead_man

WATCH_EVERY_S = 5.0
FEEDS_MAX = 10_000


class Watch:
    """`step` is called again and again by one thread. `listening` says whether sensors could be heard now."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        panels: Callable[[], Iterable[Panel]],
        sensors: Callable[[], Iterable[Sensor]],
        listening: Callable[[], bool],
        now_us: Callable[[], int],
    ) -> None:
        self._store = store
        self._engine = engine
        self._panels = panels
        self._sensors = sensors
        self._listening = listening
        self._now_us = now_us
        self._rhythms: dict[str, int] = {}

    def step(self) -> int:
        """Have what is new or changed watched; how many sources are."""
        if self._listening():
            self._engine.handle([SourceHeard(SENSORS_WIRE, self._now_us())])
        expected = self._expected()
        changed = {id: rhythm_s for id, rhythm_s in expected.items() if self._rhythms.get(id, 0) != rhythm_s}
        # What is gone is forgotten when its timer is due; what no longer has a rhythm is said so.
        dead_man.watch(self._store, changed)
        self._rhythms = expected
        return sum(1 for rhythm_s in expected.values() if rhythm_s)

    def _expected(self) -> dict[str, int]:
        with self._store.read() as read:
            feeds = read.find(Feed, Page(limit=FEEDS_MAX))
        found = {source_id(SourceKind.FEED, feed.id): feed.rhythm_s for feed in feeds}
        found |= {source_id(SourceKind.PANEL, panel.id): panel.rhythm_s for panel in self._panels()}
        return found | {source_id(SourceKind.SENSOR, sensor.id): sensor.rhythm_s for sensor in self._sensors()}
