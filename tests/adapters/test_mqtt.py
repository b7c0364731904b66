"""The connection by which the dispatcher speaks, against a real Mosquitto that comes and goes."""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from services.dispatcher.adapters import broker, mqtt
from services.dispatcher.adapters.mqtt import Delivery, MqttLink
from services.dispatcher.engine.relay import CarryFailed
from services.dispatcher.processes.children import Mosquitto, free_port

SECRET = broker.new_secret()
LOGINS = [broker.gateway_login("gw-0", broker.hash_secret(SECRET))]
TOPIC = "tocsin/v1/speaker/sp-1/config"
WITHIN_S = 30
DESCRIPTORS = 1_200
SELECT_MAX = 1_023


@pytest.fixture(autouse=True)
def _tries_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "RECONNECT_MIN_S", 0.01)
    monkeypatch.setattr(mqtt, "RECONNECT_MAX_S", 0.01)
    monkeypatch.setattr(mqtt, "PUBACK_TIMEOUT_S", WITHIN_S)


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as started:
        started.start(LOGINS)
        yield started


class Link:
    """A link that tells when it is connected and what it hears on `TOPIC`."""

    def __init__(self, port: int, secret: str = SECRET) -> None:
        self.connections: queue.Queue[bool] = queue.Queue()
        self.heard: queue.Queue[Delivery] = queue.Queue()
        self.link = MqttLink("gw-0", secret, [(TOPIC, 1)], self.heard.put, lambda: self.connections.put(True))
        self.link.start("127.0.0.1", port)

    def connected(self) -> MqttLink:
        """The link, once it is connected anew."""
        assert self.connections.get(timeout=WITHIN_S)
        return self.link

    def hears(self) -> bytes:
        delivery = self.heard.get(timeout=WITHIN_S)
        delivery.ack()
        return delivery.payload


@contextmanager
def linked(port: int | None) -> Iterator[Link]:
    assert port is not None
    made = Link(port)
    try:
        yield made
    finally:
        made.link.stop()


@contextmanager
def many_descriptors() -> Iterator[None]:
    """As many open descriptors as a gateway with a thousand fire panels has."""
    with ExitStack() as held:
        for _ in range(DESCRIPTORS):
            held.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


def test_link_speaks_and_hears_above_the_descriptors_that_select_knows(mosquitto: Mosquitto) -> None:
    with many_descriptors(), linked(mosquitto.port) as made:
        with socket.socket() as next_one:
            assert next_one.fileno() > SELECT_MAX
        made.connected().publish(TOPIC, b"1")
        assert made.hears() == b"1"


def test_link_that_loses_its_broker_finds_it_again_above_the_descriptors_that_select_knows(
    mosquitto: Mosquitto,
) -> None:
    with linked(mosquitto.port) as made:
        made.connected().publish(TOPIC, b"before")
        assert made.hears() == b"before"
        mosquitto.stop()
        with pytest.raises(CarryFailed):
            for _ in range(100_000):
                made.link.publish_soon("tocsin/v1/keys", b"is anybody there", qos=0)
        with many_descriptors():
            mosquitto.start(LOGINS)
            made.connected().publish(TOPIC, b"after")
            # What the broker had no acknowledgement of before it went comes again first.
            heard = made.hears()
            assert (made.hears() if heard == b"before" else heard) == b"after"


def test_link_waits_for_a_broker_that_is_not_there_yet(tmp_path: Path) -> None:
    port = free_port()
    with linked(port) as made:
        with pytest.raises(CarryFailed):
            made.link.publish(TOPIC, b"nobody is there")
        with Mosquitto(tmp_path / "broker", port=port) as mosquitto:
            mosquitto.start(LOGINS)
            made.connected().publish(TOPIC, b"1")
            assert made.hears() == b"1"


def test_link_with_a_wrong_secret_never_connects_and_says_so_once(
    mosquitto: Mosquitto, capsys: pytest.CaptureFixture[str]
) -> None:
    assert mosquitto.port is not None
    refused = Link(mosquitto.port, broker.new_secret())
    with linked(mosquitto.port) as other:
        other.connected()
    assert not refused.link.connected
    with pytest.raises(CarryFailed):
        refused.link.publish(TOPIC, b"1")
    refused.link.stop()
    assert capsys.readouterr().out.count("refuses the connection") <= 1


def test_messages_of_many_threads_are_all_acknowledged(mosquitto: Mosquitto) -> None:
    with linked(mosquitto.port) as made:
        link = made.connected()

        def speak(number: int) -> None:
            for finish in [link.publish_soon(TOPIC, b"%d/%d" % (number, turn)) for turn in range(100)]:
                finish()

        with ThreadPoolExecutor(8) as threads:
            list(threads.map(speak, range(8)))
        said = {made.hears() for _ in range(800)}
    assert said == {b"%d/%d" % (number, turn) for number in range(8) for turn in range(100)}


def test_what_a_link_hears_before_it_has_acknowledged_comes_again(mosquitto: Mosquitto) -> None:
    with linked(mosquitto.port) as made:
        made.connected().publish(TOPIC, b"1")
        assert made.heard.get(timeout=WITHIN_S).payload == b"1"
    with linked(mosquitto.port) as again:
        assert again.hears() == b"1"


@contextmanager
def deaf_broker() -> Iterator[int]:
    """A broker that lets everybody in and then answers nothing."""
    with ExitStack() as open_ones, socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            open_ones.enter_context(connection)
            connection.recv(4_096)
            # CONNACK with success and no properties.
            connection.sendall(b"\x20\x03\x00\x00\x00")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(WITHIN_S)


def test_messages_that_nobody_acknowledges_fail_together_when_their_time_is_over(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mqtt, "PUBACK_TIMEOUT_S", 0.05)
    monkeypatch.setattr(mqtt, "LEAVE_WITHIN_S", 0.05)
    with deaf_broker() as port, linked(port) as made:
        link = made.connected()
        under_way = [link.publish_soon(TOPIC, b"1") for _ in range(100)]
        for finish in under_way:
            with pytest.raises(CarryFailed) as failed:
                finish()
            assert failed.value.again


def test_link_that_breaks_says_so_and_is_not_alive(mosquitto: Mosquitto) -> None:
    assert mosquitto.port is not None
    broken: queue.Queue[bool] = queue.Queue()

    def breaks(delivery: Delivery) -> None:
        broken.put(True)
        raise ZeroDivisionError

    with linked(mosquitto.port) as made:
        made.connected().publish(TOPIC, b"1", retain=True)
        assert made.link.alive
    link = MqttLink("gw-0", SECRET, [(TOPIC, 1)], breaks)
    link.start("127.0.0.1", mosquitto.port)
    assert broken.get(timeout=WITHIN_S)
    link.stop()
    assert (link.alive, link.connected) == (False, False)


def test_link_that_has_left_says_nothing_more(mosquitto: Mosquitto) -> None:
    with linked(mosquitto.port) as made:
        link = made.connected()
    assert not link.connected
    with pytest.raises(CarryFailed):
        link.publish(TOPIC, b"1")


CONNACK, SAYS_TAKEN, SAYS_BUSY = b"\x20\x03\x00\x00\x00", b"\xe0\x02\x8e\x00", b"\xe0\x02\x89\x00"


@pytest.mark.parametrize(("says", "told"), [(SAYS_TAKEN, [True]), (SAYS_BUSY, []), (b"", [])])
def test_link_is_told_when_the_broker_says_that_another_client_has_its_id(says: bytes, told: list[bool]) -> None:
    heard: queue.Queue[bool] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        link = MqttLink("gw-0", SECRET, [], lambda delivery: None, lambda: None, heard.put)
        link.start("127.0.0.1", listening.getsockname()[1])
        connection, _ = listening.accept()
        with connection:
            connection.recv(4_096)
            connection.sendall(CONNACK + says)
        # The next connection begins when all of this one is over.
        again, _ = listening.accept()
        again.close()
        link.stop()
    assert [heard.get_nowait() for _ in range(heard.qsize())] == told


def test_link_that_is_hung_up_on_and_let_in_again_is_told_so(mosquitto: Mosquitto) -> None:
    heard: queue.Queue[bool] = queue.Queue()
    assert mosquitto.port is not None
    with linked(mosquitto.port) as thief:
        thief.connected()
        link = MqttLink("gw-0", SECRET, [], lambda delivery: None, lambda: None, heard.put)
        link.start("127.0.0.1", mosquitto.port)
        try:
            # A newer Mosquitto says why it ends a connection, an older one only ends it.
            assert heard.get(timeout=WITHIN_S) in (True, False)
        finally:
            link.stop()
