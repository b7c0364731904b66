"""The fire panel server over real sockets: confirm only after commit, nothing lost, strangers bounded."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace

import pytest
from prometheus_client import CollectorRegistry

from devices.protocols.gb26875 import Command, Frame, TimeTag, confirm, deny, encode
from devices.protocols.gb26875_objects import ComponentBit, ComponentStatus, DeviceClock, description_bytes
from devices.protocols.gb26875_units import encode_unit
from services.dispatcher.adapters.gb26875_heard import HeardPanels, PanelHeard, StrangerFrames
from services.dispatcher.adapters.gb26875_line import Reply
from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.adapters.gb26875_server import PanelServer, StrangerLimits
from services.dispatcher.domain.signals import Evidence, Panel, Signal, SignalKind, Unread, Use
from services.dispatcher.engine.events import Event, Outcome, SignalArrived, UnreadArrived
from services.dispatcher.feeds.gb26875 import signals
from simulators.panel import CALL_POINT, Answer, Component, SimulatedPanel

NOW_US = 1_795_139_610_000_000
PANEL = Panel("panel-7", "地铁站", "010203040506", Use.ACTUAL, "venue-3")
OTHER = Panel("panel-8", "商场", "0a0b0c0d0e0f", Use.EXERCISE, "venue-4")
OFF = Panel("panel-9", "停用", "090909090909", Use.ACTUAL, "venue-5", enabled=False)
STRANGER = "ffffffffffff"
BUTTON = Component(CALL_POINT, b"\x0a\x00\x28\x00", "地下一层B区手报")


class DiskFull(Exception):
    """What a commit may raise."""


@dataclass
class Ledger:
    """The commit of the tests: keeps what it is given; fails the first `failures` times, and with whatever comes of the
    panel `refused`; waits while `gate` is shut."""

    failures: int = 0
    refused: str = ""
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    tried: list[list[str]] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    signals: list[Signal] = field(default_factory=list)
    unread: list[Unread] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gate.set()

    def commit(self, events: Sequence[Event]) -> Outcome:
        self.threads.add(threading.current_thread().name)
        self.entered.set()
        self.gate.wait()
        signals = [event.signal for event in events if isinstance(event, SignalArrived)]
        unread = [event.unread for event in events if isinstance(event, UnreadArrived)]
        self.tried.append([signal.key for signal in signals])
        if self.failures:
            self.failures -= 1
            raise DiskFull
        if self.refused in {signal.reporter for signal in signals}:
            raise DiskFull
        self.groups.append(len(signals) + len(unread))
        self.signals += signals
        self.unread += unread
        return Outcome()


@dataclass
class Centre:
    server: PanelServer
    ledger: Ledger
    registry: CollectorRegistry
    port: int

    def panel(self, source: str = PANEL.address, *, resend_s: float = 30.0, resends: int = 0) -> SimulatedPanel:
        return SimulatedPanel("127.0.0.1", self.port, source, resend_s=resend_s, resends=resends, now_us=lambda: NOW_US)

    def count(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def run(
    story: Callable[[Centre], Awaitable[None]],
    ledger: Ledger | None = None,
    limits: StrangerLimits | None = None,
    now_us: Callable[[], int] = lambda: NOW_US,
) -> Ledger:
    """Play a story against a server on loopback, and return what was committed."""
    ledger = ledger or Ledger()

    async def play() -> None:
        registry = CollectorRegistry()
        server = PanelServer(
            panel_of={panel.address: panel for panel in (PANEL, OTHER, OFF)}.get,
            read=signals,
            commit=ledger.commit,
            now_us=now_us,
            metrics=PanelMetrics(registry),
            limits=limits or StrangerLimits(stall_s=0.05),
        )
        port = await server.start("127.0.0.1", 0)
        try:
            await story(Centre(server, ledger, registry, port))
        finally:
            ledger.gate.set()
            await server.stop()

    asyncio.run(asyncio.wait_for(play(), 30))
    return ledger


def test_a_fire_is_committed_and_then_confirmed() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.fire(BUTTON) is Answer.CONFIRMED
        (heard,), strangers = centre.server.heard.take()
        assert (heard.panel, heard.at_us, heard.clock_off_s, strangers) == ("panel-7", NOW_US, 0, [])
        assert centre.count("tocsin_panel_answers_total", command="confirm") == 1

    (signal,) = run(story).signals
    assert (signal.reporter, signal.kind, signal.evidence, signal.use) == (
        "panel-7",
        SignalKind.ALERT,
        Evidence.CALL_POINT,
        Use.ACTUAL,
    )


def test_nothing_is_confirmed_before_the_commit_returned() -> None:
    async def story(centre: Centre) -> None:
        centre.ledger.gate.clear()
        async with centre.panel() as panel:
            sending = asyncio.create_task(panel.fire(BUTTON))
            await asyncio.to_thread(centre.ledger.entered.wait)
            assert not sending.done()
            assert centre.count("tocsin_panel_answers_total", command="confirm") == 0
            centre.ledger.gate.set()
            assert await sending is Answer.CONFIRMED

    run(story)


def test_a_failed_commit_is_not_confirmed_and_the_repeat_is_the_same_report(caplog: pytest.LogCaptureFixture) -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel(resend_s=0.2, resends=3) as panel:
            with caplog.at_level(logging.WARNING):
                assert await panel.fire(BUTTON, event_us=0) is Answer.CONFIRMED
            assert panel.times_sent >= 3

    ledger = run(story, Ledger(failures=2))
    assert len({key for tried in ledger.tried for key in tried}) == 1
    warned = [record.message for record in caplog.records if "committed" in record.message]
    assert warned == [
        "panel frames not committed, panels will repeat them count=1: ",
        "panel frames are committed again",
    ]


@pytest.mark.parametrize(("step_s", "reports"), [(10, 1), (30, 1), (61, 3)])
def test_repeats_within_sixty_seconds_are_one_report_even_without_a_clock(step_s: int, reports: int) -> None:
    times = iter(range(NOW_US, NOW_US + 10**12, step_s * 1_000_000))

    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            said = ComponentStatus(1, 1, 40, b"abcd", 3, description_bytes(""), TimeTag())
            frame = Frame(5, TimeTag(), PANEL.address, "00" * 6, Command.SEND, encode_unit(2, [said]))
            for _ in range(3):
                assert await panel.send_frame(frame) is Answer.CONFIRMED

    assert len({signal.key for signal in run(story, now_us=times.__next__).signals}) == reports


def test_a_fire_with_the_test_bit_is_still_a_fire() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.fire(BUTTON, normal_bit=False) is Answer.CONFIRMED

    assert [(s.kind, s.test_bit) for s in run(story).signals] == [(SignalKind.ALERT, True)]


def test_heartbeats_are_confirmed_without_a_commit() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            assert await panel.heartbeat() is Answer.CONFIRMED

    assert run(story).tried == []


@pytest.mark.parametrize(("source", "reason"), [(STRANGER, "panel_not_enrolled"), (OFF.address, "panel_disabled")])
def test_a_panel_that_is_not_enrolled_is_kept_and_confirmed_but_makes_no_signal(source: str, reason: str) -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel(source) as panel:
            assert await panel.fire(BUTTON) is Answer.CONFIRMED
        panels, strangers = centre.server.heard.take()
        assert panels == []
        assert [(s.address, s.frames) for s in strangers] == ([(STRANGER, 1)] if source == STRANGER else [])

    ledger = run(story)
    assert ledger.signals == []
    assert [(u.wire, u.reason, u.at_us) for u in ledger.unread] == [("gb26875", reason, NOW_US)]
    assert bytes.fromhex(source) in ledger.unread[0].raw


def test_damaged_bytes_are_kept_and_denied() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            whole = encode(Frame(5, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.SEND, b"\x15\x01\x01"))
            await panel.send_bytes(whole[:-3] + bytes((whole[-3] ^ 1,)) + whole[-2:])
            answer = await panel.next_frame()
            assert answer is not None
            assert (answer.command, answer.serial, answer.destination) == (Command.DENY, 5, PANEL.address)

    assert [(u.source, u.reason) for u in run(story).unread] == [("panel-7", "bad_checksum")]


def test_a_fire_behind_a_frame_whose_rest_never_comes_is_found() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            frame = Frame(5, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.SEND, b"\x15\x01\x01")
            lying = bytearray(encode(frame))
            lying[24:26] = b"\x00\x04"
            await panel.send_bytes(bytes(lying))
            assert await panel.fire(BUTTON) is Answer.CONFIRMED

    ledger = run(story)
    assert [signal.kind for signal in ledger.signals] == [SignalKind.ALERT]
    assert [(u.reason) for u in ledger.unread] == ["incomplete"]


def test_bytes_left_when_a_panel_hangs_up_are_kept() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            await panel.send_bytes(b"@@\x01\x02")
        await asyncio.to_thread(centre.ledger.entered.wait)

    assert [(u.source, u.raw) for u in run(story).unread][0][1] == b"@@\x01\x02"


def test_a_unit_of_the_manufacturers_own_is_kept_and_confirmed() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            own = Frame(3, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.SEND, b"\xc8\x01abc")
            assert await panel.send_frame(own) is Answer.CONFIRMED

    assert [(u.source, u.reason) for u in run(story).unread] == [("panel-7", "user_type")]


def test_a_panel_that_asks_the_centre_is_denied_and_kept() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            question = Frame(3, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.REQUEST, b"\x59\x01\x00")
            assert await panel.send_frame(question) is Answer.DENIED

    assert [(u.source, u.reason) for u in run(story).unread] == [("panel-7", "unexpected_command")]


def test_a_frame_sent_as_hexadecimal_text_is_answered_in_kind() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            text = Frame(3, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.SEND, b"\x15\x01\x01", ascii_hex=True)
            await panel.send_bytes(encode(text))
            answer = await panel.next_frame()
            assert answer is not None and answer.ascii_hex and answer.command == Command.CONFIRM

    run(story)


def test_a_device_that_leaves_its_address_zero_is_known_by_its_connection() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            panel.source = "00" * 6
            assert await panel.fire(BUTTON) is Answer.CONFIRMED

    assert [signal.reporter for signal in run(story).signals] == ["panel-7"]


def test_many_panels_share_commits_in_one_thread_and_each_gets_its_own_confirm() -> None:
    async def story(centre: Centre) -> None:
        centre.ledger.gate.clear()
        panels = [centre.panel(each.address) for each in (PANEL, OTHER) * 4]
        for panel in panels:
            await panel.__aenter__()
        first = asyncio.create_task(panels[0].fire(BUTTON))
        await asyncio.to_thread(centre.ledger.entered.wait)
        rest = [asyncio.create_task(panel.fire(BUTTON)) for panel in panels[1:]]
        while centre.count("tocsin_panel_frames_total") != len(panels):
            await asyncio.sleep(0)
        centre.ledger.gate.set()
        assert await asyncio.gather(first, *rest) == [Answer.CONFIRMED] * len(panels)
        for panel in panels:
            await panel.__aexit__(None, None, None)

    ledger = run(story)
    assert ledger.groups == [1, 7]
    assert ledger.threads == {"panel-commit"}
    assert {(signal.reporter, signal.use) for signal in ledger.signals} == {
        ("panel-7", Use.ACTUAL),
        ("panel-8", Use.EXERCISE),
    }


def test_a_frame_that_can_not_be_committed_takes_no_other_of_its_group_with_it() -> None:
    async def story(centre: Centre) -> None:
        centre.ledger.gate.clear()
        async with centre.panel() as first, centre.panel() as sound, centre.panel(OTHER.address, resend_s=0.5) as bad:
            waiting = [asyncio.create_task(first.fire(BUTTON))]
            await asyncio.to_thread(centre.ledger.entered.wait)
            waiting += [asyncio.create_task(panel.fire(BUTTON)) for panel in (bad, sound)]
            while centre.count("tocsin_panel_frames_total") != 3:
                await asyncio.sleep(0)
            centre.ledger.gate.set()
            assert await asyncio.gather(*waiting) == [Answer.CONFIRMED, Answer.UNANSWERED, Answer.CONFIRMED]
        assert centre.count("tocsin_panel_commit_failures_total") == 1

    ledger = run(story, Ledger(refused="panel-8"))
    assert ledger.groups == [1, 1]
    assert {signal.reporter for signal in ledger.signals} == {"panel-7"}


def test_a_stranger_cannot_keep_panels_out() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel(STRANGER) as stranger:
            assert await stranger.heartbeat() is Answer.CONFIRMED
            async with centre.panel() as panel:
                assert await panel.fire(BUTTON) is Answer.CONFIRMED
                assert await stranger.next_frame() is None
                async with centre.panel(OTHER.address) as late:
                    assert await late.next_frame() is None
        assert centre.count("tocsin_panel_connections_refused_total") == 1

    assert [signal.reporter for signal in run(story, limits=StrangerLimits(connections_max=1)).signals] == ["panel-7"]


def test_a_stranger_that_floods_is_cut_off() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel(STRANGER) as stranger:
            for _ in range(4):
                await stranger.heartbeat()
            assert await stranger.next_frame() is None

    assert len(run(story, limits=StrangerLimits(stranger_unread_max=3)).unread) == 4


def test_a_silent_connection_is_closed() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.next_frame() is None

    run(story, limits=replace(StrangerLimits(), stranger_idle_s=0.05))


def test_a_panel_that_has_spoken_may_be_silent_for_longer_than_a_stranger() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            await asyncio.sleep(0.3)
            assert await panel.heartbeat() is Answer.CONFIRMED

    run(story, limits=replace(StrangerLimits(), stranger_idle_s=0.1))


def test_the_time_that_a_commit_takes_is_no_silence_of_the_panel() -> None:
    async def story(centre: Centre) -> None:
        centre.ledger.gate.clear()
        async with centre.panel() as panel:
            sending = asyncio.create_task(panel.fire(BUTTON))
            await asyncio.to_thread(centre.ledger.entered.wait)
            async with centre.panel() as silent:
                assert await silent.next_frame() is None
            centre.ledger.gate.set()
            assert await sending is Answer.CONFIRMED

    run(story, limits=replace(StrangerLimits(), stranger_idle_s=0.3))


def test_nobody_is_answered_on_a_connection_that_was_lost_meanwhile(caplog: pytest.LogCaptureFixture) -> None:
    async def story(centre: Centre) -> None:
        centre.ledger.gate.clear()
        _, writer = await asyncio.open_connection("127.0.0.1", centre.port)
        own = Frame(3, TimeTag.at(NOW_US), PANEL.address, "00" * 6, Command.SEND, b"\xc8\x01abc")
        writer.write(encode(own) * 20)
        await asyncio.to_thread(centre.ledger.entered.wait)
        plug = writer.get_extra_info("socket")
        plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
        # The centre hears of it at one of its next turns.
        for _ in range(20):
            await asyncio.sleep(0)
        centre.ledger.gate.set()
        while centre.count("tocsin_panel_connections"):
            await asyncio.sleep(0)
        assert centre.count("tocsin_panel_answers_total", command="confirm") == 0

    with caplog.at_level(logging.WARNING):
        assert len(run(story).unread) == 20
    assert caplog.messages == []


def set_clock(now: TimeTag) -> bytes:
    return encode_unit(90, [DeviceClock(now)])


def test_the_centre_asks_on_the_panels_own_line_and_hears_the_confirm() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert not centre.server.holds("panel-7")
            assert await panel.heartbeat() is Answer.CONFIRMED
            assert centre.server.holds("panel-7")
            for serial in (0, 1):
                asking = asyncio.create_task(centre.server.ask("panel-7", set_clock))
                question = await panel.next_frame()
                now = TimeTag.at(NOW_US)
                assert question == Frame(serial, now, panel.destination, PANEL.address, Command.CONTROL, set_clock(now))
                await panel.send_bytes(encode(confirm(question, now)))
                assert await asking is Reply.CONFIRMED
        assert await centre.server.ask("panel-8", set_clock) is Reply.UNHEARD

    run(story)


def test_a_question_is_repeated_and_then_unheard_and_frames_go_on_meanwhile() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            asking = asyncio.create_task(centre.server.ask("panel-7", set_clock))
            seen = [await panel.next_frame() for _ in range(3)]
            assert [frame.serial for frame in seen if frame is not None] == [0, 0, 0]
            assert await asking is Reply.UNHEARD
            assert await panel.fire(BUTTON) is Answer.CONFIRMED

    assert len(run(story, limits=StrangerLimits(resend_s=0.02, resends=2)).signals) == 1


def test_a_question_on_a_line_that_is_lost_is_unheard_at_once() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            asking = asyncio.create_task(centre.server.ask("panel-7", set_clock))
            await panel.next_frame()
        assert await asking is Reply.UNHEARD
        assert not centre.server.holds("panel-7")

    run(story, limits=StrangerLimits(resend_s=600))


def test_a_denied_question_says_so() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.heartbeat() is Answer.CONFIRMED
            asking = asyncio.create_task(centre.server.ask("panel-7", set_clock))
            question = await panel.next_frame()
            assert question is not None
            await panel.send_bytes(encode(deny(question, TimeTag.at(NOW_US))))
            assert await asking is Reply.DENIED

    run(story)


def test_what_was_heard_and_not_kept_is_given_back_and_counts_on() -> None:
    heard = HeardPanels()
    heard.stranger("a", "peer:1", 10)
    heard.panel("p", "peer:1", TimeTag(), 10)
    panels, strangers = heard.take()
    assert (panels, heard.take()) == ([PanelHeard("p", "peer:1", 10, None, True)], ([], []))
    heard.stranger("a", "peer:2", 20)
    heard.give_back(panels, strangers)
    assert heard.take() == (panels, [StrangerFrames("a", "peer:2", 2, 10, 20)])


def test_a_fault_is_kept_as_information() -> None:
    async def story(centre: Centre) -> None:
        async with centre.panel() as panel:
            assert await panel.report(BUTTON, ComponentBit.NORMAL | ComponentBit.FAULT) is Answer.CONFIRMED

    assert [(s.kind, s.evidence) for s in run(story).signals] == [(SignalKind.INFO, Evidence.FAULT)]
