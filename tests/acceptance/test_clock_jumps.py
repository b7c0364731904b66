"""The dispatcher's clock jumps by hours and back: what is released sounds all the same, and health is red meanwhile."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from services.dispatcher.adapters.passwords import Argon2Passwords
from services.dispatcher.engine.people import Role, create_person, fresh_secret
from simulators.console import Person
from tests.acceptance.running import Running, communities, coverage, eventually, running, starts, storm_on_air

ROOT = Path(__file__).parents[2]
FROZEN_S = 7.0
PATCH = '''
"""Puts the wall clock of the dispatcher's processes by what a file says; speakers have clocks of their own."""
import os
import sys
import time

if not {"fleet", "speaker"} & set(sys.orig_argv):
    true_ns = time.time_ns

    off_s = os.path.join(os.path.dirname(__file__), "off_s")

    time.time_ns = lambda: true_ns() + int(os.readlink(off_s)) * 1_000_000_000
    time.time = lambda: time.time_ns() / 1e9
'''


@pytest.fixture
def jump(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Puts the clock of every dispatcher process that is started from now on by so many seconds, at any time."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(PATCH, "utf-8")

    def put(seconds: int) -> None:
        # A link that names the number: read and put by one call each.
        (folder / "new").symlink_to(str(seconds))
        (folder / "new").replace(folder / "off_s")

    put(0)
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{ROOT}")
    return put


def test_whatever_the_clock_does_what_is_released_sounds(tmp_path: Path, jump: Callable[[int], None]) -> None:
    with running(tmp_path) as town:
        areas = iter(communities(town))
        first = sounds(town, next(areas))
        frozen(town)
        assert jumps(town) == []

        jump(7_200)
        eventually(lambda: not well(town), "health is red")
        sounds(town, next(areas))
        town.kill("gateway")
        sounds(town, next(areas))
        follower = town.person("duty").follow_up(first, "all_clear")
        eventually(lambda: played(town, follower), "the all-clear plays")
        assert not well(town)

        jump(0)
        eventually(lambda: well(town), "the clock has healed by itself")
        sounds(town, next(areas))
        assert jumps(town) == ["clock.jumped", "clock.back"]
        # No version of any stream is ahead of the time, so no speaker refuses what comes next.
        newest_ms = max(
            version for (version,) in town.rows("SELECT json_extract(body, '$.manifest_version') FROM stream")
        )
        assert newest_ms < time.time() * 1_000 + 5_000

        jump(180)
        eventually(lambda: not well(town), "health is red again")
        admin = administrator(town)
        seen = admin.get("/api/clock")
        admin.post("/api/clock/confirm", {"serial": seen["serial"], "why": "by the radio"})
        eventually(lambda: well(town), "the time is confirmed")
        sounds(town, next(areas))
        assert jumps(town) == ["clock.jumped", "clock.back", "clock.jumped", "clock.confirmed"]
        assert {key: times for key, times in starts(town).items() if times > 1} == {}


def administrator(town: Running) -> Person:
    name, password = "an administrator", fresh_secret()
    create_person(
        town.system.store, Argon2Passwords(), name=name, password=password, roles=[Role.ADMINISTRATOR], office="",
        by="test",
    )  # fmt: skip
    town.logins["people"][name] = {"password": password}
    return town.person(name)


def sounds(town: Running, area: str) -> str:
    """A warning for an area is released and plays at all its speakers."""
    order = storm_on_air(town, area)
    eventually(lambda: played(town, order), f"{order} plays in {area}")
    return order


def played(town: Running, order: str) -> bool:
    counts = coverage(town, order)
    return counts["playing"] == counts["targeted"] > 0


def frozen(town: Running) -> None:
    """The gateway stands still for longer than clocks may be apart."""
    process = town.system.children["gateway"][0].process
    process.send_signal(signal.SIGSTOP)
    time.sleep(FROZEN_S)
    process.send_signal(signal.SIGCONT)
    eventually(lambda: part(town, "gateway"), "the gateway is back")


def well(town: Running) -> bool:
    return part(town, "clock")


def part(town: Running, name: str) -> bool:
    parts = town.person("duty").get("/api/health")["parts"]
    return all(p["well"] for p in parts if p["part"] == name)


def jumps(town: Running) -> list[str]:
    return [kind for (kind,) in town.rows("SELECT kind FROM log WHERE subject = 'clock' ORDER BY seq")]
