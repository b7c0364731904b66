"""Plain connections against a real Mosquitto with the product's configuration."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.dispatcher.adapters.broker import BrokerLogin, new_secret
from services.dispatcher.processes.children import Mosquitto
from simulators.bench import wire
from simulators.bench.crowd import Crowd, Login
from simulators.bench.plain import Plain
from simulators.bench.result import BenchFailed

TOPIC = "tocsin/v1/area/990000000000/manifest/exercise/city"
FILTER = "tocsin/v1/area/990000000000/manifest/+/+"
SPEAKERS = [Login(f"sp-{number}", new_secret(), (FILTER,)) for number in range(5)]
PUBLISHER = Login("publisher", new_secret(), ())


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """A broker that lets five speakers read and one publisher write the topic."""
    tmp_path.chmod(0o711)
    logins = [BrokerLogin.with_secret(s.name, s.secret, read=(FILTER,)) for s in SPEAKERS]
    writer = BrokerLogin.with_secret(PUBLISHER.name, PUBLISHER.secret, write=(TOPIC,))
    with Mosquitto(tmp_path / "broker") as mosquitto:
        yield mosquitto.start([*logins, writer])


def test_message_counts_once_every_connection_of_every_process_holds_its_bytes(port: int) -> None:
    payloads = [b"first" * 400, b"second"]
    with Crowd(port, SPEAKERS, each=2) as crowd, Plain(port, PUBLISHER.name, PUBLISHER.secret) as publisher:
        for payload in payloads:
            publisher.publish(wire.publish(TOPIC, payload, 1, retain=True))
            held = crowd.holds(TOPIC)
            assert (held.topic, held.sha256) == (TOPIC, hashlib.sha256(payload).hexdigest())
            assert held.first_ns <= held.last_ns


def test_crowd_with_a_wrong_secret_fails_with_the_brokers_reason(port: int) -> None:
    stranger = Login("sp-0", new_secret(), (FILTER,))
    with pytest.raises(BenchFailed, match="refused sp-0 with reason 0x87"):
        Crowd(port, [*SPEAKERS[1:], stranger])


def test_publisher_without_the_right_is_refused(port: int) -> None:
    with Plain(port, PUBLISHER.name, PUBLISHER.secret) as publisher, pytest.raises(BenchFailed):
        publisher.publish(wire.publish("tocsin/v1/keys", b"false", 1))


def test_message_that_nobody_is_subscribed_to_is_not_taken_for_queued(port: int) -> None:
    with Plain(port, PUBLISHER.name, PUBLISHER.secret) as publisher, pytest.raises(BenchFailed, match="0x10"):
        publisher.publish_all([(TOPIC, b"nobody")])
