"""Tells an office of its task over MQTT; what is sent is the task as it now stands, so a repeat is harmless."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from ..domain.verification import Task
from ..engine.ports import Store
from ..engine.relay import Finish
from ..engine.rows import EffectRow

PublishSoon = Callable[[str, bytes], Finish]


class OfficeTasks:
    """Carrier of office tasks: topic `tocsin/v1/office/<office>/task`, QoS 1."""

    def __init__(self, store: Store, publish_soon: PublishSoon) -> None:
        self._store = store
        self._publish_soon = publish_soon

    def carry(self, effect: EffectRow) -> Finish | None:
        """Publish the task to every office on its ladder that has been asked so far."""
        with self._store.read() as read:
            task = read.get(Task, effect.subject)
        if task is None:
            return None
        payload = json.dumps(
            {
                "task": task.id, "kind": task.kind, "use": task.use, "state": task.state, "office": task.office,
                "question": task.question, "venue": task.venue, "due": task.due_us, "rung": task.rung,
            },
            ensure_ascii=False,
        ).encode()  # fmt: skip
        asked = sorted(set(task.offices[: task.rung + 1]))
        sent = [self._publish_soon(f"tocsin/v1/office/{office}/task", payload) for office in asked]
        return partial(_finish_all, sent)


def _finish_all(sent: Sequence[Finish]) -> None:
    for finish in sent:
        finish()
