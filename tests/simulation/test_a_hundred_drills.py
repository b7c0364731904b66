"""A hundred drills in one hour at one venue: each is heard and each is ended, on the real engine and real speakers."""

from __future__ import annotations

import pytest

from devices.protocols.speaker_link import Phase
from services.dispatcher.domain.broadcasts import Broadcast, ReleaseGiven, sentences
from services.dispatcher.engine.events import BroadcastAct, IncidentClosed
from simulators import checks, voice
from simulators.offices import DUTY
from simulators.sources import SMOKE
from simulators.world import Run, World

S = 1_000_000
DRILLS = 100
EVERY_S, CLEAR_AFTER_S, CLOSE_AFTER_S = 36, 14, 18
BEGIN_S = 120


class Drills:
    """Sets one drill off after the other, as a runner in a hurry would."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._ended: set[str] = set()
        world._events.plan = lambda until_us: None  # type: ignore[method-assign]
        world._officers.look = lambda: None  # type: ignore[method-assign]
        for number in range(DRILLS):
            at_us = world.clock.us + (BEGIN_S + EVERY_S * number) * S
            world.clock.at(at_us, lambda n=number: self._burn(n))  # type: ignore[misc]
            world.clock.at(at_us + CLEAR_AFTER_S * S, self._clear)
            world.clock.at(at_us + CLOSE_AFTER_S * S, self._close)

    def _burn(self, number: int) -> None:
        panel = self._world._panels["x-metro"]
        for loop in (1, 2):
            panel.report(bytes((number + 1, 0, loop, 0)), SMOKE)

    def newest(self) -> Broadcast:
        rows = self._world._database.rows(Broadcast).values()
        found: Broadcast = max((b for b in rows if b.phase is Phase.ALERT), key=lambda b: b.id)
        return found

    def _clear(self) -> None:
        alert = self.newest()
        rows = self._world._database.rows(Broadcast).values()
        (ending,) = [b for b in rows if b.original == alert.id and b.phase is Phase.ALL_CLEAR]
        given = ReleaseGiven("wang", DUTY, ending.content, sentences(ending)["zh"])
        self._world._desk.ask("wang", BroadcastAct(ending.id, given), lambda: self._ended.add(alert.id))

    def _close(self) -> None:
        self._world._desk.ask("li", IncidentClosed(self.newest().incident, "li", "the drill is over"))

    @property
    def ended(self) -> int:
        return len(self._ended)


def test_a_hundred_drills_within_an_hour_are_all_heard_and_all_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (voice, checks):
        monkeypatch.setattr(module, "STARTS_PER_HOUR_MAX", 1_000)
    world = World(Run(7, (), 1, BEGIN_S + EVERY_S * DRILLS + 120))
    drills = Drills(world)
    outcome = world.run()
    assert outcome.violations == ()
    assert (drills.ended, outcome.counts["act.release"], outcome.counts["refused.over_cap"]) == (DRILLS, 0, 0)
    rows = world._database.rows(Broadcast).values()
    alerts = {f"exercise/{b.id}" for b in rows if b.phase is Phase.ALERT and b.rev}
    clears = {f"exercise/{b.id}" for b in rows if b.phase is Phase.ALL_CLEAR and b.rev}
    assert (len(alerts), len(clears)) == (DRILLS, DRILLS)
    venue = drills.newest().selector.venues
    listeners = [s for s in world.speakers if s.state.papers.config and s.state.papers.config.venue in (venue or ())]
    assert listeners
    for speaker in listeners:
        heard = {h.plan.order for h in speaker.heard}
        assert (alerts - heard, clears - heard) == (set(), set())
