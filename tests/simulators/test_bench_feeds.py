"""The benchmark of feeds measures what it says; how fast it is no test decides."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from services.dispatcher.feeds import cap
from simulators.bench import feeds
from simulators.bench.cli import app
from simulators.bench.feeds import FEED, cap_ratio, contents
from simulators.bench.messages import FORMS, SENT_US, messages
from simulators.bench.panel_air import panel_to_air
from simulators.bench.panels import panel_frames
from simulators.bench.result import BenchFailed
from simulators.bench.storm import storm

DATA = Path(__file__).parents[1] / "data" / "cap"
KEYS = ["messages", "refused", "rounds", "lxml_us", "tocsin_us", "lxml_per_s", "accepted_per_s", "ratio"]
KEYS += ["ratio_of_messages", "ratios"]


def test_every_file_that_makes_a_signal_is_measured(tmp_path: Path) -> None:
    (tmp_path / "none.xml").write_text("<none/>")
    figures = cap_ratio(contents([DATA / "rainstorm.xml", tmp_path / "none.xml", DATA / "whole.xml"]), 0.0)
    assert list(figures) == KEYS
    assert (figures["messages"], figures["refused"], figures["rounds"]) == (2, 1, 1)
    ratios = figures["ratios"]
    assert isinstance(ratios, dict)
    assert sorted(ratios) == ["rainstorm.xml", "whole.xml"]


def test_files_that_make_no_signal_make_no_figure() -> None:
    with pytest.raises(BenchFailed):
        cap_ratio({"none.xml": b"<none/>"}, 0.0)


@pytest.mark.parametrize("name", FORMS)
def test_a_message_made_up_for_it_is_without_fault_and_could_be_aired(name: str) -> None:
    found = cap.reading(messages()[name], FEED, SENT_US)
    (signal,) = found.signals
    assert found.problems == ()
    assert (signal.hazard, signal.claimed_level, str(signal.kind)) == ("rainstorm", 2, "alert")


def test_without_files_it_prints_one_line_of_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    small = {
        "gb26875": partial(panel_frames, connections=5, frames_each=4, rounds=1),
        "air": partial(panel_to_air, rounds=2),
        "storm": partial(storm, signals=200),
    }
    assert list(small) == [name for name, _ in feeds.PARTS]
    monkeypatch.setattr(feeds, "PARTS", tuple(small.items()))
    result = CliRunner().invoke(app, ["feeds", "--seconds", "0"])
    assert result.exit_code == 0
    figures = json.loads(result.stdout)
    assert figures["bench"] == "feeds"
    assert list(figures["cap"]["ratios"]) == list(FORMS)
    assert [figures[name]["bench"] for name in small] == ["panel_frames", "panel_to_air", "storm"]


def test_a_file_that_is_not_there_ends_it_with_a_sentence(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["feeds", str(tmp_path / "none.xml")])
    assert (result.exit_code, result.stdout) == (1, "")
    assert "No such file" in result.stderr
