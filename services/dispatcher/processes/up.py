"""`tocsin up`: the whole system on one machine. Plain `up` never sounds; `--demo` adds a simulated city and a drill."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from devices.protocols.speaker_link import KeyUse as KeyUse

from ..adapters.broker import BrokerLogin
from ..adapters.city_pack import PackRefused, read_city_pack
from ..adapters.keystore import KeyFolder, KeysExist, Scope
from ..adapters.passwords import Argon2Passwords
from ..domain.planning import City
from ..engine.cities import CityInMemory
from ..engine.people import Role, create_person, fresh_secret
from ..engine.rows import CitySettings, Person
from .children import Child, ChildWontStart, Mosquitto, Redis, free_port
from .cli_city import as_lines, put_in
from .cli_keys import expiry_lines, key_line
from .cli_migrate import upgrade
from .demo import Demo
from .enrolment import broker_logins, enrol_gateways
from .private import write_private
from .settings import Settings
from .wiring import OpenStore, make_store

app = typer.Typer(add_completion=False, help="Run the whole system on this machine. 在本机运行整个系统。")

CITIES = Path(__file__).parents[3] / "deploy" / "cities"
LOOK_EVERY_S = 0.5
RESTARTS_MAX = 20
READY_WITHIN_S = 60.0


class WontStart(Exception):
    """Something that `up` needs is not right; the sentence is for people."""


@dataclass(slots=True)
class System:
    """A running system: its settings, its children and what they were started with."""

    settings: Settings
    store: OpenStore
    city: City
    mosquitto: Mosquitto
    redis: Redis
    environment: dict[str, str]
    children: dict[str, tuple[Child, list[str]]] = field(default_factory=dict)
    restarts: int = 0
    logins: list[BrokerLogin] = field(default_factory=list)

    def start(self, name: str, *arguments: str) -> None:
        """Start one of our own processes as a child."""
        command = [sys.executable, "-m", "devices.command", *arguments]
        log = self.settings.var / "log" / f"{name}.log"
        child = Child.start(name, command, Path.cwd(), log=log.resolve(), environment=self.environment)
        self.children[name] = (child, list(arguments))

    def look_after(self) -> None:
        """Start again what ended, and let the broker know of new accounts."""
        for name, (child, arguments) in list(self.children.items()):
            if not child.running:
                self.restarts += 1
                typer.echo(f"{name} ended with {child.process.returncode}; starting it again. Log: {child.log}")
                if self.restarts > RESTARTS_MAX:
                    raise WontStart(f"{name} ends again and again; see {child.log}.")
                self.start(name, *arguments)
        self.refresh_logins()

    def refresh_logins(self) -> None:
        """Reload the broker when accounts changed."""
        logins = broker_logins(self.store, self.city)
        if logins != self.logins:
            self.logins = logins
            self.mosquitto.reload(logins)

    def stop(self) -> None:
        """End every child, the newest first."""
        for child, _ in reversed(list(self.children.values())):
            child.process.terminate()
        for child, _ in reversed(list(self.children.values())):
            child.stop()
        self.redis.stop()
        self.mosquitto.stop()
        self.store.close()


@app.callback(invoke_without_command=True)
def main(
    demo: Annotated[bool, typer.Option("--demo", help="Simulated city and one drill. 模拟城市与一次演练。")] = False,
    once: Annotated[bool, typer.Option("--once", help="End after the drill. 演练后退出。")] = False,
    city: Annotated[str, typer.Option(help="City pack: a folder, or dalian or longgang. 城市数据包。")] = "dalian",
    var: Annotated[Path | None, typer.Option(help="Where state is kept. 数据目录。")] = None,
) -> None:
    """Start broker, queue, database, web, gateway and worker, and stay until Ctrl-C.

    启动消息代理、队列、数据库、网页、网关与任务进程，按 Ctrl-C 结束。
    """
    if once and not demo:
        typer.echo("--once goes with --demo: without the demo there is no drill to end after.", err=True)
        raise typer.Exit(2)
    folder = var or Path("var") / (f"demo-{Path(city).name}" if demo else "tocsin")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        with _only_one(folder):
            raise typer.Exit(_run(folder, _pack_folder(city), demo, once))
    except (WontStart, ChildWontStart) as wont:
        typer.echo(f"Tocsin does not start: {wont}", err=True)
        raise typer.Exit(1) from wont
    except KeyboardInterrupt:
        typer.echo("\nEverything has been stopped.")


def _run(folder: Path, pack: Path, demo: bool, once: bool) -> int:
    settings, store, city = prepare(Settings(var=folder), pack, demo)
    simulated = Demo(settings, store, city) if demo else None
    if simulated is not None:
        simulated.enrol()
    system = start_system(settings, store, city)
    try:
        if simulated is not None:
            simulated.write_settings(system.settings.mqtt_port)
            for name, arguments in simulated.processes():
                system.start(name, *arguments)
        _say(system, demo)
        drill = None if simulated is None else simulated.start_drill(system.settings, system.environment)
        try:
            while drill is None or not once or drill.poll() is None:
                time.sleep(LOOK_EVERY_S)
                system.look_after()
        finally:
            if drill is not None:
                drill.terminate()
        return drill.wait()
    finally:
        system.stop()


def prepare(settings: Settings, pack_folder: Path, demo: bool) -> tuple[Settings, OpenStore, City]:
    """Database, city and keys; only the demo makes an exercise key, and nothing here makes an actual one."""
    upgrade(settings.database)
    store = make_store(settings)
    pack = read_city_pack(pack_folder, datetime.now(UTC).date())
    if isinstance(pack, PackRefused):
        raise WontStart("\n".join(as_lines(pack)))
    with store.read() as read:
        present = read.get(CitySettings, "city")
    if present is None or present.code != pack.settings.code:
        put_in(store, pack, "up")
    keys, now_us = KeyFolder(settings.keys), time.time_ns() // 1_000
    try:
        keys.init(pack.settings.issuer, pack.settings.code, now_us)
    except KeysExist:
        pass
    else:
        if demo:
            keys.make(Scope(KeyUse.EXERCISE, pack.settings.issuer, pack.settings.code, 365), now_us)
    with store.read() as read:
        city = CityInMemory().get(read)
    _first_administrator(settings, store)
    return settings, store, city


def _first_administrator(settings: Settings, store: OpenStore) -> None:
    """Somebody must be able to log in; the password is generated and stands in a file of the owner's alone."""
    with store.read() as read:
        if read.find(Person):
            return
    password = fresh_secret()
    create_person(
        store, Argon2Passwords(), name="admin", password=password, roles=[Role.ADMINISTRATOR],
        office="", by="up",
    )  # fmt: skip
    write_private(settings.var / "admin-login.json", {"name": "admin", "password": password})


def start_system(settings: Settings, store: OpenStore, city: City) -> System:
    """Broker, queue and our own processes, each on a free loopback port."""
    mosquitto, redis = Mosquitto(settings.var / "broker"), Redis(settings.var / "redis")
    system = System(settings, store, city, mosquitto, redis, {})
    try:
        secrets = enrol_gateways(store, range(settings.gateway_clients), "up")
        system.logins = broker_logins(store, city)
        mqtt_port = mosquitto.start(system.logins)
        redis.start()
        write_private(settings.secrets, {**secrets, "redis_url": redis.url})
        web_port = free_port()
        system.settings = settings.model_copy(
            update={
                "mqtt_port": mqtt_port, "web_port": web_port, "panel_port": free_port(),
                "gateway_metrics_port": free_port(), "worker_metrics_port": free_port(),
                "audio_base": f"http://127.0.0.1:{web_port}/audio", "web_secure_cookie": False,
            }
        )  # fmt: skip
        system.environment = environment(system.settings)
        for name in ("web", "gateway", "worker"):
            system.start(name, name)
        child = system.children["web"][0]
        child.wait_until(lambda: answers(web_port), within_s=READY_WITHIN_S)
    except BaseException:
        system.stop()
        raise
    return system


def environment(settings: Settings) -> dict[str, str]:
    """The environment of our processes: the settings, and of this process's own only what programs need."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME", "PYTHONPATH") if name in os.environ}
    given = settings.model_dump()
    given["var"] = str(settings.var.resolve())
    given["playbooks"] = str(settings.playbooks.resolve())
    given["rules"] = str(settings.rules.resolve())
    if settings.rules_shadow is None:
        del given["rules_shadow"]
    else:
        given["rules_shadow"] = str(settings.rules_shadow.resolve())
    return kept | {
        f"TOCSIN_{k.upper()}": v if isinstance(v, str) else json.dumps(v, default=str) for k, v in given.items()
    }


def answers(port: int) -> bool:
    """Whether a server accepts connections on this loopback port."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1.0):
            return True
    except OSError:
        return False


def _say(system: System, demo: bool) -> None:
    keys, now_us = KeyFolder(system.settings.keys).tried(), system.store.clock.now_us()
    sounding = [f"{t.listed.kid} {key_line(t, now_us)}" for t in keys if t.listed.use in ("actual", "exercise")]
    said = "; ".join(sounding) or "none: nothing can be broadcast"
    typer.echo(f"Tocsin runs for {system.city.tree.area(system.city.code).name}. Signing keys: {said}.")
    for line in expiry_lines([key.listed for key in keys], now_us):
        typer.echo(line)
    typer.echo(f"API: http://127.0.0.1:{system.settings.web_port}/api/openapi.json")
    logins = system.settings.var / ("demo-logins.json" if demo else "admin-login.json")
    typer.echo(f"Logins: {logins}. Logs: {system.settings.var / 'log'}. Ctrl-C ends everything.")


def _pack_folder(city: str) -> Path:
    folder = Path(city)
    return folder if folder.is_dir() else CITIES / city


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Two systems must not share one folder. Raises WontStart."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as held:
            raise WontStart(f"another `tocsin up` runs in {folder}.") from held
        yield
