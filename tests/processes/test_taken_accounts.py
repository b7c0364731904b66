"""Two clients of one gateway account at a real Mosquitto: the first says at once that it was put out, and by whom."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from services.dispatcher.adapters import broker
from services.dispatcher.adapters.mqtt import MqttLink
from services.dispatcher.adapters.mqtt_inlet import MqttInlet
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.taken_accounts import ACCOUNT_TAKEN
from services.dispatcher.engine.air import accounts
from services.dispatcher.engine.leases import GATEWAY_LEASE_US, hold
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Lease
from services.dispatcher.processes.children import Mosquitto
from services.dispatcher.processes.enrolment import intake_login
from services.dispatcher.processes.taken_accounts import AFTER_S, TakenAccounts
from tests import builders

SECRET = broker.new_secret()
LOGINS = [
    broker.gateway_login("gw-0", broker.hash_secret(SECRET)),
    intake_login("gw-0-in", broker.hash_secret(SECRET)),
]
MINE = ("gw-0", "gw-0-in", "gw-0-sensors")
WITHIN_S = 20
TAKES_MAX = 2_000


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as started:
        started.start(LOGINS)
        yield started


@pytest.fixture
def town(store: SqlStore) -> builders.Town:
    town = builders.town(store)
    assert hold(store, "gw-0", "host/1", GATEWAY_LEASE_US)
    return town


class Watcher:
    """What a gateway does about its accounts; `lost` is set when it has been told."""

    def __init__(self, town: builders.Town) -> None:
        self.lost = threading.Event()
        self.counted: list[str] = []
        self._town = town
        self._ahead_s = 0.0
        self.taken = TakenAccounts(
            town.store, town.engine, "gw-0", "host/1", self.counted.append, self.lost.set, MINE,
            lambda: time.monotonic() + self._ahead_s,
        )  # fmt: skip

    def alarms(self) -> list[Incident]:
        self._ahead_s += AFTER_S
        self.taken.step()
        with self._town.store.read() as read:
            return read.find(Incident, Page(), hazard=ACCOUNT_TAKEN)


@contextmanager
def linked(
    mosquitto: Mosquitto,
    on_taken: Callable[[bool], None] = lambda said: None,
    on_cut: Callable[[], None] = lambda: None,
) -> Iterator[MqttLink]:
    assert mosquitto.port is not None
    ready = threading.Event()
    link = MqttLink("gw-0", SECRET, [], lambda delivery: delivery.ack(), ready.set, on_taken, on_cut)
    link.start("127.0.0.1", mosquitto.port)
    try:
        assert ready.wait(WITHIN_S)
        yield link
    finally:
        link.stop()


def test_a_thief_is_a_red_incident_at_once(mosquitto: Mosquitto, town: builders.Town) -> None:
    watcher = Watcher(town)
    with linked(mosquitto, partial(watcher.taken.lost, "gw-0")), linked(mosquitto):
        assert watcher.lost.wait(WITHIN_S)
    (alarm,) = watcher.alarms()
    assert (alarm.level, alarm.playbook) == (1, "")
    assert watcher.counted == ["gw-0"]
    with town.store.read() as read:
        assert [row.id for row in accounts.health(read).taken] == ["gw-0"]


def test_a_survivor_under_the_lease_is_no_alarm(mosquitto: Mosquitto, town: builders.Town) -> None:
    watcher = Watcher(town)
    with linked(mosquitto, partial(watcher.taken.lost, "gw-0")):
        with town.store.write() as tx:
            tx.put(Lease("gw-0", "host/2", tx.now_us() + GATEWAY_LEASE_US))
        with linked(mosquitto):
            assert watcher.lost.wait(WITHIN_S)
    assert watcher.alarms() == []
    assert watcher.counted == []


def test_a_gateway_that_comes_back_after_a_crash_of_its_broker_is_no_alarm(
    mosquitto: Mosquitto, town: builders.Town
) -> None:
    watcher = Watcher(town)
    with linked(mosquitto, partial(watcher.taken.lost, "gw-0")) as link:
        mosquitto.stop()
        mosquitto.start(LOGINS)
        until = threading.Event()
        while not link.connected and not until.wait(0.05):
            pass
    assert not watcher.lost.is_set()
    assert watcher.alarms() == []


def test_the_intake_s_account_is_watched_too(mosquitto: Mosquitto, town: builders.Town) -> None:
    assert mosquitto.port is not None
    watcher = Watcher(town)
    mine = MqttInlet(
        "gw-0-in", SECRET, ("tocsin/v1/speaker/+/receipt",), "127.0.0.1", mosquitto.port,
        on_taken=partial(watcher.taken.lost, "gw-0-in"),
    )  # fmt: skip
    thief = MqttInlet("gw-0-in", SECRET, ("tocsin/v1/speaker/+/receipt",), "127.0.0.1", mosquitto.port)
    try:
        for inlet in (mine, thief):
            assert any(inlet.connected or inlet.take(1, 0.01, 0.0) for _ in range(TAKES_MAX))
        for _ in range(TAKES_MAX):
            for inlet in (mine, thief):
                inlet.take(1, 0.005, 0.0)
            if watcher.lost.is_set():
                break
    finally:
        mine.close()
        thief.close()
    (alarm,) = watcher.alarms()
    assert "gw-0-in" in alarm.headline


class Cuts:
    """Cuts at times that the test sets, of which the broker says nothing."""

    def __init__(self, town: builders.Town) -> None:
        self.now_s, self._town = 0.0, town
        self.taken = TakenAccounts(
            town.store, town.engine, "gw-0", "host/1", lambda account: None, lambda: None, MINE, lambda: self.now_s
        )

    def cut(self, at_s: float, *accounts: str) -> None:
        """The broker hangs up, and lets the gateway's link in again at once; the others find their own way back."""
        self.now_s = at_s
        for account in accounts:
            self.taken.cut(account)
        self.taken.lost("gw-0", said=False)

    def alarms(self) -> list[Incident]:
        self.now_s += AFTER_S
        self.taken.step()
        with self._town.store.read() as read:
            return read.find(Incident, Page(), hazard=ACCOUNT_TAKEN)


def test_a_broker_that_is_restarted_again_and_again_accuses_nobody(town: builders.Town) -> None:
    cuts = Cuts(town)
    for at_s in (0, 20, 40):
        cuts.cut(at_s, "gw-0", "gw-0-in", "gw-0-sensors")
    assert cuts.alarms() == []


def test_one_account_that_is_cut_alone_again_and_again_is_red(town: builders.Town) -> None:
    cuts = Cuts(town)
    cuts.cut(0, "gw-0", "gw-0-in", "gw-0-sensors")
    for at_s in (20, 40):
        cuts.cut(at_s, "gw-0", "gw-0-in")
    (alarm,) = cuts.alarms()
    assert "很可能" in alarm.headline


@pytest.mark.parametrize("others", [(), ("gw-0-in",)])
def test_one_account_that_is_cut_every_second_is_red_all_the_same(town: builders.Town, others: tuple[str, ...]) -> None:
    cuts = Cuts(town)
    for second in range(120):
        cuts.cut(second, "gw-0", *others)
        cuts.taken.step()
    (alarm,) = cuts.alarms()
    assert "很可能" in alarm.headline


def test_a_broker_that_is_restarted_every_second_accuses_nobody(town: builders.Town) -> None:
    cuts = Cuts(town)
    for second in range(120):
        cuts.cut(second, "gw-0")
        cuts.taken.step()
        for other in ("gw-0-in", "gw-0-sensors"):
            cuts.now_s = second + AFTER_S / 4
            cuts.taken.cut(other)
    assert cuts.alarms() == []


def test_a_real_broker_that_ends_tells_each_account_of_its_cut(mosquitto: Mosquitto, town: builders.Town) -> None:
    cut: list[str] = []
    assert mosquitto.port is not None
    inlet = MqttInlet(
        "gw-0-in", SECRET, ("tocsin/v1/speaker/+/receipt",), "127.0.0.1", mosquitto.port,
        on_cut=partial(cut.append, "gw-0-in"),
    )  # fmt: skip
    with linked(mosquitto, on_cut=partial(cut.append, "gw-0")) as link:
        for _ in range(TAKES_MAX):
            if inlet.connected:
                break
            inlet.take(1, 0.01, 0.0)
        mosquitto.stop()
        for _ in range(TAKES_MAX):
            if not inlet.connected and not link.connected:
                break
            inlet.take(1, 0.01, 0.0)
    inlet.close()
    assert sorted(cut) == ["gw-0", "gw-0-in"]
