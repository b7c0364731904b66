"""The dispatcher's end of the link: publishes signed documents, answers hellos, keeps what speakers say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from devices.protocols.documents import HelloAnswer, Manifest, Order, Receipt, SpeakerState
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    config_topic,
    decode_hello,
    decode_receipt,
    decode_state,
    hello_answer_topic,
    manifest_topic,
    sign,
)
from devices.speaker.loop import Loop
from tests.devices.speaker.world import ACTUAL, CITY, CLOCK, CONFIG, HOUR, KEYS, ROOT, SETUP, SPEAKER, S

ROUNDS_MAX = 30_000


class Desk:
    """Runs in the loop of the agent under test; its clock is the machine's."""

    def __init__(self, loop: Loop, port: int, secret: str) -> None:
        self._loop = loop
        self.receipts: list[Receipt] = []
        self.states: list[SpeakerState] = []
        self.answers: list[bytes] = []
        self.hellos = 0
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, "desk", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.username_pw_set("desk", secret)
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.subscribe("tocsin/v1/speaker/#", qos=1)
        self._watch()

    def _watch(self) -> None:
        sock = self.client.socket()
        if sock is not None:
            self._loop.watch(sock, self._read, self._write if self.client.want_write() else None)  # type: ignore[arg-type]

    def _read(self) -> None:
        self.client.loop_read()
        self._watch()

    def _write(self) -> None:
        self.client.loop_write()
        self._watch()

    def _message(self, client: mqtt.Client, userdata: Any, message: mqtt.MQTTMessage) -> None:
        branch = message.topic.split("/", 4)[4]
        payload = bytes(message.payload)
        match branch:
            case "receipt":
                self.receipts.append(decode_receipt(payload))
            case "state":
                self.states.append(decode_state(payload))
            case "hello":
                self.hellos += 1
                answer = HelloAnswer(decode_hello(payload), self._loop.wall_us(), {})
                self.publish(hello_answer_topic(SPEAKER), sign(answer, CLOCK), retain=False)
            case "answer":
                self.answers.append(payload)

    def publish(self, topic: str, payload: bytes, retain: bool = True) -> None:
        self.client.publish(topic, payload, qos=1, retain=retain)
        self._watch()

    def set_up(self) -> None:
        self.publish(KEYS_TOPIC, sign(KEYS, ROOT))
        self.publish(config_topic(SPEAKER), sign(SETUP, CONFIG))

    def order(self, order: Order) -> None:
        """A manifest of this one order, from now for an hour."""
        now_us = self._loop.wall_us()
        order = replace(order, start_at=now_us, expires=now_us + HOUR)
        topic = manifest_topic(CITY, "actual", "city")
        manifest = Manifest(topic, now_us // 1_000, now_us, now_us + 60 * S, "", (order,))
        self.publish(topic, sign(manifest, ACTUAL))

    def steps(self, order: str) -> list[str]:
        unique = {(r.journal, r.seq): r for r in self.receipts if r.order == order}
        return [step.kind + (f":{step.reason}" if step.reason else "") for r in unique.values() for step in r.steps]

    def close(self) -> None:
        sock = self.client.socket()
        if sock is not None:
            self._loop.forget(sock)  # type: ignore[arg-type]
        self.client.disconnect()
