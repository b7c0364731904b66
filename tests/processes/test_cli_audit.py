"""`tocsin audit`: the whole story of a subject, the chain over all of it, and one sentence where there is neither."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.effects import Record
from services.dispatcher.processes import cli_audit
from services.dispatcher.processes.cli_audit import audit_app


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(audit_app, list(words), catch_exceptions=False)
    return result.exit_code, result.output


def test_the_whole_story_is_shown_however_long_it_is(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli_audit, "LINES_READ", 2)
    with store.write() as tx:
        for number in range(5):
            tx.record(Record("incident.signal", "i-1", f"signal {number}"))
    status, output = run("show", "i-1", "--json")
    assert status == 0
    whys = [json.loads(json.loads(line)["body"])["why"] for line in output.splitlines()]
    assert whys == [f"signal {number}" for number in range(5)]


def test_a_subject_that_nobody_wrote_of_is_not_found(store: SqlStore) -> None:
    assert run("show", "i-2") == (1, "not_found: There is nothing here under that id. (log entries of i-2)\n")


@pytest.mark.parametrize("words", [("verify",), ("show", "i-1")])
def test_without_a_database_there_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TOCSIN_VAR", str(tmp_path / "nowhere"))
    monkeypatch.delenv("TOCSIN_DATABASE_URL", raising=False)
    status, output = run(*words)
    assert (status, output.split(": ")[0], output.count("\n")) == (1, "store_unavailable", 1)
