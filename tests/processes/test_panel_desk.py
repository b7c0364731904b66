"""The gateway's desk for panels, over real sockets and a real SQLite file: two gateways, one panel on one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from devices.protocols.gb26875 import Command, Frame, TimeTag
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.adapters.gb26875_server import PanelServer, StrangerLimits
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.panels import PanelRequest, RequestKind, RequestState
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.domain.signals import Panel
from services.dispatcher.engine.events import PanelAsked
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import PanelLive, Stranger
from services.dispatcher.feeds.gb26875 import signals
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.panel_desk import PanelDesk
from simulators.panel import Answer, SimulatedPanel
from tests import builders
from tests.builders import NOON_US, SECOND_US, Town

PANEL = builders.panel()


@dataclass
class Gateway:
    desk: PanelDesk
    server: PanelServer
    port: int

    def panel(self, source: str = PANEL.address, ahead_s: int = 0) -> SimulatedPanel:
        at_us = NOON_US + ahead_s * SECOND_US
        return SimulatedPanel("127.0.0.1", self.port, source, resends=0, now_us=lambda: at_us)

    async def look(self) -> None:
        await asyncio.to_thread(self.desk.run)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    clock = builders.StoppedClock()
    town = builders.town(SqlStore(url, clock), clock)
    with town.store.write() as tx:
        tx.put(PANEL)
    return town


def play(town: Town, story: Callable[[Gateway, Gateway], Awaitable[None]]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            gateways = []
            for name in ("gw-0", "gw-1"):
                server = PanelServer(
                    panel_of={PANEL.address: PANEL}.get,
                    read=signals,
                    commit=town.engine.handle,
                    now_us=town.clock.now_us,
                    metrics=PanelMetrics(CollectorRegistry()),
                    limits=StrangerLimits(resend_s=0.05, resends=1),
                )
                desk = PanelDesk(town.store, town.engine, name, lambda: None)
                port = await server.start("127.0.0.1", 0)
                stack.push_async_callback(server.stop)
                desk.open(server, asyncio.get_running_loop())
                gateways.append(Gateway(desk, server, port))
            await story(*gateways)

    asyncio.run(asyncio.wait_for(run(), 30))


def ask(town: Town, kind: RequestKind = RequestKind.DUTY_CHECK, minutes: int = 5) -> None:
    town.engine.handle([PanelAsked(kind, PANEL.id, "li", "night round", minutes)])


def newest(town: Town) -> PanelRequest:
    with town.store.read() as read:
        return read.find(PanelRequest, Page(limit=1, order="-id"))[0]


async def until(town: Town, gateway: Gateway, state: RequestState) -> None:
    while newest(town).state is not state:
        await gateway.look()


def test_the_gateway_with_the_line_asks_and_the_answer_is_written(town: Town) -> None:
    async def story(other: Gateway, holder: Gateway) -> None:
        async with holder.panel() as panel:
            await panel.heartbeat()
            ask(town)
            await other.look()
            assert newest(town).state is RequestState.WAITING
            await holder.look()
            asked = await panel.controlled()
            assert (asked.command, asked.unit) == (Command.CONTROL, b"\x5b\x01\x05")
            await until(town, holder, RequestState.CONFIRMED)
            assert newest(town).gateway == "gw-1"
            assert await panel.on_duty(9) is Answer.CONFIRMED
            assert (newest(town).state, newest(town).operator) == (RequestState.ANSWERED, 9)

    play(town, story)


def test_a_panel_that_moves_to_the_other_gateway_is_asked_there(town: Town) -> None:
    async def story(first: Gateway, second: Gateway) -> None:
        async with first.panel() as panel:
            await panel.heartbeat()
            ask(town, RequestKind.SET_CLOCK)
            await first.look()
            assert newest(town).state is RequestState.SENT
        await until(town, first, RequestState.WAITING)
        async with second.panel() as panel:
            await panel.heartbeat()
            await second.look()
            frame: Frame = await panel.controlled()
            assert frame.unit == b"\x5a\x01" + bytes(frame.time)
            await until(town, second, RequestState.DONE)

    play(town, story)


def test_a_request_that_a_killed_gateway_had_taken_is_sent_by_the_next(town: Town) -> None:
    async def story(killed: Gateway, next_one: Gateway) -> None:
        async with killed.panel() as panel:
            await panel.heartbeat()
            ask(town)
            await killed.look()
            await panel.controlled()
        # `killed` never runs again: what came back to it is lost with it.
        async with next_one.panel() as panel:
            await panel.heartbeat()
            await next_one.look()
            assert newest(town).gateway == "gw-0"
            town.clock.advance(45)
            await next_one.look()
            await panel.controlled()
            await until(town, next_one, RequestState.CONFIRMED)
            assert newest(town).gateway == "gw-1"

    play(town, story)


@pytest.mark.parametrize(("ahead_s", "set_"), [(0, False), (60, False), (-61, True), (86_400, True)])
def test_a_clock_that_is_off_by_more_than_a_minute_is_set_by_itself(town: Town, ahead_s: int, set_: bool) -> None:
    async def story(gateway: Gateway, _: Gateway) -> None:
        async with gateway.panel(ahead_s=ahead_s) as panel:
            await panel.heartbeat()
            await gateway.look()
            with town.store.read() as read:
                assert read.get(PanelLive, PANEL.id) == PanelLive(
                    PANEL.id, "gw-0", read.find(PanelLive)[0].peer, NOON_US, ahead_s
                )
                found = read.find(PanelRequest)
            assert [r.kind for r in found] == ([RequestKind.SET_CLOCK] if set_ else [])
            if set_:
                await gateway.look()
                assert (await panel.controlled()).unit[:1] == b"\x5a"

    play(town, story)


def test_a_device_without_a_clock_is_left_alone(town: Town) -> None:
    async def story(gateway: Gateway, _: Gateway) -> None:
        async with gateway.panel() as panel:
            frame = Frame(0, TimeTag(), PANEL.address, "00" * 6, Command.SEND, b"\x15\x01\x01")
            assert await panel.send_frame(frame) is Answer.CONFIRMED
            await gateway.look()
            with town.store.read() as read:
                assert read.find(PanelRequest) == []

    play(town, story)


def test_a_panel_that_was_heard_on_its_line_is_not_silent(town: Town) -> None:
    async def story(holder: Gateway, other: Gateway) -> None:
        async with holder.panel() as panel:
            await panel.heartbeat()
            await asyncio.to_thread(holder.desk.write_heard)

    play(town, story)
    assert town.get(Heard, f"panel/{PANEL.id}").heard_us == NOON_US


def test_strangers_show_up_with_their_frames(town: Town) -> None:
    async def story(gateway: Gateway, _: Gateway) -> None:
        async with gateway.panel("ffffffffffff") as stranger, gateway.panel("00" * 6) as nameless:
            for _count in range(3):
                await stranger.heartbeat()
            await nameless.heartbeat()
            await gateway.look()
        with town.store.read() as read:
            rows = {row.id: row.frames for row in read.find(Stranger)}
            assert rows == {"ffffffffffff": 3, "000000000000 127.0.0.1": 1}
            assert read.find(Panel) == [PANEL]

    play(town, story)
