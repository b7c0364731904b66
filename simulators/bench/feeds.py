"""Feeds: from a CAP file to the signals it makes, beside lxml parsing the same bytes and nothing else.

Whatever else of the feeds is measured in the same run is one line in PARTS.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from lxml import etree

from services.dispatcher.domain.signals import Feed, Use
from services.dispatcher.feeds import cap
from simulators.bench.messages import messages
from simulators.bench.panel_air import panel_to_air
from simulators.bench.panels import panel_frames
from simulators.bench.result import BenchFailed, spread
from simulators.bench.storm import storm

FEED = Feed("bench", "", "", cap.FORMAT, Use.EXERCISE, "", "")
FILES_MAX = 1_000
REPEATS = 20
"""Readings of one message in a row: what a round times is long beside the clock's own cost."""

PARTS: tuple[tuple[str, Callable[..., dict[str, object]]], ...] = (
    ("gb26875", panel_frames),
    ("air", panel_to_air),
    ("storm", storm),
)
"""What else there is to measure: its name in the result, and what measures it in a folder of its own; `database` is
where databases are made, "" for SQLite files."""


def bench_feeds(where: Path, files: Sequence[Path], seconds: float, database: str = "") -> dict[str, object]:
    """Figures of all parts; CAP with the given files, or with messages made up here when there are none."""
    figures: dict[str, object] = {"bench": "feeds", "cap": cap_ratio(contents(files) or messages(), seconds)}
    for name, measured in PARTS:
        folder = where / name
        folder.mkdir()
        figures[name] = measured(folder, database=database)
    return figures


def contents(files: Sequence[Path]) -> dict[str, bytes]:
    """The files by name; two of one name are told apart by their folders."""
    found: dict[str, bytes] = {}
    for path in files[:FILES_MAX]:
        try:
            found[path.name if path.name not in found else str(path)] = path.read_bytes()
        except OSError as cause:
            raise BenchFailed(f"{path} cannot be read: {cause.strerror or 'input error'}.") from cause
    return found


def cap_ratio(raws: Mapping[str, bytes], seconds: float) -> dict[str, object]:
    """How many times what lxml alone takes the product takes, per message and for all of them.

    Both read the same bytes in turns, one CPU's time each, for about `seconds`; a message's figure is the median of its
    rounds. Every message is received when it was sent. Those that make no signal have no figure; `refused` counts
    them. Raises BenchFailed when none makes one.
    """
    read = {name: (raw, sent_us) for name, raw in raws.items() if (sent_us := _sent_us(raw)) is not None}
    if not read:
        raise BenchFailed("None of the files makes a signal.")
    alone: dict[str, list[float]] = {name: [] for name in read}
    whole: dict[str, list[float]] = {name: [] for name in read}
    until = time.monotonic() + seconds
    while time.monotonic() < until or not alone[next(reversed(alone))]:
        for name, (raw, sent_us) in read.items():
            alone[name].append(_took_us(partial(etree.fromstring, raw)))
            whole[name].append(_took_us(partial(cap.reading, raw, FEED, sent_us)))
    lxml_us = {name: statistics.median(took) for name, took in alone.items()}
    tocsin_us = {name: statistics.median(took) for name, took in whole.items()}
    ratios = {name: round(tocsin_us[name] / lxml_us[name], 2) for name in read}
    return {
        "messages": len(read),
        "refused": len(raws) - len(read),
        "rounds": len(alone[next(iter(alone))]),
        "lxml_us": round(statistics.fmean(lxml_us.values()), 1),
        "tocsin_us": round(statistics.fmean(tocsin_us.values()), 1),
        "lxml_per_s": round(1e6 / statistics.fmean(lxml_us.values())),
        "accepted_per_s": round(1e6 / statistics.fmean(tocsin_us.values())),
        "ratio": round(sum(tocsin_us.values()) / sum(lxml_us.values()), 2),
        "ratio_of_messages": spread(list(ratios.values()), 2),
        "ratios": ratios,
    }


def _sent_us(raw: bytes) -> int | None:
    """When the message was sent, µs UTC; None when it makes no signal."""
    message = next(iter(cap.read(raw).messages), None)
    return message.sent_us if message is not None and cap.reading(raw, FEED, message.sent_us).signals else None


def _took_us(read: Callable[[], object]) -> float:
    started = time.process_time_ns()
    for _ in range(REPEATS):
        read()
    return (time.process_time_ns() - started) / REPEATS / 1_000
