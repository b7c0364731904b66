"""Fire panels over TCP: the centre's end of GB/T 26875.3. Many panels, one connection each, one committing thread.

Sockets, time limits and the wait for commits are here; what frames bring and how they are answered is decided by
`gb26875_centre`.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from dataclasses import dataclass

from devices.protocols.gb26875 import TimeTag
from services.dispatcher.adapters.gb26875_centre import Batch, NowUs, PanelCentre, PanelOf, Read
from services.dispatcher.adapters.gb26875_commit import Commit, PanelCommit
from services.dispatcher.adapters.gb26875_line import IdleWatch, Line, Reply
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StrangerLimits:
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
    """Listens for panels. `commit` runs in one thread of its own, frames of all connections grouped; `panel_of`, `read`
    and `now_us` are the centre's."""

    def __init__(
        self,
        *,
        panel_of: PanelOf,
        read: Read,
        commit: Commit,
        now_us: NowUs,
        metrics: PanelMetrics,
        limits: StrangerLimits | None = None,
    ) -> None:
        self._centre = PanelCentre(panel_of, read, now_us, metrics)
        self._now_us, self._metrics = now_us, metrics
        self._limits = limits or StrangerLimits()
        self._committer = PanelCommit(commit, metrics)
        self._server: asyncio.Server | None = None
        self._lines: dict[asyncio.Task[None], tuple[Line, asyncio.StreamWriter]] = {}
        self.heard = self._centre.heard

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
        for _, writer in self._lines.values():
            writer.transport.abort()
        await asyncio.gather(*self._lines, return_exceptions=True)
        if self._server is not None:
            await self._server.wait_closed()
        await asyncio.to_thread(self._committer.stop)

    def holds(self, panel: str) -> bool:
        """Whether this panel was last heard on a line that is open here."""
        return self._centre.line_of(panel) is not None

    async def ask(self, panel: str, unit: Callable[[TimeTag], bytes]) -> Reply:
        """Send a control unit on the panel's line until it is confirmed or denied, with the standard's repeats.

        `unit` makes it from the moment it is for. On the event loop only.
        """
        line = self._centre.line_of(panel)
        if line is None:
            return Reply.UNHEARD
        return await line.ask(unit, lambda: TimeTag.at(self._now_us()), 1 + self._limits.resends, self._limits.resend_s)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        peer = writer.get_extra_info("peername")
        line = Line(f"{peer[0]}:{peer[1]}" if peer else "?", writer.write)
        if len(self._lines) >= self._limits.connections_max and not self._make_room():
            self._metrics.refused.inc()
            writer.close()
            return
        self._lines[task] = line, writer
        self._metrics.connections.inc()
        try:
            _keep_alive(writer)
            writer.transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes_max)
            await self._serve(line, reader, writer)
        except (ConnectionError, TimeoutError) as cause:
            log.debug("panel connection lost peer=%s: %s", line.peer, cause)
        finally:
            self._lines.pop(task, None)
            self._centre.hang_up(line)
            self._metrics.connections.dec()
            writer.close()

    def _make_room(self) -> bool:
        """A full house must not lock panels out: the oldest connection on which no panel has spoken makes room."""
        for task, (line, writer) in self._lines.items():
            if line.panel is None:
                del self._lines[task]
                writer.transport.abort()
                return True
        return False

    async def _serve(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        idle = IdleWatch(writer.transport)
        try:
            while True:
                idle.allow(self._limits.stranger_idle_s if line.panel is None else self._limits.idle_s)
                data = await self._next_bytes(line, reader, writer)
                idle.hold()
                if data:
                    line.wire.receive_data(data)
                else:
                    line.wire.receive_eof()
                await self._work_off(line, writer)
                if not data or self._floods(line):
                    return
        finally:
            idle.stop()

    async def _next_bytes(self, line: Line, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        """Bytes, or b"" at the end of the stream, which comes as well when nobody has spoken for too long."""
        limits = self._limits
        if line.wire.pending:
            try:
                async with asyncio.timeout(limits.stall_s):
                    return await reader.read(limits.read_bytes_max)
            except TimeoutError:
                line.wire.receive_pause()
                await self._work_off(line, writer)
        return await reader.read(limits.read_bytes_max)

    async def _work_off(self, line: Line, writer: asyncio.StreamWriter) -> None:
        """Commit everything readable now, then answer it in order."""
        waiting: list[tuple[asyncio.Future[bool], Batch]] = []
        for batch in self._centre.read_frames(line):
            waiting.append((self._committer.add(batch.events()), batch))
        for committed, batch in waiting:
            self._centre.settle(line, batch, committed=await committed and not writer.transport.is_closing())
        if writer.transport.get_write_buffer_size():
            async with asyncio.timeout(self._limits.drain_s):
                await writer.drain()

    def _floods(self, line: Line) -> bool:
        """A connection on which no panel ever spoke may fill the unread table only so far."""
        if line.panel is not None or line.unread <= self._limits.stranger_unread_max:
            return False
        log.warning("closing a connection that sends only unreadable bytes peer=%s unread=%d", line.peer, line.unread)
        return True


def _keep_alive(writer: asyncio.StreamWriter) -> None:
    """Let the kernel notice a peer that vanished long before the idle limit does."""
    plug = writer.get_extra_info("socket")
    if plug is not None:
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
