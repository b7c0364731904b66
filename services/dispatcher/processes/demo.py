"""What `tocsin up --demo` adds: people, an exercise feed, panel and sensor, and a simulated pole for every speaker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from ..adapters.keystore import KeyFolder
from ..adapters.passwords import Argon2Passwords
from ..domain.places import Office, VenueKind, offices_above
from ..domain.planning import City
from ..domain.signals import Panel, Sensor, Use
from ..engine.people import Role, create_person, fresh_secret
from .enrolment import BrokerAddress, enrol_feed, enrol_panel, enrol_speakers, speaker_settings
from .enrolment_sources import enrol_sensor, renew_gateway_device
from .private import add_private, write_private
from .settings import Settings
from .wiring import OpenStore

OWN_PROCESSES = 10
MICROPHONE_DB = 74
PANEL_ADDRESS = "0a0b0c0d0e0f"
SENSOR, SENSOR_GATEWAY, SENSOR_DEVICE = "drill-smoke", "drill-box", "s1"
SCENARIO = "underground-fire-and-rainstorm"


class Demo:
    """A simulated city. Everything in it is enrolled for exercise; there is no actual key, so nothing can sound."""

    def __init__(self, settings: Settings, store: OpenStore, city: City, own_processes: int = OWN_PROCESSES) -> None:
        self._own_processes = own_processes
        self._settings = settings
        self._store = store
        self._city = city
        self._logins_file = settings.var / "demo-logins.json"
        self._secrets: dict[str, str] = {}

    def enrol(self) -> None:
        """People, feed and panel at the first start; the sensor, and new secrets for it and every speaker at each."""
        if not self._logins_file.exists():
            self._enrol_people()
        self._enrol_sensor()
        self._secrets = enrol_speakers(self._store, sorted(self._city.speakers), "demo")

    def _enrol_people(self) -> None:
        venue = self._drill_venue()
        above = offices_above(self._city.tree, self._city.offices, self._city.venues[venue].area)
        asked = [o for o in above if "verify" in o.answers]
        people = {
            "duty": ([Role.DUTY_OFFICER], ""),
            "approver": ([Role.APPROVER], ""),
            "office": ([Role.OFFICE], asked[0].id),
            "city-office": ([Role.OFFICE], self._city_office().id),
        }
        logins: dict[str, dict[str, str]] = {}
        for name, (roles, office) in people.items():
            password = fresh_secret()
            create_person(
                self._store, Argon2Passwords(), name=name, password=password, roles=roles,
                office=office, by="demo",
            )  # fmt: skip
            logins[name] = {"password": password, "office": office}
        enrol_panel(self._store, Panel("drill-panel", "演练主机", PANEL_ADDRESS, Use.EXERCISE, venue), "demo")
        area = self._city.code
        key = enrol_feed(self._store, "weather-drill", "气象局（演练）", "meteorology", Use.EXERCISE, area, "demo")
        write_private(
            self._logins_file,
            {
                "people": logins,
                "feed": {"id": "weather-drill", "key": key, "area": area},
                "panel": {"address": PANEL_ADDRESS, "venue": venue},
            },
        )

    def _enrol_sensor(self) -> None:
        venue = json.loads(self._logins_file.read_text("utf-8"))["panel"]["venue"]
        sensor = Sensor(SENSOR, SENSOR_GATEWAY, SENSOR_DEVICE, "smoke", venue, Use.EXERCISE, "演练烟感")
        secret = enrol_sensor(self._store, sensor, "demo") or renew_gateway_device(self._store, SENSOR_GATEWAY, "demo")
        login = {"id": SENSOR, "gateway": SENSOR_GATEWAY, "device": SENSOR_DEVICE, "secret": secret}
        add_private(self._logins_file, {"sensor": login})

    def _drill_venue(self) -> str:
        """The underground venue with the most speakers."""
        count = {v.id: 0 for v in self._city.venues.values() if v.kind is VenueKind.UNDERGROUND}
        for speaker in self._city.speakers.values():
            if speaker.venue in count:
                count[speaker.venue] += 1
        return max(sorted(count), key=lambda venue: count[venue])

    def _city_office(self) -> Office:
        above = offices_above(self._city.tree, self._city.offices, self._city.code)
        return next(office for office in above if "verify" in office.answers)

    def write_settings(self, broker_port: int) -> None:
        """A settings file for every speaker: ten for processes of their own, the others for the fleet."""
        root, broker = KeyFolder(self._settings.keys).root(), BrokerAddress("127.0.0.1", broker_port)
        own = set(self._own())
        for folder in ("fleet", "speakers"):
            target = self._settings.var / folder
            target.mkdir(exist_ok=True, mode=0o700)
            for old in target.glob("*.json"):
                old.unlink()
        for name, secret in self._secrets.items():
            made = speaker_settings(name, secret, root, broker, self._settings.var.resolve() / "poles")
            made["player"] = "wav" if name in own else "null"
            made["reconnect_spread_s"] = 3
            if self._city.speakers[name].microphone:
                made["mic_db"] = MICROPHONE_DB
            write_private(self._settings.var / ("speakers" if name in own else "fleet") / f"{name}.json", made)

    def _own(self) -> list[str]:
        """Speakers that get a process each: those of the drill's venue first, since they play in both parts."""
        venue = json.loads(self._logins_file.read_text("utf-8"))["panel"]["venue"]
        order = sorted(self._city.speakers.values(), key=lambda s: (s.venue != venue, s.id))
        return [s.id for s in order[: self._own_processes]]

    def processes(self) -> Iterator[tuple[str, list[str]]]:
        """Name and arguments of each simulated process."""
        var = self._settings.var.resolve()
        yield "fleet", ["fleet", "--folder", str(var / "fleet")]
        for name in self._own():
            yield name, ["speaker", "--settings", str(var / "speakers" / f"{name}.json")]

    def start_drill(self, settings: Settings, environment: dict[str, str]) -> subprocess.Popen[bytes]:
        """Start the drill against the running system, over HTTP, TCP and MQTT alone; it ends by itself."""
        report = settings.var.resolve() / "drill-report.json"
        command = [
            sys.executable, "-m", "devices.command", "drill", SCENARIO,
            "--api", f"http://127.0.0.1:{settings.web_port}",
            "--panel-port", str(settings.panel_port),
            "--mqtt-port", str(settings.mqtt_port),
            "--logins", str(self._logins_file.resolve()),
            "--report", str(report),
        ]  # fmt: skip
        return subprocess.Popen(command, env=environment)
