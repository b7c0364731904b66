"""A stolen gateway account and exercise key: speakers play what nobody gave out, and people know in seconds."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from devices.protocols.documents import KeyUse, Manifest, Order, OrderClass, OrderState, Phase
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import manifest_topic
from services.dispatcher.adapters.keystore import KeyFolder, KeySigner
from services.dispatcher.adapters.mqtt import MqttLink
from services.dispatcher.domain.sightings import UNKNOWN_SOUNDS, UNREAD_MAX
from services.dispatcher.domain.taken_accounts import ACCOUNT_TAKEN
from tests.acceptance.running import Running, eventually, running

WITHIN_S = 15.0
ROGUE = "rogue-order"


def test_an_order_that_nobody_gave_out_is_one_red_incident_within_seconds(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        speakers = len(town.system.city.speakers)
        _forge(town)
        duty = town.person("duty")
        eventually(lambda: _alarms(town), "a red incident says so", WITHIN_S)
        eventually(lambda: _playing(town) == speakers, "every speaker plays it")
        # Every report of theirs is in, and it is still one incident; its counter has them all.
        eventually(lambda: f"{speakers}个终端" in str(_alarms(town)[0]["headline"]), "the incident counts all of them")
        (alarm,) = _alarms(town)
        assert (alarm["level"], alarm["use"], alarm["playbook"]) == (1, "actual", "")
        story = duty.get(f"/api/incidents/{alarm['id']}")
        assert (story["broadcasts"], len(story["tasks"])) == ([], 1)
        ((unread,),) = town.rows("SELECT count(*) FROM unread WHERE reason = 'receipt_unknown_order'")
        assert unread <= UNREAD_MAX
        streams = [s for s in duty.get("/api/streams")["streams"] if s["unknown_on_air"]]
        assert [[order["id"] for order in s["unknown_on_air"]] for s in streams] == [[ROGUE]]


def test_who_fights_for_the_gateway_s_account_is_seen_in_seconds_and_a_killed_gateway_is_not(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        town.kill("gateway")
        town.kill_broker()
        eventually(lambda: _accounts(town)["seen_us"], "health answers again")
        settings = town.system.settings
        eventually(lambda: not town.rows("SELECT id FROM taken_account"), "nobody has taken anything")
        thief = MqttLink("gw-0", settings.secret("gw-0"), [], lambda delivery: delivery.ack())
        thief.start(settings.mqtt_host, settings.mqtt_port)
        try:
            eventually(lambda: not _accounts(town)["well"], "health says whose account is taken", 2 * WITHIN_S)
            eventually(lambda: _alarms(town, ACCOUNT_TAKEN), "a red incident says so", WITHIN_S)
        finally:
            thief.stop()
        (alarm,) = _alarms(town, ACCOUNT_TAKEN)
        assert (alarm["level"], alarm["playbook"]) == (1, "")
        assert "gw-0" in str(alarm["headline"])
        assert "gw-0" in _accounts(town)["what"]


def _accounts(town: Running) -> dict[str, Any]:
    parts = town.person("duty").get("/api/health")["parts"]
    found: dict[str, Any] = next(part for part in parts if part["part"] == "accounts")
    return found


def _alarms(town: Running, hazard: str = UNKNOWN_SOUNDS) -> list[dict[str, object]]:
    listed = town.person("duty").get("/api/incidents")["incidents"]
    return [incident for incident in listed if incident["hazard"] == hazard]


def _playing(town: Running) -> int:
    ((playing,),) = town.rows("SELECT count(*) FROM early WHERE broadcast = ? AND playing_us IS NOT NULL", ROGUE)
    return int(playing)


def _forge(town: Running) -> None:
    """Connect as the gateway, which is thrown out by it, and publish what its exercise key has signed."""
    settings, city = town.system.settings, town.system.city
    now_us = time.time_ns() // 1_000
    signer = KeySigner(KeyFolder(settings.keys), lambda: now_us)
    topic = manifest_topic(city.code, KeyUse.EXERCISE, city.issuer)
    order = Order(
        id=ROGUE, rev=1, status="exercise", order_class=OrderClass.EMERGENCY, level=1, event_code="11B03",
        phase=Phase.ALERT, texts={"zh": "全城立即撤离。"}, audio=(), selector=Selector(), volume=50, repeat=1, gap_s=0,
        start_at=now_us, expires=now_us + 900_000_000, state=OrderState.IN_FORCE,
    )  # fmt: skip
    manifest = Manifest(topic, now_us // 1_000, now_us, now_us + 900_000_000, "0" * 64, (order,))
    raw = signer.sign_manifest(manifest, city.tree.chain(city.code).all)
    ready = threading.Event()
    thief = MqttLink("gw-0", settings.secret("gw-0"), [], lambda delivery: delivery.ack(), ready.set)
    thief.start(settings.mqtt_host, settings.mqtt_port)
    try:
        assert ready.wait(10.0)
        thief.publish(topic, raw, retain=True)
    finally:
        thief.stop()
