"""The whole product as its own processes over a made-up city, for as long as a benchmark lasts; exercise keys alone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from devices.protocols.speaker_link import KeyUse, area_manifests, manifest_topic
from services.dispatcher.adapters.broker import BrokerLogin, new_secret
from services.dispatcher.adapters.keystore import KeyFolder, Scope
from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.domain.effects import Carry
from services.dispatcher.engine.cities import CityInMemory, import_city
from services.dispatcher.engine.people import Role, create_person, fresh_secret
from services.dispatcher.engine.ports import Page, Store
from services.dispatcher.engine.rows import Live
from services.dispatcher.processes.children import Mosquitto, Redis, free_port
from services.dispatcher.processes.enrolment import (
    BrokerAddress,
    broker_logins,
    enrol_gateways,
    enrol_speakers,
    speaker_settings,
)
from services.dispatcher.processes.private import write_private
from services.dispatcher.processes.settings import Settings
from services.dispatcher.processes.up import System, answers, environment
from simulators.bench import town
from simulators.bench.crowd import Login
from simulators.bench.database import fresh_database
from simulators.bench.database_line import line_to
from simulators.bench.result import BenchFailed

RAW = "bench-raw"
RAW_TOPIC = manifest_topic(town.CITY, KeyUse.EXERCISE, "raw")
"""A stream of an issuer that there is not: the same subscriptions as the city's own stream, and nobody else's words."""

DUTY, APPROVER = "duty", "approver"
READY_WITHIN_S = 60.0
SETTLED_WITHIN_S = 60.0
LOOK_EVERY_S = 0.02
SOON_US = 60_000_000
"""What is to be carried out later than that is not waited for."""
TO_THE_BROKER = (Carry.PUBLISH_STREAM, Carry.PUBLISH_CONFIG, Carry.ASK_MISSING)
SPEAKERS_MAX = 20_000


@dataclass(slots=True)
class Running:
    """The running product: where it is, and with which secrets it is reached."""

    settings: Settings
    store: SqlStore
    plain: list[Login]
    raw_secret: str
    passwords: dict[str, str]
    agents: list[str] = field(default_factory=list)

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.settings.web_port}"

    def settle(self) -> None:
        """Wait until nothing waits that goes to the broker. Raises BenchFailed."""
        self._wait(lambda: not _waiting(self.store), "effects were still waiting")

    def wait_for_audio(self, broadcast: str) -> None:
        """Wait until every text of a broadcast has its audio, as staged orders do. Raises BenchFailed."""
        self._wait(lambda: _has_audio(self.store, broadcast), "its audio was not rendered")

    def wait_for_agents(self) -> None:
        """Wait until every real agent is online. Raises BenchFailed."""
        self._wait(lambda: _online(self.store) >= len(self.agents), "not every agent came online")

    def _wait(self, done: Callable[[], bool], otherwise: str) -> None:
        give_up = time.monotonic() + SETTLED_WITHIN_S
        while not done():
            if time.monotonic() > give_up:
                raise BenchFailed(f"After {SETTLED_WITHIN_S:g} s, {otherwise}; see the logs of the processes.")
            time.sleep(LOOK_EVERY_S)


@contextmanager
def running(folder: Path, speakers: int, agents: int, database: str = "", one_way_s: float = 0.0) -> Iterator[Running]:
    """Broker, queue, web, gateway and worker with every speaker enrolled; the first `agents` speakers are real ones.
    With `one_way_s` a PostgreSQL database lies at the end of a line so long."""
    var = folder / "var"
    var.mkdir(mode=0o711)
    with fresh_database(var / "tocsin.db", database) as made, _at_the_end(made, one_way_s) as url:
        settings = Settings(var=var, database_url=url)
        with closing(SqlStore(settings.database)) as store:
            yield from _run(settings, store, speakers, agents)


@contextmanager
def _at_the_end(url: str, one_way_s: float) -> Iterator[str]:
    if not one_way_s:
        yield url
        return
    with line_to(url, one_way_s) as line:
        yield line.url


def _run(settings: Settings, store: SqlStore, speakers: int, agents: int) -> Iterator[Running]:
    passwords = _fill(store, settings, speakers)
    names = town.speaker_names(speakers)
    secrets = enrol_speakers(store, names, "bench")
    with store.read() as read:
        city = CityInMemory().get(read)
    system = System(settings, store, city, Mosquitto(settings.var / "broker"), Redis(settings.var / "redis"), {})
    raw_secret = new_secret()
    gateway_secrets = enrol_gateways(store, [0], "bench")
    logins = [*broker_logins(store, city), BrokerLogin.with_secret(RAW, raw_secret, write=(RAW_TOPIC,))]
    try:
        mqtt_port = system.mosquitto.start(logins)
        system.redis.start()
        write_private(settings.secrets, {**gateway_secrets, "redis_url": system.redis.url})
        ports = {
            name: free_port() for name in ("web_port", "panel_port", "gateway_metrics_port", "worker_metrics_port")
        }
        base = f"http://127.0.0.1:{ports['web_port']}/audio"
        settings = settings.model_copy(
            update={**ports, "mqtt_port": mqtt_port, "audio_base": base, "web_secure_cookie": False}
        )
        system.settings, system.environment = settings, environment(settings)
        for name in ("web", "gateway", "worker"):
            system.start(name, name)
        system.children["web"][0].wait_until(lambda: answers(settings.web_port), within_s=READY_WITHIN_S)
        plain = [
            Login(name, secrets[name], tuple(map(area_manifests, city.tree.chain(city.speakers[name].area).all)))
            for name in names[agents:]
        ]
        run = Running(settings, store, plain, raw_secret, passwords, names[:agents])
        if agents:
            _start_agents(system, {name: secrets[name] for name in run.agents})
        yield run
    finally:
        system.stop()


def _fill(store: SqlStore, settings: Settings, speakers: int) -> dict[str, str]:
    """City, exercise key and two people; the people's passwords."""
    with store.write() as tx:
        import_city(tx, town.settings(), town.rows(speakers), "bench")
    keys, now_us = KeyFolder(settings.keys), time.time_ns() // 1_000
    keys.init(town.ISSUER, town.CITY, now_us)
    keys.make(Scope(KeyUse.EXERCISE, town.ISSUER, town.CITY, 365), now_us)
    passwords: dict[str, str] = {}
    for name, role in ((DUTY, Role.DUTY_OFFICER), (APPROVER, Role.APPROVER)):
        passwords[name] = fresh_secret()
        create_person(store, Argon2Passwords(), name=name, password=passwords[name], roles=[role], by="bench")
    _leave_configs(store, set(town.speaker_names(speakers)))
    return passwords


def _leave_configs(store: SqlStore, plain: set[str]) -> None:
    """Plain connections ask for no config: theirs need not be signed before the first round."""
    with store.write() as tx:
        for effect in tx.claim([Carry.PUBLISH_CONFIG], "bench", 60_000_000, SPEAKERS_MAX):
            if effect.subject in plain:
                tx.done(effect)


def _start_agents(system: System, secrets: dict[str, str]) -> None:
    """Real speaker agents in the fleet's process; none makes a sound."""
    settings = system.settings
    folder = settings.var / "fleet"
    folder.mkdir(mode=0o700)
    root, broker = KeyFolder(settings.keys).root(), BrokerAddress("127.0.0.1", settings.mqtt_port)
    for name, secret in secrets.items():
        made = speaker_settings(name, secret, root, broker, settings.var.resolve() / "poles")
        write_private(folder / f"{name}.json", made | {"player": "null", "reconnect_spread_s": 3})
    system.start("fleet", "fleet", "--folder", str(folder.resolve()))


def _waiting(store: Store) -> bool:
    with store.read() as read:
        now_us = read.now_us()
        return any(e.carry in TO_THE_BROKER and e.not_before_us <= now_us + SOON_US for e in read.open_effects())


def _has_audio(store: Store, broadcast: str) -> bool:
    with store.read() as read:
        found = read.get(Broadcast, broadcast)
    return found is not None and {audio.lang for audio in found.audio} == set(found.texts)


def _online(store: Store) -> int:
    with store.read() as read:
        return len(read.find(Live, Page(limit=SPEAKERS_MAX), online=True))
