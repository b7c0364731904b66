"""Planted against law 10: silence and lateness release nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from services.dispatcher.domain.broadcasts import (
    Broadcast,
    StandingGiven,
)
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, Event, Outcome, TimerDue
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.writing import write
from simulators.dispatcher import Parts
from simulators.offices import Temper
from simulators.sources import Fire
from simulators.world import World
from tests.simulation.planted.planting import found, laws_broken


def test_law_10_catches_a_ladder_that_does_not_climb() -> None:
    class Patient(Engine):
        """Asks the same rung again and again."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            before = {}
            with self._store.read() as read:
                for task in read.find(Task, Page(limit=500)):
                    before[task.id] = task.rung
            outcome = super().handle(events)
            if any(isinstance(event, TimerDue) for event in events):
                with write(self._store) as tx:
                    for task in tx.find(Task, Page(limit=500)):
                        if task.state is TaskState.ASKED and task.rung != before.get(task.id, task.rung):
                            tx.put(replace(task, rung=before[task.id]))
            return outcome

    assert laws_broken(Parts(engine=Patient), faults=()) == {10}


class Eager(Engine):
    """Releases at the end of every ladder, whatever the playbook says and however late it is."""

    def handle(self, events: Sequence[Event]) -> Outcome:
        outcome = super().handle(events)
        for event in events:
            if isinstance(event, TimerDue) and event.timer.timer == Timer.RUNG:
                self._release_for(event.timer.subject)
        return outcome

    def _release_for(self, task_id: str) -> None:
        with self._store.read() as read:
            task = read.get(Task, task_id)
            incident = read.get(Incident, task.incident) if task is not None else None
            alert = read.get(Broadcast, incident.alert) if incident is not None else None
        if task is not None and task.state is TaskState.UNANSWERED and alert is not None:
            super().handle([BroadcastAct(alert.id, StandingGiven("because nobody answered"))])


def test_law_10_catches_a_release_that_the_playbook_does_not_allow() -> None:
    broken = found(Parts(engine=Eager), faults=(), prepare=nobody_answers)
    assert any(v.law == 10 and v.sentence.endswith("but its playbook holds") for v in broken)


class Silent(Temper):
    """Offices that never answer."""

    def of(self, rough: int, calm: int) -> int:
        return 100


class EagerAtTheHub(Eager):
    """Releases where the playbook allows it, and asks nobody how late it is."""

    def _release_for(self, task_id: str) -> None:
        with self._store.read() as read:
            task = read.get(Task, task_id)
            incident = read.get(Incident, task.incident) if task is not None else None
        if incident is not None and incident.playbook == "hub-fire":
            super()._release_for(task_id)


def nobody_answers(world: World) -> None:
    """Detectors have gone off everywhere, and the offices say nothing."""
    for panel in world._panels.values():
        panel.fires += [Fire(world.clock.us, panel.panel, device, False, True) for device in (b"1", b"2")]
    world.clock.later(1_000_000, lambda: setattr(world._offices, "temper", Silent()))


def test_law_10_catches_a_release_by_a_timer_that_came_too_late() -> None:
    def away_and_silent(world: World) -> None:
        nobody_answers(world)
        for second in range(100, 1_700, 200):
            world.clock.later(second * 1_000_000, lambda: world.database_away(True))
            world.clock.later((second + 150) * 1_000_000, lambda: world.database_away(False))

    broken = found(Parts(engine=EagerAtTheHub), faults=(), prepare=away_and_silent)
    assert {v.law for v in broken} == {10}
    assert any("s late released" in v.sentence for v in broken)


def test_law_10_catches_a_release_by_a_timer_while_the_clock_is_off() -> None:
    def off_and_silent(world: World) -> None:
        nobody_answers(world)
        world.clock.later(50_000_000, lambda: world.jump(230_000_000))
        for second in range(100, 1_700, 200):
            # What comes in late releases nothing by itself, so that a ladder is what is left.
            world.clock.later(second * 1_000_000, lambda: world.database_away(True))
            world.clock.later((second + 100) * 1_000_000, lambda: world.database_away(False))

    broken = found(Parts(engine=EagerAtTheHub), faults=(), prepare=off_and_silent)
    assert {v.law for v in broken} == {10}
    assert any(v.sentence.endswith("though the clock had jumped") for v in broken)
