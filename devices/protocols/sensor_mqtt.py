"""MQTT sensors, version 1: the JSON messages of smoke, temperature, gas and water level sensors and of buttons. Pure.

Topic `tocsin/v1/sensor/<gateway>/<device>`, QoS 1, not retained; the payload is one object:

| member | meaning |
|---|---|
| `v` | 1 |
| `kind` | smoke, temperature, gas, water_level, button |
| `state` | alarm, normal, fault |
| `boot` | 1 to 32 characters a-z, 0-9, hyphen: another one after each start of the device |
| `seq` | integer: rises by one with each new statement of this boot; a repeat of a statement repeats its number |
| `utc` | integer µs UTC of the statement; left out by a device without a clock |
| `value` | integer: smoke 0.001 dB/m, temperature 0.001 °C, gas 0.001 % LEL, water_level mm; not for a button |
| `battery` | integer percent; left out on mains |
| `test` | true while the device is being tested; left out otherwise |

A device says each change at once and repeats its last statement in its rhythm, as a sign of life. `encode` writes
exactly this. `decode` takes what devices in the field send as well (other cases, words and forms of numbers, members
of their own, none of `boot` and `seq`) and names each deviation; it refuses only what leaves kind or state in doubt.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.strict_json import canonical
from devices.protocols.topics import NAME, ROOT

VERSION = 1
MESSAGE_BYTES_MAX = 4_096
INTEGER_MAX = 2**53 - 1
VALUE_MAX = 1_000_000_000
BOOT = re.compile(r"[a-z0-9-]{1,32}")
ALL_SENSORS = f"{ROOT}/sensor/+/+"


class SensorKind(StrEnum):
    SMOKE = "smoke"
    TEMPERATURE = "temperature"
    GAS = "gas"
    WATER_LEVEL = "water_level"
    BUTTON = "button"


class SensorState(StrEnum):
    ALARM = "alarm"
    NORMAL = "normal"
    FAULT = "fault"


class SensorDeviation(StrEnum):
    """How a message differs from the published form; its sentence stands in SENSOR_SENTENCES."""

    VERSION = "version_unknown"
    WORD = "word_spelled_otherwise"
    NUMBER = "number_written_otherwise"
    MEMBER = "member_unknown"
    BOOT = "boot_unusable"
    SEQ = "seq_unusable"
    UTC = "utc_unusable"
    VALUE = "value_unusable"
    BATTERY = "battery_unusable"
    TEST = "test_unusable"


SENSOR_SENTENCES: dict[SensorDeviation, str] = {
    SensorDeviation.VERSION: "The message names another version or none; it was read as version 1.",
    SensorDeviation.WORD: "The kind or the state is not spelled as published.",
    SensorDeviation.NUMBER: "A number is not written as an integer.",
    SensorDeviation.MEMBER: "The message has members that this version does not know.",
    SensorDeviation.BOOT: "The message does not say which start of the device it belongs to.",
    SensorDeviation.SEQ: "The message has no usable number, so that repeats are told apart by time alone.",
    SensorDeviation.UTC: "The message's time is no integer of microseconds; the time of receipt stands for it.",
    SensorDeviation.VALUE: "The measured value is no usable number.",
    SensorDeviation.BATTERY: "The battery's charge is not between 0 and 100 percent.",
    SensorDeviation.TEST: "The test flag is neither true nor false; it counts as set.",
}

_KINDS = {
    **{str(kind): kind for kind in SensorKind},
    **dict.fromkeys(("烟感", "smoke_detector"), SensorKind.SMOKE),
    **dict.fromkeys(("温感", "temp", "heat"), SensorKind.TEMPERATURE),
    **dict.fromkeys(("燃气", "可燃气体", "combustible_gas"), SensorKind.GAS),
    **dict.fromkeys(("水位", "waterlevel", "water", "level"), SensorKind.WATER_LEVEL),
    **dict.fromkeys(("手报", "按钮", "sos", "call_point", "manual"), SensorKind.BUTTON),
}
_STATES = {
    **{str(state): state for state in SensorState},
    **dict.fromkeys(("报警", "火警", "alert", "fire", "alarming", "1"), SensorState.ALARM),
    **dict.fromkeys(("正常", "ok", "idle", "heartbeat", "0"), SensorState.NORMAL),
    **dict.fromkeys(("故障", "error", "failure"), SensorState.FAULT),
}
_NUMBER = re.compile(r"[+-]?[0-9]{1,16}(?:\.[0-9]{1,16})?")
_MEMBERS = frozenset(("v", "kind", "state", "boot", "seq", "utc", "value", "battery", "test"))


Word = TypeVar("Word", SensorKind, SensorState)


@dataclass(frozen=True, slots=True)
class SensorMessage:
    """One statement of a sensor. `seq` and `boot` are None where the device has none; units as published."""

    kind: SensorKind
    state: SensorState
    boot: str | None
    seq: int | None
    utc_us: int | None = None
    value: int | None = None
    battery_percent: int | None = None
    test: bool = False
    deviations: tuple[SensorDeviation, ...] = ()


def sensor_topic(gateway: str, device: str) -> str:
    """The topic of a device. Raises ValueError for a name that no topic may carry."""
    for name in (gateway, device):
        if not NAME.fullmatch(name):
            raise ValueError(f"{name!r} is not a name of 1 to 32 characters a-z, 0-9 and hyphen")
    return f"{ROOT}/sensor/{gateway}/{device}"


def parse_sensor_topic(topic: str) -> tuple[str, str]:
    """(gateway, device) of a topic. Raises LinkRefused(MALFORMED) for any other topic."""
    match topic.split("/"):
        case ["tocsin", "v1", "sensor", gateway, device] if NAME.fullmatch(gateway) and NAME.fullmatch(device):
            return gateway, device
    raise LinkRefused(Refusal.MALFORMED, "not a topic of a sensor")


def encode(message: SensorMessage) -> bytes:
    """The message in the published form. Raises ValueError for a value that the form does not admit."""
    if message.boot is None or message.seq is None or not BOOT.fullmatch(message.boot):
        raise ValueError("a message needs boot and seq")
    if message.kind is SensorKind.BUTTON and message.value is not None:
        raise ValueError("a button measures nothing")
    members: dict[str, object] = {"v": VERSION, "kind": str(message.kind), "state": str(message.state)}
    members |= {"boot": message.boot, "seq": _bounded("seq", message.seq, 0, INTEGER_MAX)}
    if message.utc_us is not None:
        members["utc"] = _bounded("utc", message.utc_us, 0, INTEGER_MAX)
    if message.value is not None:
        members["value"] = _bounded("value", message.value, -VALUE_MAX, VALUE_MAX)
    if message.battery_percent is not None:
        members["battery"] = _bounded("battery", message.battery_percent, 0, 100)
    if message.test:
        members["test"] = True
    return canonical(members)


def _bounded(name: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise ValueError(f"{name} lies outside {least} to {most}")
    return value


def decode(payload: bytes) -> SensorMessage:
    """The message in a payload, with its deviations. Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP or MALFORMED."""
    if not payload:
        raise LinkRefused(Refusal.EMPTY_PAYLOAD)
    if len(payload) > MESSAGE_BYTES_MAX:
        raise LinkRefused(Refusal.OVER_CAP, f"{len(payload)} bytes")
    reader = _Reader(_members(payload))
    kind, state = reader.word("kind", _KINDS), reader.word("state", _STATES)
    boot, seq = reader.boot(), reader.integer("seq", 0, INTEGER_MAX, SensorDeviation.SEQ, needed=True)
    return SensorMessage(
        kind=kind,
        state=state,
        boot=boot,
        seq=seq,
        utc_us=reader.integer("utc", 0, INTEGER_MAX, SensorDeviation.UTC),
        value=reader.integer("value", -VALUE_MAX, VALUE_MAX, SensorDeviation.VALUE),
        battery_percent=reader.integer("battery", 0, 100, SensorDeviation.BATTERY),
        test=reader.test(),
        deviations=reader.deviations(),
    )


def _members(payload: bytes) -> dict[str, object]:
    try:
        value: object = json.loads(payload.decode("utf-8-sig"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise LinkRefused(Refusal.MALFORMED, "not JSON") from error
    if not isinstance(value, dict):
        raise LinkRefused(Refusal.MALFORMED, "not an object")
    return value


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a member stands twice")
    return members


class _Reader:
    """Takes the members of one message and remembers how they deviate."""

    def __init__(self, members: dict[str, object]) -> None:
        self._members = members
        self._deviations: dict[SensorDeviation, None] = {}
        if type(members.get("v")) is not int or members["v"] != VERSION:
            self._note(SensorDeviation.VERSION)
        if members.keys() - _MEMBERS:
            self._note(SensorDeviation.MEMBER)

    def word(self, name: str, words: Mapping[str, Word]) -> Word:
        """The kind or state; Refused(MALFORMED) when it can't be told."""
        value = self._members.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            raise LinkRefused(Refusal.MALFORMED, name)
        word = words.get(value.strip().lower().replace(" ", "_").replace("-", "_"))
        if word is None:
            raise LinkRefused(Refusal.MALFORMED, name)
        if value != word:
            self._note(SensorDeviation.WORD)
        return word

    def boot(self) -> str | None:
        value = self._members.get("boot")
        if isinstance(value, str) and BOOT.fullmatch(value):
            return value
        self._note(SensorDeviation.BOOT)
        return None

    def integer(
        self, name: str, least: int, most: int, deviation: SensorDeviation, *, needed: bool = False
    ) -> int | None:
        """A whole number, a rounded fraction or digits in a text; None and a deviation for anything else."""
        value = self._members.get(name)
        if value is None:
            if needed:
                self._note(deviation)
            return None
        if type(value) is not int:
            self._note(SensorDeviation.NUMBER)
        number = _whole(value)
        if number is None or not least <= number <= most:
            self._note(deviation)
            return None
        return number

    def test(self) -> bool:
        value = self._members.get("test", False)
        if isinstance(value, bool):
            return value
        if value in (0, 1, "0", "1", None):
            self._note(SensorDeviation.NUMBER)
            return value in (1, "1")
        self._note(SensorDeviation.TEST)
        return True

    def deviations(self) -> tuple[SensorDeviation, ...]:
        return tuple(self._deviations)

    def _note(self, deviation: SensorDeviation) -> None:
        self._deviations[deviation] = None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return round(value)
