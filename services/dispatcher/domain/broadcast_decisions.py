"""What happens to a broadcast makes of it: `decide(broadcast, event, now)`. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from devices.protocols.documents import Phase

from .broadcasts import (
    RESUME_WITHIN_US,
    TIMER_USELESS_US,
    AudioReady,
    Broadcast,
    BroadcastEvent,
    BroadcastState,
    Declined,
    Expired,
    Held,
    NothingFollows,
    ReleaseGiven,
    Replaced,
    Resumed,
    ResumeEnded,
    Retired,
    StandingGiven,
    Stopped,
    check_spoken,
    may_release,
    sentences,
    silenced_at,
)
from .effects import Carry, Effect, RecallPeople, Record, Save, Sleep, TellIncident, Timer, WakeAt
from .incidents import AlertOver, AlertReleased, AlertStopped
from .refusals import (
    AlreadyReleasedByYou,
    ApproverMissing,
    ContentChanged,
    ResumeTooLate,
    SentenceDiffers,
    WrongState,
)


def decide(b: Broadcast, event: BroadcastEvent, now_us: int) -> tuple[Broadcast, list[Effect]]:
    """What an event makes of a broadcast. Raises a refusal where a person asks for what may not be."""
    match event:
        case ReleaseGiven():
            return _release(b, event, now_us)
        case StandingGiven():
            if b.state is not BroadcastState.DRAFT:
                return b, [Record("broadcast.standing_late", b.id, f"it is {b.state}: the standing order does nothing")]
            return _on_air(replace(b, rule=event.rule), now_us, f"standing order {event.rule}", "")
        case Declined():
            may_release(event.roles)
            if b.phase is not Phase.ALERT:
                raise WrongState("a correction or an all-clear stays prepared")
            if b.state not in (BroadcastState.DRAFT, BroadcastState.HELD):
                raise WrongState(f"it is {b.state}")
            declined = replace(b, state=BroadcastState.DECLINED)
            return declined, [Record("broadcast.declined", b.id, event.why, event.person)]
        case Held() if b.state is BroadcastState.DRAFT:
            held = replace(b, state=BroadcastState.HELD, released_by=(), approved=False)
            return held, [Record("broadcast.held", b.id, event.why)]
        case Held() if b.state is BroadcastState.STOPPED:
            return _given_up(b, event.why)
        case Held():
            return b, [Record("broadcast.not_held", b.id, f"it is {b.state}: {event.why}")]
        case Stopped():
            return _stop(b, event, now_us)
        case Resumed():
            return _resume(b, event, now_us)
        case ResumeEnded() if b.state is BroadcastState.STOPPED:
            return _given_up(b, "it was stopped, and nobody resumed it within 60 s")
        case ResumeEnded():
            return b, [Record("broadcast.timer_late", b.id, f"it is {b.state}: nothing waits to be resumed")]
        case Replaced() if b.state in (BroadcastState.ON_AIR, BroadcastState.STOPPED):
            return _replaced(b, event, now_us)
        case Replaced():
            return b, [Record("broadcast.withdrawn_late", b.id, f"it is {b.state} already", event.person)]
        case Retired() if b.state in (BroadcastState.ON_AIR, BroadcastState.STOPPED) and b.phase is not Phase.ALERT:
            gone = replace(silenced_at(b, b.rev + 1, now_us), state=BroadcastState.WITHDRAWN)
            return gone, [_publish(b), Record("broadcast.retired", b.id, event.why)]
        case Retired():
            return b, [Record("broadcast.not_retired", b.id, f"it is {b.state}: {event.why}")]
        case NothingFollows() if b.state is BroadcastState.DRAFT and b.phase is not Phase.ALERT:
            return replace(b, state=BroadcastState.ENDED), []
        case NothingFollows():
            return b, []
        case Expired():
            return _expired(b, now_us)
        case AudioReady():
            return _audio(b, event)
        case _:
            assert_never(event)


def _release(b: Broadcast, event: ReleaseGiven, now_us: int) -> tuple[Broadcast, list[Effect]]:
    may_release(event.roles)
    if b.state is not BroadcastState.DRAFT:
        raise WrongState(f"it is {b.state}")
    if event.content != b.content:
        raise ContentChanged
    if event.sentence not in sentences(b).values():
        raise SentenceDiffers
    if event.person in b.released_by:
        raise AlreadyReleasedByYou
    approved = b.approved or "approver" in event.roles
    people = (*b.released_by, event.person)
    if len(people) >= b.people_needed and b.people_needed > 1 and not approved:
        raise ApproverMissing
    signed = replace(b, released_by=people, approved=approved)
    if len(people) < b.people_needed:
        return signed, [Record("broadcast.released_by_one", b.id, event.sentence, event.person)]
    return _on_air(signed, now_us, event.sentence, event.person)


def _on_air(b: Broadcast, now_us: int, why: str, person: str) -> tuple[Broadcast, list[Effect]]:
    check_spoken(b)
    expires_us = now_us + b.valid_s * 1_000_000
    on_air = replace(b, state=BroadcastState.ON_AIR, rev=b.rev + 1, start_at_us=now_us, expires_us=expires_us)
    prove_us = now_us + b.prove_within_s * 1_000_000
    effects: list[Effect] = [
        _publish(b),
        WakeAt(Timer.EXPIRES, b.id, expires_us, expires_us + TIMER_USELESS_US),
        WakeAt(Timer.PROVE, b.id, prove_us, prove_us + TIMER_USELESS_US),
        Record(
            "broadcast.on_air", b.id, why, person, {"rev": on_air.rev, "content": b.content, "speakers": b.speakers}
        ),
    ]
    return on_air, [*effects, *_tell(b, AlertReleased(b.id))]


def _stop(b: Broadcast, event: Stopped, now_us: int) -> tuple[Broadcast, list[Effect]]:
    may_release(event.roles)
    if b.state is not BroadcastState.ON_AIR:
        raise WrongState(f"it is {b.state}")
    silent = silenced_at(b, b.rev + 1, now_us)
    stopped = replace(silent, state=BroadcastState.STOPPED, stopped_by=event.person, stopped_us=now_us)
    resume_us = now_us + RESUME_WITHIN_US
    return stopped, [
        _publish(b),
        WakeAt(Timer.RESUME, b.id, resume_us, resume_us + TIMER_USELESS_US),
        Record("broadcast.stopped", b.id, event.why, event.person),
        RecallPeople(b.id, "it was stopped"),
        *_tell(b, AlertStopped(b.id)),
    ]


def _resume(b: Broadcast, event: Resumed, now_us: int) -> tuple[Broadcast, list[Effect]]:
    may_release(event.roles)
    if b.state is not BroadcastState.STOPPED:
        raise WrongState(f"it is {b.state}")
    if event.person != b.stopped_by or now_us - b.stopped_us > RESUME_WITHIN_US or now_us >= b.expires_us:
        raise ResumeTooLate
    resumed = replace(b, state=BroadcastState.ON_AIR, rev=b.rev + 1, stopped_by="", stopped_us=0, silent_us=0)
    prove_us = now_us + b.prove_within_s * 1_000_000
    return resumed, [
        _publish(b),
        Sleep(Timer.RESUME, b.id),
        WakeAt(Timer.PROVE, b.id, prove_us, prove_us + TIMER_USELESS_US),
        Record("broadcast.resumed", b.id, "under the same release", event.person),
        *_tell(b, AlertReleased(b.id)),
    ]


def _given_up(b: Broadcast, why: str) -> tuple[Broadcast, list[Effect]]:
    """What was stopped stays withdrawn; speakers hold that revision already."""
    gone = replace(b, state=BroadcastState.WITHDRAWN)
    return gone, [
        Sleep(Timer.RESUME, b.id),
        Record("broadcast.withdrawn", b.id, why),
        *_tell(b, AlertOver(b.id, why, answered=False)),
    ]


def _replaced(b: Broadcast, event: Replaced, now_us: int) -> tuple[Broadcast, list[Effect]]:
    gone = replace(silenced_at(b, b.rev + 1, now_us), state=BroadcastState.WITHDRAWN)
    why = f"{event.by} takes its place"
    return gone, [
        _publish(b),
        Sleep(Timer.RESUME, b.id),
        Record("broadcast.withdrawn", b.id, why, event.person),
        RecallPeople(b.id, why),
        *_tell(b, AlertOver(b.id, why, answered=True)),
    ]


def _expired(b: Broadcast, now_us: int) -> tuple[Broadcast, list[Effect]]:
    live = (BroadcastState.ON_AIR, BroadcastState.STOPPED, BroadcastState.WITHDRAWN)
    if b.state not in live:
        return b, [Record("broadcast.timer_late", b.id, f"it is {b.state}: nothing is left to expire")]
    if now_us < b.expires_us:
        return b, [WakeAt(Timer.EXPIRES, b.id, b.expires_us, b.expires_us + TIMER_USELESS_US)]
    why = "its time is over"
    ended = replace(b, state=BroadcastState.ENDED)
    effects: list[Effect] = [_publish(b), Record("broadcast.ended", b.id, why)]
    if b.state is BroadcastState.WITHDRAWN:
        return ended, effects
    over = [
        Sleep(Timer.RESUME, b.id),
        RecallPeople(b.id, why),
        *_tell(b, AlertOver(b.id, why, answered=False)),
    ]
    return ended, [*effects, *over]


def _tell(b: Broadcast, event: AlertReleased | AlertStopped | AlertOver) -> list[Effect]:
    """Only an alert counts for its incident; a correction or an all-clear comes and goes beside it."""
    return [TellIncident(b.incident, event)] if b.phase is Phase.ALERT else []


def _audio(b: Broadcast, event: AudioReady) -> tuple[Broadcast, list[Effect]]:
    if event.audio == b.audio or b.state in _FINAL:
        return b, []
    heard = replace(b, audio=event.audio)
    if b.state is BroadcastState.ON_AIR:
        return replace(heard, rev=b.rev + 1), [_publish(b), Record("broadcast.audio", b.id, "its audio was rendered")]
    return heard, []


_FINAL = (BroadcastState.DECLINED, BroadcastState.WITHDRAWN, BroadcastState.ENDED)


def _publish(b: Broadcast) -> Save:
    return Save(Carry.PUBLISH_STREAM, b.stream)
