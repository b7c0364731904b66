"""Polling with every part real: timer rows, relay, Redis, a worker process, and a weather service over HTTP."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from services.dispatcher.adapters.celery_app import make_celery
from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.adapters.tasks import WorkerTasks
from services.dispatcher.domain.effects import Carry, Timer, WakeAt
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.polling import USELESS_AFTER_US, Poll
from services.dispatcher.domain.retries import RETRIES
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.relay import Carrier, Relay
from services.dispatcher.engine.timers import TimerPass
from services.dispatcher.processes.children import Child, Redis, free_port
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.enrolment_sources import enrol_poll
from tests import builders
from tests.builders import OTHER_STREET, cap_alert, city_rows, city_settings, feed
from tests.processes.publisher import LIST, Publisher

ROOT = Path(__file__).parents[2]
WITHIN_S = 90


@dataclass(slots=True)
class System:
    """A worker process, and in this process the gateway's timers and relay."""

    var: Path
    store: SqlStore
    redis: Redis
    relay: Relay
    timers: TimerPass
    worker: Child

    def until(self, done: object) -> None:
        """Let timers and relay go on until this is so."""
        assert callable(done)

        def passes() -> bool:
            self.timers.run()
            self.relay.run()
            return bool(done())

        self.worker.wait_until(passes, within_s=WITHIN_S)

    def kill_worker(self) -> None:
        """kill -9 for the worker and its children, and another one in their place."""
        os.killpg(self.worker.pid, signal.SIGKILL)
        self.worker.process.wait()
        self.worker = start_worker(self.var)

    def poll(self) -> Poll:
        with self.store.read() as read:
            found = read.get(Poll, "weather")
        assert found is not None
        return found

    def due_again(self) -> None:
        with self.store.write() as tx:
            now_us = tx.now_us()
            tx.wake_at(WakeAt(Timer.POLL, "weather", now_us, now_us + USELESS_AFTER_US))

    def incidents(self) -> list[Incident]:
        with self.store.read() as read:
            return read.find(Incident)

    def effects(self) -> list[str]:
        with self.store.read() as read:
            return [effect.carry for effect in read.open_effects() if effect.carry == Carry.POLL_FEED]


def start_worker(var: Path) -> Child:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TOCSIN_VAR": str(var),
        "TOCSIN_WORKER_METRICS_PORT": str(free_port()),
        "TOCSIN_POLL_LOOPBACK": "true",
    }
    command = [sys.executable, "-m", "devices.command", "worker"]
    (var / "worker.log").unlink(missing_ok=True)
    child = Child.start("worker", command, ROOT, log=var / "worker.log", environment=environment)
    child.wait_until(lambda: "worker started" in child.tail(), within_s=WITHIN_S)
    return child


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    with Publisher() as started:
        started.publish(a=cap_alert("rain-1"), b=cap_alert("rain-2", code=OTHER_STREET))
        yield started


@pytest.fixture
def system(tmp_path: Path, publisher: Publisher) -> Iterator[System]:
    soon = {**RETRIES, Carry.POLL_FEED: replace(RETRIES[Carry.POLL_FEED], handed_on_us=1_000_000)}
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    store = SqlStore(url)
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
        tx.put(replace(feed("x"), format="atom"))
    enrol_poll(store, "weather", publisher.url + LIST, 3_600, "test", plain_http=True, loopback=True)
    with Redis(tmp_path / "redis") as redis:
        redis.start()
        (tmp_path / "secrets.json").write_text(json.dumps({"redis_url": redis.url}))
        engine = builders.engine(store)
        carriers: dict[str, Carrier] = {Carry.POLL_FEED: WorkerTasks(store, make_celery(redis.url), soon).poll}
        relay = Relay(store, engine, carriers, "test", HostClock(), soon)
        running = System(tmp_path, store, redis, relay, TimerPass(engine, store, HostClock()), start_worker(tmp_path))
        try:
            yield running
        finally:
            running.worker.stop()
            store.close()


def test_a_published_alert_becomes_an_incident_though_the_worker_is_killed_while_it_fetches(
    system: System, publisher: Publisher
) -> None:
    publisher.held.clear()
    system.until(lambda: publisher.answers("/a.xml") > 0)
    assert system.effects() == [Carry.POLL_FEED]
    system.kill_worker()
    publisher.held.set()
    system.until(lambda: not system.effects())
    assert [(i.hazard, i.state, i.signal_count) for i in system.incidents()] == [
        ("rainstorm", "verifying", 1),
        ("rainstorm", "verifying", 1),
    ]
    assert (system.poll().asked, len(system.poll().seen)) == (False, 2)
    asked = publisher.answers(LIST)
    system.due_again()
    system.until(lambda: publisher.answers(LIST) > asked)
    system.until(lambda: not system.effects())
    assert publisher.asked[-1] == (LIST, system.poll().etag)
    assert len(system.incidents()) == 2
