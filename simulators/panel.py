"""A fire panel's transmission device over TCP, as the other end of GB/T 26875.3: sends, waits for the confirm, repeats.

The drill runner and the tests use it against a real server; it shares nothing with it but the protocol.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType

from devices.protocols.gb26875 import Command, Connection, Frame, TimeTag, confirm, encode
from devices.protocols.gb26875_objects import (
    ComponentBit,
    ComponentStatus,
    DeviceBit,
    DeviceOperation,
    DeviceStatus,
    OperationBit,
    UnitObject,
    description_bytes,
)
from devices.protocols.gb26875_units import encode_unit

COMPONENT_STATUS = 2
DEVICE_STATUS = 21
DEVICE_OPERATION = 24
CALL_POINT = 23
SMOKE_DETECTOR = 40


class Answer(StrEnum):
    """What became of a frame after all its repeats."""

    CONFIRMED = "confirmed"
    DENIED = "denied"
    UNANSWERED = "unanswered"


@dataclass(frozen=True, slots=True)
class Component:
    """One detector or call point of the panel. `address` has 4 bytes in wire order."""

    component_type: int = SMOKE_DETECTOR
    address: bytes = b"\x01\x00\x01\x00"
    description: str = ""
    system_type: int = 1
    system_address: int = 1


class SimulatedPanel:
    """One panel on one connection; use it as an asynchronous context. Serials start at 0 and grow by one per frame."""

    def __init__(
        self,
        host: str,
        port: int,
        source: str,
        destination: str = "000000000001",
        *,
        resend_s: float = 10.0,
        resends: int = 3,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1_000,
    ) -> None:
        self._host = host
        self._port = port
        self.source = source
        self.destination = destination
        self._resend_s = resend_s
        self._resends = resends
        self._now_us = now_us
        self._serial = 0
        self._wire = Connection()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._controls: deque[Frame] = deque()
        self.times_sent = 0

    async def __aenter__(self) -> SimulatedPanel:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, cause: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._writer is not None
        self._writer.close()
        try:
            await self._writer.wait_closed()
        except ConnectionError:
            # The centre may have closed first; the panel is leaving either way.
            return

    async def fire(self, component: Component, *, normal_bit: bool = True, event_us: int | None = None) -> Answer:
        """Report a fire of one component; `normal_bit` False sets the test bit. `event_us` is µs UTC."""
        status = ComponentBit.FIRE | (ComponentBit.NORMAL if normal_bit else ComponentBit(0))
        return await self.report(component, status, event_us=event_us)

    async def report(self, component: Component, status: ComponentBit, *, event_us: int | None = None) -> Answer:
        """Report any component status."""
        said = ComponentStatus(
            component.system_type,
            component.system_address,
            component.component_type,
            component.address,
            int(status),
            description_bytes(component.description),
            TimeTag.at(self._now_us() if event_us is None else event_us),
        )
        return await self.send(COMPONENT_STATUS, [said])

    async def heartbeat(self) -> Answer:
        """Report that the device itself runs normally."""
        return await self.send(DEVICE_STATUS, [DeviceStatus(int(DeviceBit.NORMAL), TimeTag.at(self._now_us()))])

    async def send(self, type_flag: int, objects: Sequence[UnitObject]) -> Answer:
        """Send one new frame and repeat it until it is confirmed or the repeats are used up."""
        frame = Frame(
            self._serial,
            TimeTag.at(self._now_us()),
            self.source,
            self.destination,
            Command.SEND,
            encode_unit(type_flag, objects),
        )
        self._serial = (self._serial + 1) & 0xFFFF
        return await self.send_frame(frame)

    async def send_frame(self, frame: Frame) -> Answer:
        """Send a frame of the caller's own making under the same repeat rule."""
        answer = Answer.UNANSWERED
        for _ in range(1 + self._resends):
            await self.send_bytes(encode(frame))
            self.times_sent += 1
            try:
                async with asyncio.timeout(self._resend_s):
                    answer = await self._answer_to(frame.serial)
            except TimeoutError:
                continue
            if answer is Answer.CONFIRMED:
                return answer
        return answer

    async def controlled(self) -> Frame:
        """Wait for the centre to control the device (a duty check, a clock), and confirm it.

        Raises ConnectionResetError when the centre hangs up first.
        """
        while not self._controls:
            frame = await self.next_frame()
            if frame is None:
                raise ConnectionResetError("The centre closed the connection.")
            await self._take(frame)
        return self._controls.popleft()

    async def on_duty(self, operator: int) -> Answer:
        """Somebody presses the button that answers a duty check."""
        said = DeviceOperation(int(OperationBit.CONFIRM), operator, TimeTag.at(self._now_us()))
        return await self.send(DEVICE_OPERATION, [said])

    async def _take(self, frame: Frame) -> None:
        if frame.command == Command.CONTROL:
            self._controls.append(frame)
            await self.send_bytes(encode(confirm(frame, TimeTag.at(self._now_us()))))

    async def send_bytes(self, raw: bytes) -> None:
        """Put bytes on the wire as they are."""
        assert self._writer is not None
        self._writer.write(raw)
        await self._writer.drain()

    async def next_frame(self) -> Frame | None:
        """The next frame from the centre, or None when it closed the connection."""
        assert self._reader is not None
        while True:
            found = self._wire.next_frame()
            if isinstance(found, Frame):
                return found
            if found is not None:
                continue
            data = await self._reader.read(4096)
            if not data:
                return None
            self._wire.receive_data(data)

    async def _answer_to(self, serial: int) -> Answer:
        while True:
            frame = await self.next_frame()
            if frame is None:
                raise ConnectionResetError("The centre closed the connection.")
            await self._take(frame)
            if frame.serial == serial and frame.command == Command.CONFIRM:
                return Answer.CONFIRMED
            if frame.serial == serial and frame.command == Command.DENY:
                return Answer.DENIED
