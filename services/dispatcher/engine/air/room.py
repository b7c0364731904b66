"""Room in a manifest (播发清单): what each alert keeps free for its own end, and what is listed. Pure.

Sizes are bytes of canonical JSON. A family is an alert with the correction and the all-clear prepared for it: it keeps
room for the largest of the three, so that whatever is on air can be ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from devices.protocols import document_json
from devices.protocols.documents import (
    AUDIO_BYTES_MAX,
    AUDIO_MS_MAX,
    BASE_CHARS_MAX,
    INTEGER_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_ORDERS_MAX,
    TOPIC_CHARS_MAX,
)
from devices.protocols.speaker_link import SIGNATURE_ROOM_BYTES, Audio, Manifest, Order, OrderState

REV_LONG = 9_999
HEAD = Manifest(
    "x" * TOPIC_CHARS_MAX, INTEGER_MAX, INTEGER_MAX, INTEGER_MAX, "0" * 64, (), False, INTEGER_MAX,
    "x" * BASE_CHARS_MAX,
)  # fmt: skip
BYTES_MAX = (MANIFEST_BYTES_MAX - SIGNATURE_ROOM_BYTES) * 3 // 4 - len(document_json.encode(HEAD))
"""What the orders of one manifest may take together."""
RED_BYTES = 2_900
"""What a red alert may take whose words are as long as two languages allow, or whose area has 100 corners."""
RED_ALERTS = 2
SLOTS_A_FAMILY = 2
TELL_PERCENT = 70


@dataclass(frozen=True, slots=True)
class Family:
    """What one alert and its followers keep of a stream. `title` names it for people; `over` says that its alert sounds
    no more, `done_us` until when a follower of it on air may still be proved, `ours` that it was given out here.
    `prepared` is what the largest of its followers takes that were not given out."""

    alert: str
    title: str
    level: int
    bytes: int
    over: bool = False
    done_us: int = 0
    ours: bool = True
    prepared: int = 0


@dataclass(frozen=True, slots=True)
class Taken:
    """What a stream's room is kept for: families with something on air, and for the alerts that have ended without
    their followers the largest of these, because one at a time is let on air, whatever other follower must go."""

    families: tuple[Family, ...] = ()
    ended_bytes: int = 0

    def without(self, gone: Iterable[Family]) -> Taken:
        """The same once these families have left; what they have prepared may still have to go on air."""
        left = set(gone)
        ended = max((family.prepared for family in left), default=0)
        staying = tuple(family for family in self.families if family not in left)
        return Taken(staying, max(self.ended_bytes, ended))


@dataclass(frozen=True, slots=True)
class Room:
    """How full a stream is for what is not red. `percent` 100 is full; `filled_by` are titles, the largest first."""

    percent: int
    filled_by: tuple[str, ...]


def size(order: Order) -> int:
    """The bytes of an order as a manifest lists it, the comma behind it included."""
    return len(document_json.encode_order(order)) + 1


def size_at_most(order: Order) -> int:
    """The most that an order may come to take: with every recording, and with its longest revision and times."""
    missing = set(order.texts) - {audio.lang for audio in order.audio}
    more = (Audio(lang, "0" * 64, "opus", AUDIO_MS_MAX, AUDIO_BYTES_MAX) for lang in sorted(missing))
    longest = replace(order, rev=REV_LONG, start_at=INTEGER_MAX, expires=INTEGER_MAX, audio=(*order.audio, *more))
    return size(longest)


def reserved(alert: Order, followers: Iterable[Order], *, over: bool = False) -> int:
    """What a family keeps: the most that any of its whole orders takes. A stub keeps no room: it is swept instead."""
    follower = max((size_at_most(order) for order in followers), default=0)
    return max(0 if over else size_at_most(alert), follower)


def room_left(taken: Taken, level: int) -> tuple[int, int]:
    """(bytes, slots) that an alert of this level may still take. Room for two red alerts is closed to lower levels."""
    used = sum(family.bytes for family in taken.families) + taken.ended_bytes
    slots = MANIFEST_ORDERS_MAX - SLOTS_A_FAMILY * len(taken.families) - (1 if taken.ended_bytes else 0)
    if level == 1:
        return BYTES_MAX - used, slots
    kept_alerts = max(0, RED_ALERTS - sum(1 for family in taken.families if family.level == 1))
    return BYTES_MAX - used - kept_alerts * RED_BYTES, slots - SLOTS_A_FAMILY * kept_alerts


def fits(family: Family, taken: Taken) -> bool:
    """Whether an alert's family finds its room beside the others."""
    left, slots = room_left(taken, family.level)
    return family.bytes <= left and slots >= SLOTS_A_FAMILY


def gives_way(family: Family, taken: Taken, now_us: int) -> tuple[Family, ...] | None:
    """Which families must go so that an alert's fits, () when it fits already, None when it can't: only those go whose
    alert is over and whose follower has had its time, the oldest first."""
    staying, gone = taken, list[Family]()
    for old in _over(taken, now_us):
        if fits(family, staying):
            break
        gone.append(old)
        staying = taken.without(gone)
    return tuple(gone) if fits(family, staying) else None


def gives_way_to_follower(family: Family, taken: Taken) -> tuple[Family, ...] | None:
    """The same for a follower, which no room is closed to and which the others' followers leave for at any time."""
    gone: list[Family] = []
    for old in (*_over(taken, INTEGER_MAX), None):
        staying = taken.without(gone).families
        ours = [other.bytes for other in staying if other.ours]
        if family.bytes <= BYTES_MAX - sum(ours) and SLOTS_A_FAMILY * (len(ours) + 1) <= MANIFEST_ORDERS_MAX:
            return tuple(gone)
        if old is not None:
            gone.append(old)
    return None


def _over(taken: Taken, now_us: int) -> list[Family]:
    over = [family for family in taken.families if family.over and family.done_us <= now_us]
    return sorted(over, key=lambda family: (family.done_us, family.alert))


def measure(taken: Taken) -> Room:
    """How full a stream is for what is not red."""
    left, slots = room_left(taken, level=2)
    open_bytes = BYTES_MAX - RED_ALERTS * RED_BYTES
    open_slots = MANIFEST_ORDERS_MAX - SLOTS_A_FAMILY * RED_ALERTS
    percent = max(100 - 100 * left // open_bytes, 100 - 100 * slots // open_slots)
    largest = sorted(taken.families, key=lambda family: (-family.bytes, family.alert))
    return Room(max(0, min(100, percent)), tuple(family.title for family in largest))


def listed(
    orders: Sequence[Order], ours: Collection[str], keep: Collection[str], swept_us: int, now_us: int
) -> tuple[list[Order], int]:
    """(what a manifest lists, its `swept`): everything in force, the stubs in `keep` (they may come back), and of the
    other stubs the newest that find room. What goes is swept, as far as it has begun.

    Room is kept for `ours` alone: of what others put on the stream, the last to begin is left out where it is more.
    """
    must = [o for o in orders if o.id in keep or (o.state is OrderState.IN_FORCE and o.id in ours)]
    named = {order.id for order in must}
    foreign = [o for o in orders if o.state is OrderState.IN_FORCE and o.id not in named]
    stubs = [o for o in orders if o.state is OrderState.WITHDRAWN and o.id not in named]
    left, slots = BYTES_MAX - sum(map(size, must)), MANIFEST_ORDERS_MAX - len(must)
    shown = list(must)
    for order in (*_by_start(foreign), *reversed(_by_start(stubs))):
        left, slots = left - size(order), slots - 1
        if left >= 0 and slots >= 0:
            shown.append(order)
        elif order.state is OrderState.WITHDRAWN and order.start_at < now_us:
            swept_us = max(swept_us, order.start_at + 1)
    return sorted(shown, key=lambda order: order.id), swept_us


def _by_start(orders: Iterable[Order]) -> list[Order]:
    return sorted(orders, key=lambda order: (order.start_at, order.id))
