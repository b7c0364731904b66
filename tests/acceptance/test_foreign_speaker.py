"""Another maker's speaker among ours on a running system, and every message on the broker held against the page."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from devices.protocols import asking, speaker_link
from devices.protocols.asking import Ask, AskKind
from services.dispatcher.processes import up
from services.dispatcher.processes.enrolment import enrol_account
from tests.acceptance.running import Running, coverage, eventually, running, storm_on_air
from tests.conformance.benches import program
from tests.conformance.published import channel_of, fault

FOREIGN = "tests.conformance.foreign_speaker"
SPEAKER = "lg-gc-01"
EARS = "gw-9"


class Ears:
    """A second gateway's account that hears everything and says nothing of its own accord."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.channels: Counter[str] = Counter()
        self.wrong: Counter[str] = Counter()
        self.answers: list[bytes] = []
        self._client = Client(CallbackAPIVersion.VERSION2, EARS, protocol=MQTTProtocolVersion.MQTTv5)

    def open(self, port: int, secret: str) -> None:
        self._client.username_pw_set(EARS, secret)
        self._client.on_message = self._heard
        self._client.on_connect = lambda client, *_: client.subscribe("tocsin/v1/#", 1)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _heard(self, client: Client, userdata: Any, message: MQTTMessage) -> None:
        topic, raw = message.topic, bytes(message.payload)
        channel = channel_of(topic)
        with self._lock:
            if channel == "answer":
                self.answers.append(raw)
            if channel and raw:
                self.channels[channel] += 1
                if wrong := fault(topic, raw):
                    self.wrong[f"{channel}: {wrong}"] += 1

    def ask(self, speaker: str) -> None:
        ask = asking.encode_ask(Ask(AskKind.SELF_TEST, correlation="foreign"))
        self._client.publish(speaker_link.ask_topic(speaker), ask, 1)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def given_to(system: up.System, speaker: str) -> Path:
    """The speaker's settings, taken from our own fleet: only the foreign one speaks under this name."""
    ours = system.settings.var / "fleet" / f"{speaker}.json"
    given = json.loads(ours.read_text("utf-8"))
    ours.unlink()
    theirs = system.settings.var / f"{speaker}.json"
    theirs.write_text(json.dumps(given), "utf-8")
    return theirs


def test_foreign_speaker_plays_a_released_broadcast_and_everything_said_is_as_published(tmp_path: Path) -> None:
    with ExitStack() as ending:
        ears = Ears()

        def before_speakers(system: up.System) -> None:
            secret = enrol_account(system.store, EARS, "test")
            system.refresh_logins()
            assert system.mosquitto.port is not None
            ears.open(system.mosquitto.port, secret)
            ending.callback(ears.close)
            command = [sys.executable, "-m", FOREIGN, str(given_to(system, SPEAKER)), str(tmp_path / "foreign"), "1.0"]
            ending.enter_context(program(command))

        town = ending.enter_context(running(tmp_path, before_speakers=before_speakers))
        order = storm_on_air(town, town.system.city.speakers[SPEAKER].area)
        eventually(lambda: _counts_as_playing(town, order), "the foreign speaker counts as playing")
        eventually(lambda: _whole(town, order), "every speaker of the area counts as playing")
        clear = town.person("duty").follow_up(order, "all_clear")
        eventually(lambda: _said(town, clear, "playing"), "it plays the all-clear of what it has played")
        ears.ask(SPEAKER)
        eventually(lambda: any(b'"foreign"' in raw for raw in ears.answers), "it answers")
        assert town.rows("SELECT source, reason FROM unread WHERE source LIKE ?", f"%{SPEAKER}%") == []
    assert ears.wrong == Counter()
    assert set(ears.channels) >= {
        "keys", "config", "areaManifest", "state", "receipt", "hello", "helloAnswer", "ask", "answer",
    }  # fmt: skip


def _said(town: Running, order: str, kind: str) -> bool:
    """Whether the foreign speaker's receipts of an order say this."""
    rows = town.rows("SELECT raw FROM receipt WHERE speaker = ? AND broadcast = ?", SPEAKER, order)
    return any(step["kind"] == kind for (raw,) in rows for step in json.loads(raw)["steps"])


def _counts_as_playing(town: Running, order: str) -> bool:
    sql = "SELECT playing_us FROM expected WHERE broadcast = ? AND speaker = ?"
    return any(row[0] is not None for row in town.rows(sql, order, SPEAKER))


def _whole(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0
