"""The order of sounds: which of the orders that may sound at one speaker goes first. Pure; reads no clock.

The place of an all-clear or of a correction depends on the other orders, so the answer is a function of the whole set:
for any set there is one sequence, whatever the order of arrival.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from devices.protocols.documents import Order, OrderClass, Phase

Place = tuple[bool, bool, int, int, int, str]
"""(emergency, actual, minus level, height, start_at, id): greater goes first."""


@dataclass(frozen=True, slots=True)
class Contender:
    """An order that may sound at a speaker: in force, meant for it, begun, not over, and with repeats left.

    `height` is `area_height` of the stream; of a correction or all-clear the greater of its own and its original's.
    `original` is the order that a correction or all-clear names, None where the speaker does not know it.
    """

    order: Order
    height: int
    original: Order | None = None

    @property
    def emergency(self) -> bool:
        """Whether it goes before daily orders: a correction or all-clear has the class of its original."""
        return (self.original or self.order).order_class is OrderClass.EMERGENCY

    @property
    def place(self) -> Place:
        """Where its own level, area and age put it, or those of its original."""
        of = self.original or self.order
        return (self.emergency, self.order.status == "actual", -of.level, self.height, of.start_at, of.id)


_BELOW, _ABOVE_LOWERED, _ALERT, _ALL_CLEAR, _CORRECTION = range(5)
_Key = tuple[Place, int, Place, int, str]
"""(place of the order beside which it stands, on which side, own place, start_at, id)."""


def order_of_sounds(contenders: Iterable[Contender]) -> list[Contender]:
    """The contenders, who goes first in front. No two may have the same use and id.

    An alert stands in its place. An all-clear and a correction stand just above their original's place, except that

    - an emergency all-clear stands just below the lowest of the emergency alerts of its use that are newer than it,
      its original left aside, when one of them would otherwise stand below it;
    - a correction stands just above the highest of the all-clears of its use and class, and of the alerts of its use
      and class that are newer than it, when one of them would otherwise stand above it.
    """
    every = list(contenders)
    alerts = [c for c in every if c.order.phase is Phase.ALERT]
    keys = {_name(c): _key(c, c.place, _ALERT) for c in alerts}
    all_clears = [c for c in every if c.order.phase is Phase.ALL_CLEAR]
    keys |= {_name(c): _all_clear(c, alerts) for c in all_clears}
    corrections = [c for c in every if c.order.phase is Phase.CORRECTION]
    keys |= {_name(c): _correction(c, alerts, all_clears, keys) for c in corrections}
    return sorted(every, key=lambda c: keys[_name(c)], reverse=True)


def _all_clear(c: Contender, alerts: list[Contender]) -> _Key:
    newer = [a.place for a in alerts if _alike(a, c) and _newer(a, c) and a.order.id != c.order.corrects]
    lowest = min(newer, default=c.place)
    if c.emergency and lowest < c.place:
        return _key(c, lowest, _BELOW)
    return _key(c, c.place, _ALL_CLEAR)


def _correction(
    c: Contender, alerts: list[Contender], all_clears: list[Contender], keys: dict[tuple[str, str], _Key]
) -> _Key:
    own = _key(c, c.place, _CORRECTION)
    over = [a for a in alerts if _newer(a, c)] + all_clears
    highest = max((keys[_name(o)] for o in over if _alike(o, c)), default=own)
    if highest < own:
        return own
    return _key(c, highest[0], _ABOVE_LOWERED if highest[1] == _BELOW else _CORRECTION)


def _key(c: Contender, beside: Place, side: int) -> _Key:
    return (beside, side, c.place, c.order.start_at, c.order.id)


def _alike(one: Contender, other: Contender) -> bool:
    return (one.order.status, one.emergency) == (other.order.status, other.emergency)


def _newer(one: Contender, other: Contender) -> bool:
    return one.order.start_at > other.order.start_at


def _name(c: Contender) -> tuple[str, str]:
    return c.order.status, c.order.id
