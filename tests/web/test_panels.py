from __future__ import annotations

from services.dispatcher.domain.panels import Confirmed, RequestTaken
from services.dispatcher.engine.events import PanelReplied
from services.dispatcher.engine.rows import PanelLive
from services.dispatcher.engine.sources.panels import StrangerHeard, note_heard, note_strangers
from tests import builders
from tests.builders import NOON_US, SECOND_US
from tests.web.api import Api, refusal

HOUR_US = 3_600 * SECOND_US
PANEL = "mall-panel"


def enrol(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.put(builders.panel())


def test_a_panel_shows_when_it_was_last_heard(api: Api) -> None:
    enrol(api)
    with api.town.store.write() as tx:
        tx.put(builders.panel(id="z-panel", address="00000000000a", venue="square"))
    note_heard(api.town.store, [PanelLive(PANEL, "gw-0", "10.0.0.8:1", NOON_US, -3)])
    page = api.get("duty", "/api/panels", size=1).json()
    assert page == {
        "panels": [
            {
                "id": PANEL,
                "name": "商场主机",
                "address": "0102030405ff",
                "use": "actual",
                "venue": "mall",
                "enabled": True,
                "test_bit_meaningless": False,
                "maintenance_author": "",
                "maintenance_until_us": None,
                "maintenance_reason": "",
                "heard_us": NOON_US,
                "gateway": "gw-0",
                "peer": "10.0.0.8:1",
                "clock_off_s": -3,
            }
        ],
        "next": PANEL,
        "names": {},
    }
    rest = api.get("duty", "/api/panels", after=PANEL).json()
    assert [(row["id"], row["heard_us"]) for row in rest["panels"]] == [("z-panel", None)]
    assert [row["id"] for row in api.get("admin", "/api/panels", venue="square").json()["panels"]] == ["z-panel"]


def test_a_duty_check_shows_who_asked_and_what_came_of_it(api: Api) -> None:
    enrol(api)
    answer = api.post("duty", f"/api/panels/{PANEL}/duty-check", {"minutes": 3, "why": "夜间查岗"})
    assert answer.status_code == 202
    request = answer.json()
    assert request == {
        "id": request["id"],
        "kind": "duty_check",
        "panel": PANEL,
        "person": "duty",
        "why": "夜间查岗",
        "asked_us": NOON_US,
        "state": "waiting",
        "minutes": 3,
        "sent_us": 0,
        "confirmed_us": 0,
        "ended_us": 0,
        "operator": None,
    }
    assert refusal(api.post("chief", f"/api/panels/{PANEL}/duty-check", {})) == (409, "still_asking")
    api.town.engine.handle(
        [PanelReplied(request["id"], RequestTaken("gw-0")), PanelReplied(request["id"], Confirmed())]
    )
    api.town.clock.advance(3 * 60 + 30)
    api.town.pass_timers()
    story = api.get("duty", f"/api/panels/{PANEL}").json()
    assert [(r["state"], r["ended_us"]) for r in story["requests"]] == [("unanswered", NOON_US + 210 * SECOND_US)]
    assert story["names"] == {"duty": "duty"}
    assert api.get("duty", "/api/incidents").json()["incidents"][0]["hazard"] == "unattended"


def test_a_clock_is_set_by_hand(api: Api) -> None:
    enrol(api)
    request = api.post("admin", f"/api/panels/{PANEL}/set-clock", {}).json()
    assert (request["kind"], request["person"], request["why"]) == ("set_clock", "admin", "by hand")


def test_maintenance_has_author_reason_and_end(api: Api) -> None:
    enrol(api)
    path = f"/api/panels/{PANEL}/maintenance"
    row = api.post("duty", path, {"reason": "更换探测器", "until": NOON_US + HOUR_US}).json()
    assert (row["maintenance_author"], row["maintenance_reason"], row["maintenance_until_us"]) == (
        "duty",
        "更换探测器",
        NOON_US + HOUR_US,
    )
    assert api.get("duty", "/api/panels").json()["names"] == {"duty": "duty"}
    for until in (0, NOON_US, NOON_US + 367 * 24 * HOUR_US):
        assert refusal(api.post("duty", path, {"reason": "检修", "until": until})) == (422, "end_refused")
    row = api.post("chief", f"/api/panels/{PANEL}/end-maintenance", {"why": "完工"}).json()
    assert row["maintenance_until_us"] is None
    lines = api.get("duty", "/api/log", subject=PANEL).json()["lines"]
    assert [(line["kind"], line["person"], line["why"]) for line in lines] == [
        ("panel.maintenance", "duty", "更换探测器"),
        ("panel.maintenance_ended", "chief", "完工"),
    ]


def test_strangers_are_listed_with_the_newest_first(api: Api) -> None:
    for number in (1, 2):
        address = f"00000000000{number}"
        note_strangers(api.town.store, [StrangerHeard(address, "10.0.0.9:4", 3, NOON_US, NOON_US + number)])
    assert api.get("admin", "/api/panels/strangers").json()["strangers"][0] == {
        "id": "000000000002",
        "peer": "10.0.0.9:4",
        "first_us": NOON_US,
        "last_us": NOON_US + 2,
        "frames": 3,
    }


def test_a_panel_that_is_off_or_unknown_is_refused_and_an_office_may_not_ask(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.put(builders.panel(enabled=False))
    assert refusal(api.post("duty", f"/api/panels/{PANEL}/duty-check", {})) == (409, "panel_off")
    assert refusal(api.post("duty", "/api/panels/unknown/duty-check", {})) == (404, "not_found")
    assert refusal(api.get("duty", "/api/panels/unknown")) == (404, "not_found")
    assert refusal(api.post("duty", f"/api/panels/{PANEL}/duty-check", {"minutes": 0})) == (422, "malformed")
    assert refusal(api.post("street", f"/api/panels/{PANEL}/duty-check", {})) == (403, "not_allowed")
