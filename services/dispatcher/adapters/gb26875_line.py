"""One TCP connection of a fire panel: who speaks on it, what it repeated lately, and what the centre asks on it."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import inf

from devices.protocols.gb26875 import Command, Connection, Frame, TimeTag, encode
from services.dispatcher.domain.signals import Panel

REPEAT_WITHIN_US = 60_000_000
REPEATS_KEPT_MAX = 128
ADDRESS_UNSET = "000000000000"


class Reply(StrEnum):
    """What a panel said to a question, all repeats included."""

    CONFIRMED = "confirmed"
    DENIED = "denied"
    UNHEARD = "unheard"


@dataclass(slots=True)
class Line:
    """One TCP connection. `last` is the newest frame of its panel: the centre speaks to it as it speaks itself."""

    peer: str
    write: Callable[[bytes], object]
    wire: Connection = field(default_factory=Connection)
    panel: Panel | None = None
    last: Frame | None = None
    unread: int = 0
    firsts: OrderedDict[bytes, int] = field(default_factory=OrderedDict)
    _serial: int = 0
    _asked: dict[int, asyncio.Future[Reply]] = field(default_factory=dict)

    def first_received_us(self, frame: Frame, now_us: int) -> int:
        """When this frame first came: its repeats within 60 s are the same report and share one time of receipt."""
        spoken = f"{frame.source}/{frame.serial}/".encode() + frame.unit
        identity = hashlib.blake2b(spoken, digest_size=16).digest()
        first_us = self.firsts.get(identity, now_us)
        if not 0 <= now_us - first_us <= REPEAT_WITHIN_US:
            del self.firsts[identity]
            first_us = now_us
        self.firsts.setdefault(identity, first_us)
        while len(self.firsts) > REPEATS_KEPT_MAX:
            self.firsts.popitem(last=False)
        return first_us

    def replied(self, frame: Frame) -> None:
        """A confirm, deny or response of the panel; one that answers nothing changes nothing."""
        waiting = self._asked.get(frame.serial)
        if waiting is not None and not waiting.done():
            waiting.set_result(Reply.DENIED if frame.command == Command.DENY else Reply.CONFIRMED)

    def lost(self) -> None:
        """The connection has ended: whoever waits for a reply on it hears so."""
        for waiting in self._asked.values():
            if not waiting.done():
                waiting.set_result(Reply.UNHEARD)

    async def ask(
        self, unit: Callable[[TimeTag], bytes], now: Callable[[], TimeTag], times: int, resend_s: float
    ) -> Reply:
        """Send one control unit up to so many times until the panel replies. Its serial stays, its moment moves on."""
        last = self.last
        assert last is not None
        serial = self._serial
        self._serial = (serial + 1) & 0xFFFF
        waiting: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._asked[serial] = waiting
        try:
            for _ in range(times):
                tag = now()
                frame = Frame(serial, tag, last.destination, last.source, Command.CONTROL, unit(tag))
                self.write(encode(replace(frame, version=last.version, ascii_hex=last.ascii_hex)))
                done, _ = await asyncio.wait([waiting], timeout=resend_s)
                if done:
                    return waiting.result()
            return Reply.UNHEARD
        finally:
            del self._asked[serial]


class IdleWatch:
    """Hangs up a connection on which nothing has come for too long. A timer for every read would cost more than the
    read: this one is set again only when it goes off."""

    def __init__(self, transport: asyncio.WriteTransport) -> None:
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._until_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def allow(self, idle_s: float) -> None:
        """From now on so much silence is allowed."""
        self._until_s = self._loop.time() + idle_s
        if self._timer is None or self._timer.when() > self._until_s:
            self._set()

    def hold(self) -> None:
        """Something has come; until the next `allow` it is worked off, and who waits for us is not silent."""
        self._until_s = inf

    def stop(self) -> None:
        """Watch no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self.stop()
        self._timer = self._loop.call_at(self._until_s, self._look)

    def _look(self) -> None:
        if self._loop.time() >= self._until_s:
            self._transport.abort()
        elif self._until_s == inf:
            self._timer = None
        else:
            self._set()
