"""MQTT sensors: what is enrolled, when each was last heard, and its maintenance."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Query

from ..domain.signals import Sensor
from ..engine import queries
from ..engine.people import Role
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .maintenance import MaintenanceRequest, begin_maintenance, finish_maintenance
from .schemas import WhyRequest
from .sensor_schemas import SensorPage, SensorStory, SensorView

SENSORS_PAGE_MAX = 2_000


def sensors_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about MQTT sensors, for the desk and for administrators."""
    router = APIRouter(tags=["sensors"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))

    @router.get("/api/sensors")
    def sensors(
        _: Caller = reader,
        after: str = Query(default="", max_length=64),
        size: int = Query(default=500, ge=1, le=SENSORS_PAGE_MAX),
        venue: str = Query(default="", max_length=64),
    ) -> SensorPage:
        """Enrolled sensors by id, with when each was last heard and its maintenance."""
        with deps.store.read() as read:
            found = queries.sensors_page(read, after, size, venue=venue)
            names = queries.names_of(read, {now.sensor.maintenance_author for now in found.rows})
        rows = [SensorView.of(now) for now in found.rows]
        return SensorPage(sensors=rows, next=rows[-1].id if found.more else None, names=names)

    @router.get("/api/sensors/{id}")
    def sensor(id: str, _: Caller = reader) -> SensorStory:
        """One sensor."""
        with deps.store.read() as read:
            found = queries.sensor_now(read, id)
            names = queries.names_of(read, {found.sensor.maintenance_author})
        return SensorStory(sensor=SensorView.of(found), names=names)

    @router.post("/api/sensors/{id}/maintenance")
    def sensor_maintenance(id: str, wanted: MaintenanceRequest, caller: Caller = reader) -> SensorView:
        """Under maintenance until then: its alarms still open incidents for people, and nothing sounds by itself."""
        begin_maintenance(deps, Sensor, id, caller.person.id, wanted)
        return now(id)

    @router.post("/api/sensors/{id}/end-maintenance")
    def end_sensor_maintenance(id: str, wanted: WhyRequest, caller: Caller = reader) -> SensorView:
        """End its maintenance before its time."""
        finish_maintenance(deps, Sensor, id, caller.person.id, wanted)
        return now(id)

    def now(id: str) -> SensorView:
        with deps.store.read() as read:
            return SensorView.of(queries.sensor_now(read, id))

    return router
