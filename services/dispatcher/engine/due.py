"""What each timer does when it is due."""

from __future__ import annotations

from ..domain import broadcasts, verification
from ..domain.effects import Carry, Save, Sleep, WakeAt
from ..domain.incidents import Incident, MinuteOver, RedraftDue
from ..domain.verification import Task
from .air import acts, proving, sightings
from .events import TimerDue
from .ports import TimerRow, Tx, Withdrawal
from .signals import incidents, muting, silencing
from .sources import dead_man, maintenance, panels, polls
from .tasks import asking
from .transaction import Work


def due(work: Work, event: TimerDue) -> None:
    """What a due timer does; nothing when it is no longer the one that was due."""
    timer = event.timer
    if not _take(work.tx, timer):
        return
    match timer.subject_kind, timer.name:
        case "task", "rung":
            task = work.tx.get_locked(Task, timer.subject)
            assert task is not None
            asking.tell(work, task.id, verification.RungTimedOut(task.rung, event.missed))
        case "broadcast", "expires":
            acts.tell(work, timer.subject, broadcasts.Expired())
        case "broadcast", "prove":
            proving.due(work, timer.subject)
        case "broadcast", "resume":
            acts.tell(work, timer.subject, broadcasts.ResumeEnded())
        case "stream", "refresh":
            work.run([Save(Carry.PUBLISH_STREAM, timer.subject)])
        case "poll", "due":
            polls.due(work, timer.subject)
        case "source", "silent":
            dead_man.due(work, timer, event.missed)
        case "sighting", "look":
            sightings.look(work, timer.subject)
        case "incident", "minute":
            incidents.tell(work, timer.subject, MinuteOver())
        case "incident", "redraft":
            incidents.tell(work, timer.subject, RedraftDue())
        case "incident", "inhibition":
            muted = work.tx.get(Incident, timer.subject)
            if muted is not None:
                work.run(muting.recheck(work.tx, muted, work.rules, work.city))
        case "silence", "end":
            silencing.end(work, timer.subject, "", "its time is over")
        case "withdrawal", "end":
            work.tx.delete(Withdrawal, timer.subject)
        case "worker", "canary":
            now_us = work.tx.now_us()
            next_us = now_us + 60_000_000
            work.run([Save(Carry.CANARY, "worker")])
            work.run([WakeAt("worker", "worker", "canary", next_us, next_us + 10 * 365 * 86_400_000_000)])
        case panels.TIMER_KIND, panels.TIMER_NAME:
            panels.deadline(work, timer.subject)
        case kind, maintenance.TIMER_NAME if kind in maintenance.KINDS:
            maintenance.due(work, maintenance.KINDS[kind], timer.subject)
        case kind, name:
            raise AssertionError(f"no such timer: {kind}/{name}")


def _take(tx: Tx, timer: TimerRow) -> bool:
    """Remove the timer if it is still the one that was due; somebody may have moved it on meanwhile."""
    return tx.sleep(Sleep(timer.subject_kind, timer.subject, timer.name), timer.due_us)
