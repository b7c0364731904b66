"""What passes between a speaker's machine and the world: events in, effects out, and the memory that outlives a crash.

Every event carries two clocks: `at_us`, wall time in µs UTC, which may be wrong and is only a hint, and `mono_us`,
µs on a clock that never jumps. The machine keeps one timer; the newest WakeAt replaces the one before.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """One fact of the journal. A later entry of the same kind and key replaces it; `value` None takes it away."""

    kind: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Image:
    """What the journal holds at boot: its random id, new after a wiped store, and its facts in the order written."""

    journal: str
    entries: tuple[JournalEntry, ...] = ()


class SegmentKind(StrEnum):
    """What one stretch of a broadcast is made of."""

    PREFACE = "preface"
    CHIME = "chime"
    AUDIO = "audio"
    SAY = "say"
    PHRASE = "phrase"


@dataclass(frozen=True, slots=True)
class Segment:
    """One stretch of sound. `value` is a sha256 (audio), a text (say) or an event code (phrase), else empty.

    `text` is what to say when the recording turns out to be no good while its chime sounds already.
    """

    kind: SegmentKind
    value: str = ""
    lang: str = ""
    codec: str = ""
    text: str = ""


@dataclass(frozen=True, slots=True)
class SoundPlan:
    """One repeat of one order as sound. `use` comes from the key that signed; an exercise begins with its preface.

    `volume` is 0–100. `ms` is an estimate. `level`, `phase` and `event_code` choose the attention signal.
    """

    order: str
    use: str
    rev: int
    repeat: int
    segments: tuple[Segment, ...]
    volume: int
    ms: int
    level: int
    phase: str
    event_code: str


@dataclass(frozen=True, slots=True)
class Booted:
    """The process runs. `seed` is secret and new at each boot; hello nonces are made from it.

    `cached` names the audio in the store. The journal has already written any new journal id to disk.
    """

    at_us: int
    mono_us: int
    image: Image
    seed: str
    cached: tuple[str, ...] = ()
    volume: int = 80
    power: str = "mains"


@dataclass(frozen=True, slots=True)
class Connecting:
    """The link is about to connect: the connection number grows, and the last will is made from it."""

    at_us: int
    mono_us: int


@dataclass(frozen=True, slots=True)
class Connected:
    at_us: int
    mono_us: int


@dataclass(frozen=True, slots=True)
class Disconnected:
    at_us: int
    mono_us: int


@dataclass(frozen=True, slots=True)
class Message:
    at_us: int
    mono_us: int
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The broker has taken the receipt `seq` (PUBACK). This is flow control, not proof."""

    at_us: int
    mono_us: int
    seq: int


@dataclass(frozen=True, slots=True)
class Tick:
    """The timer of WakeAt ran out. Early, late and repeated ticks are harmless."""

    at_us: int
    mono_us: int


@dataclass(frozen=True, slots=True)
class SoundLoaded:
    """A plan is ready to begin: what comes before the words is there. `ms` is its true length, 0 when unknown."""

    at_us: int
    mono_us: int
    ticket: int
    ms: int = 0


@dataclass(frozen=True, slots=True)
class SoundMeasured:
    """The words are there too: the true length of a plan that was loaded before, and may sound already."""

    at_us: int
    mono_us: int
    ticket: int
    ms: int


@dataclass(frozen=True, slots=True)
class SoundBegan:
    """The first sample went out. `mic_db` is what the microphone hears, None without one."""

    at_us: int
    mono_us: int
    ticket: int
    mic_db: int | None = None


@dataclass(frozen=True, slots=True)
class SoundProgress:
    at_us: int
    mono_us: int
    ticket: int
    percent: int
    mic_db: int | None = None


@dataclass(frozen=True, slots=True)
class SoundEnded:
    """A sound came to its end. `source` says what its words were made of, when that is known better than planned;
    `fell_back` is the code of what failed on the way, "" if nothing."""

    at_us: int
    mono_us: int
    ticket: int
    ms: int
    mic_db: int | None = None
    source: str = ""
    fell_back: str = ""


@dataclass(frozen=True, slots=True)
class SoundFailed:
    """Loading or playing failed. `reason` is a code; `no_drill_preface` is final for an exercise."""

    at_us: int
    mono_us: int
    ticket: int
    reason: str


@dataclass(frozen=True, slots=True)
class AudioStored:
    at_us: int
    mono_us: int
    sha256: str


@dataclass(frozen=True, slots=True)
class AudioFailed:
    """Audio could not be had. `again` says whether trying later makes sense."""

    at_us: int
    mono_us: int
    sha256: str
    reason: str
    again: bool = True


@dataclass(frozen=True, slots=True)
class AudioForgotten:
    """The store made room and no longer holds this audio."""

    at_us: int
    mono_us: int
    sha256: str


@dataclass(frozen=True, slots=True)
class StoreFailed:
    """The journal or the store cannot be written (`reason` is a code such as disk_full), or can again when empty."""

    at_us: int
    mono_us: int
    reason: str


@dataclass(frozen=True, slots=True)
class PowerChanged:
    """`power` is "mains" or "battery"."""

    at_us: int
    mono_us: int
    power: str


@dataclass(frozen=True, slots=True)
class Stopping:
    """The process ends in good order: what sounds is cut, what waits is said, and the state says offline."""

    at_us: int
    mono_us: int


Event = (
    Booted
    | Connecting
    | Connected
    | Disconnected
    | Message
    | Acknowledged
    | Tick
    | SoundLoaded
    | SoundMeasured
    | SoundBegan
    | SoundProgress
    | SoundEnded
    | SoundFailed
    | AudioStored
    | AudioFailed
    | AudioForgotten
    | StoreFailed
    | PowerChanged
    | Stopping
)


@dataclass(frozen=True, slots=True)
class Publish:
    """Send. `seq` is not 0 for a receipt: the world answers with Acknowledged(seq) when the broker has it."""

    topic: str
    payload: bytes
    retain: bool = False
    qos: int = 1
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Connect:
    """Connect now, with this last will (retained)."""

    will_topic: str
    will_payload: bytes


@dataclass(frozen=True, slots=True)
class Subscribe:
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    topics: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Get audio by its hash, not before `not_before_us` (monotonic); answer with AudioStored or AudioFailed.

    `keep` are the hashes that must not make room for it.
    """

    sha256: str
    url: str
    bytes: int
    not_before_us: int
    keep: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Load:
    """Make a plan ready to begin, without a sound; answer with SoundLoaded or SoundFailed. The words may still be made
    while it sounds: what fails then falls back within the same sound."""

    ticket: int
    plan: SoundPlan


@dataclass(frozen=True, slots=True)
class Play:
    """Sound what was loaded under this ticket. Whatever Persist came before it is on disk first."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Stop:
    """Cut sound, or drop what is loading, under this ticket, at once. No event answers."""

    ticket: int


@dataclass(frozen=True, slots=True)
class Persist:
    """Make these facts durable before the next effect. If that fails the rest follows all the same; see StoreFailed."""

    entries: tuple[JournalEntry, ...]


@dataclass(frozen=True, slots=True)
class WakeSpeakerAt:
    """Tick at this monotonic time; replaces the timer before."""

    mono_us: int


Effect = Connect | Publish | Subscribe | Unsubscribe | Fetch | Load | Play | Stop | Persist | WakeSpeakerAt
