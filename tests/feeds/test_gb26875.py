"""What fire panels say becomes signals: fires whatever the test bit says, faults as information, keys that hold."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.gb26875 import Command, Frame, TimeTag
from devices.protocols.gb26875_objects import (
    Analogue,
    ComponentStatus,
    DeviceOperation,
    DeviceStatus,
    Operation,
    SystemStatus,
    UnitObject,
    description_bytes,
)
from devices.protocols.gb26875_units import encode_unit
from services.dispatcher.domain.signals import Evidence, Panel, Place, Signal, SignalKind, Use
from services.dispatcher.feeds.gb26875 import signals

EVENT_US = 1_795_139_610_000_000
RECEIVED_US = EVENT_US + 2_000_000
TAG = TimeTag.at(EVENT_US)
PANEL = Panel("panel-7", "地铁站消防主机", "010203040506", Use.ACTUAL, "venue-3")
CALL_POINT = ComponentStatus(1, 1, 23, b"\x0a\x00\x28\x00", 0x0003, description_bytes("地下一层B区手报"), TAG)
SMOKE = replace(CALL_POINT, component_type=40, component_address=b"\x0b\x00\x28\x00")


def frame(type_flag: int, *objects: UnitObject, serial: int = 2, command: int = Command.SEND) -> Frame:
    return Frame(serial, TAG, PANEL.address, "000000000001", command, encode_unit(type_flag, objects))


def read(type_flag: int, *objects: UnitObject, serial: int = 2, received_us: int = RECEIVED_US) -> tuple[Signal, ...]:
    return signals(frame(type_flag, *objects, serial=serial), PANEL, received_us).signals


def test_a_call_point_fire_becomes_one_whole_signal() -> None:
    assert signals(frame(2, CALL_POINT), PANEL, RECEIVED_US).problems == ()
    assert read(2, CALL_POINT) == (
        Signal(
            key="gb26875/panel-7/2/2/1-1/0a002800/fire/1e3509140b1a",
            reporter="panel-7",
            use=Use.ACTUAL,
            kind=SignalKind.ALERT,
            evidence=Evidence.CALL_POINT,
            hazard="fire",
            event_code="12B00",
            place=Place(venue="venue-3", names=("地下一层B区手报",)),
            observed_us=EVENT_US,
            received_us=RECEIVED_US,
            device="1-1/0a002800",
            headline="地铁站消防主机：火警：地下一层B区手报（手动火灾报警按钮）",
        ),
    )


@pytest.mark.parametrize(
    ("component_type", "evidence"),
    [(23, Evidence.CALL_POINT), (24, Evidence.CALL_POINT), (40, Evidence.DETECTOR), (200, Evidence.DETECTOR)],
)
def test_a_hand_on_a_button_is_another_witness_than_a_detector(component_type: int, evidence: Evidence) -> None:
    (signal,) = read(2, replace(SMOKE, component_type=component_type))
    assert (signal.kind, signal.evidence) == (SignalKind.ALERT, evidence)


def test_a_fire_bit_is_never_suppressed_by_the_test_bit() -> None:
    (signal,) = read(2, replace(SMOKE, status=0x0002))
    assert (signal.kind, signal.test_bit) == (SignalKind.ALERT, True)


@pytest.mark.parametrize("status", range(0x200))
def test_every_status_with_the_fire_bit_is_an_alert_and_no_other_is(status: int) -> None:
    kinds = [signal.kind for signal in read(2, replace(SMOKE, status=status))]
    assert (SignalKind.ALERT in kinds) == bool(status & 2)


def test_a_fire_with_a_fault_is_both() -> None:
    fire, fault = read(2, replace(SMOKE, status=0x0007))
    assert (fire.kind, fire.evidence) == (SignalKind.ALERT, Evidence.DETECTOR)
    assert (fault.kind, fault.evidence) == (SignalKind.INFO, Evidence.FAULT)
    assert fire.key != fault.key


def test_a_panel_that_names_no_component_raises_the_alarm_but_is_no_second_detector() -> None:
    for each in (read(1, SystemStatus(1, 1, 0x0003, TAG)), read(21, DeviceStatus(0x03, TAG))):
        assert [(signal.kind, signal.evidence) for signal in each] == [(SignalKind.ALERT, Evidence.PANEL)]


def test_a_manual_alarm_at_the_panel_is_a_hand() -> None:
    for each in (read(4, Operation(1, 1, 0x04, 9, TAG)), read(24, DeviceOperation(0x04, 9, TAG))):
        assert [(signal.kind, signal.evidence) for signal in each] == [(SignalKind.ALERT, Evidence.CALL_POINT)]


def test_resets_and_duty_answers_are_information() -> None:
    duty, signal = read(24, DeviceOperation(0x21, 9, TAG))
    assert (duty.kind, duty.evidence, duty.device, duty.headline, duty.description) == (
        SignalKind.INFO,
        Evidence.SYSTEM,
        "duty",
        "地铁站消防主机：查岗应答：操作员9",
        "operator 9",
    )
    assert (signal.kind, signal.headline) == (SignalKind.INFO, "地铁站消防主机：复位：用户信息传输装置，操作员9")
    (confirmed,) = read(4, Operation(1, 1, 0x20, 9, TAG))
    assert (confirmed.device, confirmed.headline) == ("1-1", "地铁站消防主机：确认：火灾报警系统，操作员9")


@pytest.mark.parametrize(
    "each",
    [(1, SystemStatus(1, 1, 0x0104, TAG)), (21, DeviceStatus(0x21, TAG)), (2, replace(SMOKE, status=0x0101))],
)
def test_faults_are_information(each: tuple[int, UnitObject]) -> None:
    assert [(s.kind, s.evidence) for s in read(*each)] == [(SignalKind.INFO, Evidence.FAULT)]


@pytest.mark.parametrize(
    "each",
    [(21, DeviceStatus(0x01, TAG)), (2, replace(SMOKE, status=1)), (3, Analogue(1, 1, 30, b"abcd", 3, 653, TAG))],
)
def test_normal_states_and_measurements_are_no_signals(each: tuple[int, UnitObject]) -> None:
    assert read(*each) == ()


def test_an_exercise_panel_speaks_only_exercise() -> None:
    reading = signals(frame(2, SMOKE), replace(PANEL, use=Use.EXERCISE), RECEIVED_US)
    assert [signal.use for signal in reading.signals] == [Use.EXERCISE]


def test_a_repeat_has_the_same_key_whenever_it_comes() -> None:
    assert {read(2, SMOKE, received_us=RECEIVED_US + s * 1_000_000)[0].key for s in (0, 10, 20, 30)} == {
        read(2, SMOKE)[0].key
    }


def test_another_serial_component_or_time_is_another_report() -> None:
    later = replace(SMOKE, time=TimeTag.at(EVENT_US + 1_000_000))
    elsewhere = replace(SMOKE, component_address=b"\x0c\x00\x28\x00")
    found = [read(2, SMOKE), read(2, SMOKE, serial=3), read(2, later), read(2, elsewhere)]
    assert len({signal.key for (signal,) in found}) == 4


@pytest.mark.parametrize("tag", [TimeTag(), TimeTag(99, 99, 99, 99, 99, 99), TimeTag.at(EVENT_US - 8 * 3_600_000_000)])
def test_a_clock_that_is_zero_or_hours_wrong_gives_way_to_the_time_of_receipt(tag: TimeTag) -> None:
    (signal,) = read(2, replace(SMOKE, time=tag))
    assert signal.observed_us == RECEIVED_US
    assert "event_time_implausible" in [problem.code for problem in signal.problems]
    assert signal.key == read(2, replace(SMOKE, time=tag))[0].key
    after_a_minute = read(2, replace(SMOKE, time=tag), received_us=RECEIVED_US + 60_000_001)
    assert after_a_minute[0].key != signal.key


def test_a_repeat_of_a_panel_without_a_clock_is_known_by_its_other_key_over_the_turn_of_a_minute() -> None:
    turn_us = RECEIVED_US // 60_000_000 * 60_000_000 + 60_000_000
    timeless = replace(SMOKE, time=TimeTag())
    (first,) = read(2, timeless, received_us=turn_us - 1)
    (again,) = read(2, timeless, received_us=turn_us + 30_000_000)
    assert again.key != first.key
    assert again.other_key == first.key


@pytest.mark.parametrize("time", [SMOKE.time, TimeTag()])
def test_a_fire_that_was_a_test_a_moment_before_is_another_report(time: TimeTag) -> None:
    meant = replace(SMOKE, time=time, status=0x0003)
    (tested,) = read(2, replace(meant, status=0x0002))
    (fire,) = read(2, meant)
    assert (tested.test_bit, fire.test_bit, fire.key in (tested.key, tested.other_key)) == (True, False, False)


def test_a_panel_with_a_good_clock_has_one_name_for_a_report() -> None:
    assert [signal.other_key for signal in read(2, SMOKE)] == [""]


def test_a_fire_without_a_time_tag_is_a_fire_now() -> None:
    reading = signals(frame(2, replace(SMOKE, time=None)), PANEL, RECEIVED_US)
    assert [(s.kind, s.observed_us) for s in reading.signals] == [(SignalKind.ALERT, RECEIVED_US)]
    assert [(p.severity, p.code) for p in reading.problems] == [("warning", "time_missing")]


def test_units_that_cannot_be_read_are_errors_and_not_silence() -> None:
    unknown = replace(frame(2, SMOKE), unit=b"\xc8\x01\x01\x02")
    assert [(p.severity, p.code) for p in signals(unknown, PANEL, RECEIVED_US).problems] == [("error", "user_type")]


def test_what_was_readable_before_left_over_bytes_still_counts() -> None:
    tail = replace(frame(2, SMOKE), unit=encode_unit(2, [SMOKE]) + b"\x01")
    reading = signals(tail, PANEL, RECEIVED_US)
    assert [signal.kind for signal in reading.signals] == [SignalKind.ALERT]
    assert ("error", "trailing_bytes") in [(p.severity, p.code) for p in reading.problems]


@pytest.mark.parametrize("command", [Command.CONFIRM, Command.DENY, Command.REQUEST])
def test_answers_and_questions_report_nothing(command: Command) -> None:
    assert signals(frame(2, SMOKE, command=command), PANEL, RECEIVED_US).signals == ()


@given(st.binary(max_size=200), st.integers(0, 255), st.integers(0, 2**52))
def test_no_frame_crashes_the_reading(unit: bytes, command: int, received_us: int) -> None:
    reading = signals(Frame(0, TimeTag(), "00" * 6, "00" * 6, command, unit), PANEL, received_us)
    assert all(signal.reporter == "panel-7" for signal in reading.signals)
