"""Audio with every part real: saved effects, relay, Redis, a worker process that speaks. Parts are frozen, killed and
taken away in the middle of it."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from services.dispatcher.adapters.celery_app import make_celery
from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.adapters.tasks import WorkerTasks
from services.dispatcher.domain.broadcasts import Broadcast, BroadcastState
from services.dispatcher.domain.effects import Carry, Save
from services.dispatcher.domain.retries import RETRIES
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, SignalArrived
from services.dispatcher.engine.relay import Carrier, NotYet, Relay
from services.dispatcher.engine.rows import Asset, EffectRow, Wording
from services.dispatcher.processes.children import Child, Redis, free_port
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.worker import TASKS_AT_ONCE
from tests import builders
from tests.builders import BOTH, city_rows, city_settings, fire_signal, released_by

ROOT = Path(__file__).parents[2]
WITHIN_S = 90
STAGED = 9
SOON = {
    **RETRIES,
    Carry.RENDER_AUDIO: replace(
        RETRIES[Carry.RENDER_AUDIO], tries=4, backoff_from_us=50_000, backoff_to_us=200_000, handed_on_us=500_000,
        late_us=1_000_000,
    ),
}  # fmt: skip
"""The same table in fast motion."""


@dataclass(slots=True)
class System:
    """A worker process, and in this process the gateway's relay; `handed_on` counts what the queue took."""

    var: Path
    store: SqlStore
    redis: Redis
    engine: Engine
    worker: Child
    handed_on: int = 0
    failed: int = 0

    def relay(self) -> Relay:
        tasks = WorkerTasks(self.store, make_celery(self.redis.url), SOON)

        def render(effect: EffectRow) -> None:
            try:
                tasks.render(effect)
            except NotYet:
                self.handed_on += 1
                raise
            except Exception:
                self.failed += 1
                raise

        carriers: dict[str, Carrier] = {Carry.RENDER_AUDIO: render, Carry.RENDER_AHEAD: tasks.render_ahead}
        return Relay(self.store, self.engine, carriers, "test", HostClock(), SOON)

    def until(self, done: Callable[[], object]) -> None:
        """Let the relay go on until this is so; a worker that ended is started again, as its supervisor would."""
        relay, give_up = self.relay(), time.monotonic() + WITHIN_S
        while not done():
            assert time.monotonic() < give_up, f"not within {WITHIN_S} s; the worker: {self.worker.tail()}"
            if not self.worker.running:
                self.worker = start_worker(self.var)
            if not relay.run():
                time.sleep(0.02)

    def signal_worker(self, number: signal.Signals) -> None:
        """To the parent and its children."""
        os.killpg(self.worker.pid, number)

    def draft(self) -> str:
        """A fire's alert whose words nobody has rendered yet."""
        incident = self.engine.handle([SignalArrived(fire_signal())]).incidents[0]
        with self.store.read() as read:
            found = read.find(Broadcast, incident=incident, original="")
        return found[0].id

    def stage(self, count: int) -> None:
        """So many words of standing orders that nobody says yet."""
        with self.store.write() as tx:
            for n in range(count):
                tx.put(Wording(f"ahead-{n}", "zh", f"第{n}号商场请注意。", "actual", "alert", 2, "12B00"))
                tx.save(Save(Carry.RENDER_AHEAD, f"ahead-{n}"))

    def rendered_ahead(self) -> int:
        with self.store.read() as read:
            return sum(asset.id.startswith("ahead-") for asset in read.find(Asset))

    def broadcast(self, id: str) -> Broadcast:
        with self.store.read() as read:
            found = read.get(Broadcast, id)
        assert found is not None
        return found

    def langs(self, id: str) -> list[str]:
        return [audio.lang for audio in self.broadcast(id).audio]

    def open(self) -> int:
        with self.store.read() as read:
            return sum(effect.carry == Carry.RENDER_AUDIO for effect in read.open_effects())

    def told(self, id: str) -> list[str]:
        with self.store.read() as read:
            return [json.loads(r.body)["why"] for r in read.log_of(id) if r.kind == "broadcast.not_rendered"]


def start_worker(var: Path) -> Child:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TOCSIN_VAR": str(var),
        "TOCSIN_WORKER_METRICS_PORT": str(free_port()),
    }
    command = [sys.executable, "-m", "devices.command", "worker"]
    (var / "worker.log").unlink(missing_ok=True)
    child = Child.start("worker", command, ROOT, log=var / "worker.log", environment=environment)
    child.wait_until(lambda: "worker started" in child.tail(), within_s=WITHIN_S)
    return child


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    store = SqlStore(url)
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
    with Redis(tmp_path / "redis") as redis:
        redis.start()
        (tmp_path / "secrets.json").write_text(json.dumps({"redis_url": redis.url}))
        running = System(tmp_path, store, redis, builders.engine(store), start_worker(tmp_path))
        try:
            yield running
        finally:
            with suppress(ProcessLookupError):
                running.signal_worker(signal.SIGCONT)
            running.worker.stop()
            store.close()


def test_a_backlog_with_the_queue_away_in_its_middle_costs_no_audio(system: System) -> None:
    alert = system.draft()
    system.signal_worker(signal.SIGSTOP)
    system.until(lambda: system.handed_on >= 60)
    assert system.told(alert)
    system.redis.stop()
    system.until(lambda: system.failed >= 40)
    # As many hand-ons and failures as once were enough to give it up, several times over.
    assert system.open() == 6
    assert any("Queue" in why or "queue" in why for why in system.told(alert))
    system.redis.start()
    system.signal_worker(signal.SIGCONT)
    system.until(lambda: system.langs(alert) == ["en", "zh"] and not system.open())


def test_a_worker_killed_in_the_middle_costs_no_audio(system: System) -> None:
    alert = system.draft()
    system.signal_worker(signal.SIGSTOP)
    system.until(lambda: system.handed_on >= 6)
    system.signal_worker(signal.SIGKILL)
    system.worker.process.wait(10)
    system.until(lambda: system.langs(alert) == ["en", "zh"] and not system.open())


def test_what_a_broadcast_says_is_rendered_before_what_only_may_be_said_one_day(system: System) -> None:
    system.signal_worker(signal.SIGSTOP)
    system.stage(STAGED)
    relay = system.relay()
    while relay.run():
        pass
    alert = system.draft()
    system.until(lambda: system.handed_on >= 6)
    system.signal_worker(signal.SIGCONT)
    system.until(lambda: system.langs(alert) == ["en", "zh"])
    # What had begun before is finished first: each place of the worker may hold one such errand, and fetch one more.
    assert system.rendered_ahead() <= 2 * TASKS_AT_ONCE < STAGED
    system.until(lambda: system.rendered_ahead() == STAGED)


def test_audio_that_is_finished_late_still_joins_the_order_on_air(system: System) -> None:
    alert = system.draft()
    system.signal_worker(signal.SIGSTOP)
    system.until(lambda: system.told(alert))
    b = system.broadcast(alert)
    system.engine.handle([BroadcastAct(alert, released_by("duty", b, BOTH))])
    on_air = system.broadcast(alert)
    assert (on_air.state, on_air.rev, on_air.audio) == (BroadcastState.ON_AIR, 1, ())
    system.signal_worker(signal.SIGCONT)
    system.until(lambda: system.langs(alert) == ["en", "zh"])
    with system.store.read() as read:
        published = [effect.wanted for effect in read.open_effects() if effect.carry == Carry.PUBLISH_STREAM]
    assert (system.broadcast(alert).rev, published) == (3, [3])
