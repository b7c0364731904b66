"""Health in words: which part was not seen lately, what still works without it, and the manual way. And the counters.

Health asks for no login and tells nothing but times: a screen on the wall and a load balancer read it.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from ..engine import queries
from ..engine.ports import CitySettings, StoreUnavailable
from ..engine.queries import Health
from ..engine.room import TELL_PERCENT
from .deps import WebDeps
from .schemas import View

WORKER_SILENT_US = 180_000_000

_WORDS = {
    "database": (
        "Nothing new is accepted; speakers keep playing what they hold. Announce by hand-held loudspeaker.",
        "不再接收新的内容；终端继续播放已持有的指令。请用手持喇叭人工播报。",
    ),
    "gateway": (
        "Signals, answers and releases are kept and go out when it is back; speakers keep what they hold. "
        "Until then announce by hand-held loudspeaker and telephone the offices.",
        "信号、答复和审签都已保存，恢复后发出；终端保持已持有的指令。在此之前请用手持喇叭播报并电话通知值守单位。",
    ),
    "effects": (
        "What was decided is kept but waits to be carried out. Check the gateway; telephone the offices.",
        "已作出的决定均已保存，但尚未送出。请检查网关，并电话通知值守单位。",
    ),
    "worker": (
        "Orders go out all the same: speakers say the text themselves or play recorded phrases.",
        "指令照常发出：终端自行朗读文字或播放预录语句。",
    ),
    "room": (
        "Stops, corrections, all-clears and two red alerts still fit on every stream. See which alerts fill the "
        "fullest one (/api/streams) and end those that are over.",
        "停播、更正、解除和两个红色警报仍可播发。请查看占满频道的警报（/api/streams），并结束已经过去的。",
    ),
    "city": (
        "No city has been imported: nothing can be planned.",
        "尚未导入城市资料，无法制定播发计划。",
    ),
}

_log = logging.getLogger(__name__)


class HealthPart(View):
    part: str
    well: bool
    seen_us: int = Field(description="When it was last seen, µs UTC; 0 for never.")
    still_works: str
    still_works_zh: str


class HealthView(View):
    well: bool
    now_us: int
    city: str
    effects_open: int
    parts: list[HealthPart]


def health_router(deps: WebDeps) -> APIRouter:
    """Pages for machines that watch this one."""
    router = APIRouter(tags=["health"])
    watch = _Watch(deps)

    @router.get("/api/health")
    def health(response: Response) -> HealthView:
        """200 while the database answers, 503 when not; `parts` says the rest."""
        view = watch.look()
        if not view.parts[0].well:
            response.status_code = 503
        return view

    @router.get("/metrics", response_class=Response, include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)

    return router


@dataclass(slots=True)
class _Watch:
    deps: WebDeps
    worker_seq: int = 0
    outage: bool = False

    def look(self) -> HealthView:
        try:
            with self.deps.store.read() as read:
                settings = read.get(CitySettings, "city")
                seen = queries.health(read, settings.name if settings else "", self.worker_seq)
        except StoreUnavailable as error:
            if not self.outage:
                _log.warning("the database can't be reached: %s", error)
            self.outage = True
            return _view(Health(self.deps.clock.now_us(), "", 0, 0, 0, False, 0, 0), database=False)
        self.outage = False
        self.worker_seq = seen.worker_seq
        return _view(seen, database=True)


def _view(seen: Health, *, database: bool) -> HealthView:
    now_us = seen.now_us
    parts = [_part("database", database, now_us if database else 0)]
    if database:
        parts += [
            _part("gateway", seen.gateway_until_us > now_us, seen.gateway_until_us),
            _part("effects", seen.effects_late == 0, now_us),
            _part(
                "worker",
                not seen.worker_silent and now_us - seen.worker_seen_us <= WORKER_SILENT_US,
                seen.worker_seen_us,
            ),
            _part("room", seen.fullest_percent < TELL_PERCENT, now_us),
            _part("city", bool(seen.city), now_us if seen.city else 0),
        ]
    well = all(part.well for part in parts)
    return HealthView(well=well, now_us=now_us, city=seen.city, effects_open=seen.effects_open, parts=parts)


def _part(name: str, well: bool, seen_us: int) -> HealthPart:
    english, chinese = ("", "") if well else _WORDS[name]
    return HealthPart(part=name, well=well, seen_us=seen_us, still_works=english, still_works_zh=chinese)
