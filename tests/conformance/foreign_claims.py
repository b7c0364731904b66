"""What a speaker of another maker makes of claims, by devices/protocols/README.md: whose versions and orders count, who
may change which order, and what a removed key takes back with it. Works on the speaker's journal, a JSON value.

A claim is `{x, stream, area, level, order}`: the public half of the key and its area, and what was said with it.
Imports nothing of Tocsin.
"""

from __future__ import annotations

from typing import Any

from tests.conformance.foreign_rules import Json, reaches

HEARD_OF = ("texts", "volume", "event_code", "level", "phase")


def claim_of(key: Json, stream: str, level: int = 0, order: str = "") -> Json:
    return {"x": key["x"], "stream": stream, "area": key["area"], "level": level, "order": order}


def stands(j: Json, by: Json) -> bool:
    """Whether its key may sign this under the key document that is held."""
    key, config = next((key for key in j["keys"]["keys"] if key["x"] == by["x"]), None), j["config"]
    if key is None:
        return False
    if not by["stream"]:
        return key["use"] == "config" and (key["area"] == by["area"] or contains(config, key["area"], by["area"]))
    there = key["area"] == by["area"] or config is None or reaches(key["area"], by["stream"], config)
    theirs = by["stream"].split("/")[-2:] == [key["use"], key["issuer"]]
    return there and theirs and by["level"] in (0, *key["levels"])


def contains(config: Json, outer: str, inner: str) -> bool:
    chain = config["area_chain"]
    if inner in config["overlay"]:
        return bool(outer in (inner, chain[0]))
    return outer == inner or (outer in chain and inner in chain and chain.index(outer) <= chain.index(inner))


def highest(j: Json, accepted: list[Any]) -> list[Any] | None:
    """The highest of `[version, digest, chain head, claim]` that stands."""
    return max((held for held in accepted if stands(j, held[3])), key=lambda held: int(held[0]), default=None)


def counting(j: Json) -> Json:
    """What is held of each stream."""
    found = {topic: highest(j, accepted) for topic, accepted in j["accepted"].items()}
    return {topic: held for topic, held in found.items() if held}


def in_force(j: Json, order: Json) -> bool:
    return bool(order["state"] == "in_force" and j.get("now", 0) < order["expires"])


def named(j: Json) -> Json:
    """The streams that the state names: what is held of them, and 0 where only orders in force are left."""
    left = {held["by"]["stream"]: 0 for held in j["orders"].values() if in_force(j, held["order"])}
    return left | {topic: held[0] for topic, held in j["streams"].items()}


def next_accepted(j: Json, before: list[Any], held: list[Any]) -> list[Any]:
    """What is kept of a stream: a version for each listed key, and the highest of the removed ones."""
    others = [each for each in before if each[3]["x"] != held[3]["x"]]
    removed = sorted((each for each in others if not stands(j, each[3])), key=lambda each: int(each[0]))
    return [each for each in others if each not in removed[:-1]] + [held]


def words(order: Json) -> Any:
    return [order.get(name) for name in HEARD_OF], order.get("audio", [])


def still_said(before: Any, order: Json) -> bool:
    """Whether an order says what was said before; a recording may come to a text."""
    (said, old), (says, new) = before, words(order)
    spoken = all(audio["lang"] in order.get("texts", {}) for audio in new)
    return bool(said == says and all(audio in new for audio in old) and (len(new) == len(old) or spoken))


def claim(j: Json, held: Json | None, new: Json) -> tuple[Json | None, str]:
    """The order to hold from now on, None when the claim changes nothing, and why it is refused.

    An order is held as `{order, said, by, missed}`: `said` as it was listed, `by` the claim that listed it, `missed`
    the claim of the manifest, the last one accepted on the stream, that does not list it.
    """
    if held is None:
        return new, ""
    old, order, was, by = held["order"], new["order"], held["by"], new["by"]
    if order == held["said"] and was["stream"] == by["stream"]:
        return {**held, "by": {**by, "level": old["level"]}, "missed": None}, ""
    if order["state"] == "withdrawn":
        kept = {**old, **{name: order[name] for name in ("rev", "state", "expires")}}
        new = {**new, "order": kept, "by": {**by, "level": kept["level"]}}
    if not stands(j, was):
        return new, ""
    kinds = was["stream"].split("/")[2], by["stream"].split("/")[2]
    if kinds[0] != kinds[1]:
        return (new, "") if kinds[1] == "area" else (None, "")
    if was["stream"].split("/")[-1] != by["stream"].split("/")[-1]:
        if not contains(j["config"], by["area"], was["area"]):
            return None, "not_issuer"
        if not contains(j["config"], was["area"], by["area"]):
            return new, ""
    if order["rev"] <= old["rev"]:
        return None, "version_conflict" if order["rev"] == old["rev"] and order != held["said"] else ""
    return new, ""


def take_orders(j: Json, manifest: Json, signer: Json) -> list[str]:
    """Take an accepted manifest's orders into the journal, by use and id; why some of them are refused."""
    codes, orders, stream = [], j["orders"], manifest["stream"]
    for order in manifest["orders"]:
        key = f"{order['status']}/{order['id']}"
        held, by = orders.get(key), claim_of(signer, stream, order["level"], key)
        taken, code = claim(j, held, {"order": order, "said": order, "by": by, "missed": None})
        codes += [code] if code else []
        if taken and held and taken["order"] == held["order"]:
            if order["state"] == "in_force":
                _listed_again(j, held["by"], taken["by"])
        elif taken and held and key in j["marks"]:
            if not still_said(words(held["order"]), taken["order"]):
                j["marks"][key].setdefault("doubts", []).append(held["by"])
            if not stands(j, held["by"]):
                _reopen(j["marks"][key], taken["order"])
        orders.update({key: taken} if taken else {})
    ids = {order["id"] for order in manifest["orders"]}
    for key, held in orders.items():
        order = held["order"]
        if held["by"]["stream"] == stream and order["id"] not in ids and order["state"] == "in_force":
            held["missed"] = claim_of(signer, stream)
            if order["start_at"] < manifest.get("swept", 0):
                _end(held, claim_of(signer, stream, order["level"], key))
    take_back(j)
    return codes


def _listed_again(j: Json, before: Json, by: Json) -> None:
    """The very same order is in force by another claim: what it caused is that claim's as well."""
    j["starts"] = [[at, how, by if began["order"] == by["order"] else began] for at, how, began in j["starts"]]
    for mark in j["marks"].values():
        mark["over_by"] += [by] if before in mark["over_by"] and by not in mark["over_by"] else []


def _reopen(mark: Json, order: Json) -> None:
    """A listed key has an order that only a removed one vouched for: what was said of its revisions is open again."""
    for name in ("accepted", "told", "withdrawn"):
        mark[name] = min(mark[name], order["rev"] - 1)


def _end(held: Json, by: Json) -> None:
    held.update(order={**held["order"], "state": "withdrawn"}, said={}, by=by, missed=None)


def take_back(j: Json) -> None:
    """Keys or claims have changed: what does not stand was not heard, and ends where a listed key has spoken since."""
    for key, held in j["orders"].items():
        mark, listed = j["marks"].get(key, {}), stands(j, held["by"])
        if listed and not all(stands(j, doubt) for doubt in mark.get("doubts", ())):
            mark |= {"heard": 0, "doubts": []}
        if not listed and held["missed"] and stands(j, held["missed"]) and held["order"]["state"] == "in_force":
            _end(held, {**held["by"], "x": ""})


def over(j: Json, key: str) -> str:
    """Why an order is over, "" when it is not, or when nobody who is listed says so any more."""
    mark, ended = j["marks"].get(key, {"over": "", "over_by": []}), j["orders"][key]
    ends = [stands(j, by) or _still_ends(j, by["order"], ended["order"], mark["over"]) for by in mark["over_by"]]
    taken_back = ends and not any(ends) and stands(j, ended["by"])
    return "" if taken_back else str(mark["over"])


def _still_ends(j: Json, ending: str, ended: Json, reason: str) -> bool:
    order = j["orders"][ending]["order"]
    names = reason == "actual_order" or ended["id"] in (*order.get("supersedes", ()), order.get("corrects"))
    return bool(names and in_force(j, order))
