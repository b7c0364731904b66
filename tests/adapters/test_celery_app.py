"""Celery against a real Redis with a password and a real worker process: at least once, JSON only, no results kept."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex

import pytest
import redis

from services.dispatcher.adapters.celery_app import (
    PAYLOAD_BYTES_MAX,
    QUEUE,
    REDELIVER_S,
    TASK_S_MAX,
    TASK_S_SOFT,
    PayloadRefused,
    QueueAway,
    WorkerTask,
    enqueue,
    make_celery,
    register_tasks,
)

ROOT = Path(__file__).parents[2]
ANSWER_S_MAX = 30

WORKER = """
import json, os, redis
from services.dispatcher.adapters.celery_app import make_celery, register_tasks
url = os.environ["TEST_BROKER"]
done = redis.Redis.from_url(url)

def row(name):
    def work(payload):
        if payload.get("fall"):
            raise ValueError("fell over")
        if payload.get("die_once") and done.set("died", 1, nx=True):
            os.kill(os.getpid(), 9)
        done.rpush(payload["rows"], json.dumps([name, payload]))
        if payload.get("hang_once_ms") and done.set("hung", 1, nx=True):
            done.client_pause(payload["hang_once_ms"], all=False)
    return work

app = make_celery(url)
register_tasks(app, render=row("render"), canary=row("canary"), poll=row("poll"))
app.conf.broker_transport_options["socket_timeout"] = 1
app.worker_main(["worker", "--pool", "prefork", "--concurrency", "1", "--loglevel", "INFO",
                 "--without-gossip", "--without-mingle", "--without-heartbeat"])
"""


@dataclass(frozen=True, slots=True)
class Broker:
    url: str
    password: str
    redis: redis.Redis

    def next_row(self, rows: str) -> object:
        found = self.redis.blpop([rows], timeout=ANSWER_S_MAX)
        assert found is not None, "no worker wrote a row"
        return json.loads(found[1])


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """Read the process's output up to a line; what was read is returned for a test to look into."""
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if words in line:
            return seen
    raise AssertionError(f"{words!r} never came: {seen}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    folder = tmp_path_factory.mktemp("redis")
    port, password = free_port(), token_hex(16)
    conf = folder / "redis.conf"
    conf.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir "{folder}"\nsave ""\n')
    process = subprocess.Popen(["redis-server", str(conf)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with process:
        line_with(process, "Ready to accept connections")
        url = f"redis://:{password}@127.0.0.1:{port}/0"
        with redis.Redis.from_url(url, socket_timeout=2 * ANSWER_S_MAX) as client:
            yield Broker(url, password, client)
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def worker(broker: Broker) -> Iterator[str]:
    """A running worker process; the value is what it printed while starting."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        cwd=ROOT,
        env={**os.environ, "TEST_BROKER": broker.url},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        yield line_with(process, " ready.")
        process.terminate()
        process.communicate()


@pytest.fixture
def rows() -> str:
    """The list in Redis where this test's rows are written, so that no test reads another's."""
    return f"rows-{token_hex(8)}"


@pytest.mark.parametrize("task", WorkerTask)
def test_a_task_reaches_the_callable_of_its_name_with_its_payload(
    broker: Broker, worker: str, rows: str, task: WorkerTask
) -> None:
    payload = {"rows": rows, "effect": "e-1", "文": [1, None]}
    enqueue(make_celery(broker.url), task, payload, expires_s=60)
    assert broker.next_row(rows) == [task.removeprefix("tocsin."), payload]


def test_a_task_that_raises_is_gone_and_the_next_one_runs(broker: Broker, worker: str, rows: str) -> None:
    app = make_celery(broker.url)
    enqueue(app, WorkerTask.RENDER, {"rows": rows, "fall": True}, expires_s=60)
    enqueue(app, WorkerTask.RENDER, {"rows": rows}, expires_s=60)
    assert broker.next_row(rows) == ["render", {"rows": rows}]


def test_a_worker_killed_in_the_middle_gives_the_task_to_the_next(broker: Broker, worker: str, rows: str) -> None:
    payload = {"rows": rows, "die_once": True}
    enqueue(make_celery(broker.url), WorkerTask.RENDER, payload, expires_s=60)
    assert broker.next_row(rows) == ["render", payload]


def test_a_worker_whose_acknowledgement_is_lost_in_a_hanging_redis_goes_on_listening(
    broker: Broker, worker: str, rows: str
) -> None:
    app = make_celery(broker.url)
    enqueue(app, WorkerTask.RENDER, {"rows": rows, "hang_once_ms": 1_500}, expires_s=60)
    assert broker.next_row(rows) == ["render", {"rows": rows, "hang_once_ms": 1_500}]
    broker.redis.set("writable-again", 1)
    enqueue(app, WorkerTask.CANARY, {"rows": rows + "-after"}, expires_s=60)
    assert broker.next_row(rows + "-after") == ["canary", {"rows": rows + "-after"}]


def test_a_task_nobody_could_do_in_time_is_not_done_late(broker: Broker, worker: str, rows: str) -> None:
    app = make_celery(broker.url)
    app.send_task(
        WorkerTask.CANARY.value,
        args=({"rows": rows, "late": True},),
        expires=datetime(2020, 1, 1, tzinfo=UTC),
        queue=QUEUE,
    )
    enqueue(app, WorkerTask.CANARY, {"rows": rows}, expires_s=60)
    assert broker.next_row(rows) == ["canary", {"rows": rows}]


def test_nothing_but_json_is_executed(broker: Broker, worker: str, rows: str) -> None:
    app = make_celery(broker.url)
    app.send_task(WorkerTask.RENDER.value, args=({"rows": rows, "pickled": True},), serializer="pickle", queue=QUEUE)
    enqueue(app, WorkerTask.RENDER, {"rows": rows}, expires_s=60)
    assert broker.next_row(rows) == ["render", {"rows": rows}]


def test_no_results_are_kept_and_the_password_is_not_printed(broker: Broker, worker: str, rows: str) -> None:
    enqueue(make_celery(broker.url), WorkerTask.CANARY, {"rows": rows}, expires_s=60)
    assert broker.next_row(rows) == ["canary", {"rows": rows}]
    assert list(broker.redis.scan_iter("celery-task-meta-*")) == []
    assert broker.password not in worker


def test_a_broker_that_is_away_or_wants_another_password_is_said_at_once(broker: Broker) -> None:
    away = make_celery(f"redis://:{broker.password}@127.0.0.1:{free_port()}/0")
    wrong = make_celery(broker.url.replace(broker.password, "wrong"))
    for app in (away, wrong):
        with pytest.raises(QueueAway) as refused:
            enqueue(app, WorkerTask.RENDER, {}, expires_s=60)
        assert refused.value.code == "queue_away"
        assert "wrong" not in refused.value.sentence


@pytest.mark.parametrize(
    "payload", [{"effect": object()}, {"effect": b"bytes"}, {"effect": "x" * PAYLOAD_BYTES_MAX}, {"effect": {1, 2}}]
)
def test_a_payload_that_is_no_small_json_object_is_refused(payload: dict[str, object]) -> None:
    with pytest.raises(PayloadRefused):
        enqueue(make_celery("redis://127.0.0.1:1/0"), WorkerTask.RENDER, payload, expires_s=60)


def test_a_task_is_redelivered_only_after_its_own_time_limit() -> None:
    assert TASK_S_SOFT < TASK_S_MAX < REDELIVER_S
    conf = make_celery("redis://127.0.0.1:1/0").conf
    assert conf.broker_transport_options["visibility_timeout"] == REDELIVER_S
    assert (conf.task_acks_late, conf.worker_prefetch_multiplier, conf.result_backend) == (True, 1, None)
    assert (conf.accept_content, conf.beat_schedule) == (["json"], {})


def test_two_apps_in_one_process_keep_their_own_tasks() -> None:
    one, other = (make_celery("redis://127.0.0.1:1/0") for _ in range(2))
    register_tasks(one, render=print, canary=print, poll=print)
    ours = {task.value for task in WorkerTask}
    assert (ours & set(one.tasks), ours & set(other.tasks)) == (ours, set())
