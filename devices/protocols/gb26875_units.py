"""GB/T 26875.3-2011 application units: type flag, object count, objects. Pure; the frames around them are `gb26875`.

Reading believes the length over the count, accepts objects without time tags, and names every departure.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from typing import Any

from devices.protocols.gb26875 import UNIT_BYTES_MAX, BadFrame, Deviation, TimeTag
from devices.protocols.gb26875_objects import (
    DESCRIPTION_BYTES,
    Analogue,
    ComponentConfiguration,
    ComponentStatus,
    DeviceClock,
    DeviceConfiguration,
    DeviceOperation,
    DeviceStatus,
    DeviceVersion,
    DutyCheck,
    Opaque,
    Operation,
    ReadComponent,
    ReadDevice,
    ReadDeviceOperations,
    ReadOperations,
    ReadSystem,
    SystemClock,
    SystemConfiguration,
    SystemStatus,
    SystemVersion,
    UnitObject,
)

COMPONENT_HEAD_BYTES = 9
USER_TYPE_MIN = 128


@dataclass(frozen=True, slots=True)
class Unit:
    """What an application unit says. `count` is what it claims; `objects` is what is there."""

    type_flag: int
    count: int
    objects: tuple[UnitObject, ...]
    deviations: tuple[Deviation, ...] = ()


@dataclass(frozen=True, slots=True)
class _Layout:
    """One fixed object: its class, its fields in wire order, whether a time tag follows, how many a unit may hold."""

    make: Any
    body: struct.Struct
    tagged: bool
    count_max: int


def _layout(make: Any, form: str, count_max: int, *, tagged: bool = False) -> _Layout:
    return _Layout(make, struct.Struct("<" + form), tagged, count_max)


_LAYOUTS: dict[int, _Layout] = {
    1: _layout(SystemStatus, "BBH", 102, tagged=True),
    2: _layout(ComponentStatus, "BBB4sH31s", 22, tagged=True),
    3: _layout(Analogue, "BBB4sBh", 63, tagged=True),
    4: _layout(Operation, "BBBB", 102, tagged=True),
    5: _layout(SystemVersion, "BBBB", 1),
    7: _layout(ComponentConfiguration, "BBB4s31s", 26),
    8: _layout(SystemClock, "BB6s", 1),
    21: _layout(DeviceStatus, "B", 1, tagged=True),
    24: _layout(DeviceOperation, "BB", 127, tagged=True),
    25: _layout(DeviceVersion, "BB", 1),
    28: _layout(DeviceClock, "6s", 1),
    61: _layout(ReadSystem, "BB", 102),
    62: _layout(ReadComponent, "BB4s", 22),
    63: _layout(ReadComponent, "BB4s", 63),
    64: _layout(ReadOperations, "BBB6s", 1),
    65: _layout(ReadSystem, "BB", 1),
    66: _layout(ReadSystem, "BB", 3),
    67: _layout(ReadComponent, "BB4s", 26),
    68: _layout(ReadSystem, "BB", 1),
    81: _layout(ReadDevice, "B", 1),
    84: _layout(ReadDeviceOperations, "B6s", 1),
    85: _layout(ReadDevice, "B", 1),
    86: _layout(ReadDevice, "B", 1),
    88: _layout(ReadDevice, "B", 1),
    89: _layout(ReadDevice, "B", 1),
    90: _layout(DeviceClock, "6s", 1),
    91: _layout(DutyCheck, "B", 1),
}
TYPE_NAMES: dict[int, str] = {
    1: "system_status",
    2: "component_status",
    3: "component_analogue",
    4: "system_operation",
    5: "system_version",
    6: "system_configuration",
    7: "component_configuration",
    8: "system_time",
    21: "device_status",
    24: "device_operation",
    25: "device_version",
    26: "device_configuration",
    28: "device_time",
    61: "read_system_status",
    62: "read_component_status",
    63: "read_component_analogue",
    64: "read_system_operation",
    65: "read_system_version",
    66: "read_system_configuration",
    67: "read_component_configuration",
    68: "read_system_time",
    81: "read_device_status",
    84: "read_device_operation",
    85: "read_device_version",
    86: "read_device_configuration",
    88: "read_device_time",
    89: "initialise_device",
    90: "set_device_clock",
    91: "duty_check",
}
# Texts carry their own length byte; the number is how many bytes stand before it.
_TEXTS: dict[int, tuple[Any, int, int]] = {6: (SystemConfiguration, 2, 3), 26: (DeviceConfiguration, 0, 1)}


def decode_unit(raw: bytes) -> Unit:
    """What the unit says; never raises. What cannot be read comes back as Opaque with a deviation that says why."""
    if len(raw) < 2:
        return Unit(raw[0] if raw else 0, 0, (Opaque(raw),) if raw else (), (Deviation.UNIT_MISSING,))
    type_flag, count, body = raw[0], raw[1], raw[2:]
    if type_flag in _LAYOUTS:
        objects, deviations = _fixed(_LAYOUTS[type_flag], count, body)
    elif type_flag in _TEXTS:
        objects, deviations = _texts(*_TEXTS[type_flag], count, body)
    else:
        known = Deviation.USER_TYPE if type_flag >= USER_TYPE_MIN else Deviation.RESERVED_TYPE
        objects, deviations = [Opaque(body)], [known]
    return Unit(type_flag, count, tuple(objects), tuple(deviations))


def _fixed(layout: _Layout, count: int, body: bytes) -> tuple[list[UnitObject], list[Deviation]]:
    bare = layout.body.size
    full = bare + (6 if layout.tagged else 0)
    deviations: list[Deviation] = []
    if len(body) == count * full or (len(body) % full == 0 and len(body) != count * bare):
        size = full
    elif len(body) == count * bare or (len(body) % bare == 0 and len(body) <= layout.count_max * bare):
        size = bare
        deviations.append(Deviation.TIME_MISSING)
    elif layout.tagged and count > 1 and len(body) == count * bare + 6:
        return _sharing(layout, body), [Deviation.TIME_SHARED]
    elif layout.make is ComponentStatus and _holds_heads(count, body):
        return _heads(count, body), [Deviation.OBJECT_SIZE, Deviation.TIME_MISSING]
    else:
        size = full
    whole = len(body) // size
    objects = [_read(layout, body[at : at + size]) for at in range(0, whole * size, size)]
    rest = body[whole * size :]
    if len(rest) >= bare:
        objects.append(_read(layout, rest[:bare]))
        deviations.append(Deviation.TIME_MISSING)
        rest = rest[bare:]
    elif layout.make is ComponentStatus and len(rest) >= COMPONENT_HEAD_BYTES:
        objects += _heads(1, rest)
        deviations += [Deviation.OBJECT_SIZE, Deviation.TIME_MISSING]
        rest = b""
    if rest:
        objects.append(Opaque(rest))
        deviations.append(Deviation.TRAILING_BYTES if len(objects) > 1 else Deviation.UNIT_TOO_SHORT)
    elif not objects:
        deviations.append(Deviation.UNIT_TOO_SHORT)
    read = sum(not isinstance(each, Opaque) for each in objects)
    if read != count:
        deviations.append(Deviation.COUNT_DISAGREES)
    if read > layout.count_max:
        deviations.append(Deviation.COUNT_OVER_LIMIT)
    return objects, deviations


def _sharing(layout: _Layout, body: bytes) -> list[UnitObject]:
    """Objects one behind the other, and one time tag for all of them at the end."""
    size, tag = layout.body.size, body[-6:]
    return [_read(layout, body[at : at + size] + tag) for at in range(0, len(body) - 6, size)]


def _holds_heads(count: int, body: bytes) -> bool:
    """True for equal parts of another size than the standard's; one object that is too long only has a tail."""
    if count == 0 or len(body) % count != 0:
        return False
    size = len(body) // count
    return size >= COMPONENT_HEAD_BYTES and (count > 1 or size < _LAYOUTS[2].body.size)


def _heads(count: int, body: bytes) -> list[UnitObject]:
    """Component objects of a manufacturer's size: up to the status they are standard, so a fire is still read."""
    size = len(body) // count
    objects: list[UnitObject] = []
    for at in range(0, len(body), size):
        system, address, kind, component, status = struct.unpack_from("<BBB4sH", body, at)
        described = body[at + COMPONENT_HEAD_BYTES : at + size]
        objects.append(ComponentStatus(system, address, kind, component, status, described))
    return objects


def _read(layout: _Layout, raw: bytes) -> UnitObject:
    values = [TimeTag(*v) if isinstance(v, bytes) and len(v) == 6 else v for v in layout.body.unpack_from(raw)]
    if layout.tagged:
        values.append(TimeTag(*raw[layout.body.size :]) if len(raw) > layout.body.size else None)
    made: UnitObject = layout.make(*values)
    return made


def _texts(make: Any, head: int, count_max: int, count: int, body: bytes) -> tuple[list[UnitObject], list[Deviation]]:
    objects: list[UnitObject] = []
    deviations: list[Deviation] = []
    at = 0
    while at + head < len(body) and at + head + 1 + body[at + head] <= len(body):
        begin = at + head + 1
        end = begin + body[at + head]
        objects.append(make(*body[at : at + head], body[begin:end]))
        at = end
    if at < len(body):
        deviations.append(Deviation.TRAILING_BYTES if objects else Deviation.UNIT_TOO_SHORT)
        objects.append(Opaque(body[at:]))
    elif not objects:
        deviations.append(Deviation.UNIT_TOO_SHORT)
    read = sum(not isinstance(each, Opaque) for each in objects)
    if read != count:
        deviations.append(Deviation.COUNT_DISAGREES)
    if read > count_max:
        deviations.append(Deviation.COUNT_OVER_LIMIT)
    return objects, deviations


def encode_unit(type_flag: int, objects: Sequence[UnitObject]) -> bytes:
    """Type flag, count and objects as bytes; an object whose time is None is written without its tag.

    Raises BadFrame when an object does not belong to the type, a field does not fit, or the unit passes 1024 bytes.
    """
    try:
        body = b"".join(_write(type_flag, each) for each in objects)
        raw = bytes((type_flag, len(objects))) + body
    except (struct.error, ValueError) as cause:
        raise BadFrame(f"An object of type {type_flag} does not fit: {cause}.") from cause
    if len(raw) > UNIT_BYTES_MAX:
        raise BadFrame(f"The application unit has {len(raw)} bytes; {UNIT_BYTES_MAX} are allowed.")
    return raw


def _write(type_flag: int, each: UnitObject) -> bytes:
    if isinstance(each, Opaque):
        return each.body
    if type_flag in _TEXTS and isinstance(each, _TEXTS[type_flag][0]):
        *head, text = astuple(each)
        return bytes((*head, len(text), *text))
    layout = _LAYOUTS.get(type_flag)
    if layout is None or not isinstance(each, layout.make):
        raise ValueError(f"{type(each).__name__} does not belong to it")
    values = [getattr(each, field.name) for field in fields(each)]
    tag = values.pop() if layout.tagged else None
    if isinstance(each, ComponentStatus | ComponentConfiguration) and len(each.description) != DESCRIPTION_BYTES:
        raise ValueError(f"a description has {DESCRIPTION_BYTES} bytes")
    body: bytes = layout.body.pack(*(bytes(v) if isinstance(v, TimeTag) else v for v in values))
    return body + (b"" if tag is None else bytes(tag))
