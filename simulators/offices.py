"""People in the simulation: offices that answer late, twice, against themselves or never, and officers at the desk.

They act through the engine as the console does. A request may die before or after its commit; then they try again.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

from devices.protocols.speaker_link import Phase
from services.dispatcher.domain.broadcasts import (
    Broadcast,
    BroadcastEvent,
    BroadcastState,
    Declined,
    ReleaseGiven,
    Resumed,
    Stopped,
    sentences,
)
from services.dispatcher.domain.incidents import Incident, Verdict
from services.dispatcher.domain.refusals import Refused
from services.dispatcher.engine.desk import adopt_stream
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, Event, IncidentClosed, TaskAnswered
from services.dispatcher.engine.ports import Page, StoreUnavailable
from services.dispatcher.engine.rows import Stream
from simulators.clock import VirtualClock
from simulators.database import Killed, Process

TRY_AGAIN_US = 3_000_000
TRIES_MAX = 40
DUTY = frozenset({"duty_officer"})
APPROVER = frozenset({"approver", "duty_officer"})
CLERK = frozenset({"office"})
PEOPLE = {"li": DUTY, "wang": DUTY, "zhao": APPROVER, "sun": CLERK}


class Town(Protocol):
    """What people need of the world around them."""

    def say(self, subject: str, words: str) -> None: ...
    def count(self, what: str) -> None: ...
    def web(self) -> tuple[Process, Engine]: ...
    def acted(self, person: str, act: BroadcastAct, done: bool) -> None: ...
    def refused(self, act: BroadcastAct, code: str) -> None: ...
    def stolen(self, kid: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class Temper:
    """How people are, in per cent. `calm` people do everything right and in time."""

    calm: bool = False

    def of(self, rough: int, calm: int) -> int:
        return calm if self.calm else rough


class Desk:
    """One door to the engine for everybody: tries again when the request died, and counts refusals."""

    def __init__(self, town: Town, clock: VirtualClock) -> None:
        self._town, self._clock = town, clock

    def ask(self, person: str, event: Event, done: Callable[[], None] = lambda: None, tries: int = 0) -> None:
        """Hand an event in. `done` is called once it was certainly taken."""
        process, engine = self._town.web()
        act = event if isinstance(event, BroadcastAct) else None
        try:
            if act is not None:
                self._town.acted(person, act, False)
            engine.handle([event])
        except Refused as refused:
            self._town.count(f"refused.{refused.code}")
            self._town.say(person, f"is refused: {refused.code}")
            if act is not None:
                self._town.refused(act, refused.code)
            return
        except (Killed, StoreUnavailable):
            self._town.count("request.died")
            if tries < TRIES_MAX:
                self._clock.later(TRY_AGAIN_US, lambda: self.ask(person, event, done, tries + 1))
            return
        if act is not None:
            self._town.acted(person, act, True)
        done()

    def read(self) -> Process:
        return self._town.web()[0]


class Offices:
    """All offices. They hear of tasks over MQTT as the relay publishes them."""

    def __init__(self, town: Town, desk: Desk, clock: VirtualClock, rng: Random) -> None:
        self._town, self._desk, self._clock, self._rng = town, desk, clock, rng
        self.temper = Temper()
        self._asked: set[tuple[str, str]] = set()

    def heard(self, topic: str, payload: bytes) -> None:
        """A message for an office; the same task again is no news."""
        office = topic.split("/")[3]
        said = json.loads(payload)
        if said["state"] != "asked" or (office, said["task"]) in self._asked:
            return
        self._asked.add((office, said["task"]))
        self._decide(office, str(said["task"]), said["kind"] == "verify")

    def _decide(self, office: str, task: str, verify: bool) -> None:
        if self._rng.randrange(100) < self.temper.of(45, 30):
            self._town.count("office.never")
            return
        late = self._rng.randrange(100) < self.temper.of(25, 0)
        self._town.count("office.late" if late else "office.in_time")
        after_us = self._rng.randint(100, 400) * 1_000_000 if late else self._rng.randint(5, 50) * 1_000_000
        first = self._rng.choice((Verdict.CONFIRM, Verdict.CONFIRM, Verdict.REFUTE, Verdict.UNSURE))
        self._answer(after_us, office, task, first)
        if self._rng.randrange(100) < self.temper.of(25, 0):
            again = self._rng.choice((first, Verdict.CONFIRM, Verdict.REFUTE))
            self._town.count("office.twice" if again is first else "office.contradicts")
            self._answer(after_us + self._rng.randint(1, 120) * 1_000_000, office, task, again)
        if self._rng.randrange(100) < self.temper.of(5, 0):
            self._answer(after_us, "temple-guard", task, first)

    def _answer(self, after_us: int, office: str, task: str, verdict: Verdict) -> None:
        event = TaskAnswered(task, f"{office}-clerk", office, verdict)

        def answer() -> None:
            self._town.say(office, f"answers {verdict} to {task}")
            self._desk.ask(office, event)

        self._clock.later(after_us, answer)


class Officers:
    """The duty desk: looks at drafts and at what is on air, and acts, not always well."""

    def __init__(self, town: Town, desk: Desk, clock: VirtualClock, rng: Random) -> None:
        self._town, self._desk, self._clock, self._rng = town, desk, clock, rng
        self.temper = Temper()
        self._handled: set[tuple[str, str]] = set()

    def look(self) -> None:
        """Look at the screen; called again and again."""
        try:
            with self._desk.read().read() as read:
                rows = read.find(Broadcast, Page(limit=500))
                streams = read.find(Stream, Page(limit=100))
                incidents = read.find(Incident, Page(limit=500))
        except StoreUnavailable:
            return
        for b in rows:
            if (b.id, b.state) in self._handled:
                continue
            if b.phase is Phase.ALERT and b.state in (BroadcastState.DRAFT, BroadcastState.HELD):
                self._handled.add((b.id, b.state))
                self._on_draft(b)
            elif b.phase is Phase.ALERT and b.state is BroadcastState.ON_AIR:
                self._handled.add((b.id, b.state))
                self._on_air(b)
        for stream in streams:
            if self._town.stolen(stream.foreign_kid):
                continue  # It is an incident, and people adopt nothing of it.
            if stream.foreign and (stream.id, "foreign") not in self._handled:
                self._handled.add((stream.id, "foreign"))
                if self._chance(70, 100):
                    self._adopt(stream.id)
        for incident in incidents:
            if incident.open and (incident.id, "close") not in self._handled:
                self._handled.add((incident.id, "close"))
                if self._chance(15, 0):
                    self._soon(5, 600, lambda i=incident.id: self._close(i))  # type: ignore[misc]

    def _close(self, incident: str) -> None:
        self._town.say("li", f"closes {incident}")
        closed = IncidentClosed(incident, "li", "over")
        self._desk.ask("li", closed, lambda: self._town.count("incident.closed"))

    def forget(self) -> None:
        """After a restore, everything on the screen is new again."""
        self._handled.clear()

    def _chance(self, rough: int, calm: int) -> bool:
        return self._rng.randrange(100) < self.temper.of(rough, calm)

    def _soon(self, least_s: int, most_s: int, action: Callable[[], None]) -> None:
        self._clock.later(self._rng.randint(least_s, most_s) * 1_000_000, action)

    def _on_draft(self, b: Broadcast) -> None:
        if self._chance(20, 0):
            self._soon(5, 90, lambda: self._act("li", b.id, Declined("li", DUTY, "nothing to it"), "decline"))
            return
        if self._chance(15, 10):
            self._town.count("draft.left")
            return
        if self._chance(5, 0):
            self._soon(5, 60, lambda: self._act("sun", b.id, Stopped("sun", CLERK, "curious"), "stop"))
        if self._chance(10, 0):
            self._soon(1, 20, lambda: self._follow(b.id, Phase.ALL_CLEAR))
        self._soon(10, 60, lambda: self._release(b.id, "li"))
        if self._chance(70, 90):
            second = "li" if self._chance(15, 0) else ("wang" if self._chance(15, 0) else "zhao")
            self._soon(20, 120, lambda: self._release(b.id, second))

    def _on_air(self, b: Broadcast) -> None:
        if self._chance(25, 10):
            self._soon(2, 60, lambda: self._stop(b.id))
        if self._chance(30, 25):
            self._soon(5, 400, lambda: self._follow(b.id, Phase.CORRECTION))
        if self._chance(30, 40):
            self._soon(60, 700, lambda: self._follow(b.id, Phase.ALL_CLEAR))

    def _stop(self, broadcast: str) -> None:
        self._act("wang", broadcast, Stopped("wang", DUTY, "wait a moment"), "stop")
        if self._chance(60, 60):
            who = "li" if self._chance(15, 0) else "wang"
            self._soon(5, 80, lambda: self._act(who, broadcast, Resumed(who, DUTY), "resume"))

    def _release(self, broadcast: str, person: str) -> None:
        """Read the draft, and confirm what was read some seconds later, when it may have changed."""
        b = self._read(broadcast)
        if b is None:
            return
        said = sentences(b)["zh"]
        if self._chance(5, 0):
            said = said.replace("实警", "演练")
        event = ReleaseGiven(person, PEOPLE[person], b.content, said)
        self._soon(2, 15, lambda: self._act(person, broadcast, event, "release"))

    def _follow(self, alert: str, phase: Phase) -> None:
        try:
            with self._desk.read().read() as read:
                found = read.find(Broadcast, Page(limit=1), original=alert, phase=phase)
        except StoreUnavailable:
            return
        if found and found[0].state is BroadcastState.DRAFT:
            event = ReleaseGiven("wang", DUTY, found[0].content, sentences(found[0])["zh"])
            self._act("wang", found[0].id, event, str(phase))

    def _adopt(self, topic: str) -> None:
        def adopt() -> None:
            try:
                adopt_stream(self._desk.read(), topic, "li")
            except (Refused, Killed, StoreUnavailable):
                return
            self._town.count("adopted")
            self._town.say("li", f"adopts {topic}")

        self._soon(20, 120, adopt)

    def _act(self, person: str, broadcast: str, event: BroadcastEvent, what: str) -> None:
        self._town.say(person, f"{what} {broadcast}")
        self._desk.ask(person, BroadcastAct(broadcast, event), lambda: self._town.count(f"act.{what}"))

    def _read(self, broadcast: str) -> Broadcast | None:
        try:
            with self._desk.read().read() as read:
                return read.get(Broadcast, broadcast)
        except StoreUnavailable:
            return None
