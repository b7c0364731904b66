"""The `tocsin panel` commands: fire panels as they are known, duty checks, clocks, maintenance and strangers."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..domain.panels import MINUTES_MAX, RequestKind
from ..domain.signals import Panel
from ..engine import queries
from ..engine.events import Event, PanelAsked
from ..engine.ports import Page
from ..engine.rows import Stranger
from .cli_maintenance import add_maintenance, engine_handles
from .commands import my_name, opened_store, show, when, when_or_none

LISTED_MAX = 50_000

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
        show(
            {
                "id": p.id,
                "address": p.address,
                "venue": p.venue,
                "use": p.use,
                "enabled": p.enabled,
                "heard": when(now.live.heard_us) if now.live else None,
                "clock_off_s": now.live.clock_off_s if now.live else None,
                "maintenance_until": when_or_none(p.maintenance_until_us),
            },
            as_json=as_json,
        )


@panel_app.command()
def strangers(as_json: JsonOption = False) -> None:
    """Addresses heard that are not enrolled, the newest first. 未登记的主机地址。"""
    with opened_store() as store, store.read() as read:
        rows = read.find(Stranger, Page(limit=LISTED_MAX, order="-last_us"))
    for row in rows:
        heard = {"first": when(row.first_us), "last": when(row.last_us)}
        show({"address": row.id, "peer": row.peer, "frames": row.frames} | heard, as_json=as_json)


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
            show(asdict(request), as_json=True)
            continue
        who = request.person or "by itself"
        typer.echo(f"{when(request.asked_us)}  {request.kind}  {request.state}  {who}  {request.why}")


add_maintenance(panel_app, Panel)


def _handle(event: Event) -> None:
    with opened_store() as store:
        engine_handles(store, event)
