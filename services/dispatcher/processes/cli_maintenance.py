"""The two commands by which people at the machine begin and end the maintenance of a fire panel or a sensor."""

from __future__ import annotations

from typing import Annotated

import typer

from ..engine.engine import Engine
from ..engine.events import Event, Maintained, MaintenanceChanged
from ..engine.ports import Store
from .commands import my_name, opened_store, when
from .wiring import HostClock, TimeOrderedIds

HOURS_MAX = 24 * 366
REASON_CHARS_MAX = 1_000

Id = Annotated[str, typer.Argument(help="Its id. 编号。")]


def add_maintenance(app: typer.Typer, kind: Maintained) -> None:
    """Add `maintenance` and `end-maintenance` for devices of this kind."""

    @app.command()
    def maintenance(
        id: Id,
        reason: Annotated[str, typer.Option(help="For the log. 事由。")],
        hours: Annotated[float, typer.Option(min=0.01, max=HOURS_MAX, help="When it ends by itself. 时长（小时）。")],
    ) -> None:
        """Under maintenance: its alarms go to people, and nothing sounds by itself. 检修。"""
        said = _reason(reason)
        with opened_store() as store:
            with store.read() as read:
                until_us = read.now_us() + round(hours * 3_600_000_000)
            engine_handles(store, MaintenanceChanged(kind, id, my_name(), said, until_us))
        typer.echo(f"{id} is under maintenance until {when(until_us)}.")

    @app.command("end-maintenance")
    def end_maintenance(id: Id, why: Annotated[str, typer.Option(help="For the log. 事由。")] = "finished") -> None:
        """End its maintenance before its time. 结束检修。"""
        said = _reason(why)
        with opened_store() as store:
            engine_handles(store, MaintenanceChanged(kind, id, my_name(), said, None))
        typer.echo(f"{id} is under no maintenance.")


def engine_handles(store: Store, event: Event) -> None:
    """Let an engine of this process handle it."""
    # Nothing here opens an incident, so no playbook is asked for.
    Engine(store, TimeOrderedIds(HostClock()), ()).handle([event])


def _reason(text: str) -> str:
    """What somebody says for the log, as on the pages."""
    said = text.strip()
    if not 0 < len(said) <= REASON_CHARS_MAX:
        raise typer.BadParameter(f"A reason has 1 to {REASON_CHARS_MAX} characters.")
    return said
