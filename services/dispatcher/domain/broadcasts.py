"""Broadcasts (播发指令): from draft through release to air and off it. What becomes of them is decided in
`broadcast_decisions`."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum

from devices.protocols.documents import Audio, Order, OrderClass, OrderState, Phase, stub
from devices.protocols.selector import Selector

from .refusals import (
    NotAllowed,
    PlaceholderLeft,
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


def check_spoken(b: Broadcast) -> None:
    """Raise PlaceholderLeft when a text still holds what nothing has filled."""
    for lang, text in sorted(b.texts.items()):
        if left := unfilled(text):
            raise PlaceholderLeft(f"{b.phase}/{lang}: {left}")


def silenced_at(b: Broadcast, rev: int, now_us: int) -> Broadcast:
    """The broadcast at a revision that takes it off the air now, or keeps it off."""
    revs = (*b.withdrawn_revs, rev)[-WITHDRAWN_REVS_MAX:]
    return replace(b, rev=rev, withdrawn_revs=revs, silent_us=b.silent_us or now_us)


def may_release(roles: frozenset[str]) -> None:
    """Raise NotAllowed unless one of the roles may release, decline, stop and resume."""
    if not roles & RELEASING_ROLES:
        raise NotAllowed


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
