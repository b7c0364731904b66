"""Fire panels over TCP: the centre's end of GB/T 26875.3. Many panels, one connection each, one committing thread.

A frame is confirmed only after `commit` returned; when commit fails nothing is sent, and the panel sends again.
What it means is decided elsewhere: reading and lookup are handed in. Panels are told apart by their enrolled source
address; the wire itself proves nothing about who sends.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from devices.protocols.gb26875 import (
    USER_COMMAND_MIN,
    Command,
    Damaged,
    Frame,
    TimeTag,
    confirm,
    deny,
    encode,
)
from services.dispatcher.adapters.gb26875_commit import Batch, Commit, PanelCommit
from services.dispatcher.adapters.gb26875_heard import Heard
from services.dispatcher.adapters.gb26875_line import ADDRESS_UNSET, IdleWatch, Line, Reply
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.domain.signals import Panel, Reading, Unread

log = logging.getLogger(__name__)

WIRE = "gb26875"

# Asked on the event loop for every frame: it must answer from memory.
PanelOf = Callable[[str], Panel | None]
Read = Callable[[Frame, Panel, int], Reading]
NowUs = Callable[[], int]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one stranger may cost. The standard's line check comes at least every two hours, hence `idle_s`."""

    connections_max: int = 2_000
    read_bytes_max: int = 4_096
    write_buffer_bytes_max: int = 65_536
    stall_s: float = 1.0
    idle_s: float = 7_500.0
    stranger_idle_s: float = 300.0
    drain_s: float = 10.0
    stranger_unread_max: int = 1_000
    resend_s: float = 10.0
    resends: int = 3


class PanelServer:
    """Listens for panels. `commit` runs in one thread of its own, frames of all connections grouped.

    `read` turns a frame of an enrolled panel into signals and problems; problems of severity "error" keep the frame
    as Unread beside whatever was read from it.
    """

    def __init__(
        self,
        *,
        panel_of: PanelOf,
        read: Read,
        commit: Commit,
        now_us: NowUs,
        metrics: PanelMetrics,
        limits: Limits | None = None,
    ) -> None:
        self._panel_of = panel_of
        self._read = read
        self._now_us = now_us
        self._metrics = metrics
        self._limits = limits or Limits()
        self._committer = PanelCommit(commit, metrics)
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], Line] = {}
        self._line_of: dict[str, Line] = {}
        self.heard = Heard()

    async def start(self, host: str, port: int) -> int:
        """Start listening and return the bound port; OSError when the address cannot be had."""
        self._committer.start()
        self._server = await asyncio.start_server(self._accept, host, port, limit=self._limits.read_bytes_max)
        bound: int = self._server.sockets[0].getsockname()[1]
        log.info("listening for fire panels port=%d", bound)
        return bound

    async def stop(self) -> None:
        """Stop listening, close every connection, and wait for the commit under way."""
        if self._server is not None:
            self._server.close()
        for line in self._lines.values():
            line.writer.transport.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.to_thread(self._committer.stop)

    def holds(self, panel: str) -> bool:
        """Whether this panel was last heard on a line that is open here."""
        return panel in self._line_of

    async def ask(self, panel: str, unit: Callable[[TimeTag], bytes]) -> Reply:
        """Send a control unit on the panel's line until it is confirmed or denied, with the standard's repeats.

        `unit` makes it from the moment it is for. On the event loop only.
        """
        line = self._line_of.get(panel)
        if line is None:
            return Reply.UNHEARD
        return await line.ask(unit, lambda: TimeTag.at(self._now_us()), 1 + self._limits.resends, self._limits.resend_s)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername")
        line = Line(f"{peer[0]}:{peer[1]}" if peer else "?", writer)
        if len(self._lines) >= self._limits.connections_max and not self._make_room():
            self._metrics.refused.inc()
            writer.close()
            return
        self._lines[task] = line
        self._metrics.connections.inc()
        try:
            _keep_alive(writer)
            writer.transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)
            await self._serve(line, reader)
        except (ConnectionError, TimeoutError) as cause:
            log.debug("panel connection lost peer=%s: %s", line.peer, cause)
        finally:
            self._lines.pop(task, None)
            self._hang_up(line)
            self._metrics.connections.dec()
            writer.close()

    def _hang_up(self, line: Line) -> None:
        line.lost()
        if line.panel is not None and self._line_of.get(line.panel.id) is line:
            del self._line_of[line.panel.id]

    def _make_room(self) -> bool:
        """A full house must not lock panels out: the oldest connection on which no panel has spoken makes room."""
        for task, line in self._lines.items():
            if line.panel is None:
                del self._lines[task]
                line.writer.transport.abort()
                return True
        return False

    async def _serve(self, line: Line, reader: asyncio.StreamReader) -> None:
        idle = IdleWatch(line.writer.transport)
        try:
            while True:
                idle.allow(self._limits.stranger_idle_s if line.panel is None else self._limits.idle_s)
                data = await self._next_bytes(line, reader)
                idle.hold()
                if data:
                    line.wire.receive_data(data)
                else:
                    line.wire.receive_eof()
                await self._work_off(line)
                if not data or self._floods(line):
                    return
        finally:
            idle.stop()

    async def _next_bytes(self, line: Line, reader: asyncio.StreamReader) -> bytes:
        """Bytes, or b"" at the end of the stream, which comes as well when nobody has spoken for too long."""
        limits = self._limits
        if line.wire.pending:
            try:
                async with asyncio.timeout(limits.stall_s):
                    return await reader.read(limits.read_bytes_max)
            except TimeoutError:
                line.wire.receive_pause()
                await self._work_off(line)
        return await reader.read(limits.read_bytes_max)

    async def _work_off(self, line: Line) -> None:
        """Commit everything readable now, then answer it in order."""
        waiting: list[tuple[asyncio.Future[bool], Frame | None]] = []
        while (found := line.wire.next_frame()) is not None:
            batch, answer = self._take(line, found)
            waiting.append((self._committer.add(batch), answer))
        for committed, answer in waiting:
            if await committed and answer is not None and not line.writer.transport.is_closing():
                line.writer.write(encode(answer))
                self._metrics.answer(answer.command)
        if line.writer.transport.get_write_buffer_size():
            async with asyncio.timeout(self._limits.drain_s):
                await line.writer.drain()

    def _take(self, line: Line, found: Frame | Damaged) -> tuple[Batch, Frame | None]:
        now_us = self._now_us()
        if isinstance(found, Damaged):
            return self._damaged(line, found, now_us)
        return self._frame(line, found, now_us)

    def _damaged(self, line: Line, damaged: Damaged, now_us: int) -> tuple[Batch, Frame | None]:
        header = damaged.header
        panel = None if header is None else self._panel_on(line, header.source)
        batch = self._unread(line, panel, str(damaged.reason), damaged.raw, now_us)
        if header is None or header.command in (Command.CONFIRM, Command.DENY):
            return batch, None
        return batch, deny(header, TimeTag.at(now_us))

    def _frame(self, line: Line, frame: Frame, now_us: int) -> tuple[Batch, Frame | None]:
        self._metrics.frames.inc()
        panel = self._panel_on(line, frame.source)
        if panel is None or not panel.enabled:
            reason = "panel_not_enrolled" if panel is None else "panel_disabled"
            if panel is None:
                self.heard.stranger(_stranger(frame, line), line.peer, now_us)
            batch = self._unread(line, panel, reason, encode(frame), now_us, frame.source)
            return batch, self._answer(frame, now_us)
        self._speaks(line, panel, frame, now_us)
        if frame.command in (Command.CONFIRM, Command.DENY):
            return Batch(), None
        if frame.command == Command.REQUEST:
            return self._unread(line, panel, "unexpected_command", encode(frame), now_us), self._answer(frame, now_us)
        reading = self._read(frame, panel, line.first_received_us(frame, now_us))
        errors = [problem.code for problem in reading.problems if problem.severity == "error"]
        unread = self._unread(line, panel, errors[0], encode(frame), now_us).unread if errors else ()
        self._metrics.signals.inc(len(reading.signals))
        return Batch(reading.signals, unread), self._answer(frame, now_us)

    def _answer(self, frame: Frame, now_us: int) -> Frame | None:
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

    def _floods(self, line: Line) -> bool:
        """A connection on which no panel ever spoke may fill the unread table only so far."""
        if line.panel is not None or line.unread <= self._limits.stranger_unread_max:
            return False
        log.warning("closing a connection that sends only unreadable bytes peer=%s unread=%d", line.peer, line.unread)
        return True


def _stranger(frame: Frame, line: Line) -> str:
    """By its address; where that is zero, by the host it calls from."""
    return frame.source if frame.source != ADDRESS_UNSET else f"{frame.source} {line.peer.rpartition(':')[0]}"


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the kernel notice a peer that vanished long before the idle limit does."""
    plug = writer.get_extra_info("socket")
    if plug is not None:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
