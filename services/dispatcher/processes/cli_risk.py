"""`tocsin risk`: what other rules would have done with the signals on record. It broadcasts and writes nothing."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from ..adapters.playbooks import BrokenPlaybook, read_playbooks
from ..adapters.rules import BrokenRules, read_rules
from ..domain.rules import Rules
from .commands import opened_store
from .replay import Difference, Replayed, as_json, compare
from .settings import Settings

risk_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Rules of risk, over signals on record. 风险规则回放。"
)

_AGO = re.compile(r"(\d{1,5})([mhd])")
_UNIT_S = {"m": 60, "h": 3_600, "d": 86_400}


@risk_app.callback()
def risk() -> None:
    """Rules of risk, over signals on record. 风险规则回放。"""


@risk_app.command()
def replay(
    since: Annotated[str, typer.Option(help="A time (ISO 8601), or 90m, 24h, 7d. 起点。")],
    rules: Annotated[Path | None, typer.Option(help="The changed rules; else the shadow rules. 拟用规则文件。")] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """What changed rules would have done; nothing is broadcast or written. 按拟用规则重演已收信号，不播发不写库。"""
    settings = Settings()
    changed = rules or settings.rules_shadow
    if changed is None:
        raise typer.BadParameter("Name the changed rules: --rules FILE, or TOCSIN_RULES_SHADOW.")
    try:
        live = read_rules(settings.rules)
        other = read_rules(changed)
        playbooks = read_playbooks(settings.playbooks)
    except (BrokenRules, BrokenPlaybook) as broken:
        for problem in broken.problems:
            typer.echo(f"rules_broken: {problem}", err=True)
        raise typer.Exit(1) from broken
    since_us = _since_us(since, live)
    with opened_store() as store, store.read() as read:
        found = compare(read, since_us, playbooks, live, other)
    if as_json_:
        typer.echo(json.dumps(as_json(found), ensure_ascii=False))
        return
    _tell(found)


def _since_us(text: str, rules: Rules) -> int:
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time_ns() // 1_000 - int(ago[1]) * _UNIT_S[ago[2]] * 1_000_000
    try:
        at = datetime.fromisoformat(text)
    except ValueError as wrong:
        raise typer.BadParameter("neither a time nor 90m, 24h or 7d", param_hint="--since") from wrong
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone(timedelta(minutes=rules.utc_offset_min)))
    return round((at - datetime.fromtimestamp(0, UTC)) / timedelta(microseconds=1))


def _tell(found: Replayed) -> None:
    counts = f"{found.incidents[0]} incidents by {found.rules}, {found.incidents[1]} by {found.other}"
    typer.echo(f"{found.signals} signals: {counts}. Nothing was broadcast or written.")
    if found.more:
        typer.echo("There are more signals than one replay takes; these are the first.")
    if not found.differences:
        typer.echo("Both sets of rules do the same.")
    for difference in found.differences:
        _tell_one(difference)


def _tell_one(difference: Difference) -> None:
    fate = difference.after or difference.before
    assert fate is not None
    typer.echo(f"{difference.signal} ({fate.hazard}, {fate.use}): {'; '.join(difference.changed)}")
    if difference.after is not None:
        typer.echo(f"  {'; '.join(difference.after.reasons)}")
