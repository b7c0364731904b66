"""MQTT sensors: one payload of an enrolled sensor in, signals or named problems out. Pure; the wire is an adapter's.

What a sensor's word is worth comes from its enrolment: its kind says which evidence it gives and which hazard its
alarm means, whatever kind the message names. An alarm is an alert whatever the test flag says; the signal carries the
flag on. A fault is information. Normal is silence, except after an alarm or a fault, when it is information: a sensor
that stops reporting has perhaps burnt, so it never takes an alarm back.
Key. `mqtt/<sensor>/<state>/<boot>-<seq>-<time>`; a repeated statement is the same report. The time is the sensor's, or
where that is absent or implausible the hour of receipt, so that a number that never rises can't hide alarms for long;
without boot or number it is the minute of receipt.
"""

from __future__ import annotations

from collections.abc import Iterator

from devices.protocols.refusals import LinkRefused
from devices.protocols.sensor_mqtt import SENSOR_SENTENCES, SensorKind, SensorMessage, SensorState, decode
from services.dispatcher.domain.signals import Evidence, Place, Problem, Reading, Sensor, Signal, SignalKind
from services.dispatcher.feeds.hazards import BY_NAME, OTHER

PLAUSIBLE_WITHIN_US = 600_000_000
MINUTE_US = 60_000_000
HOUR_US = 3_600_000_000

HAZARDS = {
    SensorKind.SMOKE: "fire",
    SensorKind.TEMPERATURE: "fire",
    SensorKind.GAS: "public_utility",
    SensorKind.WATER_LEVEL: "flood",
    SensorKind.BUTTON: OTHER,
}
_KIND_WORDS = {
    SensorKind.SMOKE: "烟雾",
    SensorKind.TEMPERATURE: "温度",
    SensorKind.GAS: "燃气",
    SensorKind.WATER_LEVEL: "水位",
    SensorKind.BUTTON: "按钮",
}
_STATE_WORDS = {SensorState.ALARM: "报警", SensorState.FAULT: "故障", SensorState.NORMAL: "恢复正常"}
_UNITS = {
    SensorKind.SMOKE: (0.001, "dB/m"),
    SensorKind.TEMPERATURE: (0.001, "°C"),
    SensorKind.GAS: (0.001, "%LEL"),
    SensorKind.WATER_LEVEL: (0.001, "m"),
}


def signals(payload: bytes, sensor: Sensor, received_us: int, before: SensorState | None = None) -> Reading:
    """What a payload of an enrolled sensor says; `received_us` is µs UTC. Never raises.

    `before` is the state that the sensor was in, None when it is not known. Without signals and without a problem of
    severity "error" the payload was a sign of life.
    """
    try:
        message = decode(payload)
    except LinkRefused as refused:
        said = f"The sensor's message can't be read: {refused}"
        return Reading((), (Problem("error", str(refused.reason), "", said),))
    return signals_of(message, sensor, received_us, before)


def signals_of(message: SensorMessage, sensor: Sensor, received_us: int, before: SensorState | None = None) -> Reading:
    """The same for a message at hand."""
    problems = tuple(_problems(message, sensor, received_us))
    if message.state is SensorState.NORMAL and before in (None, SensorState.NORMAL):
        return Reading((), problems)
    kind = SensorKind(sensor.kind) if sensor.kind in tuple(SensorKind) else message.kind
    alarm = message.state is SensorState.ALARM
    hazard = sensor.hazard or HAZARDS[kind]
    known = BY_NAME.get(hazard)
    return Reading(
        (
            Signal(
                # What is tested is no repeat of what is meant: of one that numbers nothing, both may come in a minute.
                key=f"mqtt/{sensor.id}/{message.state}{'/test' * message.test}/{_statement(message, received_us)}",
                reporter=sensor.id,
                use=sensor.use,
                kind=SignalKind.ALERT if alarm else SignalKind.INFO,
                evidence=_evidence(kind, message.state),
                hazard=hazard,
                event_code=known.code if known else "",
                place=Place(venue=sensor.venue),
                observed_us=_said_us(message, received_us) or received_us,
                received_us=received_us,
                device=sensor.device,
                test_bit=message.test,
                headline=_headline(message, kind, sensor),
                problems=problems,
            ),
        ),
        problems,
    )


def _evidence(kind: SensorKind, state: SensorState) -> Evidence:
    match state:
        case SensorState.ALARM:
            return Evidence.CALL_POINT if kind is SensorKind.BUTTON else Evidence.DETECTOR
        case SensorState.FAULT:
            return Evidence.FAULT
        case SensorState.NORMAL:
            return Evidence.SYSTEM


def _statement(message: SensorMessage, received_us: int) -> str:
    numbered = message.boot is not None and message.seq is not None
    said_us = _said_us(message, received_us)
    span_us = HOUR_US if numbered else MINUTE_US
    when = f"t{said_us}" if said_us is not None else f"r{received_us // span_us}"
    return f"{message.boot}-{message.seq}-{when}" if numbered else when


def _said_us(message: SensorMessage, received_us: int) -> int | None:
    """The sensor's own time where it lies within ten minutes of receipt: a stuck clock says nothing."""
    if message.utc_us is None or abs(message.utc_us - received_us) > PLAUSIBLE_WITHIN_US:
        return None
    return message.utc_us


def _problems(message: SensorMessage, sensor: Sensor, received_us: int) -> Iterator[Problem]:
    for deviation in message.deviations:
        yield Problem("warning", str(deviation), sensor.id, SENSOR_SENTENCES[deviation])
    if message.kind != sensor.kind:
        said = (
            f"The message is of a {message.kind} sensor, but a {sensor.kind} sensor is enrolled; the enrolment counts."
        )
        yield Problem("warning", "kind_differs", sensor.id, said)
    if message.utc_us is not None and _said_us(message, received_us) is None:
        said = "The sensor's clock is more than ten minutes off; the time of receipt was used."
        yield Problem("warning", "event_time_implausible", sensor.id, said)


def _headline(message: SensorMessage, kind: SensorKind, sensor: Sensor) -> str:
    parts = [f"{_KIND_WORDS[kind]}{_STATE_WORDS[message.state]}：{sensor.name or sensor.device}"]
    if message.value is not None and kind in _UNITS and message.kind is kind:
        factor, unit = _UNITS[kind]
        parts.append(f"{message.value * factor:.6g} {unit}")
    if message.test:
        parts.append("测试标志")
    return "，".join(parts)
