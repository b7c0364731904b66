"""Many fire panels in one process, each with a connection of its own: sends a frame, waits for its confirm, sends the
next, as panels do. Asked by one JSON line on standard input, answers with one on standard output."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from devices.protocols.gb26875 import FRAME_BYTES_MIN, Command, Frame, TimeTag, encode
from devices.protocols.gb26875_objects import (
    Analogue,
    ComponentBit,
    ComponentStatus,
    DeviceBit,
    DeviceStatus,
    UnitObject,
    description_bytes,
)
from devices.protocols.gb26875_units import encode_unit

COMMAND_AT = 26
CENTRE = "000000000001"
VALUES_A_FRAME = 10
SMOKE = 40
WITHIN_S = 120.0


def unit(kind: str, number: int, tag: TimeTag) -> bytes:
    """The unit of a panel's frame: a fire of another detector each time, ten measurements, a component as usual, or
    the device's sign of life."""
    address = number.to_bytes(4, "little")
    said: list[UnitObject]
    match kind:
        case "fire":
            status = int(ComponentBit.NORMAL | ComponentBit.FIRE)
            where = description_bytes(f"地下一层{number}号探测器")
            return encode_unit(2, [ComponentStatus(1, 1, SMOKE, address, status, where, tag)])
        case "analogue":
            said = [Analogue(1, 1, 30, address, 3, 200 + value, tag) for value in range(VALUES_A_FRAME)]
            return encode_unit(3, said)
        case "normal":
            where = description_bytes(f"地下一层{number}号探测器")
            return encode_unit(2, [ComponentStatus(1, 1, SMOKE, address, int(ComponentBit.NORMAL), where, tag)])
        case "heartbeat":
            return encode_unit(21, [DeviceStatus(int(DeviceBit.NORMAL), tag)])
        case _:
            raise ValueError(f"there are no frames of kind {kind}")


@dataclass
class _Panel(asyncio.Protocol):
    """One panel with all its frames ready; ends when the last is confirmed."""

    frames: list[bytes]
    done: asyncio.Future[None]
    waits_ns: list[int] = field(default_factory=list)
    _next: int = 0
    _sent_ns: int = 0
    _received: bytearray = field(default_factory=bytearray)
    _transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def begin(self) -> None:
        assert self._transport is not None
        self._sent_ns = time.perf_counter_ns()
        self._transport.write(self.frames[self._next])

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) < FRAME_BYTES_MIN:
            return
        answer, self._received = self._received, bytearray()
        if len(answer) != FRAME_BYTES_MIN or answer[COMMAND_AT] != Command.CONFIRM or answer[2:4] != self._serial:
            self._fail("a frame was not confirmed")
            return
        self.waits_ns.append(time.perf_counter_ns() - self._sent_ns)
        self._next += 1
        if self._next < len(self.frames):
            self.begin()
        elif not self.done.done():
            self.done.set_result(None)

    def connection_lost(self, cause: Exception | None) -> None:
        self._fail("the centre hung up")

    @property
    def _serial(self) -> bytes:
        return self.frames[self._next][2:4]

    def _fail(self, why: str) -> None:
        if not self.done.done():
            self.done.set_exception(ConnectionError(why))


async def measure(port: int, addresses: list[str], kind: str, frames_each: int, first: int) -> dict[str, Any]:
    """All panels at once; the wall time from the first frame to the last confirm, and how long each frame waited."""
    loop = asyncio.get_running_loop()
    tag = TimeTag.at(time.time_ns() // 1_000)
    panels = []
    for address in addresses:
        numbers = range(first, first + frames_each)
        made = [
            encode(Frame(number & 0xFFFF, tag, address, CENTRE, Command.SEND, unit(kind, number, tag)))
            for number in numbers
        ]
        _, panel = await loop.create_connection(lambda made=made: _Panel(made, loop.create_future()), "127.0.0.1", port)  # type: ignore[misc]
        panels.append(panel)
    began = time.perf_counter()
    for panel in panels:
        panel.begin()
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*(panel.done for panel in panels))
    took_s = time.perf_counter() - began
    waits = sorted(wait / 1e6 for panel in panels for wait in panel.waits_ns)
    return {
        "frames": len(waits),
        "took_s": took_s,
        "confirm_ms_p50": round(waits[len(waits) // 2], 2),
        "confirm_ms_p99": round(waits[len(waits) * 99 // 100], 2),
    }


def main() -> None:
    """Ask, measure, answer; the answer's `failed` says why there are no figures."""
    asked = json.loads(sys.stdin.readline())
    try:
        said = asyncio.run(measure(**asked))
    except (OSError, TimeoutError) as failed:
        said = {"failed": str(failed) or type(failed).__name__}
    print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
