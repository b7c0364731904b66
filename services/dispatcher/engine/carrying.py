"""What carries each effect out within the transaction that decided it. The one place that knows them all."""

from __future__ import annotations

from typing import assert_never

from ..domain import verification
from ..domain.effects import (
    AskOffice,
    AskTwo,
    Effect,
    EndSilence,
    HoldBroadcast,
    LearnVerdict,
    PrepareBroadcast,
    RaiseSilence,
    RecallPeople,
    Record,
    ReleaseStanding,
    Save,
    Sleep,
    TellIncident,
    WakeAt,
    WithdrawTask,
)
from .air import preparing
from .signals import incidents
from .sources import dead_man
from .tasks import asking
from .transaction import Work


def carry(work: Work, effect: Effect) -> None:
    """Carry it out; what follows from it is queued before what was decided after it."""
    match effect:
        case Record():
            work.tx.record(effect)
        case Save():
            work.tx.save(effect)
        case WakeAt():
            work.tx.wake_at(effect)
        case Sleep():
            work.tx.sleep(effect)
        case AskOffice():
            asking.ask(work, effect)
        case AskTwo():
            asking.ask_two(work, effect)
        case WithdrawTask():
            asking.tell(work, effect.task, verification.Withdrawn(effect.why))
        case PrepareBroadcast():
            preparing.prepare(work, effect.incident)
        case ReleaseStanding():
            preparing.release_standing(work, effect)
        case HoldBroadcast():
            preparing.hold(work, effect)
        case RecallPeople():
            preparing.recall(work, effect)
        case LearnVerdict():
            incidents.learn(work, effect)
        case RaiseSilence():
            dead_man.raise_case(work, effect.source)
        case EndSilence():
            dead_man.end_case(work, effect.incident)
        case TellIncident():
            incidents.tell(work, effect.incident, effect.event)  # type: ignore[arg-type]
        case _:
            assert_never(effect)
