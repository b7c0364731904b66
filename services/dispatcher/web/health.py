"""Health in words: which part was not seen lately, what still works without it, and the manual way. And the counters.

Health asks for no login and tells nothing but times and public halves of keys: a screen on the wall and a load balancer
read it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from ..domain.signing_keys import KeyProblem, KeyState, UseHealth, words
from ..engine import broker_copies, queries, signing_keys
from ..engine.broker_copies import CopiesHealth
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
    "key_actual": (
        "Nothing new that is actual can be counted on to sound; what speakers hold goes on. Mend the key, and announce "
        "by hand-held loudspeaker.",
        "新的实警播发不能保证响起；终端继续播放已持有的指令。请修复密钥，并用手持喇叭人工播报。",
    ),
    "key_exercise": (
        "Drills can't be counted on to sound: hold none. Actual broadcasts don't depend on it.",
        "演练播发不能保证响起，请暂停演练；实警播发不受影响。",
    ),
    "key_config": (
        "Speakers keep the configuration they hold; new and moved speakers wait. Broadcasts don't depend on it.",
        "终端保持现有配置，新装和移位的终端须等待；播发不受影响。",
    ),
    "key_clock": (
        "Speakers that run keep their clock; one that starts now obeys nothing new until it is answered. Where "
        "speakers were started lately, announce by hand-held loudspeaker.",
        "运行中的终端保持时钟；此时启动的终端在得到应答前不接收新指令。近期重启过终端的场所请用手持喇叭播报。",
    ),
    "streams": (
        "Speakers that are connected keep what they hold; one that connects now may not hear of what is on air, or of "
        "its end. Check the broker, and announce by hand-held loudspeaker.",
        "在线终端保持已持有的指令；此时上线的终端可能收不到正在播出的内容或其停止。请检查消息代理，并用手持喇叭播报。",
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
    warned: bool = Field(default=False, description="It is well, and somebody should see to it before it is not.")
    what: str = Field(default="", description="What is wrong, or warned of.")
    what_zh: str = ""


class KeyAtGatewayView(View):
    gateway: str
    usable: bool = Field(description="Its private half was tried there and signs.")
    home_us: int = Field(description="When its canary last came home there.")
    took_us: int = Field(description="How long that canary took, by the monotonic clock of its sender.")


class KeyView(View):
    """A signing key as the gateways that run know it; times µs UTC, 0 for never."""

    kid: str
    use: str
    issuer: str
    area: str
    levels: list[int]
    not_after_us: int
    gateways: list[KeyAtGatewayView]


class HealthView(View):
    well: bool
    now_us: int
    city: str
    effects_open: int
    parts: list[HealthPart]
    keys: list[KeyView] = []


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
                keys, copies = signing_keys.health(read), broker_copies.health(read)
        except StoreUnavailable as error:
            if not self.outage:
                _log.warning("the database can't be reached: %s", error)
            self.outage = True
            return _view(Health(self.deps.clock.now_us(), "", 0, 0, 0, False, 0, 0), database=False)
        self.outage = False
        self.worker_seq = seen.worker_seq
        view = _view(seen, database=True)
        return _with(view, [*map(_use_part, keys.uses), _streams_part(copies)], [_key_view(key) for key in keys.keys])


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


def _with(view: HealthView, parts: list[HealthPart], keys: list[KeyView]) -> HealthView:
    well = view.well and all(part.well for part in parts)
    return view.model_copy(update={"well": well, "parts": [*view.parts, *parts], "keys": keys})


def _use_part(use: UseHealth) -> HealthPart:
    """Whether what one use of keys signs would be obeyed; an expiry that comes near is a warning."""
    part = _part(f"key_{use.use}", use.well, use.home_us)
    english, chinese = _said(use.problems or use.expires)
    warned = bool(use.well and use.expires)
    return part.model_copy(update={"warned": warned, "what": english, "what_zh": chinese})


def _streams_part(copies: CopiesHealth) -> HealthPart:
    """Whether the broker holds what is on air; the stream that has gone unconfirmed for longest is named."""
    part = _part("streams", copies.well, copies.oldest_us or copies.now_us)
    if copies.well:
        return part
    age_s = (copies.now_us - copies.oldest_us) // 1_000_000
    what = f"{copies.oldest} has not been confirmed for {age_s} s: {copies.found or 'not compared'}"
    what_zh = f"{copies.oldest}已有{age_s}秒未确认：{copies.found or '未比对'}"
    return part.model_copy(update={"what": what, "what_zh": what_zh})


def _said(problems: Sequence[KeyProblem]) -> tuple[str, str]:
    said = [words(problem) for problem in problems]
    return "; ".join(english for english, _ in said), "；".join(chinese for _, chinese in said)


def _key_view(key: KeyState) -> KeyView:
    at = [
        KeyAtGatewayView(gateway=name, usable=not view.fault, home_us=view.home_us, took_us=view.took_us)
        for name, view in sorted(key.gateways.items())
    ]
    return KeyView(
        kid=key.id, use=key.use, issuer=key.issuer, area=key.area, levels=list(key.levels),
        not_after_us=key.not_after_us, gateways=at,
    )  # fmt: skip


def _part(name: str, well: bool, seen_us: int) -> HealthPart:
    english, chinese = ("", "") if well else _WORDS[name]
    return HealthPart(part=name, well=well, seen_us=seen_us, still_works=english, still_works_zh=chinese)
