"""What the fire panel server has heard since somebody last asked: panels, their clocks, and strangers. Bounded.

The event loop writes and another thread reads, so both take one lock; losing what is here loses no signal.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace

from devices.protocols.gb26875 import TimeTag

PANELS_MAX = 100_000
STRANGERS_MAX = 1_000


@dataclass(frozen=True, slots=True)
class PanelHeard:
    """A panel's last good frame. `clock_off_s` is how far ahead its clock was; None where it says no date or has no
    clock, of which `clockless` tells."""

    panel: str
    peer: str
    at_us: int
    clock_off_s: int | None
    clockless: bool


@dataclass(frozen=True, slots=True)
class StrangerFrames:
    """Frames of one address that is not enrolled, from `first_us` to `last_us`."""

    address: str
    peer: str
    frames: int
    first_us: int
    last_us: int


class HeardPanels:
    """Collects on the event loop; `take` hands over and forgets."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._panels: dict[str, PanelHeard] = {}
        self._strangers: dict[str, StrangerFrames] = {}

    def panel(self, panel: str, peer: str, tag: TimeTag, now_us: int) -> None:
        """A good frame of an enrolled panel."""
        said_us = tag.utc_us
        off_s = None if said_us is None else round((said_us - now_us) / 1_000_000)
        with self._lock:
            if panel in self._panels or len(self._panels) < PANELS_MAX:
                self._panels[panel] = PanelHeard(panel, peer, now_us, off_s, tag.is_zero)

    def stranger(self, address: str, peer: str, now_us: int) -> None:
        """A good frame of an address that is not enrolled."""
        with self._lock:
            known = self._strangers.get(address)
            if known is not None:
                self._strangers[address] = replace(known, peer=peer, frames=known.frames + 1, last_us=now_us)
            elif len(self._strangers) < STRANGERS_MAX:
                self._strangers[address] = StrangerFrames(address, peer, 1, now_us, now_us)

    def take(self) -> tuple[list[PanelHeard], list[StrangerFrames]]:
        """Everything heard since the last call."""
        with self._lock:
            panels, strangers = list(self._panels.values()), list(self._strangers.values())
            self._panels, self._strangers = {}, {}
        return panels, strangers

    def give_back(self, panels: list[PanelHeard], strangers: list[StrangerFrames]) -> None:
        """What could not be kept just now; what was heard since counts on."""
        with self._lock:
            self._panels = {each.panel: each for each in panels} | self._panels
            for each in strangers:
                since = self._strangers.get(each.address)
                if since is not None:
                    each = replace(since, frames=since.frames + each.frames, first_us=each.first_us)
                self._strangers[each.address] = each
