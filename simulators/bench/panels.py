"""Fire panels over TCP: frames per second until each is confirmed, which is after its rows are committed and synced.

The centre's end is the product's own (server, reading, engine, SQLite with every commit synced) in this process; the
panels are another process, which sends nothing more on a connection before the frame there is confirmed.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from services.dispatcher.adapters.gb26875_metrics import PanelMetrics
from services.dispatcher.adapters.gb26875_server import PanelServer
from services.dispatcher.adapters.playbooks import read_playbooks
from services.dispatcher.adapters.store import HostClock, SqlStore
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Area, Office, Speaker, Venue, VenueKind
from services.dispatcher.domain.signals import Panel, Use
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.ports import Page
from services.dispatcher.feeds import gb26875
from services.dispatcher.processes.settings import PLAYBOOKS
from services.dispatcher.processes.wiring import TimeOrderedIds
from simulators.bench import town
from simulators.bench.database import fresh_database
from simulators.bench.result import BenchFailed, spread, sync_ms

KINDS = ("fire", "normal", "analogue", "heartbeat")
VENUES_APART_E7 = 200_000
"""About two kilometres, so that fires at two venues are two incidents."""
CROWD_WITHIN_S = 180.0
ALL = Page(limit=100_000)


def panel_frames(
    folder: Path, connections: int = 200, frames_each: int = 50, rounds: int = 3, database: str = ""
) -> dict[str, object]:
    """Measure; the figures for the JSON line. Raises BenchFailed, also when a fire frame left no row.

    Every panel stands in an underground space of its own, with a playbook, an office and a speaker, so that its first
    fire opens an incident, asks the office and drafts the order; the others join it.
    """
    figures: dict[str, object] = {
        "bench": "panel_frames",
        "connections": connections,
        "frames_each": frames_each,
        "rounds": rounds,
        "sync_ms": sync_ms(folder),
    }
    with fresh_database(folder / "panels.db", database) as url, _Centre(url, connections) as centre:
        addresses = [panel.address for panel in centre.panels]
        for kind in KINDS:
            # Each round's detectors are others than the round's before, the first of them warms everything up.
            said = [
                _crowd(centre.port, addresses, kind, frames_each, 1 + at * frames_each) for at in range(rounds + 1)
            ][1:]
            figures[kind] = {
                "frames_per_s": spread([s["frames"] / s["took_s"] for s in said], 0),
                "confirm_ms_p50": spread([s["confirm_ms_p50"] for s in said], 2),
                "confirm_ms_p99": spread([s["confirm_ms_p99"] for s in said], 2),
            }
        fires = connections * frames_each * (rounds + 1)
        if centre.rows() != fires:
            raise BenchFailed(f"{fires} fires were confirmed, and {centre.rows()} are rows.")
    return figures


class _Centre:
    """The product's end, listening on loopback."""

    def __init__(self, url: str, panels: int) -> None:
        self._store = SqlStore(url)
        self.panels = [_panel(number) for number in range(panels)]
        with self._store.write() as tx:
            import_city(tx, town.settings(), list(_rows(panels)), "bench")
            tx.put(*self.panels)
        self._engine = Engine(self._store, TimeOrderedIds(self._store.clock), read_playbooks(PLAYBOOKS))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="panel-server", daemon=True)
        self._server = PanelServer(
            panel_of={panel.address: panel for panel in self.panels}.get,
            read=gb26875.signals,
            commit=self._engine.handle,
            now_us=HostClock().now_us,
            metrics=PanelMetrics(CollectorRegistry()),
        )
        self.port = 0

    def rows(self) -> int:
        """How many signals are rows."""
        with self._store.read() as read:
            return sum(len(read.signals_of(incident.id, 1_000_000)) for incident in read.find(Incident, ALL))

    def __enter__(self) -> _Centre:
        self._thread.start()
        self.port = asyncio.run_coroutine_threadsafe(self._server.start("127.0.0.1", 0), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._store.close()


def _panel(number: int) -> Panel:
    return Panel(f"panel-{number}", f"{number}号主机", f"{number + 1:012x}", Use.EXERCISE, f"hall-{number}")


def _rows(panels: int) -> Iterator[Area | Venue | Office | Speaker]:
    yield from town.rows(2)
    for number in range(panels):
        lat_e7 = 389_000_000 + VENUES_APART_E7 * (number // 20)
        lon_e7 = 1_200_000_000 + VENUES_APART_E7 * (number % 20)
        street = town.STREETS[number % len(town.STREETS)]
        hall = Venue(
            f"hall-{number}", f"{number}号地下", VenueKind.UNDERGROUND, street, lat_e7, lon_e7, 500, "made", 10
        )
        yield hall
        yield Speaker(f"hall-speaker-{number}", hall.id, street, f"{number}号", lat_e7, lon_e7)


def _crowd(port: int, addresses: list[str], kind: str, frames_each: int, first: int) -> dict[str, Any]:
    asked = {"port": port, "addresses": addresses, "kind": kind, "frames_each": frames_each, "first": first}
    command = [sys.executable, "-m", "simulators.bench.panel_crowd"]
    try:
        ran = subprocess.run(
            command, input=json.dumps(asked) + "\n", capture_output=True, text=True, timeout=CROWD_WITHIN_S
        )
        said: dict[str, Any] = json.loads(ran.stdout)
    except (subprocess.TimeoutExpired, ValueError) as broken:
        raise BenchFailed("The panels' process ended without figures.") from broken
    if "failed" in said:
        raise BenchFailed(f"The panels failed: {said['failed']}.")
    return said
