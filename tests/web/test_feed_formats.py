"""Tables, plain JSON and Alertmanager over HTTP: accepted by the part, and what can't be read is kept beside it."""

from __future__ import annotations

import io
import json
from typing import Any

import openpyxl
import pytest
from httpx import Response

from services.dispatcher.engine.engine import EVENTS_MAX
from services.dispatcher.feeds.table_template import template
from tests import builders
from tests.web.api import Api, refusal

KEY = "feed-key-of-the-weather-bureau"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def send(api: Api, format: str, content: bytes, kind: str) -> Response:
    headers = {"X-Tocsin-Key": KEY, "Content-Type": kind}
    answer: Response = api.client.post(f"/api/feeds/weather/{format}", content=content, headers=headers)
    return answer


def table(count: int = 1, bad: str = "") -> bytes:
    rows = "".join(f"{number},暴雨,红,{builders.STREET}\n" for number in range(count))
    return f"编号,灾种,级别,区划代码\n{rows}{bad}".encode("gb18030")


def unread(api: Api) -> list[tuple[str, str]]:
    rows: list[dict[str, Any]] = api.get("duty", "/api/unread").json()["unread"]
    return [(row["source"], row["reason"]) for row in rows]


def test_a_table_becomes_signals_of_an_incident(api: Api) -> None:
    api.enrol_feed(format="table")
    answer = send(api, "table", table(), "text/csv")
    body = answer.json()
    assert (answer.status_code, body["accepted"], body["problems"]) == (202, 1, [])
    assert body["signals"][0]["key"] == "table/weather/0"
    incident = api.get("duty", f"/api/incidents/{body['signals'][0]['incident']}").json()["incident"]
    assert incident["hazard"] == "rainstorm"


def test_good_rows_are_accepted_and_a_table_with_bad_ones_is_kept_as_unread(api: Api) -> None:
    api.enrol_feed(format="table")
    body = send(api, "table", table(2, "x,暴雨,紫,\n"), "text/csv").json()
    assert [signal["key"] for signal in body["signals"]] == ["table/weather/0", "table/weather/1"]
    assert [(p["severity"], p["code"], p["where"]) for p in body["problems"]] == [("error", "unknown_word", "row 4")]
    assert unread(api) == [("feed/weather", "unknown_word")]


def test_a_table_of_more_rows_than_one_commit_takes_is_taken_whole_and_once(api: Api) -> None:
    api.enrol_feed(format="table")
    count = EVENTS_MAX + 1
    first, again = (send(api, "table", table(count), "text/csv").json()["signals"] for _ in range(2))
    assert [signal["repeated"] for signal in first] == [False] * count
    assert [signal["repeated"] for signal in again] == [True] * count


def test_a_filled_workbook_is_accepted(api: Api) -> None:
    api.enrol_feed(format="table")
    book = openpyxl.load_workbook(io.BytesIO(api.client.get("/api/feeds/template.xlsx").content))
    book.worksheets[0].append(["9", None, "暴雨", "红"])
    out = io.BytesIO()
    book.save(out)
    answer = send(api, "table", out.getvalue(), XLSX)
    assert (answer.status_code, [signal["key"] for signal in answer.json()["signals"]]) == (202, ["table/weather/9"])


def test_a_plain_report_and_an_alert_are_accepted(api: Api) -> None:
    api.enrol_feed(format="plain")
    report = {"id": "1", "kind": "alert", "hazard": "rainstorm", "headline": "暴雨", "observed": "2025-06-15T15:06:40Z"}
    answer = send(api, "plain", json.dumps(report).encode(), "application/json")
    assert (answer.status_code, answer.json()["signals"][0]["key"]) == (202, "plain/weather/1")
    api.enrol_feed(format="alertmanager")
    alert = {"labels": {"alertname": "FloodHigh"}, "startsAt": "2025-06-15T15:06:40Z", "status": "firing"}
    answer = send(api, "alertmanager", json.dumps({"alerts": [alert]}).encode(), "application/json")
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)


@pytest.mark.parametrize(("format", "raw"), [("table", b"a,b\n"), ("plain", b"[" * 9_999), ("alertmanager", b"{}")])
def test_what_cannot_be_read_is_kept_and_answered(api: Api, format: str, raw: bytes) -> None:
    api.enrol_feed(format=format)
    answer = send(api, format, raw, "application/octet-stream")
    assert refusal(answer) == (422, "not_read")
    assert unread(api) == [("feed/weather", answer.json()["errors"][0]["code"])]


@pytest.mark.parametrize(("format", "kind"), [("csv", "text/csv; charset=utf-8"), ("xlsx", XLSX)])
def test_the_template_is_there_for_everybody(api: Api, format: str, kind: str) -> None:
    answer = api.client.get(f"/api/feeds/template.{format}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, template(format), kind)
    assert answer.headers["content-disposition"] == f'attachment; filename="tocsin-template.{format}"'


def test_there_is_no_other_template(api: Api) -> None:
    assert refusal(api.client.get("/api/feeds/template.pdf"))[0] == 422
