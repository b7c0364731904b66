"""The simulated gateway's door for fire panels: frames in, signals committed, and only then the confirm frame out."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from devices.protocols.gb26875 import Command, Connection, Frame, TimeTag, confirm, encode
from services.dispatcher.domain.signals import Panel, Signal
from services.dispatcher.engine.ports import Clock, StoreUnavailable
from services.dispatcher.feeds import gb26875

REPEAT_WITHIN_US = 60_000_000
Confirmed = Callable[[str, Frame, Sequence[Signal]], None]


class Boundary(Protocol):
    """A place at which the process may be killed."""

    def __call__(self, where: str) -> None: ...


@dataclass(slots=True)
class _Line:
    """One panel's connection: its receiving half, and when each frame first came."""

    answer: Callable[[bytes], None]
    wire: Connection = field(default_factory=Connection)
    firsts: OrderedDict[bytes, int] = field(default_factory=OrderedDict)

    def first_us(self, frame: Frame, now_us: int) -> int:
        name = hashlib.blake2b(f"{frame.source}/{frame.serial}/".encode() + frame.unit, digest_size=16).digest()
        first_us = self.firsts.get(name, now_us)
        if not 0 <= now_us - first_us <= REPEAT_WITHIN_US:
            first_us = now_us
        self.firsts[name] = first_us
        return first_us


class PanelDoor:
    """`commit` raises StoreUnavailable when nothing of a frame is safe. `confirms_first` is a bug to be planted."""

    def __init__(
        self,
        wall: Clock,
        commit: Callable[[Sequence[Signal]], None],
        boundary: Boundary,
        confirmed: Confirmed,
        confirms_first: bool,
    ) -> None:
        self._wall, self._commit, self._boundary, self._confirmed = wall, commit, boundary, confirmed
        self._confirms_first = confirms_first
        self._lines: dict[str, _Line] = {}

    def connects(self, panel: str, answer: Callable[[bytes], None]) -> None:
        self._lines[panel] = _Line(answer)

    def takes(self, panel: Panel, raw: bytes) -> None:
        """Bytes of one panel's connection."""
        line = self._lines.get(panel.id)
        if line is None:
            return
        line.wire.receive_data(raw)
        now_us = self._wall.now_us()
        while isinstance(frame := line.wire.next_frame(), Frame):
            reading = gb26875.signals(frame, panel, line.first_us(frame, now_us))
            if self._confirms_first:
                self._confirm(panel, line, frame, reading.signals)
            try:
                self._commit(reading.signals)
            except StoreUnavailable:
                return
            self._boundary("before confirm")
            if not self._confirms_first:
                self._confirm(panel, line, frame, reading.signals)

    def _confirm(self, panel: Panel, line: _Line, frame: Frame, signals: Sequence[Signal]) -> None:
        if frame.command == Command.SEND:
            self._confirmed(panel.id, frame, signals)
            line.answer(encode(confirm(frame, TimeTag.at(self._wall.now_us()))))
