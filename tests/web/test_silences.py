from __future__ import annotations

from typing import Any

import pytest

from services.dispatcher.engine.events import SignalArrived
from tests import builders
from tests.builders import CITY, NOON_US, SECOND_US
from tests.web.api import Api, refusal

HOUR_US = 3_600 * SECOND_US


def asked(**changes: Any) -> dict[str, Any]:
    return {"hazard": "rainstorm", "reason": "巡检", "until": NOON_US + HOUR_US, **changes}


def test_an_officer_silences_and_everybody_at_the_desk_sees_what_it_keeps_quiet(api: Api) -> None:
    made = api.post("duty", "/api/silences", asked(reporter="weather", device="bureau", area=CITY))
    assert made.status_code == 201
    api.town.engine.handle([SignalArrived(builders.storm_signal(claimed_level=3))])
    page = api.get("chief", "/api/silences", active=True).json()
    assert page == {
        "silences": [
            {
                "id": made.json()["id"],
                "use": "actual",
                "author": "duty",
                "reason": "巡检",
                "made_us": NOON_US,
                "until_us": NOON_US + HOUR_US,
                "reporter": "weather",
                "device": "bureau",
                "hazard": "rainstorm",
                "area": CITY,
                "active": True,
                "ended_by": "",
                "ended_us": 0,
                "count": 1,
                "passed": 0,
            }
        ],
        "more": False,
        "names": {"duty": "duty"},
    }


def test_it_is_ended_early_by_name_and_reason(api: Api) -> None:
    id = api.post("duty", "/api/silences", asked()).json()["id"]
    ended = api.post("chief", f"/api/silences/{id}/end", {"why": "巡检结束"}).json()
    assert (ended["active"], ended["ended_by"], ended["ended_us"]) == (False, "chief", NOON_US)
    assert api.get("duty", "/api/silences", active=True).json()["silences"] == []
    assert [s["id"] for s in api.get("duty", "/api/silences").json()["silences"]] == [id]
    assert refusal(api.post("chief", f"/api/silences/{id}/end", {"why": "again"})) == (409, "wrong_state")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"hazard": ""}, "silence_refused"),
        ({"hazard": "rainstrom"}, "silence_refused"),
        ({"until": NOON_US}, "silence_refused"),
        ({"until": NOON_US + 25 * HOUR_US}, "silence_refused"),
        ({"area": "999999999999"}, "silence_refused"),
        ({"area": "9999"}, "malformed"),
        ({"reason": " "}, "malformed"),
        ({"colour": "red"}, "malformed"),
        ({"reporter": "x" * 257}, "malformed"),
    ],
)
def test_what_may_not_be_silenced_is_refused_in_words(api: Api, changes: dict[str, Any], code: str) -> None:
    assert refusal(api.post("duty", "/api/silences", asked(**changes))) == (422, code)


def test_only_the_desk_silences(api: Api) -> None:
    for who in ("street", "admin"):
        assert refusal(api.post(who, "/api/silences", asked())) == (403, "not_allowed")
        assert refusal(api.post(who, "/api/silences/x/end", {"why": "x"})) == (403, "not_allowed")
    assert api.get("admin", "/api/silences").status_code == 200
    assert refusal(api.get("street", "/api/silences")) == (403, "not_allowed")
    assert refusal(api.post("duty", "/api/silences/unknown/end", {"why": "x"})) == (404, "not_found")


def test_an_incident_shows_how_many_signals_were_kept_quiet(api: Api) -> None:
    id = api.town.signal(builders.storm_signal(claimed_level=3))
    api.post("duty", "/api/silences", asked())
    api.town.engine.handle([SignalArrived(builders.storm_signal("again", claimed_level=3))])
    assert api.get("duty", f"/api/incidents/{id}").json()["incident"]["silenced"] == 1
