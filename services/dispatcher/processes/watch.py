"""Keeps the dead man's switch supplied, in the gateway: which sources are expected to speak, and which panels did.

Feeds and sensors are heard where their messages are committed. A panel's signs of life carry no signal; its server
knows when it last heard each, and that is written down here every few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ..domain.rhythm import SENSORS_WIRE, SourceKind, source_id
from ..domain.signals import Feed, Panel, Sensor
from ..engine import rhythm
from ..engine.engine import EVENTS_MAX, Engine
from ..engine.events import SourceHeard
from ..engine.ports import Page, Store

WATCH_EVERY_S = 5.0
FEEDS_MAX = 10_000


class Watch:
    """`step` is called again and again by one thread. `panels_heard_us` says when each panel was last heard, by id;
    `listening` whether sensors could be heard now."""

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
        self.panels_heard_us: Callable[[], dict[str, int]] = dict
        self._rhythms: dict[str, int] = {}
        self._noted_us: dict[str, int] = {}

    def step(self) -> int:
        """Write down which panels spoke, and have what is new or changed watched; how many are."""
        if self._listening():
            self._engine.handle([SourceHeard(SENSORS_WIRE, self._now_us())])
        self._panels_spoke()
        expected = self._expected()
        changed = {id: rhythm_s for id, rhythm_s in expected.items() if self._rhythms.get(id, 0) != rhythm_s}
        # What is gone is forgotten when its timer is due; what no longer has a rhythm is said so.
        rhythm.watch(self._store, changed)
        self._rhythms = expected
        return sum(1 for rhythm_s in expected.values() if rhythm_s)

    def _expected(self) -> dict[str, int]:
        with self._store.read() as read:
            feeds = read.find(Feed, Page(limit=FEEDS_MAX))
        found = {source_id(SourceKind.FEED, feed.id): feed.rhythm_s for feed in feeds}
        found |= {source_id(SourceKind.PANEL, panel.id): panel.rhythm_s for panel in self._panels()}
        return found | {source_id(SourceKind.SENSOR, sensor.id): sensor.rhythm_s for sensor in self._sensors()}

    def _panels_spoke(self) -> None:
        heard_us = self.panels_heard_us()
        new = {id: at_us for id, at_us in heard_us.items() if self._noted_us.get(id) != at_us}
        events = [SourceHeard(source_id(SourceKind.PANEL, id), at_us) for id, at_us in new.items()]
        for start in range(0, len(events), EVENTS_MAX):
            self._engine.handle(events[start : start + EVENTS_MAX])
        self._noted_us.update(new)
