"""Who raises signals in the simulation: fire panels that send frames and repeat them, and authorities that warn.

What really burned, and what a panel really sent, is written down here for those who check.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from devices.protocols.gb26875 import Command, Connection, Frame, TimeTag, encode
from devices.protocols.gb26875_objects import ComponentBit, ComponentStatus, description_bytes
from devices.protocols.gb26875_units import encode_unit
from services.dispatcher.domain.signals import Evidence, Panel, Place, Signal, SignalKind, Use
from services.dispatcher.engine.events import SignalArrived
from simulators.city import CITY, FRONTS, HARBOUR, HILLS, MARKET, QUAY, VILLAGE
from simulators.clock import Call, VirtualClock
from simulators.dispatcher import Gateway
from simulators.offices import Desk

RESEND_US = 10_000_000
RESENDS = 3
COMPONENT_STATUS = 2
CALL_POINT, SMOKE = 23, 40
DELAY_US = (1_000, 80_000)
CENTRE = "000000000001"


class Field(Protocol):
    """What sources need of the world."""

    def say(self, subject: str, words: str) -> None: ...
    def count(self, what: str) -> None: ...
    def gateway(self) -> Gateway | None: ...


@dataclass(frozen=True, slots=True)
class Fire:
    """What a panel reported: which device, and whether it may count for automatic release."""

    at_us: int
    panel: Panel
    device: bytes
    call_point: bool
    automatic: bool


@dataclass(slots=True)
class _Sending:
    """A frame on its way: how often it went out, and the timer of the next time."""

    raw: bytes
    times: int = 0
    timer: Call | None = None


@dataclass(slots=True)
class FirePanel:
    """One panel's transmission device: a frame is repeated up to three times until it is confirmed."""

    panel: Panel
    clock: VirtualClock
    world: Field
    rng: Random
    clock_error_us: int = 0
    loses_percent: int = 0
    fires: list[Fire] = field(default_factory=list)
    confirmed: set[int] = field(default_factory=set)
    _serial: int = 0
    _sending: dict[int, _Sending] = field(default_factory=dict)
    _wire: Connection = field(default_factory=Connection)
    _on: Gateway | None = None

    def report(self, device: bytes, component: int, *, test: bool = False) -> None:
        """A component reports fire."""
        status = ComponentBit.FIRE | (ComponentBit(0) if test else ComponentBit.NORMAL)
        self.fires.append(
            Fire(
                self.clock.us, self.panel, device, component == CALL_POINT, not test or self.panel.test_bit_meaningless
            )
        )
        now_us = self.clock.us + self.clock_error_us
        said = ComponentStatus(1, 1, component, device, int(status), description_bytes("B1"), TimeTag.at(now_us))
        unit = encode_unit(COMPONENT_STATUS, [said])
        frame = Frame(self._serial, TimeTag.at(now_us), self.panel.address, CENTRE, Command.SEND, unit)
        self._sending[self._serial] = _Sending(encode(frame))
        self.world.say(self.panel.id, f"fire at {device.hex()}{' with its test bit' if test else ''}")
        self._send(self._serial)
        self._serial = (self._serial + 1) & 0xFFFF

    def _send(self, serial: int) -> None:
        sending = self._sending[serial]
        if sending.times > RESENDS:
            del self._sending[serial]
            self.world.count("panel.gave_up")
            return
        if sending.times:
            self.world.count("panel.resent")
        sending.times += 1
        sending.timer = self.clock.later(RESEND_US, lambda: self._send(serial))
        gateway = self.world.gateway()
        if gateway is None or self.rng.randrange(100) < self.loses_percent:
            return
        if gateway is not self._on:
            self._on, self._wire = gateway, Connection()
            gateway.panel_connects(self.panel.id, lambda raw: self._answered(gateway, raw))
        self.clock.later(self.rng.randint(*DELAY_US), lambda: gateway.panel_sends(self.panel, sending.raw))

    def _answered(self, gateway: Gateway, raw: bytes) -> None:
        if self.rng.randrange(100) >= self.loses_percent:
            self.clock.later(self.rng.randint(*DELAY_US), lambda: self._read(gateway, raw))

    def _read(self, gateway: Gateway, raw: bytes) -> None:
        if gateway is not self._on:
            return
        self._wire.receive_data(raw)
        while isinstance(frame := self._wire.next_frame(), Frame):
            sending = self._sending.pop(frame.serial, None)
            if frame.command == Command.CONFIRM and sending is not None:
                self.confirmed.add(frame.serial)
                if sending.timer is not None:
                    sending.timer.cancel()


class Bureau:
    """An authority and its twin for exercises: alerts, updates and cancellations as CAP would bring them."""

    _PLACES = ((CITY,), (HARBOUR,), (HILLS,), (QUAY, MARKET), (VILLAGE,))

    def __init__(self, desk: Desk, clock: VirtualClock, field: Field, rng: Random, name: str = "bureau") -> None:
        self._desk, self._clock, self._field, self._rng, self._name = desk, clock, field, rng, name
        self._number = 0

    def warn(self, hazard: str, use: Use, level: int, areas: tuple[str, ...] = ()) -> None:
        """An alert, for some place where none is given, perhaps delivered twice, perhaps updated or cancelled later."""
        self._number += 1
        key = f"cap/{self._name}/{use}/{self._number}"
        areas = areas or self._rng.choice(self._PLACES)
        alert = self._signal(key, hazard, use, level, areas, SignalKind.ALERT)
        self._deliver(alert)
        if self._rng.randrange(100) < 30:
            self._field.count("signal.twice")
            self._clock.later(self._rng.randint(0, 60) * 1_000_000, lambda: self._deliver(alert))
        if self._rng.randrange(100) < 30:
            more = tuple(sorted({*areas, *self._rng.choice(self._PLACES)}))
            update = self._signal(f"{key}/u", hazard, use, level, more, SignalKind.UPDATE, (key,))
            self._clock.later(self._rng.randint(10, 300) * 1_000_000, lambda: self._deliver(update))
        if self._rng.randrange(100) < 20:
            cancel = self._signal(f"{key}/c", hazard, use, level, areas, SignalKind.CANCEL, (key,))
            self._clock.later(self._rng.randint(10, 900) * 1_000_000, lambda: self._deliver(cancel))

    def _signal(
        self, key: str, hazard: str, use: Use, level: int, areas: tuple[str, ...], kind: SignalKind,
        references: tuple[str, ...] = (),
    ) -> Signal:  # fmt: skip
        return Signal(
            key=key, reporter=f"{self._name}-{use}", use=use, kind=kind, evidence=Evidence.AUTHORITY, hazard=hazard,
            event_code="", place=Place(areas=areas), observed_us=self._clock.us, received_us=self._clock.us,
            claimed_level=level, headline=f"{hazard} {key}", references=references,
        )  # fmt: skip

    def _deliver(self, signal: Signal) -> None:
        self._field.say(signal.reporter, f"{signal.kind} {signal.key} for {', '.join(signal.place.areas)}")
        self._field.count(f"signal.{signal.kind}")
        self._desk.ask(signal.reporter, SignalArrived(signal))


Story = Callable[[], None]


class Programme:
    """The daily items of the waterworks, some in earnest and some rehearsed."""

    def __init__(self, waterworks: Bureau, clock: VirtualClock, rng: Random) -> None:
        self._waterworks, self._clock, self._rng = waterworks, clock, rng

    def plan(self, until_us: int) -> None:
        """Write the whole run's notices into the clock."""
        at_us = self._clock.us + self._rng.randint(100, 900) * 1_000_000
        while at_us < until_us:
            use = Use.EXERCISE if self._rng.randrange(100) < 20 else Use.ACTUAL
            self._clock.at(at_us, lambda use=use: self._waterworks.warn("notice", use, 4))  # type: ignore[misc]
            at_us += self._rng.randint(300, 1_500) * 1_000_000


class Events:
    """What happens in the city: fires, false alarms, drills and weather, spread over the run by the seed."""

    def __init__(
        self, panels: dict[str, FirePanel], bureau: Bureau, clock: VirtualClock, rng: Random, test_bits: bool
    ) -> None:
        self._panels, self._bureau, self._clock, self._rng, self._test_bits = panels, bureau, clock, rng, test_bits

    def plan(self, until_us: int) -> None:
        """Write the whole run's events into the clock."""
        stories: tuple[Story, ...] = (
            self._fire, self._fire, self._fire, self._stubborn_fire, self._drill, self._rain, self._gale,
        )  # fmt: skip
        at_us = self._clock.us + self._rng.randint(60, 200) * 1_000_000
        while at_us < until_us:
            self._clock.at(at_us, self._rng.choice(stories))
            at_us += self._rng.randint(60, 900) * 1_000_000

    def _later(self, least_s: int, most_s: int, action: Callable[[], None]) -> None:
        self._clock.later(self._rng.randint(least_s, most_s) * 1_000_000, action)

    def _fire(self) -> None:
        """One detector; often a second, sometimes a call point, sometimes with a test bit."""
        self._burn(self._panels[self._rng.choice(("p-metro", "p-ferry", "p-arcade"))])

    def _drill(self) -> None:
        self._burn(self._panels[self._rng.choice(("x-metro", "x-ferry"))])

    def _burn(self, panel: FirePanel) -> None:
        test = self._test_bits and self._rng.randrange(100) < 25
        panel.report(_device(self._rng), SMOKE, test=test)
        if self._rng.randrange(100) < 55:
            component = CALL_POINT if self._rng.randrange(100) < 30 else SMOKE
            second_test = self._test_bits and self._rng.randrange(100) < 25
            device = _device(self._rng)
            self._later(1, 150, lambda: panel.report(device, component, test=second_test))

    def _stubborn_fire(self) -> None:
        """The same detector, then others, over a quarter of an hour, while offices refute it or are silent."""
        panel = self._panels[self._rng.choice(("p-ferry", "x-ferry"))]
        first, second = _device(self._rng), _device(self._rng)
        panel.report(first, SMOKE)
        self._later(40, 200, lambda: panel.report(second, SMOKE))
        self._later(150, 500, lambda: panel.report(first, SMOKE))

    def _rain(self) -> None:
        self._bureau.warn("rainstorm", self._use(), 1)

    def _gale(self) -> None:
        self._bureau.warn("gale", self._use(), self._rng.choice((3, 4)))

    def crowd(self) -> None:
        """A dozen different warnings for one place, one after the other."""
        use = self._use()
        for hazard in FRONTS:
            self._later(0, 240, lambda h=hazard: self._bureau.warn(h, use, 3, (CITY,)))  # type: ignore[misc]

    def _use(self) -> Use:
        return Use.EXERCISE if self._rng.randrange(100) < 30 else Use.ACTUAL


def _device(rng: Random) -> bytes:
    return bytes((rng.randrange(1, 6), 0, 1, 0))
