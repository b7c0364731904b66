"""Which sources the gateway expects to speak, and how it writes down that panels did."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date

import pytest

from services.dispatcher.adapters.city_pack import CityPack, read_city_pack
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.rhythm import GRACE_US, SENSORS_WIRE, Heard
from services.dispatcher.domain.signals import Panel, Sensor, Use
from services.dispatcher.engine.ports import Page
from services.dispatcher.processes import up
from services.dispatcher.processes.cli_city import feed_words
from services.dispatcher.processes.enrolment import department_feeds
from services.dispatcher.processes.watch import Watch
from tests import builders
from tests.builders import MALL, NOON_US, SECOND_US, Town, panel

HOUR_S = 3_600


@dataclass(slots=True)
class Watched:
    """A town, what is enrolled in it, and the gateway's watch over it."""

    town: Town = field(default_factory=builders.town)
    panels: list[Panel] = field(default_factory=lambda: [panel(rhythm_s=HOUR_S)])
    sensors: list[Sensor] = field(default_factory=list)
    listening: bool = True

    def watch(self) -> Watch:
        made = Watch(
            self.town.store, self.town.engine, lambda: self.panels, lambda: self.sensors, lambda: self.listening,
            self.town.clock.now_us,
        )  # fmt: skip
        with self.town.store.write() as tx:
            tx.put(*self.panels, *self.sensors)
        return made

    def heard(self, id: str) -> Heard:
        return self.town.get(Heard, id)

    def timers(self) -> list[tuple[str, int]]:
        with self.town.store.read() as read:
            due = read.due_timers(2 * NOON_US, 100)
        return [(t.subject, t.due_us) for t in due if t.timer == Timer.SOURCE_SILENT]


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_what_has_a_rhythm_is_watched_and_what_has_none_is_not(watched: Watched) -> None:
    watched.sensors = [
        Sensor("smoke-1", "box-1", "s1", "smoke", MALL, Use.ACTUAL, rhythm_s=HOUR_S),
        Sensor("smoke-2", "box-1", "s2", "smoke", MALL, Use.ACTUAL),
    ]
    assert watched.watch().step() == 2
    assert [subject for subject, _ in watched.timers()] == ["panel/mall-panel", "sensor/smoke-1"]


def test_the_same_sources_again_and_another_gateway_move_no_timer(watched: Watched) -> None:
    first = watched.watch()
    first.step()
    timers = watched.timers()
    watched.town.clock.advance(60)
    first.step()
    watched.watch().step()
    assert watched.timers() == timers


def test_a_rhythm_that_is_taken_away_ends_the_watch(watched: Watched) -> None:
    watch = watched.watch()
    watch.step()
    watched.panels = [panel()]
    assert watch.step() == 0
    assert watched.timers() == []


def test_the_wire_of_the_sensors_is_heard_while_it_is_connected(watched: Watched) -> None:
    watch = watched.watch()
    watch.step()
    watched.listening = False
    watched.town.clock.advance(60)
    watch.step()
    assert watched.heard(SENSORS_WIRE).heard_us == NOON_US


@pytest.mark.parametrize("city", ["dalian", "longgang"])
def test_every_department_of_a_city_is_watched_by_the_rhythm_of_its_pack(watched: Watched, city: str) -> None:
    pack = read_city_pack(up.CITIES / city, date(2026, 7, 1), feed_words())
    assert isinstance(pack, CityPack)
    feeds = [feed for feed, _ in department_feeds(pack.departments, Use.ACTUAL).values()]
    with watched.town.store.write() as tx:
        tx.put(*feeds)
    rhythms = {f"feed/{d.id}": d.rhythm_s for d in pack.departments if d.rhythm_s}
    assert rhythms
    watched.watch().step()
    with watched.town.store.read() as read:
        rows = read.find(Heard, Page(limit=100))
    assert {h.id: h.rhythm_s for h in rows if h.id.startswith("feed/")} == rhythms
    due_us = {id: NOON_US + rhythm_s * SECOND_US + GRACE_US for id, rhythm_s in rhythms.items()}
    assert {id: at_us for id, at_us in watched.timers() if id.startswith("feed/")} == due_us
