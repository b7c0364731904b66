"""`tocsin drill`: runs a scenario against a running system, over HTTP, TCP and MQTT, and reports what it proved."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from devices.protocols.sensor_mqtt import SensorKind, SensorState
from simulators.console import Person
from simulators.panel import CALL_POINT, SMOKE_DETECTOR, Answer, Component, SimulatedPanel
from simulators.report import as_lines
from simulators.scenario import FOLDER, BrokenScenario, Scenario, Step, read_scenario
from simulators.sensor import NotPublished, SimulatedSensors

app = typer.Typer(add_completion=False, help="Run a drill against a running system. 对运行中的系统开展演练。")

LOOK_EVERY_S = 0.25
HEALTH_WITHIN_S = 15.0
KEY_WITHIN_S = 45.0
"""More than one round of canaries: a system that has just started is waited for."""
KEY_AGAIN_S = 0.5
KEY_BY_HAND = "Look at `tocsin keys list`: put the saved key file back, or `tocsin keys make exercise`."


class DrillRefused(Exception):
    """The drill does not start, because nothing of it would sound; the sentence says why and what to do."""


class DrillFailed(Exception):
    """The drill could not be carried on; the sentence says at what."""


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one step: how long it took, and what was seen when it was over."""

    number: int
    kind: str
    say: dict[str, str]
    held: bool
    seconds: float
    within_s: int | None
    seen: str


class Drill:
    """One run of a scenario. People, feed, panel and sensor are those of the logins file, all enrolled for exercise."""

    def __init__(self, scenario: Scenario, api: str, panel_port: int, mqtt_port: int, logins: dict[str, Any]) -> None:
        self.scenario = scenario
        self._api = api
        self._panel_port, self._mqtt_port = panel_port, mqtt_port
        self._logins = logins
        self._people: dict[str, Person] = {}
        self._since_us = time.time_ns() // 1_000
        self.broadcasts: dict[str, str] = {}

    def run(self) -> list[Done]:
        """Every step in order; a failed expectation is recorded and the drill goes on, a failed inject ends it."""
        self._person("duty").close_drills()
        done: list[Done] = []
        for number, step in enumerate(self.scenario.steps, 1):
            started = time.monotonic()
            if step.inject is not None:
                held, seen = self._inject(step)
            else:
                held, seen = self._wait(step)
            kind = step.inject or str(step.expect)
            within_s = step.within_s if step.expect else None
            done.append(Done(number, kind, step.say, held, time.monotonic() - started, within_s, seen))
            if step.inject is not None and not held:
                break
        return done

    def _person(self, name: str) -> Person:
        if name not in self._people:
            password = self._logins["people"][name]["password"]
            self._people[name] = Person(self._api, name, password)
        return self._people[name]

    def _inject(self, step: Step) -> tuple[bool, str]:
        try:
            match step.inject:
                case "fire":
                    return asyncio.run(self._fire(step))
                case "sensor":
                    self._sensor()
                case "cap":
                    return self._cap(step)
                case "answer":
                    task = self._incident(step.hazard)["task"]
                    said = {"verdict": step.verdict, "note": "drill"}
                    self._person(step.by).post(f"/api/tasks/{task}/answer", said)
                case "release":
                    self._person(step.by).release(self._incident(step.hazard)["alert"])
                case _:
                    alert = self._incident(step.hazard)["alert"]
                    follower = self._person(step.by).follow_up(alert, str(step.inject).replace("correct", "correction"))
                    self.broadcasts[f"{step.hazard}/{step.inject}"] = follower
        except httpx.HTTPStatusError as refused:
            return False, f"{refused.response.status_code}: {refused.response.text[:300]}"
        except NotPublished as unheard:
            return False, f"the broker does not take {unheard}"
        except (httpx.HTTPError, OSError, DrillFailed) as failed:
            return False, str(failed)
        return True, ""

    async def _fire(self, step: Step) -> tuple[bool, str]:
        kind = CALL_POINT if step.kind == "call_point" else SMOKE_DETECTOR
        component = Component(kind, bytes([step.device, 0, 1, 0]), "演练点位")
        async with SimulatedPanel("127.0.0.1", self._panel_port, self._logins["panel"]["address"]) as panel:
            answer = await panel.fire(component)
        return answer is Answer.CONFIRMED, f"the panel's frame was {answer}"

    def _sensor(self) -> None:
        login = self._logins["sensor"]
        with SimulatedSensors("127.0.0.1", self._mqtt_port, login["gateway"], login["secret"]) as box:
            box.say(login["device"], SensorKind.SMOKE, SensorState.ALARM)

    def _cap(self, step: Step) -> tuple[bool, str]:
        feed, now = self._logins["feed"], datetime.now(UTC)
        text = (FOLDER / step.file).read_text("utf-8")
        filled = {
            "identifier": now.strftime("%Y%m%d%H%M%S%f"),
            "sent": _cap_time(now),
            "expires": _cap_time(now + timedelta(hours=3)),
            "area": feed["area"],
            "area_name": feed["area"],
        }
        for name, value in filled.items():
            text = text.replace("{" + name + "}", value)
        answer = httpx.post(
            f"{self._api}/api/feeds/{feed['id']}/cap",
            content=text.encode(),
            headers={"X-Tocsin-Key": feed["key"], "Content-Type": "application/cap+xml"},
            timeout=15.0,
        )
        answer.raise_for_status()
        return True, ""

    def _wait(self, step: Step) -> tuple[bool, str]:
        """Look again and again until the expectation holds or its time is over; `not_on_air` is looked at once."""
        look = self._look(step)
        until = time.monotonic() + step.within_s
        while True:
            try:
                held, seen = look(step)
            except (httpx.HTTPError, DrillFailed) as failed:
                held, seen = False, str(failed)
            if held or step.expect == "not_on_air" or time.monotonic() > until:
                return held, seen
            time.sleep(LOOK_EVERY_S)

    def _look(self, step: Step) -> Callable[[Step], tuple[bool, str]]:
        match step.expect:
            case "speakers_online":
                return self._online
            case "incident":
                return self._incident_is
            case "sensor_joined":
                return self._sensor_joined
            case "playing":
                return self._playing
            case _:
                return self._on_air

    def _online(self, step: Step) -> tuple[bool, str]:
        online, total = self._person("duty").speakers_online()
        enough = online == total if step.share == "all" else online * 10 >= total * 9
        return enough and total > 0, f"{online} of {total} online"

    def _incident_is(self, step: Step) -> tuple[bool, str]:
        incident = self._incident(step.hazard)
        return incident["state"] == step.state, f"the incident is {incident['state']}"

    def _sensor_joined(self, step: Step) -> tuple[bool, str]:
        """The sensor stands among the witnesses of the incident that the panel opened."""
        story = self._person("duty").get(f"/api/incidents/{self._incident(step.hazard)['id']}")
        witnesses = [w["reporter"] for w in story["witnesses"]]
        return self._logins["sensor"]["id"] in witnesses, f"its witnesses are {', '.join(witnesses) or 'none'}"

    def _on_air(self, step: Step) -> tuple[bool, str]:
        alert = self._incident(step.hazard)["alert"]
        if not alert:
            return step.expect == "not_on_air", "nothing is drafted"
        detail = self._person("duty").get(f"/api/broadcasts/{alert}")
        state, acts = detail["broadcast"]["state"], {r["act"] for r in detail["releases"]}
        if step.expect == "not_on_air":
            return state != "on_air", f"the alert is {state}"
        self.broadcasts[f"{step.hazard}/alert"] = alert
        rightly = "standing" in acts if step.released_by == "standing" else "release" in acts
        return state == "on_air" and rightly, f"the alert is {state}, released by {', '.join(sorted(acts)) or 'nobody'}"

    def _playing(self, step: Step) -> tuple[bool, str]:
        broadcast = self.broadcasts.get(f"{step.hazard}/{step.phase}")
        if broadcast is None:
            raise DrillFailed(f"no {step.phase} of {step.hazard} went on air")
        c = self._person("duty").get(f"/api/broadcasts/{broadcast}")["coverage"]
        enough = c["playing"] == c["targeted"] if step.share == "all" else c["playing"] * 10 >= c["targeted"] * 9
        return enough and c["targeted"] > 0, (
            f"targeted {c['targeted']}, online {c['online']}, playing {c['playing']}, proved {c['proved']}"
        )

    def _incident(self, hazard: str) -> dict[str, Any]:
        found = self._person("duty").newest_incident(hazard, self._since_us)
        if found is None:
            raise DrillFailed(f"there is no incident of {hazard}")
        return found

    def stories(self) -> list[dict[str, Any]]:
        """Coverage and log of every broadcast that went on air, for the report."""
        duty = self._person("duty")
        stories = []
        for broadcast in self.broadcasts.values():
            detail = duty.get(f"/api/broadcasts/{broadcast}")
            incident = duty.get(f"/api/incidents/{detail['broadcast']['incident']}")
            stories.append({"detail": detail, "log": incident["log"]})
        return stories

    def close(self) -> None:
        for person in self._people.values():
            person.close()


def check_key(api: str, within_s: float = KEY_WITHIN_S) -> None:
    """Wait until the exercise key's canary comes home, so that what the drill releases would sound. Raises DrillRefused
    when it does not in time, and at once when no gateway can sign with the key; httpx.HTTPError when nobody answers."""
    until_s = time.monotonic() + within_s
    while True:
        health = httpx.get(f"{api}/api/health", timeout=HEALTH_WITHIN_S).json()
        part = next((part for part in health["parts"] if part["part"] == "key_exercise"), None)
        if part is not None and part["well"]:
            return
        keys = [key for key in health.get("keys", []) if key["use"] == "exercise"]
        seen = any(key["gateways"] for key in keys)
        lost = not any(
            key["not_after_us"] >= health["now_us"] and any(at["usable"] for at in key["gateways"]) for key in keys
        )
        if (seen and lost) or time.monotonic() > until_s:
            what = part["what"] if part is not None else "no exercise key is listed"
            raise DrillRefused(f"The drill does not start, because nothing of it would sound: {what}. {KEY_BY_HAND}")
        time.sleep(KEY_AGAIN_S)


def _cap_time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S-00:00")


@app.command()
def drill(
    scenario: Annotated[str, typer.Argument(help="Name or YAML file of the scenario. 演练脚本。")],
    api: Annotated[str, typer.Option(help="Address of the running system. 系统地址。")],
    panel_port: Annotated[int, typer.Option(help="TCP port for fire panels. 消防主机端口。")],
    logins: Annotated[Path, typer.Option(help="People, feed, panel and sensor of the drill. 演练账号文件。")],
    mqtt_port: Annotated[int, typer.Option(help="The broker's port for sensors. 传感器消息代理端口。")] = 1883,
    report: Annotated[Path | None, typer.Option(help="Where the JSON report goes. 报告文件。")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Run a drill; ends with 0 only if every expectation held. 开展演练；全部预期成立时返回 0。"""
    try:
        chosen = read_scenario(scenario)
        run = Drill(chosen, api, panel_port, mqtt_port, json.loads(logins.read_text("utf-8")))
    except OSError as unread:
        typer.echo(f"logins_unreadable: {logins} can't be read: {unread.strerror or unread}.", err=True)
        raise typer.Exit(2) from unread
    except (BrokenScenario, ValueError) as broken:
        typer.echo(str(broken), err=True)
        raise typer.Exit(2) from broken
    try:
        # Asked first, so that nobody waits for expectations of a system that is not there or would stay silent.
        check_key(api)
        done, stories = run.run(), run.stories()
    except DrillRefused as refused:
        run.close()
        typer.echo(f"drill_refused: {refused}", err=True)
        raise typer.Exit(2) from refused
    except (httpx.HTTPError, httpx.InvalidURL) as away:
        run.close()
        typer.echo(f"unreachable: The system at {api} can't be asked: {away}.", err=True)
        raise typer.Exit(2) from away
    told = {
        "scenario": chosen.id,
        "title": chosen.title,
        "held": all(step.held for step in done) and len(done) == len(chosen.steps),
        "steps": [asdict(step) for step in done],
        "broadcasts": stories,
    }
    run.close()
    if report is not None:
        report.write_text(json.dumps(told, ensure_ascii=False, indent=1), "utf-8")
    typer.echo(json.dumps(told, ensure_ascii=False) if as_json else "\n".join(as_lines(told)))
    raise typer.Exit(0 if told["held"] else 1)
