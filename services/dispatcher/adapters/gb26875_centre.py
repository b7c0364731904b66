"""The centre's end of GB/T 26875.3 without a socket: what a panel's frames bring, and how each is answered.

A frame is answered only once it is committed; what is not committed gets no answer, and the panel sends it again. What
a frame means is decided elsewhere: reading and lookup are handed in. Panels are told apart by their enrolled source
address; the wire itself proves nothing about who sends. The simulation runs it on virtual time.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace

from devices.protocols.gb26875 import USER_COMMAND_MIN, Command, Damaged, Frame, TimeTag, confirm, deny, encode
from services.dispatcher.adapters.gb26875_heard import HeardPanels
from services.dispatcher.adapters.gb26875_line import ADDRESS_UNSET, Line
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.domain.signals import Panel, Reading, Signal, Unread
from services.dispatcher.engine.events import Event, SignalArrived, UnreadArrived

log = logging.getLogger(__name__)

WIRE = "gb26875"

# Asked on the event loop for every frame: it must answer from memory.
PanelOf = Callable[[str], Panel | None]
Read = Callable[[Frame, Panel, int], Reading]
NowUs = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one frame or damaged stretch brings, and how it is answered once that is committed."""

    signals: tuple[Signal, ...] = ()
    unread: tuple[Unread, ...] = ()
    answer: Frame | None = None

    def events(self) -> list[Event]:
        """What is to be committed."""
        return [*map(SignalArrived, self.signals), *map(UnreadArrived, self.unread)]


class PanelCentre:
    """All lines of one gateway.

    `read` turns a frame of an enrolled panel into signals and problems; problems of severity "error" keep the frame
    as Unread beside whatever was read from it.
    """

    def __init__(self, panel_of: PanelOf, read: Read, now_us: NowUs, metrics: PanelMetrics) -> None:
        self._panel_of, self._read, self._now_us, self._metrics = panel_of, read, now_us, metrics
        self._line_of: dict[str, Line] = {}
        self.heard = HeardPanels()

    def line_of(self, panel: str) -> Line | None:
        """The line that is open here on which this panel was last heard."""
        return self._line_of.get(panel)

    def hang_up(self, line: Line) -> None:
        """The line has ended."""
        line.lost()
        if line.panel is not None and self._line_of.get(line.panel.id) is line:
            del self._line_of[line.panel.id]

    def read_frames(self, line: Line) -> list[Batch]:
        """Everything readable now on the line, in order. Commit each, then `settle` it."""
        batches: list[Batch] = []
        while (found := line.wire.next_frame()) is not None:
            now_us = self._now_us()
            batches.append(
                self._damaged(line, found, now_us) if isinstance(found, Damaged) else self._frame(line, found, now_us)
            )
        return batches

    def settle(self, line: Line, batch: Batch, *, committed: bool) -> None:
        """Answer what is committed, and nothing else."""
        if committed and batch.answer is not None:
            line.write(encode(batch.answer))
            self._metrics.answer(batch.answer.command)

    def _damaged(self, line: Line, damaged: Damaged, now_us: int) -> Batch:
        header = damaged.header
        panel = None if header is None else self._panel_on(line, header.source)
        batch = self._unread(line, panel, str(damaged.reason), damaged.raw, now_us)
        if header is None or header.command in (Command.CONFIRM, Command.DENY):
            return batch
        return replace(batch, answer=deny(header, TimeTag.at(now_us)))

    def _frame(self, line: Line, frame: Frame, now_us: int) -> Batch:
        self._metrics.frames.inc()
        panel = self._panel_on(line, frame.source)
        if panel is None or not panel.enabled:
            reason = "panel_not_enrolled" if panel is None else "panel_disabled"
            if panel is None:
                self.heard.stranger(_stranger(frame, line), line.peer, now_us)
            batch = self._unread(line, panel, reason, encode(frame), now_us, frame.source)
            return replace(batch, answer=_answer(frame, now_us))
        self._speaks(line, panel, frame, now_us)
        if frame.command in (Command.CONFIRM, Command.DENY):
            return Batch()
        if frame.command == Command.REQUEST:
            batch = self._unread(line, panel, "unexpected_command", encode(frame), now_us)
            return replace(batch, answer=_answer(frame, now_us))
        reading = self._read(frame, panel, line.first_received_us(frame, now_us))
        errors = [problem.code for problem in reading.problems if problem.severity == "error"]
        unread = self._unread(line, panel, errors[0], encode(frame), now_us).unread if errors else ()
        self._metrics.signals.inc(len(reading.signals))
        return Batch(reading.signals, unread, _answer(frame, now_us))

    def _panel_on(self, line: Line, source: str) -> Panel | None:
        """The panel with this address; where a device leaves its address zero, the one heard on the line before."""
        return self._panel_of(source) or (line.panel if source == ADDRESS_UNSET else None)

    def _speaks(self, line: Line, panel: Panel, frame: Frame, now_us: int) -> None:
        if line.panel is None:
            log.info("panel connected panel=%s peer=%s", panel.id, line.peer)
        line.panel, line.last = panel, frame
        self._line_of[panel.id] = line
        self.heard.panel(panel.id, line.peer, frame.time, now_us)
        if frame.command in (Command.CONFIRM, Command.DENY, Command.RESPONSE):
            line.replied(frame)

    def _unread(
        self, line: Line, panel: Panel | None, reason: str, raw: bytes, now_us: int, address: str = ""
    ) -> Batch:
        line.unread += 1
        self._metrics.unread.labels(reason).inc()
        source = panel.id if panel is not None else " ".join(part for part in (address, line.peer) if part)
        log.debug("unread from panel source=%s reason=%s bytes=%d", source, reason, len(raw))
        return Batch(unread=(Unread(WIRE, source, reason, raw, now_us),))


def _answer(frame: Frame, now_us: int) -> Frame | None:
    """Data and control are confirmed; a response ends an exchange; a panel has nothing to ask of the centre."""
    match frame.command:
        case Command.SEND | Command.CONTROL:
            return confirm(frame, TimeTag.at(now_us))
        case Command.REQUEST:
            return deny(frame, TimeTag.at(now_us))
        case command if command >= USER_COMMAND_MIN:
            return confirm(frame, TimeTag.at(now_us))
        case _:
            return None


def _stranger(frame: Frame, line: Line) -> str:
    """By its address; where that is zero, by the host it calls from."""
    return frame.source if frame.source != ADDRESS_UNSET else f"{frame.source} {line.peer.rpartition(':')[0]}"
