"""Bodies about fire panels. Times are integer µs UTC."""

from __future__ import annotations

from pydantic import Field

from ..domain.panels import MINUTES_MAX, RequestKind, RequestState
from ..domain.signals import Use
from ..engine.queries import PanelNow
from .schemas import Names, RequestBody, View, Why


class DutyCheckRequest(RequestBody):
    minutes: int = Field(default=5, ge=1, le=MINUTES_MAX, description="How long people have to answer.")
    why: Why = "duty check"


class SetClockRequest(RequestBody):
    why: Why = "by hand"


class PanelRequestView(View):
    id: str
    kind: RequestKind
    panel: str
    person: str = Field(description="Who asked; empty when it came by itself.")
    why: str
    asked_us: int
    state: RequestState
    minutes: int
    sent_us: int
    confirmed_us: int
    ended_us: int
    operator: int | None


class PanelView(View):
    id: str
    name: str
    address: str
    use: Use
    venue: str
    enabled: bool
    test_bit_meaningless: bool
    maintenance_author: str
    maintenance_until_us: int | None
    maintenance_reason: str
    heard_us: int | None = Field(description="When its last good frame came; null for never.")
    gateway: str
    peer: str
    clock_off_s: int | None = Field(description="How far ahead its clock was then; null where it says no date.")

    @classmethod
    def of(cls, now: PanelNow) -> PanelView:
        p, live = now.panel, now.live
        return cls(
            id=p.id,
            name=p.name,
            address=p.address,
            use=p.use,
            venue=p.venue,
            enabled=p.enabled,
            test_bit_meaningless=p.test_bit_meaningless,
            maintenance_author=p.maintenance_author,
            maintenance_until_us=p.maintenance_until_us,
            maintenance_reason=p.maintenance_reason,
            heard_us=live.heard_us if live else None,
            gateway=live.gateway if live else "",
            peer=live.peer if live else "",
            clock_off_s=live.clock_off_s if live else None,
        )


class PanelPage(View):
    panels: list[PanelView]
    next: str | None
    names: Names


class PanelStory(View):
    panel: PanelView
    requests: list[PanelRequestView] = Field(description="The newest first.")
    names: Names


class StrangerView(View):
    id: str = Field(description="The source address, 12 hex digits in wire order; a zero address with its host.")
    peer: str
    first_us: int
    last_us: int
    frames: int


class StrangerList(View):
    strangers: list[StrangerView]
