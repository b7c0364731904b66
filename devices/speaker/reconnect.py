"""When to connect again: full jitter over a spread, so that a city does not come back in one second. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

FLOOR_US = 250_000
FLOOR_US_MAX = 5_000_000
CONNECT_US_MAX = 15_000_000


class LinkPhase(StrEnum):
    WAITING = "waiting"
    CONNECTING = "connecting"
    UP = "up"


@dataclass(frozen=True, slots=True)
class Dial:
    """Where the link stands; `failures` counts attempts since it was last up."""

    phase: LinkPhase = LinkPhase.WAITING
    failures: int = 0

    def connecting(self) -> Dial:
        return Dial(LinkPhase.CONNECTING, self.failures)

    def up(self) -> Dial:
        return Dial(LinkPhase.UP, 0)

    def lost(self) -> Dial:
        """The link went down, or the attempt came to nothing."""
        return Dial(LinkPhase.WAITING, 0 if self.phase is LinkPhase.UP else self.failures + 1)


def wait_us(dial: Dial, spread_s: int, draw: float) -> int:
    """How long to wait before the next attempt; `draw` is a random number from 0 to 1.

    The floor grows with failures, so that a spread of 0 does not hammer a broker that refuses.
    """
    floor_us = min(FLOOR_US << min(dial.failures, 10), FLOOR_US_MAX) if dial.failures else 0
    return max(round(draw * spread_s * 1_000_000), floor_us)
