"""Rows that the engine keeps beside those of the domain, and the small values that a store answers with."""

from __future__ import annotations

from dataclasses import dataclass, field

from ..domain.effects import Timer
from ..domain.refused_documents import RefusedDocument
from ..domain.signals import Signal


@dataclass(frozen=True, slots=True)
class CitySettings:
    """The loaded city pack's settings; `id` is always "city". `version` grows with any change of its rows."""

    id: str
    code: str
    name: str
    issuer: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class CityChange:
    """Which rows changed when the city got the version that `id` names; where a version has no such row, any may
    have."""

    id: str
    venues: tuple[str, ...] = ()
    speakers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who may log in. `office` is set for office people; roles as in the README."""

    id: str
    name: str
    password_hash: str
    roles: tuple[str, ...]
    office: str = ""
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """A session of a person; `id` is the hash of its token."""

    id: str
    person: str
    expires_us: int


@dataclass(frozen=True, slots=True)
class BrokerAccount:
    """A broker name with the hash of its own secret, in Mosquitto's form."""

    id: str
    password_hash: str
    enabled: bool = True


@dataclass(frozen=True, slots=True)
class Stream:
    """One manifest stream. `signed` is the newest signed manifest as it goes to the broker, by the key `signed_by`;
    `orders` digests what it says. `anew` says that it must be signed anew, because a key has been removed.
    `foreign` is the content of a newer manifest on the broker, verified, that this database does not know, and
    `foreign_kid` the key that had signed it, "" once a person has decided about it.
    Orders that began before `swept_us` and are not listed are withdrawn. `carried` says that `foreign` went out with
    our own signature before a person adopted or withdrew it. Versions up to `lost_until` may have been signed here in a
    time that a restored backup has lost. `silent_since` names the orders that were stopped or withdrawn, each with the
    version that was the first to say so."""

    id: str
    area: str
    use: str
    issuer: str
    manifest_version: int = 0
    orders: str = ""
    signed: bytes = b""
    signed_by: str = ""
    refresh_us: int = 0
    foreign: bytes = b""
    foreign_kid: str = ""
    swept_us: int = 0
    carried: bool = False
    anew: bool = False
    lost_until: int = 0
    silent_since: dict[str, int] = field(default_factory=dict)
    version: int = 0


@dataclass(frozen=True, slots=True)
class BrokerCopy:
    """What the broker was last found to hold of an occupied stream, under the stream's topic. `since_us` is when the
    stream was first found occupied, `confirmed_us` when the broker last held exactly the stored bytes and a speaker
    would take them, 0 for never; `checked_us` and `found` are of the newest comparison, "" for the same."""

    id: str
    since_us: int
    confirmed_us: int
    checked_us: int
    found: str
    gateway: str

    @property
    def held_us(self) -> int:
        """Since when nobody can say that the broker holds it."""
        return self.confirmed_us or self.since_us


@dataclass(frozen=True, slots=True)
class Wording:
    """Words to render ahead: `id` is the hash of the rest, so that the same words are rendered once."""

    id: str
    lang: str
    text: str
    use: str
    phase: str
    level: int
    event_code: str


@dataclass(frozen=True, slots=True)
class Asset:
    """The rendered audio of one wording, under the wording's id; `spoken` is False where phrases stand in."""

    id: str
    lang: str
    codec: str
    sha256: str
    ms: int
    bytes: int
    spoken: bool


@dataclass(frozen=True, slots=True)
class Lease:
    """Who holds a name (a broker client id, a duty) until when; `fence` grows with each new holder."""

    id: str
    holder: str
    until_us: int
    fence: int = 0


@dataclass(frozen=True, slots=True)
class TakenAccount:
    """A gateway's account at the broker, under its client id, that somebody else has connected with: `gateway` is who
    holds it, `times` how often its connection was taken over, `incident` what people were told. `said` is whether the
    broker named that reason."""

    id: str
    gateway: str
    first_us: int
    last_us: int
    times: int
    incident: str = ""
    said: bool = False


@dataclass(frozen=True, slots=True)
class ClockState:
    """What is known of the clocks; the one row has the id "clock". `trusted_us` is the time to go by, when the clock
    that the database tells time by showed `raw_us`, the writer's own `host_us`, and the monotonic clock of `boot`
    `mono_us`. `since_us` is when the clock jumped in trusted time, 0 while it is in order; `moved` says which did.
    `serial` grows with each jump and each end of one. What is stored up to `leftovers_until_us` may lie ahead of the
    time, because a person has put the time back since; the newest manifest that was signed then is of
    `signed_until_us`."""

    id: str
    trusted_us: int = 0
    raw_us: int = 0
    host_us: int = 0
    mono_us: int = 0
    boot: str = ""
    since_us: int = 0
    moved: str = ""
    serial: int = 0
    leftovers_until_us: int = 0
    signed_until_us: int = 0

    @property
    def jump_us(self) -> int:
        """How far the clock is ahead of trusted time (negative: behind); 0 while it is in order."""
        return self.raw_us - self.trusted_us if self.since_us else 0


@dataclass(frozen=True, slots=True)
class Moment:
    """The moment of a transaction: trusted time and what this process knows of the clocks. `verdict` is a word of
    `clock.ClockVerdict`."""

    state: ClockState
    verdict: str

    @property
    def now_us(self) -> int:
        return self.state.trusted_us


NEVER_US = 0
"""When a speaker was heard of whom no state has come yet, or only a retained copy."""


@dataclass(frozen=True, slots=True)
class Live:
    """What is last known of a speaker: its retained state, and when it was heard.

    `connection` is the number of the connection that counts; `streams` the versions that it holds, and `unchanged_us`
    since when it has been online with these. `cloned` and `jumped` count
    what its numbers should not do, `oddity` names the newest such, "" once it has long been over. `journals` are those
    it had before the present one, with the highest connection number of each; `told` is when the log last had a line of
    a kind that may come often; `refused` what it refuses, by topic. Times are µs UTC.
    """

    id: str
    online: bool
    connection: int
    journal: str
    seq: int
    config_version: int
    keys_version: int
    chain_head: str
    volume: int
    power: str
    heard_us: int
    cloned: int = 0
    jumped: int = 0
    oddity: str = ""
    odd_us: int = 0
    streams: dict[str, int] = field(default_factory=dict)
    unchanged_us: int = 0
    journals: dict[str, int] = field(default_factory=dict)
    told: dict[str, int] = field(default_factory=dict)
    refused: dict[str, RefusedDocument] = field(default_factory=dict)

    @property
    def refuses(self) -> bool:
        """Whether it refuses anything; a column, so that the few that do are found among many."""
        return bool(self.refused)


@dataclass(frozen=True, slots=True)
class PanelLive:
    """When a fire panel was last heard, by which gateway and from where, and how far its clock was off then; None
    where it says no date."""

    id: str
    gateway: str
    peer: str
    heard_us: int
    clock_off_s: int | None = None


@dataclass(frozen=True, slots=True)
class Stranger:
    """A source address that is not enrolled: `id` is the address, followed by the peer where the address is zero."""

    id: str
    peer: str
    first_us: int
    last_us: int
    frames: int


@dataclass(frozen=True, slots=True)
class Expected:
    """One speaker that an order is meant for, and what it has shown so far; times µs UTC, None while not shown.
    `doubted` is why the first step that does not count, or proves nothing, was not believed; that it sounded after a
    stop outranks the others."""

    broadcast: str
    speaker: str
    accepted_us: int | None = None
    ready_us: int | None = None
    playing_us: int | None = None
    finished_us: int | None = None
    refused: str = ""
    failed: str = ""
    proved: bool = False
    doubted: str = ""


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """One receipt as stored, and what it adds to its expected row. `given` is False for an order or a revision that
    was never given out here, which is nobody's to expect yet."""

    speaker: str
    journal: str
    seq: int
    broadcast: str
    rev: int
    raw: bytes
    received_us: int
    accepted_us: int | None = None
    ready_us: int | None = None
    playing_us: int | None = None
    finished_us: int | None = None
    refused: str = ""
    failed: str = ""
    proved: bool = False
    doubted: str = ""
    given: bool = True


RECEIPT_GONE = b'{"gone":true,"steps":[]}'
"""Stands in the row of a receipt that never came and never will; one that comes all the same is new."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """Where an open incident is looked for: one row per cell; `id` is `<incident>/<cell>`."""

    id: str
    incident: str
    use: str
    hazard: str
    cell: str
    level: int


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A cancel that waits for what it cancels, until `until_us`. `key` and `identity` are of what it names;
    `observed_us` is when it was said: what its source says later of the same stands again."""

    id: str
    identity: str
    key: str
    reporter: str
    use: str
    by: str
    observed_us: int
    until_us: int


@dataclass(frozen=True, slots=True)
class OnLadder:
    """An office on the ladder of a task, with the task's state."""

    id: str
    office: str
    task: str
    state: str


@dataclass(frozen=True, slots=True)
class StoredSignal:
    """A signal with the incident it was joined to, "" for none, and whether it was cancelled or updated since."""

    signal: Signal
    incident: str
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class TimerRow:
    timer: Timer
    subject: str
    due_us: int
    useless_after_us: int


@dataclass(frozen=True, slots=True)
class EffectRow:
    """A saved effect. `wanted` counts how often it was asked for; done only when nobody asked again meanwhile.
    `wanted_us` is when it was first asked for since it was last done, `tries` how often it failed in a row."""

    lane: str
    carry: str
    subject: str
    wanted: int
    tries: int
    not_before_us: int
    expires_us: int | None
    leased_by: str = ""
    leased_until_us: int = 0
    reason: str = ""
    wanted_us: int = 0


@dataclass(frozen=True, slots=True)
class LogRow:
    """One line of the log. `link` and `hash` are set by the chainer; `body` is canonical JSON of the record."""

    seq: int
    at_us: int
    kind: str
    subject: str
    person: str
    body: str
    link: int | None = None
    hash: str = ""
