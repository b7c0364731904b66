"""`tocsin bench fanout`: from the release of an order until the last of many connected speakers holds it.

Three roads to the same connections take turns. Raw: a bare client publishes a manifest that the connections have not
seen on that topic. Ours: the engine call that releases the order, as the web process makes it; the gateway's process
sees the commit, signs and publishes. HTTP: the same by the second officer's request to the web process. Every
connection compares every byte, and what they hold must be what the database says was signed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from devices.protocols import speaker_link
from devices.protocols.speaker_link import KeyUse, manifest_topic
from services.dispatcher.adapters.keystore import KeyFolder
from services.dispatcher.domain.broadcasts import Broadcast, ReleaseGiven, sentences
from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, IncidentClosed, SignalArrived, TimerDue
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.rows import Stream, TimerRow
from services.dispatcher.processes.wiring import make_engine
from simulators.bench import town, wire
from simulators.bench.crowd import Crowd
from simulators.bench.plain import Plain
from simulators.bench.result import BenchFailed, median, spread
from simulators.bench.running import APPROVER, DUTY, RAW, RAW_TOPIC, Running, running
from simulators.console import Person

STREAM = manifest_topic(town.CITY, KeyUse.EXERCISE, town.ISSUER)
ROUNDS_WITHIN_S = 200.0
BETWEEN_ROUNDS_S = 0.3
"""For the broker to take in ten thousand acknowledgements, which no figure is about."""
DAY_US = 86_400_000_000


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds of one round: until the releasing call came back, until the first connection holds it, until the last."""

    call_s: float
    first_s: float
    last_s: float


class Fanout:
    """The rounds over a running product and its crowd."""

    def __init__(self, run: Running, crowd: Crowd) -> None:
        self._run, self._crowd = run, crowd
        self._engine = make_engine(run.settings, run.store)
        self._keys = KeyFolder(run.settings.keys).document()
        self._number = 0
        self.manifest = b""

    def raw(self, publisher: Plain) -> Took:
        """Publish the manifest of the round before, which nobody has seen on this topic."""
        packet = wire.publish(RAW_TOPIC, self.manifest, 1, retain=True)
        started_ns = time.monotonic_ns()
        publisher.publish(packet)
        return self._took(started_ns, RAW_TOPIC, lambda: self.manifest)

    def ours(self) -> Took:
        """Release by the engine call."""
        incident, alert = self._drafted()
        return self._released(incident, alert.id, lambda: self._release(alert, APPROVER, Role.APPROVER))

    def http(self, approver: Person) -> Took:
        """Release by the second officer's request; what the draft says was read before."""
        incident, alert = self._drafted()
        shown = approver.get(f"/api/broadcasts/{alert.id}")["broadcast"]
        read = {"content": shown["content"], "sentence": shown["sentences"]["zh"]}
        path = f"/api/broadcasts/{alert.id}/release"
        return self._released(incident, alert.id, lambda: approver.post(path, read))

    def _drafted(self) -> tuple[str, Broadcast]:
        """A red warning with its order drafted, staged, and released by the first officer."""
        self._number += 1
        incident_id = self._engine.handle([SignalArrived(town.storm(self._number))]).incidents[0]
        with self._run.store.read() as read:
            incident = read.get(Incident, incident_id)
            alert = read.get(Broadcast, incident.alert) if incident is not None else None
        if alert is None:
            raise BenchFailed("The red warning was not drafted: its playbook is not here.")
        self._run.wait_for_audio(alert.id)
        self._release(alert, DUTY, Role.DUTY_OFFICER)
        self._run.settle()
        time.sleep(BETWEEN_ROUNDS_S)
        return incident_id, alert

    def _release(self, alert: Broadcast, person: str, role: Role) -> None:
        given = ReleaseGiven(person, frozenset({role}), alert.content, sentences(alert)["zh"])
        self._engine.handle([BroadcastAct(alert.id, given)])

    def _released(self, incident: str, alert: str, release: Callable[[], object]) -> Took:
        started_ns = time.monotonic_ns()
        release()
        took = self._took(started_ns, STREAM, lambda: self._on_air(alert))
        self.manifest = self._on_air(alert)
        self._run.settle()
        over(self._run, self._engine, incident, alert)
        return took

    def _on_air(self, alert: str) -> bytes:
        """What the database says was signed with this order and no other; nothing before that."""
        with self._run.store.read() as read:
            stream = read.get(Stream, STREAM)
        if stream is None or not stream.signed:
            return b""
        manifest = speaker_link.read_manifest(stream.signed, STREAM, self._keys, None, None)
        return stream.signed if [order.id for order in manifest.orders] == [alert] else b""

    def _took(self, started_ns: int, topic: str, published: Callable[[], bytes]) -> Took:
        """Wait until every connection holds what was published. Raises BenchFailed when that takes too long."""
        called_ns = time.monotonic_ns()
        # The end of the order before is published, too, and may come only now.
        while (held := self._crowd.holds(topic)).sha256 != hashlib.sha256(published()).hexdigest():
            pass
        return Took(*((at_ns - started_ns) / 1e9 for at_ns in (called_ns, held.first_ns, held.last_ns)))


def over(run: Running, engine: Engine, incident: str, alert: str) -> None:
    """Put an order so far back that its time has passed, and close its incident. PostgreSQL has a clock of its own,
    which can't be put forward."""
    with run.store.write() as tx:
        on_air = tx.get_locked(Broadcast, alert)
        assert on_air is not None, "it was just released"
        back_us = (on_air.valid_s + 1) * 1_000_000
        start_us, expires_us = on_air.start_at_us - back_us, on_air.expires_us - back_us
        tx.put(replace(on_air, start_at_us=start_us, expires_us=expires_us))
    engine.handle([TimerDue(TimerRow(Timer.EXPIRES, alert, on_air.expires_us, on_air.expires_us + DAY_US))])
    engine.handle([IncidentClosed(incident, DUTY, "the round is over")])


def bench_fanout(folder: Path, speakers: int, rounds: int, agents: int, database: str = "") -> dict[str, object]:
    """Measure; the figures for the JSON line. `agents` of the speakers are real agents. Raises BenchFailed."""
    raw: list[Took] = []
    ours: list[Took] = []
    http: list[Took] = []
    with running(folder, speakers, agents, database) as run, Crowd(run.settings.mqtt_port, run.plain) as crowd:
        run.settle()
        run.wait_for_agents()
        fanout = Fanout(run, crowd)
        with (
            closing(Person(run.api, APPROVER, run.passwords[APPROVER])) as approver,
            Plain(run.settings.mqtt_port, RAW, run.raw_secret) as publisher,
        ):
            # The first round of each road warms it up: audio is rendered, the city is read into memory.
            fanout.ours()
            fanout.raw(publisher)
            fanout.http(approver)
            give_up = time.monotonic() + ROUNDS_WITHIN_S
            while len(raw) < rounds and (not raw or time.monotonic() < give_up):
                raw.append(fanout.raw(publisher))
                ours.append(fanout.ours())
                http.append(fanout.http(approver))
    return {
        "bench": "fanout",
        "speakers": speakers,
        "agents": agents,
        "rounds": len(raw),
        "manifest_bytes": len(fanout.manifest),
        **_figures("raw", raw),
        **_figures("ours", ours),
        **_figures("http", http),
        "ratio": _ratio(ours, raw),
        "http_ratio": _ratio(http, raw),
    }


def _figures(road: str, rounds: list[Took]) -> dict[str, object]:
    last_s = [took.last_s for took in rounds]
    return {
        f"{road}_s": median(last_s),
        f"{road}_spread": spread(last_s),
        f"{road}_call_s": median([took.call_s for took in rounds]),
        f"{road}_first_s": median([took.first_s for took in rounds]),
    }


def _ratio(ours: list[Took], raw: list[Took]) -> float:
    return round(median([took.last_s for took in ours]) / median([took.last_s for took in raw]), 3)
