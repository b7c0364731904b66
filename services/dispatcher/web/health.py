"""Health in words: which part was not seen lately, what still works without it, and the manual way. And the counters.

Health asks for no login and tells nothing but times and public halves of keys: a screen on the wall and a load balancer
read it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import Field

from devices.protocols.documents import KeyUse

from ..domain.refused_documents import RefusedTopic
from ..domain.signing_keys import KeyProblem, KeyState, UseHealth, words
from ..engine import health as running
from ..engine import queries
from ..engine.air import accounts, broker_copies, refused_documents, signing_keys
from ..engine.air.broker_copies import CopiesHealth
from ..engine.air.room import TELL_PERCENT
from ..engine.clock import in_chinese, in_words, lately, refused_until_us
from ..engine.health import Health, SpeakersOnline
from ..engine.ports import Read, StoreUnavailable
from ..engine.rows import CitySettings, ClockState
from . import health_obeyed
from .deps import WebDeps
from .health_obeyed import Said
from .health_writes import WriteProof
from .schemas import View

SECOND_US = 1_000_000
WORKER_SILENT_US = 180_000_000
STREAMS_SAID_MAX = 3
USES = (KeyUse.ACTUAL, KeyUse.EXERCISE)

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
    "clock": (
        "Releases, stops, corrections, all-clears and new fire alarms go out as ever, by the last trusted time;"
        " releases by a timer wait for a person: decide now. Set the clock right. If it is right already, an "
        "administrator confirms it: tocsin clock confirm.",
        "审签、停播、更正、解除和新的火警仍按最后可信的时间照常发出；定时自动播发改由人工决定，请立即处理。"
        "请校正时钟；若时钟本来正确，由管理员确认：tocsin clock confirm。",
    ),
    "key_actual": (
        "Nothing new that is actual can be counted on to sound; what speakers hold goes on. Mend the key, and announce "
        "by hand-held loudspeaker.",
        "新的实警播发不能保证响起；终端继续播放已持有的指令。请修复密钥，并用手持喇叭人工播报。",
    ),
    "key_exercise": (
        "Drills can't be counted on to sound: hold none.",
        "演练播发不能保证响起，请暂停演练。",
    ),
    "key_config": (
        "Speakers keep the configuration they hold; new and moved speakers wait.",
        "终端保持现有配置，新装和移位的终端须等待。",
    ),
    "key_clock": (
        "Speakers that run keep their clock; one that starts now obeys nothing new until it is answered. Where "
        "speakers were started lately, announce by hand-held loudspeaker.",
        "运行中的终端保持时钟；此时启动的终端在得到应答前不接收新指令。近期重启过终端的场所请用手持喇叭播报。",
    ),
    "speakers": (
        "Nothing would be heard: no speaker in service is online. Check the broker and the network; announce by "
        "hand-held loudspeaker and telephone the offices.",
        "没有在役终端在线，播发无人能听到。请检查消息代理与网络，用手持喇叭播报并电话通知值守单位。",
    ),
    "streams": (
        "Speakers keep what they hold; some may not hear of what is on air, or of its end. Check the broker and the "
        "keys, decide on what is unknown on air (/api/streams), and announce by hand-held loudspeaker.",
        "终端保持已持有的指令；部分终端可能收不到正在播出的内容或其停止。请检查消息代理与密钥，"
        "处理正在播出的未知内容（/api/streams），并用手持喇叭播报。",
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

_NO_ACTUAL_KEY = ("there is no actual key: only drills can be broadcast", "没有实警密钥：只能播发演练")

_COPIES = {
    broker_copies.SAME: ("not compared", "未比对"),
    broker_copies.NOT_SIGNED: ("never signed", "从未签名"),
    broker_copies.NOT_PUBLISHED: ("its newest orders are not at the broker", "最新指令尚未送达消息代理"),
}

_REFUSED = (
    "The time was put back, and manifests are signed ahead of it: speakers keep playing what they hold and take "
    "nothing new before {until}. Until then announce by hand-held loudspeaker.",
    "时间已被调回，此前签发的清单版本超前：终端继续播放已持有的指令，在 {until} 之前不接收新的指令。"
    "在此之前请用手持喇叭人工播报。",
)

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
    async def health(response: Response) -> HealthView:
        """200 while the database can be read and written, 503 when not; `parts` says the rest. Up to a second old."""
        view = await watch.view()
        if not view.parts[0].well:
            response.status_code = 503
        return view

    @router.get("/metrics", response_class=Response, include_in_schema=False)
    def metrics() -> Response:
        return Response(generate_latest(deps.registry), media_type=CONTENT_TYPE_LATEST)

    return router


@dataclass(frozen=True, slots=True)
class _Measured:
    """How full the fullest stream is, how many speakers are online, and what they refuse."""

    percent: int
    speakers: SpeakersOnline
    refused: tuple[RefusedTopic, ...]


@dataclass(slots=True)
class _Watch:
    """The newest look at health, which serves everybody who asks soon after. One look at a time, however many ask."""

    deps: WebDeps
    worker_seq: int = 0
    outage: bool = False
    looking: asyncio.Lock = field(default_factory=asyncio.Lock)
    newest: HealthView | None = None
    looked_us: int = 0
    measured: _Measured | None = None
    measured_us: int = 0
    writes: WriteProof = field(init=False)

    def __post_init__(self) -> None:
        self.writes = WriteProof(self.deps.store, self.deps.clock)

    async def view(self) -> HealthView:
        async with self.looking:
            now_us = self.deps.clock.mono_us()
            if self.newest is None or now_us - self.looked_us >= self.deps.settings.health_kept_s * SECOND_US:
                # Kept only when it is whole, and as old as its beginning.
                self.newest, self.looked_us = await run_in_threadpool(self.look), now_us
            return self.newest

    def look(self) -> HealthView:
        try:
            with self.deps.store.read() as read:
                settings = read.get(CitySettings, "city")
                seen = running.health(read, settings.name if settings else "", self.worker_seq)
                keys, copies = signing_keys.health(read), broker_copies.health(read)
                taken, measured, waited_us = accounts.health(read), self.measure(read), read.longest_wait_us()
        except StoreUnavailable as error:
            if not self.outage:
                _log.warning("the database can't be reached: %s", error)
            self.outage = True
            clock = ClockState("clock", self.deps.clock.now_us())
            return _all([_part("database", False, 0)], Health(clock, "", 0, 0, 0, False, 0, 0), [])
        self.outage = False
        self.worker_seq = seen.worker_seq
        uses = [*map(_use_part, keys.uses)]
        if all(use.use != "actual" for use in keys.uses):
            uses.append(_no_actual_key(seen.now_us))
        unwritable = self.writes.fault(committed=seen.gateway_until_us > seen.now_us, waited_us=waited_us)
        parts = [
            _database_part(unwritable, seen.now_us),
            *_parts(seen, measured.percent),
            *uses,
            _streams_part(copies),
            _speakers_part(measured.speakers, seen.now_us),
            *(_said_part(f"refused_{use}", health_obeyed.refused(measured.refused, use), seen.now_us) for use in USES),
            _said_part("accounts", health_obeyed.accounts(taken), taken.last_us or seen.now_us),
        ]
        return _all(parts, seen, [_key_view(key) for key in keys.keys])

    def measure(self, read: Read) -> _Measured:
        """Looked at less often than the rest: every order on air is encoded for it, and every speaker's row is read."""
        now_us = self.deps.clock.mono_us()
        if self.measured is None or now_us - self.measured_us >= self.deps.settings.room_kept_s * SECOND_US:
            city = self.deps.engine.city_of(read)
            online, refused = running.speakers_online(read, city), refused_documents.refused_now(read, city)
            self.measured, self.measured_us = _Measured(queries.fullest_percent(read), online, refused), now_us
        return self.measured


def _all(parts: list[HealthPart], seen: Health, keys: list[KeyView]) -> HealthView:
    well = all(part.well for part in parts)
    return HealthView(
        well=well, now_us=seen.now_us, city=seen.city, effects_open=seen.effects_open, parts=parts, keys=keys
    )


def _parts(seen: Health, percent: int) -> list[HealthPart]:
    now_us = seen.now_us
    worker = not seen.worker_silent and lately(seen.worker_seen_us, now_us, WORKER_SILENT_US)
    return [
        _part("gateway", seen.gateway_until_us > now_us, seen.gateway_until_us),
        _part("effects", seen.effects_late == 0, now_us),
        _part("worker", worker, seen.worker_seen_us),
        _clock_part(seen.clock),
        _part("room", percent < TELL_PERCENT, now_us),
        _part("city", bool(seen.city), now_us if seen.city else 0),
    ]


def _database_part(unwritable: str, now_us: int) -> HealthPart:
    """It has answered; whether it can be written, too."""
    part = _part("database", not unwritable, now_us)
    what_zh = f"数据库可读但无法写入：{unwritable}" if unwritable else ""
    return part.model_copy(update={"what": unwritable, "what_zh": what_zh})


def _said_part(name: str, said: Said, seen_us: int) -> HealthPart:
    """A part with words of its own."""
    return HealthPart(
        part=name, well=said.well, seen_us=seen_us, still_works="" if said.well else said.do,
        still_works_zh="" if said.well else said.do_zh, warned=said.warned, what=said.what, what_zh=said.what_zh,
    )  # fmt: skip


def _use_part(use: UseHealth) -> HealthPart:
    """Whether what one use of keys signs would be obeyed; an expiry that comes near is a warning."""
    part = _part(f"key_{use.use}", use.well, use.home_us)
    english, chinese = _said(use.problems or use.expires)
    warned = bool(use.well and use.expires)
    return part.model_copy(update={"warned": warned, "what": english, "what_zh": chinese})


def _no_actual_key(now_us: int) -> HealthPart:
    english, chinese = _NO_ACTUAL_KEY
    part = _part("key_actual", True, now_us)
    return part.model_copy(update={"warned": True, "what": english, "what_zh": chinese})


def _speakers_part(speakers: SpeakersOnline, now_us: int) -> HealthPart:
    """How many would hear: none is red, and some that are missing are a warning."""
    part = _part("speakers", speakers.online > 0 or not speakers.in_service, now_us)
    english = f"{speakers.online} of {speakers.in_service} speakers in service are online"
    chinese = f"在役终端{speakers.in_service}个，在线{speakers.online}个"
    if speakers.cloned:
        named = ", ".join(speakers.cloned)
        english += f"; two devices claim one id, so enrol it anew: {named}"
        chinese += f"；两台设备使用同一编号，请重新注册：{named}"
    warned = part.well and (speakers.online < speakers.in_service or bool(speakers.cloned))
    return part.model_copy(update={"warned": warned, "what": english, "what_zh": chinese})


def _streams_part(copies: CopiesHealth) -> HealthPart:
    """Whether the broker holds what is on air, and nothing else; the stream that has gone unconfirmed for longest is
    named, and those on which a person has to decide what is on air."""
    part = _part("streams", copies.well, copies.oldest_us or copies.now_us)
    if copies.well:
        return part
    english, chinese = [], []
    if copies.unknown:
        topics = copies.unknown[:STREAMS_SAID_MAX]
        more, more_zh = ("", "") if len(copies.unknown) == len(topics) else (" and others", "等")
        english.append(
            f"something is on air that this database does not know, on {', '.join(topics)}{more}: adopt or withdraw it"
        )
        chinese.append(f"{'、'.join(topics)}{more_zh}正在播出本系统未知的内容：请接管或撤下")
    if copies.unheld:
        age_s = (copies.now_us - copies.oldest_us) // 1_000_000
        found, found_zh = _COPIES.get(copies.found, (copies.found, copies.found))
        english.append(f"{copies.oldest} has not been confirmed for {age_s} s: {found}")
        chinese.append(f"{copies.oldest}已有{age_s}秒未确认：{found_zh}")
    return part.model_copy(update={"what": "; ".join(english), "what_zh": "；".join(chinese)})


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


def _clock_part(clock: ClockState) -> HealthPart:
    """Which clock moved, how far and since when, before what still works."""
    until_us = refused_until_us(clock)
    if not clock.since_us and not until_us:
        return _part("clock", True, clock.trusted_us)
    if not clock.since_us:
        until = f"{datetime.fromtimestamp(until_us // 1_000_000, UTC):%Y-%m-%d %H:%M:%S} UTC"
        english, chinese = (words.format(until=until) for words in _REFUSED)
        return HealthPart(part="clock", well=False, seen_us=0, still_works=english, still_works_zh=chinese)
    since = datetime.fromtimestamp(clock.since_us // 1_000_000, UTC)
    red = _part("clock", False, clock.since_us)
    english = f"{in_words(clock).capitalize()}, since {since:%Y-%m-%d %H:%M:%S} UTC. {red.still_works}"
    chinese = f"{in_chinese(clock)}，始于 {since:%Y-%m-%d %H:%M:%S} UTC。{red.still_works_zh}"
    return red.model_copy(update={"still_works": english, "still_works_zh": chinese})
