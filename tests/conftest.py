"""What every test may use: how hypothesis searches (long in `make campaign`), and a PostgreSQL server."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.postgres import PostgresServer, started_postgres

settings.register_profile("suite", deadline=None)
settings.register_profile("campaign", deadline=None, max_examples=5_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))

LONGEST = ("planted", "simulation", "acceptance", "conformance")
"""Folders whose files take minutes. They go first, so that no process is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Called by pytest when it has found the tests."""
    items.sort(key=lambda item: (*LONGEST, item.path.parent.name).index(item.path.parent.name))


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One server for every test that needs a real PostgreSQL."""
    with started_postgres() as server:
        yield server
