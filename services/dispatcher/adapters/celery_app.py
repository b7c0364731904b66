"""Celery over Redis: work that may run late or twice. A queue of hints, not a memory.

Nothing here proves that work was done: there is no result backend, a task counts as done when its row exists, and the
relay enqueues again until the deadline. No beat either; the canary is a timer row like every other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from logging import Logger
from typing import Any, TypeAlias

from celery import Celery
from celery.bootsteps import StartStopStep
from celery.worker.consumer.tasks import Tasks
from kombu.exceptions import KombuError, OperationalError
from kombu.transport.virtual import Message

from ..domain.refusals import Refused

QUEUE = "tocsin"
PAYLOAD_BYTES_MAX = 65_536
TASK_S_SOFT = 90
TASK_S_MAX = 120
# Redis gives an unacknowledged task to another worker after this; sooner than TASK_S_MAX it would always run twice.
REDELIVER_S = 2 * TASK_S_MAX
BROKER_S_MAX = 5.0
# Over Redis each step is a list of its own, and workers look at them in this order.
NOW, IDLE = 0, 9

Payload: TypeAlias = Mapping[str, Any]
Work: TypeAlias = Callable[[dict[str, Any]], None]


class WorkerTask(StrEnum):
    """The tasks there are; what each payload holds is between the relay and the worker process."""

    RENDER = "tocsin.render"
    CANARY = "tocsin.canary"
    POLL = "tocsin.poll"


class QueueAway(Refused):
    """The task queue can't be reached; the effect stays open and is enqueued again."""

    code = "queue_away"


class PayloadRefused(Refused):
    """A task takes a small JSON object."""

    code = "payload_refused"


def make_celery(broker_url: str) -> Celery:
    """The app that both ends build from the same URL, `redis://:password@host:port/db`; connects to nothing yet."""
    app = Celery("tocsin", broker=broker_url, backend=None, set_as_current=False, fixups=[])
    app.conf.update(
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_store_errors_even_if_ignored=False,
        task_default_queue=QUEUE,
        task_create_missing_queues=False,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_cancel_long_running_tasks_on_connection_loss=True,
        task_soft_time_limit=TASK_S_SOFT,
        task_time_limit=TASK_S_MAX,
        task_publish_retry=False,
        broker_connection_retry=True,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_connection_timeout=BROKER_S_MAX,
        broker_transport_options={
            "priority_steps": [NOW, IDLE],
            "visibility_timeout": REDELIVER_S,
            "socket_timeout": BROKER_S_MAX,
            "socket_connect_timeout": BROKER_S_MAX,
            "max_retries": 0,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        worker_enable_remote_control=False,
        enable_utc=True,
        timezone="UTC",
    )
    return app


def register_tasks(app: Celery, *, render: Work, canary: Work, poll: Work) -> None:
    """Bind the worker process's own callables to the task names. Each takes the payload and writes its result row.

    A callable that raises is logged by Celery and its task is acknowledged: without a row the relay asks again."""
    app.steps["consumer"].add(_FirmAcknowledgement)
    for name, work in ((WorkerTask.RENDER, render), (WorkerTask.CANARY, canary), (WorkerTask.POLL, poll)):
        app.task(_one_payload(work), name=name.value, shared=False)


def enqueue(app: Celery, task: WorkerTask, payload: Payload, *, expires_s: float, idle: bool = False) -> None:
    """Hand a payload to whichever worker is free; one that finds it older than `expires_s` drops it. What is for `idle`
    workers waits until the rest of the queue is empty.

    Raises QueueAway when Redis can't take it now, PayloadRefused when it is no JSON object of at most 64 kB."""
    try:
        given = dict(payload)
        size = len(json.dumps(given))
    except (TypeError, ValueError) as error:
        raise PayloadRefused(str(error)) from error
    if size > PAYLOAD_BYTES_MAX:
        raise PayloadRefused(f"{size} bytes, at most {PAYLOAD_BYTES_MAX}")
    try:
        app.send_task(
            task.value, args=(given,), expires=expires_s, queue=QUEUE, priority=IDLE if idle else NOW, retry=False
        )
    except (OperationalError, KombuError, ConnectionError) as error:
        raise QueueAway(type(error).__name__) from error


class _FirmMessage(Message):
    """A message whose failed acknowledgement is a lost connection, and no mere line in the log.

    Otherwise the task would hold its place in the prefetch window for good, and a worker with all places held never
    listens again, nor notices that its connection is closed."""

    def ack_log_error(self, logger: Logger, errors: tuple[type[Exception], ...], multiple: bool = False) -> None:
        """Acknowledge; a connection error leaves through Celery's loop, which connects anew."""
        try:
            self.ack(multiple=multiple)  # type: ignore[no-untyped-call]
        except errors as error:
            logger.warning("The task queue did not take an acknowledgement (%s); connecting anew.", error)
            raise


class _FirmAcknowledgement(StartStopStep):  # type: ignore[misc]
    """Gives each new connection of a worker the messages above."""

    requires = (Tasks,)

    def start(self, parent: Any) -> None:
        """Called by Celery after every connect, when the channel is open."""
        parent.task_consumer.channel.Message = _FirmMessage


def _one_payload(work: Work) -> Work:
    """Celery reads a task's signature, module and name from the function; a closure or a method has them all."""

    def run(payload: dict[str, Any]) -> None:
        work(payload)

    return run
