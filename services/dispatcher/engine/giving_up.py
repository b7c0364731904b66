"""What people or the ladder get to see of an effect that was tried long enough, and whether anybody still wants it.

The table of retries says for each kind what comes of it (`GivenUp`). What is still wanted is tried on.
"""

from __future__ import annotations

from typing import assert_never

from ..domain import polling, verification
from ..domain.broadcasts import Broadcast
from ..domain.effects import Carry, Record
from ..domain.places import Speaker
from ..domain.polling import Poll
from ..domain.retries import RETRIES, GivenUp
from ..domain.verification import Task, TaskState
from . import health
from .air import foreign
from .air.listing import ON_AIR_STATES
from .air.wanted import WantedWords, wanted_words
from .events import EffectGaveUp, PollTold
from .ports import Page
from .rows import Wording
from .sources import polls
from .tasks import asking
from .transaction import Work

ORDERS_MAX = 1_000
OFFICE_UNREACHED_US = 10_000_000
"""An office that was asked less long ago has not had its chance yet."""


def tell(work: Work, event: EffectGaveUp) -> bool:
    """Let people or the ladder know; whether the effect is to be tried on."""
    carry, _, subject = event.lane.partition(":")
    goes_on = _tell(work, RETRIES[Carry(carry)].then, subject, event)
    kind = "effect.late" if goes_on else "effect.gave_up"
    work.tx.record(Record(kind, event.lane, event.reason))
    return goes_on


def _tell(work: Work, then: GivenUp, subject: str, event: EffectGaveUp) -> bool:
    match then:
        case GivenUp.NOT_PUBLISHED:
            return _not_published(work, subject, event.reason)
        case GivenUp.CONFIG_OLD:
            return _config_old(work, subject, event)
        case GivenUp.LADDER_CLIMBS:
            return _ladder_climbs(work, subject, event)
        case GivenUp.SPEAKERS_SAY_IT:
            return _speakers_say_it(work, subject, event)
        case GivenUp.NOT_ASKED:
            why = f"nobody asks for its missing receipts: {event.reason}"
            work.tx.record(Record("speaker.not_asked", subject, why))
            return False
        case GivenUp.WORKERS_SILENT:
            why, seen_us = f"the canary could not be sent: {event.reason}", health.worker_seen(work.tx)[1]
            work.tx.record(Record("worker.silent", "worker", why, facts={"seen_us": seen_us}))
            return False
        case GivenUp.FEED_SILENT:
            return _feed_silent(work, subject, event)
        case _:
            assert_never(then)


def _not_published(work: Work, topic: str, reason: str) -> bool:
    """What is on air, and its end above all, must reach the speakers: never given up while an order may sound, nor what
    has to be signed anew, because speakers may hold there what only a removed key had signed."""
    now_us = work.tx.now_us()
    rows = work.tx.find(Broadcast, Page(limit=ORDERS_MAX, order="-id"), stream=topic, state=ON_AIR_STATES)
    sounding = [b for b in rows if b.on_manifest and b.expires_us > now_us]
    for b in sounding:
        why = f"speakers do not have revision {b.rev}: {reason}. Announce by hand-held loudspeaker"
        work.tx.record(Record("broadcast.not_published", b.id, why, facts={"rev": b.rev, "state": b.state}))
    unknown = foreign.unknown_orders(work.tx, topic)
    if unknown:
        why = f"what was decided about orders that are unknown here does not reach speakers: {reason}"
        work.tx.record(Record("stream.not_published", topic, why, facts={"orders": [o.id for o in unknown]}))
    return bool(sounding or unknown or foreign.to_be_signed_anew(work.tx, topic))


def _config_old(work: Work, speaker_id: str, event: EffectGaveUp) -> bool:
    speaker = work.tx.get(Speaker, speaker_id)
    if speaker is None or not speaker.enrolled:
        return False
    why = f"it does not have config {speaker.config_version}: {event.reason}"
    work.tx.record(Record("speaker.config_old", speaker_id, why, facts={"config": speaker.config_version}))
    return event.again


def _ladder_climbs(work: Work, task_id: str, event: EffectGaveUp) -> bool:
    task = work.tx.get_locked(Task, task_id)
    if task is None or task.state is not TaskState.ASKED:
        return False
    if work.tx.now_us() - task.rung_began_us >= OFFICE_UNREACHED_US:
        asking.tell(work, task_id, verification.NotReached(event.reason))
        work.run()
    after = work.tx.get_locked(Task, task_id)
    # The next office is asked by an effect of its own; where nobody is left to ask, this one is asked on.
    return event.again and after is not None and after.rung == task.rung


def _speakers_say_it(work: Work, wording_id: str, event: EffectGaveUp) -> bool:
    wording = work.tx.get(Wording, wording_id)
    if wording is None:
        return False
    wanted = work.known(_wanted)
    why = f"its {wording.lang} audio is not rendered: {event.reason}. Speakers say the text themselves or play phrases"
    for broadcast in wanted.by.get(wording_id, ()):
        work.tx.record(Record("broadcast.not_rendered", broadcast, why, facts={"lang": wording.lang}))
    return event.again and wanted.wanted(wording)


def _wanted(work: Work) -> WantedWords:
    return wanted_words(work.tx, work.city, work.playbooks.values())


def _feed_silent(work: Work, feed: str, event: EffectGaveUp) -> bool:
    poll = work.tx.get(Poll, feed)
    if poll is None or not poll.asked:
        return False
    if poll.round is not None and event.again:
        # Its server has answered, and what it said is being taken.
        return True
    now_us = work.tx.now_us()
    polls.told(work, PollTold(feed, now_us, polling.Failed("workers_away", polls.draw(feed, now_us))))
    work.run()
    return False
