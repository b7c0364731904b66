"""Two machines share one city on PostgreSQL: nothing is handled twice, and either gateway may die during a release
or stand still for a while."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from devices.protocols.sensor_mqtt import SensorKind, SensorState
from services.dispatcher.engine.air import accounts
from services.dispatcher.engine.chain import verify
from services.dispatcher.engine.leases import SLOW, Duty, gateway_client, is_held
from services.dispatcher.engine.rows import Lease
from simulators.sensor import SimulatedSensors
from tests.acceptance.running import (
    Running,
    another_machine,
    communities,
    coverage,
    eventually,
    running,
    starts,
    storm_on_air,
)
from tests.postgres import started_postgres

pytestmark = pytest.mark.skipif("TOCSIN_MACHINES" not in os.environ, reason="more than a minute: make machines runs it")

GOES_ON_WITHIN_S = 10.0
URGENT = [duty for duty in Duty if duty not in SLOW]


def test_two_machines_handle_nothing_twice_and_either_gateway_may_die_during_a_release(tmp_path: Path) -> None:
    with started_postgres() as server:
        server.execute("CREATE DATABASE tocsin")
        with (
            running(tmp_path, server.url("tocsin"), gateway_clients=2) as first,
            another_machine(first, tmp_path / "second") as second,
        ):
            # The second officer of every release works at the other machine's web.
            first.people["approver"] = second.person("approver")
            venue = first.system.city.venues[first.logins["panel"]["venue"]]
            areas = [area for area in communities(first) if area != venue.area]
            _both_run(first, second)
            fire, storms = _fire_seen_by_both(first, second), [storm_on_air(first, areas[0])]
            eventually(lambda: all(_plays(first, order) for order in (fire, *storms)), "fire and storm play")
            _say_sensor(first, "s-both")
            eventually(lambda: _unread(first) == ["s-both"], "the sensor's message has been taken in")
            _each_receipt_was_taken_once(first, second)
            for number in (1, 2):
                storms.append(_gateway_dies(first, second, areas[number], f"s-dead-{number}"))
            _gateway_freezes(first, second)
            _nothing_was_lost_or_done_twice(first, fire, storms)


def _gateway_dies(first: Running, second: Running, area: str, device: str) -> str:
    """kill -9 of the gateway that has the receipts, while a warning for an area is released; the alert's id. It is
    started again when the other one has gone on."""
    dying, living = sorted((first, second), key=lambda machine: _holder(first, Duty.RECEIPTS) != _pid(machine))
    assert _holder(first, Duty.RECEIPTS) == _pid(dying)

    def kill() -> None:
        dying.system.children["gateway"][0].process.kill()
        dying.system.children["gateway"][0].process.wait(10)

    order = storm_on_air(first, area, kill)
    _say_sensor(first, device)
    _soon(lambda: all(_holder(first, duty) == _pid(living) for duty in URGENT), "the other has the urgent duties")
    _soon(lambda: not first.rows("SELECT 1 FROM effect WHERE carry = 'publish_stream'"), "the other has published")
    eventually(lambda: _plays(first, order), f"every speaker of {area} plays {order}")
    eventually(lambda: device in _unread(first), "what waited for the dead one is taken in")
    eventually(lambda: all(_holder(first, duty) == _pid(living) for duty in Duty), "the other has every duty")
    dying.system.look_after()
    _both_run(first, second)
    return order


def _gateway_freezes(first: Running, second: Running) -> None:
    """The gateway that has the receipts stands still until the other one has its duties, and then goes on."""
    frozen, awake = sorted((first, second), key=lambda machine: _holder(first, Duty.RECEIPTS) != _pid(machine))
    frozen.system.children["gateway"][0].process.send_signal(signal.SIGSTOP)
    try:
        _soon(lambda: all(_holder(first, duty) == _pid(awake) for duty in URGENT), "the other has the urgent duties")
        _say_sensor(first, "s-frozen")
    finally:
        frozen.system.children["gateway"][0].process.send_signal(signal.SIGCONT)
    _both_run(first, second)
    assert all(_holder(first, duty) == _pid(awake) for duty in URGENT)


def _soon(holds: Callable[[], object], what: str) -> None:
    eventually(holds, what, GOES_ON_WITHIN_S)


def _both_run(first: Running, second: Running) -> None:
    def run() -> bool:
        held = {_holder(first, gateway_client(number)) for number in range(2)}
        return held == {_pid(first), _pid(second)} and all(_holder(first, duty) for duty in Duty)

    eventually(run, "each gateway has a client id of its own, and every duty is done")


def _pid(machine: Running) -> int:
    return machine.system.children["gateway"][0].pid


def _holder(town: Running, name: str) -> int:
    """The process that holds a lease; 0 for nobody."""
    with town.system.store.read() as read:
        lease = read.get(Lease, name)
        held = lease is not None and is_held(lease, read.now_us(), 10_000_000)
    return int(lease.holder.split("/")[1]) if lease is not None and held else 0


def _fire_seen_by_both(first: Running, second: Running) -> str:
    """Two detectors of one venue, each on another machine's line; the standing order's alert."""
    assert first.fire(1) == (True, "the panel's frame was confirmed")
    assert second.fire(2) == (True, "the panel's frame was confirmed")

    def alert() -> object:
        incident = first.person("duty").newest_incident("fire", 0)
        return incident and incident["alert"]

    eventually(alert, "the fire has an alert")
    return str(alert())


def _plays(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0


def _say_sensor(town: Running, device: str) -> None:
    """A device that nobody has enrolled speaks; each of its messages that is taken in leaves a row."""
    login = town.logins["sensor"]
    with SimulatedSensors("127.0.0.1", town.system.settings.mqtt_port, login["gateway"], login["secret"]) as box:
        box.say(device, SensorKind.SMOKE, SensorState.ALARM)


def _unread(town: Running) -> list[str]:
    return sorted(os.path.basename(source) for (source,) in town.rows("SELECT source FROM unread"))


def _each_receipt_was_taken_once(first: Running, second: Running) -> None:
    """By what the gateways themselves have counted since they started."""

    def counted(machine: Running, name: str, **labels: str) -> float:
        page = httpx.get(f"http://127.0.0.1:{machine.system.settings.gateway_metrics_port}/metrics").text
        samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
        return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())

    def once() -> bool:
        stored = sorted(counted(machine, "tocsin_receipts_total") for machine in (first, second))
        return stored == [0.0, float(first.rows("SELECT count(*) FROM receipt")[0][0])]

    eventually(once, "one gateway has counted every receipt, and once")
    for duty in Duty:
        assert counted(first, "tocsin_duty_held", duty=duty) + counted(second, "tocsin_duty_held", duty=duty) == 1.0


def _nothing_was_lost_or_done_twice(town: Running, fire: str, storms: list[str]) -> None:
    def finished() -> bool:
        return all(coverage(town, storm)["finished"] == coverage(town, storm)["targeted"] for storm in storms)

    eventually(finished, "every speaker has finished every storm's order")
    assert {key: times for key, times in starts(town).items() if times != 1} == {}
    on_air = town.rows("SELECT subject FROM log WHERE kind = 'broadcast.on_air'")
    assert sorted(subject for (subject,) in on_air) == sorted([fire, *storms])
    assert _unread(town) == ["s-both", "s-dead-1", "s-dead-2", "s-frozen"]
    with town.system.store.read() as read:
        assert verify(read).problem == ""
        # A survivor that connects by the accounts of a dead gateway is no thief.
        assert accounts.health(read).taken == ()
