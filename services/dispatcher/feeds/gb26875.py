"""Fire panels: a GB/T 26875.3 frame in, signals or named problems out. Pure; the socket is `adapters/gb26875_server`.

Key. A delivery is the same report when panel, serial, type, component and event time are the same. The event time
counts when it lies within ten minutes of receipt; a clock that is zero, stuck or hours wrong says nothing, and then
the minute of receipt stands in its place. Panels repeat a frame for up to 30 s; the server gives every repeat within
60 s the receipt time of the first, so that they share that minute, and a report after 60 s never does.
A fire is reported whatever the test bit says; the signal carries the test bit on, and its key as well: a panel whose
serial stands still is heard when the fire that it tests becomes a fire that it means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from devices.protocols.gb26875 import SENTENCES, Command, Deviation, Frame, TimeTag
from devices.protocols.gb26875_objects import (
    ComponentBit,
    ComponentStatus,
    DeviceBit,
    DeviceOperation,
    DeviceStatus,
    Opaque,
    Operation,
    OperationBit,
    SystemBit,
    SystemStatus,
    UnitObject,
    text_of,
)
from devices.protocols.gb26875_units import Unit, decode_unit
from services.dispatcher.domain.panels import DUTY_BUTTON
from services.dispatcher.domain.signals import Evidence, Panel, Place, Problem, Reading, Signal, SignalKind
from services.dispatcher.feeds.gb26875_names import component_name, system_name

HAZARD = "fire"
EVENT_CODE = "12B00"
PLAUSIBLE_WITHIN_US = 600_000_000
REPEAT_WITHIN_US = 60_000_000
DEVICE_ITSELF = "device"
CALL_POINT_TYPES = (23, 24)
REPORTING_COMMANDS = (Command.CONTROL, Command.SEND, Command.RESPONSE)

_NOT_READ = (
    Deviation.UNIT_MISSING,
    Deviation.UNIT_TOO_SHORT,
    Deviation.USER_TYPE,
    Deviation.RESERVED_TYPE,
    Deviation.TRAILING_BYTES,
    Deviation.USER_COMMAND,
)
_SYSTEM_FAULTS = {
    SystemBit.FAULT: "故障",
    SystemBit.SHIELD: "屏蔽",
    SystemBit.MAIN_POWER_FAULT: "主电故障",
    SystemBit.BACKUP_POWER_FAULT: "备电故障",
    SystemBit.BUS_FAULT: "总线故障",
}
_COMPONENT_FAULTS = {
    ComponentBit.FAULT: "故障",
    ComponentBit.SHIELD: "屏蔽",
    ComponentBit.POWER_FAULT: "电源故障",
}
_DEVICE_FAULTS = {
    DeviceBit.FAULT: "故障",
    DeviceBit.MAIN_POWER_FAULT: "主电故障",
    DeviceBit.BACKUP_POWER_FAULT: "备电故障",
    DeviceBit.LINK_FAULT: "与监控中心通信故障",
    DeviceBit.LINE_FAULT: "监测连接线路故障",
}
_OPERATIONS = {
    OperationBit.RESET: "复位",
    OperationBit.SILENCE: "消音",
    OperationBit.CLEARED: "警情消除",
    OperationBit.SELF_CHECK: "自检",
    OperationBit.CONFIRM: "确认",
    OperationBit.TEST: "测试",
}


@dataclass(frozen=True, slots=True)
class _Said:
    """One statement of one object, before it has a key and a time."""

    state: str
    kind: SignalKind
    evidence: Evidence
    device: str
    headline: str
    where: str = ""
    test_bit: bool = False
    description: str = ""


def signals(frame: Frame, panel: Panel, received_us: int) -> Reading:
    """What a frame of an enrolled panel says; `received_us` is µs UTC. Never raises.

    Fires are alerts, faults and operations are information. Problems of severity "error" mark what could not be read;
    frames that report nothing by nature (confirm, deny, request) give an empty reading.
    """
    problems = [_problem(each, f"serial {frame.serial}") for each in frame.deviations]
    if frame.command not in REPORTING_COMMANDS:
        return Reading((), tuple(problems))
    unit = decode_unit(frame.unit)
    problems += [_problem(each, f"serial {frame.serial}, type {unit.type_flag}") for each in unit.deviations]
    found = []
    for index, each in enumerate(unit.objects, 1):
        for said in _statements(each):
            found.append(_signal(said, _Origin(frame, unit, panel, received_us, index), each, tuple(problems)))
    return Reading(tuple(found), tuple(dict.fromkeys([*problems, *(p for s in found for p in s.problems)])))


@dataclass(frozen=True, slots=True)
class _Origin:
    frame: Frame
    unit: Unit
    panel: Panel
    received_us: int
    index: int


def _signal(said: _Said, origin: _Origin, each: UnitObject, problems: tuple[Problem, ...]) -> Signal:
    frame, panel, received_us = origin.frame, origin.panel, origin.received_us
    tag: TimeTag | None = getattr(each, "time", None)
    event_us = None if tag is None else tag.utc_us
    plausible = event_us is not None and abs(received_us - event_us) <= PLAUSIBLE_WITHIN_US
    if tag is not None and not plausible:
        problems += (_clock_problem(tag, origin),)
    name = "/".join(
        str(part) for part in ("gb26875", panel.id, frame.serial, origin.unit.type_flag, said.device, said.state)
    ) + ("/test" if said.test_bit else "")
    minute = received_us // REPEAT_WITHIN_US
    own_time = bytes(tag).hex() if tag is not None and plausible else ""
    return Signal(
        key=f"{name}/{own_time or f'r{minute}'}",
        # A repeat on another line, or to another gateway, may come in the minute after: no clock but ours tells it.
        other_key="" if own_time else f"{name}/r{minute - 1}",
        reporter=panel.id,
        use=panel.use,
        kind=said.kind,
        evidence=said.evidence,
        hazard=HAZARD,
        event_code=EVENT_CODE,
        place=Place(venue=panel.venue, names=(said.where,) if said.where else ()),
        observed_us=event_us if plausible and event_us is not None else received_us,
        received_us=received_us,
        device=said.device,
        test_bit=said.test_bit,
        headline=f"{panel.name}：{said.headline}" if panel.name else said.headline,
        description=said.description,
        problems=problems,
    )


def _clock_problem(tag: TimeTag, origin: _Origin) -> Problem:
    said = (
        "no time"
        if tag.is_zero
        else f"20{tag.year:02}-{tag.month:02}-{tag.day:02} " + (f"{tag.hour:02}:{tag.minute:02}:{tag.second:02}")
    )
    where = f"serial {origin.frame.serial}, object {origin.index}"
    return Problem(
        "warning", "event_time_implausible", where, f"The event time says {said}; the time of receipt was used."
    )


def _problem(deviation: Deviation, where: str) -> Problem:
    return Problem("error" if deviation in _NOT_READ else "warning", str(deviation), where, SENTENCES[deviation])


def _statements(each: UnitObject) -> Iterator[_Said]:
    match each:
        case ComponentStatus():
            yield from _component(each)
        case SystemStatus():
            yield from _system(each)
        case DeviceStatus():
            yield from _device(each)
        case Operation():
            device = f"{each.system_type}-{each.system_address}"
            yield from _operations(OperationBit(each.operation), device, system_name(each.system_type), each.operator)
        case DeviceOperation():
            bits = OperationBit(each.operation)
            if OperationBit.CONFIRM in bits:
                yield _on_duty(each.operator)
            yield from _operations(bits & ~OperationBit.CONFIRM, DEVICE_ITSELF, "用户信息传输装置", each.operator)
        case Opaque():
            return
        case _:
            # Analogue values, versions, configurations and clocks describe the installation; they report no event.
            return


def _component(each: ComponentStatus) -> Iterator[_Said]:
    device = f"{each.system_type}-{each.system_address}/{each.component_address.hex()}"
    where, name = text_of(each.description), component_name(each.component_type)
    label = f"{where}（{name}）" if where else f"{name} {device}"
    bits = each.bits
    test = ComponentBit.NORMAL not in bits
    if ComponentBit.FIRE in bits:
        evidence = Evidence.CALL_POINT if each.component_type in CALL_POINT_TYPES else Evidence.DETECTOR
        yield _Said("fire", SignalKind.ALERT, evidence, device, _fire(label, test), where, test)
    faults = [word for bit, word in _COMPONENT_FAULTS.items() if bit in bits]
    if faults:
        headline = f"{'、'.join(faults)}：{label}"
        yield _Said("fault", SignalKind.INFO, Evidence.FAULT, device, headline, where, test)


def _system(each: SystemStatus) -> Iterator[_Said]:
    bits = SystemBit(each.status & 0x3FFF)
    device, label = f"{each.system_type}-{each.system_address}", system_name(each.system_type)
    test = SystemBit.NORMAL not in bits
    if SystemBit.FIRE in bits:
        yield _Said("fire", SignalKind.ALERT, Evidence.PANEL, device, _fire(label, test), test_bit=test)
    faults = [word for bit, word in _SYSTEM_FAULTS.items() if bit in bits]
    if faults:
        headline = f"{'、'.join(faults)}：{label}"
        yield _Said("fault", SignalKind.INFO, Evidence.FAULT, device, headline, test_bit=test)


def _device(each: DeviceStatus) -> Iterator[_Said]:
    bits = DeviceBit(each.status & 0x7F)
    test = DeviceBit.NORMAL not in bits
    if DeviceBit.FIRE in bits:
        headline = _fire("用户信息传输装置", test)
        yield _Said("fire", SignalKind.ALERT, Evidence.PANEL, DEVICE_ITSELF, headline, test_bit=test)
    faults = [word for bit, word in _DEVICE_FAULTS.items() if bit in bits]
    if faults:
        headline = f"{'、'.join(faults)}：用户信息传输装置"
        yield _Said("fault", SignalKind.INFO, Evidence.FAULT, DEVICE_ITSELF, headline, test_bit=test)


def _operations(bits: OperationBit, device: str, label: str, operator: int) -> Iterator[_Said]:
    test = OperationBit.TEST in bits
    if OperationBit.MANUAL_ALARM in bits:
        headline = f"手动报警：{label}，操作员{operator}"
        yield _Said("manual", SignalKind.ALERT, Evidence.CALL_POINT, device, headline, test_bit=test)
    done = [word for bit, word in _OPERATIONS.items() if bit in bits]
    if done:
        headline = f"{'、'.join(done)}：{label}，操作员{operator}"
        yield _Said("operation", SignalKind.INFO, Evidence.SYSTEM, device, headline, test_bit=test)


def _on_duty(operator: int) -> _Said:
    """Type 24 with the confirm bit: somebody on duty at the device has answered a duty check."""
    headline = f"查岗应答：操作员{operator}"
    return _Said("on_duty", SignalKind.INFO, Evidence.SYSTEM, DUTY_BUTTON, headline, description=f"operator {operator}")


def _fire(label: str, test: bool) -> str:
    return f"火警：{label}" + ("（测试位置位）" if test else "")
