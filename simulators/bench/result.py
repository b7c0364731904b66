"""What every benchmark shares: how it ends when it can't go on, its spread of figures, and its one line of JSON."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

SYNCS = 50


class BenchFailed(Exception):
    """The benchmark ended without a figure; the sentence says why."""


def spread(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median, smallest and greatest of at least one value."""
    return {
        "median": round(statistics.median(values), digits),
        "min": round(min(values), digits),
        "max": round(max(values), digits),
    }


def median(values: Sequence[float], digits: int = 4) -> float:
    return round(statistics.median(values), digits)


def sync_ms(folder: Path) -> float:
    """How long the folder's disk takes to hold 4 KiB for good, in ms: the median of fifty appends with fdatasync.

    A figure far below 0.1 says that the folder is in memory, or that its disk does not keep its word.
    """
    took: list[float] = []
    with (folder / "sync").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            started = time.perf_counter()
            file.write(b"\0" * 4096)
            os.fdatasync(file.fileno())
            took.append((time.perf_counter() - started) * 1_000)
    (folder / "sync").unlink()
    return round(statistics.median(took), 3)
