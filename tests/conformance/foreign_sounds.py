"""What sounds on another maker's speaker, by devices/protocols/README.md: reviews its orders, starts, cuts and says so.

It makes no sound and takes `repeat_us` for it. Imports nothing of Tocsin.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from foreign_rules import Json, may_end, obstacle, rank, severity  # type: ignore[import-not-found]

S = 1_000_000
HOUR = 3_600 * S
WAIT: Json = {"wait_s": 3_600}


def mono() -> int:
    return time.monotonic_ns() // 1_000


class Book:
    """The orders of a journal and what became of them. `keep` makes the journal durable, `send` sends a receipt."""

    def __init__(
        self,
        j: Json,
        now: Callable[[], int | None],
        keep: Callable[[], None],
        send: Callable[..., None],
        repeat_us: int,
    ) -> None:
        self.j, self.now, self.keep, self.send, self.repeat_us = j, now, keep, send, repeat_us
        self.drafts: dict[str, Json] = {}
        self.sound: Json | None = None
        self.rests: dict[str, int] = {}
        for mark in j["marks"].values():
            mark.update(running=0, heard=mark["running"] if mark["percent"] >= 80 else mark["heard"], percent=0)

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
        higher = [key for key, until in self.rests.items() if until > mono() and self.rank(key) > self.rank(best)]
        if all(self.rests[key] >= mono() + self.repeat_us for key in higher):
            self.start(best, now)

    def rank(self, key: str) -> Any:
        claimed = self.j["orders"][key]
        return rank(claimed, self.first(claimed), self.j["config"])

    def review(self, key: str, claimed: Json, config: Json, now: int) -> str:
        """Say what this order's own revision asks for; why it does not start now, "" when it may."""
        order, mark, first = claimed["order"], self.mark(key), self.first(claimed)
        of_first = self.j["marks"].get(f"{order['status']}/{order.get('corrects')}", {"began": 0})["began"]
        younger = self.j["born"] > (first or claimed)["order"]["start_at"]
        reason: str = obstacle(claimed, first, mark, bool(of_first) or younger, config, now)
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
        if not reason and self.rests.get(key, 0) > mono():
            return "resting"
        if not reason and not mark["admitted"] and order["phase"] == "alert":
            recent = [s for at, s in self.j["starts"] if at > now - HOUR and s >= severity(order)]
            reason = "rate_limited" if len(recent) >= config["starts_per_hour_max"] else ""
        if reason in ("missed", "original_not_heard", "rate_limited") and mark["told"] < order["rev"]:
            mark["told"] = order["rev"]
            self.say(key, order["rev"], "refused", reason, **WAIT if reason == "rate_limited" else {})
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
        self.sound = {"key": key, "rev": order["rev"], "repeat": mark["running"], "began": mono()}
        self.sound["said"] = {"repeat": mark["running"], "of": order["repeat"], "source": "speech", "volume": volume}
        again: Json = {"again": 1} if mark["again"] else {}
        self.say(key, order["rev"], "ready", repeat=mark["running"])
        self.say(key, order["rev"], "playing", **self.sound["said"] | again)

    def progress(self, now: int) -> None:
        if self.sound is None:
            return
        key, passed = self.sound["key"], mono() - self.sound["began"]
        order, mark = self.j["orders"][key]["order"], self.mark(key)
        if now >= order["expires"] + 60 * S:
            self.cut(key, "expired", now)
        elif passed >= self.repeat_us:
            mark.update(heard=self.sound["repeat"], running=0, percent=0, again=0, due=now + order["gap_s"] * S)
            self.rests[key] = mono() + order["gap_s"] * S
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

    def say(self, key: str, rev: int, kind: str, reason: str = "", wait: int = S // 2, **evidence: int | str) -> None:
        step = {"kind": kind, "at": self.now() or 0, **({"reason": reason} if reason else {})}
        draft = self.drafts.get(key)
        if draft and (draft["rev"] != rev or len(draft["steps"]) > 15):
            self.send_draft(key)
        draft = self.drafts.setdefault(key, {"rev": rev, "steps": [], "due": mono() + wait})
        draft["due"] = min(draft["due"], mono() + wait)
        draft["steps"].append(step | ({"evidence": evidence} if evidence else {}))

    def send_draft(self, key: str) -> None:
        draft = self.drafts.pop(key)
        self.send(key.partition("/")[2], draft["rev"], draft["steps"])

    def deliver(self) -> None:
        for key in [key for key, draft in self.drafts.items() if draft["due"] <= mono()]:
            self.send_draft(key)
