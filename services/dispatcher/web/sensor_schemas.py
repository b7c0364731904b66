"""Bodies about MQTT sensors. Times are integer µs UTC."""

from __future__ import annotations

from pydantic import Field

from ..domain.signals import Use
from ..engine.queries import SensorNow
from .schemas import Names, View


class SensorView(View):
    id: str
    name: str
    gateway: str = Field(description="The gateway device that it hangs on.")
    device: str
    kind: str
    hazard: str = Field(description="What its alarm means; empty for what its kind means by itself.")
    use: Use
    venue: str
    enabled: bool
    test_bit_meaningless: bool
    maintenance_author: str
    maintenance_until_us: int | None
    maintenance_reason: str
    heard_us: int | None = Field(description="When it was last heard, to fifteen seconds; null for never.")
    state: str = Field(description="What it last said of itself; empty where nothing is known.")

    @classmethod
    def of(cls, now: SensorNow) -> SensorView:
        s, heard = now.sensor, now.heard
        return cls(
            id=s.id,
            name=s.name,
            gateway=s.gateway,
            device=s.device,
            kind=s.kind,
            hazard=s.hazard,
            use=s.use,
            venue=s.venue,
            enabled=s.enabled,
            test_bit_meaningless=s.test_bit_meaningless,
            maintenance_author=s.maintenance_author,
            maintenance_until_us=s.maintenance_until_us,
            maintenance_reason=s.maintenance_reason,
            heard_us=now.heard_us,
            state=heard.state if heard else "",
        )


class SensorPage(View):
    sensors: list[SensorView]
    next: str | None
    names: Names


class SensorStory(View):
    sensor: SensorView
    names: Names
