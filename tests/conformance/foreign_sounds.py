"""What sounds on another maker's speaker, by devices/protocols/README.md: reviews its orders, starts, cuts and says so.

It makes no sound and takes `repeat_us` for it. Imports nothing of Tocsin.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from tests.conformance.foreign_claims import contains, over, stands, still_said, words
from tests.conformance.foreign_rules import Json, selects

S = 1_000_000
HOUR = 3_600 * S
WAIT: Json = {"wait_s": 3_600}


def mono() -> int:
    return time.monotonic_ns() // 1_000


def may_end(ending: Json, ended: Json, config: Json) -> bool:
    by, of = ending["by"], ended["by"]
    if by["stream"].split("/")[2] == "speaker" and of["stream"].split("/")[2] == "area":
        return False
    same = by["stream"].split("/")[-1] == of["stream"].split("/")[-1]
    return same or bool(contains(config, by["area"], of["area"]))


def height(claimed: Json, config: Json) -> Any:
    kind, name = claimed["by"]["stream"].split("/")[2:4]
    chain = config["area_chain"]
    return -1 if kind == "speaker" else len(chain[chain.index(name) + 1 :]) if name in chain else 0


def place(claimed: Json, first: Json | None, config: Json) -> tuple[Any, ...]:
    """Where class, use, level, height and age put an order; a follower has its original's, where that is known."""
    order, of = claimed["order"], (first or claimed)["order"]
    tall = max(height(claimed, config), height(first, config) if first else -1)
    emergency, actual = of["order_class"] == "emergency", order["status"] == "actual"
    return emergency, actual, -of["level"], tall, of["start_at"], of["id"]


def sequence(may: Json, first_of: Callable[[Json], Json | None], config: Json) -> list[str]:
    """The orders that may sound, by use and id, who goes first in front."""
    places = {key: place(claimed, first_of(claimed), config) for key, claimed in may.items()}
    orders, keys = {key: claimed["order"] for key, claimed in may.items()}, dict[str, tuple[Any, ...]]()
    for side, phase in enumerate(("alert", "all_clear", "correction"), 2):
        for key in [key for key, order in orders.items() if order["phase"] == phase]:
            order, beside, at = orders[key], places[key], side
            alike = [other for other in may if places[other][:2] == beside[:2]]
            alerts = [other for other in alike if orders[other]["phase"] == "alert"]
            newer = [other for other in alerts if orders[other]["start_at"] > order["start_at"]]
            if phase == "all_clear" and beside[0]:
                lowest = min((places[n] for n in newer if orders[n]["id"] != order["corrects"]), default=beside)
                beside, at = (lowest, 0) if lowest < beside else (beside, at)
            if phase == "correction":
                above = [keys[other] for other in alike if other in newer or orders[other]["phase"] == "all_clear"]
                highest = max(above, default=(beside, side))
                beside, at = (highest[0], 4 if highest[1] else 1) if highest > (beside, side) else (beside, side)
            keys[key] = (beside, at, places[key], order["start_at"], order["id"])
    return sorted(may, key=lambda key: keys[key], reverse=True)


def severity(order: Json) -> Any:
    return [order["order_class"] == "emergency", order["status"] == "actual", -order["level"]]


def obstacle(claimed: Json, first: Json | None, mark: Json, ended: str, began: bool, config: Json, now: int) -> str:
    """Why an order does not start now, "" when it may; gaps and the rate limit aside."""
    order = claimed["order"]
    daily_alert = order["order_class"] == "daily" and order["phase"] == "alert"
    for reason, holds in (
        ("not_mine", not selects((first or claimed)["order"]["selector"], config)),
        ("withdrawn", order["state"] == "withdrawn"),
        ("over", ended),
        ("done", mark["heard"] >= order.get("repeat", 0)),
        ("expired", now >= order["expires"]),
        ("early", now < order["start_at"]),
        ("missed", daily_alert and now - max(mark["due"], order["start_at"]) > 60_000_000),
        ("original_not_heard", order["phase"] != "alert" and not order.get("also_unstarted") and not began),
    ):
        if holds:
            return reason
    return ""


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
        blank: Json = dict.fromkeys(("heard", "running", "percent", "began", "due", "again", "admitted"), 0)
        blank |= {"accepted": 0, "told": 0, "withdrawn": 0, "over": "", "over_by": []}
        mark: Json = self.j["marks"].setdefault(key, blank)
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
        self.j["now"] = now
        may: dict[str, str] = {}
        for key, claimed in orders.items():
            may[key] = self.review(key, claimed, config, now)
        for key in [key for key, reason in may.items() if reason in ("", "resting", "done", "original_not_heard")]:
            order = orders[key]["order"]
            for name in {*order.get("supersedes", []), order.get("corrects", "")}:
                self.end(key, f"{order['status']}/{name}", now)
        known = {key: reason for key, reason in may.items() if reason in ("", "resting") or self.sounds(key)}
        known = {key: reason for key, reason in known.items() if not over(self.j, key)}
        grave = [key for key in known if place(orders[key], self.first(orders[key]), config)[:2] == (True, True)]
        begun = [key for key, reason in may.items() if key in known or reason in ("rate_limited", "over")]
        for key in [key for key in begun if grave and key.startswith("exercise/")]:
            for by in grave:
                self.finish(key, "actual_order", orders[by]["by"], now)
            known.pop(key, None)
        order = sequence({key: orders[key] for key in known}, self.first, config)
        best = next((key for key in order if not known[key]), None)
        if best is None or (self.sound and order.index(best) >= order.index(self.sound["key"])):
            return
        higher = [key for key in order[: order.index(best)] if known[key] == "resting"]
        if all(self.rests[key] >= mono() + self.repeat_us for key in higher):
            self.start(best, now)

    def taken_back(self, sound: Json, claimed: Json) -> bool:
        other = not still_said(sound["words"], claimed["order"]) and stands(self.j, claimed["by"])
        return bool(sound["rev"] > claimed["order"]["rev"] or (other and not stands(self.j, sound["by"])))

    def review(self, key: str, claimed: Json, config: Json, now: int) -> str:
        """Say what this order's own revision asks for; why it does not start now, "" when it may."""
        order, mark, first = claimed["order"], self.mark(key), self.first(claimed)
        of_first = self.j["marks"].get(f"{order['status']}/{order.get('corrects')}", {"began": 0})["began"]
        younger = self.j["born"] > (first or claimed)["order"]["start_at"]
        ended = over(self.j, key)
        reason: str = obstacle(claimed, first, mark, ended, bool(of_first) or younger, config, now)
        if reason != "not_mine" and mark["accepted"] < order["rev"] and now < order["expires"]:
            mark["accepted"] = order["rev"]
            self.say(key, order["rev"], "accepted", wait=secrets.randbelow(config["accepted_spread_ms"] + 1) * 1_000)
        if self.sounds(key) and self.sound and self.taken_back(self.sound, claimed):
            self.cut(key, "withdrawn", now)
        if reason == "not_mine" or (reason == "withdrawn" and mark["withdrawn"] < order["rev"]):
            open_still = mark["accepted"] and not ended and mark["heard"] < order.get("repeat", 1)
            told = self.cut(key, reason, now)
            mark.update(admitted=0, withdrawn=order["rev"])
            if reason == "withdrawn" and open_still and not told:
                self.say(key, order["rev"], "superseded", reason)
        if reason == "expired" and mark["accepted"] and mark["told"] < order["rev"] and not self.sounds(key):
            mark["told"] = order["rev"]
            if not ended:
                self.say(
                    key, order["rev"], "finished" if mark["heard"] else "failed", "order_expired", repeat=mark["heard"]
                )
        if not reason and self.rests.get(key, 0) > mono():
            return "resting"
        if not reason and not mark["admitted"] and order["phase"] == "alert":
            mine = severity(order)
            starts = [s for at, s, by in self.j["starts"] if at > now - HOUR and stands(self.j, by)]
            recent = [s for s in starts if s >= mine and s[1] >= mine[1]]
            reason = "rate_limited" if len(recent) >= config["starts_per_hour_max"] else ""
        if reason in ("missed", "original_not_heard", "rate_limited") and mark["told"] < order["rev"]:
            mark["told"] = order["rev"]
            self.say(key, order["rev"], "refused", reason, **WAIT if reason == "rate_limited" else {})
        return reason

    def sounds(self, key: str) -> bool:
        return self.sound is not None and self.sound["key"] == key

    def end(self, ending: str, key: str, now: int) -> None:
        ended, by = self.j["orders"].get(key), self.j["orders"][ending]
        if ended is None or now >= by["order"]["expires"] or not may_end(by, ended, self.j["config"]):
            return
        corrected = by["order"].get("corrects") == ended["order"]["id"] and ended["order"]["phase"] == "alert"
        if corrected or (by["order"]["start_at"], ending) > (ended["order"]["start_at"], key):
            self.finish(key, "superseded", by["by"], now)

    def finish(self, key: str, reason: str, by: Json, now: int) -> None:
        """Over by this claim, once for each key; said when it was not over before."""
        order, mark, before = self.j["orders"][key]["order"], self.mark(key), over(self.j, key)
        alike = [each for each in mark["over_by"] if each["x"] == by["x"]]
        if before and (not stands(self.j, by) or any(stands(self.j, each) for each in alike)):
            return
        mark.update(over=before or reason, over_by=[each for each in mark["over_by"] if each not in alike] + [by])
        told = bool(before) or self.cut(key, reason, now)
        if not told and mark["accepted"] and mark["heard"] < order.get("repeat", 0) and order["state"] == "in_force":
            self.say(key, order["rev"], "superseded", reason)

    def start(self, key: str, now: int) -> None:
        if self.sound:
            self.cut(self.sound["key"], "preempted", now)
        order, mark = self.j["orders"][key]["order"], self.mark(key)
        if not mark["admitted"]:
            self.j["starts"] = [each for each in self.j["starts"] if each[0] > now - HOUR] + [
                [now, severity(order), self.j["orders"][key]["by"]]
            ]
        mark.update(running=mark["heard"] + 1, percent=0, began=mark["began"] or now, admitted=1)
        by, asked = self.j["orders"][key]["by"], order["volume"]
        volume = min({"mute": 0, "unchanged": self.volume()}.get(asked, asked), self.j["config"]["volume_max"])
        if asked not in ("mute", "unchanged"):
            self.j["last"] = [volume, by]
        self.keep()
        self.sound = {"key": key, "rev": order["rev"], "repeat": mark["running"], "began": mono()}
        self.sound |= {"words": words(order), "by": by}
        self.sound["said"] = {"repeat": mark["running"], "of": order["repeat"], "source": "speech", "volume": volume}
        again: Json = {"again": 1} if mark["again"] else {}
        self.say(key, order["rev"], "ready", repeat=mark["running"])
        self.say(key, order["rev"], "playing", **self.sound["said"] | again)

    def volume(self) -> int:
        """The one set last by a claim that stands, or the one set at installation."""
        last = self.j["last"]
        return int(last[0] if last and stands(self.j, last[1]) else self.j["volume"])

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
