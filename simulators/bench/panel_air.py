"""From a fire frame on the wire to the signed manifest at the broker, under a standing order whose audio is staged.

The whole product runs: gateway, web, worker, real Mosquitto and Redis. In each round a detector speaks first, so that
the order is drafted with the audio that was rendered ahead; then a second one does, and the standing order covers two.
The clock runs from that frame's first byte until a subscriber has read from the manifest that the order is on air.
"""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing
from pathlib import Path

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from devices.protocols import jws
from devices.protocols.gb26875 import FRAME_BYTES_MIN, Command, Frame, TimeTag, encode
from services.dispatcher.domain.broadcasts import Broadcast
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Speaker, Venue, VenueKind
from services.dispatcher.domain.signals import Panel, Use
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.ports import Page
from services.dispatcher.processes.wiring import make_engine
from simulators.bench import town
from simulators.bench.fanout import over
from simulators.bench.panel_crowd import CENTRE, unit
from simulators.bench.result import BenchFailed, sync_ms
from simulators.bench.running import Running, running

HALL, ADDRESS = "hall", "0000000000a1"
AIR_WITHIN_S = 10.0
PANELS_LOADED_S = 2.0
BETWEEN_ROUNDS_S = 0.2
SPEAKERS = 2
FAR_S = 0.001


def panel_to_air(folder: Path, rounds: int = 50, database: str = "") -> dict[str, object]:
    """Measure; the figures for the JSON line, in ms. With PostgreSQL it is measured again with 1 ms to the database,
    each way. Raises BenchFailed."""
    near = _measured(folder, rounds, database, 0.0)
    if not database:
        return near
    beyond = folder / "far"
    beyond.mkdir()
    return {**near, "far": _measured(beyond, rounds, database, FAR_S)}


def _measured(folder: Path, rounds: int, database: str, one_way_s: float) -> dict[str, object]:
    synced_ms = sync_ms(folder)
    took_ms: list[float] = []
    confirmed_ms: list[float] = []
    with running(folder, SPEAKERS, 0, database, one_way_s) as run:
        _put_hall(run)
        run.settle()
        time.sleep(PANELS_LOADED_S)
        engine = make_engine(run.settings, run.store)
        with closing(_Ear(run)) as ear:
            for number in range(rounds):
                air, confirm = _round(run, engine, ear, number)
                took_ms.append(air * 1_000)
                confirmed_ms.append(confirm * 1_000)
    return {
        "bench": "panel_to_air",
        "rounds": rounds,
        "sync_ms": synced_ms,
        "air_ms": _percentiles(took_ms),
        "confirm_ms": _percentiles(confirmed_ms),
    }


def _percentiles(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {name: round(ordered[min(len(ordered) - 1, len(ordered) * at // 100)], 1) for name, at in _POINTS.items()}


_POINTS = {"p50": 50, "p90": 90, "p99": 99, "max": 100}


def _round(run: Running, engine: Engine, ear: _Ear, number: int) -> tuple[float, float]:
    """Seconds until on air, and until the frame was confirmed."""
    with socket.create_connection(("127.0.0.1", run.settings.panel_port), 5) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _fire(line, 2 * number + 1)
        incident, alert = _drafted(run)
        run.wait_for_audio(alert)
        run.settle()
        time.sleep(BETWEEN_ROUNDS_S)
        on_air = ear.listen_for(alert)
        began = time.monotonic()
        _fire(line, 2 * number + 2)
        confirmed = time.monotonic()
        if not on_air.wait(AIR_WITHIN_S):
            raise BenchFailed("The standing order did not go on air.")
        run.settle()
        over(run, engine, incident, alert)
        return ear.heard_at - began, confirmed - began


def _fire(line: socket.socket, detector: int) -> None:
    """Send one fire and wait for its confirm."""
    tag = TimeTag.at(time.time_ns() // 1_000)
    frame = Frame(detector, tag, ADDRESS, CENTRE, Command.SEND, unit("fire", detector, tag))
    line.sendall(encode(frame))
    answer = b""
    while len(answer) < FRAME_BYTES_MIN:
        answer += (got := line.recv(FRAME_BYTES_MIN - len(answer)))
        if not got:
            raise BenchFailed("The gateway hung up.")
    if answer[26] != Command.CONFIRM:
        raise BenchFailed("A fire frame was not confirmed.")


def _drafted(run: Running) -> tuple[str, str]:
    """The newest incident of the hall, and the alert drafted for it."""
    with run.store.read() as read:
        found = read.find(Incident, Page(limit=1, order="-id"), venue=HALL)
        drafts = read.find(Broadcast, Page(limit=1), incident=found[0].id, original="") if found else []
    if not drafts:
        raise BenchFailed("The first detector's order was not drafted: its playbook is not here.")
    return found[0].id, drafts[0].id


class _Ear:
    """A subscriber with a speaker's own login; notes when a manifest first carries an order."""

    def __init__(self, run: Running) -> None:
        login = run.plain[0]
        self._wanted = ""
        self._heard = threading.Event()
        self.heard_at = 0.0
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=login.name, protocol=MQTTProtocolVersion.MQTTv5)
        self._client.username_pw_set(login.name, login.secret)
        self._client.on_connect = lambda client, *_: client.subscribe([(each, 1) for each in login.filters])
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = self._message
        self._client.connect("127.0.0.1", run.settings.mqtt_port)
        self._client.loop_start()
        if not self._ready.wait(AIR_WITHIN_S):
            raise BenchFailed("The subscriber was not let in.")

    def listen_for(self, order: str) -> threading.Event:
        """The event of that order being on air."""
        self._heard.clear()
        self._wanted = order
        return self._heard

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        at = time.monotonic()
        if not self._wanted or self._heard.is_set() or self._wanted.encode() not in _said(bytes(message.payload)):
            return
        self.heard_at = at
        self._heard.set()


def _said(signed: bytes) -> bytes:
    """What a signed manifest says, as JSON; its signature is the speakers' business."""
    return jws.decode_base64url(signed.split(b".")[1].decode())


def _put_hall(run: Running) -> None:
    """An underground hall in one speaker's own street, with a speaker and an enrolled panel."""
    street = town.STREETS[0]
    hall = Venue(HALL, "地下商城", VenueKind.UNDERGROUND, street, 389_000_000, 1_200_000_000, 500, "made", 10)
    rows = [*town.rows(SPEAKERS), hall, Speaker("hall-speaker", HALL, street, "1号", hall.lat_e7, hall.lon_e7)]
    with run.store.write() as tx:
        import_city(tx, town.settings(), rows, "bench")
        tx.put(Panel("panel", "1号主机", ADDRESS, Use.EXERCISE, HALL))
