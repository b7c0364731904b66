"""The intake's connection against a real Mosquitto: what is not acknowledged comes again, and the broker may go."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.dispatcher.adapters import broker, mqtt_inlet
from services.dispatcher.adapters.broker import BrokerLogin
from services.dispatcher.adapters.mqtt import RECEIVE_MAXIMUM
from services.dispatcher.adapters.mqtt_inlet import MqttInlet
from services.dispatcher.adapters.mqtt_wire import DISCONNECT, PACKET_BYTES_MAX, PINGREQ, Published
from services.dispatcher.processes.children import Mosquitto
from services.dispatcher.processes.enrolment import intake_login

SECRETS = {name: broker.new_secret() for name in ("gw-receipts", "sp-1")}
LOGINS = [
    intake_login("gw-receipts", broker.hash_secret(SECRETS["gw-receipts"])),
    BrokerLogin.with_secret("sp-1", SECRETS["sp-1"]),
]
TOPIC = "tocsin/v1/speaker/sp-1/receipt"
TOPICS = ("tocsin/v1/speaker/+/receipt",)
WITHIN_S = 30
TAKES_MAX = 3_000


@pytest.fixture(autouse=True)
def _tries_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_inlet, "RECONNECT_MIN_S", 0.0)
    monkeypatch.setattr(mqtt_inlet, "RECONNECT_MAX_S", 0.0)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as started:
        started.start(LOGINS)
        yield started


@contextmanager
def inlet(mosquitto: Mosquitto, secret: str = SECRETS["gw-receipts"]) -> Iterator[MqttInlet]:
    """A connection whose session the broker holds."""
    assert mosquitto.port is not None
    made = MqttInlet("gw-receipts", secret, TOPICS, "127.0.0.1", mosquitto.port)
    try:
        yield made
    finally:
        made.close()


def connect(made: MqttInlet) -> None:
    for _ in range(TAKES_MAX):
        if made.connected:
            return
        assert made.take(1, 0.01, 0.0) == []
    raise AssertionError("it never connected")


def payloads(made: MqttInlet, count: int) -> list[bytes]:
    """The next messages, which stay unacknowledged."""
    return [message.payload for message in taken(made, count)]


def taken(made: MqttInlet, count: int) -> list[Published]:
    some: list[Published] = []
    for _ in range(TAKES_MAX):
        some += made.take(count - len(some), 0.01, 0.01)
        if len(some) == count:
            return some
    raise AssertionError(f"only {len(some)} of {count} came")


def say(mosquitto: Mosquitto, *said: bytes, user_property: str = "", qos: int = 1) -> None:
    """Publish as the speaker."""
    assert mosquitto.port is not None
    client = paho.Client(CallbackAPIVersion.VERSION2, "sp-1", protocol=paho.MQTTv5)
    client.username_pw_set("sp-1", SECRETS["sp-1"])
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    if user_property:
        properties.UserProperty = [
            ("k", user_property[at : at + 50_000]) for at in range(0, len(user_property), 50_000)
        ]
    for payload in said:
        client.publish(TOPIC, payload, qos, properties=properties).wait_for_publish(WITHIN_S)
    client.disconnect()
    client.loop_stop()


def test_messages_that_came_while_it_was_away_wait_for_it(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as before:
        connect(before)
    say(mosquitto, b"1", b"2", b"3")
    with inlet(mosquitto) as made:
        first, *rest = taken(made, 3)
        assert (first.topic, first.payload, first.packet_id > 0) == (TOPIC, b"1", True)
        assert [message.payload for message in rest] == [b"2", b"3"]


def test_only_what_is_acknowledged_never_comes_again(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, b"1", b"2", b"3")
        batch = taken(made, 3)
        made.acknowledge(batch[:2])
    with inlet(mosquitto) as made:
        assert payloads(made, 1) == [b"3"]
        say(mosquitto, b"4")
        assert payloads(made, 1) == [b"4"]


def test_batch_of_a_lost_connection_is_not_acknowledged_on_the_next_one(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, b"1", b"2")
        batch = taken(made, 2)
        mosquitto.stop()
        made.rest(0.0)
        made.take(1, 0.0, 0.0)
        made.acknowledge(batch)
        mosquitto.start(LOGINS)
        assert payloads(made, 2) == [b"1", b"2"]


def test_broker_that_goes_and_comes_back_is_found_again(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        mosquitto.stop()
        for _ in range(3):
            assert made.take(1, 0.01, 0.0) == []
        assert not made.connected
        mosquitto.start(LOGINS)
        connect(made)
        say(mosquitto, b"1")
        assert payloads(made, 1) == [b"1"]


def test_wrong_secret_never_connects(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto, broker.new_secret()) as made:
        assert [made.take(1, 0.2, 0.0) for _ in range(3)] == [[], [], []]
        assert not made.connected


def test_batch_ends_at_its_size_and_the_rest_is_the_next_one(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, *(b"%d" % number for number in range(50)))
        first = made.take(20, WITHIN_S, WITHIN_S)
        assert [message.payload for message in first] == [b"%d" % number for number in range(20)]
        made.acknowledge(first)
        assert payloads(made, 30) == [b"%d" % number for number in range(20, 50)]


def test_more_than_the_broker_may_send_at_once_comes_as_it_is_acknowledged(mosquitto: Mosquitto) -> None:
    count = RECEIVE_MAXIMUM + 100
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, *(b"%d" % number for number in range(count)))
        first = taken(made, RECEIVE_MAXIMUM)
        assert made.take(1, 0.0, 0.0) == []
        made.acknowledge(first)
        assert payloads(made, 100) == [b"%d" % number for number in range(count - 100, count)]


def test_message_without_acknowledgement_is_taken_too(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, b"1", qos=0)
        batch = taken(made, 1)
        assert batch == [Published(TOPIC, b"1", 0)]
        made.acknowledge(batch)
        say(mosquitto, b"2")
        assert payloads(made, 1) == [b"2"]


def test_properties_that_a_speaker_adds_do_not_hide_its_message(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, b"1", user_property="x" * 300)
        assert payloads(made, 1) == [b"1"]


def test_packet_that_is_too_long_does_not_stop_those_behind_it(mosquitto: Mosquitto) -> None:
    with inlet(mosquitto) as made:
        connect(made)
        say(mosquitto, b"1", user_property="x" * PACKET_BYTES_MAX)
        say(mosquitto, b"2")
        assert payloads(made, 1) == [b"2"]
        assert made.connected


@contextmanager
def accepted(answer: bytes) -> Iterator[tuple[MqttInlet, socket.socket]]:
    """An inlet, and the other end of its connection, which has read CONNECT and given this answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WITHIN_S)
        made = MqttInlet("gw-receipts", SECRETS["gw-receipts"], TOPICS, *server.getsockname())
        assert made.take(1, 0.0, 0.0) == []
        connection, _ = server.accept()
        with connection:
            connection.settimeout(WITHIN_S)
            assert connection.recv(4_096).startswith(b"\x10")
            connection.sendall(answer)
            yield made, connection


CONNACK, SUBACK = b"\x20\x03\x00\x00\x00", b"\x90\x04\x00\x01\x00\x01"


def test_it_gives_a_sign_of_life_when_nothing_else_is_to_be_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt_inlet, "KEEPALIVE_S", 0)
    monkeypatch.setattr(mqtt_inlet, "SILENT_AFTER_KEEPALIVES", float("inf"))
    with accepted(CONNACK + SUBACK) as (made, connection):
        connect(made)
        connection.recv(4_096)
        made.rest(0.0)
        assert PINGREQ in connection.recv(4_096)
        made.close()


def test_broker_that_gives_no_sign_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with accepted(CONNACK + SUBACK) as (made, _):
        connect(made)
        monkeypatch.setattr(mqtt_inlet, "SILENT_AFTER_KEEPALIVES", 0.0)
        assert made.take(1, 0.01, 0.0) == []
        assert not made.connected


def test_broker_that_breaks_the_standard_is_left_with_what_it_said_before() -> None:
    receipt = b"\x32\x0a\x00\x03a/b\x01\x02\x00{}"
    with accepted(CONNACK + SUBACK + receipt + b"\x00\x00") as (made, _):
        assert taken(made, 1) == [Published("a/b", b"{}", 258)]
        assert made.take(1, 0.01, 0.0) == []
        assert not made.connected


def test_subscription_that_is_refused_is_no_connection() -> None:
    with accepted(CONNACK + b"\x90\x04\x00\x01\x00\x87") as (made, _):
        assert made.take(1, WITHIN_S, 0.0) == []
        assert not made.connected


def test_leaving_says_so() -> None:
    with accepted(CONNACK + SUBACK) as (made, connection):
        connect(made)
        connection.recv(4_096)
        made.close()
        assert connection.recv(4_096) == DISCONNECT


def test_it_is_told_when_the_broker_says_that_another_client_has_its_id() -> None:
    told: list[bool] = []
    with accepted(CONNACK + SUBACK + b"\xe0\x02\x8e\x00") as (made, _):
        made._on_taken = told.append
        connect_or_lose(made)
        assert (told, made.connected) == ([True], False)


@pytest.mark.parametrize("end", [b"\xe0\x01\x8b", b"\xe0\x00"])
def test_a_broker_that_ends_for_another_reason_takes_nothing(end: bytes) -> None:
    told: list[bool] = []
    with accepted(CONNACK + SUBACK + end) as (made, _):
        made._on_taken = told.append
        connect_or_lose(made)
        assert (told, made.connected) == ([], False)


def connect_or_lose(made: MqttInlet) -> None:
    for _ in range(TAKES_MAX):
        assert made.take(1, 0.01, 0.0) == []
        if made._down:
            return
    raise AssertionError("the connection stayed")
