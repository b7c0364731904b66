"""Hands work to the Celery workers. An effect is done only when its result is in the database."""

from __future__ import annotations

from dataclasses import asdict

from celery import Celery

from ..domain.polling import Poll
from ..domain.signals import Feed
from ..engine.ports import Asset, EffectRow, Store, Wording
from ..engine.relay import CarryFailed, NotYet
from .celery_app import QueueAway, Task, enqueue

RENDER_AGAIN_US = 30_000_000
CANARY_S = 50.0
POLL_AGAIN_US = 15_000_000


class WorkerTasks:
    """Carriers for what the workers do."""

    def __init__(self, store: Store, app: Celery) -> None:
        self._store = store
        self._app = app

    def render(self, effect: EffectRow) -> None:
        """Ask for a wording's audio, again and again until its asset is there."""
        with self._store.read() as read:
            wording = read.get(Wording, effect.subject)
            asset = read.get(Asset, effect.subject)
        if wording is None or asset is not None:
            return
        self._enqueue(Task.RENDER, asdict(wording), RENDER_AGAIN_US / 1e6)
        raise NotYet(RENDER_AGAIN_US)

    def canary(self, effect: EffectRow) -> None:
        """Send the canary; its coming back is a log line, its staying away an alert on that line's age."""
        with self._store.read() as read:
            now_us = read.now_us()
        self._enqueue(Task.CANARY, {"asked_us": now_us}, CANARY_S)

    def poll(self, effect: EffectRow) -> None:
        """Ask for a feed to be polled, again and again until its row says that the answer is settled."""
        with self._store.read() as read:
            poll, feed = read.get(Poll, effect.subject), read.get(Feed, effect.subject)
        if poll is None or feed is None or not poll.asked or not feed.enabled:
            return
        self._enqueue(Task.POLL, {"feed": poll.id}, POLL_AGAIN_US / 1e6)
        raise NotYet(POLL_AGAIN_US)

    def _enqueue(self, task: Task, payload: dict[str, object], expires_s: float) -> None:
        try:
            enqueue(self._app, task, payload, expires_s=expires_s)
        except QueueAway as away:
            raise CarryFailed(away.sentence) from away
