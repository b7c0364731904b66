"""Alertmanager webhooks in the shapes that are sent: whose alert it is, what it means, and what resolves what."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.signals import Evidence, Feed, Place, Signal, SignalKind, Use
from services.dispatcher.feeds.alertmanager import ALERTS_MAX, reading

FEED = Feed("water", "水务", "水务部门", "alertmanager", Use.ACTUAL, "", "210200000000")
EIGHT_US = 1_782_864_000_000_000
ZERO = "0001-01-01T00:00:00Z"
LABELS = {
    "alertname": "RiverFloodWarning",
    "instance": "gauge-7",
    "severity": "critical",
    "area": "210202",
    "lat": "38.9",
    "lon": "121.6",
    "place": "马栏河口",
}
ALERT: dict[str, Any] = {
    "status": "firing",
    "labels": LABELS,
    "annotations": {"summary": "水位超警", "description": "3.2 m"},
    "startsAt": "2026-07-01T08:00:00.123456789+08:00",
    "endsAt": ZERO,
    "generatorURL": "http://prometheus/graph",
    "fingerprint": "83eb2c81e0da3faf",
}


def read(body: object, feed: Feed = FEED, at_us: int = EIGHT_US) -> tuple[tuple[Signal, ...], list[str]]:
    found = reading(json.dumps(body).encode(), feed, at_us)
    return found.signals, [problem.code for problem in found.problems]


def one(alert: dict[str, Any], feed: Feed = FEED) -> Signal:
    (signal,), _ = read(alert, feed)
    return signal


def group(*alerts: object, **more: object) -> dict[str, object]:
    body = {"version": "4", "groupKey": "{}", "truncatedAlerts": 0, "status": "firing", "receiver": "tocsin"}
    return body | {"groupLabels": {}, "commonLabels": {}, "commonAnnotations": {}, "alerts": list(alerts)} | more


def labelled(**labels: str) -> dict[str, Any]:
    return ALERT | {"labels": LABELS | labels}


def test_an_alert_becomes_a_whole_signal() -> None:
    (signal,), problems = read(group(ALERT))
    assert problems == []
    assert signal == Signal(
        key=signal.key,
        reporter="water",
        use=Use.ACTUAL,
        kind=SignalKind.ALERT,
        evidence=Evidence.DETECTOR,
        hazard="flood",
        event_code="11A00",
        place=Place(areas=("210202000000",), shapes=(Circle(389_000_000, 1_216_000_000, 100),), names=("马栏河口",)),
        observed_us=EIGHT_US + 123_456,
        received_us=EIGHT_US,
        claimed_level=2,
        device="gauge-7",
        headline="水位超警",
        description="3.2 m",
    )
    assert signal.key.startswith("alertmanager/water/") and signal.key.endswith(f"@{EIGHT_US + 123_456}")


@pytest.mark.parametrize(
    "body",
    [
        [ALERT],
        ALERT,
        {"alerts": [ALERT], "status": "firing"},
        group({name: value for name, value in ALERT.items() if name != "fingerprint"}),
        group({name: value for name, value in ALERT.items() if name != "status"}),
        group(ALERT, orgId=1, title="[FIRING:1]", state="alerting", message="x"),
        [ALERT | {"status": {"state": "active", "silencedBy": [], "inhibitedBy": []}, "receivers": [{"name": "x"}]}],
        [{n: v for n, v in ALERT.items() if n not in ("status", "endsAt")} | {"endsAt": "2026-07-01T09:00:00+08:00"}],
        group(ALERT | {"values": {"B": 3.2}, "dashboardURL": "", "silenceURL": "", "valueString": ""}),
    ],
)
def test_every_shape_says_the_same(body: object) -> None:
    assert read(body) == read(group(ALERT))


def test_a_resolved_alert_cancels_the_key_it_fired_under() -> None:
    fired = one(ALERT)
    ended = ALERT | {"status": "resolved", "endsAt": "2026-07-01T08:04:00+08:00"}
    resolved = one(ended)
    assert (resolved.kind, resolved.references) == (SignalKind.CANCEL, (fired.key,))
    assert resolved.key == f"{fired.key}#resolved-{EIGHT_US + 240_000_000}"
    assert resolved.observed_us == EIGHT_US + 240_000_000


def test_an_end_in_the_past_resolves_an_alert_without_a_state() -> None:
    alert = {name: value for name, value in ALERT.items() if name != "status"}
    assert one(alert | {"endsAt": "2026-07-01T08:00:00+08:00"}).kind is SignalKind.CANCEL


def test_alerts_with_one_fingerprint_and_different_labels_stay_apart() -> None:
    others = [labelled(instance=f"gauge-{number}") for number in range(4)]
    signals, _ = read(group(*others))
    assert len({signal.key for signal in signals}) == 4


def test_the_order_of_labels_does_not_matter() -> None:
    assert one(ALERT | {"labels": dict(reversed(LABELS.items()))}) == one(ALERT)


def test_without_labels_the_fingerprint_counts() -> None:
    keys = {one({"labels": {}, "fingerprint": print, "startsAt": ALERT["startsAt"]}).key for print in ("a", "b")}
    assert len(keys) == 2


@pytest.mark.parametrize("starts", [None, ZERO, "", "soon", 7])
def test_without_a_start_the_minute_of_receipt_stands_for_it(starts: object) -> None:
    signal = one(ALERT | {"startsAt": starts})
    assert (signal.kind, signal.observed_us) == (SignalKind.ALERT, EIGHT_US)
    assert signal.key.endswith(f"@r{EIGHT_US // 60_000_000}")
    resolved = one(ALERT | {"startsAt": starts, "status": "resolved"})
    assert (resolved.kind, resolved.references) == (SignalKind.INFO, ())


def test_an_alert_that_fires_for_days_still_fires() -> None:
    (signal,), problems = read(ALERT, at_us=EIGHT_US + 7 * 86_400_000_000)
    assert (signal.kind, problems) == (SignalKind.ALERT, [])


@pytest.mark.parametrize(
    ("labels", "hazard", "kind"),
    [
        ({"alertname": "CPUHigh"}, "other", SignalKind.INFO),
        ({"alertname": "Watchdog"}, "other", SignalKind.INFO),
        ({"alertname": "CPUHigh", "hazard": "flood"}, "flood", SignalKind.ALERT),
        ({"alertname": "CPUHigh", "hazard": "暴雨"}, "rainstorm", SignalKind.ALERT),
        ({"alertname": "CPUHigh", "event_code": "11E02"}, "storm_surge", SignalKind.ALERT),
        ({"alertname": "river_flood_warning"}, "flood", SignalKind.ALERT),
        ({"alertname": "GaugeOver"}, "flood", SignalKind.ALERT),
        ({"alertname": "DatasourceNoData", "hazard": "flood"}, "flood", SignalKind.INFO),
    ],
)
def test_labels_name_the_hazard_and_machines_are_information(
    labels: dict[str, str], hazard: str, kind: SignalKind
) -> None:
    signal = one(labelled(**labels), replace(FEED, aliases=(("GaugeOver", "flood"),)))
    assert (signal.hazard, signal.kind) == (hazard, kind)
    assert signal.evidence is (Evidence.DETECTOR if kind is SignalKind.ALERT else Evidence.SYSTEM)


def test_a_silenced_alert_is_information_and_new_when_the_silence_ends() -> None:
    silenced, active = one(ALERT | {"status": {"state": "suppressed"}}), one(ALERT | {"status": {"state": "active"}})
    assert (silenced.kind, active.kind) == (SignalKind.INFO, SignalKind.ALERT)
    assert silenced.key != active.key


@pytest.mark.parametrize(
    ("severity", "level"),
    [("emergency", 1), ("CRITICAL", 2), ("warning", 3), ("info", 4), ("红色", 1), ("2", 2), ("sev0", None), ("", None)],
)
def test_severities_become_levels(severity: str, level: int | None) -> None:
    assert one(labelled(severity=severity)).claimed_level == level


def test_a_status_label_lowers_the_alert() -> None:
    assert one(labelled(status="exercise")).use is Use.EXERCISE
    assert one(labelled(status="test")).kind is SignalKind.INFO


def test_a_persons_feed_stays_a_persons_word() -> None:
    assert one(ALERT, replace(FEED, evidence=Evidence.PERSON)).evidence is Evidence.PERSON


def test_the_old_body_of_one_rule_is_read() -> None:
    rule = {
        "ruleId": 7,
        "ruleName": "River flood",
        "state": "alerting",
        "title": "[Alerting] River",
        "message": "3.2 m",
    }
    signal = one(rule | {"tags": {"instance": "gauge-7"}, "evalMatches": [{"value": 3.2}]})
    assert (signal.kind, signal.hazard, signal.device, signal.headline, signal.description) == (
        SignalKind.ALERT,
        "flood",
        "gauge-7",
        "[Alerting] River",
        "3.2 m",
    )
    assert one(rule | {"state": "no_data"}).kind is SignalKind.INFO


def test_a_bad_alert_takes_no_other_with_it() -> None:
    signals, problems = read(group(7, {"labels": [1]}, {"labels": {}}, labelled(area="x", lat="north"), ALERT))
    assert (len(signals), problems) == (
        2,
        ["wrong_type", "wrong_type", "labels_missing", "bad_position", "bad_area_code"],
    )


def test_alerts_beyond_the_cap_and_left_out_by_the_sender_are_named() -> None:
    alerts = [labelled(instance=str(number)) for number in range(ALERTS_MAX + 1)]
    signals, problems = read(group(*alerts, truncatedAlerts=3))
    assert (len(signals), problems) == (ALERTS_MAX, ["too_many_alerts", "alerts_truncated"])


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "empty"),
        (b"[" * 10_000, "json_too_deep"),
        (b"7", "wrong_type"),
        (b"{}", "not_alerts"),
        (b"[]", "no_alerts"),
        (b'{"alerts": {}}', "wrong_type"),
        (b'{"alerts": []}', "no_alerts"),
    ],
)
def test_what_is_no_alert_is_refused_with_one_sentence(raw: bytes, code: str) -> None:
    found = reading(raw, FEED, EIGHT_US)
    assert (found.signals, [problem.code for problem in found.problems]) == ((), [code])
