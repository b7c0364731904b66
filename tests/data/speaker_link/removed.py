"""Vectors of a removed key: documents one after the other, and what a speaker holds after the last one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from devices.protocols import speaker_link as link
from devices.protocols.documents import INTEGER_MAX, OrderState, stub
from devices.protocols.jws import SigningKey
from devices.protocols.speaker_link import KEYS_TOPIC, KeyDocument, Manifest, Order, Phase

Json = dict[str, Any]

STOLEN, HELD = "actual-city", "actual-city-2"
AHEAD_MS = 590_000


def cases(all_keys: KeyDocument, empty: Manifest, ours: Order, private: Callable[[str], SigningKey]) -> list[Json]:
    """Each case begins with the key document, the config and the time of `world.json`, and nothing else held."""
    now_ms = empty.version
    thiefs, ended = replace(ours, id="thiefs"), stub(replace(ours, rev=INTEGER_MAX, state=OrderState.WITHDRAWN))
    left = tuple(key for key in all_keys.keys if key.kid != STOLEN)
    (first,) = (key for key in all_keys.keys if key.kid == STOLEN)
    other = replace(first, x=private("another").public_link_key(first.use, first.issuer, first.area, (), 0).x)
    clear = replace(ours, id="clear", phase=Phase.ALL_CLEAR, corrects=ours.id)
    instead = replace(thiefs, supersedes=(ours.id,))

    def keys(*listed: link.LinkKey, later: int = 1) -> Json:
        document = replace(all_keys, version=all_keys.version + later, keys=listed)
        return {"topic": KEYS_TOPIC, "raw": link.sign(document, private("root-1")).decode()}

    def said(kid: str, version: int, *orders: Order, by: str = "", swept: int = 0) -> Json:
        manifest = replace(empty, version=version, orders=orders, swept=swept)
        raw = link.sign(manifest, replace(private(by or kid), kid=kid))
        return {"topic": empty.stream, "raw": raw.decode()}

    def narrowed(**limit: Any) -> Json:
        return keys(*left, replace(first, **limit))

    def withdrawn(order: Order) -> Order:
        return replace(order, state=OrderState.WITHDRAWN)

    removed = keys(*left)
    over = {"an order that another one under the key ended", "an end that a listed key lists too",
            "an end whose order is in force still"}  # fmt: skip
    rows: list[tuple[str, list[Json], int | None, dict[str, Order], list[str]]] = [
        ("a lower version, refused before the removal",
         [said(STOLEN, now_ms + AHEAD_MS), said(HELD, now_ms, ours), removed],
         now_ms, {"ours": ours}, ["version_back"]),
        ("a lower version after the removal",
         [said(STOLEN, now_ms + AHEAD_MS), removed, said(HELD, now_ms, ours)], now_ms, {"ours": ours}, []),
        ("no other key ever signed the stream", [said(STOLEN, now_ms, ours), removed], None, {"ours": ours}, []),
        ("an older manifest of a key that stays",
         [said(HELD, now_ms), said(STOLEN, now_ms + AHEAD_MS), removed, said(HELD, now_ms - 1, ours)],
         now_ms, {}, ["version_back"]),
        ("an order that a later manifest does not list",
         [said(STOLEN, now_ms + AHEAD_MS, ours, thiefs), removed, said(HELD, now_ms, ours)],
         now_ms, {"ours": ours, "thiefs": withdrawn(thiefs)}, []),
        ("an order that a manifest before the removal did not list",
         [said(STOLEN, now_ms, thiefs), said(HELD, now_ms + 1), removed],
         now_ms + 1, {"thiefs": withdrawn(thiefs)}, []),
        ("an order that a listed key vouches for",
         [said(STOLEN, now_ms, ours), said(HELD, now_ms + 1, ours), removed, said(HELD, now_ms + 2)],
         now_ms + 2, {"ours": ours}, []),
        ("an order ended at the highest rev",
         [said(STOLEN, now_ms, ours), said(STOLEN, now_ms + 1, ended), removed, said(HELD, now_ms + 2, ours)],
         now_ms + 2, {"ours": ours}, []),
        ("an order of another key that it swept",
         [said(HELD, now_ms, ours), said(STOLEN, now_ms + AHEAD_MS, swept=empty.issued), removed,
          said(HELD, now_ms + 1, ours)],
         now_ms + 1, {"ours": ours}, []),
        ("an order ended at the highest rev, with the key still listed",
         [said(STOLEN, now_ms, ended), said(HELD, now_ms + 1, ours)], now_ms + 1, {"ours": ended}, []),
        ("another key under the same name",
         [said(STOLEN, now_ms + AHEAD_MS, thiefs), keys(*left, other),
          said(STOLEN, now_ms, ours, by="another")],
         now_ms, {"ours": ours, "thiefs": withdrawn(thiefs)}, []),
        ("an order that was ended for its key, listed again as it was",
         [said(STOLEN, now_ms, ours), removed, said(HELD, now_ms + 1), keys(*left, first, later=2),
          said(HELD, now_ms + 2, ours)],
         now_ms + 2, {"ours": ours}, []),
        ("an order that another one under the key ended",
         [said(HELD, now_ms, ours), said(STOLEN, now_ms + AHEAD_MS, ours, instead)],
         now_ms + AHEAD_MS, {"ours": ours, "thiefs": instead}, []),
        ("an order that another one under the key ended, with the key removed",
         [said(HELD, now_ms, ours), said(STOLEN, now_ms + AHEAD_MS, ours, instead), removed,
          said(HELD, now_ms + 1, ours)],
         now_ms + 1, {"ours": ours, "thiefs": withdrawn(instead)}, []),
        ("an end that a listed key lists too",
         [said(STOLEN, now_ms, ours, clear), said(HELD, now_ms + 1, ours, clear), removed],
         now_ms + 1, {"ours": ours, "clear": clear}, []),
        ("an end whose order is in force still",
         [said(STOLEN, now_ms, ours, clear), removed], None, {"ours": ours, "clear": clear}, []),
        ("a key that may sign other levels than before: its version",
         [said(STOLEN, now_ms + AHEAD_MS, ours), narrowed(levels=(4,)), said(HELD, now_ms)],
         now_ms + AHEAD_MS, {"ours": ours}, ["version_back"]),
        ("a key that may sign other levels than before: its orders",
         [said(STOLEN, now_ms, ours, thiefs), narrowed(levels=(4,)), said(HELD, now_ms + 1, ours)],
         now_ms + 1, {"ours": ours, "thiefs": withdrawn(thiefs)}, []),
        ("a key that may sign for another area than before",
         [said(STOLEN, now_ms + AHEAD_MS, thiefs), narrowed(area="210203000000"), said(HELD, now_ms, ours)],
         now_ms, {"ours": ours, "thiefs": withdrawn(thiefs)}, []),
    ]  # fmt: skip
    return [
        {
            "name": name,
            "documents": documents,
            "held": {} if version is None else {empty.stream: version},
            "orders": {f"actual/{o.id}": [o.rev, str(o.state)] for o in orders.values()},
            "over": [f"actual/{ours.id}"] if name in over else [],
            "reported": reported,
        }
        for name, documents, version, orders, reported in rows
    ]
