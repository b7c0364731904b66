from __future__ import annotations

from services.dispatcher.domain.signals import Use
from tests import builders
from tests.builders import NOON_US
from tests.web.api import Api, refusal


def test_an_incident_shows_its_signals_tasks_broadcasts_and_log(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    story = api.get("duty", f"/api/incidents/{id}").json()
    assert story["incident"] == {
        "id": id,
        "use": "actual",
        "hazard": "fire",
        "event_code": "12B00",
        "playbook": "fire-underground",
        "state": "verifying",
        "level": 3,
        "reasons": story["incident"]["reasons"],
        "place": {"venue": "mall", "areas": [], "shapes": [], "names": []},
        "venue": "mall",
        "area": builders.OTHER_STREET,
        "lat_e7": 389_200_000,
        "lon_e7": 1_216_000_000,
        "opened_us": NOON_US,
        "last_signal_us": NOON_US,
        "signal_count": 1,
        "headline": "感烟探测器报警",
        "task": story["tasks"][0]["id"],
        "alert": story["broadcasts"][0]["id"],
        "alert_released": False,
        "unanswered": False,
        "rules": "built-in",
        "inhibited_by": "",
        "inhibited_why": "",
        "silenced": 0,
    }
    assert [s["key"] for s in story["signals"]] == ["panel/mall/1"]
    assert [b["phase"] for b in story["broadcasts"]] == ["alert", "correction", "all_clear"]
    kinds = [line["kind"] for line in story["log"]]
    assert (kinds[0], "task.asked" in kinds, "broadcast.drafted" in kinds) == ("incident.opened", True, True)
    assert [line["seq"] for line in story["log"]] == sorted(line["seq"] for line in story["log"])


def test_the_list_is_newest_first_and_filtered_by_state_and_use(api: Api) -> None:
    fire = api.town.signal(builders.fire_signal())
    storm = api.town.signal(builders.storm_signal(use=Use.EXERCISE))
    listed = api.get("duty", "/api/incidents").json()
    assert ([i["id"] for i in listed["incidents"]], listed["more"]) == ([storm, fire], False)
    exercise = api.get("duty", "/api/incidents", use="exercise").json()["incidents"]
    assert [i["id"] for i in exercise] == [storm]
    verifying = api.get("duty", "/api/incidents", state=["verifying", "confirmed"], size=1).json()
    assert ([i["id"] for i in verifying["incidents"]], verifying["more"]) == ([storm], True)
    assert api.get("duty", "/api/incidents", state="closed").json()["incidents"] == []


def test_closing_withdraws_the_task_and_holds_the_draft(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    closed = api.post("chief", f"/api/incidents/{id}/close", {"why": "误报"}).json()
    assert closed["incident"]["state"] == "closed"
    assert [t["state"] for t in closed["tasks"]] == ["withdrawn"]
    assert closed["broadcasts"][0]["state"] == "held"
    line = next(line for line in closed["log"] if line["kind"] == "incident.closed")
    assert (line["person"], line["why"], closed["names"]) == ("chief", "误报", {"chief": "chief"})


def test_an_administrator_reads_but_does_not_close(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    assert api.get("admin", f"/api/incidents/{id}").status_code == 200
    assert refusal(api.post("admin", f"/api/incidents/{id}/close", {"why": "误报"})) == (403, "not_allowed")


def test_closing_needs_a_reason_and_an_incident(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    assert refusal(api.post("duty", f"/api/incidents/{id}/close", {})) == (422, "malformed")
    assert refusal(api.post("duty", "/api/incidents/unknown/close", {"why": "误报"})) == (404, "not_found")
    assert refusal(api.get("duty", "/api/incidents/unknown")) == (404, "not_found")


def test_deciding_not_to_broadcast_is_recorded_and_declines_the_draft(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    told = api.post("chief", f"/api/incidents/{id}/not-broadcast", {"why": "厨房油烟"}).json()
    assert told["incident"]["state"] == "verifying"
    assert told["broadcasts"][0]["state"] == "declined"
    line = next(line for line in told["log"] if line["kind"] == "incident.not_broadcast")
    assert (line["person"], line["why"], told["names"]) == ("chief", "厨房油烟", {"chief": "chief"})


def test_deciding_not_to_broadcast_where_nothing_is_drafted_is_recorded_too(api: Api) -> None:
    id = api.town.signal(builders.storm_signal(hazard="hail", event_code="11B06"))
    told = api.post("duty", f"/api/incidents/{id}/not-broadcast", {"why": "只是小雨"}).json()
    assert told["broadcasts"] == []
    assert "incident.not_broadcast" in [line["kind"] for line in told["log"]]


def test_what_is_on_air_is_stopped_and_not_decided_against(api: Api) -> None:
    on_air = api.town.on_air()
    path = f"/api/incidents/{on_air.incident}/not-broadcast"
    assert refusal(api.post("duty", path, {"why": "误报"})) == (409, "still_on_air")
    assert api.page(on_air.id)["broadcast"]["state"] == "on_air"
    assert "incident.not_broadcast" not in api.town.kinds(on_air.incident)


def test_only_those_who_may_release_decide_not_to_broadcast_and_they_say_why(api: Api) -> None:
    id = api.town.signal(builders.fire_signal())
    path = f"/api/incidents/{id}/not-broadcast"
    for who in ("admin", "street"):
        assert refusal(api.post(who, path, {"why": "误报"})) == (403, "not_allowed")
    assert refusal(api.post("duty", path, {"why": " "})) == (422, "malformed")
    assert refusal(api.post("duty", "/api/incidents/unknown/not-broadcast", {"why": "误报"})) == (404, "not_found")
    assert "incident.not_broadcast" not in api.town.kinds(id)


def test_pages_have_limits(api: Api) -> None:
    for query in ({"size": 0}, {"size": 201}, {"page": 0}, {"page": 51}, {"state": "open"}, {"use": "real"}):
        assert refusal(api.get("duty", "/api/incidents", **query)) == (422, "malformed")
