"""Takes speakers' messages off the wire: receipts and states in batches, hellos at once; acknowledged after commit."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable

import structlog

from devices.protocols import speaker_link
from devices.protocols.speaker_link import SpeakerState

from ..domain.planning import City
from ..domain.refusals import NotFound, Refused
from ..domain.signals import Unread
from ..engine import receipts
from ..engine.ports import Conflict, Store, StoreUnavailable
from ..engine.receipts import Arrived, Counted
from ..engine.relay import CarryFailed
from .mqtt import Delivery

log = structlog.get_logger(__name__)

BATCH_MAX = receipts.BATCH_MAX
BATCH_WAIT_S = 0.02
PAUSE_S = 0.005
STORE_AWAY_S = 0.5


class SpeakerIntake:
    """One queue and one writer. What can't be read goes to the unread table and is then acknowledged.

    With `city` one look at it serves a whole batch; without, `enrolled` is asked for every message.
    """

    def __init__(
        self,
        store: Store,
        enrolled: Callable[[str], bool],
        answer_hello: Callable[[str, str], None],
        counted: Callable[[Counted], None] = lambda counted: None,
        city: Callable[[], City] | None = None,
    ) -> None:
        self._store = store
        self._enrolled = enrolled
        self._answer_hello = answer_hello
        self._counted = counted
        self._city = city
        self._queue: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._away = False

    def put(self, delivery: Delivery) -> None:
        """Queue a message; the broker's Receive Maximum bounds how many can wait here."""
        self._queue.put(delivery)

    def run(self, wait_s: float = 0.5) -> int:
        """Commit one batch and acknowledge it; how many messages. Pauses after each, so that a fire never waits."""
        batch = self._collect(wait_s)
        if batch:
            self._commit(batch)
            time.sleep(PAUSE_S)
        return len(batch)

    def _collect(self, wait_s: float) -> list[Delivery]:
        try:
            batch = [self._queue.get(timeout=wait_s)]
        except queue.Empty:
            return []
        until = time.monotonic() + BATCH_WAIT_S
        while len(batch) < BATCH_MAX:
            try:
                batch.append(self._queue.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return batch

    def _commit(self, batch: list[Delivery]) -> None:
        arrived: list[Arrived] = []
        states: list[tuple[str, SpeakerState]] = []
        unread: list[Unread] = []
        now_us = time.time_ns() // 1_000
        enrolled = self._enrolled_now()
        for message in batch:
            speaker, branch = speaker_link.parse_speaker_topic(message.topic)
            reason = "" if enrolled(speaker) else "speaker_not_enrolled"
            if not reason:
                reason = self._read(message, speaker, branch, arrived, states)
            if reason:
                unread.append(Unread("mqtt", message.topic, reason, message.payload, now_us))
        self._keep(arrived, states, unread)
        for message in batch:
            message.ack()

    def _enrolled_now(self) -> Callable[[str], bool]:
        """Who counts as enrolled for the batch at hand."""
        if self._city is None:
            return self._enrolled
        try:
            speakers = self._city().speakers
        except NotFound:
            speakers = {}
        return lambda id: (speaker := speakers.get(id)) is not None and speaker.enrolled

    def _read(
        self,
        message: Delivery,
        speaker: str,
        branch: str,
        arrived: list[Arrived],
        states: list[tuple[str, SpeakerState]],
    ) -> str:
        """Sort one message; the reason when it can't be read."""
        try:
            match branch:
                case "receipt":
                    arrived.append(Arrived(speaker, speaker_link.decode_receipt(message.payload), message.payload))
                case "state" if message.payload:
                    states.append((speaker, speaker_link.decode_state(message.payload)))
                case "hello":
                    self._answer_hello(speaker, speaker_link.decode_hello(message.payload))
                case _:
                    return "not_expected_here"
        except speaker_link.Refused as refused:
            return str(refused.reason)
        except (CarryFailed, Refused) as failed:
            # The speaker says hello again until it is answered.
            log.debug("a hello was not answered", speaker=speaker, reason=str(failed))
        return ""

    def _keep(self, arrived: list[Arrived], states: list[tuple[str, SpeakerState]], unread: list[Unread]) -> None:
        """Write until it is written: nothing is acknowledged before, so nothing is lost while the database is away."""
        while True:
            try:
                if arrived:
                    self._counted(receipts.keep_receipts(self._store, arrived))
                if states:
                    receipts.hear_speakers(self._store, states)
                if unread:
                    with self._store.write() as tx:
                        tx.add_unread(unread)
                self._away = False
                return
            except Conflict:
                continue
            except StoreUnavailable as away:
                if not self._away:
                    log.warning("the database is away: receipts wait at the broker", reason=str(away))
                self._away = True
                time.sleep(STORE_AWAY_S)
