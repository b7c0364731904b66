"""Limits on wrong tries, in bounded memory: how often a name or a key may be guessed from one address."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from .problems import TooManyTries

KEYS_MAX = 10_000


class Tries:
    """Counts tries per key in windows of fixed length; the least recently tried key is forgotten first.

    A try counts before it is judged, so that many at once can't slip through; `forget` takes right ones back.
    """

    def __init__(self, mono_us: Callable[[], int], tries_max: int, window_us: int, keys_max: int = KEYS_MAX) -> None:
        self._mono_us = mono_us
        self._tries_max = tries_max
        self._window_us = window_us
        self._keys_max = keys_max
        self._lock = threading.Lock()
        self._windows: OrderedDict[tuple[str, ...], tuple[int, int]] = OrderedDict()

    def count(self, key: tuple[str, ...]) -> None:
        """Count one try. Raises TooManyTries when the window is used up."""
        now_us = self._mono_us()
        with self._lock:
            began_us, tries = self._windows.get(key, (now_us, 0))
            if now_us - began_us >= self._window_us:
                began_us, tries = now_us, 0
            if tries >= self._tries_max:
                raise TooManyTries(1 + (began_us + self._window_us - now_us) // 1_000_000)
            self._windows[key] = (began_us, tries + 1)
            self._windows.move_to_end(key)
            if len(self._windows) > self._keys_max:
                self._windows.popitem(last=False)

    def forget(self, key: tuple[str, ...]) -> None:
        """The try was right: the key starts anew."""
        with self._lock:
            self._windows.pop(key, None)
