"""No format lets a feed speak for a hazard or an area that it is not enrolled for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from services.dispatcher.domain.signals import Feed, SignalKind, Use
from services.dispatcher.feeds import FEEDS
from tests import builders
from tests.builders import NOON_US, OTHER_STREET, STREET

DATA = Path(__file__).parents[1] / "data"
CAP = builders.cap_alert()
CAP_TEXT = CAP.decode().partition("?>")[2]
ATOM = (
    '<feed xmlns="http://www.w3.org/2005/Atom"><id>1</id><title>t</title><updated>2025-06-15T00:00:00Z</updated>'
    "<entry><id>2</id><title>t</title><updated>2025-06-15T00:00:00Z</updated>"
    f'<content type="application/cap+xml">{CAP_TEXT}</content></entry></feed>'
)
NATIONAL = (DATA / "alert12379" / "rainstorm_orange.xml").read_text(encoding="utf-8")
ORDER = (DATA / "ebd" / "order.xml").read_text(encoding="utf-8")
REPORT = {"id": "1", "kind": "alert", "hazard": "rainstorm", "headline": "暴雨", "areas": [STREET]}
LABELS = {"alertname": "x", "hazard": "rainstorm", "area": STREET}
SAMPLES = {
    "cap": CAP,
    "atom": ATOM.encode(),
    "alert12379": NATIONAL.replace("210202000000，21020300000000", STREET).replace("2026-07-01", "2025-06-15").encode(),
    "ebd": ORDER.replace("210202000000,210203000000", STREET)
    .replace("2026-07-01 14", "2025-06-16 14")
    .replace("2026-07-01 08", "2025-06-15 08")
    .encode(),
    "plain": json.dumps({**REPORT, "observed": "2025-06-15T15:00:00Z"}).encode(),
    "table": f"编号,灾种,级别,区划代码\n1,暴雨,红,{STREET}\n".encode(),
    "alertmanager": json.dumps(
        {"alerts": [{"labels": LABELS, "startsAt": "2025-06-15T15:00:00Z", "status": "firing"}]}
    ).encode(),
}
SAMPLES["alert12379"] = SAMPLES["alert12379"].replace(b"14:00:00+08:00", b"23:59:59+08:00")


def told(format: str, feed: Feed) -> list[tuple[SignalKind, str, set[str]]]:
    found = FEEDS[format](SAMPLES[format], feed, NOON_US)
    problems = {"hazard_not_enrolled", "area_not_enrolled"}
    return [(s.kind, s.hazard, {p.code for p in s.problems} & problems) for s in found.signals]


def feed(area: str, hazards: tuple[str, ...] | None = None) -> Feed:
    return Feed("weather", "", "", "", Use.ACTUAL, "", area, hazards)


def test_every_format_has_its_sample() -> None:
    assert set(SAMPLES) == set(FEEDS)


@pytest.mark.parametrize("format", sorted(FEEDS))
def test_within_its_scope_a_report_is_an_alert(format: str) -> None:
    assert told(format, feed(STREET, ("rainstorm",))) == [(SignalKind.ALERT, "rainstorm", set())]


@pytest.mark.parametrize("format", sorted(FEEDS))
def test_another_hazard_is_information(format: str) -> None:
    assert told(format, feed(STREET, ("fire",))) == [(SignalKind.INFO, "rainstorm", {"hazard_not_enrolled"})]


@pytest.mark.parametrize("format", sorted(FEEDS))
def test_another_area_is_information(format: str) -> None:
    assert told(format, feed(OTHER_STREET)) == [(SignalKind.INFO, "rainstorm", {"area_not_enrolled"})]
