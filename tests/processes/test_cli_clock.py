"""`tocsin clock`: the trusted time, and its confirmation by a person at the machine."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.engine import clock
from services.dispatcher.engine.rows import Stream
from services.dispatcher.processes.cli_clock import clock_app
from tests.builders import SECOND_US

AHEAD_US = 7_200 * SECOND_US


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(clock_app, list(words))
    return result.exit_code, result.output


def shown() -> dict[str, Any]:
    code, said = run("show", "--json")
    assert code == 0
    found: dict[str, Any] = json.loads(said)
    return found


@pytest.fixture
def behind(store: SqlStore) -> SqlStore:
    """The machine's clock lies two hours before the newest manifest."""
    with store.write() as tx:
        newest_us = tx.now_us() + AHEAD_US
        tx.put(Stream("topic", "area", "actual", "city", newest_us // 1_000, signed=b"signed"))
    clock.begin(store)
    return store


def test_a_clock_in_order_has_nothing_to_confirm(store: SqlStore) -> None:
    assert (shown()["state"], shown()["since"]) == ("in order", None)
    code, said = run("confirm", "--why", "by the radio")
    assert (code, said.split(":")[0]) == (1, "clock_in_order")


def test_a_person_at_the_machine_confirms_the_time(behind: SqlStore) -> None:
    before = shown()
    assert before["state"].startswith("the clock lies before what is stored: it is 7")
    assert before["since"] and before["trusted"] > before["shown"]
    code, said = run("confirm", "--why", "by the radio")
    assert code == 0 and "earlier than before" in said
    assert shown()["state"] == "in order"
    with behind.read() as read:
        (row,) = [row for row in read.log_of("clock") if row.kind == "clock.confirmed"]
    assert row.person.endswith("(command line)") and "by the radio" in row.body


def test_a_confirmation_needs_a_reason(behind: SqlStore) -> None:
    assert run("confirm", "--why", "  ")[0] == 2
    assert shown()["state"] != "in order"
