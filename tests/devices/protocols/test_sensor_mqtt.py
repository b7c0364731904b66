"""Messages of MQTT sensors: the writer keeps the published form, the reader takes what the field sends and says so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.sensor_mqtt import (
    ALL_SENSORS,
    INTEGER_MAX,
    MESSAGE_BYTES_MAX,
    SENSOR_SENTENCES,
    VALUE_MAX,
    SensorDeviation,
    SensorKind,
    SensorMessage,
    SensorState,
    decode,
    encode,
    parse_sensor_topic,
    sensor_topic,
)

NOON_US = 1_782_864_000_000_000
SMOKE = SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", 7, NOON_US, 3_500, 88, True)
PLAIN: dict[str, Any] = {"v": 1, "kind": "smoke", "state": "alarm", "boot": "b1", "seq": 7}

MESSAGES = st.builds(
    SensorMessage,
    kind=st.sampled_from([kind for kind in SensorKind if kind is not SensorKind.BUTTON]),
    state=st.sampled_from(list(SensorState)),
    boot=st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True),
    seq=st.integers(0, INTEGER_MAX),
    utc_us=st.none() | st.integers(0, INTEGER_MAX),
    value=st.none() | st.integers(-VALUE_MAX, VALUE_MAX),
    battery_percent=st.none() | st.integers(0, 100),
    test=st.booleans(),
)


def test_a_message_is_written_in_the_published_form() -> None:
    assert encode(SMOKE) == (
        b'{"battery":88,"boot":"b1","kind":"smoke","seq":7,"state":"alarm","test":true,'
        b'"utc":1782864000000000,"v":1,"value":3500}'
    )


@given(MESSAGES)
def test_what_is_written_is_read_back_without_a_deviation(message: SensorMessage) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    "message",
    [
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, None, 7),
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", None),
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "B 1", 7),
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", -1),
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", 7, battery_percent=101),
        SensorMessage(SensorKind.SMOKE, SensorState.ALARM, "b1", 7, value=VALUE_MAX + 1),
        SensorMessage(SensorKind.BUTTON, SensorState.ALARM, "b1", 7, value=1),
    ],
)
def test_the_writer_writes_nothing_else(message: SensorMessage) -> None:
    with pytest.raises(ValueError, match=r"boot|seq|battery|value|button"):
        encode(message)


@pytest.mark.parametrize(
    ("changes", "deviations"),
    [
        ({}, []),
        ({"kind": "Smoke-Detector"}, [SensorDeviation.WORD]),
        ({"state": "报警"}, [SensorDeviation.WORD]),
        ({"state": 1}, [SensorDeviation.WORD]),
        ({"v": None}, [SensorDeviation.VERSION]),
        ({"rssi": -70}, [SensorDeviation.MEMBER]),
        ({"boot": None}, [SensorDeviation.BOOT]),
        ({"seq": None}, [SensorDeviation.SEQ]),
        ({"seq": "x"}, [SensorDeviation.NUMBER, SensorDeviation.SEQ]),
        ({"seq": 7.0}, [SensorDeviation.NUMBER]),
        ({"utc": -1}, [SensorDeviation.UTC]),
        ({"value": 2**60}, [SensorDeviation.VALUE]),
        ({"battery": 101}, [SensorDeviation.BATTERY]),
        ({"test": "maybe"}, [SensorDeviation.TEST]),
    ],
)
def test_the_reader_takes_what_differs_and_names_it(changes: dict[str, Any], deviations: list[SensorDeviation]) -> None:
    found = decode(json.dumps(PLAIN | changes).encode())
    assert (found.kind, found.state) == (SensorKind.SMOKE, SensorState.ALARM)
    assert list(found.deviations) == deviations


@pytest.mark.parametrize(("test", "counts"), [(True, True), (1, True), ("1", True), (0, False), ("yes", True)])
def test_a_test_flag_in_doubt_counts_as_set(test: object, counts: bool) -> None:
    assert decode(json.dumps(PLAIN | {"test": test}).encode()).test is counts


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Refusal.EMPTY_PAYLOAD),
        (b" " * (MESSAGE_BYTES_MAX + 1), Refusal.OVER_CAP),
        (b"[" * 4_000, Refusal.MALFORMED),
        (b"[]", Refusal.MALFORMED),
        (b"\xff", Refusal.MALFORMED),
        (b"alarm", Refusal.MALFORMED),
        (b'{"kind":"smoke","kind":"gas","state":"alarm"}', Refusal.MALFORMED),
        (b'{"kind":"smoke"}', Refusal.MALFORMED),
        (b'{"kind":"smoke","state":"unsure"}', Refusal.MALFORMED),
        (b'{"kind":"smoke","state":true}', Refusal.MALFORMED),
        (b'{"kind":"radar","state":"alarm"}', Refusal.MALFORMED),
    ],
)
def test_what_leaves_kind_or_state_in_doubt_is_refused(payload: bytes, reason: Refusal) -> None:
    with pytest.raises(LinkRefused) as refused:
        decode(payload)
    assert refused.value.reason is reason


@given(
    st.binary(max_size=200)
    | st.dictionaries(
        st.sampled_from([*PLAIN, "utc", "value", "battery", "test"]),
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers()),
    ).map(lambda members: json.dumps(PLAIN | members).encode())
)
def test_no_payload_does_more_than_be_refused(payload: bytes) -> None:
    try:
        message = decode(payload)
    except LinkRefused as refused:
        assert refused.reason in (Refusal.MALFORMED, Refusal.EMPTY_PAYLOAD, Refusal.OVER_CAP)
    else:
        assert all(SENSOR_SENTENCES[deviation] for deviation in message.deviations)


def test_topics_are_built_and_taken_apart() -> None:
    assert sensor_topic("gw-1", "smoke-7") == "tocsin/v1/sensor/gw-1/smoke-7"
    assert ALL_SENSORS == "tocsin/v1/sensor/+/+"
    assert parse_sensor_topic("tocsin/v1/sensor/gw-1/smoke-7") == ("gw-1", "smoke-7")


@pytest.mark.parametrize("name", ["", "a/b", "+", "#", "A", "x" * 33])
def test_no_topic_carries_another_name(name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        sensor_topic("gw-1", name)
    with pytest.raises(LinkRefused):
        parse_sensor_topic(f"tocsin/v1/sensor/gw-1/{name}")
