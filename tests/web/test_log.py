from __future__ import annotations

from services.dispatcher.domain.effects import Record
from services.dispatcher.domain.signals import Unread
from tests import builders
from tests.builders import NOON_US
from tests.web.api import Api, refusal


def record(api: Api, count: int, subject: str = "thing") -> None:
    with api.town.store.write() as tx:
        for number in range(count):
            tx.record(Record("thing.happened", subject, str(number), "duty", {"number": number}))


def test_the_log_of_a_subject_is_asked_on_from_line_to_line(api: Api) -> None:
    api.token("duty")
    record(api, 5)
    first = api.get("duty", "/api/log", subject="thing", after=0, size=3).json()
    assert [line["why"] for line in first["lines"]] == ["0", "1", "2"]
    assert first["next"] == first["lines"][-1]["seq"]
    second = api.get("duty", "/api/log", subject="thing", after=first["next"], size=3).json()
    assert ([line["why"] for line in second["lines"]], second["next"]) == (["3", "4"], None)


def test_a_line_says_who_why_and_what(api: Api) -> None:
    api.token("duty")
    record(api, 1)
    page = api.get("duty", "/api/log", subject="thing").json()
    line = page["lines"][0]
    del line["seq"]
    assert line == {
        "at_us": NOON_US,
        "kind": "thing.happened",
        "subject": "thing",
        "person": "duty",
        "why": "0",
        "facts": {"number": 0},
        "link": None,
        "hash": "",
    }
    assert page["names"] == {"duty": "duty"}


def test_without_a_place_to_start_the_newest_lines_come(api: Api) -> None:
    api.token("duty")
    record(api, 30)
    record(api, 30, "other")
    newest = api.get("duty", "/api/log", size=4).json()["lines"]
    assert [(line["subject"], line["why"]) for line in newest] == [("other", str(n)) for n in range(26, 30)]
    of_thing = api.get("duty", "/api/log", subject="thing", size=4).json()["lines"]
    assert [line["why"] for line in of_thing] == ["26", "27", "28", "29"]
    assert api.get("duty", "/api/log", subject="nothing").json() == {"lines": [], "next": None, "names": {}}


def test_unread_input_is_shown_newest_first_with_its_first_bytes(api: Api) -> None:
    with api.town.store.write() as tx:
        tx.add_unread([Unread("mqtt", "receipt/x", "malformed", b"\x01\x02", NOON_US)])
        tx.add_unread([Unread("http", "feed/y", "not_xml", b"z" * 5_000, NOON_US + 1)])
    assert api.get("duty", "/api/unread").json()["unread"] == [
        {
            "wire": "http",
            "source": "feed/y",
            "reason": "not_xml",
            "at_us": NOON_US + 1,
            "bytes": 5_000,
            "head_hex": "7a" * 2_048,
            "head_text": "z" * 2_048,
        },
        {
            "wire": "mqtt",
            "source": "receipt/x",
            "reason": "malformed",
            "at_us": NOON_US,
            "bytes": 2,
            "head_hex": "0102",
            "head_text": "\ufffd\ufffd",
        },
    ]
    second = api.get("duty", "/api/unread", size=1, page=2).json()
    assert ([row["source"] for row in second["unread"]], second["count"]) == (["receipt/x"], 2)


def test_the_city_is_for_everybody_who_is_logged_in_and_is_sent_once_per_version(api: Api) -> None:
    answer = api.get("street", "/api/city")
    city = answer.json()
    assert (city["code"], city["name"], city["version"], city["speakers"]) == (builders.CITY, "示例市", 1, 3)
    assert [a["code"] for a in city["areas"]] == [
        builders.CITY,
        builders.DISTRICT,
        builders.STREET,
        builders.OTHER_STREET,
    ]
    assert {v["id"] for v in city["venues"]} == {"square", "mall"}
    assert [o["id"] for o in city["offices"]] == sorted(
        ["street-office", "other-office", "district-centre", "city-duty"]
    )
    headers = {"Authorization": f"Bearer {api.token('street')}", "If-None-Match": answer.headers["etag"]}
    again = api.client.get("/api/city", headers=headers)
    assert (again.status_code, again.content) == (304, b"")
    api.post("duty", "/api/speakers/mall-1/out-of-service", {"reason": "检修", "until": NOON_US + 1_000_000})
    assert api.client.get("/api/city", headers=headers).status_code == 200


def test_the_log_has_limits(api: Api) -> None:
    for query in ({"size": 501}, {"after": -1}, {"subject": "x" * 201}):
        assert refusal(api.get("duty", "/api/log", **query)) == (422, "malformed")
