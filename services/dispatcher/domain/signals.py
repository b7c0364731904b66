"""Signals (风险信号): one report from one reporter, normalised. Pure data; every feed ends here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from devices.protocols.selector import Shape

REQUESTS_PER_MINUTE = 12_000
SIGNALS_PER_MINUTE = 30_000
BY_HAND = "uploaded_by_hand"
"""The problem of a signal that a person handed in for its reporter."""


class Use(StrEnum):
    """Actual or Exercise: comes from the enrolment of the source, never from its text."""

    ACTUAL = "actual"
    EXERCISE = "exercise"


class SignalKind(StrEnum):
    ALERT = "alert"
    UPDATE = "update"
    CANCEL = "cancel"
    INFO = "info"


class Evidence(StrEnum):
    """What kind of witness speaks: a detector alone is weak, a hand on a call point or an authority is not.

    A panel that says fire without naming a component opens an incident, but it may be repeating what one of its
    detectors said, so it corroborates nothing.
    """

    DETECTOR = "detector"
    CALL_POINT = "call_point"
    PANEL = "panel"
    FAULT = "fault"
    AUTHORITY = "authority"
    PERSON = "person"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Problem:
    """A named deviation in foreign input. `severity` is "error" (refused) or "warning" (accepted and shown)."""

    severity: str
    code: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a signal says it happened; any part may be missing. Shapes are a union, WGS-84."""

    venue: str | None = None
    areas: tuple[str, ...] = ()
    shapes: tuple[Shape, ...] = ()
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Signal:
    """One report. `key` makes two deliveries one, and so does `other_key` where a report may have two names; times are
    µs UTC; `claimed_level` is 1 (red) to 4 (blue) or None.

    `device` names the reporting component within the reporter (two different devices are two witnesses).
    `references` are keys of earlier signals this one updates or cancels. `signature` is what its signature proved
    ("valid", "weak", "invalid", "unknown_signer", "unsigned"), empty where none was looked for.
    """

    key: str
    reporter: str
    use: Use
    kind: SignalKind
    evidence: Evidence
    hazard: str
    event_code: str
    place: Place
    observed_us: int
    received_us: int
    claimed_level: int | None = None
    device: str = ""
    test_bit: bool = False
    headline: str = ""
    description: str = ""
    expires_us: int | None = None
    references: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    signature: str = ""
    other_key: str = ""

    @property
    def by_hand(self) -> bool:
        """Whether a person handed it in for its reporter."""
        return any(problem.code == BY_HAND for problem in self.problems)

    def says_the_same(self, other: Signal) -> bool:
        """Whether a later delivery under the same key reports the same thing; what the time of receipt or the enrolment
        made less of it (an exercise, information instead of an alert) does not count. What was less before and is
        meant now was never heard."""
        lowered = other.kind in (self.kind, SignalKind.INFO)
        raised = self.use is Use.EXERCISE and other.use is Use.ACTUAL
        return _said(self) == _said(other) and lowered and not raised


# What a CAP feed calls a message: sender, identifier and time; behind it a further group of the same message.
_CAP_KEY = re.compile(r"(cap/.+),-?\d+(?:#[^,#]*)?", re.DOTALL)
_FURTHER_GROUP = re.compile(r"cap/.+,-?\d+#[a-z_]+-\d", re.DOTALL)


def identity(key: str) -> str:
    """What a key names whatever time it gives: the same for every group of a message, and for a wrong reference."""
    found = _CAP_KEY.fullmatch(key) if key.startswith("cap/") else None
    return found[1] if found is not None else key.removesuffix("#info")


def message_of(key: str) -> str:
    """The key of the message that a signal is a group of."""
    return key.rpartition("#")[0] if is_further_group(key) else key.removesuffix("#info")


def is_further_group(key: str) -> bool:
    """Whether this is the second or a later hazard of one message: its references are about the first as well."""
    return _FURTHER_GROUP.fullmatch(key) is not None


def witness_name(reporter: str, device: str) -> str:
    """One name for a device of a reporter."""
    return f"{reporter}/{device}"


def _said(signal: Signal) -> tuple[object, ...]:
    s = signal
    shown = (s.hazard, s.event_code, s.claimed_level, s.device, s.test_bit, s.headline, s.description)
    return (*shown, s.place, s.expires_us, s.references)


class Datum(StrEnum):
    """How a source states positions: WGS-84, or GCJ-02 (国测局坐标) as Chinese maps do, 100 to 700 m off."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"


@dataclass(frozen=True, slots=True)
class Feed:
    """An enrolled department feed. `key_hash` is argon2 of its own key; `hazards` None means every hazard.

    `areas` are codes it may speak for beside `area` and all below it. `rhythm_s` is how often something is expected
    of it, 0 when nothing is. `evidence` says what kind of witness it is: a hotline is no authority. `aliases` are
    pairs of a word of its own and the name of the hazard that it means. `old_key_hash` is of the key before, which
    opens until `old_key_until_us`, or until the new one is first used where that is None. The limits count per web
    process. `hmac_secret` is sealed; with `hmac_required` a request must be signed by it. `certificates` are whose XML
    signatures count, in PEM; with `signature_required` nothing else is read, with `weak_signatures` SHA-1 is enough and
    shows as weak.
    """

    id: str
    name: str
    department: str
    format: str
    use: Use
    key_hash: str
    area: str
    hazards: tuple[str, ...] | None = None
    enabled: bool = True
    areas: tuple[str, ...] = ()
    datum: Datum = Datum.WGS84
    rhythm_s: int = 0
    evidence: Evidence = Evidence.AUTHORITY
    aliases: tuple[tuple[str, str], ...] = ()
    old_key_hash: str = ""
    old_key_until_us: int | None = None
    requests_per_minute: int = REQUESTS_PER_MINUTE
    signals_per_minute: int = SIGNALS_PER_MINUTE
    hmac_secret: str = ""
    hmac_required: bool = False
    certificates: tuple[str, ...] = ()
    signature_required: bool = False
    weak_signatures: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """An enrolled fire panel (用户信息传输装置). `address` is the 6-byte source address as 12 hex digits, wire order.

    `test_bit_meaningless` is set at commissioning when the panel is known to send bit 0 = 0 with real fires.
    `maintenance_until_us` with its author marks a maintenance mode that ends by itself. `rhythm_s` is how often it
    speaks at least, 0 when nothing is expected.
    """

    id: str
    name: str
    address: str
    use: Use
    venue: str
    test_bit_meaningless: bool = False
    maintenance_author: str = ""
    maintenance_until_us: int | None = None
    enabled: bool = True
    rhythm_s: int = 0
    maintenance_reason: str = ""


@dataclass(frozen=True, slots=True)
class Sensor:
    """An enrolled MQTT sensor, the `device` behind a `gateway` as its topic names them; `kind` is a kind of the
    protocol (`devices.protocols.sensor_mqtt`), `hazard` what its alarm means, empty for what its kind means by itself.

    `rhythm_s` is how often it speaks at least, 0 when nothing is expected. `test_bit_meaningless` and the maintenance
    mode are as a Panel's.
    """

    id: str
    gateway: str
    device: str
    kind: str
    venue: str
    use: Use
    name: str = ""
    hazard: str = ""
    rhythm_s: int = 0
    test_bit_meaningless: bool = False
    maintenance_author: str = ""
    maintenance_until_us: int | None = None
    enabled: bool = True
    maintenance_reason: str = ""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one delivery says: its signals, and every deviation found on the way."""

    signals: tuple[Signal, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Unread:
    """Input that could not be understood, kept, counted and shown. `at_us` is µs UTC of receipt.

    `wire` names the way in, `source` who sent it as far as known, `reason` is a machine-readable code.
    """

    wire: str
    source: str
    reason: str
    raw: bytes
    at_us: int
