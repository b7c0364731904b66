"""A speaker of another maker, written from devices/protocols/README.md and asyncapi.yaml alone; it imports nothing of
Tocsin. It makes no sound and takes `repeat_s` for it. Run as a program: settings file, store folder, seconds a repeat."""

from __future__ import annotations

import hashlib
import json
import os
import random
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

sys.path.insert(0, str(Path(__file__).parent))
from foreign_rules import (  # type: ignore[import-not-found]
    Json,
    Refused,
    claim,
    freshness,
    may_end,
    obstacle,
    rank,
    read_answer,
    read_config,
    read_keys,
    read_manifest,
    severity,
    strict,
    version_refusal,
)  # fmt: skip

S = 1_000_000
HOUR = 3_600 * S
KEYS = "tocsin/v1/keys"


class ForeignSpeaker:
    """Everything in one thread: `turn` is called again and again. `check` False makes one that verifies nothing."""

    def __init__(self, given: Json, folder: Path, check: bool = True, repeat_s: float = 1.0) -> None:
        self.given, self.id, self.check, self.repeat_us = given, given["id"], check, int(repeat_s * S)
        self.file = folder / "journal.json"
        root = {"kid": given["root_kid"], "x": given["root_key"], "alg": "Ed25519", "not_after": 2**53 - 1}
        blank: Json = {"journal": secrets.token_hex(16), "connection": 0, "seq": 0, "letters": {}, "unacked": []}
        blank |= {"roots": [root], "keys": None, "config": None, "digests": {}, "streams": {}, "orders": {}}
        self.j: Json = blank | {"marks": {}, "starts": [], "said": [], "volume": 70, "born": 0}
        folder.mkdir(parents=True, exist_ok=True)
        if self.file.exists():
            self.j = json.loads(self.file.read_text("utf-8"))
        self.client: Client | None = None
        self.offset: int | None = None
        self.booted = self.mono()
        self.dial_at = self.hello_at = self.state_at = self.ready_at = 0
        self.asked = -5 * S
        self.pause, self.nonce, self.online = 2 * S, "", False
        self.mids: dict[int, int] = {}
        self.waiting: dict[str, bytes] = {}
        self.drafts: dict[str, Json] = {}
        self.sound: Json | None = None
        self.rests: dict[str, int] = {}
        for mark in self.j["marks"].values():
            mark.update(running=0, heard=mark["running"] if mark["percent"] >= 80 else mark["heard"], percent=0)

    def mono(self) -> int:
        return time.monotonic_ns() // 1_000

    def now(self) -> int | None:
        return None if self.offset is None else self.mono() + self.offset

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
            if self.mono() >= self.dial_at:
                self.dial()
        elif self.client.loop(0.02):
            self.lost()
        self.decide()
        self.deliver()
        if self.online and self.mono() >= self.hello_at:
            self.nonce, self.asked = secrets.token_urlsafe(24), self.mono()
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
        self.dial_at = self.mono() + int(random.uniform(0.25, max(0.25, spread)) * S)

    def connected(self) -> None:
        self.online = True
        self.subscribe(KEYS, *map(self.topic, ("config", "hello/answer", "ask", "manifest/+/+")), *self.areas())
        self.publish("state", self.state(True), retain=True)
        for seq in self.j["unacked"]:
            self.post(seq)
        if self.offset is None:
            self.hello_at, self.pause = self.mono(), 2 * S

    def areas(self) -> list[str]:
        own = self.j["config"] or {"area_chain": [], "overlay": []}
        return [f"tocsin/v1/area/{code}/manifest/+/+" for code in (*own["area_chain"], *own["overlay"])]

    def subscribe(self, *filters: str) -> None:
        if self.client is not None and filters:
            self.client.subscribe([(each, 1) for each in filters])  # type: ignore[arg-type]

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
        j = self.j
        newest = max(j["streams"].values(), default=[0, "", ""])
        self.state_at = self.mono() + 60 * S
        return {
            "online": online, "connection": j["connection"], "streams": {t: held[0] for t, held in j["streams"].items()},
            "keys_version": (j["keys"] or {"version": 0})["version"], "journal": j["journal"], "seq": j["seq"],
            "config_version": (j["config"] or {"version": 0})["version"], "volume": j["volume"], "power": "mains",
            "cached": [], "chain_head": newest[2],
        }  # fmt: skip

    # What arrives

    def take(self, topic: str, raw: bytes) -> None:
        if topic == self.topic("ask"):
            return self.answer(raw)
        if topic == self.topic("hello/answer"):
            return self.set_clock(raw)
        if not raw:
            return self.refuse(topic, 0, "empty_payload")
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
                    self.state_at = min(self.state_at, self.mono() + 2 * S)
                    self.keep()
            except Refused as refused:
                if self.refuse(topic, version[0], refused.args[0]) and topic not in (KEYS, self.topic("config")):
                    if refused.args[0] in ("stale", "version_back", "version_ahead"):
                        self.ask_soon()

    def ask_soon(self) -> None:
        self.hello_at, self.pause = min(self.hello_at, max(self.mono(), self.asked + 5 * S)), 2 * S

    def take_keys(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        keys, root = read_keys(raw, self.j["roots"], self.now())
        self.newer(topic, keys, digest, version)
        self.j["roots"] = [root, *([keys["root"]] if "root" in keys else [])]
        self.j["keys"] = keys
        return True

    def take_config(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        if self.j["keys"] is None:
            return False
        config = read_config(raw, self.id, self.j["keys"]["keys"], self.now(), self.j["config"])
        self.newer(topic, config, digest, version)
        before, self.j["config"] = self.areas(), config
        if self.client is not None and (gone := [each for each in before if each not in self.areas()]):
            self.client.unsubscribe(gone)
        self.subscribe(*(each for each in self.areas() if each not in before))
        own = (*config["area_chain"], *config["overlay"], self.id)
        self.j["streams"] = {t: held for t, held in self.j["streams"].items() if t.split("/")[3] in own}
        return True

    def newer(self, topic: str, document: Json, digest: str, version: list[int]) -> None:
        held = self.j["digests"].get(topic, [None, None])
        version[0] = document["version"]
        if refusal := version_refusal(document["version"], digest, *held):
            raise Refused(refusal)
        self.j["digests"][topic] = [document["version"], digest]

    def take_manifest(self, topic: str, raw: bytes, digest: str, version: list[int]) -> bool:
        held = self.j["streams"].get(topic, [None, None, ""])
        if digest == held[1]:
            return True
        if self.now() is None or not self.j["keys"] or not self.j["config"]:
            return False
        manifest, key = read_manifest(
            raw, topic, self.j["keys"]["keys"], self.j["config"], self.now(), self.check
        )  # fmt: skip
        version[0] = manifest["version"]
        if manifest["issued"] > (self.now() or 0) + 2 * S:
            self.ask_soon()
        if refusal := freshness(manifest, digest, self.now(), *held[:2]):
            raise Refused(refusal)
        self.j["streams"][topic] = [manifest["version"], digest, manifest["chain_head"]]
        for order in manifest["orders"]:
            name = f"{order['status']}/{order['id']}"
            new = {"order": order, "stream": topic, "area": key["area"]}
            taken, code = claim(self.j["orders"].get(name), new, self.j["config"])
            if taken:
                self.j["orders"][name] = taken
            if code:
                self.refuse(topic, manifest["version"], code)
        listed = {order["id"] for order in manifest["orders"]}
        for kept in self.j["orders"].values():
            order = kept["order"]
            if kept["stream"] == topic and order["id"] not in listed and order["start_at"] < manifest.get("swept", 0):
                order["state"] = "withdrawn"
        return True

    def set_clock(self, raw: bytes) -> None:
        if not self.nonce or not self.j["keys"] or self.mono() > self.asked + 10 * S:
            return
        try:
            answer = read_answer(raw, self.nonce, self.j["keys"]["keys"])
        except Refused as refused:
            if refused.args[0] != "wrong_nonce":
                self.refuse(self.topic("hello/answer"), 0, refused.args[0])
            return
        self.offset = answer["utc"] + (self.mono() - self.asked) // 2 - self.mono()
        self.nonce, self.pause = "", 2 * S
        self.hello_at = self.mono() + int(random.uniform(0.9, 1) * 900 * S)
        self.j["born"] = self.j["born"] or self.booted + self.offset
        behind = {t for t, v in answer["streams"].items() if self.j["streams"].get(t, [0])[0] < v}
        mine = {*self.areas(), self.topic("manifest/+/+")}
        self.subscribe(*sorted({t.rsplit("/", 2)[0] + "/+/+" for t in behind} & mine))
        self.reread()

    def answer(self, raw: bytes) -> None:
        try:
            ask = strict(raw)
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
                said = {"volume": self.j["volume"], "power": "mains", "cached": 0, "store": "ok", "clock": clock}
                said["orders"] = len(self.j["orders"])
        correlation = ask.get("correlation") if isinstance(ask, dict) else None
        self.publish(
            "answer", {**said, "journal": self.j["journal"], **({"correlation": correlation} if correlation else {})}
        )

    # What sounds

    def mark(self, key: str) -> Json:
        blank = {"heard": 0, "running": 0, "percent": 0, "over": "", "began": 0, "due": 0, "again": 0, "admitted": 0}
        mark: Json = self.j["marks"].setdefault(key, blank | {"accepted": 0, "told": 0, "withdrawn": 0})
        return mark

    def first(self, claimed: Json) -> Json | None:
        order = claimed["order"]
        held: Json | None = self.j["orders"].get(f"{order['status']}/{order.get('corrects')}")
        return held

    def decide(self) -> None:
        now, config, orders = self.now(), self.j["config"], self.j["orders"]
        if now is None or config is None:
            return
        self.progress(now)
        may: dict[str, str] = {}
        for key, claimed in orders.items():
            may[key] = self.review(key, claimed, config, now)
        for key in [key for key, reason in may.items() if reason in ("", "resting", "done", "original_not_heard")]:
            order = orders[key]["order"]
            for name in {*order.get("supersedes", []), order.get("corrects", "")}:
                self.end(key, f"{order['status']}/{name}", now)
        if any(not reason and key.startswith("actual/") for key, reason in may.items()):
            for key in [k for k, why in may.items() if k.startswith("exercise/") and why in ("", "resting")]:
                self.finish(key, "actual_order", now)
        ready = [key for key, reason in may.items() if not reason and not self.mark(key)["over"]]
        best = max(ready, key=self.rank, default=None)
        if best is None or (
            self.sound and (best == self.sound["key"] or self.rank(best) < self.rank(self.sound["key"]))
        ):
            return
        higher = [key for key, until in self.rests.items() if until > self.mono() and self.rank(key) > self.rank(best)]
        if all(self.rests[key] >= self.mono() + self.repeat_us for key in higher):
            self.start(best, now)

    def rank(self, key: str) -> tuple[Any, ...]:
        claimed = self.j["orders"][key]
        return rank(claimed, self.first(claimed), self.j["config"])

    def review(self, key: str, claimed: Json, config: Json, now: int) -> str:
        """Say what this order's own revision asks for; why it does not start now, "" when it may."""
        order, mark, first = claimed["order"], self.mark(key), self.first(claimed)
        of_first = self.j["marks"].get(f"{order['status']}/{order.get('corrects')}", {"began": 0})["began"]
        younger = self.j["born"] > (first or claimed)["order"]["start_at"]
        reason = obstacle(claimed, first, mark, bool(of_first) or younger, config, now)
        if reason != "not_mine" and mark["accepted"] < order["rev"] and now < order["expires"]:
            mark["accepted"] = order["rev"]
            self.say(key, order["rev"], "accepted", wait=secrets.randbelow(config["accepted_spread_ms"] + 1) * 1_000)
        if reason == "not_mine" or (reason == "withdrawn" and mark["withdrawn"] < order["rev"]):
            open_still = mark["accepted"] and not mark["over"] and mark["heard"] < order.get("repeat", 1)
            told = self.cut(key, reason, now)
            mark.update(admitted=0, withdrawn=order["rev"])
            if reason == "withdrawn" and open_still and not told:
                self.say(key, order["rev"], "superseded", reason)
        if reason == "expired" and mark["accepted"] and mark["told"] < order["rev"] and not self.sounds(key):
            mark["told"] = order["rev"]
            if not mark["over"]:
                self.say(
                    key, order["rev"], "finished" if mark["heard"] else "failed", "order_expired", repeat=mark["heard"]
                )
        if not reason and self.rests.get(key, 0) > self.mono():
            return "resting"
        if not reason and not mark["admitted"] and order["phase"] == "alert":
            recent = [s for at, s in self.j["starts"] if at > now - HOUR and s >= severity(order)]
            reason = "rate_limited" if len(recent) >= config["starts_per_hour_max"] else ""
        if reason in ("missed", "original_not_heard", "rate_limited") and mark["told"] < order["rev"]:
            mark["told"] = order["rev"]
            self.say(key, order["rev"], "refused", reason, **({"wait_s": 3_600} if reason == "rate_limited" else {}))
        return reason

    def sounds(self, key: str) -> bool:
        return self.sound is not None and self.sound["key"] == key

    def end(self, ending: str, key: str, now: int) -> None:
        ended, by = self.j["orders"].get(key), self.j["orders"][ending]
        if ended is None or self.mark(key)["over"] or not may_end(by, ended, self.j["config"]):
            return
        corrected = by["order"].get("corrects") == ended["order"]["id"] and ended["order"]["phase"] == "alert"
        if corrected or (by["order"]["start_at"], ending) > (ended["order"]["start_at"], key):
            self.finish(key, "superseded", now)

    def finish(self, key: str, reason: str, now: int) -> None:
        order, mark = self.j["orders"][key]["order"], self.mark(key)
        told = self.cut(key, reason, now)
        mark["over"] = reason
        if not told and mark["accepted"] and mark["heard"] < order.get("repeat", 0) and order["state"] == "in_force":
            self.say(key, order["rev"], "superseded", reason)

    def start(self, key: str, now: int) -> None:
        if self.sound:
            self.cut(self.sound["key"], "preempted", now)
        order, mark = self.j["orders"][key]["order"], self.mark(key)
        if not mark["admitted"]:
            self.j["starts"] = [each for each in self.j["starts"] if each[0] > now - HOUR] + [[now, severity(order)]]
        mark.update(running=mark["heard"] + 1, percent=0, began=mark["began"] or now, admitted=1)
        level = self.j["config"]["volume_max"]
        volume = {"mute": 0, "unchanged": min(self.j["volume"], level)}.get(order["volume"], order["volume"])
        self.j["volume"] = min(volume, level) or self.j["volume"]
        self.keep()
        self.sound = {"key": key, "rev": order["rev"], "repeat": mark["running"], "began": self.mono()}
        self.sound["said"] = {"repeat": mark["running"], "of": order["repeat"], "source": "speech", "volume": volume}
        again = {"again": 1} if mark["again"] else {}
        self.say(key, order["rev"], "ready", repeat=mark["running"])
        self.say(key, order["rev"], "playing", **self.sound["said"], **again)

    def progress(self, now: int) -> None:
        if self.sound is None:
            return
        key, passed = self.sound["key"], self.mono() - self.sound["began"]
        order, mark = self.j["orders"][key]["order"], self.mark(key)
        if now >= order["expires"] + 60 * S:
            self.cut(key, "expired", now)
        elif passed >= self.repeat_us:
            mark.update(heard=self.sound["repeat"], running=0, percent=0, again=0, due=now + order["gap_s"] * S)
            self.rests[key] = self.mono() + order["gap_s"] * S
            self.say(key, self.sound["rev"], "finished", **self.sound["said"], ms=passed // 1_000)
            self.sound = None
        elif passed * 100 >= self.repeat_us * 80 and not mark["percent"]:
            mark["percent"] = 80
            self.keep()

    def cut(self, key: str, reason: str, now: int) -> bool:
        if self.sound is None or self.sound["key"] != key:
            return False
        sound, self.sound = self.sound, None
        self.mark(key).update(running=0, percent=0, again=1, due=now)
        self.say(key, sound["rev"], "superseded", reason, **sound["said"], percent=0)
        return True

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

    def say(self, key: str, rev: int, kind: str, reason: str = "", wait: int = S // 2, **evidence: int | str) -> None:
        step = {"kind": kind, "at": self.now() or 0, **({"reason": reason} if reason else {})}
        draft = self.drafts.get(key)
        if draft and (draft["rev"] != rev or len(draft["steps"]) > 15):
            self.send_draft(key)
        draft = self.drafts.setdefault(key, {"rev": rev, "steps": [], "due": self.mono() + wait})
        draft["due"] = min(draft["due"], self.mono() + wait)
        draft["steps"].append(step | ({"evidence": evidence} if evidence else {}))

    def send_draft(self, key: str) -> None:
        draft = self.drafts.pop(key)
        self.send(key.partition("/")[2], draft["rev"], draft["steps"])

    def send(self, order: str, rev: int, steps: list[Json], about: Json | None = None) -> None:
        j = self.j
        j["seq"] += 1
        receipt = {
            "journal": j["journal"],
            "seq": j["seq"],
            "order": order,
            "rev": rev,
            "steps": steps,
            **(about or {}),
        }
        j["letters"][str(j["seq"])] = json.dumps(receipt)
        j["unacked"].append(j["seq"])
        for old in list(j["letters"])[:-1_000]:
            del j["letters"][old]
        j["unacked"] = [seq for seq in j["unacked"] if str(seq) in j["letters"]]
        self.keep()
        self.post(j["seq"])

    def deliver(self) -> None:
        for key in [key for key, draft in self.drafts.items() if draft["due"] <= self.mono()]:
            self.send_draft(key)
        if self.online and self.mono() >= self.state_at:
            self.publish("state", self.state(True), retain=True)


def main(settings: str, folder: str, repeat_s: str, check: str = "checked") -> None:
    given = json.loads(Path(settings).read_text("utf-8"))
    speaker = ForeignSpeaker(given, Path(folder), check == "checked", float(repeat_s))
    while True:
        speaker.turn()


if __name__ == "__main__":
    main(*sys.argv[1:5])
