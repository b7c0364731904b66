"""What the tests of commands share: the database of a system in an empty folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.settings import Settings


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SqlStore]:
    """Its tables without rows, where the commands look too; a module may put something in."""
    monkeypatch.setenv("TOCSIN_VAR", str(tmp_path))
    for name in ("TOCSIN_DATABASE_URL", "TOCSIN_POLL_LOOPBACK"):
        monkeypatch.delenv(name, raising=False)
    upgrade(Settings().database)
    store = SqlStore(Settings().database)
    yield store
    store.close()
