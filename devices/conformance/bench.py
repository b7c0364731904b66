"""The dispatcher's end of the link on the bench: publishes, answers hellos, and keeps all that the device says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from devices.conformance.papers import BenchPapers, now_us
from devices.protocols import asking
from devices.protocols import speaker_link as link
from devices.protocols.asking import SpeakerAnswer
from devices.protocols.speaker_link import HelloAnswer, Receipt, Refused, SpeakerState, Step, StepKind

KEEPALIVE_S = 30
KEPT_MAX = 20_000
UNREAD_MAX = 100


class NoBroker(Exception):
    """The broker cannot be reached, or does not let the runner in."""


@dataclass(frozen=True, slots=True)
class BenchAccount:
    """The runner's account; `speaker_secret` is the device's own, by which its connection can be taken from it."""

    name: str
    secret: str
    speaker_secret: str = ""


@dataclass(frozen=True, slots=True)
class Said:
    """One step of an order, with the receipt's revision."""

    rev: int
    step: Step

    def evidence(self, name: str) -> int | str | None:
        return (self.step.evidence or {}).get(name)


class Bench:
    """One connection. What the device says is kept in the order in which it came; `until` waits for it."""

    def __init__(self, host: str, port: int, login: BenchAccount, papers: BenchPapers, whole_s_max: float) -> None:
        self.papers, self.login, self._address = papers, login, (host, port)
        self.receipts: dict[tuple[str, int], tuple[Receipt, bytes]] = {}
        self.repeated: list[bytes] = []
        self.states: list[tuple[float, SpeakerState]] = []
        self.hellos: list[str] = []
        self.answers: list[SpeakerAnswer] = []
        self.unread: list[str] = []
        self._ends_s = time.monotonic() + whole_s_max
        self._changed = threading.Condition()
        self._connected = threading.Event()
        self._client = self._new(login.name, login.name, login.secret)
        self._client.on_message = self._message

    def _new(self, client_id: str, name: str, secret: str) -> Client:
        client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set(name, secret)
        return client

    def open(self) -> None:
        """Connect and listen to the device alone. Raises NoBroker."""
        self._client.on_connect = self._on_connect
        try:
            self._client.connect(*self._address, KEEPALIVE_S)
        except OSError as failed:
            raise NoBroker(f"The broker cannot be reached: {failed}.") from failed
        self._client.loop_start()
        if not self._connected.wait(10):
            self.close()
            raise NoBroker("The broker does not let the runner in.")

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if not reason.is_failure:
            own = (
                f"tocsin/v1/speaker/{self.papers.speaker}/{branch}"
                for branch in ("state", "receipt", "hello", "answer")
            )
            client.subscribe([(topic, 1) for topic in own])
            self._connected.set()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, raw: bytes, retain: bool = True) -> None:
        self._client.publish(topic, raw, 1, retain).wait_for_publish(10)

    def until(self, holds: Callable[[], object], within_s: float = 15.0) -> bool:
        """Wait until it holds; False when it does not within that time, or the whole run has taken too long."""
        until_s = min(time.monotonic() + within_s, self._ends_s)
        with self._changed:
            while not holds():
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    return False
                self._changed.wait(min(left_s, 0.2))
        return True

    def quiet_for(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def _message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        branch, raw = message.topic.split("/", 4)[4], bytes(message.payload)
        with self._changed:
            try:
                self._take(branch, raw)
            except Refused as refused:
                self.unread = [*self.unread, f"{branch}: {refused.detail or refused.reason}"][:UNREAD_MAX]
            self._changed.notify_all()

    def _take(self, branch: str, raw: bytes) -> None:
        if len(self.receipts) + len(self.states) + len(self.repeated) + len(self.hellos) > KEPT_MAX:
            return
        match branch:
            case "receipt":
                receipt = link.decode_receipt(raw)
                key = receipt.journal, receipt.seq
                if key in self.receipts:
                    self.repeated.append(raw)
                self.receipts.setdefault(key, (receipt, raw))
            case "state":
                self.states.append((time.monotonic(), link.decode_state(raw)))
            case "hello":
                nonce = link.decode_hello(raw)
                self.hellos.append(nonce)
                answer = link.sign(HelloAnswer(nonce, now_us(), dict(self.papers.held)), self.papers.keys["clock"])
                self._client.publish(link.hello_answer_topic(self.papers.speaker), answer, 1)
            case _:
                self.answers.append(asking.decode_answer(raw))

    # What was said

    @property
    def state(self) -> SpeakerState | None:
        """The newest one."""
        return self.states[-1][1] if self.states else None

    def said(self, order: str, kind: StepKind | None = None) -> list[Said]:
        """The steps of an order in the order of their numbers."""
        letters = sorted((key, receipt) for key, (receipt, _) in self.receipts.items() if receipt.order == order)
        steps = [Said(receipt.rev, step) for _, receipt in letters for step in receipt.steps]
        return [each for each in steps if kind is None or each.step.kind is kind]

    def has(self, order: str, kind: StepKind, reason: str = "", repeat: int = 0) -> bool:
        """Whether an order has such a step, with this reason and repeat where they are given."""
        return any(
            (not reason or each.step.reason == reason) and (not repeat or each.evidence("repeat") == repeat)
            for each in self.said(order, kind)
        )

    def refusals(self, topic: str) -> list[str]:
        """Why documents of a topic were refused."""
        said = [receipt for receipt, _ in self.receipts.values() if receipt.stream == topic]
        return [step.reason for receipt in said for step in receipt.steps]

    def take_its_place(self) -> bool:
        """Connect under the device's name, which ends its connection, and leave at once. Whether the broker kept a
        session of the device: one that uses no MQTT property leaves none."""
        kept: list[bool] = []
        other = self._new(self.papers.speaker, self.papers.speaker, self.login.speaker_secret)
        other.on_connect = lambda client, userdata, flags, reason, properties: kept.append(flags.session_present)
        other.connect(*self._address, KEEPALIVE_S, clean_start=False)
        until_s = time.monotonic() + 5
        while not kept and time.monotonic() < until_s:
            other.loop(0.1)
        other.disconnect()
        other.loop(0.1)
        return any(kept)
