"""The commands that look at feed files and panel captures without a running system."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from services.dispatcher.feeds.ebd_tar import Member, write_package
from services.dispatcher.feeds.table_template import template
from services.dispatcher.processes.cli_feeds import feed_app
from services.dispatcher.processes.feed_check import check_file

DATA = Path(__file__).parents[1] / "data" / "cap"


def test_an_accepted_file_is_told_in_full() -> None:
    file = DATA / "rainstorm.xml"
    result = CliRunner().invoke(feed_app, ["check", str(file), "--json"])
    assert result.exit_code == 0
    ring = [[38.9, 121.6], [38.95, 121.6], [38.95, 121.7], [38.9, 121.7], [38.9, 121.6]]
    shapes = {"codes": ["210202000000"], "polygons": [ring], "circles": [[38.92, 121.65, 2.5]]}
    assert [json.loads(line) for line in result.stdout.splitlines()] == [
        {
            "file": str(file),
            "format": "cap",
            "accepted": True,
            "signals": [
                {
                    "key": "cap/check/met.example.cn,rain-0001,1782864000000000",
                    "identifier": "rain-0001",
                    "sender": "met.example.cn",
                    "sent": "2026-07-01T08:00:00+08:00",
                    "status": "Actual",
                    "kind": "alert",
                    "event": "暴雨",
                    "hazard": "rainstorm",
                    "level": 2,
                    "languages": ["zh-CN", "en-US"],
                    "areas": [{"name": "港口区", **shapes}, {"name": "Harbour district", **shapes}],
                    "references": [],
                }
            ],
            "problems": [],
        }
    ]


def test_one_refused_file_fails_the_check_and_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.xml"
    broken.write_text((DATA / "rainstorm.xml").read_text(encoding="utf-8").replace("Severe", "High"), encoding="utf-8")
    result = CliRunner().invoke(feed_app, ["check", str(DATA / "rainstorm.xml"), str(broken)])
    assert result.exit_code == 1
    assert "rainstorm.xml: accepted" in result.stdout
    assert "broken.xml: refused" in result.stdout
    assert "error value_unknown at info[1]/severity: 'High' is no value of severity." in result.stdout


def test_a_file_that_is_not_there_is_refused_like_any_other(tmp_path: Path) -> None:
    result = CliRunner().invoke(feed_app, ["check", str(tmp_path / "none.xml"), "--json"])
    assert result.exit_code == 1
    assert [problem["code"] for problem in json.loads(result.stdout)["problems"]] == ["file_unreadable"]


def told(*files: Path) -> list[dict[str, Any]]:
    lines = CliRunner().invoke(feed_app, ["check", *map(str, files), "--json"]).stdout.splitlines()
    return [json.loads(line) for line in lines]


def test_a_list_tells_the_alerts_inside_it_as_their_own_files_would(tmp_path: Path) -> None:
    alert = (DATA / "rainstorm.xml").read_text(encoding="utf-8").partition("?>")[2]
    file = tmp_path / "list.atom"
    file.write_text(
        '<feed xmlns="http://www.w3.org/2005/Atom"><id>1</id><title>t</title><updated>2026-07-01T00:00:00Z</updated>'
        "<entry><id>2</id><title>t</title><updated>2026-07-01T00:00:00Z</updated>"
        f'<content type="application/cap+xml">{alert}</content></entry></feed>',
        encoding="utf-8",
    )
    (alone,) = told(DATA / "rainstorm.xml")
    assert told(file) == [alone | {"file": str(file), "format": "atom"}]


def test_a_list_of_links_is_accepted_and_says_where_they_lead() -> None:
    (found,) = told(DATA.parent / "feeds" / "links.atom")
    assert (found["format"], found["accepted"], found["signals"]) == ("atom", True, [])
    assert [p["message"] for p in found["problems"]] == [
        "The alert lies at https://alerts.example.cn/cap/rain-0001.xml.",
        "The alert lies at http://mirror.example.cn/gale-0002.xml.",
    ]


def test_a_broadcast_order_is_told_alike_as_a_file_and_in_a_package(tmp_path: Path) -> None:
    order = DATA.parent / "ebd" / "order.xml"
    id = "10321020000000001030101010000000000000042"
    package = tmp_path / f"EBDT_{id}.tar"
    package.write_bytes(write_package((Member(f"EBDB_{id}.xml", order.read_bytes()),)))
    bare, packed = told(order, package)
    assert bare == {
        "file": str(order),
        "format": "ebd",
        "accepted": True,
        "signals": [
            {
                "key": "ebd/check/32102000000000103010101202607010001",
                "identifier": "32102000000000103010101202607010001",
                "sender": "32102000000000103010101",
                "sent": "2026-07-01 08:00:00",
                "status": "Actual",
                "kind": "alert",
                "event": "11B03",
                "hazard": "rainstorm",
                "level": 2,
                "languages": ["zho"],
                "areas": [
                    {"name": "", "codes": ["210202000000", "210203000000"], "polygons": [], "circles": []},
                ],
                "references": [],
            }
        ],
        "problems": [
            {
                "severity": "warning",
                "code": "signature_absent",
                "where": "signature",
                "message": "The packet is not signed.",
            }
        ],
    }
    assert packed == bare | {"file": str(package)}


def test_a_broken_package_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "EBDT_1.tar"
    file.write_bytes(write_package((Member("EBDB_1.xml", b"<EBD/>"),))[:515])
    (found,) = told(file)
    assert (found["format"], found["accepted"]) == ("ebd", False)
    assert [p["code"] for p in found["problems"]] == ["tar_size"]


SAMPLES = Path(__file__).parents[1] / "data"
NATIONAL = SAMPLES / "alert12379" / "rainstorm_orange.xml"
MEMBERS = [
    "key",
    "identifier",
    "sender",
    "sent",
    "status",
    "kind",
    "event",
    "hazard",
    "level",
    "languages",
    "areas",
    "references",
]


def test_a_national_message_is_told_by_its_root_and_in_its_own_words() -> None:
    ring = [[38.9, 121.6], [38.95, 121.6], [38.95, 121.7], [38.9, 121.6]]
    codes = ["210202000000", "210203000000"]
    (found,) = told(NATIONAL)
    assert found == {
        "file": str(NATIONAL),
        "format": "alert12379",
        "accepted": True,
        "signals": [
            {
                "key": "alert12379/check/21020041600000_20260701080000",
                "identifier": "21020041600000_20260701080000",
                "sender": "21020041600000",
                "sent": "2026-07-01 08:00:00+08:00",
                "status": "Actual",
                "kind": "alert",
                "event": "11B03",
                "hazard": "rainstorm",
                "level": 2,
                "languages": ["zh-CN"],
                "areas": [
                    {"name": "港口区、河西区", "codes": codes, "polygons": [ring], "circles": [[38.92, 121.65, 2.5]]}
                ],
                "references": [],
            }
        ],
        "problems": [],
    }


def test_an_alert_in_an_envelope_is_told_as_alone(tmp_path: Path) -> None:
    alert = (DATA / "rainstorm.xml").read_text(encoding="utf-8").partition("?>")[2]
    file = tmp_path / "envelope.xml"
    space = "urn:oasis:names:tc:emergency:EDXL:DE:1.0"
    content = (
        f"<contentObject><xmlContent><embeddedXMLContent>{alert}</embeddedXMLContent></xmlContent></contentObject>"
    )
    file.write_text(f'<EDXLDistribution xmlns="{space}">{content}</EDXLDistribution>', encoding="utf-8")
    (alone,) = told(DATA / "rainstorm.xml")
    assert told(file) == [alone | {"file": str(file)}]


PLAIN = {"id": "1", "hazard": "暴雨", "level": 2, "observed": "2099-07-01T08:00:00+08:00", "areas": ["210202"]}
ALERT = {"labels": {"alertname": "FloodHigh", "severity": "critical"}, "startsAt": "2026-07-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("name", "content", "format", "kinds"),
    [
        ("a.json", {**PLAIN, "kind": "alert", "headline": "暴雨"}, "plain", ["alert"]),
        ("b.json", [{**PLAIN, "kind": "update", "headline": "暴雨", "references": ["0"]}], "plain", ["update"]),
        ("c.json", {**PLAIN, "kind": "cancel", "references": ["0"]}, "plain", ["cancel"]),
        ("d.json", {**PLAIN, "kind": "alert", "headline": "暴雨", "status": "test"}, "plain", ["alert"]),
        ("e.json", {"alerts": [{**ALERT, "status": "firing"}]}, "alertmanager", ["alert"]),
        ("f.json", {"alerts": [{**ALERT, "status": "resolved", "endsAt": "2026-07-01T01:00:00Z"}]}, None, ["cancel"]),
        ("g.json", {"rows": [{"编号": "1", "灾种": "暴雨", "级别": "红"}]}, "table", ["alert"]),
        ("h.csv", "编号,灾种,级别,区划代码\n1,暴雨,红,210202\n2,大风,黄,210202\n", "table", ["alert", "alert"]),
    ],
)
def test_every_format_is_told_by_its_content_in_the_same_words(
    tmp_path: Path, name: str, content: Any, format: str | None, kinds: list[str]
) -> None:
    file = tmp_path / name
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
    file.write_text(text, encoding="utf-8")
    (found,) = told(file)
    assert (found["format"], found["accepted"]) == (format or "alertmanager", True), found
    assert [list(row) for row in found["signals"]] == [MEMBERS] * len(kinds)
    assert [row["kind"] for row in found["signals"]] == kinds
    for row in found["signals"]:
        assert [list(area) for area in row["areas"]] in ([], [["name", "codes", "polygons", "circles"]])


def test_a_filled_workbook_is_told_as_a_table(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(io.BytesIO(template("xlsx")))
    book.worksheets[0].append(["9", None, "暴雨", "红"])
    file = tmp_path / "rows.xlsx"
    book.save(file)
    (found,) = told(file)
    assert (found["format"], [row["identifier"] for row in found["signals"]]) == ("table", ["9"])


@pytest.mark.parametrize("sent", ["0001-01-01 00:00:00+08:00", "9999-12-31 23:59:59+08:00"])
def test_a_date_that_calendars_hardly_reach_breaks_no_check(tmp_path: Path, sent: str) -> None:
    file = tmp_path / "far.xml"
    file.write_text(NATIONAL.read_text(encoding="utf-8").replace("2026-07-01 08:00:00+08:00", sent), encoding="utf-8")
    (found,) = told(file)
    assert [row["sent"] for row in found["signals"]] == [sent]


FILES = [path for path in sorted(SAMPLES.glob("*/*")) if path.suffix in (".xml", ".atom", ".rss", ".json")]


@given(st.sampled_from(FILES), st.integers(0, 4_000), st.binary(max_size=8))
def test_no_damage_to_a_file_breaks_the_check(
    tmp_path_factory: pytest.TempPathFactory, path: Path, at: int, noise: bytes
) -> None:
    raw = path.read_bytes()
    at %= len(raw) + 1
    file = tmp_path_factory.mktemp("damaged") / "file"
    file.write_bytes(raw[:at] + noise + raw[at + len(noise) :])
    found = check_file(file)
    assert found["accepted"] or found["problems"]
    json.dumps(found)


def test_one_line_of_json_stands_for_each_file_in_their_order(tmp_path: Path) -> None:
    names = [str(NATIONAL), str(tmp_path / "none"), str(DATA / "rainstorm.xml")]
    result = CliRunner().invoke(feed_app, ["check", *names, "--json"])
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert (result.exit_code, [line["file"] for line in lines]) == (1, names)
    assert [list(line) for line in lines] == [["file", "format", "accepted", "signals", "problems"]] * 3


def test_help_keeps_what_it_says_of_shapes() -> None:
    said = " ".join(CliRunner().invoke(feed_app, ["check", "--help"]).output.split())
    assert "a polygon is a closed list of points (lat, lon), a circle is lat, lon and radius in km." in said
