"""The benchmark of storms measures what it says; how fast it is no test decides."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from simulators.bench.result import BenchFailed
from simulators.bench.storm import storm


def test_a_small_storm_is_absorbed_while_the_api_answers(tmp_path: Path) -> None:
    figures = storm(tmp_path, signals=600, group=50, beside=3)
    assert {name: figures[name] for name in ("bench", "signals", "incidents_beside", "witnesses")} == {
        "bench": "storm",
        "signals": 600,
        "incidents_beside": 3,
        "witnesses": 64,
    }
    assert sorted(figures) == [
        "api_quiet_ms", "api_storm_ms", "bench", "cpu_s", "effects", "footprints", "incidents_beside", "log_lines",
        "signals", "signals_per_s", "took_s", "witnesses",
    ]  # fmt: skip
    lines = figures["log_lines"]
    assert isinstance(lines, int)
    assert lines < 60


@pytest.mark.parametrize("wrong", [{"signals": 0}, {"group": 501}, {"beside": 91}])
def test_a_storm_out_of_bounds_makes_no_figure(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(BenchFailed):
        storm(tmp_path, **wrong)
