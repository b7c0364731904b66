from __future__ import annotations

from dataclasses import replace
from typing import Any

from services.dispatcher.domain.verification import Task
from services.dispatcher.engine.people import Role
from services.dispatcher.engine.rows import OnLadder
from tests import builders
from tests.builders import NOON_US
from tests.web.api import Api, refusal


def fire_task(api: Api) -> dict[str, Any]:
    api.town.signal(builders.fire_signal())
    tasks: list[dict[str, Any]] = api.get("duty", "/api/tasks").json()["tasks"]
    assert len(tasks) == 1
    return tasks[0]


def test_the_desk_sees_every_task_with_its_ladder(api: Api) -> None:
    task = fire_task(api)
    del task["id"], task["incident"]
    assert task == {
        "kind": "verify",
        "use": "actual",
        "broadcast": "",
        "venue": "mall",
        "area": builders.OTHER_STREET,
        "question": {"zh": "场所mall是否有险情？", "en": "Is there danger at 场所mall?"},
        "rungs": [
            {"up": 0, "answer_timeout_s": 60},
            {"up": 1, "answer_timeout_s": 120},
            {"up": -1, "answer_timeout_s": 180},
        ],
        "offices": ["other-office", "district-centre", "city-duty"],
        "office": "other-office",
        "rung": 0,
        "on_last_rung": False,
        "state": "asked",
        "asked_us": NOON_US,
        "due_us": NOON_US + 60_000_000,
        "people": 0,
        "verdict": None,
        "answered_by": "",
    }


def test_an_office_sees_its_own_tasks_and_those_below_it(api: Api) -> None:
    task = fire_task(api)
    assert [t["id"] for t in api.get("other", "/api/tasks").json()["tasks"]] == [task["id"]]
    assert [t["id"] for t in api.get("centre", "/api/tasks").json()["tasks"]] == [task["id"]]
    assert api.get("street", "/api/tasks").json() == {"tasks": [], "more": False, "names": {}}


def test_an_office_may_not_read_a_task_of_another(api: Api) -> None:
    task = fire_task(api)
    assert refusal(api.get("street", f"/api/tasks/{task['id']}")) == (403, "not_your_office")
    assert api.get("other", f"/api/tasks/{task['id']}").json()["id"] == task["id"]


def test_an_office_may_not_read_what_is_the_desks(api: Api) -> None:
    for path in ("incidents", "broadcasts", "speakers", "streams", "unread", "log"):
        assert (path, *refusal(api.get("street", f"/api/{path}"))) == (path, 403, "not_allowed")


def test_an_office_confirms_and_the_incident_is_confirmed(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("other", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm", "note": "有明火"}).json()
    assert (answer["state"], answer["verdict"], answer["answered_by"]) == ("answered", "confirm", "other")
    incident = api.get("duty", f"/api/incidents/{task['incident']}").json()
    assert incident["incident"]["state"] == "confirmed"
    said = [line for line in incident["log"] if line["kind"] == "incident.answered"]
    assert [(line["person"], line["why"], line["facts"]["note"]) for line in said] == [
        ("other", "other-office: confirm", "有明火")
    ]
    assert incident["names"]["other"] == "other"


def test_an_office_above_may_answer_for_the_one_below(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("centre", f"/api/tasks/{task['id']}/answer", {"verdict": "refute"}).json()
    assert (answer["state"], answer["verdict"], answer["answered_by"]) == ("answered", "refute", "centre")


def test_another_office_may_not_answer(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("street", f"/api/tasks/{task['id']}/answer", {"verdict": "refute"})
    assert refusal(answer) == (403, "not_your_office")
    assert api.get("duty", f"/api/tasks/{task['id']}").json()["state"] == "asked"


def test_a_duty_officer_without_an_office_reads_but_does_not_answer(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("duty", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"})
    assert refusal(answer) == (403, "not_your_office")


def test_an_administrator_answers_nothing(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("admin", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"})
    assert refusal(answer) == (403, "not_allowed")


def test_the_same_answer_again_changes_nothing(api: Api) -> None:
    task = fire_task(api)
    first = api.post("other", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"}).json()
    assert api.post("centre", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"}).json() == first


def test_unsure_asks_the_next_office(api: Api) -> None:
    task = fire_task(api)
    answer = api.post("other", f"/api/tasks/{task['id']}/answer", {"verdict": "unsure"}).json()
    assert (answer["state"], answer["rung"], answer["office"]) == ("asked", 1, "district-centre")


def test_an_unknown_task_is_not_found_and_an_unknown_verdict_is_malformed(api: Api) -> None:
    task = fire_task(api)
    assert refusal(api.get("duty", "/api/tasks/unknown")) == (404, "not_found")
    assert refusal(api.post("other", "/api/tasks/unknown/answer", {"verdict": "confirm"})) == (404, "not_found")
    answer = api.post("other", f"/api/tasks/{task['id']}/answer", {"verdict": "perhaps"})
    assert refusal(answer) == (422, "malformed")


def test_a_note_of_absurd_length_is_malformed(api: Api) -> None:
    task = fire_task(api)
    body = {"verdict": "confirm", "note": "x" * 1_001}
    assert refusal(api.post("other", f"/api/tasks/{task['id']}/answer", body)) == (422, "malformed")


def test_tasks_are_filtered_by_state_and_come_in_pages(api: Api) -> None:
    fire_task(api)
    api.town.signal(builders.storm_signal())
    newest = api.get("duty", "/api/tasks", size=1).json()
    assert ([t["area"] for t in newest["tasks"]], newest["more"]) == ([builders.DISTRICT], True)
    second = api.get("duty", "/api/tasks", size=1, page=2).json()
    assert ([t["venue"] for t in second["tasks"]], second["more"]) == (["mall"], False)
    assert api.get("duty", "/api/tasks", state="answered").json()["tasks"] == []
    mine = api.get("other", "/api/tasks", state="asked", size=1).json()
    assert ([t["venue"] for t in mine["tasks"]], mine["more"]) == (["mall"], False)


def test_an_office_finds_its_own_open_task_behind_any_number_of_newer_ones(api: Api) -> None:
    task = fire_task(api)
    with api.town.store.write() as tx:
        old = tx.get(Task, task["id"])
        assert old is not None
        later = [replace(old, id=f"f{n:031x}", offices=(builders.STREET_OFFICE,)) for n in range(1_100)]
        tx.put(*later, *(OnLadder(f"{t.id}/o", builders.STREET_OFFICE, t.id, t.state) for t in later))
    mine = api.get("other", "/api/tasks", state="asked").json()
    assert ([t["id"] for t in mine["tasks"]], mine["more"]) == ([task["id"]], False)
    assert api.post("other", f"/api/tasks/{task['id']}/answer", {"verdict": "confirm"}).status_code == 200
    assert api.get("other", "/api/tasks", state="asked").json()["tasks"] == []
    assert [t["id"] for t in api.get("other", "/api/tasks", state="answered").json()["tasks"]] == [task["id"]]


def test_a_duty_officer_with_an_office_may_ask_for_their_own_tasks(api: Api) -> None:
    fire_task(api)
    api.town.person("city", Role.DUTY_OFFICER, office=builders.CITY_OFFICE)
    headers = {"Authorization": f"Bearer {api.log_in('city').json()['token']}"}
    assert len(api.client.get("/api/tasks?mine=true", headers=headers).json()["tasks"]) == 1
    assert refusal(api.get("duty", "/api/tasks", mine=True)) == (403, "not_allowed")
