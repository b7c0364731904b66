"""`tocsin bench`: the product beside the bare part it stands on, measured in one run. Each ends in one line of JSON."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from services.dispatcher.processes.children import ChildWontStart
from simulators.bench.fanout import bench_fanout
from simulators.bench.feeds import bench_feeds
from simulators.bench.growth import SPEAKERS_MAX as GROWTH_SPEAKERS_MAX
from simulators.bench.growth import bench_growth
from simulators.bench.receipts import bench_receipts
from simulators.bench.result import BenchFailed

SPEAKERS_MAX = 18_000
"""Mosquitto needs a file descriptor for each; a process may usually have 20,000."""

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Measure. 性能基准。")

Speakers = Annotated[int, typer.Option(min=2, max=SPEAKERS_MAX, help="How many speakers. 终端数量。")]
Folder = Annotated[
    Path | None,
    typer.Option(help="Where its files go for a while; the disk that is meant. 临时文件所在磁盘。"),
]

Database = Annotated[
    str,
    typer.Option(
        help="postgresql://…: databases made beside it are measured, and dropped; SQLite files else. 数据库地址。",
        metavar="URL",
    ),
]


@app.callback()
def bench() -> None:
    """The product beside the bare part it stands on, measured in one run. 与裸组件同场对比的性能基准。"""


@app.command()
def fanout(
    speakers: Speakers = 10_000,
    rounds: Annotated[int, typer.Option(min=1, max=50, help="Rounds of each road. 轮数。")] = 10,
    agents: Annotated[int, typer.Option(min=0, max=500, help="Real agents among them. 其中真实终端数。")] = 0,
    folder: Folder = None,
    database: Database = "",
) -> None:
    """From release to the last speaker that holds the order. 从审签到最后一个终端收到播发清单。"""
    if agents >= speakers:
        raise typer.BadParameter("at least one speaker must be a plain connection", param_hint="--agents")
    _measure(lambda where: bench_fanout(where, speakers, rounds, agents, database), folder)


@app.command()
def receipts(
    speakers: Speakers = 10_000,
    receipts: Annotated[int, typer.Option(min=1, max=500_000, help="How many receipts. 回执数量。")] = 100_000,
    rounds: Annotated[int, typer.Option(min=1, max=10, help="Drains of each kind. 轮数。")] = 3,
    folder: Folder = None,
    database: Database = "",
) -> None:
    """Receipts that wait at the broker, until they are durable rows. 代理中积压的回执直至落盘。"""
    _measure(lambda where: bench_receipts(where, speakers, receipts, rounds, database), folder)


@app.command()
def feeds(
    files: Annotated[
        list[Path] | None, typer.Argument(help="CAP files; messages made up here without any. CAP 文件，可省略。")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How long to read CAP. CAP 测量秒数。")] = 10.0,
    folder: Folder = None,
    database: Database = "",
) -> None:
    """What departments send, until it is signals. 部门数据直至成为风险信号。"""
    _measure(lambda where: bench_feeds(where, files or [], seconds, database), folder)


@app.command()
def growth(
    speakers: Annotated[
        str, typer.Option(help="Sizes of the city, with commas between. 各档终端数量，以逗号分隔。", metavar="N,N,…")
    ] = "1000,10000,50000",
    folder: Folder = None,
    database: Database = "",
) -> None:
    """What more speakers cost, and what grows faster than they do. 终端增多时各环节的耗时与增长。"""
    try:
        sizes = [int(size) for size in speakers.split(",")]
    except ValueError as wrong:
        raise typer.BadParameter("numbers with commas between", param_hint="--speakers") from wrong
    if not all(0 < size <= GROWTH_SPEAKERS_MAX for size in sizes):
        raise typer.BadParameter(f"each is 1 to {GROWTH_SPEAKERS_MAX}", param_hint="--speakers")
    _measure(lambda where: bench_growth(where, sizes, database), folder)


def _measure(run: Callable[[Path], dict[str, object]], folder: Path | None) -> None:
    """Run in a folder of its own, which is gone afterwards, and print the figures."""
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    where = Path(tempfile.mkdtemp(prefix="tocsin-bench-", dir=folder)).resolve()
    try:
        # The broker runs under an account of its own below here.
        where.chmod(0o711)
        typer.echo(json.dumps(run(where), ensure_ascii=False))
    except (BenchFailed, ChildWontStart) as failed:
        typer.echo(f"The benchmark ended without figures: {failed}", err=True)
        raise typer.Exit(1) from failed
    finally:
        shutil.rmtree(where, ignore_errors=True)
