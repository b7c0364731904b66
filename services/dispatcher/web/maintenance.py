"""Maintenance of fire panels and sensors, as people begin and end it on their pages."""

from __future__ import annotations

from pydantic import Field

from ..engine.events import Maintained, MaintenanceChanged
from .deps import WebDeps
from .problems import EndRefused
from .schemas import RequestBody, Why, WhyRequest

MAINTENANCE_US_MAX = 366 * 86_400_000_000


class MaintenanceRequest(RequestBody):
    reason: Why
    until: int = Field(description="When it ends by itself, µs UTC.")


def begin_maintenance(deps: WebDeps, kind: Maintained, id: str, person: str, wanted: MaintenanceRequest) -> None:
    """Under maintenance until then. Raises EndRefused and NotFound."""
    with deps.store.read() as read:
        now_us = read.now_us()
    if not now_us < wanted.until <= now_us + MAINTENANCE_US_MAX:
        raise EndRefused
    deps.engine.handle([MaintenanceChanged(kind, id, person, wanted.reason, wanted.until)])


def finish_maintenance(deps: WebDeps, kind: Maintained, id: str, person: str, wanted: WhyRequest) -> None:
    """Under maintenance no longer. Raises NotFound."""
    deps.engine.handle([MaintenanceChanged(kind, id, person, wanted.why, None)])
