"""MQTT sensors: what an enrolled sensor's word is worth, and when it says nothing new."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.sensor_mqtt import SensorKind, SensorMessage, SensorState, encode
from services.dispatcher.domain.signals import Evidence, Place, Problem, Reading, Sensor, Signal, SignalKind, Use
from services.dispatcher.feeds.mqtt_sensor import HOUR_US, MINUTE_US, PLAUSIBLE_WITHIN_US, signals, signals_of

NOON_US = 1_782_864_000_000_000
SENSOR = Sensor("mall-smoke-7", "gw-1", "smoke-7", "smoke", "mall", Use.ACTUAL, "地下一层B区烟感")
ALARM = SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", 7, NOON_US - 1_000_000, 3_500)
SIGNAL = Signal(
    key=f"mqtt/mall-smoke-7/alarm/b1-7-t{NOON_US - 1_000_000}",
    reporter="mall-smoke-7",
    use=Use.ACTUAL,
    kind=SignalKind.ALERT,
    evidence=Evidence.DETECTOR,
    hazard="fire",
    event_code="12B00",
    place=Place(venue="mall"),
    observed_us=NOON_US - 1_000_000,
    received_us=NOON_US,
    device="smoke-7",
    headline="烟雾报警：地下一层B区烟感，3.5 dB/m",
)


def one(message: SensorMessage, sensor: Sensor = SENSOR, before: SensorState | None = None) -> Signal:
    (signal,) = signals_of(message, sensor, NOON_US, before).signals
    return signal


def test_an_alarm_that_was_a_test_a_moment_before_is_another_report() -> None:
    unnumbered = replace(ALARM, boot=None, seq=None, utc_us=None)
    assert one(replace(unnumbered, test=True)).key != one(unnumbered).key


def test_an_alarm_becomes_a_whole_signal() -> None:
    assert signals(encode(ALARM), SENSOR, NOON_US) == Reading((SIGNAL,), ())


@pytest.mark.parametrize(
    ("kind", "hazard", "code", "evidence"),
    [
        ("smoke", "fire", "12B00", Evidence.DETECTOR),
        ("temperature", "fire", "12B00", Evidence.DETECTOR),
        ("gas", "public_utility", "12D00", Evidence.DETECTOR),
        ("water_level", "flood", "11A00", Evidence.DETECTOR),
        ("button", "other", "", Evidence.CALL_POINT),
    ],
)
def test_the_kind_says_hazard_and_evidence(kind: str, hazard: str, code: str, evidence: Evidence) -> None:
    signal = one(replace(ALARM, kind=SensorKind(kind), value=None), replace(SENSOR, kind=kind))
    assert (signal.hazard, signal.event_code, signal.evidence) == (hazard, code, evidence)


def test_the_enrolment_may_name_the_hazard() -> None:
    button = replace(SENSOR, kind="button", hazard="fire")
    signal = one(SensorMessage(SensorKind.BUTTON, SensorState.ALARM, "b1", 1), button)
    assert (signal.hazard, signal.event_code) == ("fire", "12B00")


def test_a_message_of_another_kind_counts_as_the_kind_that_is_enrolled() -> None:
    read = signals_of(replace(ALARM, kind=SensorKind.BUTTON, value=None), SENSOR, NOON_US)
    assert ([p.code for p in read.problems], read.signals[0].evidence) == (["kind_differs"], Evidence.DETECTOR)


def test_the_test_flag_goes_on_with_the_alarm_and_never_hides_it() -> None:
    signal = one(replace(ALARM, test=True))
    assert (signal.kind, signal.test_bit, signal.headline[-4:]) == (SignalKind.ALERT, True, "测试标志")


def test_use_comes_from_the_enrolment() -> None:
    assert one(ALARM, replace(SENSOR, use=Use.EXERCISE)).use is Use.EXERCISE


@pytest.mark.parametrize("before", [None, SensorState.NORMAL])
def test_normal_is_a_sign_of_life(before: SensorState | None) -> None:
    assert signals_of(replace(ALARM, state=SensorState.NORMAL), SENSOR, NOON_US, before) == Reading((), ())


@pytest.mark.parametrize("before", [SensorState.ALARM, SensorState.FAULT])
def test_normal_after_an_alarm_is_told_and_takes_nothing_back(before: SensorState) -> None:
    signal = one(replace(ALARM, state=SensorState.NORMAL), before=before)
    assert (signal.kind, signal.evidence, signal.references) == (SignalKind.INFO, Evidence.SYSTEM, ())


def test_a_fault_is_information() -> None:
    signal = one(replace(ALARM, state=SensorState.FAULT, value=None))
    assert (signal.kind, signal.evidence, signal.headline) == (
        SignalKind.INFO,
        Evidence.FAULT,
        "烟雾故障：地下一层B区烟感",
    )


def test_a_repeated_statement_is_the_same_report_and_a_new_one_is_not() -> None:
    later = signals_of(ALARM, SENSOR, NOON_US + PLAUSIBLE_WITHIN_US - 1_000_000).signals[0]
    assert later.key == SIGNAL.key
    assert one(replace(ALARM, seq=8)).key != SIGNAL.key
    assert one(replace(ALARM, boot="b2")).key != SIGNAL.key


def test_a_number_that_never_rises_hides_no_alarm_for_longer_than_an_hour() -> None:
    stuck = replace(ALARM, seq=0, utc_us=None)
    now, later = (signals_of(stuck, SENSOR, at).signals[0].key for at in (NOON_US, NOON_US + HOUR_US))
    assert (now, later) == (
        f"mqtt/mall-smoke-7/alarm/b1-0-r{NOON_US // HOUR_US}",
        f"mqtt/mall-smoke-7/alarm/b1-0-r{NOON_US // HOUR_US + 1}",
    )


def test_without_a_number_the_time_tells_reports_apart() -> None:
    assert one(replace(ALARM, seq=None)).key == f"mqtt/mall-smoke-7/alarm/t{ALARM.utc_us}"
    assert one(replace(ALARM, boot=None, utc_us=None)).key == f"mqtt/mall-smoke-7/alarm/r{NOON_US // MINUTE_US}"


def test_a_clock_that_is_hours_wrong_is_named_and_not_believed() -> None:
    read = signals_of(replace(ALARM, utc_us=0), SENSOR, NOON_US)
    assert read.problems == (
        Problem(
            "warning",
            "event_time_implausible",
            "mall-smoke-7",
            "The sensor's clock is more than ten minutes off; the time of receipt was used.",
        ),
    )
    assert read.signals[0].observed_us == NOON_US


def test_what_cannot_be_read_is_an_error_with_its_reason() -> None:
    read = signals(b"ALARM!", SENSOR, NOON_US)
    assert (read.signals, [(p.severity, p.code) for p in read.problems]) == ((), [("error", "malformed")])


@given(st.binary(max_size=300), st.sampled_from([None, *SensorState]))
def test_no_payload_raises(payload: bytes, before: SensorState | None) -> None:
    signals(payload, replace(SENSOR, kind="unheard-of"), NOON_US, before)
