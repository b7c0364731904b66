"""Broadcasts (播发指令): from draft through release to air and off it. Pure: `decide(broadcast, event, now)`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import assert_never

from devices.protocols.documents import Audio, Order, OrderClass, OrderState, Phase, stub
from devices.protocols.selector import Selector

from .effects import Carry, Effect, RecallPeople, Record, Save, Sleep, TellIncident, Timer, WakeAt
from .incidents import AlertOver, AlertReleased, AlertStopped
from .refusals import (
    AlreadyReleasedByYou,
    ApproverMissing,
    ContentChanged,
    NotAllowed,
    PlaceholderLeft,
    ResumeTooLate,
    SentenceDiffers,
    WrongState,
)
from .signals import Use
from .wordings import unfilled

RESUME_WITHIN_US = 60_000_000
TIMER_USELESS_US = 86_400_000_000
WITHDRAWN_REVS_MAX = 16
RELEASING_ROLES = frozenset({"duty_officer", "approver"})
PEOPLE_FOR_LEVEL = {1: 2, 2: 2, 3: 1, 4: 1}


class BroadcastState(StrEnum):
    """DRAFT waits for people; HELD is a draft whose incident no longer stands; STOPPED may resume for 60 s.

    WITHDRAWN is off the air before its time, ENDED after it; what was prepared ENDs with its incident.
    """

    DRAFT = "draft"
    HELD = "held"
    DECLINED = "declined"
    ON_AIR = "on_air"
    STOPPED = "stopped"
    WITHDRAWN = "withdrawn"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Broadcast:
    """One order with its road to the air. `content` is the hash of what people release; times are µs UTC.

    `stream` is the manifest topic; `speakers` the planned number; `people_needed` 1 or 2; `plan` the plan's id
    and `planned` the digest of the plan whose speakers stand in its expected rows; `wordings` the ids of the texts to
    render, per language; `withdrawn_revs` the newest revisions that silenced it, at which nothing sounds;
    `silent_us` since when none of its revisions may sound, 0 while one may.
    """

    id: str
    incident: str
    use: Use
    phase: Phase
    original: str
    playbook: str
    state: BroadcastState
    hazard: str
    hazard_names: dict[str, str]
    event_code: str
    level: int
    order_class: OrderClass
    place_names: dict[str, str]
    texts: dict[str, str]
    selector: Selector
    stream: str
    speakers: int
    plan: str
    verdict: str
    volume: int | str
    repeat: int
    gap_s: int
    valid_s: int
    prove_within_s: int
    people_needed: int
    content: str = ""
    released_by: tuple[str, ...] = ()
    approved: bool = False
    rule: str = ""
    rev: int = 0
    planned: str = ""
    wordings: dict[str, str] = field(default_factory=dict)
    audio: tuple[Audio, ...] = ()
    start_at_us: int = 0
    expires_us: int = 0
    stopped_by: str = ""
    stopped_us: int = 0
    withdrawn_revs: tuple[int, ...] = ()
    silent_us: int = 0
    version: int = 0

    @property
    def on_manifest(self) -> bool:
        """An order that ever went on air stays in its manifest until it expires."""
        return self.rev > 0


class Act(StrEnum):
    """What a release row records."""

    RELEASE = "release"
    STANDING = "standing"
    DECLINE = "decline"
    STOP = "stop"
    RESUME = "resume"
    ADOPT = "adopt"


@dataclass(frozen=True, slots=True)
class Release:
    """One recorded act of a person or a standing order upon a broadcast (审签)."""

    id: str
    broadcast: str
    act: Act
    person: str
    content: str
    rule: str
    why: str
    at_us: int


@dataclass(frozen=True, slots=True)
class ReleaseGiven:
    person: str
    roles: frozenset[str]
    content: str
    sentence: str


@dataclass(frozen=True, slots=True)
class StandingGiven:
    """The playbook's standing order releases it; `rule` names playbook, version and what corroborates."""

    rule: str


@dataclass(frozen=True, slots=True)
class Declined:
    person: str
    roles: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class Held:
    why: str


@dataclass(frozen=True, slots=True)
class Stopped:
    person: str
    roles: frozenset[str]
    why: str


@dataclass(frozen=True, slots=True)
class Resumed:
    person: str
    roles: frozenset[str]


@dataclass(frozen=True, slots=True)
class ResumeEnded:
    """The time for resuming has passed: what was stopped needs a new release."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A correction or an all-clear of this order goes on air."""

    by: str
    person: str


@dataclass(frozen=True, slots=True)
class Retired:
    """A correction or an all-clear leaves the air before its time; `heard` says that it has done its work."""

    why: str
    heard: bool = False


@dataclass(frozen=True, slots=True)
class NothingFollows:
    """A correction or an all-clear that was prepared will not be given: its incident is closed."""


@dataclass(frozen=True, slots=True)
class Expired:
    pass


@dataclass(frozen=True, slots=True)
class AudioReady:
    audio: tuple[Audio, ...]


BroadcastEvent = (
    ReleaseGiven
    | StandingGiven
    | Declined
    | Held
    | Stopped
    | Resumed
    | ResumeEnded
    | Replaced
    | Retired
    | NothingFollows
    | Expired
    | AudioReady
)


def people_needed(level: int, phase: Phase) -> int:
    """Red and orange alerts need two people; a correction or an all-clear never more than one."""
    return PEOPLE_FOR_LEVEL[level] if phase is Phase.ALERT else 1


def content_hash(b: Broadcast) -> str:
    """What a release stands for: hazard, level, area, status, verdict, the words, and how often, loud and long they are
    said; not audio files or times. The verdict on its alert changes nothing about a correction or an all-clear."""
    verdict = b.verdict if b.phase is Phase.ALERT else ""
    said = [
        b.hazard, b.event_code, b.level, b.use, b.phase, verdict, b.order_class, b.original, b.stream,
        b.repeat, b.gap_s, b.volume, b.valid_s, b.texts, asdict(b.selector),
    ]  # fmt: skip
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def sentences(b: Broadcast) -> dict[str, str]:
    """The sentence people confirm, per language: hazard, area, number of speakers, and Actual or Exercise in words."""
    phase_zh = {Phase.ALERT: "警报", Phase.CORRECTION: "更正", Phase.ALL_CLEAR: "解除"}[b.phase]
    phase_en = {Phase.ALERT: "alert", Phase.CORRECTION: "correction", Phase.ALL_CLEAR: "all-clear"}[b.phase]
    use_zh, use_en = ("实警", "ACTUAL") if b.use is Use.ACTUAL else ("演练", "EXERCISE")
    colour_zh = {1: "红色", 2: "橙色", 3: "黄色", 4: "蓝色"}[b.level]
    colour_en = {1: "red", 2: "orange", 3: "yellow", 4: "blue"}[b.level]
    verified_zh, verified_en = ("已核实", "verified") if b.verdict == "confirmed" else ("尚未核实", "not yet verified")
    if b.phase is not Phase.ALERT:
        verified_zh, verified_en = "接续原警报", "it follows its alert"
    hazard_zh, hazard_en = b.hazard_names.get("zh", b.hazard), b.hazard_names.get("en", b.hazard)
    place_zh = b.place_names.get("zh", "")
    place_en = b.place_names.get("en", place_zh)
    to_zh = f"向{place_zh}的{b.speakers}个终端播发"
    return {
        "zh": f"【{use_zh}】{to_zh}{hazard_zh}{colour_zh}{phase_zh}（{verified_zh}）。",
        "en": f"{use_en}: broadcast the {colour_en} {hazard_en} {phase_en} to {b.speakers} speakers in {place_en}"
        f" ({verified_en}).",
    }


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


def check_spoken(b: Broadcast) -> None:
    """Raise PlaceholderLeft when a text still holds what nothing has filled."""
    for lang, text in sorted(b.texts.items()):
        if left := unfilled(text):
            raise PlaceholderLeft(f"{b.phase}/{lang}: {left}")


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


def silenced_at(b: Broadcast, rev: int, now_us: int) -> Broadcast:
    """The broadcast at a revision that takes it off the air now, or keeps it off."""
    revs = (*b.withdrawn_revs, rev)[-WITHDRAWN_REVS_MAX:]
    return replace(b, rev=rev, withdrawn_revs=revs, silent_us=b.silent_us or now_us)


def may_release(roles: frozenset[str]) -> None:
    """Raise NotAllowed unless one of the roles may release, decline, stop and resume."""
    if not roles & RELEASING_ROLES:
        raise NotAllowed


def _publish(b: Broadcast) -> Save:
    return Save(Carry.PUBLISH_STREAM, b.stream)


def prepared_again(follower: Broadcast, id: str) -> Broadcast:
    """A correction or an all-clear as it lay ready, after one of the same words left the air without being heard."""
    return replace(
        follower, id=id, state=BroadcastState.DRAFT, rev=0, withdrawn_revs=(), silent_us=0, released_by=(),
        approved=False, start_at_us=0, expires_us=0, stopped_by="", stopped_us=0, version=0,
    )  # fmt: skip


def wire_order(b: Broadcast) -> Order:
    """The order as speakers see it: as its stub once it is stopped or withdrawn."""
    order = whole_order(b)
    return stub(order) if b.state in (BroadcastState.STOPPED, BroadcastState.WITHDRAWN) else order


def whole_order(b: Broadcast) -> Order:
    """The order with its words, as speakers see it while it is in force."""
    return Order(
        id=b.id,
        rev=b.rev,
        status=str(b.use),
        order_class=b.order_class,
        level=b.level,
        event_code=b.event_code,
        phase=b.phase,
        texts=b.texts,
        audio=b.audio,
        selector=b.selector,
        volume=b.volume,
        repeat=b.repeat,
        gap_s=b.gap_s,
        start_at=b.start_at_us,
        expires=b.expires_us,
        state=OrderState.IN_FORCE,
        corrects=b.original or None,
    )
