"""Tells an office of its task over MQTT; what is sent is the task as it now stands, so a repeat is harmless."""

from __future__ import annotations

import json
from collections.abc import Callable

from ..domain.verification import Task
from ..engine.ports import EffectRow, Store

Publish = Callable[[str, bytes], None]


class OfficeTasks:
    """Carrier of office tasks: topic `tocsin/v1/office/<office>/task`, QoS 1."""

    def __init__(self, store: Store, publish: Publish) -> None:
        self._store = store
        self._publish = publish

    def carry(self, effect: EffectRow) -> None:
        """Publish the task to every office on its ladder that has been asked so far."""
        with self._store.read() as read:
            task = read.get(Task, effect.subject)
        if task is None:
            return
        payload = json.dumps(
            {
                "task": task.id, "kind": task.kind, "use": task.use, "state": task.state, "office": task.office,
                "question": task.question, "venue": task.venue, "due": task.due_us, "rung": task.rung,
            },
            ensure_ascii=False,
        ).encode()  # fmt: skip
        for office in sorted(set(task.offices[: task.rung + 1])):
            self._publish(f"tocsin/v1/office/{office}/task", payload)
