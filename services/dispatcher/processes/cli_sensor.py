"""The `tocsin sensor` commands: MQTT sensors as they are known, and their maintenance. `tocsin enrol` enrols them."""

from __future__ import annotations

from typing import Annotated

import typer

from ..domain.signals import Sensor
from ..engine import queries
from .cli_maintenance import add_maintenance
from .commands import opened_store, show, when_or_none

LISTED_MAX = 50_000

sensor_app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="MQTT sensors: last words and maintenance. 传感器。"
)


@sensor_app.command("list")
def listed(
    venue: Annotated[str, typer.Option(help="Of this venue alone. 仅此场所。")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Enrolled sensors, when each was last heard, and which are under maintenance. 列出已登记传感器。"""
    with opened_store() as store, store.read() as read:
        rows = queries.sensors_page(read, "", LISTED_MAX, venue=venue).rows
    for now in rows:
        s = now.sensor
        show(
            {
                "id": s.id,
                "gateway": s.gateway,
                "device": s.device,
                "kind": s.kind,
                "venue": s.venue,
                "use": s.use,
                "enabled": s.enabled,
                "heard": when_or_none(now.heard_us),
                "state": now.heard.state if now.heard else "",
                "maintenance_until": when_or_none(s.maintenance_until_us),
                "maintenance_author": s.maintenance_author,
                "maintenance_reason": s.maintenance_reason,
            },
            as_json=as_json,
        )


add_maintenance(sensor_app, Sensor)
