"""A speaker of another maker, written from devices/protocols/README.md and asyncapi.yaml alone: link, clock, journal.

Imports nothing of Tocsin. Run as a program: settings file, store folder, seconds that a repeat takes.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import sys
import time
from pathlib import Path

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from tests.conformance import foreign_claims as claims
from tests.conformance import foreign_rules as page
from tests.conformance.foreign_rules import Json, Refused
from tests.conformance.foreign_sounds import Book, S, mono

KEYS = "tocsin/v1/keys"


class ForeignSpeaker:
    """Everything in one thread: `turn` is called again and again. `check` False makes one that verifies nothing."""

    def __init__(self, given: Json, folder: Path, check: bool = True, repeat_s: float = 1.0) -> None:
        self.given, self.id, self.check = given, given["id"], check
        self.file = folder / "journal.json"
        root = {"kid": given["root_kid"], "x": given["root_key"], "alg": "Ed25519", "not_after": 2**53 - 1}
        blank: Json = {"journal": secrets.token_hex(16), "connection": 0, "seq": 0, "letters": {}, "unacked": []}
        blank |= {"roots": [root], "keys": None, "config": None, "held": [None] * 2, "configs": [], "accepted": {}}
        blank |= {"streams": {}, "orders": {}, "marks": {}, "starts": [], "said": [], "born": 0}
        blank |= {"volume": 70, "last": None}
        self.j: Json = blank
        folder.mkdir(parents=True, exist_ok=True)
        if self.file.exists():
            self.j = json.loads(self.file.read_text("utf-8"))
        self.client: Client | None = None
        self.offset: int | None = None
        self.booted = mono()
        self.dial_at = self.hello_at = self.state_at = self.ready_at = 0
        self.asked = -5 * S
        self.pause, self.nonce, self.online = 2 * S, "", False
        self.mids: dict[int, int] = {}
        self.waiting: dict[str, bytes] = {}
        self.book = Book(self.j, self.now, self.keep, self.send, int(repeat_s * S))

    def now(self) -> int | None:
        return None if self.offset is None else mono() + self.offset

    def keep(self) -> None:
        with self.file.with_suffix(".new").open("w", encoding="utf-8") as new:
            json.dump(self.j, new)
            new.flush()
            os.fsync(new.fileno())
        os.replace(new.name, self.file)

    def topic(self, branch: str) -> str:
        return f"tocsin/v1/speaker/{self.id}/{branch}"

    def turn(self) -> None:
        if self.client is None:
            time.sleep(0.01)
            if mono() >= self.dial_at:
                self.dial()
        elif self.client.loop(0.02):
            self.lost()
        self.book.decide()
        self.book.deliver()
        if self.online and mono() >= self.state_at:
            self.publish("state", self.state(True), retain=True)
        if self.online and mono() >= self.hello_at:
            self.nonce, self.asked = secrets.token_urlsafe(24), mono()
            self.hello_at = self.asked + int(self.pause * random.uniform(1, 2))
            self.pause = min(2 * self.pause, 60 * S)
            self.publish("hello", {"nonce": self.nonce})

    # The link

    def dial(self) -> None:
        self.j["connection"] += 1
        self.keep()
        client = Client(CallbackAPIVersion.VERSION2, self.id, protocol=MQTTProtocolVersion.MQTTv5)
        client.username_pw_set(self.id, self.given["secret"])
        client.will_set(self.topic("state"), json.dumps(self.state(False)), 1, True)
        client.on_connect = lambda c, u, flags, reason, p: None if reason.is_failure else self.connected()
        client.on_message = lambda c, u, message: self.take(message.topic, bytes(message.payload))
        client.on_publish = lambda c, u, mid, reason, p: self.acknowledged(mid)
        try:
            client.connect(self.given["broker_host"], self.given["broker_port"], 30, clean_start=True)
            self.client = client
        except OSError:
            self.lost()

    def lost(self) -> None:
        spread = (self.j["config"] or {"reconnect_spread_s": self.given.get("spread_s", 20)})["reconnect_spread_s"]
        self.client, self.online, self.nonce, self.mids = None, False, "", {}
        self.dial_at = mono() + int(random.uniform(0.25, max(0.25, spread)) * S)

    def connected(self) -> None:
        self.online = True
        self.subscribe(KEYS, *map(self.topic, ("config", "hello/answer", "ask", "manifest/+/+")), *self.areas())
        self.publish("state", self.state(True), retain=True)
        for seq in self.j["unacked"]:
            self.post(seq)
        if self.offset is None:
            self.hello_at, self.pause = mono(), 2 * S

    def areas(self) -> list[str]:
        own = self.j["config"] or {"area_chain": [], "overlay": []}
        return [f"tocsin/v1/area/{code}/manifest/+/+" for code in (*own["area_chain"], *own["overlay"])]

    def subscribe(self, *filters: str) -> None:
        if self.client is not None and filters:
            self.client.subscribe([(each, 1) for each in filters])

    def publish(self, branch: str, value: Json | str, retain: bool = False) -> int:
        raw = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        return self.client.publish(self.topic(branch), raw, 1, retain).mid if self.client and self.online else 0

    def post(self, seq: int) -> None:
        if mid := self.publish("receipt", self.j["letters"][str(seq)]):
            self.mids[mid] = seq

    def acknowledged(self, mid: int) -> None:
        seq = self.mids.pop(mid, 0)
        self.j["unacked"] = [n for n in self.j["unacked"] if n != seq]

    def state(self, online: bool) -> Json:
        j, none = self.j, {"version": 0}
        self.state_at = mono() + 60 * S
        state: Json = {name: j[name] for name in ("connection", "journal", "seq")} | {"volume": self.book.volume()}
        state |= {"online": online, "streams": claims.named(j)}
        state |= {"keys_version": (j["keys"] or none)["version"], "config_version": (j["config"] or none)["version"]}
        newest = max((held[:3] for held in j["streams"].values()), default=[0, "", ""])
        return state | {"power": "mains", "cached": [], "chain_head": newest[2]}

    # What arrives

    def take(self, topic: str, raw: bytes) -> None:
        if topic == self.topic("ask"):
            return self.answer(raw)
        if topic == self.topic("hello/answer"):
            return self.set_clock(raw)
        if not raw:
            self.refuse(topic, 0, "empty_payload")
            return
        self.waiting[topic] = raw
        self.reread()

    def reread(self) -> None:
        """Everything that waits is tried again, keys first: one document may be what another waits for."""
        for topic in sorted(self.waiting, key=lambda t: (t != KEYS, t != self.topic("config"))):
            raw = self.waiting[topic]
            digest = hashlib.sha256(raw).hexdigest()
            read = {KEYS: self.take_keys, self.topic("config"): self.take_config}.get(topic, self.take_manifest)
            version: list[int] = [0]
            try:
                if read(topic, raw, digest, version):
                    del self.waiting[topic]
                    self.j["said"] = [each for each in self.j["said"] if each[0] != topic]
                    self.state_at = min(self.state_at, mono() + 2 * S)
                    self.keep()
            except Refused as refused:
                if self.refuse(topic, version[0], refused.args[0]) and topic not in (KEYS, self.topic("config")):
                    if refused.args[0] in ("stale", "version_back", "version_ahead"):
                        self.ask_soon()

    def ask_soon(self) -> None:
        self.hello_at, self.pause = min(self.hello_at, max(mono(), self.asked + 5 * S)), 2 * S

    def take_keys(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        keys, root = page.read_keys(raw, self.j["roots"], self.now())
        version[0] = keys["version"]
        page.newer(version[0], digest, *self.j["held"])
        self.j["held"] = [version[0], digest]
        self.j["roots"] = [root, *([keys["root"]] if "root" in keys else [])]
        self.j["keys"] = keys
        self.j["streams"] = claims.counting(self.j)
        claims.take_back(self.j)
        return True

    def take_config(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        if self.j["keys"] is None:
            return False
        judge = self.j["config"] if self.j["config"] and claims.stands(self.j, self.j["config_by"]) else None
        config, key = page.read_config(raw, self.id, self.j["keys"]["keys"], self.now(), judge)
        version[0] = config["version"]
        page.newer(version[0], digest, *(claims.highest(self.j, self.j["configs"]) or [None] * 2)[:2])
        now = [version[0], digest, "", claims.claim_of(key, "")]
        self.j["configs"] = claims.next_accepted(self.j, self.j["configs"], now)
        before, self.j["config"], self.j["config_by"] = self.areas(), config, now[3]
        if self.client is not None and (gone := [each for each in before if each not in self.areas()]):
            self.client.unsubscribe(gone)
        self.subscribe(*(each for each in self.areas() if each not in before))
        own = (*config["area_chain"], *config["overlay"], self.id)
        self.j["accepted"] = {t: held for t, held in self.j["accepted"].items() if t.split("/")[3] in own}
        self.j["streams"] = claims.counting(self.j)
        claims.take_back(self.j)
        return True

    def take_manifest(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        held = self.j["streams"].get(topic, [None, None])
        if digest == held[1]:
            return True
        if self.now() is None or not self.j["keys"] or not self.j["config"]:
            return False
        keys, config = self.j["keys"]["keys"], self.j["config"]
        manifest, key = page.read_manifest(raw, topic, keys, config, self.now(), self.check)
        version[0] = manifest["version"]
        if manifest["issued"] > (self.now() or 0) + 2 * S:
            self.ask_soon()
        if refusal := page.freshness(manifest, digest, self.now(), *held[:2]):
            raise Refused(refusal)
        now = [manifest["version"], digest, manifest["chain_head"], claims.claim_of(key, topic)]
        self.j["accepted"][topic] = claims.next_accepted(self.j, self.j["accepted"].get(topic, []), now)
        self.j["streams"] = claims.counting(self.j)
        for code in claims.take_orders(self.j, manifest, key):
            self.refuse(topic, manifest["version"], code)
        return True

    def set_clock(self, raw: bytes) -> None:
        if not self.nonce or not self.j["keys"] or mono() > self.asked + 10 * S:
            return
        try:
            answer = page.read_answer(raw, self.nonce, self.j["keys"]["keys"])
        except Refused as refused:
            if refused.args[0] != "wrong_nonce":
                self.refuse(self.topic("hello/answer"), 0, refused.args[0])
            return
        self.offset = answer["utc"] + (mono() - self.asked) // 2 - mono()
        self.nonce, self.pause = "", 2 * S
        self.hello_at = mono() + int(random.uniform(0.9, 1) * 900 * S)
        self.j["born"] = self.j["born"] or self.booted + self.offset
        behind = {t for t, v in answer["streams"].items() if self.j["streams"].get(t, [0])[0] < v}
        mine = {*self.areas(), self.topic("manifest/+/+")}
        self.subscribe(*sorted({t.rsplit("/", 2)[0] + "/+/+" for t in behind} & mine))
        self.reread()

    def answer(self, raw: bytes) -> None:
        try:
            ask = page.strict(raw)
        except Refused:
            ask = None
        said: Json = {"refused": "unknown_ask"}
        match ask:
            case {"ask": "receipts", "missing": [*missing]} if len(missing) <= 500:
                said = {"resent": [n for n in missing if str(n) in self.j["letters"]]}
                said["gone"] = [n for n in missing if n not in said["resent"]]
                for seq in said["resent"]:
                    self.post(seq)
            case {"ask": "self_test"}:
                clock = "unverified" if self.offset is None else "verified"
                said = {"volume": self.book.volume(), "power": "mains", "cached": 0, "store": "ok", "clock": clock}
                said["orders"] = len(self.j["orders"])
        correlation = ask.get("correlation") if isinstance(ask, dict) else None
        self.publish(
            "answer", {**said, "journal": self.j["journal"], **({"correlation": correlation} if correlation else {})}
        )

    # What it says

    def refuse(self, topic: str, version: int, code: str) -> bool:
        """Once per stream, version and reason; whether it was news."""
        if [topic, version, code] in self.j["said"]:
            return False
        self.j["said"] = [*self.j["said"], [topic, version, code]][-64:]
        self.send(
            "", 0, [{"kind": "refused", "at": self.now() or 0, "reason": code}], {"stream": topic, "version": version}
        )
        return True

    def send(self, order: str, rev: int, steps: list[Json], about: Json | None = None) -> None:
        j = self.j
        j["seq"] += 1
        receipt = {"journal": j["journal"], "seq": j["seq"], "order": order, "rev": rev, "steps": steps} | (about or {})
        j["letters"][str(j["seq"])] = json.dumps(receipt)
        j["unacked"].append(j["seq"])
        for old in list(j["letters"])[:-1_000]:
            del j["letters"][old]
        j["unacked"] = [seq for seq in j["unacked"] if str(seq) in j["letters"]]
        self.keep()
        self.post(j["seq"])


def main(settings: str, folder: str, repeat_s: str, check: str = "checked") -> None:
    given = json.loads(Path(settings).read_text("utf-8"))
    speaker = ForeignSpeaker(given, Path(folder), check == "checked", float(repeat_s))
    while True:
        speaker.turn()


if __name__ == "__main__":
    main(*sys.argv[1:5])
