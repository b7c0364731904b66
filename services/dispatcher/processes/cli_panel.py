"""The `tocsin panel` commands: fire panels as they are known, duty checks, clocks, maintenance and strangers."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from ..domain.panels import MINUTES_MAX, RequestKind
from ..engine import queries
from ..engine.engine import Engine
from ..engine.events import Event, MaintenanceChanged, PanelAsked
from ..engine.ports import Page, Store, Stranger
from .commands import in_line, my_name, opened_store
from .wiring import TimeOrderedIds

LISTED_MAX = 50_000
HOURS_MAX = 24 * 366

panel_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Fire panels: duty checks, clocks, maintenance. 消防主机。"
)

Id = Annotated[str, typer.Argument(help="The panel's id. 主机编号。")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON lines.")]


@panel_app.command("list")
def listed(as_json: JsonOption = False) -> None:
    """Enrolled panels, when each was last heard, and which are under maintenance. 列出已登记主机。"""
    with opened_store() as store, store.read() as read:
        rows = queries.panels_page(read, "", LISTED_MAX).rows
    for now in rows:
        p = now.panel
        _show(
            {
                "id": p.id,
                "address": p.address,
                "venue": p.venue,
                "use": p.use,
                "enabled": p.enabled,
                "heard": _when(now.live.heard_us) if now.live else None,
                "clock_off_s": now.live.clock_off_s if now.live else None,
                "maintenance_until": _when(p.maintenance_until_us) if p.maintenance_until_us is not None else None,
            },
            as_json=as_json,
        )


@panel_app.command()
def strangers(as_json: JsonOption = False) -> None:
    """Addresses heard that are not enrolled, the newest first. 未登记的主机地址。"""
    with opened_store() as store, store.read() as read:
        rows = read.find(Stranger, Page(limit=LISTED_MAX, order="-last_us"))
    for row in rows:
        heard = {"first": _when(row.first_us), "last": _when(row.last_us)}
        _show({"address": row.id, "peer": row.peer, "frames": row.frames} | heard, as_json=as_json)


@panel_app.command("duty-check")
def duty_check(
    id: Id,
    minutes: Annotated[int, typer.Option(min=1, max=MINUTES_MAX, help="Time to answer. 应答时限（分钟）。")] = 5,
    why: Annotated[str, typer.Option(help="For the log. 事由。")] = "duty check",
) -> None:
    """Ask whether somebody is on duty; `requests` shows the answer. 查岗。"""
    _handle(PanelAsked(RequestKind.DUTY_CHECK, id, my_name(), why, minutes))
    typer.echo(f"A gateway asks {id}; its people have {minutes} min. `tocsin panel requests {id}` shows what comes.")


@panel_app.command("set-clock")
def set_clock(id: Id, why: Annotated[str, typer.Option(help="For the log. 事由。")] = "by hand") -> None:
    """Set its clock to the time of sending. 校时。"""
    _handle(PanelAsked(RequestKind.SET_CLOCK, id, my_name(), why))
    typer.echo(f"A gateway sets the clock of {id}. `tocsin panel requests {id}` shows what comes.")


@panel_app.command()
def requests(id: Id, as_json: JsonOption = False) -> None:
    """What was asked of it lately, by whom, and what came of it. 近期请求及结果。"""
    with opened_store() as store, store.read() as read:
        found = queries.panel_now(read, id).requests
    for request in found:
        if as_json:
            _show(asdict(request), as_json=True)
            continue
        who = request.person or "by itself"
        typer.echo(f"{_when(request.asked_us)}  {request.kind}  {request.state}  {who}  {request.why}")


@panel_app.command()
def maintenance(
    id: Id,
    reason: Annotated[str, typer.Option(help="For the log. 事由。")],
    hours: Annotated[float, typer.Option(min=0.01, max=HOURS_MAX, help="When it ends by itself. 时长（小时）。")],
) -> None:
    """Under maintenance: its fires go to people, and nothing sounds by itself. 检修。"""
    with opened_store() as store:
        with store.read() as read:
            until_us = read.now_us() + round(hours * 3_600_000_000)
        _engine_handles(store, MaintenanceChanged(id, my_name(), reason, until_us))
    typer.echo(f"{id} is under maintenance until {_when(until_us)}.")


@panel_app.command("end-maintenance")
def end_maintenance(id: Id, why: Annotated[str, typer.Option(help="For the log. 事由。")] = "finished") -> None:
    """End its maintenance before its time. 结束检修。"""
    _handle(MaintenanceChanged(id, my_name(), why, None))
    typer.echo(f"{id} is under no maintenance.")


def _handle(event: Event) -> None:
    with opened_store() as store:
        _engine_handles(store, event)


def _engine_handles(store: Store, event: Event) -> None:
    # Nothing here opens an incident, so no playbook is asked for.
    Engine(store, TimeOrderedIds(), ()).handle([event])


def _show(row: dict[str, object], *, as_json: bool) -> None:
    typer.echo(json.dumps(row, ensure_ascii=False) if as_json else in_line(row))


def _when(at_us: int) -> str:
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).isoformat()
