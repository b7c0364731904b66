"""The dispatcher's end of the link on the bench: publishes, answers hellos, and keeps all that the device says."""

from __future__ import annotations

import socket
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
from devices.protocols.speaker_link import HelloAnswer, LinkRefused, Receipt, SpeakerState, Step, StepKind

KEEPALIVE_S = 30
PUBLISH_S_MAX = 10.0
AWAY_S_MAX = 60.0
"""A device that is offline for longer ends the run; a shorter absence gives the check at hand its whole time again."""
QUIET_S = 3.0
"""What has waited so long says what it waits for."""
SESSION_TAKEN_OVER = 0x8E
LOOK_AFTER_S = 0.5
"""A broker that is going down may still take connections for a moment after it ended ours."""
KEPT_MAX = 20_000
UNREAD_MAX = 100


class NoBroker(Exception):
    """The broker cannot be reached, or does not let the runner in."""


class RunStopped(Exception):
    """The run cannot go on. The sentence says why; `by_device` is whether that is the device's doing."""

    def __init__(self, sentence: str, by_device: bool) -> None:
        super().__init__(sentence)
        self.by_device = by_device


@dataclass(frozen=True, slots=True)
class BenchAccount:
    """The runner's account; `speaker_secret` is the device's own, by which its connection can be taken from it.

    `file` is where they stand, for sentences.
    """

    name: str
    secret: str
    speaker_secret: str = ""
    file: str = "login.json"


@dataclass(frozen=True, slots=True)
class StepSaid:
    """One step of an order, with the receipt's revision."""

    rev: int
    step: Step

    def evidence(self, name: str) -> int | str | None:
        return (self.step.evidence or {}).get(name)


class Bench:
    """One connection. What the device says is kept in the order in which it came; `until` waits for it.

    `waits` is told what a long wait is for. After `whole_s_max` the run stops.
    """

    def __init__(
        self,
        host: str,
        port: int,
        login: BenchAccount,
        papers: BenchPapers,
        whole_s_max: float,
        waits: Callable[[str], None] = lambda sentence: None,
        away_s_max: float = AWAY_S_MAX,
    ) -> None:
        self.papers, self.login, self._address = papers, login, (host, port)
        self.receipts: dict[tuple[str, int], tuple[Receipt, bytes]] = {}
        self.repeated: list[bytes] = []
        self.states: list[tuple[float, SpeakerState]] = []
        self.hellos: list[str] = []
        self.answers: list[SpeakerAnswer] = []
        self.unread: list[str] = []
        self.heard_live = False
        self.was_on = False
        self._waits, self._away_s_max, self._whole_s_max = waits, away_s_max, whole_s_max
        self._ends_s = time.monotonic() + whole_s_max
        self._offline_since: tuple[float, str] | None = None
        self._lost = ""
        self._refused: list[str] = []
        self._changed = threading.Condition()
        self._answered = threading.Event()
        self._client = self._new(login.name, login.name, login.secret)
        self._client.on_message = self._message
        self._client.on_disconnect = self._on_disconnect

    def _new(self, client_id: str, name: str, secret: str) -> Client:
        # A runner that came back by itself would take the line from whoever took it, for ever.
        client = Client(
            CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False
        )
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
        answered = self._answered.wait(10)
        if not answered or self._refused:
            self.close()
            if not answered:
                raise NoBroker("The broker took the connection and gave no answer within 10 s.")
            why = self._refused[0]
            raise NoBroker(f"The broker refuses the runner's login (name and secret in {self.login.file}): {why}.")

    def _on_connect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused.append(str(reason))
        else:
            own = (
                f"tocsin/v1/speaker/{self.papers.speaker}/{branch}"
                for branch in ("state", "receipt", "hello", "answer")
            )
            client.subscribe([(topic, 1) for topic in own])
        self._answered.set()

    def _on_disconnect(self, client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        why = self._why_lost(reason)
        with self._changed:
            # The client tells the end of its socket, too, after what the broker gave as the reason.
            self._lost = self._lost or why
            self._changed.notify_all()

    def _why_lost(self, reason: Any) -> str:
        if reason.value == SESSION_TAKEN_OVER:
            return "Another client uses the runner's login: end it and start again."
        time.sleep(LOOK_AFTER_S)
        try:
            socket.create_connection(self._address, 2).close()
        except OSError:
            return f"The runner lost its line to the broker ({reason}), and the broker can't be reached."
        # Not every broker says that a session was taken over.
        return (
            f"The broker is there and ended the runner's line ({reason}), as it does when another client uses the"
            " runner's login: end it and start again."
        )

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, raw: bytes, retain: bool = True) -> None:
        """Raises RunStopped when the line to the broker is gone."""
        try:
            sent, until_s = self._client.publish(topic, raw, 1, retain), time.monotonic() + PUBLISH_S_MAX
            while not (sent.is_published() or self._lost) and time.monotonic() < until_s:
                sent.wait_for_publish(0.2)
        except (RuntimeError, ValueError) as failed:
            with self._changed:
                self._changed.wait_for(lambda: self._lost, LOOK_AFTER_S + 3)
            raise RunStopped(
                self._lost or f"The runner's line to the broker takes nothing more: {failed}.", False
            ) from None

    def until(
        self, holds: Callable[[], object], within_s: float = 15.0, waits_for: str = "", may_be_away: bool = False
    ) -> bool:
        """Wait until it holds; False when it does not within that time.

        While the device says of itself that it is offline nothing can be expected of it: the time begins anew when it
        is back, unless it `may_be_away`. Raises RunStopped when it stays away, when the line to the broker is lost, and
        when the whole run has taken too long.
        """
        began_s = time.monotonic()
        until_s, said = began_s + within_s, not waits_for
        while True:
            with self._changed:
                self._go_on(may_be_away)
                if holds():
                    return True
                now_s = time.monotonic()
                if self._offline_since is not None and not may_be_away:
                    until_s = now_s + within_s
                if until_s <= now_s:
                    return False
                self._changed.wait(min(until_s - now_s, 0.2))
            if not said and time.monotonic() - began_s > QUIET_S:
                said = True
                self._waits(f"{self.papers.speaker} {waits_for}, up to {within_s:.0f} s")

    def _go_on(self, may_be_away: bool) -> None:
        now_s = time.monotonic()
        if self._lost:
            raise RunStopped(self._lost, False)
        if now_s > self._ends_s:
            raise RunStopped(f"The run took more than {self._whole_s_max / 60:.0f} minutes.", False)
        if self._offline_since is not None and not may_be_away and now_s - self._offline_since[0] > self._away_s_max:
            raise RunStopped(
                f"{self.papers.speaker} went offline at {self._offline_since[1]} and did not come back within"
                f" {self._away_s_max:.0f} s.",
                True,
            )

    def quiet_for(self, seconds: float) -> None:
        self.until(lambda: False, seconds)

    def _message(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        branch, raw = message.topic.split("/", 4)[4], bytes(message.payload)
        with self._changed:
            self.heard_live = self.heard_live or not message.retain
            try:
                self._take(branch, raw, message.retain)
            except LinkRefused as refused:
                self.unread = [*self.unread, f"{branch}: {refused.detail or refused.reason}"][:UNREAD_MAX]
            self._changed.notify_all()

    def _take(self, branch: str, raw: bytes, retained: bool) -> None:
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
                state = link.decode_state(raw)
                self.states.append((time.monotonic(), state))
                self.was_on = self.was_on or (retained and state.online)
                if state.online:
                    self._offline_since = None
                elif self._offline_since is None:
                    self._offline_since = time.monotonic(), time.strftime("%H:%M:%S")
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

    def said(self, order: str, kind: StepKind | None = None) -> list[StepSaid]:
        """The steps of an order in the order of their numbers."""
        letters = sorted((key, receipt) for key, (receipt, _) in self.receipts.items() if receipt.order == order)
        steps = [StepSaid(receipt.rev, step) for _, receipt in letters for step in receipt.steps]
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

    def take_its_place(self) -> bool | str:
        """Connect under the device's name, which ends its connection, and leave at once.

        Whether the broker kept a session of the device (one that uses no MQTT property leaves none); or a sentence why
        the line could not be taken.
        """
        answers: list[bool | str] = []

        def answered(client: Client, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
            answers.append(str(reason) if reason.is_failure else bool(flags.session_present))

        other = self._new(self.papers.speaker, self.papers.speaker, self.login.speaker_secret)
        other.on_connect = answered
        try:
            other.connect(*self._address, KEEPALIVE_S, clean_start=False)
        except OSError as failed:
            return f"The broker cannot be reached for the device's own login: {failed}."
        until_s = time.monotonic() + 5
        while not answers and time.monotonic() < until_s:
            other.loop(0.1)
        other.disconnect()
        other.loop(0.1)
        if not answers:
            return "The broker gave no answer to the device's own login."
        if isinstance(answers[0], str):
            where = f"speaker_secret in {self.login.file}"
            return f"The broker refuses the device's own login ({where}): its line can't be taken."
        return answers[0]
