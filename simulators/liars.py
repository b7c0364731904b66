"""Speakers that lie, or that play what nobody gave out: what they say goes to the broker under their own names.

A lie that could be true can't be told from the truth; these are the ones that can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from devices.protocols.documents import Receipt, Step, StepKind
from devices.protocols.speaker_link import encode_receipt, receipt_topic
from services.dispatcher.domain.broadcasts import Broadcast
from simulators.checks import Truth
from simulators.endpoint import SimulatedSpeaker
from simulators.network import Broker

HOUR_US = 3_600_000_000
ROGUE = "rogue-"
JOURNAL = "liars"
"""A journal of its own, so that a lie never takes the number of a true receipt."""

_Lie = tuple[Broadcast, int, Step]


class Liars:
    """Makes speakers lie. `Truth.unknown` learns which orders were said to play that nobody gave out."""

    def __init__(
        self, truth: Truth, broker: Broker, speakers: Sequence[SimulatedSpeaker], count: Callable[[str], None]
    ) -> None:
        self._truth, self._broker, self._speakers, self._count = truth, broker, speakers, count
        self._seq = 0

    def lie(self, rng: Random) -> None:
        """One speaker says of an order what can't be."""
        rows = sorted(self._truth.database.rows(Broadcast).values(), key=lambda row: row.id)
        if not rows:
            return
        speaker, row = rng.choice(self._speakers), rng.choice(rows)
        lies = {
            "before_start": self._early,
            "in_future": self._future,
            "not_on_air": self._draft,
            "no_microphone": self._proof,
        }
        name = rng.choice(tuple(lies))
        lie = lies[name](speaker, row, rows)
        if lie is not None:
            self._count(f"lie.{name}")
            self._say(speaker, lie[0].id, lie[1], lie[2])

    def rogue(self, rng: Random) -> str:
        """Some speakers play an order that nobody gave out; its id."""
        self._seq += 1
        order = f"{ROGUE}{self._seq}"
        self._truth.unknown.add(order)
        for speaker in rng.sample(self._speakers, rng.randint(1, len(self._speakers))):
            for kind in (StepKind.ACCEPTED, StepKind.PLAYING):
                self._say(speaker, order, 1, Step(kind, self._truth.wall.now_us()))
        return order

    def _say(self, speaker: SimulatedSpeaker, order: str, rev: int, *steps: Step) -> None:
        self._seq += 1
        said = Receipt(JOURNAL, self._seq, order, rev, steps)
        self._broker.publish(receipt_topic(speaker.id), encode_receipt(said), False)

    def _early(self, speaker: SimulatedSpeaker, row: Broadcast, rows: Sequence[Broadcast]) -> _Lie | None:
        at_us = row.start_at_us - HOUR_US
        return (row, row.rev, Step(StepKind.PLAYING, at_us, evidence={"mic_db": 70})) if row.rev else None

    def _future(self, speaker: SimulatedSpeaker, row: Broadcast, rows: Sequence[Broadcast]) -> _Lie | None:
        at_us = self._truth.wall.now_us() + HOUR_US
        return (row, row.rev, Step(StepKind.FINISHED, at_us, evidence={"mic_db": 70})) if row.rev else None

    def _draft(self, speaker: SimulatedSpeaker, row: Broadcast, rows: Sequence[Broadcast]) -> _Lie | None:
        drafts = [other for other in rows if other.rev == 0]
        if not drafts:
            return None
        self._truth.unknown.add(drafts[-1].id)
        step = Step(StepKind.PLAYING, self._truth.wall.now_us(), evidence={"mic_db": 70})
        return drafts[-1], 1, step

    def _proof(self, speaker: SimulatedSpeaker, row: Broadcast, rows: Sequence[Broadcast]) -> _Lie | None:
        """A speaker without a microphone plays, and says that one heard it."""
        heard = [h for h in speaker.heard if h.journal == speaker.disk.journal]
        known = {other.id: other for other in rows if other.rev}
        played = [h for h in heard if h.plan.order.partition("/")[2] in known and h.end == "end"]
        if not played or speaker.microphone:
            return None
        order = known[played[-1].plan.order.partition("/")[2]]
        at_us = order.start_at_us + 1_000_000
        return order, played[-1].plan.rev, Step(StepKind.FINISHED, at_us, evidence={"mic_db": 70, "repeat": 1, "of": 9})
