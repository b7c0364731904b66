"""`tocsin simulate`: many seeds of the simulated city, and for one that breaks a law the shortest account of why."""

from __future__ import annotations

import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from multiprocessing import get_context
from typing import Annotated

import typer

from devices.speaker.machine import decide
from simulators.checks import Violation
from simulators.dispatcher import Parts
from simulators.endpoint import Decide
from simulators.faults import Fault
from simulators.world import Outcome, Run, World

SEEDS_MAX = 1_000_000
ACCOUNT_LINES_MAX = 60
ROUGH_S_MIN = 300
_BACKGROUND = ("database: ", "clock: jumps", "broker: falls", "gw-0: dies", "gw-1: dies", "world: ", "VIOLATION")
_ID = re.compile(r"[0-9a-f]{32}")

app = typer.Typer(
    add_completion=False,
    help="Play a whole city on a clock of its own, with faults, and hold the laws after every step. "
    "在独立时钟上推演整座城市：注入故障，逐步检验各项铁律。",
)


def play(run: Run, parts: Parts | None = None, machine: Decide = decide) -> Outcome:
    """One run, with the real parts unless others are given."""
    return World(run, parts, machine).run()


def shrink(outcome: Outcome, again: Callable[[Run], Outcome] = play) -> Outcome:
    """A run with fewer kinds of fault, and no longer than needed, that breaks the same law."""
    law = outcome.violations[0].law
    best = outcome
    for kind in outcome.run.faults:
        fewer = replace(best.run, faults=tuple(f for f in best.run.faults if f is not kind))
        best = _better(best, again(fewer), law)
    while best.run.rough_s // 2 >= ROUGH_S_MIN:
        shorter = again(replace(best.run, rough_s=best.run.rough_s // 2))
        if not _breaks(shorter, law):
            break
        best = shorter
    return best


def _better(best: Outcome, other: Outcome, law: int) -> Outcome:
    return other if _breaks(other, law) else best


def _breaks(outcome: Outcome, law: int) -> bool:
    return any(v.law == law for v in outcome.violations)


def account(outcome: Outcome) -> list[str]:
    """What happened around the first violation: the lines about its subject, and the great events beside them."""
    first = outcome.violations[0]
    names = {first.subject, *_ID.findall(first.sentence)}
    told = [line for line in outcome.lines if any(n in line for n in names) or any(b in line for b in _BACKGROUND)]
    left_out = len(told) - ACCOUNT_LINES_MAX
    if left_out > 0:
        told = [f"… {left_out} earlier lines left out", *told[-ACCOUNT_LINES_MAX:]]
    return told


def play_many(runs: list[Run], processes: int) -> Iterator[Outcome]:
    """The runs in their order, several at a time."""
    if processes < 2 or len(runs) < 2:
        yield from map(play, runs)
        return
    with get_context("spawn").Pool(min(processes, len(runs))) as pool:
        yield from pool.imap(play, runs)


def _said(violation: Violation) -> dict[str, object]:
    return asdict(violation)


def _report(outcome: Outcome) -> None:
    """Shrink a violating run and tell it."""
    smallest = shrink(outcome)
    first = smallest.violations[0]
    kinds = ", ".join(smallest.run.faults) or "no faults"
    typer.echo(f"\nseed {outcome.run.seed} breaks law {first.law}: {first.sentence}.")
    typer.echo(f"It needs {smallest.run.rough_s} s and {kinds}.")
    for line in account(smallest):
        typer.echo(line)


@app.callback(invoke_without_command=True)
def main(
    seeds: Annotated[int, typer.Option(min=1, max=SEEDS_MAX, help="How many seeds to play. 推演的种子数。")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="The first seed. 起始种子。")] = 0,
    minutes: Annotated[int, typer.Option(min=5, max=1_440, help="Minutes with faults. 故障持续分钟数。")] = 90,
    calm: Annotated[int, typer.Option(min=20, max=1_440, help="Minutes of calm after them. 其后平稳分钟数。")] = 30,
    json_: Annotated[bool, typer.Option("--json", help="One JSON object per seed. 每个种子输出一行 JSON。")] = False,
    log: Annotated[bool, typer.Option(help="The whole account of every seed. 输出每个种子的完整记录。")] = False,
) -> None:
    """Play seeds and hold the laws. Ends with 1 when a law was broken. 推演并检验铁律；有违反时以 1 结束。"""
    began_s = time.monotonic()
    counts: Counter[str] = Counter()
    broken = 0
    runs = [Run(number, tuple(Fault), minutes * 60, calm * 60) for number in range(seed, seed + seeds)]
    for outcome in play_many(runs, os.cpu_count() or 1):
        counts += outcome.counts
        broken += bool(outcome.violations)
        if log:
            typer.echo("\n".join(outcome.lines))
        if json_:
            said = {
                "seed": outcome.run.seed,
                "digest": outcome.digest,
                "violations": [_said(v) for v in outcome.violations],
                "counts": dict(sorted(outcome.counts.items())),
            }
            typer.echo(json.dumps(said, ensure_ascii=False))
        elif outcome.violations:
            _report(outcome)
    if not json_:
        took_s, hours = time.monotonic() - began_s, seeds * (minutes + calm) / 60
        typer.echo(
            f"Seeds played: {seeds}; that broke a law: {broken}; {hours:.1f} hours of the city in {took_s:.0f} s: "
            f"{counts['log.broadcast.on_air']} orders on air, {counts['sound.end']} repeats heard to their end, "
            f"{sum(n for name, n in counts.items() if name.startswith('fault.'))} faults."
        )
    raise typer.Exit(1 if broken else 0)


if __name__ == "__main__":
    app()
