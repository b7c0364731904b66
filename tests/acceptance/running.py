"""A whole system as real processes for the acceptance tests: Longgang's city pack, every speaker a real agent."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from services.dispatcher.engine.ports import StoreUnavailable
from services.dispatcher.processes import up
from services.dispatcher.processes.children import free_port
from services.dispatcher.processes.demo import Demo
from services.dispatcher.processes.settings import Settings
from simulators.console import Person
from simulators.drill import Drill
from simulators.scenario import Scenario, Step

LONGGANG = up.CITIES / "longgang"
WITHIN_S = 60.0
LOOK_EVERY_S = 0.1
PLAYBOOK = """
id: short-storm
title: {zh: 暴雨}
hazard: rainstorm
hazard_names: {zh: 暴雨}
event_code: 11B03
when: {corroborated_by: [authority], join_within_s: 60}
level: {suspected: 1, corroborated: 1}
verify: [{up: 0, answer_timeout_s: 600}]
question: {zh: "{place}是否属实？"}
order:
  target: places
  class: emergency
  alert: {zh: "{place}暴雨。"}
  correction: {zh: "{place}更正。"}
  all_clear: {zh: "{place}解除。"}
  volume: 50
  repeat: 1
  gap_s: 0
  valid_s: 900
prove_within_s: 600
"""


@dataclass(slots=True)
class Running:
    """A running system and what the tests do to it."""

    system: up.System
    demo: Demo
    logins: dict[str, Any]
    people: dict[str, Person] = field(default_factory=dict)

    @property
    def var(self) -> Path:
        return self.system.settings.var

    def drill(self) -> Drill:
        """The drill runner's hands, without a script."""
        empty = Scenario("acceptance", {}, ())
        api = f"http://127.0.0.1:{self.system.settings.web_port}"
        ports = self.system.settings.panel_port, self.system.settings.mqtt_port
        hands = Drill(empty, api, *ports, self.logins)
        hands._people = self.people
        return hands

    def person(self, name: str) -> Person:
        """Somebody logged in; the login outlives restarts, since its row does."""
        if name not in self.people:
            api = f"http://127.0.0.1:{self.system.settings.web_port}"
            self.people[name] = Person(api, name, self.logins["people"][name]["password"])
        return self.people[name]

    def kill(self, name: str) -> None:
        """kill -9, and started again by whoever looks after the processes."""
        self.system.children[name][0].process.send_signal(signal.SIGKILL)
        self.system.children[name][0].process.wait(10)
        self.system.look_after()

    def kill_broker(self) -> None:
        child = self.system.mosquitto.child
        assert child is not None
        child.process.send_signal(signal.SIGKILL)
        child.process.wait(10)
        self.system.mosquitto.start(self.system.logins)

    def fire(self, device: int) -> tuple[bool, str]:
        """A detector of the exercise panel's underground venue alarms; whether its frame was confirmed."""
        return self.drill()._inject(Step(say={}, inject="fire", device=device))

    def rows(self, sql: str, *given: object) -> list[tuple[Any, ...]]:
        """Look at the database from outside."""
        if url := self.system.settings.database_url:
            with psycopg.connect(url) as connection:
                return connection.execute(sql.replace("?", "%s"), given).fetchall()
        with closing(sqlite3.connect(f"file:{self.var / 'tocsin.db'}?mode=ro", uri=True, timeout=10)) as connection:
            return connection.execute(sql, given).fetchall()


@contextmanager
def running(
    folder: Path,
    database_url: str = "",
    before_speakers: Callable[[up.System], None] = lambda system: None,
    **changed: object,
) -> Iterator[Running]:
    """Start everything, wait until every speaker is online and configured, stop everything. `changed` are settings.

    `before_speakers` is called when the speakers' settings are written and none of them runs yet. `changed` are
    settings.
    """
    playbooks = folder / "playbooks"
    playbooks.mkdir()
    shutil.copy(up.CITIES.parents[1] / "playbooks" / "schema.json", playbooks)
    (playbooks / "short-storm.yaml").write_text(PLAYBOOK, "utf-8")
    shutil.copy(up.CITIES.parents[1] / "playbooks" / "underground-fire.yaml", playbooks)
    (folder / "var").mkdir(mode=0o700)
    settings, store, city = up.prepare(Settings(var=folder / "var", database_url=database_url), LONGGANG, demo=True)
    settings = settings.model_copy(update={"playbooks": playbooks, **changed})
    demo = Demo(settings, store, city, own_processes=0)
    demo.enrol()
    system = up.start_system(settings, store, city)
    people: dict[str, Person] = {}
    try:
        demo.write_settings(system.settings.mqtt_port)
        before_speakers(system)
        for name, arguments in demo.processes():
            system.start(name, *arguments)
        logins = json.loads((settings.var / "demo-logins.json").read_text("utf-8"))
        town = Running(system, demo, logins, people)
        duty = town.person("duty")
        eventually(lambda: _all(duty.speakers_online()), "every speaker is online")
        yield town
    finally:
        for person in people.values():
            person.close()
        system.stop()


@contextmanager
def another_machine(town: Running, folder: Path) -> Iterator[Running]:
    """A second machine of the same city: a gateway, a web and a worker of its own, with the same keys and secrets, and
    the audio on a disk that both share."""
    first = town.system
    folder.mkdir(mode=0o700)
    shutil.copytree(first.settings.keys, folder / "keys")
    shutil.copy(first.settings.secrets, folder)
    (folder / "audio").symlink_to(first.settings.audio.resolve())
    ports = {name: free_port() for name in ("web_port", "panel_port", "gateway_metrics_port", "worker_metrics_port")}
    settings = first.settings.model_copy(update={"var": folder, **ports})
    system = up.System(
        settings, first.store, first.city, first.mosquitto, first.redis, up.environment(settings), logins=first.logins
    )
    machine = Running(system, town.demo, town.logins)
    try:
        for name in ("web", "gateway", "worker"):
            system.start(name, name)
        system.children["web"][0].wait_until(lambda: up.answers(settings.web_port), within_s=WITHIN_S)
        yield machine
    finally:
        for person in machine.people.values():
            person.close()
        for child, _ in system.children.values():
            child.stop()


def _all(counts: tuple[int, int]) -> bool:
    return counts[0] == counts[1] > 0


def eventually(holds: Callable[[], object], what: str, within_s: float = WITHIN_S) -> None:
    """Look until it holds; a service that is just starting again may refuse meanwhile."""
    until = time.monotonic() + within_s
    last = ""
    while time.monotonic() < until:
        try:
            if holds():
                return
        except (httpx.HTTPError, StoreUnavailable, sqlite3.OperationalError) as refused:
            last = str(refused)
        time.sleep(LOOK_EVERY_S)
    raise AssertionError(f"not within {within_s} s: {what} {last}")


def storm_on_air(town: Running, area: str, meanwhile: Callable[[], None] = lambda: None) -> str:
    """A warning for an area arrives, two people release it; the broadcast's id. `meanwhile` happens at once after."""
    drill = town.drill()
    drill._logins = {**town.logins, "feed": {**town.logins["feed"], "area": area}}
    storm = Step(say={}, inject="cap", file="rainstorm-red.xml")
    eventually(lambda: drill._inject(storm) == (True, ""), "the warning is taken in")
    duty, approver = town.person("duty"), town.person("approver")
    alert = str(drill._incident("rainstorm")["alert"])
    duty.release(alert)
    approver.release(alert)
    meanwhile()
    return alert


def communities(town: Running) -> list[str]:
    """Areas that have speakers of their own, each a stream of its own."""
    return sorted({s.area for s in town.system.city.speakers.values()})


def coverage(town: Running, broadcast: str) -> dict[str, int]:
    duty = town.person("duty")
    counts: dict[str, int] = duty.get(f"/api/broadcasts/{broadcast}")["coverage"]
    return counts


def close_incident(town: Running, broadcast: str) -> None:
    """Stop the alert and close its incident, so that the next warning opens a new one."""
    duty = town.person("duty")
    shown = duty.get(f"/api/broadcasts/{broadcast}")["broadcast"]
    duty.post(f"/api/broadcasts/{broadcast}/stop", {"why": "the round is over"})
    duty.post(f"/api/incidents/{shown['incident']}/close", {"why": "the round is over"})


def starts(town: Running) -> dict[tuple[str, str, int], int]:
    """How often each (speaker, order, repeat) started to sound, by the speakers' own receipts; a repeat that a crash
    or a pre-emption cut short is marked by the speaker and counted apart."""
    counted: dict[tuple[str, str, int], int] = {}
    for speaker, raw in town.rows("SELECT speaker, raw FROM receipt"):
        receipt = json.loads(raw)
        for step in receipt["steps"]:
            if step["kind"] == "playing" and "again" not in (step.get("evidence") or {}):
                key = (speaker, receipt["order"], int(step["evidence"]["repeat"]))
                counted[key] = counted.get(key, 0) + 1
    return counted
