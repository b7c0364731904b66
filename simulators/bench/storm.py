"""How long the engine takes to absorb a storm of related signals on SQLite, while the console's API answers.

The engine runs here, as in the gateway; the API runs as its own process over the same file, as it does in a city, and
a third process asks it for the list of incidents all the while. The storm is right only when it is one incident with
every signal kept, and the log has not grown with it; that is asked each time.
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import httpx

from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.signals import Evidence, Place, Signal, SignalKind, Use
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import EVENTS_MAX, Engine
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.engine.people import Role, create_person, fresh_secret
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import Footprint
from services.dispatcher.processes.children import Child, free_port
from services.dispatcher.processes.settings import Settings
from services.dispatcher.processes.up import answers, environment
from services.dispatcher.processes.wiring import make_engine
from simulators.bench import town
from simulators.bench.database import fresh_database
from simulators.bench.result import BenchFailed, spread

SIGNALS_MAX = 1_000_000
DEVICES = 1_000
VENUE = "square-0"
OFFICER = "duty"
READY_WITHIN_S = 60.0
ASK_WITHIN_S = 10.0
PAUSE_S = 0.05
"""A console asks less often; a benchmark wants enough answers."""
BESIDE_MAX = 90


def storm(
    folder: Path, signals: int = 10_000, group: int = EVENTS_MAX, beside: int = 0, database: str = ""
) -> dict[str, object]:
    """Figures of one storm: signals per second to committed rows, and milliseconds of GET /api/incidents meanwhile.

    `group` signals are committed together, as intake does with what comes at once; `beside` incidents of the same
    hazard are open at other venues before. Raises BenchFailed, or ChildWontStart from the main thread.
    """
    if not (0 < signals <= SIGNALS_MAX and 0 < group <= EVENTS_MAX and 0 <= beside <= BESIDE_MAX):
        raise BenchFailed("The storm is empty or too large.")
    var = folder / "storm"
    var.mkdir(mode=0o700)
    with fresh_database(var / "tocsin.db", database) as url:
        settings = Settings(var=var, database_url=url, web_port=free_port(), web_secure_cookie=False)
        return _absorbed(settings, signals, group, beside)


def _absorbed(settings: Settings, signals: int, group: int, beside: int) -> dict[str, object]:
    with closing(SqlStore(settings.database)) as store:
        password = _fill(store)
        engine = make_engine(settings, store)
        for number in range(beside):
            engine.handle([SignalArrived(_signal(number, f"square-{number + 1}"))])
        with _web(settings), _asking(settings.web_port, password) as told:
            quiet_until = time.monotonic() + 1.0
            while time.monotonic() < quiet_until:
                time.sleep(PAUSE_S)
            told.send("storm")
            took_s, cpu_s = _absorb(engine, signals, group)
            told.send("over")
            quiet_ms, storm_ms = told.recv()
        return _figures(store, signals, beside, took_s) | {
            "cpu_s": round(cpu_s, 3),
            "api_quiet_ms": _milliseconds(quiet_ms),
            "api_storm_ms": _milliseconds(storm_ms),
        }


def _fill(store: SqlStore) -> str:
    with store.write() as tx:
        import_city(tx, town.settings(), town.rows(len(town.STREETS)), "bench")
    password = fresh_secret()
    create_person(store, Argon2Passwords(), name=OFFICER, password=password, roles=[Role.DUTY_OFFICER], by="bench")
    return password


def _signal(number: int, venue: str = VENUE) -> Signal:
    """One detector of many at one place."""
    now_us = time.time_ns() // 1_000
    return Signal(
        key=f"gb26875/bench/{venue}/{number}", reporter="bench", use=Use.EXERCISE, kind=SignalKind.ALERT,
        evidence=Evidence.DETECTOR, hazard="fire", event_code="12B00", place=Place(venue=venue), observed_us=now_us,
        received_us=now_us, device=f"detector-{number % DEVICES}", headline="感烟探测器报警（演练）",
    )  # fmt: skip


def _absorb(engine: Engine, signals: int, group: int) -> tuple[float, float]:
    """Seconds by the clock, and of this program's processor."""
    made = [_signal(number) for number in range(signals)]
    started, cpu = time.perf_counter(), time.process_time()
    for start in range(0, signals, group):
        now_us = time.time_ns() // 1_000
        engine.handle([SignalArrived(replace(signal, received_us=now_us)) for signal in made[start : start + group]])
    return time.perf_counter() - started, time.process_time() - cpu


def _figures(store: SqlStore, signals: int, beside: int, took_s: float) -> dict[str, object]:
    with store.read() as read:
        incidents = read.find(Incident, Page(limit=beside + 2))
        hit = next((i for i in incidents if i.venue == VENUE), None)
        lines = 0 if hit is None else len(read.log_of(hit.id, 0, signals + 1_000))
        effects = len(read.open_effects())
        kept = 0 if hit is None else len(read.signals_of(hit.id, signals + 1))
        footprints = len(read.find(Footprint, Page(limit=10_000)))
    if hit is None or len(incidents) != beside + 1 or (hit.signal_count, kept) != (signals, signals):
        raise BenchFailed("The storm did not become one incident with every signal kept.")
    return {
        "bench": "storm",
        "signals": signals,
        "incidents_beside": beside,
        "took_s": round(took_s, 3),
        "signals_per_s": round(signals / took_s),
        "log_lines": lines,
        "effects": effects,
        "footprints": footprints,
        "witnesses": len(hit.witnesses),
    }


def _milliseconds(took: list[float]) -> dict[str, float]:
    if not took:
        raise BenchFailed("The API was never asked, or never answered.")
    p95 = statistics.quantiles(took, n=20)[-1] if len(took) > 1 else took[0]
    return {"asked": float(len(took)), "p95": round(p95, 1), **spread(took, 1)}


@contextmanager
def _web(settings: Settings) -> Iterator[None]:
    command = [sys.executable, "-m", "devices.command", "web"]
    log = settings.var.resolve() / "web.log"
    child = Child.start("web", command, Path.cwd(), log=log, environment=environment(settings))
    try:
        child.wait_until(lambda: answers(settings.web_port), within_s=READY_WITHIN_S)
        yield
    finally:
        child.stop()


@contextmanager
def _asking(port: int, password: str) -> Iterator[Connection]:
    """A process that asks all the while, and in the end tells how long each answer took before and in the storm."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_ask, args=(port, password, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(READY_WITHIN_S) or ours.recv() != "ready":
            raise BenchFailed("The officer could not log in.")
        yield ours
    finally:
        process.terminate()
        process.join()


def _ask(port: int, password: str, told: Connection) -> None:
    quiet_ms: list[float] = []
    storm_ms: list[float] = []
    now = quiet_ms
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=ASK_WITHIN_S) as client:
        token = (
            client.post("/api/login", json={"name": OFFICER, "password": password}).raise_for_status().json()["token"]
        )
        headers = {"Authorization": f"Bearer {token}"}
        client.get("/api/incidents", headers=headers).raise_for_status()
        told.send("ready")
        while True:
            if told.poll():
                if told.recv() == "over":
                    break
                now = storm_ms
            started = time.perf_counter()
            client.get("/api/incidents", headers=headers).raise_for_status()
            now.append((time.perf_counter() - started) * 1_000)
            time.sleep(PAUSE_S)
    told.send((quiet_ms, storm_ms))
