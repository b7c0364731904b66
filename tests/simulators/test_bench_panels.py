"""The benchmark of panel frames measures what it says; how fast it is no test decides."""

from __future__ import annotations

from pathlib import Path

from simulators.bench.panels import KINDS, panel_frames


def test_every_kind_of_frame_is_confirmed_and_every_fire_is_a_row(tmp_path: Path) -> None:
    figures = panel_frames(tmp_path, connections=3, frames_each=2, rounds=1)
    assert (figures["bench"], figures["connections"], figures["frames_each"], figures["rounds"]) == (
        "panel_frames",
        3,
        2,
        1,
    )
    for kind in KINDS:
        said = figures[kind]
        assert isinstance(said, dict)
        assert sorted(said) == ["confirm_ms_p50", "confirm_ms_p99", "frames_per_s"]
