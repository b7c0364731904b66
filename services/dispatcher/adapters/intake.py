"""Takes speakers' messages off the wire in batches: receipts and states to rows, hellos answered; acknowledged after
the commit."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Protocol, TypeVar

import structlog

from devices.protocols import asking, speaker_link
from devices.protocols.asking import SpeakerAnswer
from devices.protocols.speaker_link import SpeakerState

from ..domain.places import Speaker
from ..domain.planning import City
from ..domain.refusals import NotFound, Refused
from ..domain.signals import Unread
from ..engine.air import receipts
from ..engine.air.given_out import Remembered
from ..engine.air.receipts import Arrived, Counted
from ..engine.air.sighted import SETTLED_US, UNSETTLED_US
from ..engine.leases import DutyLost
from ..engine.ports import Conflict, Store, StoreUnavailable
from ..engine.relay import CarryFailed
from .mqtt_wire import Published

log = structlog.get_logger(__name__)

T = TypeVar("T")
BATCH_MAX = receipts.BATCH_MAX
BATCH_WAIT_S = 0.02
PAUSE_S = 0.005
STORE_AWAY_S = 0.5

Said = tuple[bool, str, SpeakerState]
"""A state: whether it is the broker's retained copy, whose, and what it says."""

TOPICS = (speaker_link.ALL_RECEIPTS, speaker_link.ALL_STATES, speaker_link.ALL_HELLOS, speaker_link.ALL_ANSWERS)
"""What the connection that an intake takes from is subscribed to."""


class Inlet(Protocol):
    """Where messages come from: `mqtt_inlet.MqttInlet`, driven by the intake's own thread."""

    def take(self, messages_max: int, wait_s: float, gather_s: float) -> list[Published]: ...
    def acknowledge(self, taken: Sequence[Published]) -> None: ...
    def rest(self, wait_s: float) -> None: ...


class UntilDone:
    """Does a thing until it is done: nothing is acknowledged before, so nothing is lost while the database is away.
    Raises DutyLost: then whoever has the duty now is sent it again."""

    def __init__(self, inlet: Inlet, waiting: str) -> None:
        """`waiting` says for the log what waits meanwhile, and where."""
        self._inlet = inlet
        self._waiting = waiting
        self._away = False

    def __call__(self, do: Callable[[], T]) -> T:
        while True:
            try:
                done = do()
            except Conflict:
                continue
            except DutyLost:
                raise
            except StoreUnavailable as away:
                if not self._away:
                    log.warning(f"the database is away: {self._waiting}", reason=str(away))
                self._away = True
                self._inlet.rest(STORE_AWAY_S)
                continue
            self._away = False
            return done


class SpeakerIntake:
    """One thread that takes, writes and acknowledges. What can't be read goes to the unread table and is then
    acknowledged; one look at the city serves a whole batch."""

    def __init__(
        self,
        store: Store,
        inlet: Inlet,
        city: Callable[[], City],
        answer_hello: Callable[[str, str], None],
        now_us: Callable[[], int],
        counted: Callable[[Counted], None] = lambda counted: None,
        odd: Callable[[Mapping[str, int]], None] = lambda odd: None,
        compared: Callable[[], bool] = lambda: True,
        keep_receipts: Callable[[Store, Sequence[Arrived], int], Counted] = receipts.keep_receipts,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        """`counted` is told of every batch of receipts, `odd` of connection numbers by what was odd; `compared` says
        whether this gateway has compared the broker's copies yet."""
        self._store, self._inlet, self._city, self._now_us = store, inlet, city, now_us
        self._answer_hello, self._keep_receipts, self._pause = answer_hello, keep_receipts, pause
        self._counted, self._odd, self._compared = counted, odd, compared
        self._remembered = Remembered()
        self._until_done = UntilDone(inlet, "receipts wait at the broker")

    def run(self, wait_s: float = 0.5) -> int:
        """Commit one batch and acknowledge it; how many messages. Pauses after each, so that a fire never waits."""
        batch = self._inlet.take(BATCH_MAX, wait_s, BATCH_WAIT_S)
        if batch:
            self._commit(batch)
            self._inlet.acknowledge(batch)
            self._pause(PAUSE_S)
        return len(batch)

    def _commit(self, batch: Sequence[Published]) -> None:
        arrived: list[Arrived] = []
        states: list[Said] = []
        answers: list[tuple[str, SpeakerAnswer]] = []
        unread: list[Unread] = []
        now_us = self._now_us()
        city = self._until_done(self._look_at_city)
        speakers = city.speakers if city is not None else {}
        for message in batch:
            reason = self._read(message, speakers, arrived, states, answers)
            if reason:
                unread.append(Unread("mqtt", message.topic, reason, message.payload, now_us))
        self._until_done(lambda: self._keep(arrived, states, answers, unread, city))

    def _look_at_city(self) -> City | None:
        try:
            return self._city()
        except NotFound:
            return None

    def _read(
        self,
        message: Published,
        speakers: Mapping[str, Speaker],
        arrived: list[Arrived],
        states: list[Said],
        answers: list[tuple[str, SpeakerAnswer]],
    ) -> str:
        """Sort one message; the reason when it can't be read."""
        try:
            id, branch = speaker_link.parse_speaker_topic(message.topic)
            speaker = speakers.get(id)
            if speaker is None or not speaker.enrolled:
                return "speaker_not_enrolled"
            match branch:
                case "receipt":
                    receipt = speaker_link.decode_receipt(message.payload)
                    arrived.append(Arrived(id, receipt, message.payload, speaker.microphone))
                case "state" if message.payload:
                    states.append((message.retained, id, speaker_link.decode_state(message.payload)))
                case "answer":
                    answers.append((id, asking.decode_answer(message.payload)))
                case "hello":
                    self._answer_hello(id, speaker_link.decode_hello(message.payload))
                case _:
                    return "not_expected_here"
        except speaker_link.LinkRefused as refused:
            return str(refused.reason)
        except (CarryFailed, Refused, StoreUnavailable) as failed:
            # The speaker says hello again until it is answered.
            log.debug("a hello was not answered", topic=message.topic, reason=str(failed))
        return ""

    def _keep(
        self,
        arrived: list[Arrived],
        states: list[Said],
        answers: list[tuple[str, SpeakerAnswer]],
        unread: list[Unread],
        city: City | None,
    ) -> None:
        settled_us = SETTLED_US if self._compared() else UNSETTLED_US
        if arrived:
            self._counted(self._keep_receipts(self._store, arrived, settled_us))
        # In the order that they came: what is retained is the newest of a topic, and comes after what has waited.
        for retained, run in groupby(states, key=itemgetter(0)):
            said = [(speaker, state) for _, speaker, state in run]
            odd = receipts.hear_speakers(self._store, said, self._remembered, settled_us, retained=retained, city=city)
            self._odd(odd)
        if answers:
            receipts.settle_gone(self._store, answers)
        if unread:
            receipts.keep_unread(self._store, unread)
