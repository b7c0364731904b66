"""`tocsin risk replay`: what other rules would have done, with nothing broadcast and nothing written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from services.dispatcher.adapters.store import SqlStore
from services.dispatcher.domain.signals import Place, Signal
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.processes.cli_migrate import upgrade
from services.dispatcher.processes.cli_risk import risk_app
from tests.builders import (
    NOON_US,
    OTHER_STREET,
    SECOND_US,
    STREET,
    CountingIds,
    city_rows,
    city_settings,
    fire_signal,
    storm_signal,
)

RULES = Path(__file__).parents[2] / "playbooks" / "rules" / "rules.yaml"
SINCE = "2025-06-15T00:00:00+08:00"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    """A database with a fire of two detectors and two blue warnings of neighbouring streets."""
    file = tmp_path / "tocsin.db"
    upgrade(f"sqlite:///{file}")
    store = SqlStore(f"sqlite:///{file}")
    with store.write() as tx:
        import_city(tx, city_settings(), city_rows(), "test")
    signals: list[Signal] = [
        fire_signal(),
        fire_signal("panel/mall/2", device="smoke-2", received_us=NOON_US + SECOND_US),
        storm_signal("blue", claimed_level=4, place=Place(areas=(STREET,)), received_us=NOON_US + 2 * SECOND_US),
        storm_signal(
            "blue-2", claimed_level=4, place=Place(areas=(OTHER_STREET,)), received_us=NOON_US + 3 * SECOND_US
        ),
    ]
    Engine(store, CountingIds(), ()).handle([SignalArrived(s) for s in signals])
    store.close()
    return file


def changed(tmp_path: Path, **parts: Any) -> Path:
    """The rules of the product with these parts instead of theirs."""
    file = tmp_path / "tried.yaml"
    file.write_text(yaml.safe_dump({**yaml.safe_load(RULES.read_text("utf-8")), **parts}), "utf-8")
    return file


def replay(database: Path, *arguments: str) -> Any:
    return CliRunner().invoke(
        risk_app, ["replay", *arguments], env={"TOCSIN_DATABASE_URL": f"sqlite:///{database}"}, catch_exceptions=False
    )


def test_the_same_rules_do_the_same(recorded: Path) -> None:
    done = replay(recorded, "--since", SINCE, "--rules", str(RULES))
    assert done.exit_code == 0
    assert done.output.splitlines()[-1] == "Both sets of rules do the same."


def test_a_changed_rule_says_what_it_would_have_done_differently(recorded: Path, tmp_path: Path) -> None:
    by_night = {"reason": "at any hour", "hazards": ["fire"], "hours": [0, 24], "gravest": 1}
    tried = changed(tmp_path, risk={"circumstances": [by_night]})
    found = json.loads(replay(recorded, "--since", SINCE, "--rules", str(tried), "--json").output)
    assert (found["signals"], found["incidents"], found["more"]) == (4, [3, 3], False)
    (difference,) = found["differences"]
    assert (difference["signal"], difference["changed"]) == ("panel/mall/1", ["level 1 instead of 2"])
    assert "at any hour: one level graver" in difference["after"]["reasons"]
    assert (difference["after"]["asked"], difference["after"]["aired"]) == (True, False)
    assert difference["after"]["signals"] == ["panel/mall/1", "panel/mall/2"]


def test_joining_by_other_rules_is_told_in_words(recorded: Path, tmp_path: Path) -> None:
    overlap = {"default": {"distance_m": 0, "within_s": 60, "areas": "shared"}, "hazards": {}}
    inhibition = [{"level": 2, "mutes_levels": [4], "mutes_hazards": ["rainstorm"]}]
    tried = changed(tmp_path, joining=overlap, inhibition=inhibition)
    done = replay(recorded, "--since", SINCE, "--rules", str(tried))
    assert done.exit_code == 0
    assert "Nothing was broadcast or written." in done.output


def test_a_replay_changes_no_byte_of_the_database(recorded: Path, tmp_path: Path) -> None:
    def digests() -> dict[str, str]:
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in tmp_path.glob("tocsin.db")}

    before = digests()
    replay(recorded, "--since", SINCE, "--rules", str(changed(tmp_path)))
    assert digests() == before


@pytest.mark.parametrize(("since", "signals"), [("2025-06-16", 0), ("99999d", 4), ("2025-06-15T23:06:41+08:00", 3)])
def test_only_signals_since_then_are_replayed(recorded: Path, since: str, signals: int) -> None:
    assert replay(recorded, "--since", since, "--rules", str(RULES)).output.startswith(f"{signals} signals: ")


def test_a_wrong_time_and_broken_rules_are_refused_in_words(recorded: Path, tmp_path: Path) -> None:
    assert replay(recorded, "--since", "yesterday").exit_code == 2
    broken = tmp_path / "broken.yaml"
    broken.write_text("joining: {}")
    done = replay(recorded, "--since", SINCE, "--rules", str(broken))
    assert (done.exit_code, "required property" in done.output) == (1, True)
    assert done.output.startswith("rules_broken: broken.yaml: ")
    broken.write_text("joining: [\n")
    assert replay(recorded, "--since", SINCE, "--rules", str(broken)).output == (
        "rules_broken: broken.yaml is not YAML: line 2: expected the node content, but found '<stream end>'\n"
    )
    missing = replay(recorded, "--since", SINCE, "--rules", str(tmp_path / "none.yaml"))
    assert missing.output == "rules_broken: none.yaml can't be read: No such file or directory\n"


def test_a_replay_without_changed_rules_is_refused(recorded: Path) -> None:
    done = replay(recorded, "--since", SINCE)
    assert (done.exit_code, "--rules FILE, or TOCSIN_RULES_SHADOW" in done.output) == (2, True)
