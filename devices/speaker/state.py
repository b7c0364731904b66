"""What a speaker knows between two events, and how the part that must outlive a crash is written as journal facts.

Values only. Dictionaries here are never changed in place: a new state shares what did not change with the old one.
Orders are kept by use and id, so that an exercise key can never touch an actual order of the same id.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

from devices.protocols import document_json
from devices.protocols.documents import (
    Audio,
    LinkKey,
    Manifest,
    Order,
    OrderState,
    Phase,
    Step,
    StepKind,
)
from devices.speaker.claims import Claim, Papers, claim_of, packed, stands
from devices.speaker.events import Image, JournalEntry, Segment

T = TypeVar("T")

ORDERS_KEPT_MAX = 512
STREAMS_MAX = 64
HEARD_PERCENT = 80
STEP_WINDOW_US = 500_000
STARTS_WINDOW_US = 3_600_000_000


class Words(NamedTuple):
    """All of an order that can be heard. Two revisions may differ in it."""

    texts: dict[str, str]
    audio: tuple[Audio, ...]
    volume: int | str
    event_code: str
    level: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class SpeakerClock:
    """UTC is the monotonic clock plus `offset_us`; None means that no time is known and nothing may sound.

    `verified` says that a signed hello answer set it in this run; before, it goes on from the time on disk and can only
    be behind. `noted_us` is when (monotonic) the time was last put on disk. `nonce` is the hello now out, "" if none;
    `again` asks for another one after its answer.
    """

    offset_us: int | None = None
    verified: bool = False
    noted_us: int = 0
    nonce: str = ""
    asked_us: int = 0
    asked: int = 0
    tries: int = 0
    again: bool = False
    next_us: int = 0


@dataclass(frozen=True, slots=True)
class Standing:
    """One order as this speaker holds it, the claim that listed it last, and the base address of its recordings. A
    withdrawn order keeps the words that the speaker had of it.

    `unlisted_by` is the claim of the manifest that was accepted last on the stream, where it does not list the order.

    `mine`, and the `height` by which it ranks, follow from the config and are made anew whenever it or the orders
    change.
    """

    order: Order
    claim: Claim
    audio_base: str = ""
    unlisted_by: Claim | None = None
    mine: bool = False
    height: int = 0


@dataclass(frozen=True, slots=True)
class Mark:
    """What happened to an order here. `heard` repeats are over; `running` is the repeat now sounding, 0 if none.

    `over` is the reason why it will not sound again, whatever its revision, and `over_by` are the claims of the orders
    that ended it. `due_us` (UTC) is since when a daily order waits, 0 for its start_at. `reached_us`
    (UTC by the verified clock, 0 without one) is when the running repeat had come to `percent`. The `_rev` fields name
    the newest revision of which something was said: accepted, withdrawn, held back by the rate limit, told that it will
    not sound, closed for good. `admitted` starts are counted. `doubts` are the claims to other words than it has now,
    when some of it had sounded.
    """

    heard: int = 0
    running: int = 0
    percent: int = 0
    again: bool = False
    over: str = ""
    started_us: int = 0
    reached_us: int = 0
    due_us: int = 0
    accepted_rev: int = 0
    withdrawn_rev: int = 0
    limited_rev: int = 0
    told_rev: int = 0
    closed_rev: int = 0
    failed_repeat: int = 0
    tries: int = 0
    admitted: bool = False
    over_by: tuple[Claim, ...] = ()
    doubts: tuple[Claim, ...] = ()


class Severity(NamedTuple):
    """How severe an alert is for the rate limit: class before use before level, as in the order of sounds."""

    emergency: bool
    actual: bool
    minus_level: int


@dataclass(frozen=True, slots=True)
class Start:
    """One counted start for the rate limit: when (monotonic µs of this run, may lie before boot), how severe, and the
    claim by which the order began.

    `at_us` is the verified UTC of a start before this run that has not been aged yet, else 0.
    """

    mono_us: int
    severity: Severity
    claim: Claim
    at_us: int = 0


@dataclass(frozen=True, slots=True)
class Loading:
    """A plan that is being made ready, or is ready. `depth` is 0 recordings, 1 local speech, 2 phrases and chime.

    `source` names what it is really made of: recording, speech or phrase. `asked` are the segments of the plan at depth
    0, by which its length is remembered. `words` are those of the order as it was loaded.
    """

    key: str
    rev: int
    repeat: int
    ticket: int
    depth: int
    source: str
    since_us: int
    ms: int
    volume: int
    words: Words
    asked: tuple[Segment, ...] = ()
    ready: bool = False


@dataclass(frozen=True, slots=True)
class Sounding:
    """What sounds now. `mono_us` is when Play was decided; `cut_us` is when a player that says nothing is given up.
    `words` are what it says, and `claim` is the one by which it began."""

    key: str
    rev: int
    repeat: int
    ticket: int
    source: str
    mono_us: int
    cut_us: int
    volume: int
    words: Words
    claim: Claim
    asked: tuple[Segment, ...] = ()
    began: bool = False
    mic_db: int | None = None


@dataclass(frozen=True, slots=True)
class SoundNow:
    """The loudspeaker. `rests` holds orders back until a monotonic time: gaps between repeats, pauses after failure.

    `lengths` are the lengths found by loading or playing, in ms, with the segments that they belong to. `interrupted`
    are daily alerts that have begun and that something above them keeps from going on. `installed` is the volume before
    any order set one, `last` the one that an order set last, with its claim.
    """

    ticket: int = 0
    loading: Loading | None = None
    sounding: Sounding | None = None
    rests: dict[str, int] = field(default_factory=dict)
    lengths: dict[str, tuple[tuple[Segment, ...], int]] = field(default_factory=dict)
    interrupted: frozenset[str] = frozenset()
    cached: frozenset[str] = frozenset()
    fetching: dict[str, int] = field(default_factory=dict)
    installed: int = 80
    last: tuple[int, Claim] | None = None
    power: str = "mains"
    store_reason: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """A receipt as it goes over the wire. `final` says that it holds a step that must not be dropped."""

    payload: bytes
    final: bool


@dataclass(frozen=True, slots=True)
class Draft:
    """Steps of one order that wait to share a message, until `flush_us` (monotonic)."""

    rev: int
    steps: tuple[Step, ...]
    flush_us: int


@dataclass(frozen=True, slots=True)
class Mail:
    """Receipts and the retained state. `unacked` are sequence numbers without PUBACK, oldest first."""

    connected: bool = False
    connection: int = 0
    seq: int = 0
    letters: dict[int, Letter] = field(default_factory=dict)
    unacked: tuple[int, ...] = ()
    drafts: dict[str, Draft] = field(default_factory=dict)
    dropped: int = 0
    state_due_us: int = 0
    state_said: bytes = b""


@dataclass(frozen=True, slots=True)
class State:
    """Everything. `live` are the keys of orders that may still want something; the rest is only remembered."""

    speaker: str
    papers: Papers
    journal: str = ""
    seed: str = ""
    booted_us: int = 0
    born_us: int = 0
    clock: SpeakerClock = SpeakerClock()
    orders: dict[str, Standing] = field(default_factory=dict)
    marks: dict[str, Mark] = field(default_factory=dict)
    live: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()
    sound: SoundNow = SoundNow()
    mail: Mail = Mail()
    wake_us: int = 0


def blank(speaker: str, root: LinkKey) -> State:
    """A speaker before its first boot: its id and the root key it trusts."""
    return State(speaker, Papers(root))


def vouched(papers: Papers, standing: Standing) -> bool:
    """Whether the claim that listed an order last stands."""
    return stands(papers, standing.claim)


def order_key(use: str, order: str) -> str:
    """The name under which orders are kept."""
    return f"{use}/{order}"


def order_entry(key: str, standing: Standing) -> JournalEntry:
    """The fact of an order: a manifest of that one order, so that one reader serves for both. That a whole order is
    withdrawn stands beside it, because a manifest has no words for such a one."""
    order = standing.order
    withdrawn = order.state is OrderState.WITHDRAWN and bool(order.texts or order.audio)
    listed = replace(order, state=OrderState.IN_FORCE) if withdrawn else order
    manifest = Manifest(standing.claim.stream, 1, 0, 0, "", (listed,), audio_base=standing.audio_base)
    text = document_json.encode(manifest).decode()
    return JournalEntry("order", key, packed([standing.claim, standing.unlisted_by, text, withdrawn]))


def order_of(text: str) -> Standing:
    """Raises LinkRefused, ValueError, TypeError or LookupError when the journal holds something that is no order."""
    claim, unlisted_by, manifest_json, withdrawn = json.loads(text)
    manifest = document_json.decode_manifest(manifest_json.encode())
    order = manifest.orders[0]
    if withdrawn:
        order = replace(order, state=OrderState.WITHDRAWN)
    missed = claim_of(unlisted_by) if unlisted_by else None
    return Standing(order, claim_of(claim), manifest.audio_base, missed)


def mark_entry(key: str, mark: Mark) -> JournalEntry:
    """The fact of a mark; fields at their default are left out."""
    return JournalEntry("mark", key, packed({n: v for n in Mark.__slots__ if (v := getattr(mark, n))}))


def mark_of(text: str) -> Mark:
    """Fields that this version does not know are passed over: a store may have been written by a newer one."""
    plain = Mark()
    known = {name: value for name, value in json.loads(text).items() if name in Mark.__slots__}
    claims = ("over_by", "doubts")
    found: dict[str, Any] = {n: tuple(map(claim_of, value)) if n in claims else value for n, value in known.items()}
    for name, value in found.items():
        if type(value) is not type(getattr(plain, name)):
            raise TypeError(f"{name} of a mark is {value!r}")
    return Mark(**found)


def draft_entry(key: str, draft: Draft) -> JournalEntry:
    """Steps said but not yet sent; the flush time is of this run and is not kept."""
    return JournalEntry("draft", key, packed([draft.rev, [[s.kind, s.at, s.reason, s.evidence] for s in draft.steps]]))


def draft_of(text: str, mono_us: int) -> Draft:
    rev, steps = json.loads(text)
    return Draft(rev, tuple(Step(StepKind(k), at, reason, evidence) for k, at, reason, evidence in steps), mono_us)


def latest(image: Image) -> dict[str, dict[str, str]]:
    """The facts by kind and key, the last word of each."""
    facts: dict[str, dict[str, str]] = {}
    for entry in image.entries:
        of_kind = facts.setdefault(entry.kind, {})
        of_kind.pop(entry.key, None)
        if entry.value is not None:
            of_kind[entry.key] = entry.value
    return facts


def without(items: dict[str, T], key: str) -> dict[str, T]:
    """The dictionary less one key."""
    return {k: v for k, v in items.items() if k != key}
