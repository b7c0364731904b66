"""On air must be true: a signing key that breaks or expires, and a broker's copy that somebody takes away."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from devices.protocols.speaker_link import KeyUse
from services.dispatcher.adapters.keystore import DAY_US, KeyFolder, Scope
from services.dispatcher.adapters.mqtt import Delivery, MqttLink
from services.dispatcher.processes.enrolment import enrol_account
from simulators.drill import DrillRefused, check_key
from simulators.scenario import Step
from tests.acceptance.running import (
    Running,
    communities,
    coverage,
    eventually,
    running,
    starts,
    storm_on_air,
)

COMPARE_EVERY_S = 1.0
LIFE_S = 25


def health(town: Running) -> dict[str, Any]:
    """Health's parts by name."""
    answer = httpx.get(f"http://127.0.0.1:{town.system.settings.web_port}/api/health", timeout=10)
    return {part["part"]: part for part in answer.json()["parts"]}


def well(town: Running, part: str) -> bool:
    return bool(health(town)[part]["well"])


def draft(town: Running, area: str) -> str:
    """A warning for an area that waits to be released."""
    drill = town.drill()
    drill._logins = {**town.logins, "feed": {**town.logins["feed"], "area": area}}
    storm = Step(say={}, inject="cap", file="rainstorm-red.xml")
    eventually(lambda: drill._inject(storm) == (True, ""), "the warning is taken in")
    return str(drill._incident("rainstorm")["alert"])


def refusal(town: Running, broadcast: str) -> str:
    """Why a release is refused."""
    with pytest.raises(httpx.HTTPStatusError) as refused:
        town.person("duty").release(broadcast)
    said = refused.value.response.json()
    return f"{said['code']}: {said.get('detail', '')}"


def played(town: Running, broadcast: str) -> bool:
    counts = coverage(town, broadcast)
    return counts["playing"] == counts["targeted"] > 0


def test_a_key_that_breaks_or_expires_is_red_refuses_releases_and_drills_and_heals(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        api = f"http://127.0.0.1:{town.system.settings.web_port}"
        area, other = communities(town)[:2]
        check_key(api)
        pem = next((town.var / "keys").glob("exercise-*.pem"))
        whole = pem.read_bytes()

        pem.write_bytes(b"")
        eventually(lambda: not well(town, "key_exercise"), "the emptied key is red")
        parts = health(town)
        assert f"the file of {pem.stem} is empty" in parts["key_exercise"]["what"]
        assert parts["key_config"]["well"]
        assert parts["key_clock"]["well"]
        waiting = draft(town, area)
        assert refusal(town, waiting).startswith(f"no_usable_key: exercise: the file of {pem.stem} is empty")
        with pytest.raises(DrillRefused, match="nothing of it would sound"):
            check_key(api)

        town.kill("gateway")
        eventually(lambda: well(town, "key_clock"), "the gateway is back")
        assert not well(town, "key_exercise")
        assert refusal(town, waiting).startswith("no_usable_key")

        pem.write_bytes(whole)
        eventually(lambda: well(town, "key_exercise"), "it heals without a restart")
        town.person("duty").release(waiting)
        town.person("approver").release(waiting)
        eventually(lambda: played(town, waiting), "what was refused plays now")

        _expire(town, area_code=town.system.city.code)
        eventually(lambda: "expired on" in health(town)["key_exercise"]["what"], "the expired key is red")
        late = draft(town, other)
        assert "expired on" in refusal(town, late)
        with pytest.raises(DrillRefused, match="expired on"):
            check_key(api)


def _expire(town: Running, area_code: str) -> None:
    """The only exercise key is one that expires in some seconds; until then it is well."""
    folder, now_us = KeyFolder(town.var / "keys"), time.time_ns() // 1_000
    listed = next(key for key in folder.document().keys if key.use is KeyUse.EXERCISE)
    short = folder.make(Scope(KeyUse.EXERCISE, listed.issuer, area_code, 1), now_us - DAY_US + LIFE_S * 1_000_000)
    folder.revoke(listed.kid, now_us)
    eventually(lambda: well(town, "key_exercise") and health(town)["key_exercise"]["warned"], "it is warned of")
    assert short.kid in health(town)["key_exercise"]["what"]


@dataclass
class Somebody:
    """A client with a gateway's rights, as a thief of an account would have."""

    link: MqttLink
    heard: dict[str, bytes] = field(default_factory=dict)

    def retained(self, topic: str) -> bytes | None:
        """What the broker holds now on a topic."""
        self.heard.pop(topic, None)
        self.link.ask_retained([topic])
        time.sleep(0.3)
        self.link.leave([topic])
        return self.heard.get(topic)


@contextmanager
def somebody(town: Running) -> Iterator[Somebody]:
    secret = enrol_account(town.system.store, "gw-9", "test")
    town.system.refresh_logins()
    there = threading.Event()

    def deliver(delivery: Delivery) -> None:
        if delivery.retain:
            client.heard[delivery.topic] = delivery.payload
        delivery.ack()

    link = MqttLink("gw-9", secret, [], deliver, there.set)
    client = Somebody(link)
    link.start("127.0.0.1", town.system.settings.mqtt_port)
    try:
        assert there.wait(30)
        yield client
    finally:
        link.stop()


def test_what_is_on_air_is_put_back_when_somebody_deletes_or_replaces_it(tmp_path: Path) -> None:
    with running(tmp_path, compare_every_s=COMPARE_EVERY_S) as town:
        alert = storm_on_air(town, communities(town)[0])
        eventually(lambda: played(town, alert), "it plays")
        stream = str(town.person("duty").get(f"/api/broadcasts/{alert}")["broadcast"]["stream"])
        with somebody(town) as thief:
            signed = thief.retained(stream)
            assert signed
            for forged in (b"", b"not a manifest"):
                thief.link.publish(stream, forged, retain=True)
                eventually(lambda: thief.retained(stream) == signed, "the broker holds what was signed")
        eventually(lambda: well(town, "streams"), "health confirms it")
        assert {key: times for key, times in starts(town).items() if times > 1} == {}
