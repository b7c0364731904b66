"""A stolen signing key is revoked with the real commands: what it claimed is over, and what is released next plays."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from devices.protocols.documents import Manifest, Order, OrderClass, OrderState, Phase, stub
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import ALL_RECEIPTS, KEYS_TOPIC, read_keys, read_manifest
from services.dispatcher.adapters.keystore import KeyFolder, KeySigner
from services.dispatcher.adapters.mqtt import Delivery, MqttLink
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS
from services.dispatcher.processes.enrolment import enrol_account
from tests.acceptance.running import Running, close_incident, communities, coverage, eventually, running, storm_on_air

ROGUE = "rogue-order"
AHEAD_MS = 595_000
REV_MAX = 2**53 - 1
ORDINARY_S = 15.0


@dataclass
class Thief:
    """A client with a gateway's account and a copy of the key folder, who also hears what speakers say."""

    link: MqttLink
    signer: KeySigner
    chain: tuple[str, ...]
    retained: dict[str, bytes] = field(default_factory=dict)
    said: list[tuple[str, str, str]] = field(default_factory=list)

    def deliver(self, delivery: Delivery) -> None:
        if delivery.topic.endswith("/receipt"):
            receipt = json.loads(delivery.payload)
            if receipt["order"] == ROGUE:
                speaker = delivery.topic.split("/")[3]
                self.said += [(speaker, step["kind"], step.get("reason", "")) for step in receipt["steps"]]
        else:
            self.retained[delivery.topic] = delivery.payload
        delivery.ack()

    def speakers(self, kind: str, reason: str = "") -> set[str]:
        """The speakers that have said this of the thief's order."""
        return {speaker for speaker, said, why in self.said if (said, why) == (kind, reason)}

    def publish(self, stream: str, *orders: Order) -> bytes:
        now_us = time.time_ns() // 1_000
        version = now_us // 1_000 + AHEAD_MS
        manifest = Manifest(stream, version, now_us, now_us + 900_000_000, "0" * 64, orders)
        raw = self.signer.sign_manifest(manifest, self.chain)
        self.link.publish(stream, raw, retain=True)
        return raw


@contextmanager
def a_thief(town: Running, stream: str, folder: Path) -> Iterator[Thief]:
    shutil.copytree(town.var / "keys", folder)
    signer = KeySigner(KeyFolder(folder), lambda: time.time_ns() // 1_000)
    secret = enrol_account(town.system.store, "gw-9", "test")
    town.system.refresh_logins()
    ready = threading.Event()
    topics = [(ALL_RECEIPTS, 1), (stream, 1), (KEYS_TOPIC, 1)]
    link = MqttLink("gw-9", secret, topics, lambda delivery: thief.deliver(delivery), ready.set)
    thief = Thief(link, signer, town.system.city.tree.chain(town.system.city.code).all)
    link.start("127.0.0.1", town.system.settings.mqtt_port)
    try:
        assert ready.wait(30)
        yield thief
    finally:
        link.stop()


def keys_command(town: Running, *arguments: str) -> str:
    """`tocsin keys …` in a process of its own, as an operator types it."""
    command = [sys.executable, "-m", "devices.command", "keys", *arguments, "--keys", str(town.var / "keys")]
    return subprocess.run(command, check=True, capture_output=True, text=True, env=dict(os.environ)).stdout


def rogue(now_us: int) -> Order:
    return Order(
        id=ROGUE, rev=1, status="exercise", order_class=OrderClass.EMERGENCY, level=1, event_code="11B03",
        phase=Phase.ALERT, texts={"zh": "全城立即撤离。"}, audio=(), selector=Selector(), volume=50, repeat=200,
        gap_s=0, start_at=now_us, expires=now_us + 900_000_000, state=OrderState.IN_FORCE,
    )  # fmt: skip


def shown(town: Running, broadcast: str) -> dict[str, Any]:
    found: dict[str, Any] = town.person("duty").get(f"/api/broadcasts/{broadcast}")["broadcast"]
    return found


def played(town: Running, broadcast: str) -> bool:
    counts = coverage(town, broadcast)
    return counts["playing"] == counts["targeted"] > 0


def alarms(town: Running) -> list[dict[str, Any]]:
    listed = town.person("duty").get("/api/incidents")["incidents"]
    return [incident for incident in listed if incident["hazard"] == UNKNOWN_SOUNDS]


def held(thief: Thief, root: Any, stream: str) -> Manifest:
    """What the broker holds of the stream, verified as a speaker would with the key document that is there."""
    return read_manifest(thief.retained[stream], stream, read_keys(thief.retained[KEYS_TOPIC], root), None, None)


def test_after_a_stolen_key_is_revoked_its_order_is_over_and_the_next_release_plays(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        city, area = town.system.city, communities(town)[0]
        first = storm_on_air(town, area)
        eventually(lambda: played(town, first), "the first alert plays")
        stream = str(shown(town, first)["stream"])
        close_incident(town, first)
        with a_thief(town, stream, tmp_path / "stolen") as thief:
            eventually(lambda: {stream, KEYS_TOPIC} <= thief.retained.keys(), "the thief hears the broker")
            root = KeyFolder(town.var / "keys").root()
            mine = held(thief, root, stream)
            (stopped,) = (order for order in mine.orders if order.id == first)
            raised = stub(replace(stopped, rev=REV_MAX, state=OrderState.WITHDRAWN))
            forged = thief.publish(stream, rogue(time.time_ns() // 1_000), raised)
            speakers = {s.id for s in city.speakers.values() if s.area == area}
            eventually(lambda: thief.speakers("playing") >= speakers, "speakers play the thief's order")
            eventually(lambda: alarms(town), "a red incident says so")

            (stolen,) = [key["kid"] for key in json.loads(keys_command(town, "list", "--json"))["keys"]
                         if key["use"] == "exercise"]  # fmt: skip
            keys_command(town, "make", "exercise", "--area", city.code, "--issuer", city.issuer)
            keys_command(town, "revoke", stolen)
            began_s = time.monotonic()
            eventually(
                lambda: thief.speakers("superseded", "withdrawn") >= speakers,
                "the thief's order is over everywhere", ORDINARY_S,
            )  # fmt: skip
            print(f"the thief's order was over {time.monotonic() - began_s:.1f} s after the removal")

            # What it still can: publish what no speaker obeys. Ours is put back.
            thief.publish(stream, rogue(time.time_ns() // 1_000))
            began_s = time.monotonic()
            second = storm_on_air(town, area)
            eventually(lambda: played(town, second), "what is released next plays", ORDINARY_S)
            print(f"the next release played {time.monotonic() - began_s:.1f} s after its warning")
            eventually(lambda: held(thief, root, stream).orders, "the broker holds what is signed here")
            now = held(thief, root, stream)
            assert forged != thief.retained[stream]
            assert [order.id for order in now.orders if order.state is OrderState.IN_FORCE] == [second]
            assert now.version < time.time_ns() // 1_000_000 + 5_000
            listed = json.loads(keys_command(town, "list", "--json"))["keys"]
            assert [(key["kid"] != stolen, key["fault"]) for key in listed if key["use"] == "exercise"] == [(True, "")]
            well = {part["part"]: part["well"] for part in town.person("duty").get("/api/health")["parts"]}
            assert well["key_exercise"], well
            assert town.person("duty").get("/api/streams", unknown="true")["streams"] == []
