"""The broker's files, and a real Mosquitto that obeys them."""

from __future__ import annotations

import base64
import hashlib
import os
import queue
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.dispatcher.adapters import broker
from services.dispatcher.adapters.broker import BrokerLogin, LoginRefused
from services.dispatcher.processes.children import Mosquitto

AREA = "210202001000"
OTHER_AREA = "210203001000"
ANSWER_WITHIN_S = 30

SECRETS = {name: broker.new_secret() for name in ("gw-0", "sp-1", "sp-2")}
HASHES = {name: broker.hash_secret(secret) for name, secret in SECRETS.items()}
GATEWAY = broker.gateway_login("gw-0", HASHES["gw-0"])
SPEAKER_1 = broker.speaker_login("sp-1", HASHES["sp-1"], [OTHER_AREA])
SPEAKER_2 = broker.speaker_login("sp-2", HASHES["sp-2"], [AREA])
LOGINS = [SPEAKER_1, SPEAKER_2, GATEWAY]


class Heard(NamedTuple):
    topic: str
    payload: bytes


class Client:
    """A paho client whose callbacks end in queues, so that a test waits for what it expects."""

    def __init__(self, port: int, name: str, *, session: bool = False, client_id: str = "") -> None:
        self.heard: queue.Queue[Heard] = queue.Queue()
        self.answers: queue.Queue[str] = queue.Queue()
        self.closed: queue.Queue[str] = queue.Queue()
        self.paho = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=client_id or name, protocol=mqtt.MQTTv5)
        self.paho.username_pw_set(name, SECRETS[name])
        self.paho.on_message = lambda client, data, message: self.heard.put(
            Heard(message.topic, bytes(message.payload))
        )
        self.paho.on_connect = lambda client, data, flags, reason, properties: self.answers.put(str(reason))
        self.paho.on_subscribe = lambda client, data, mid, reasons, properties: self.answers.put(str(reasons[0]))
        self.paho.on_publish = lambda client, data, mid, reason, properties: self.answers.put(str(reason))
        self.paho.on_disconnect = lambda client, data, flags, reason, properties: self.closed.put(str(reason))
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        if session:
            properties.SessionExpiryInterval = 3600
        self.paho.connect("127.0.0.1", port, clean_start=not session, properties=properties)
        self.paho.loop_start()
        assert self.answer() == "Success"

    def answer(self) -> str:
        return self.answers.get(timeout=ANSWER_WITHIN_S)

    def subscribe(self, *topics: str) -> None:
        for topic in topics:
            self.paho.subscribe(topic, qos=1)
            assert self.answer() == "Granted QoS 1"

    def publish(self, topic: str, payload: bytes, **options: Any) -> str:
        """The reason code of the broker's acknowledgement in words."""
        self.paho.publish(topic, payload, qos=1, **options)
        return self.answer()

    def next(self) -> Heard:
        return self.heard.get(timeout=ANSWER_WITHIN_S)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()


@contextmanager
def connected(port: int, name: str, *, session: bool = False, client_id: str = "") -> Iterator[Client]:
    client = Client(port, name, session=session, client_id=client_id)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as mosquitto:
        yield mosquitto.start(LOGINS)


def test_hash_is_the_form_mosquitto_reads() -> None:
    secret = broker.new_secret()
    _, form, iterations, salt, digest = broker.hash_secret(secret).split("$")
    expected = hashlib.pbkdf2_hmac("sha512", secret.encode(), base64.b64decode(salt), 1)
    assert (form, iterations, base64.b64decode(digest)) == ("7", "1", expected)


def test_same_secret_hashed_twice_gives_two_hashes() -> None:
    secret = broker.new_secret()
    assert broker.hash_secret(secret) != broker.hash_secret(secret)


def test_secret_that_a_person_could_have_chosen_is_refused() -> None:
    with pytest.raises(LoginRefused, match=r"^A broker secret has at least 43 random characters\.$") as refused:
        broker.hash_secret("correct horse battery staple")
    assert refused.value.code == "short_secret"


@pytest.mark.parametrize("name", ["", "sp 1", "sp-1\nuser gw-0", "sp:1", "SP-1", "sp/1", "终端", "s" * 33, "sp-1\n"])
def test_name_that_could_change_a_line_is_refused(name: str) -> None:
    with pytest.raises(LoginRefused) as refused:
        BrokerLogin(name, HASHES["sp-1"])
    assert refused.value.code == "bad_name"


@pytest.mark.parametrize(
    "topic", ["", "a\ntopic read #", "a b", "a/#/b", "a+", "%u/x", "a//b", "a\x00", "a/b#", "t" * 201]
)
def test_topic_that_could_change_a_line_is_refused(topic: str) -> None:
    for rights in ({"read": (topic,)}, {"write": (topic,)}):
        with pytest.raises(LoginRefused) as refused:
            BrokerLogin("sp-1", HASHES["sp-1"], **rights)
        assert refused.value.code == "bad_topic"


@pytest.mark.parametrize(
    "hashed", ["", "plain", "$6$c2FsdA==$aGFzaA==", HASHES["sp-1"] + "\n", "$7$0$" + HASHES["sp-1"][5:]]
)
def test_hash_that_mosquitto_would_misread_is_refused(hashed: str) -> None:
    with pytest.raises(LoginRefused) as refused:
        BrokerLogin("sp-1", hashed)
    assert refused.value.code == "bad_hash"


def test_login_with_too_many_topics_is_refused() -> None:
    with pytest.raises(LoginRefused) as refused:
        broker.speaker_login("sp-1", HASHES["sp-1"], [AREA] * 65)
    assert refused.value.code == "too_many"


def test_two_logins_of_one_name_are_refused() -> None:
    with pytest.raises(LoginRefused, match=r"^The login name sp-1 stands twice\.$") as refused:
        broker.password_lines([SPEAKER_1, SPEAKER_2, SPEAKER_1])
    assert refused.value.code == "duplicate"


def test_more_logins_than_one_broker_takes_are_refused() -> None:
    with pytest.raises(LoginRefused) as refused:
        broker.password_lines([SPEAKER_1] * (broker.LOGINS_MAX + 1))
    assert refused.value.code == "too_many"


def test_access_list_states_own_branches_once_and_writers_first() -> None:
    department = BrokerLogin(
        "dept-1", HASHES["sp-1"], read=("tocsin/v1/office/210202/task", f"tocsin/v1/area/{AREA}/#")
    )
    sensor = BrokerLogin("sensor-1", HASHES["sp-1"], write=("tocsin/v1/sensor/sensor-1/+",))
    nothing = BrokerLogin("sp-9", HASHES["sp-1"])
    assert broker.access_lines([department, sensor, nothing]).splitlines() == [
        "pattern read tocsin/v1/keys",
        "pattern read tocsin/v1/speaker/%u/config",
        "pattern read tocsin/v1/speaker/%u/hello/answer",
        "pattern read tocsin/v1/speaker/%u/ask",
        "pattern read tocsin/v1/speaker/%u/manifest/+/+",
        "pattern write tocsin/v1/speaker/%u/state",
        "pattern write tocsin/v1/speaker/%u/receipt",
        "pattern write tocsin/v1/speaker/%u/hello",
        "pattern write tocsin/v1/speaker/%u/answer",
        "user sensor-1",
        "topic write tocsin/v1/sensor/sensor-1/+",
        "user dept-1",
        "topic read tocsin/v1/office/210202/task",
        "user dept-1",
        f"topic read tocsin/v1/area/{AREA}/#",
    ]


def test_files_with_hashes_and_rights_are_for_their_owner_alone(tmp_path: Path) -> None:
    broker.write_login_files(tmp_path, LOGINS, None)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        "passwords": 0o600,
        "access": 0o600,
    }


def test_right_secret_is_let_in_and_wrong_ones_are_not(port: int) -> None:
    verdicts = {
        "right": broker.connects(port, "sp-1", SECRETS["sp-1"]),
        "another speaker's": broker.connects(port, "sp-1", SECRETS["sp-2"]),
        "empty": broker.connects(port, "sp-1", ""),
        "unknown name": broker.connects(port, "sp-3", SECRETS["sp-1"]),
        "anonymous": broker.connects(port, "", ""),
    }
    assert verdicts == {
        "right": True,
        "another speaker's": False,
        "empty": False,
        "unknown name": False,
        "anonymous": False,
    }


@pytest.mark.parametrize(
    "topic",
    [
        "tocsin/v1/speaker/sp-1/receipt",
        "tocsin/v1/speaker/sp-1/state",
        "tocsin/v1/speaker/sp-22/state",
        "tocsin/v1/speaker/sp-2/config",
        "tocsin/v1/speaker/sp-2/manifest/actual/city",
        f"tocsin/v1/area/{AREA}/manifest/actual/city",
        f"tocsin/v1/area/{AREA}/live",
        "tocsin/v1/keys",
        "tocsin/v1/canary/actual-city-1",
    ],
)
@pytest.mark.parametrize("retain", [False, True])
def test_speaker_cannot_publish_on_a_branch_that_is_not_its_own(port: int, topic: str, retain: bool) -> None:
    with connected(port, "gw-0") as gateway:
        gateway.subscribe("tocsin/v1/#")
        with connected(port, "sp-2") as speaker:
            assert speaker.publish(topic, b"forged", retain=retain) == "Not authorized"
        with connected(port, "sp-2") as speaker:
            assert speaker.publish("tocsin/v1/speaker/sp-2/receipt", b"own") == "Success"
        assert gateway.next() == Heard("tocsin/v1/speaker/sp-2/receipt", b"own")


def test_speaker_hears_its_own_branches_and_areas_whatever_it_subscribes_to(port: int) -> None:
    with connected(port, "gw-0") as gateway, connected(port, "sp-2") as speaker:
        speaker.subscribe("#", "tocsin/v1/speaker/sp-1/config", f"tocsin/v1/area/{OTHER_AREA}/manifest/+/+")
        kept_from_it = [
            "tocsin/v1/speaker/sp-1/config",
            "tocsin/v1/speaker/sp-1/manifest/actual/city",
            "tocsin/v1/speaker/sp-1/hello/answer",
            f"tocsin/v1/area/{OTHER_AREA}/manifest/actual/city",
            f"tocsin/v1/area/{OTHER_AREA}/live",
        ]
        meant_for_it = [
            "tocsin/v1/keys",
            "tocsin/v1/speaker/sp-2/config",
            "tocsin/v1/speaker/sp-2/manifest/actual/city",
            "tocsin/v1/speaker/sp-2/hello/answer",
            f"tocsin/v1/area/{AREA}/manifest/actual/city",
            f"tocsin/v1/area/{AREA}/live",
        ]
        for topic in kept_from_it + meant_for_it:
            assert gateway.publish(topic, b"x") in ("Success", "No matching subscribers")
        assert [speaker.next().topic for _ in meant_for_it] == meant_for_it
        assert speaker.heard.empty()


def test_canaries_go_from_gateway_to_gateway_and_to_nobody_else(port: int) -> None:
    topic = "tocsin/v1/canary/actual-city-1"
    with connected(port, "gw-0") as gateway, connected(port, "sp-2") as speaker:
        gateway.subscribe("tocsin/v1/canary/+")
        speaker.subscribe("#", "tocsin/v1/canary/+", topic)
        assert gateway.publish(topic, b"canary") == "Success"
        assert gateway.next() == Heard(topic, b"canary")
        gateway.publish("tocsin/v1/speaker/sp-2/ask", b"own")
        assert speaker.next() == Heard("tocsin/v1/speaker/sp-2/ask", b"own")


def test_speaker_does_not_get_another_speakers_retained_config(port: int) -> None:
    with connected(port, "gw-0") as gateway, connected(port, "sp-2") as speaker:
        for name in ("sp-1", "sp-2"):
            gateway.publish(f"tocsin/v1/speaker/{name}/config", name.encode(), retain=True)
        speaker.subscribe("tocsin/v1/speaker/sp-1/config", "tocsin/v1/speaker/sp-2/config")
        assert speaker.next() == Heard("tocsin/v1/speaker/sp-2/config", b"sp-2")
        for name in ("sp-1", "sp-2"):
            gateway.publish(f"tocsin/v1/speaker/{name}/config", b"", retain=True)


def test_retained_manifest_and_waiting_receipts_survive_a_restart(tmp_path: Path) -> None:
    manifest = f"tocsin/v1/area/{AREA}/manifest/actual/city"
    with Mosquitto(tmp_path / "broker") as mosquitto:
        port = mosquitto.start(LOGINS)
        with connected(port, "gw-0", session=True) as gateway:
            gateway.subscribe("tocsin/v1/speaker/+/receipt")
            gateway.publish(manifest, b"signed", retain=True)
        with connected(port, "sp-2") as speaker:
            for number in range(300):
                speaker.publish("tocsin/v1/speaker/sp-2/receipt", b"%d" % number)
        mosquitto.stop()

        assert mosquitto.start(LOGINS) == port
        with connected(port, "gw-0", session=True) as gateway, connected(port, "sp-2") as speaker:
            speaker.subscribe(manifest)
            assert speaker.next() == Heard(manifest, b"signed")
            assert [gateway.next().payload for _ in range(300)] == [b"%d" % number for number in range(300)]


def test_speaker_that_calls_itself_gw_0_neither_puts_the_gateway_out_nor_gets_what_waits_for_it(port: int) -> None:
    receipts = "tocsin/v1/speaker/+/receipt"
    with connected(port, "gw-0", session=True) as gateway:
        gateway.subscribe(receipts)
        with connected(port, "sp-1", session=True, client_id="gw-0") as impostor:
            assert impostor.publish("tocsin/v1/speaker/sp-1/receipt", b"1") == "Success"
            assert gateway.next().payload == b"1"
            assert (gateway.closed.empty(), impostor.closed.empty()) == (True, True)
    with connected(port, "sp-1") as speaker:
        speaker.publish("tocsin/v1/speaker/sp-1/receipt", b"2")
    # Also while the gateway is away its session is its own.
    with connected(port, "sp-1", session=True, client_id="gw-0") as impostor:
        impostor.subscribe("tocsin/v1/keys")
    with connected(port, "sp-1", client_id="gw-0"):
        pass
    with connected(port, "gw-0", session=True) as gateway:
        assert gateway.next() == Heard("tocsin/v1/speaker/sp-1/receipt", b"2")
    with connected(port, "gw-0"):
        pass


def test_name_has_one_connection_at_a_time_whatever_ids_it_asks_for(port: int) -> None:
    with connected(port, "sp-1") as first, connected(port, "sp-1", client_id="another") as second:
        assert first.closed.get(timeout=ANSWER_WITHIN_S)
        assert second.publish("tocsin/v1/speaker/sp-1/receipt", b"own") in ("Success", "No matching subscribers")


def test_queue_of_an_absent_gateway_is_bounded_by_bytes(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", queued_bytes_max=50_000) as mosquitto:
        port = mosquitto.start(LOGINS)
        with connected(port, "gw-0", session=True) as gateway:
            gateway.subscribe("tocsin/v1/speaker/+/receipt")
        with connected(port, "sp-2") as speaker:
            for number in range(200):
                speaker.publish("tocsin/v1/speaker/sp-2/receipt", b"%03d" % number + b"." * 997)
        with connected(port, "gw-0", session=True) as gateway, connected(port, "sp-2") as speaker:
            first = gateway.next().payload[:3]
            speaker.publish("tocsin/v1/speaker/sp-2/receipt", b"end")
            kept = [first]
            while kept[-1] != b"end":
                kept.append(gateway.next().payload[:3])
    assert kept == [b"%03d" % number for number in range(len(kept) - 1)] + [b"end"]
    assert len(kept) - 1 == 50


def test_reload_lets_new_logins_in_and_puts_removed_ones_out(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker") as mosquitto:
        port = mosquitto.start([GATEWAY, SPEAKER_1])
        assert broker.connects(port, "sp-2", SECRETS["sp-2"]) is False
        with connected(port, "sp-1") as leaving, connected(port, "gw-0") as staying:
            mosquitto.reload([GATEWAY, SPEAKER_2])
            assert leaving.closed.get(timeout=ANSWER_WITHIN_S)
            staying.subscribe("tocsin/v1/speaker/+/state")
        assert broker.connects(port, "sp-1", SECRETS["sp-1"]) is False
        assert broker.connects(port, "sp-2", SECRETS["sp-2"]) is True


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has another account to give")
def test_mosquitto_never_runs_as_root_and_needs_no_way_through_closed_folders(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Mosquitto(closed / "broker") as mosquitto:
        mosquitto.start(LOGINS)
        assert mosquitto.child is not None
        assert os.stat(f"/proc/{mosquitto.child.pid}").st_uid != 0
