"""GB/T 26875.3-2011: the objects that application units carry, as values. Pure; `gb26875_units` reads and writes them.

Objects keep their bytes as sent, so that writing what was read gives the same bytes; properties say what they mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from devices.protocols.gb26875 import TimeTag

DESCRIPTION_BYTES = 31
ANALOGUE_UNITS: dict[int, tuple[float, str]] = {
    1: (1, ""),
    2: (0.01, "m"),
    3: (0.1, "°C"),
    4: (0.1, "MPa"),
    5: (0.1, "kPa"),
    6: (0.1, "%LEL"),
    7: (1, "s"),
    8: (0.1, "V"),
    9: (0.1, "A"),
    10: (0.1, "L/s"),
    11: (0.1, "m³/min"),
    12: (1, "m/s"),
}


QUANTITIES: dict[int, str] = {
    1: "count",
    2: "height",
    3: "temperature",
    4: "pressure",
    5: "pressure",
    6: "gas concentration",
    7: "time",
    8: "voltage",
    9: "current",
    10: "flow",
    11: "flow",
    12: "wind speed",
}


class SystemBit(IntFlag):
    """System status, two bytes; NORMAL = 0 means test."""

    NORMAL = 1
    FIRE = 1 << 1
    FAULT = 1 << 2
    SHIELD = 1 << 3
    SUPERVISE = 1 << 4
    STARTED = 1 << 5
    FEEDBACK = 1 << 6
    DELAY = 1 << 7
    MAIN_POWER_FAULT = 1 << 8
    BACKUP_POWER_FAULT = 1 << 9
    BUS_FAULT = 1 << 10
    MANUAL = 1 << 11
    CONFIGURATION_CHANGED = 1 << 12
    RESET = 1 << 13


class ComponentBit(IntFlag):
    """Component status, two bytes; NORMAL = 0 means test; bits 9 to 15 are reserved."""

    NORMAL = 1
    FIRE = 1 << 1
    FAULT = 1 << 2
    SHIELD = 1 << 3
    SUPERVISE = 1 << 4
    STARTED = 1 << 5
    FEEDBACK = 1 << 6
    DELAY = 1 << 7
    POWER_FAULT = 1 << 8


class DeviceBit(IntFlag):
    """Status of the transmission device (用户信息传输装置) itself, one byte; NORMAL = 0 means test."""

    NORMAL = 1
    FIRE = 1 << 1
    FAULT = 1 << 2
    MAIN_POWER_FAULT = 1 << 3
    BACKUP_POWER_FAULT = 1 << 4
    LINK_FAULT = 1 << 5
    LINE_FAULT = 1 << 6


class OperationBit(IntFlag):
    """What somebody did at the panel or the device, one byte."""

    RESET = 1
    SILENCE = 1 << 1
    MANUAL_ALARM = 1 << 2
    CLEARED = 1 << 3
    SELF_CHECK = 1 << 4
    CONFIRM = 1 << 5
    TEST = 1 << 6


@dataclass(frozen=True, slots=True)
class SystemStatus:
    """Type 1."""

    system_type: int
    system_address: int
    status: int
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """Type 2. `component_address` has 4 bytes in wire order; `description` is 31 bytes of GB 18030 as sent."""

    system_type: int
    system_address: int
    component_type: int
    component_address: bytes
    status: int
    description: bytes
    time: TimeTag | None = None

    @property
    def bits(self) -> ComponentBit:
        """The status bits, reserved bits left out."""
        return ComponentBit(self.status & 0x1FF)


@dataclass(frozen=True, slots=True)
class Analogue:
    """Type 3. `value` is signed, in the unit of `quantity` (`ANALOGUE_UNITS`)."""

    system_type: int
    system_address: int
    component_type: int
    component_address: bytes
    quantity: int
    value: int
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """Type 4."""

    system_type: int
    system_address: int
    operation: int
    operator: int
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class SystemVersion:
    """Type 5."""

    system_type: int
    system_address: int
    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class SystemConfiguration:
    """Type 6; `text` up to 255 bytes."""

    system_type: int
    system_address: int
    text: bytes


@dataclass(frozen=True, slots=True)
class ComponentConfiguration:
    """Type 7."""

    system_type: int
    system_address: int
    component_type: int
    component_address: bytes
    description: bytes


@dataclass(frozen=True, slots=True)
class SystemClock:
    """Type 8."""

    system_type: int
    system_address: int
    time: TimeTag


@dataclass(frozen=True, slots=True)
class DeviceStatus:
    """Type 21: the transmission device's own state; also its heartbeat."""

    status: int
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class DeviceOperation:
    """Type 24."""

    operation: int
    operator: int
    time: TimeTag | None = None


@dataclass(frozen=True, slots=True)
class DeviceVersion:
    """Type 25."""

    major: int
    minor: int


@dataclass(frozen=True, slots=True)
class DeviceConfiguration:
    """Type 26; `text` up to 255 bytes."""

    text: bytes


@dataclass(frozen=True, slots=True)
class DeviceClock:
    """Types 28 (report) and 90 (set)."""

    time: TimeTag


@dataclass(frozen=True, slots=True)
class ReadSystem:
    """Types 61, 65, 66, 68."""

    system_type: int
    system_address: int


@dataclass(frozen=True, slots=True)
class ReadComponent:
    """Types 62, 63, 67."""

    system_type: int
    system_address: int
    component_address: bytes


@dataclass(frozen=True, slots=True)
class ReadOperations:
    """Type 64: `count` records from `since` on."""

    system_type: int
    system_address: int
    count: int
    since: TimeTag


@dataclass(frozen=True, slots=True)
class ReadDevice:
    """Types 81, 85, 86, 88 and the initialisation 89: one reserved byte."""

    reserved: int = 0


@dataclass(frozen=True, slots=True)
class ReadDeviceOperations:
    """Type 84."""

    count: int
    since: TimeTag


@dataclass(frozen=True, slots=True)
class DutyCheck:
    """Type 91, 查岗: somebody must answer within `minutes`."""

    minutes: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """The body of a unit whose type this code cannot read, kept whole."""

    body: bytes


UnitObject = (
    SystemStatus
    | ComponentStatus
    | Analogue
    | Operation
    | SystemVersion
    | SystemConfiguration
    | ComponentConfiguration
    | SystemClock
    | DeviceStatus
    | DeviceOperation
    | DeviceVersion
    | DeviceConfiguration
    | DeviceClock
    | ReadSystem
    | ReadComponent
    | ReadOperations
    | ReadDevice
    | ReadDeviceOperations
    | DutyCheck
    | Opaque
)


def description_bytes(text: str) -> bytes:
    """A component's description as 31 bytes of GB 18030, cut between characters and padded with zeros."""
    raw = b""
    for character in text:
        encoded = character.encode("gb18030")
        if len(raw) + len(encoded) > DESCRIPTION_BYTES:
            break
        raw += encoded
    return raw.ljust(DESCRIPTION_BYTES, b"\0")


def text_of(raw: bytes) -> str:
    """A description for people: up to its first zero byte, padding and control characters removed.

    GB 18030 by the standard; where it is not that but UTF-8, as some devices send, it is read so. What is unreadable
    is marked with U+FFFD.
    """
    said = raw.lstrip(b"\0").partition(b"\0")[0].rstrip(b"\xff")
    text = _decoded(said)
    if not text.isprintable():
        text = "".join(c for c in text if c.isprintable())
    return text.strip(" \u3000")


def _decoded(raw: bytes) -> str:
    for encoding in ("gb18030", "utf-8"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("gb18030", errors="replace")
