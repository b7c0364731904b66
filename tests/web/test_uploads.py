"""Files handed in by people: shown first, taken as shown, and known by whoever handed them in."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from httpx import Response

from services.dispatcher.web.bodies import UPLOAD_BYTES_MAX
from tests import builders
from tests.builders import STREET, StoppedClock
from tests.signing import NOW, certified, signed
from tests.web.api import Api, refusal

ALERT = builders.cap_alert()
TABLE = f"编号,灾种,级别,区划代码\n1,暴雨,红,{STREET}\n2,大风,黄,{STREET}\n".encode("gb18030")


def upload(api: Api, raw: bytes, who: str = "duty", **query: Any) -> Response:
    headers = {"Authorization": f"Bearer {api.token(who)}"}
    query = {"feed": "weather", **query}
    answer: Response = api.client.post("/api/uploads", content=raw, params=query, headers=headers)
    return answer


def shown(api: Api, raw: bytes, **query: Any) -> dict[str, Any]:
    answer = upload(api, raw, dry_run=True, **query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def unread(api: Api) -> list[tuple[str, str]]:
    return [(row["source"], row["reason"]) for row in api.get("duty", "/api/unread").json()["unread"]]


def test_a_dry_run_shows_what_would_be_taken_and_takes_nothing(api: Api) -> None:
    api.enrol_feed()
    body = shown(api, TABLE, name="日报.csv")
    assert (body["format"], body["name"], body["bytes"], body["answer"]) == ("table", "日报.csv", len(TABLE), None)
    rows = [(row["state"], row["signal"]["key"], row["signal"]["hazard"]) for row in body["signals"]]
    assert rows == [("new", "table/weather/1", "rainstorm"), ("new", "table/weather/2", "gale")]
    assert body == shown(api, TABLE, name="日报.csv")
    assert api.get("duty", "/api/incidents").json()["incidents"] == []


def test_what_was_shown_is_taken_with_the_name_of_who_handed_it_in(api: Api) -> None:
    api.enrol_feed()
    seen = shown(api, ALERT, format="cap")
    answer = upload(api, ALERT, format="cap", content=seen["content"], name="a.xml")
    (taken,) = answer.json()["answer"]["signals"]
    story = api.get("duty", f"/api/incidents/{taken['incident']}").json()
    (signal,) = story["signals"]
    assert (signal["evidence"], [p["message"] for p in signal["problems"]]) == (
        "person",
        ["duty handed this in as a file for 气象台."],
    )
    (line,) = api.get("duty", "/api/log", subject="weather").json()["lines"]
    facts = {"name": "a.xml", "bytes": len(ALERT), "sha256": seen["sha256"], "format": "cap"}
    assert (line["kind"], line["person"], line["facts"]) == ("upload.taken", "duty", facts)


@pytest.mark.parametrize("content", ["", "0" * 64])
def test_what_was_not_shown_like_this_is_not_taken(api: Api, content: str) -> None:
    api.enrol_feed()
    assert refusal(upload(api, ALERT, content=content)) == (409, "content_changed")
    other = shown(api, builders.cap_alert("storm-2"))["content"]
    assert refusal(upload(api, ALERT, content=other)) == (409, "content_changed")
    assert api.get("duty", "/api/incidents").json()["incidents"] == []


def test_what_expired_after_it_was_shown_is_shown_again(api: Api) -> None:
    api.enrol_feed()
    raw = ALERT.replace(b"2099-12-31T23:59:59", b"2025-06-15T23:07:40")
    seen = shown(api, raw)["content"]
    api.town.clock.advance(61)
    assert refusal(upload(api, raw, content=seen)) == (409, "content_changed")
    assert upload(api, raw, content=shown(api, raw)["content"]).status_code == 200


def test_a_file_that_came_by_wire_as_well_is_one_report(api: Api) -> None:
    api.enrol_feed()
    api.cap(ALERT)
    seen = shown(api, ALERT)
    assert [row["state"] for row in seen["signals"]] == ["repeated"]
    answer = upload(api, ALERT, content=seen["content"]).json()
    assert [signal["repeated"] for signal in answer["answer"]["signals"]] == [True]
    other = builders.cap_alert(headline="暴雨蓝色预警", severity="Minor")
    assert [row["state"] for row in shown(api, other)["signals"]] == ["reused"]


def test_a_signature_that_holds_is_the_departments_own_word() -> None:
    api = Api(builders.town(clock=StoppedClock(int(NOW.timestamp()) * 1_000_000)))
    pem = certified("met").public_bytes(Encoding.PEM).decode()
    with api.client:
        api.enrol_feed(certificates=(pem,))
        (row,) = shown(api, signed(ALERT, "met"))["signals"]
        assert (row["signal"]["signature"], row["signal"]["evidence"]) == ("valid", "authority")
        (row,) = shown(api, ALERT)["signals"]
        assert (row["signal"]["signature"], row["signal"]["evidence"]) == ("unsigned", "person")


def test_a_file_that_cannot_be_read_is_shown_so_and_kept_only_when_it_is_handed_in(api: Api) -> None:
    api.enrol_feed()
    seen = shown(api, b"<alert")
    assert (seen["signals"], [p["code"] for p in seen["problems"]]) == ([], ["xml_malformed"])
    assert unread(api) == []
    assert refusal(upload(api, b"<alert", content=seen["content"])) == (422, "not_read")
    assert unread(api) == [("upload/weather/duty", "xml_malformed")]


def test_the_good_rows_of_a_table_are_taken_and_the_file_is_kept_beside(api: Api) -> None:
    api.enrol_feed()
    raw = TABLE + "3,暴雨,紫,\n".encode("gb18030")
    answer = upload(api, raw, content=shown(api, raw)["content"]).json()
    assert (answer["answer"]["accepted"], unread(api)) == (2, [("upload/weather/duty", "unknown_word")])


def test_the_feeds_scope_and_use_hold_for_files(api: Api) -> None:
    api.enrol_feed(hazards=("fire",), use="exercise")
    (row,) = shown(api, ALERT)["signals"]
    assert (row["signal"]["kind"], row["signal"]["use"]) == ("info", "exercise")


@pytest.mark.parametrize(("who", "may"), [("duty", True), ("chief", True), ("admin", True), ("street", False)])
def test_only_the_desk_and_administrators_hand_files_in(api: Api, who: str, may: bool) -> None:
    api.enrol_feed()
    answer = upload(api, ALERT, who, dry_run=True)
    assert answer.status_code == 200 if may else refusal(answer) == (403, "not_allowed")
    listed = api.get(who, "/api/uploads/feeds")
    assert listed.status_code == 200 if may else refusal(listed) == (403, "not_allowed")


def test_nobody_hands_files_in_without_a_login(api: Api) -> None:
    assert refusal(api.client.post("/api/uploads?feed=weather", content=ALERT)) == (401, "not_logged_in")


def test_the_feeds_to_choose_from_are_those_that_are_on(api: Api) -> None:
    api.enrol_feed()
    api.enrol_feed(id="off", enabled=False)
    (choice,) = api.get("duty", "/api/uploads/feeds").json()["feeds"]
    assert choice == {
        "id": "weather",
        "name": "气象台",
        "department": "气象局",
        "format": "cap",
        "use": "actual",
        "area": builders.CITY,
        "hazards": None,
    }
    assert refusal(upload(api, ALERT, feed="off")) == (403, "feed_disabled")
    assert refusal(upload(api, ALERT, feed="unknown")) == (404, "not_found")
    assert refusal(upload(api, ALERT, format="fax")) == (404, "not_found")


def test_a_file_that_is_too_big_is_refused(api: Api) -> None:
    api.enrol_feed()
    assert refusal(upload(api, b" " * (UPLOAD_BYTES_MAX + 1), dry_run=True)) == (413, "body_too_big")
    assert shown(api, b"<" * UPLOAD_BYTES_MAX)["signals"] == []
