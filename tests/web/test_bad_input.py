"""What means harm, over the intake: each is refused or bounded with a sentence, kept, and soon over."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from typing import Any

import pytest
from httpx import Response

from services.dispatcher.feeds import FEEDS
from services.dispatcher.web.bodies import FEED_BODY_BYTES_MAX
from tests import builders
from tests.web.api import Api, refusal

KEY = "feed-key-of-the-weather-bureau"
DEEP = 10_000


def send(api: Api, format: str, content: bytes, **headers: str) -> Response:
    api.enrol_feed(format=format)
    headers = {"X-Tocsin-Key": KEY, **headers}
    answer: Response = api.client.post(f"/api/feeds/weather/{format}", content=content, headers=headers)
    return answer


def unread(api: Api) -> list[str]:
    return [row["reason"] for row in api.get("duty", "/api/unread").json()["unread"]]


def told(answer: Response) -> str:
    """The code of the first problem of a refusal, which comes with a sentence."""
    assert refusal(answer) == (422, "not_read")
    first: dict[str, str] = answer.json()["errors"][0]
    assert first["message"].endswith(".")
    return first["code"]


@pytest.mark.parametrize("format", sorted(FEEDS))
def test_a_body_of_fifty_megabytes_is_refused_unread_by_every_format(api: Api, format: str) -> None:
    assert refusal(send(api, format, b"x" * 50_000_000)) == (413, "body_too_big")
    assert unread(api) == []


@pytest.mark.parametrize(
    ("format", "content", "code"),
    [
        ("cap", b"<a>" * DEEP, "xml_too_large"),
        (
            "cap",
            b"<alert xmlns='urn:oasis:names:tc:emergency:cap:1.2'>" + b"<a>" * DEEP + b"</a>" * DEEP,
            "xml_too_large",
        ),
        ("alert12379", b"<a>" * DEEP + b"</a>" * DEEP, "xml_too_large"),
        ("ebd", b"<a>" * DEEP + b"</a>" * DEEP, "xml_too_large"),
        ("atom", b"<a>" * DEEP + b"</a>" * DEEP, "xml_too_large"),
        ("plain", b"[" * DEEP + b"]" * DEEP, "json_too_deep"),
        ("plain", b'{"a":' * DEEP + b"1" + b"}" * DEEP, "json_too_deep"),
        ("alertmanager", b"[" * DEEP + b"]" * DEEP, "json_too_deep"),
        ("table", b"[" * DEEP + b"]" * DEEP, "json_too_deep"),
    ],
)
def test_nesting_ten_thousand_deep_is_refused(api: Api, format: str, content: bytes, code: str) -> None:
    assert told(send(api, format, content)) == code
    assert unread(api) == [code]


LAUGHS = b"".join(b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10))
BOMB = b'<!DOCTYPE alert [<!ENTITY a0 "ha">' + LAUGHS + b"]><alert>&a9;</alert>"
OUTSIDE = b'<!DOCTYPE alert [<!ENTITY x SYSTEM "file:///etc/passwd">]><alert>&x;</alert>'


@pytest.mark.parametrize("format", ["alert12379", "atom", "cap", "ebd"])
@pytest.mark.parametrize("content", [BOMB, OUTSIDE])
def test_entities_are_never_opened(api: Api, format: str, content: bytes) -> None:
    answer = send(api, format, content)
    assert told(answer) == "xml_doctype"
    assert "root:" not in answer.text


@pytest.mark.parametrize("format", sorted(FEEDS))
def test_a_compressed_body_is_not_unpacked(api: Api, format: str) -> None:
    bomb = gzip.compress(bytes(500_000_000 // 20))
    assert refusal(send(api, format, bomb, **{"Content-Encoding": "gzip"})) == (415, "encoding_refused")
    assert unread(api) == []
    # Without the header it is only bytes that say nothing.
    assert refusal(send(api, format, bomb)) == (422, "not_read")


def packed(*members: tuple[str, bytes], kind: bytes = tarfile.REGTYPE, size: int | None = None) -> bytes:
    out = io.BytesIO()
    for name, content in members:
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, len(content) if size is None else size
        out.write(info.tobuf(tarfile.USTAR_FORMAT))
        out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + bytes(1_024)


@pytest.mark.parametrize(
    ("package", "code"),
    [
        (packed(("../../etc/cron.d/x", b"<EBD/>")), "tar_path"),
        (packed(("/etc/x", b"<EBD/>")), "tar_path"),
        (packed(("a/../../x", b"<EBD/>")), "tar_path"),
        (packed(("EBDB_1.xml", b""), kind=tarfile.SYMTYPE), "tar_type"),
        (packed(("EBDB_1.xml", b""), kind=tarfile.LNKTYPE), "tar_type"),
        (packed(("EBDB_1.xml", b""), kind=tarfile.GNUTYPE_SPARSE), "tar_type"),
        (packed(("EBDB_1.xml", b"x"), size=8_000_000_000), "tar_size"),
        (packed(*((f"EBDR_{n}", b"") for n in range(1_000))), "too_many"),
        (packed(("EBDB_1.xml", b"<EBD/>"), ("EBDB_1.XML", b"<EBD/>")), "tar_duplicate"),
        (gzip.compress(packed(("EBDB_1.xml", bytes(20_000_000)))), "tar_compressed"),
    ],
)
def test_a_package_that_leads_out_or_blows_up_is_refused_whole(api: Api, package: bytes, code: str) -> None:
    assert told(send(api, "ebd", package)) == code


def test_a_table_of_a_million_rows_is_read_as_far_as_a_table_goes(api: Api) -> None:
    """As many rows as the body may hold; the first are taken, the rest is one problem."""
    rows = b"".join(b"%d,R,1\n" % number for number in range(100_000))
    answer = send(api, "table", ("编号,灾种,级别\n".encode() + rows)[:FEED_BODY_BYTES_MAX])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2_000)
    assert answer.json()["problems"][0]["code"] == "too_many_rows"


def test_a_workbook_of_a_million_rows_in_a_few_bytes_is_bounded(api: Api) -> None:
    row = '<row r="{0}"><c r="A{0}"><v>{0}</v></c></row>'
    template = api.client.get("/api/feeds/template.xlsx").content
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(template)) as was, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as now:
        for name in was.namelist():
            content = was.read(name)
            if name == "xl/worksheets/sheet1.xml":
                rows = "".join(row.format(number) for number in range(2, 1_000_001))
                content = content.replace(b"</sheetData>", rows.encode() + b"</sheetData>")
            now.writestr(name, content)
    assert out.tell() > FEED_BODY_BYTES_MAX or refusal(send(api, "table", out.getvalue())) == (422, "not_read")


def plain(**changes: Any) -> bytes:
    report = {"id": "1", "kind": "alert", "hazard": "rainstorm", "headline": "暴雨", "level": 1}
    return json.dumps({**report, "areas": [builders.STREET], "observed": "2025-06-15T15:06:40Z", **changes}).encode()


def codes(answer: Response) -> set[str]:
    assert answer.status_code in (202, 422), answer.text
    body = answer.json()
    return {p["code"] for p in body.get("problems", body.get("errors"))}


@pytest.mark.parametrize(
    ("sent", "named"),
    [
        ("0001-01-01T00:00:00+00:00", set()),
        ("0001-01-01T00:00:00+14:00", set()),
        ("1900-01-01T00:00:00+08:00", set()),
        ("9999-12-31T23:59:59+00:00", {"sent_in_future", "expires_before_sent"}),
        ("9999-12-31T23:59:59-14:00", {"sent_in_future", "expires_before_sent"}),
        ("2025-06-15T23:59:60+08:00", {"time_malformed"}),
        ("-2025-06-15T23:06:40+08:00", {"time_malformed"}),
        ("2025-06-31T23:06:40+08:00", {"time_malformed"}),
    ],
)
def test_a_date_far_away_or_impossible_breaks_nothing(api: Api, sent: str, named: set[str]) -> None:
    """An old alert whose end lies ahead is in force; one from the future counts from now."""
    raw = builders.cap_alert().replace(b"2025-06-15T23:06:40+08:00", sent.encode())
    answer = send(api, "cap", raw)
    assert codes(answer) == named
    if answer.status_code == 202:
        incident = answer.json()["signals"][0]["incident"]
        assert api.get("duty", f"/api/incidents/{incident}").status_code == 200


@pytest.mark.parametrize("observed", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-14:00"])
@pytest.mark.parametrize("member", ["observed", "expires"])
def test_a_far_date_in_a_plain_report_is_named(api: Api, member: str, observed: str) -> None:
    answer = send(api, "plain", plain(**{member: observed}))
    assert answer.status_code in (202, 422), answer.text
    if member == "observed":
        assert codes(answer)


def test_an_identifier_used_for_another_report_is_refused_kept_and_shown(api: Api) -> None:
    first = send(api, "cap", builders.cap_alert()).json()["signals"][0]
    again = send(api, "cap", builders.cap_alert(headline="暴雨蓝色预警", severity="Minor"))
    assert refusal(again) == (409, "identifier_reused")
    assert again.json()["detail"] == first["key"]
    assert unread(api) == ["identifier_reused"]
    story = api.get("duty", f"/api/incidents/{first['incident']}").json()
    assert [line["kind"] for line in story["log"]].count("signal.identifier_reused") == 1
    assert send(api, "cap", builders.cap_alert()).json()["signals"][0]["repeated"] is True


def test_in_a_table_the_row_under_a_used_number_is_named_and_the_others_are_taken(api: Api) -> None:
    def table(*rows: str) -> bytes:
        return "\n".join(("编号,灾种,级别,区划代码", *rows)).encode()

    first, second = f"1,暴雨,红,{builders.STREET}", f"2,暴雨,红,{builders.STREET}"
    assert send(api, "table", table(first)).json()["accepted"] == 1
    body = send(api, "table", table(first.replace("红", "蓝"), second)).json()
    assert [(s["key"], s["repeated"], s["reused"]) for s in body["signals"]] == [
        ("table/weather/1", False, True),
        ("table/weather/2", False, False),
    ]
    assert (body["accepted"], [p["code"] for p in body["problems"]]) == (1, ["identifier_reused"])
    assert unread(api) == ["identifier_reused"]
