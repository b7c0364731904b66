"""`tocsin bench growth`: what a city of more speakers costs, step by step, and what grows faster than the city does.

Everything runs in a process of its own for each size: engine, store, staging and the gateway's speaker side, with a
broker that takes everything at once, so that only the product's own work is measured. Eight speakers stand in each
underground hall, and a standing order covers every hall; a red warning is for the whole city.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import resource
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from math import log
from pathlib import Path

from devices.protocols.speaker_link import KeyUse, manifest_topic
from services.dispatcher.adapters.keystore import KeyFolder, KeySigner, Scope
from services.dispatcher.adapters.manifests import SpeakerSide, Spreads
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import Broadcast, ReleaseGiven, sentences
from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Area, Office, Speaker, Venue, VenueKind
from services.dispatcher.engine import clock
from services.dispatcher.engine.air.staging import Staging
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, ServiceChanged, SignalArrived
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.relay import Carrier, Finish, Relay
from services.dispatcher.engine.rows import Asset, Stream, Wording
from services.dispatcher.processes.enrolment import enrol_speakers
from services.dispatcher.processes.settings import Settings
from services.dispatcher.processes.wiring import make_engine, start_logging
from simulators.bench import town
from simulators.bench.database import fresh_database
from simulators.bench.result import BenchFailed

SPEAKERS_MAX = 200_000
SPEAKERS_A_HALL = 8
STREAM = manifest_topic(town.CITY, KeyUse.EXERCISE, town.ISSUER)
FASTER_THAN_LINEAR = 1.2
"""A cost that grows with the speakers to a power above this grows faster than they do."""
NOISE_S = 0.2
"""A step that takes less than this at the larger size is not rated."""
PUBLISHED_WITHIN_S = 120.0
RELAY_LOOKS_S = 0.05
STEPS = (
    "import", "enrolment", "staging", "audio", "out_of_service", "configs", "draft", "release", "restart",
    "restart_empty_broker",
)  # fmt: skip

Figures = dict[str, float]


def bench_growth(folder: Path, sizes: Sequence[int], database: str = "") -> dict[str, object]:
    """Measure; the figures for the JSON line. Raises BenchFailed."""
    found: dict[int, Figures] = {}
    for speakers in sorted(set(sizes)):
        # A process of its own, so that its memory is that of this size.
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            try:
                found[speakers] = pool.submit(measure, folder / str(speakers), speakers, database).result()
            except BrokenProcessPool as broken:
                raise BenchFailed(f"The process with {speakers} speakers ended without figures.") from broken
    # What else the machine does moves the clock, and not the processor's time; a server's work is not in the latter.
    grows = powers(found, "s" if database else "cpu_s")
    return {
        "bench": "growth",
        "database": "postgresql" if database else "sqlite",
        "sizes": {str(speakers): figures for speakers, figures in found.items()},
        "powers": grows,
        "faster_than_linear": [name for name, power in grows.items() if power > FASTER_THAN_LINEAR],
    }


def powers(found: Mapping[int, Figures], clock: str) -> dict[str, float]:
    """To which power of the speakers each step grows by that clock, the greatest between neighbouring sizes; without
    those that take no time worth rating."""
    grows: dict[str, float] = {}
    for step in STEPS:
        name = f"{step}_{clock}"
        for few, more in pairwise(found):
            if name in found[more] and found[more][name] >= NOISE_S:
                power = log(found[more][name] / max(found[few][name], 1e-4)) / log(more / few)
                grows[step] = max(grows.get(step, 0.0), round(power, 2))
    return grows


def measure(folder: Path, speakers: int, database: str = "") -> Figures:
    """Seconds of each step at one size. Raises BenchFailed where a step did not do what it is measured for."""
    folder.mkdir(parents=True)
    start_logging("bench")
    logging.disable(logging.WARNING)
    with fresh_database(folder / "tocsin.db", database) as url:
        city = _City(Settings(var=folder / "var", database_url=url))
        try:
            figures = city.measure(speakers)
        finally:
            city.store.close()
    return {name: round(value, 4) for name, value in figures.items()}


@dataclass(slots=True)
class _Broker:
    """A broker that takes everything at once, and tells when a manifest came."""

    copies: dict[str, bytes] = field(default_factory=dict)
    manifest: threading.Event = field(default_factory=threading.Event)

    @property
    def connected(self) -> bool:
        return True

    def held(self, topics: Sequence[str]) -> dict[str, bytes]:
        return {topic: self.copies[topic] for topic in topics if topic in self.copies}

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.publish_soon(topic, payload, retain=retain)()

    def publish_soon(self, topic: str, payload: bytes, *, retain: bool = False) -> Finish:
        if retain:
            self.copies[topic] = payload
        if topic == STREAM:
            self.manifest.set()
        return lambda: None


class _City:
    """A city in one database, from its import to a gateway's restart."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = SqlStore(settings.database)
        keys, now_us = KeyFolder(settings.keys), time.time_ns() // 1_000
        keys.init(town.ISSUER, town.CITY, now_us)
        keys.make(Scope(KeyUse.EXERCISE, town.ISSUER, town.CITY, 365), now_us)

    def measure(self, speakers: int) -> Figures:
        """Every step in the order in which a city goes through them."""
        figures: Figures = {}
        made = rows(speakers)
        names = [row.id for row in made if isinstance(row, Speaker)]
        engine = make_engine(self.settings, self.store)
        with _measured(figures, "import"):
            self._import(made)
        with _measured(figures, "enrolment"):
            enrol_speakers(self.store, names, "bench")
        figures |= self._stage(engine, speakers)
        broker = _Broker()
        with _measured(figures, "configs"):
            self._publish_configs(engine, broker, speakers)
        with _measured(figures, "draft"):
            alert = _draft(self.store, engine)
        if alert.speakers != speakers:
            raise BenchFailed(f"The draft is for {alert.speakers} of {speakers} speakers.")
        _release(engine, alert, "duty", Role.DUTY_OFFICER)
        with _measured(figures, "release"):
            _release(engine, alert, "approver", Role.APPROVER)
        self._restart(broker, figures, "restart")
        self._restart(_Broker(), figures, "restart_empty_broker")
        figures["memory_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1_024
        return figures

    def _import(self, made: Sequence[object]) -> None:
        with self.store.write() as tx:
            import_city(tx, town.settings(), made, "bench")

    def _stage(self, engine: Engine, speakers: int) -> Figures:
        """Plans of a new city, its audio when all of it is rendered, and one speaker out of service."""
        staging, halls = Staging(self.store), _halls(speakers)
        figures: Figures = {}
        with _measured(figures, "staging"):
            plans, _ = self._steps(engine, staging, figures)
        if plans != halls:
            raise BenchFailed(f"{plans} plans were made for {halls} halls.")
        with self.store.write() as tx:
            words = tx.find(Wording, Page(limit=4 * speakers))
            tx.put(*(Asset(w.id, w.lang, "opus", w.id * 2, 9_000, 27_000, spoken=True) for w in words))
        staging.look_again(everywhere=True)
        with _measured(figures, "audio"):
            _, venues = self._steps(engine, staging, figures)
        if venues != halls:
            raise BenchFailed(f"{venues} of {halls} halls have audio.")
        out = ServiceChanged(town.speaker_names(1)[0], "bench", "water", time.time_ns() // 1_000 + 3_600_000_000)
        with _measured(figures, "out_of_service"):
            engine.handle([out])
            remade, _ = self._steps(engine, staging, figures)
        return figures | {"plans": plans, "plans_made_again": remade}

    def _steps(self, engine: Engine, staging: Staging, figures: Figures) -> tuple[int, int]:
        """Bite after bite until nothing is left to stage; plans made and venues whose audio changed."""
        plans = venues = 0
        more = True
        while more:
            city = engine.read_city()
            started = time.perf_counter()
            done = staging.step(city, engine.playbooks)
            step_s = time.perf_counter() - started
            figures["longest_bite_s"] = max(figures.get("longest_bite_s", 0.0), step_s)
            plans, venues, more = plans + done.plans, venues + done.venues, done.more
        return plans, venues

    def _publish_configs(self, engine: Engine, broker: _Broker, speakers: int) -> None:
        side, relay = self._gateway(self.store, engine, broker, Carry.PUBLISH_CONFIG)
        while relay.run():
            pass
        if len(broker.copies) != speakers:
            raise BenchFailed(f"{len(broker.copies)} of {speakers} configs are at the broker.")

    def _gateway(self, store: SqlStore, engine: Engine, broker: _Broker, carry: Carry) -> tuple[SpeakerSide, Relay]:
        signer = KeySigner(KeyFolder(self.settings.keys), store.clock.now_us)
        side = SpeakerSide(store, signer, broker, engine.read_city, store.clock, Spreads(), self.settings.audio_base)
        carriers: dict[Carry, Carrier] = {
            Carry.PUBLISH_CONFIG: side.publish_config,
            Carry.PUBLISH_STREAM: side.publish_stream,
        }
        return side, Relay(store, engine, {carry: carriers[carry]}, "bench", store.clock)

    def _restart(self, broker: _Broker, figures: Figures, name: str) -> None:
        """From opening the store to the first manifest at the broker, as a gateway's threads do it: one compares the
        broker's copies, another publishes what waits."""
        with self.store.write() as tx:
            tx.save(Save(Carry.PUBLISH_STREAM, STREAM))
        broker.manifest.clear()
        with ExitStack() as ending:
            with _measured(figures, name):
                store = ending.enter_context(closing(SqlStore(self.settings.database)))
                engine = make_engine(self.settings, store)
                clock.begin(store)
                side, relay = self._gateway(store, engine, broker, Carry.PUBLISH_STREAM)
                for topic, raw in tuple(broker.copies.items()):
                    side.seen(topic, raw)
                threads = [
                    threading.Thread(target=side.reconcile),
                    threading.Thread(target=_relayed, args=(relay, broker)),
                ]
                for thread in threads:
                    thread.start()
                    ending.callback(thread.join)
                if not broker.manifest.wait(PUBLISHED_WITHIN_S):
                    raise BenchFailed("The gateway published no manifest.")
        with self.store.read() as read:
            stream = read.get(Stream, STREAM)
        if stream is None or broker.copies.get(STREAM) != stream.signed:
            raise BenchFailed("What the broker holds is not what was signed.")


def _relayed(relay: Relay, broker: _Broker) -> None:
    until = time.monotonic() + PUBLISHED_WITHIN_S
    while not broker.manifest.is_set() and time.monotonic() < until:
        if not (relay.waiting() and relay.run()):
            broker.manifest.wait(RELAY_LOOKS_S)


def rows(speakers: int) -> list[Area | Venue | Office | Speaker]:
    """The made-up town with an underground hall for every eight speakers, dealt out to the streets."""
    halls = [_hall(number) for number in range(_halls(speakers))]
    ground: list[Area | Venue | Office | Speaker] = [r for r in town.rows(0) if isinstance(r, Area | Office)]
    names = town.speaker_names(speakers)
    return [*ground, *halls, *(_speaker(name, halls[at // SPEAKERS_A_HALL], at) for at, name in enumerate(names))]


def _halls(speakers: int) -> int:
    return -(-speakers // SPEAKERS_A_HALL)


def _hall(number: int) -> Venue:
    lat_e7, lon_e7 = 389_000_000 + 10_000 * (number // 100), 1_216_000_000 + 10_000 * (number % 100)
    street = town.STREETS[number % len(town.STREETS)]
    name = f"{number}号地下商城"
    return Venue(f"hall-{number:05}", name, VenueKind.UNDERGROUND, street, lat_e7, lon_e7, 500, "made", 10)


def _speaker(name: str, at: Venue, number: int) -> Speaker:
    return Speaker(name, at.id, at.area, name, at.lat_e7, at.lon_e7 + number % SPEAKERS_A_HALL)


def _draft(store: SqlStore, engine: Engine) -> Broadcast:
    incident_id = engine.handle([SignalArrived(town.storm(1))]).incidents[0]
    with store.read() as read:
        incident = read.get(Incident, incident_id)
        alert = read.get(Broadcast, incident.alert) if incident is not None else None
    if alert is None:
        raise BenchFailed("The red warning was not drafted: its playbook is not here.")
    return alert


def _release(engine: Engine, alert: Broadcast, person: str, role: Role) -> None:
    given = ReleaseGiven(person, frozenset({role}), alert.content, sentences(alert)["zh"])
    engine.handle([BroadcastAct(alert.id, given)])


@contextmanager
def _measured(figures: Figures, name: str) -> Iterator[None]:
    """Seconds by the clock, and of this process's processor."""
    gc.collect()
    started, cpu = time.perf_counter(), time.process_time()
    yield
    figures[f"{name}_s"] = time.perf_counter() - started
    figures[f"{name}_cpu_s"] = time.process_time() - cpu
