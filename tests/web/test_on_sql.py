"""The roads through the API once more on SQLite, where only fields with a column may be searched for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.rhythm import Heard
from services.dispatcher.processes.cli_migrate import upgrade
from tests import builders
from tests.builders import SECOND_US
from tests.web.api import Api, refusal


@pytest.fixture
def sql(tmp_path: Path) -> Iterator[Api]:
    url = f"sqlite:///{tmp_path / 'tocsin.db'}"
    upgrade(url)
    clock = builders.StoppedClock()
    store = SqlStore(url, clock)
    api = Api(builders.town(store, clock))
    with api.client:
        yield api
    store.close()


def test_an_alarm_goes_its_whole_road(sql: Api) -> None:
    sql.enrol_feed()
    incident = sql.cap(builders.cap_alert()).json()["signals"][0]["incident"]
    task = sql.get("street", "/api/tasks", state="asked").json()["tasks"][0]
    assert sql.post("street", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"}).status_code == 200
    page = sql.alert_of(incident)
    assert sql.release("duty", page["broadcast"]).status_code == 200
    assert refusal(sql.release("duty", page["broadcast"])) == (409, "same_person")
    on_air = sql.release("chief", page["broadcast"]).json()
    assert (on_air["broadcast"]["state"], on_air["coverage"]["targeted"]) == ("on_air", 2)
    body = {"content": page["correction"]["content"], "sentence": page["correction"]["sentences"]["zh"]}
    path = f"/api/broadcasts/{page['broadcast']['id']}/correct"
    assert sql.post("chief", path, body).json()["broadcast"]["state"] == "on_air"
    story = sql.get("duty", f"/api/incidents/{incident}").json()
    assert [b["state"] for b in story["broadcasts"]] == ["withdrawn", "on_air", "draft"]


def test_every_page_is_read(sql: Api) -> None:
    incident = sql.town.signal(builders.fire_signal())
    with sql.town.store.write() as tx:
        tx.heard([builders.live("mall-1")])
        tx.put(builders.panel(), builders.sensor(), Heard("sensor/smoke-1", builders.NOON_US))
    b = sql.alert_of(incident)["broadcast"]["id"]
    for path, query in (
        ("/api/me", {}),
        ("/api/incidents", {"state": ["verifying"], "use": "actual"}),
        ("/api/tasks", {"state": ["asked"]}),
        ("/api/broadcasts", {"state": ["draft"], "phase": ["alert"], "use": "actual", "incident": incident}),
        (f"/api/broadcasts/{b}/expected", {"silent": True}),
        ("/api/speakers", {"venue": "mall"}),
        ("/api/panels", {"venue": "mall"}),
        ("/api/sensors", {"venue": "mall"}),
        ("/api/sensors/smoke-1", {}),
        ("/api/streams", {}),
        ("/api/unread", {}),
        ("/api/log", {}),
        ("/api/log", {"subject": incident, "after": 0}),
        ("/api/city", {}),
        ("/api/health", {}),
    ):
        answer = sql.get("duty", path, **query)
        assert (path, answer.status_code) == (path, 200)


def test_ids_that_no_database_likes_are_not_found(sql: Api) -> None:
    for id in ("%00", "%ED%A0%80", "x" * 5_000, "%F0%9F%9A%A8", "'; DROP TABLE person; --"):
        assert refusal(sql.get("duty", f"/api/incidents/{id}")) == (404, "not_found")
    assert refusal(sql.log_in("\0", "\0")) == (401, "wrong_password")


def test_what_people_type_comes_back_as_they_typed_it(sql: Api) -> None:
    typed = "误报 🚨 \0 \\ ' \" <b>"
    until = builders.NOON_US + SECOND_US
    row = sql.post("duty", "/api/speakers/mall-1/out-of-service", {"reason": typed, "until": until}).json()
    assert row["out_of_service"]["reason"] == typed
