"""Hands work to the Celery workers. An effect is done only when its result is in the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import NoReturn

from celery import Celery

from ..domain.effects import Carry
from ..domain.polling import Poll
from ..domain.refusals import PlaceholderLeft
from ..domain.retries import RETRIES, Retry
from ..domain.signals import Feed
from ..domain.wordings import unfilled
from ..engine.ports import Store
from ..engine.relay import CarryFailed, NotYet
from ..engine.rows import Asset, EffectRow, Wording
from .celery_app import QueueAway, WorkerTask, enqueue

CANARY_S = 50.0


class WorkerTasks:
    """Carriers for what the workers do."""

    def __init__(self, store: Store, app: Celery, retries: Mapping[Carry, Retry] = RETRIES) -> None:
        self._store = store
        self._app = app
        self._retries = retries

    def render(self, effect: EffectRow) -> None:
        """Ask for a wording's audio, again and again until its asset is there."""
        self._render(Carry.RENDER_AUDIO, effect)

    def render_ahead(self, effect: EffectRow) -> None:
        """The same for what no broadcast says yet: it waits until the workers have nothing else to do."""
        self._render(Carry.RENDER_AHEAD, effect)

    def _render(self, carry: Carry, effect: EffectRow) -> None:
        with self._store.read() as read:
            wording = read.get(Wording, effect.subject)
            asset = read.get(Asset, effect.subject)
        if wording is None or asset is not None:
            return
        if left := unfilled(wording.text):
            raise CarryFailed(PlaceholderLeft(left).sentence, again=False)
        self._hand_on(carry, WorkerTask.RENDER, asdict(wording), idle=carry is Carry.RENDER_AHEAD)

    def canary(self, effect: EffectRow) -> None:
        """Send the canary; its coming back is a log line, its staying away an alert on that line's age."""
        with self._store.read() as read:
            now_us = read.now_us()
        self._enqueue(WorkerTask.CANARY, {"asked_us": now_us}, CANARY_S)

    def poll(self, effect: EffectRow) -> None:
        """Ask for a feed to be polled, again and again until its row says that the answer is settled."""
        with self._store.read() as read:
            poll, feed = read.get(Poll, effect.subject), read.get(Feed, effect.subject)
        if poll is None or feed is None or not poll.asked or not feed.enabled:
            return
        self._hand_on(Carry.POLL_FEED, WorkerTask.POLL, {"feed": poll.id})

    def _hand_on(self, carry: Carry, task: WorkerTask, payload: dict[str, object], *, idle: bool = False) -> NoReturn:
        """Enqueue for as long as the relay waits before it asks anew, so that copies don't pile up."""
        waits_us = self._retries[carry].handed_on_us
        assert waits_us is not None
        self._enqueue(task, payload, waits_us / 1e6, idle=idle)
        raise NotYet

    def _enqueue(self, task: WorkerTask, payload: dict[str, object], expires_s: float, *, idle: bool = False) -> None:
        try:
            enqueue(self._app, task, payload, expires_s=expires_s, idle=idle)
        except QueueAway as away:
            raise CarryFailed(away.sentence) from away
