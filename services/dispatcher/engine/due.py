"""What each timer does when it is due."""

from __future__ import annotations

from typing import assert_never

from ..domain import broadcasts, verification
from ..domain.effects import Carry, Save, Timer, WakeAt
from ..domain.incidents import Incident, MinuteOver, RedraftDue
from ..domain.signals import Panel, Sensor
from ..domain.verification import Task
from .air import acts, proving, refused_documents, sightings
from .events import TimerDue
from .ports import Store
from .rows import Withdrawal
from .signals import incidents, muting, silencing
from .sources import dead_man, maintenance, panels, polls
from .tasks import asking
from .transaction import Work
from .writing import write

CANARY_EVERY_US = 60_000_000
CANARY_USELESS_AFTER_US = 10 * 365 * 86_400_000_000


def due(work: Work, event: TimerDue) -> None:
    """What a due timer does; nothing when it is no longer the one that was due."""
    timer = event.timer
    if not work.tx.take_due(timer):
        return
    match timer.timer:
        case Timer.RUNG:
            task = work.tx.get_locked(Task, timer.subject)
            assert task is not None
            asking.tell(work, task.id, verification.RungTimedOut(task.rung, event.missed))
        case Timer.EXPIRES:
            acts.tell(work, timer.subject, broadcasts.Expired())
        case Timer.PROVE:
            proving.due(work, timer.subject)
        case Timer.GROUND:
            proving.ask_on(work, timer.subject)
        case Timer.RESUME:
            acts.tell(work, timer.subject, broadcasts.ResumeEnded())
        case Timer.REFRESH:
            work.run([Save(Carry.PUBLISH_STREAM, timer.subject)])
        case Timer.POLL:
            polls.due(work, timer.subject)
        case Timer.SOURCE_SILENT:
            dead_man.due(work, timer, event.missed)
        case Timer.LOOK:
            sightings.look(work, timer.subject)
        case Timer.REFUSED:
            refused_documents.look(work)
        case Timer.MINUTE:
            incidents.tell(work, timer.subject, MinuteOver())
        case Timer.REDRAFT:
            incidents.tell(work, timer.subject, RedraftDue())
        case Timer.INHIBITION:
            muted = work.tx.get(Incident, timer.subject)
            if muted is not None:
                work.run(muting.recheck(work.tx, muted, work.rules, work.city))
        case Timer.SILENCE_END:
            silencing.end(work, timer.subject, "", "its time is over")
        case Timer.WITHDRAWAL_END:
            work.tx.delete(Withdrawal, timer.subject)
        case Timer.CANARY:
            work.run([Save(Carry.CANARY, "worker"), _canary_at(work.tx.now_us() + CANARY_EVERY_US)])
        case Timer.PANEL_REQUEST:
            panels.deadline(work, timer.subject)
        case Timer.PANEL_MAINTENANCE:
            maintenance.due(work, Panel, timer.subject)
        case Timer.SENSOR_MAINTENANCE:
            maintenance.due(work, Sensor, timer.subject)
        case unknown:
            assert_never(unknown)


def start_canary(store: Store) -> None:
    """Have the workers tried at once, and every minute from then on."""
    with write(store) as tx:
        tx.wake_at(_canary_at(tx.now_us()))


def _canary_at(due_us: int) -> WakeAt:
    return WakeAt(Timer.CANARY, "worker", due_us, due_us + CANARY_USELESS_AFTER_US)
