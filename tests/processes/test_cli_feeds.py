"""The commands that look at feed files and panel captures without a running system."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from services.dispatcher.feeds.ebd_tar import Member, write_package
from services.dispatcher.processes.cli_feeds import feed_app

DATA = Path(__file__).parents[1] / "data" / "cap"
CALL_POINT_HEX = (
    "4040020001011e3509140b1a01020304050600000000000130000202010101170a0028000300b5d8cfc2d2bbb2e342c7f8cad6b1a8"
    "000000000000000000000000000000001e3509140b1a012323"
)


def test_an_accepted_file_is_told_in_full() -> None:
    file = DATA / "rainstorm.xml"
    result = CliRunner().invoke(feed_app, ["check", str(file), "--json"])
    assert result.exit_code == 0
    ring = [[38.9, 121.6], [38.95, 121.6], [38.95, 121.7], [38.9, 121.7], [38.9, 121.6]]
    shapes = {"codes": ["210202000000"], "polygons": [ring], "circles": [[38.92, 121.65, 2.5]]}
    assert json.loads(result.stdout) == [
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
    assert [problem["code"] for problem in json.loads(result.stdout)[0]["problems"]] == ["file_unreadable"]


def told(*files: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(CliRunner().invoke(feed_app, ["check", *map(str, files), "--json"]).stdout)
    return found


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
