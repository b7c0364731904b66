from __future__ import annotations

import pytest

from services.dispatcher.domain.rhythm import Heard
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.web.api import Api, refusal

HOUR_US = 3_600 * SECOND_US
SENSOR = "smoke-1"
PATH = f"/api/sensors/{SENSOR}"
ROW = {
    "id": SENSOR,
    "name": "",
    "gateway": "box-1",
    "device": "s1",
    "kind": "smoke",
    "hazard": "",
    "use": "actual",
    "venue": "mall",
    "enabled": True,
    "test_bit_meaningless": False,
    "maintenance_author": "",
    "maintenance_until_us": None,
    "maintenance_reason": "",
    "heard_us": None,
    "state": "",
}


@pytest.fixture(autouse=True)
def enrolled(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.put(builders.sensor(), builders.sensor(id="z-1", device="z1", venue="square"))


def test_sensors_show_when_they_were_last_heard_and_in_which_state(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.put(Heard("sensor/smoke-1", NOON_US, state="alarm"), Heard("sensor/z-1", 0), Heard("panel/z-1", NOON_US))
    page = api.get("duty", "/api/sensors", size=1).json()
    assert page == {"sensors": [{**ROW, "heard_us": NOON_US, "state": "alarm"}], "next": SENSOR, "names": {}}
    rest = api.get("duty", "/api/sensors", after=SENSOR).json()
    assert [(row["id"], row["heard_us"], row["state"]) for row in rest["sensors"]] == [("z-1", None, "")]
    assert rest["next"] is None
    assert [row["id"] for row in api.get("admin", "/api/sensors", venue="square").json()["sensors"]] == ["z-1"]
    assert api.get("chief", "/api/sensors/z-1").json() == {
        "sensor": {**ROW, "id": "z-1", "device": "z1", "venue": "square"},
        "names": {},
    }


def test_maintenance_has_author_reason_and_end(api: Api) -> None:
    end_us = NOON_US + HOUR_US
    row = api.post("duty", f"{PATH}/maintenance", {"reason": "更换探测器", "until": end_us}).json()
    under = {"maintenance_author": "duty", "maintenance_reason": "更换探测器", "maintenance_until_us": end_us}
    assert row == {**ROW, **under}
    assert api.get("duty", "/api/sensors").json()["names"] == {"duty": "duty"}
    assert api.get("duty", PATH).json() == {"sensor": row, "names": {"duty": "duty"}}
    for until in (0, NOON_US, NOON_US + 367 * 24 * HOUR_US):
        answer = api.post("duty", f"{PATH}/maintenance", {"reason": "检修", "until": until})
        assert refusal(answer) == (422, "end_refused")
    assert api.post("chief", f"{PATH}/end-maintenance", {"why": "完工"}).json() == ROW
    lines = api.get("duty", "/api/log", subject=SENSOR).json()["lines"]
    assert [(line["kind"], line["person"], line["why"]) for line in lines] == [
        ("sensor.maintenance", "duty", "更换探测器"),
        ("sensor.maintenance_ended", "chief", "完工"),
    ]


def test_maintenance_ends_by_itself(api: Api) -> None:
    api.post("admin", f"{PATH}/maintenance", {"reason": "检修", "until": NOON_US + HOUR_US})
    api.town.clock.advance(3_600)
    api.town.pass_timers()
    assert api.get("admin", PATH).json()["sensor"] == ROW
    lines = api.get("duty", "/api/log", subject=SENSOR).json()["lines"]
    assert [(line["kind"], line["person"]) for line in lines][1:] == [("sensor.maintenance_ended", "")]


def test_an_office_may_not_and_what_is_unknown_or_has_no_reason_is_refused(api: Api) -> None:
    body = {"reason": "检修", "until": NOON_US + HOUR_US}
    assert refusal(api.get("street", "/api/sensors")) == (403, "not_allowed")
    assert refusal(api.get("street", PATH)) == (403, "not_allowed")
    assert refusal(api.post("street", f"{PATH}/maintenance", body)) == (403, "not_allowed")
    assert refusal(api.post("street", f"{PATH}/end-maintenance", {"why": "完工"})) == (403, "not_allowed")
    assert refusal(api.get("duty", "/api/sensors/unknown")) == (404, "not_found")
    assert refusal(api.post("duty", "/api/sensors/unknown/maintenance", body)) == (404, "not_found")
    assert refusal(api.post("duty", "/api/sensors/unknown/end-maintenance", {"why": "完工"})) == (404, "not_found")
    assert refusal(api.post("duty", f"{PATH}/maintenance", {**body, "reason": " "})) == (422, "malformed")
    assert api.get("duty", PATH).json()["sensor"] == ROW
