"""How much one feed may send, so that a flood on one slows no other: requests and signals per minute, and few at once.

Counts are of one web process. A right key is known here by its digest, so that a feed which has used its minute up is
refused, and one that sends much at once waits, before either costs a worker thread.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from math import ceil

from ..domain.signals import Feed
from .problems import RateLimited

AT_ONCE = 8
"""Requests of one feed that are worked on together, out of the 40 worker threads."""
FEEDS_MAX = 4_096
KEYS_MAX = 4_096
MINUTE_US = 60_000_000


@dataclass(slots=True)
class Allowance:
    """So many a minute: it fills evenly, never beyond one minute's worth, and one large delivery may overdraw it."""

    per_minute: int
    left: float
    seen_us: int

    def refill(self, per_minute: int, now_us: int) -> None:
        self.per_minute = per_minute
        self.left = min(per_minute, self.left + (now_us - self.seen_us) * per_minute / MINUTE_US)
        self.seen_us = now_us

    @property
    def wait_s(self) -> int:
        """Whole seconds until there is one again; 0 when there is."""
        return 0 if self.left >= 1 else ceil((1 - self.left) * 60 / self.per_minute)


@dataclass(slots=True, eq=False)
class Share:
    """What one feed has left, and its turns."""

    requests: Allowance
    signals: Allowance
    turns: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))


class FeedLimits:
    """The shares of the feeds that have shown their key, in bounded memory."""

    def __init__(self, mono_us: Callable[[], int]) -> None:
        self._mono_us = mono_us
        self._lock = threading.Lock()
        self._shares: OrderedDict[str, Share] = OrderedDict()
        self._of_key: OrderedDict[bytes, str] = OrderedDict()

    def early(self, key: bytes) -> Share | None:
        """The share that a key's digest stands for; None for a key that is not known yet. Raises RateLimited."""
        with self._lock:
            share = self._shares.get(self._of_key.get(key, ""))
            if share is not None:
                self._refuse(share)
            return share

    def count(self, feed: Feed, key: bytes) -> None:
        """Count one request of a feed whose key was right. Raises RateLimited."""
        with self._lock:
            share = self._share(feed)
            self._of_key[key] = feed.id
            self._of_key.move_to_end(key)
            if len(self._of_key) > KEYS_MAX:
                self._of_key.popitem(last=False)
            self._refuse(share)
            share.requests.left -= 1

    def spend(self, feed: Feed, signals: int) -> None:
        """Count the signals of a delivery that is taken."""
        with self._lock:
            self._share(feed).signals.left -= signals

    def _share(self, feed: Feed) -> Share:
        now_us = self._mono_us()
        share = self._shares.get(feed.id)
        if share is None:
            requests, signals = feed.requests_per_minute, feed.signals_per_minute
            share = Share(Allowance(requests, requests, now_us), Allowance(signals, signals, now_us))
            self._shares[feed.id] = share
            if len(self._shares) > FEEDS_MAX:
                self._shares.popitem(last=False)
        self._shares.move_to_end(feed.id)
        share.requests.refill(feed.requests_per_minute, now_us)
        share.signals.refill(feed.signals_per_minute, now_us)
        return share

    def _refuse(self, share: Share) -> None:
        now_us = self._mono_us()
        for allowance, what in ((share.requests, "requests"), (share.signals, "signals")):
            allowance.refill(allowance.per_minute, now_us)
            if allowance.wait_s:
                raise RateLimited(allowance.wait_s, f"{allowance.per_minute} {what} per minute")
