"""Signed requests seen before: the memory of one web process, as long as a signature could still hold and no longer."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from ..feeds.request_hmac import WINDOW_S
from .problems import RateLimited, RequestReplayed

KEPT_US = 2 * WINDOW_S * 1_000_000
PER_FEED_MAX = 120_000


class Replays:
    """Signatures per feed. A full memory refuses rather than forgets: only a feed's own secret can fill its memory."""

    def __init__(self, mono_us: Callable[[], int], per_feed_max: int = PER_FEED_MAX) -> None:
        self._mono_us = mono_us
        self._per_feed_max = per_feed_max
        self._lock = threading.Lock()
        self._seen: dict[str, OrderedDict[str, int]] = {}

    def remember(self, feed_id: str, signature: str) -> None:
        """Raises RequestReplayed for a signature seen before, RateLimited when there are too many to remember."""
        now_us = self._mono_us()
        with self._lock:
            seen = self._seen.setdefault(feed_id, OrderedDict())
            while seen and next(iter(seen.values())) <= now_us - KEPT_US:
                seen.popitem(last=False)
            if signature in seen:
                raise RequestReplayed
            if len(seen) >= self._per_feed_max:
                raise RateLimited(1 + (next(iter(seen.values())) + KEPT_US - now_us) // 1_000_000, "signed requests")
            seen[signature] = now_us

    def forget(self, feed_id: str, signature: str) -> None:
        """Nothing came of the request, so the very same one may be sent again."""
        with self._lock:
            self._seen.get(feed_id, OrderedDict()).pop(signature, None)
