"""The documents that pass between dispatcher and speaker, as values with their limits. Nothing here reads or signs.

Times are integer µs UTC. Field names in JSON are the field names here; absent optional fields are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from devices.protocols.selector import Selector, Whereabouts

MANIFEST_BYTES_MAX = 16_384
MANIFEST_ORDERS_MAX = 16
TEXT_CHARS_MAX = 500
TEXT_LANGUAGES_MAX = 8
AUDIO_MAX = 8
BASE_CHARS_MAX = 256
AUDIO_BYTES_MAX = 33_554_432
AUDIO_MS_MAX = 3_600_000
REPEAT_MAX = 10_000
GAP_S_MAX = 3_600
SUPERSEDES_MAX = 16
ORIGIN_MEMBERS_MAX = 8
ORIGIN_CHARS_MAX = 256
CHAIN_HEAD_CHARS_MAX = 128

KEYS_BYTES_MAX = 65_536
KEYS_MAX = 256
PUBLIC_KEY_CHARS_MAX = 128

CONFIG_BYTES_MAX = 8_192
AREA_CHAIN_MAX = 16
OVERLAY_MAX = 16
SPREAD_S_MAX = 3_600
ACCEPTED_SPREAD_MS_MAX = 2_000
STARTS_PER_HOUR_MAX = 3_600
STAGED_MAX = 16

HELLO_BYTES_MAX = 256
HELLO_ANSWER_BYTES_MAX = 32_768
HELLO_STREAMS_MAX = 128

RECEIPT_BYTES_MAX = 8_192
RECEIPT_STEPS_MAX = 32
REASON_CHARS_MAX = 64
EVIDENCE_MEMBERS_MAX = 16
EVIDENCE_CHARS_MAX = 256

STATE_BYTES_MAX = 65_536
STATE_STREAMS_MAX = 128
STATE_CACHED_MAX = 512

TOPIC_CHARS_MAX = 160
VERSION_AHEAD_MS_MAX = 600_000

INTEGER_MAX = 2**53 - 1
"""Greatest integer of any field: every JSON reader holds it exactly (RFC 8259 clause 6)."""


class KeyUse(StrEnum):
    """What a key may sign. The root signs key documents and nothing else."""

    ACTUAL = "actual"
    EXERCISE = "exercise"
    CONFIG = "config"
    CLOCK = "clock"
    ROOT = "root"


class OrderClass(StrEnum):
    EMERGENCY = "emergency"
    DAILY = "daily"


class Phase(StrEnum):
    ALERT = "alert"
    CORRECTION = "correction"
    ALL_CLEAR = "all_clear"


class OrderState(StrEnum):
    IN_FORCE = "in_force"
    WITHDRAWN = "withdrawn"


class StepKind(StrEnum):
    ACCEPTED = "accepted"
    READY = "ready"
    PLAYING = "playing"
    FINISHED = "finished"
    REFUSED = "refused"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True)
class Audio:
    """One rendering of one language, addressed by its hash under the `audio_base` of the document that names it."""

    lang: str
    sha256: str
    codec: str
    ms: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Order:
    """One broadcast as speakers see it (播发指令).

    `status` is "actual" or "exercise" and must equal the use of the stream. `level` 1 (red) to 4 (blue).
    `volume` is 1–100, or "unchanged", or "mute". `repeat` counts the plays, 1 is once.
    `corrects` names the original of a correction or all-clear and is absent on an alert. A manifest lists a withdrawn
    order as its `stub`.
    """

    id: str
    rev: int
    status: str
    order_class: OrderClass
    level: int
    event_code: str
    phase: Phase
    texts: dict[str, str]
    audio: tuple[Audio, ...]
    selector: Selector
    volume: int | str
    repeat: int
    gap_s: int
    start_at: int
    expires: int
    state: OrderState
    corrects: str | None = None
    supersedes: tuple[str, ...] = ()
    also_unstarted: bool = False
    origin: dict[str, str] | None = None


def stub(order: Order) -> Order:
    """What a manifest says of an order once it is withdrawn: what ranks, targets and later revisions need, no words."""
    return replace(
        order, state=OrderState.WITHDRAWN, event_code="", texts={}, audio=(), volume="unchanged", repeat=1, gap_s=0,
        also_unstarted=False, origin=None,
    )  # fmt: skip


def as_listed(order: Order) -> Order:
    """The order as a manifest lists it: whole in force, as its stub when withdrawn."""
    return stub(order) if order.state is OrderState.WITHDRAWN else order


@dataclass(frozen=True, slots=True)
class Manifest:
    """The orders of one stream (播发清单). `stream` is the topic; `version` is ms of database time.

    An order of this stream that is not listed and whose `start_at` lies before `swept` (µs UTC) is withdrawn: stubs
    go when others need their room. A recording lies at `audio_base`, a slash, its sha256; "" where none is named.
    """

    stream: str
    version: int
    issued: int
    fresh_until: int
    chain_head: str
    orders: tuple[Order, ...]
    retired: bool = False
    swept: int = 0
    audio_base: str = ""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A public key in the key document; `x` is its base64url, `area` the top of the subtree that it may sign for."""

    kid: str
    alg: str
    x: str
    use: KeyUse
    issuer: str
    area: str
    levels: tuple[int, ...]
    not_after: int


@dataclass(frozen=True, slots=True)
class KeyDocument:
    """All keys in force, signed by the offline root; `root` optionally announces the next root, signed by the old."""

    version: int
    issued: int
    keys: tuple[LinkKey, ...]
    root: LinkKey | None = None


@dataclass(frozen=True, slots=True)
class SpeakerConfig:
    """What a speaker is told of itself, signed by a config key.

    `area_chain` runs from the top of the tree down to the speaker's own area; `overlay` names the overlay zones
    (功能区) beside it, never repeated in the chain. The height of an area is its index from the bottom of the chain.
    `staged` is what it fetches ahead and keeps, from `audio_base`: the recordings of orders that may have to sound at
    once.
    """

    speaker: str
    version: int
    area_chain: tuple[str, ...]
    overlay: tuple[str, ...]
    venue: str
    venue_kind: str
    lat_e7: int
    lon_e7: int
    volume_max: int
    reconnect_spread_s: int
    fetch_spread_s: int
    accepted_spread_ms: int
    starts_per_hour_max: int
    staged: tuple[Audio, ...] = ()
    audio_base: str = ""


@dataclass(frozen=True, slots=True)
class HelloAnswer:
    """The dispatcher's signed answer to a hello: the nonce, its clock and the current version of each stream."""

    nonce: str
    utc: int
    streams: dict[str, int]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that happened to an order on a speaker. `evidence` holds numbers such as `mic_db` or `repeat`."""

    kind: StepKind
    at: int
    reason: str = ""
    evidence: dict[str, int | str] | None = None


@dataclass(frozen=True, slots=True)
class Receipt:
    """A speaker's statement about one order (回执). Key: (speaker, journal, seq); the speaker is the topic's.

    A refusal of a whole document carries the stream in `stream`, its version in `version` and no order id.
    """

    journal: str
    seq: int
    order: str
    rev: int
    steps: tuple[Step, ...]
    stream: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class SpeakerState:
    """The retained state of a speaker. `connection` grows with every connection; a smaller one is ignored."""

    online: bool
    connection: int
    streams: dict[str, int]
    keys_version: int
    config_version: int
    journal: str
    seq: int
    volume: int
    power: str
    cached: tuple[str, ...]
    chain_head: str


def whereabouts(config: SpeakerConfig) -> Whereabouts:
    """What the selector is matched against: the config's chain with its overlay zones behind it."""
    return Whereabouts(
        speaker=config.speaker,
        area_chain=config.area_chain + config.overlay,
        venue=config.venue,
        venue_kind=config.venue_kind,
        lat_e7=config.lat_e7,
        lon_e7=config.lon_e7,
    )
