"""The benchmark of feeds measures what it says; how fast it is no test decides."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulators.bench.feeds import cap_ratio
from simulators.bench.result import BenchFailed

DATA = Path(__file__).parents[1] / "data" / "cap"


def test_every_file_that_makes_a_signal_is_measured(tmp_path: Path) -> None:
    (tmp_path / "none.xml").write_text("<none/>")
    figures = cap_ratio([DATA / "rainstorm.xml", tmp_path / "none.xml", DATA / "whole.xml"], 0.0)
    assert sorted(figures) == sorted(
        ["bench", "files", "rounds", "lxml_us", "tocsin_us", "ratio", "ratio_of_files", "files_per_s", "ratios"]
    )
    assert (figures["bench"], figures["files"], figures["rounds"]) == ("cap", 2, 1)
    ratios = figures["ratios"]
    assert isinstance(ratios, dict)
    assert sorted(ratios) == ["rainstorm.xml", "whole.xml"]


def test_files_that_make_no_signal_make_no_figure(tmp_path: Path) -> None:
    (tmp_path / "none.xml").write_text("<none/>")
    with pytest.raises(BenchFailed):
        cap_ratio([tmp_path / "none.xml"], 0.0)
