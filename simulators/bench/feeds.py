"""From a CAP file to the signals it makes, beside lxml parsing the same bytes and nothing else."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from lxml import etree

from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds import cap
from simulators.bench.result import BenchFailed, spread

FEED = Feed("bench", "", "", cap.FORMAT, Use.EXERCISE, "", "")
FILES_MAX = 1_000
REPEATS = 20
"""Readings of one file in a row: what a round times is long beside the clock's own cost."""


def cap_ratio(files: Sequence[Path], seconds: float) -> dict[str, object]:
    """How many times what lxml alone takes the product takes, per file and for all of them.

    Both read the same bytes in turns, one CPU's time each, for about `seconds`; a file's figure is the median of its
    rounds. Files that make no signal have no figure. Raises BenchFailed when none makes one.
    """
    raws = {path.name: raw for path in files[:FILES_MAX] if _makes_signals(raw := path.read_bytes())}
    if not raws:
        raise BenchFailed("None of the files makes a signal.")
    alone: dict[str, list[float]] = {name: [] for name in raws}
    whole: dict[str, list[float]] = {name: [] for name in raws}
    until = time.monotonic() + seconds
    while time.monotonic() < until or not alone[next(reversed(alone))]:
        for name, raw in raws.items():
            alone[name].append(_took_us(etree.fromstring, raw))
            whole[name].append(_took_us(_signals, raw))
    lxml_us = {name: statistics.median(took) for name, took in alone.items()}
    tocsin_us = {name: statistics.median(took) for name, took in whole.items()}
    ratios = {name: round(tocsin_us[name] / lxml_us[name], 2) for name in raws}
    return {
        "bench": "cap",
        "files": len(raws),
        "rounds": len(alone[next(iter(alone))]),
        "lxml_us": round(statistics.fmean(lxml_us.values()), 1),
        "tocsin_us": round(statistics.fmean(tocsin_us.values()), 1),
        "ratio": round(sum(tocsin_us.values()) / sum(lxml_us.values()), 2),
        "ratio_of_files": spread(list(ratios.values()), 2),
        "files_per_s": round(1e6 / statistics.fmean(tocsin_us.values())),
        "ratios": ratios,
    }


def _makes_signals(raw: bytes) -> bool:
    return bool(cap.reading(raw, FEED, 0).signals)


def _signals(raw: bytes) -> object:
    return cap.reading(raw, FEED, 0)


def _took_us(read: Callable[[bytes], object], raw: bytes) -> float:
    started = time.process_time_ns()
    for _ in range(REPEATS):
        read(raw)
    return (time.process_time_ns() - started) / REPEATS / 1_000
