"""Sightings (不明播发): something on air that nobody here gave out, a version of a stream or an order. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

UNKNOWN_SOUNDS = "unknown_on_air"
"""The hazard of an incident that a sighting makes. No feed may name it, and no playbook may answer it."""

LEVEL_UNKNOWN_SOUNDS = 1
SAID_BY_MAX = 8
UNREAD_MAX = 3
"""How many of the messages about one sighting are kept as unread input; the others are only counted."""
TIMER = ("sighting", "look")
MANY = "many"
"""The sighting under which those are counted that come when too many are listed."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What was seen: `id` is `<stream>@<version>`, `order/<id>`, or `order/<id>@<rev>` for a revision of a known order.

    `orders` are the ids that a manifest on the broker named. `part_of` names the sighting of the stream that brought
    an order. `said_by` are the first speakers that said so, `said` counts their messages, `speakers` how many they
    were when they were last counted. `excuse` says why it is no alarm, `incident` which one it is. Times are µs UTC.
    """

    id: str
    stream: str = ""
    version: int = 0
    order: str = ""
    rev: int = 0
    orders: tuple[str, ...] = ()
    part_of: str = ""
    said_by: tuple[str, ...] = ()
    said: int = 0
    speakers: int = 0
    unread: int = 0
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


def headline(s: Sighting) -> dict[str, str]:
    """What people read."""
    by_zh = f"{s.speakers}个终端称" if s.speakers else "消息服务器上"
    by_en = f"{s.speakers} speakers hold or play" if s.speakers else "The broker holds"
    if s.id == MANY:
        return {
            "zh": f"{by_zh}有大量本系统从未下达的指令",
            "en": f"{by_en} many orders that were never given out here",
        }
    if s.stream:
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
