"""`tocsin panel`: what the desk can do on the pages, a person at the machine can do as well."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.signals import Panel
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.rows import PanelLive
from services.dispatcher.engine.sources.panels import StrangerHeard, note_heard, note_strangers
from services.dispatcher.processes.cli_panel import panel_app
from tests import builders
from tests.builders import NOON_US


@pytest.fixture
def store(store: SqlStore) -> SqlStore:
    with store.write() as tx:
        import_city(tx, builders.city_settings(), builders.city_rows(), "test")
        tx.put(builders.panel())
    return store


def run(*words: str) -> str:
    result = CliRunner().invoke(panel_app, list(words))
    assert result.exit_code == 0, result.output
    return result.output


def rows(*words: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in run(*words, "--json").splitlines()]


def refused(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(panel_app, list(words))
    return result.exit_code, result.output.split(":")[0]


def test_panels_are_listed_with_when_they_were_heard(store: SqlStore) -> None:
    note_heard(store, [PanelLive("mall-panel", "gw-0", "10.0.0.8:1", NOON_US, -3)])
    assert rows("list") == [
        {
            "id": "mall-panel",
            "address": "0102030405ff",
            "venue": "mall",
            "use": "actual",
            "enabled": True,
            "heard": "2025-06-15T15:06:40+00:00",
            "clock_off_s": -3,
            "maintenance_until": None,
        }
    ]


def test_strangers_are_listed_so_that_somebody_can_enrol_them(store: SqlStore) -> None:
    note_strangers(store, [StrangerHeard("ffffffffffff", "10.0.0.9:4000", 3, NOON_US, NOON_US + 1_000_000)])
    assert rows("strangers") == [
        {
            "address": "ffffffffffff",
            "peer": "10.0.0.9:4000",
            "frames": 3,
            "first": "2025-06-15T15:06:40+00:00",
            "last": "2025-06-15T15:06:41+00:00",
        }
    ]


def test_a_duty_check_and_a_clock_are_asked_for_under_ones_own_name(store: SqlStore) -> None:
    run("duty-check", "mall-panel", "--minutes", "3")
    run("set-clock", "mall-panel")
    found = rows("requests", "mall-panel")
    assert [(r["kind"], r["state"], r["minutes"]) for r in found] == [
        ("set_clock", "waiting", 0),
        ("duty_check", "waiting", 3),
    ]
    assert all(str(r["person"]).endswith("(command line)") for r in found)
    assert "duty_check  waiting" in run("requests", "mall-panel")
    assert refused("duty-check", "mall-panel") == (1, "still_asking")
    assert refused("duty-check", "nobody") == (1, "not_found")


def test_maintenance_begins_and_ends(store: SqlStore) -> None:
    run("maintenance", "mall-panel", "--reason", "new detectors", "--hours", "2")
    with store.read() as read:
        panel = read.get(Panel, "mall-panel")
    assert panel is not None and panel.maintenance_until_us is not None
    assert panel.maintenance_reason == "new detectors"
    run("end-maintenance", "mall-panel")
    with store.read() as read:
        assert read.get(Panel, "mall-panel") == builders.panel()
