"""Sightings (不明播发): something on air that nobody here gave out, or took off the air: a version of a stream or an
order. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import assert_never

UNKNOWN_SOUNDS = "unknown_on_air"
"""The hazard of an incident that a sighting makes. No feed may name it, and no playbook may answer it."""

LEVEL_UNKNOWN_SOUNDS = 1
SAID_BY_MAX = 8
UNREAD_MAX = 3
"""How many of the messages about one sighting are kept as unread input; the others are only counted."""
REST = "rest"
"""The id of the row under which is counted what comes when too much is listed."""


class Listing(StrEnum):
    """What a row is about: one thing that was seen, all that one account says beyond its share, or the rest."""

    THING = "thing"
    ACCOUNT = "account"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen: `id` is `<stream>@<version>`, `order/<id>`, or `order/<id>@<rev>` for a revision of a known order;
    `stopped/<id>` is an order of ours that sounds after it was stopped; `account/<speaker>` and `rest` are rows of
    another `listing`.

    `orders` are the ids that a manifest on the broker named. `part_of` names the sighting of the stream that brought
    an order. `said_by` are the first speakers that said so, `said` counts their messages, `speakers` how many they
    were when they were last counted. `excuse` says why it is no alarm, `incident` which one it is. Times are µs UTC.

    `on_broker` says that a verified copy of it was on the broker and nothing explains it: somebody else has a key.
    `carried` says that our own signature carries it on until a person decides. `leads` says that its incident was
    opened for it and shows its count, `anew` that it was said again after people were done with that incident.
    """

    id: str
    stream: str = ""
    version: int = 0
    order: str = ""
    rev: int = 0
    orders: tuple[str, ...] = ()
    part_of: str = ""
    after_stop: bool = False
    said_by: tuple[str, ...] = ()
    said: int = 0
    speakers: int = 0
    unread: int = 0
    listing: Listing = Listing.THING
    account: str = ""
    on_broker: bool = False
    carried: bool = False
    leads: bool = False
    anew: bool = False
    raised_us: int = 0
    first_us: int = 0
    last_us: int = 0
    look_us: int = 0
    excuse: str = ""
    incident: str = ""


def stream_id(stream: str, version: int) -> str:
    return f"{stream}@{version}"


def order_id(order: str, rev: int = 0) -> str:
    """The sighting of an order that is unknown here; with `rev` that of a revision which a known order never had."""
    return f"order/{order}@{rev}" if rev else f"order/{order}"


def stopped_id(order: str) -> str:
    return f"stopped/{order}"


def account_id(speaker: str) -> str:
    return f"account/{speaker}"


def headline(s: Sighting) -> dict[str, str]:
    """What people read."""
    by_zh = f"{s.speakers}个终端称" if s.speakers else "消息服务器上"
    by_en = f"{s.speakers} speakers hold or play" if s.speakers else "The broker holds"
    match s.listing:
        case Listing.ACCOUNT:
            return {
                "zh": f"终端{s.account}称有大量本系统从未下达的指令，其账号可能被盗用，或恢复的备份丢失了这些指令",
                "en": f"Speaker {s.account} says of many orders that it has them, which were never given out here: its "
                "account may be stolen, or a restored backup has lost them",
            }
        case Listing.REST:
            return {
                "zh": f"{by_zh}有大量本系统从未下达的指令",
                "en": f"{by_en} many orders that were never given out here",
            }
        case Listing.THING:
            return _of_thing(s, by_zh, by_en)
        case _:
            assert_never(s.listing)


def _of_thing(s: Sighting, by_zh: str, by_en: str) -> dict[str, str]:
    if s.after_stop:
        return {
            "zh": f"{s.speakers}个终端在指令{s.order}停播之后仍在播放，而它们已持有停播后的清单",
            "en": f"{s.speakers} speakers still sound order {s.order} after it was stopped, though they hold the "
            "manifest that stopped it",
        }
    if s.carried:
        named = "、".join(s.orders[:3])
        return {
            "zh": f"本系统的签名正随清单{s.stream}继续播发从未在此下达的指令（{named}）：请立即采用或撤下",
            "en": f"Our own signature carries on, on {s.stream}, orders that were never given out here "
            f"({', '.join(s.orders[:3])}): adopt or withdraw them",
        }
    if s.stream and not s.order:
        named = "、".join(s.orders[:3])
        return {
            "zh": f"{by_zh}有本系统从未签发的播发清单：{s.stream} 版本{s.version}"
            + (f"（指令{named}）" if named else ""),
            "en": f"{by_en} version {s.version} of {s.stream}, which was never signed here"
            + (f" (orders {', '.join(s.orders[:3])})" if named else ""),
        }
    what_zh = f"指令{s.order}的第{s.rev}版" if s.id != order_id(s.order) else f"指令{s.order}"
    what_en = f"revision {s.rev} of order {s.order}" if s.id != order_id(s.order) else f"order {s.order}"
    return {"zh": f"{by_zh}有本系统从未下达的{what_zh}", "en": f"{by_en} {what_en}, which was never given out here"}
