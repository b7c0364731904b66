"""Room in a manifest (播发清单): what each alert keeps free for its own end, and what is listed. Pure.

Sizes are bytes of canonical JSON. A family is an alert with the correction and the all-clear prepared for it: it keeps
room for the largest of the three and for the alert's stub beside it, so that whatever is on air can be ended.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from devices.protocols import document_json
from devices.protocols.documents import BASE_CHARS_MAX, MANIFEST_BYTES_MAX, MANIFEST_ORDERS_MAX, TOPIC_CHARS_MAX
from devices.protocols.speaker_link import SIGNATURE_ROOM_BYTES, Audio, Manifest, Order, OrderState, stub

INTEGER_LONG = 2**53 - 1
HEAD = Manifest(
    "x" * TOPIC_CHARS_MAX, INTEGER_LONG, INTEGER_LONG, INTEGER_LONG, "0" * 64, (), False, INTEGER_LONG,
    "x" * BASE_CHARS_MAX,
)  # fmt: skip
BYTES_MAX = (MANIFEST_BYTES_MAX - SIGNATURE_ROOM_BYTES) * 3 // 4 - len(document_json.encode(HEAD))
"""What the orders of one manifest may take together."""
RED_BYTES = 1_500
RED_ALERTS = 2
SLOTS_A_FAMILY = 2
TELL_PERCENT = 70
RECORDING_BYTES_MAX = 33_554_432
RECORDING_MS_MAX = 3_600_000


@dataclass(frozen=True, slots=True)
class Family:
    """What one alert and its followers keep of a stream. `title` names it for people; `over` says that its alert sounds
    no more, and `done_us` since when nothing of it is still to be proved."""

    alert: str
    title: str
    level: int
    bytes: int
    over: bool = False
    done_us: int = 0


@dataclass(frozen=True, slots=True)
class Room:
    """How full a stream is for an alert of some level. `percent` 100 is full; `filled_by` are titles, the largest
    first."""

    percent: int
    filled_by: tuple[str, ...]


def size(order: Order) -> int:
    """The bytes of an order as a manifest lists it, the comma behind it included."""
    return len(document_json.encode_order(order)) + 1


def reserved(alert: Order, followers: Iterable[Order], *, over: bool = False) -> int:
    """What a family keeps: the most that any of them takes, followers beside the alert's stub. Recordings not rendered
    yet are counted as if they were."""
    follower = max((size(_rendered(order)) for order in followers), default=0)
    return max(0 if over else size(_rendered(alert)), follower + size(stub(alert)))


def room_left(families: Sequence[Family], level: int, stream_bytes: int = BYTES_MAX) -> tuple[int, int]:
    """(bytes, slots) that an alert of this level may still take. Room for two red alerts is closed to lower levels."""
    used = sum(family.bytes for family in families)
    slots = MANIFEST_ORDERS_MAX - SLOTS_A_FAMILY * len(families)
    if level == 1:
        return stream_bytes - used, slots
    red = [family.bytes for family in families if family.level == 1]
    kept_alerts = max(0, RED_ALERTS - len(red))
    return stream_bytes - used - kept_alerts * RED_BYTES, slots - SLOTS_A_FAMILY * kept_alerts


def fits(family: Family, others: Sequence[Family]) -> bool:
    """Whether a family finds its room beside the others."""
    left, slots = room_left(others, family.level)
    return family.bytes <= left and slots >= SLOTS_A_FAMILY


def to_end(family: Family, others: Sequence[Family], now_us: int) -> tuple[Family, ...] | None:
    """Which families must go so that this one fits, () when it fits already, None when it can't: only those go whose
    alert is over and whose follower has had its time, the oldest first."""
    staying, gone = list(others), list[Family]()
    for old in sorted((f for f in others if f.over and f.done_us <= now_us), key=lambda f: (f.done_us, f.alert)):
        if fits(family, staying):
            break
        staying.remove(old)
        gone.append(old)
    return tuple(gone) if fits(family, staying) else None


def measure(families: Sequence[Family]) -> Room:
    """How full a stream is for what is not red."""
    left, slots = room_left(families, level=2)
    open_bytes = BYTES_MAX - RED_ALERTS * RED_BYTES
    open_slots = MANIFEST_ORDERS_MAX - SLOTS_A_FAMILY * RED_ALERTS
    percent = max(100 - 100 * left // open_bytes, 100 - 100 * slots // open_slots)
    largest = sorted(families, key=lambda family: (-family.bytes, family.alert))
    return Room(max(0, min(100, percent)), tuple(family.title for family in largest))


def listed(orders: Sequence[Order], keep: frozenset[str], swept_us: int) -> tuple[list[Order], int]:
    """(what a manifest lists, its `swept`): everything in force, the stubs in `keep` (they may come back), and of the
    other stubs the newest that find room. What goes is swept."""
    must = [order for order in orders if order.state is OrderState.IN_FORCE or order.id in keep]
    stubs = [order for order in orders if order.state is OrderState.WITHDRAWN and order.id not in keep]
    left, slots = BYTES_MAX - sum(map(size, must)), MANIFEST_ORDERS_MAX - len(must)
    shown = list(must)
    for order in sorted(stubs, key=lambda order: (order.start_at, order.id), reverse=True):
        left, slots = left - size(order), slots - 1
        if left >= 0 and slots >= 0:
            shown.append(order)
        else:
            swept_us = max(swept_us, order.start_at + 1)
    return sorted(shown, key=lambda order: order.id), swept_us


def _rendered(order: Order) -> Order:
    """The order with every recording that may still be added."""
    missing = set(order.texts) - {audio.lang for audio in order.audio}
    more = (Audio(lang, "0" * 64, "opus", RECORDING_MS_MAX, RECORDING_BYTES_MAX) for lang in sorted(missing))
    return replace(order, audio=(*order.audio, *more))
