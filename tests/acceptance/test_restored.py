"""A database restored from an older backup: speakers are not silenced, and no cancelled order comes back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.acceptance.running import (
    Running,
    communities,
    coverage,
    eventually,
    running,
    starts,
    storm_on_air,
)

PROCESSES = ("gateway", "web", "worker")


def test_an_older_backup_silences_nobody_and_revives_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as town:
        area = communities(town)[0]
        cancelled = storm_on_air(town, area)
        eventually(lambda: _played(town, cancelled), "the first order plays")
        _back_up(town, tmp_path / "backup.db")
        drill = town.person("duty")
        drill.follow_up(cancelled, "all_clear")
        stream = drill.get(f"/api/broadcasts/{cancelled}")["broadcast"]["stream"]
        eventually(lambda: "withdrawn" in _held(town, stream), "the all-clear is on the broker")

        _restore(town, tmp_path / "backup.db")

        eventually(lambda: [s for s in _streams(town) if s["topic"] == stream and s["unknown_on_air"]], "it is shown")
        assert coverage(town, cancelled)["targeted"] > 0
        assert {key: times for key, times in starts(town).items() if times > 1} == {}
        _adopt(town, stream)
        duty = town.person("duty")
        eventually(
            lambda: duty.get(f"/api/broadcasts/{cancelled}")["broadcast"]["state"] == "withdrawn", "it is adopted"
        )
        # A new order on the same stream reaches the speakers, who were never silenced.
        duty.post(
            f"/api/incidents/{duty.get(f'/api/broadcasts/{cancelled}')['broadcast']['incident']}/close", {"why": "over"}
        )
        later = storm_on_air(town, area)
        eventually(lambda: _played(town, later), "a new order plays")
        assert {key: times for key, times in starts(town).items() if times > 1} == {}


def _played(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0


def _streams(town: Running) -> list[dict[str, object]]:
    listed: list[dict[str, object]] = town.person("duty").get("/api/streams")["streams"]
    return listed


def _held(town: Running, stream: str) -> str:
    rows = town.rows("SELECT body FROM log WHERE kind = 'stream.signed' AND subject = ? ORDER BY seq DESC", stream)
    return str(rows[0][0]) if rows else ""


def _adopt(town: Running, stream: str) -> None:
    town.person("duty").post("/api/streams/adopt", {"topic": stream})


def _back_up(town: Running, target: Path) -> None:
    with closing(sqlite3.connect(town.var / "tocsin.db")) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _restore(town: Running, backup: Path) -> None:
    """Stop what writes, put the older database in place, start again."""
    for name in PROCESSES:
        town.system.children[name][0].stop()
    town.system.store.close()
    for suffix in ("-wal", "-shm"):
        (town.var / f"tocsin.db{suffix}").unlink(missing_ok=True)
    backup.replace(town.var / "tocsin.db")
    town.system.look_after()
    eventually(lambda: town.person("duty").get("/api/me"), "people are let in again")
