"""The clock: what time is trusted, and an administrator who confirms the time after a jump."""

from __future__ import annotations

from fastapi import APIRouter, Depends
from pydantic import Field

from ..engine import clock
from ..engine.people import Role
from ..engine.rows import ClockState
from .auth import DESK, Caller, Gate
from .deps import WebDeps
from .schemas import RequestBody, View, Why


class ClockView(View):
    well: bool
    trusted_us: int = Field(description="The time that everything goes by, µs UTC.")
    shown_us: int = Field(description="What the clock of the database shows, µs UTC.")
    jump_us: int = Field(description="How far the clock is ahead of the trusted time; negative: behind; 0 while well.")
    since_us: int = Field(description="Trusted time of the jump, µs UTC; 0 while well.")
    moved: str = Field(description="machine, database or behind (before what is stored); empty while well.")
    serial: int = Field(description="Names this state of the clock: what is confirmed is what was looked at.")
    words: str
    words_zh: str


class ConfirmRequest(RequestBody):
    serial: int = Field(ge=0, description="As it was shown.")
    why: Why


def clock_router(deps: WebDeps, gate: Gate) -> APIRouter:
    """Pages about the clock."""
    router = APIRouter(tags=["clock"])
    reader = Depends(gate.needs(*DESK, Role.ADMINISTRATOR))
    administrator = Depends(gate.needs(Role.ADMINISTRATOR))

    @router.get("/api/clock")
    def clock_now(_: Caller = reader) -> ClockView:
        """What time is trusted now, and whether a clock has jumped."""
        return shown()

    @router.post("/api/clock/confirm")
    def confirm_clock(wanted: ConfirmRequest, caller: Caller = administrator) -> ClockView:
        """The time that the clock shows is right: trust it from now on."""
        clock.confirm(deps.store, wanted.serial, caller.person.id, wanted.why)
        return shown()

    def shown() -> ClockView:
        clock.clock_pass(deps.store)
        with deps.store.read() as read:
            return _view(read.moment().state)

    return router


def _view(state: ClockState) -> ClockView:
    off = bool(state.since_us)
    return ClockView(
        well=not off,
        trusted_us=state.trusted_us,
        shown_us=state.raw_us,
        jump_us=state.jump_us,
        since_us=state.since_us,
        moved=state.moved,
        serial=state.serial,
        words=clock.in_words(state) if off else "the clock is in order",
        words_zh=clock.in_chinese(state) if off else "时钟正常",
    )
