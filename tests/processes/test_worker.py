"""A real worker on a real Redis: its children do the tasks, and the parent answers for all of them."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.dispatcher.adapters.celery_app import WorkerTask, enqueue, make_celery
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.engine.cities import import_city
from services.dispatcher.processes.children import Child, Redis, free_port
from services.dispatcher.processes.cli_migrate import upgrade
from tests.builders import city_rows, city_settings

ROOT = Path(__file__).parents[2]
ANSWER_S_MAX = 60


@dataclass(frozen=True, slots=True)
class Running:
    var: Path
    redis: Redis
    store: SqlStore
    child: Child
    port: int

    def metrics(self) -> dict[str, float]:
        """What a scrape finds, without comments."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                lines = answer.read().decode().splitlines()
        except OSError:
            return {}
        return {name: float(value) for name, value in (x.rsplit(" ", 1) for x in lines if not x.startswith("#"))}

    def canaries_back(self) -> int:
        with self.store.read() as read:
            return len(read.log_of("worker"))


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    var = tmp_path_factory.mktemp("worker")
    stale = var / "metrics" / "worker" / "counter_1.db"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"an earlier run's")
    url = f"sqlite:///{var / 'tocsin.db'}"
    upgrade(url)
    store = SqlStore(url)
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
    with Redis(var / "redis") as redis:
        redis.start()
        secrets = var / "secrets.json"
        secrets.write_text(json.dumps({"redis_url": redis.url}))
        port = free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "TOCSIN_VAR": str(var),
            "TOCSIN_WORKER_METRICS_PORT": str(port),
        }
        command = [sys.executable, "-m", "devices.command", "worker"]
        child = Child.start("worker", command, ROOT, log=var / "worker.log", environment=environment)
        running = Running(var, redis, store, child, port)
        try:
            child.wait_until(lambda: "worker started" in child.tail(), within_s=ANSWER_S_MAX)
            yield running
        finally:
            child.stop()
            store.close()


def test_children_do_the_tasks_and_one_scrape_counts_them_all(worker: Running) -> None:
    app = make_celery(worker.redis.url)
    for _ in range(8):
        enqueue(app, WorkerTask.CANARY, {"asked_us": 0}, expires_s=60)
    worker.child.wait_until(lambda: worker.canaries_back() == 8, within_s=ANSWER_S_MAX)
    worker.child.wait_until(lambda: worker.metrics().get("tocsin_worker_canaries_total") == 8, within_s=ANSWER_S_MAX)


def test_three_children_are_forked_from_one_parent(worker: Running) -> None:
    parents = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, rest = stat.parent.name, stat.read_text().rpartition(")")[2].split()
            command = (stat.parent / "cmdline").read_bytes().replace(b"\0", b" ")
            about = (stat.parent / "environ").read_bytes()
        except OSError:
            continue
        if b"devices.command worker" in command and str(worker.var).encode() in about:
            parents.append((pid, rest[1]))
    pids = {pid for pid, _ in parents}
    assert sum(1 for _, parent in parents if parent in pids) == 3


def test_numbers_of_an_earlier_run_are_not_taken_for_ours(worker: Running) -> None:
    assert not (worker.var / "metrics" / "worker" / "counter_1.db").exists()
