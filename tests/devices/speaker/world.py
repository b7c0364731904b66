"""A speaker's world in virtual time: signed documents, a disk, a loudspeaker and a link, driven by the effects."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from devices.protocols.documents import (
    Audio,
    HelloAnswer,
    KeyDocument,
    KeyUse,
    LinkKey,
    Manifest,
    Order,
    OrderClass,
    OrderState,
    Phase,
    Receipt,
    SpeakerConfig,
    Step,
)
from devices.protocols.jws import SigningKey
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    config_topic,
    decode_hello,
    decode_receipt,
    hello_answer_topic,
    manifest_topic,
    sign,
)
from devices.speaker import events as e
from devices.speaker.machine import blank, decide

SPEAKER = "sp-1"
CITY, DISTRICT, STREET, ZONE = "210200000000", "210211000000", "210211001000", "zone-port"
T0 = 1_800_000_000_000_000
S = 1_000_000
HOUR = 3_600 * S

_LEVELS = (1, 2, 3, 4)


def key(kid: str) -> SigningKey:
    return SigningKey.from_seed(kid, kid.encode().ljust(32, b"-")[:32])


ROOT, NEXT_ROOT = key("root-1"), key("root-2")
ACTUAL, EXERCISE, DISTRICT_ACTUAL = key("city-actual"), key("city-exercise"), key("district-actual")
CONFIG, CLOCK = key("config"), key("clock")


def link_key(signer: SigningKey, use: KeyUse, issuer: str = "city", area: str = CITY, levels: Any = _LEVELS) -> LinkKey:
    return signer.public_link_key(use, issuer, area, levels, T0 + 1_000 * HOUR)


ROOT_KEY = link_key(ROOT, KeyUse.ROOT)
KEYS = KeyDocument(
    version=1,
    issued=T0,
    keys=(
        link_key(ACTUAL, KeyUse.ACTUAL),
        link_key(EXERCISE, KeyUse.EXERCISE),
        link_key(DISTRICT_ACTUAL, KeyUse.ACTUAL, "district", DISTRICT),
        link_key(CONFIG, KeyUse.CONFIG),
        link_key(CLOCK, KeyUse.CLOCK),
    ),
)
SETUP = SpeakerConfig(
    speaker=SPEAKER,
    version=1,
    area_chain=(CITY, DISTRICT, STREET),
    overlay=(ZONE,),
    venue="plaza-1",
    venue_kind="square",
    lat_e7=389140000,
    lon_e7=1216147000,
    volume_max=90,
    reconnect_spread_s=20,
    fetch_spread_s=30,
    accepted_spread_ms=2_000,
    starts_per_hour_max=4,
)


def an_order(id: str = "o-1", **changes: Any) -> Order:
    order = Order(
        id=id,
        rev=1,
        status="actual",
        order_class=OrderClass.EMERGENCY,
        level=2,
        event_code="11B03",
        phase=Phase.ALERT,
        texts={"zh": "暴雨，请立即离开低洼处。"},
        audio=(),
        selector=Selector(),
        volume=60,
        repeat=1,
        gap_s=5,
        start_at=T0,
        expires=T0 + HOUR,
        state=OrderState.IN_FORCE,
    )
    return replace(order, **changes)


def withdrawn(order: Order) -> Order:
    return replace(order, rev=order.rev + 1, state=OrderState.WITHDRAWN)


BASE = "http://127.0.0.1/audio"


def an_audio(name: str = "a", lang: str = "zh", ms: int = 8_000) -> Audio:
    return Audio(lang, name.encode().hex().ljust(64, "0"), "opus", ms, 1_000)


@dataclass(frozen=True)
class Heard:
    """One stretch of sound, from `at` for `ms`, as the street heard it."""

    at: int
    order: str
    use: str
    repeat: int
    kinds: tuple[str, ...]
    volume: int
    to_end: bool
    ms: int


@dataclass
class World:
    """Virtual time moves only in `advance`. `utc` is the truth; `wall_error_us` is how wrong the machine's clock is.
    A sound takes `sound_ms`, or what `lengths` says of its order; the player knows that `measure_us` after the load, or
    never."""

    mono: int = 5 * S
    utc: int = T0
    wall_error_us: int = 0
    journal: str = "journal-1"
    disk: list[e.JournalEntry] = field(default_factory=list)
    sound_ms: int = 10_000
    load_us: int = 50_000
    measure_us: int | None = 0
    lengths: dict[str, int] = field(default_factory=dict)
    mic_db: int | None = None
    connected: bool = False
    answers_hello: bool = True
    versions: dict[str, int] = field(default_factory=dict)
    effects: list[e.Effect] = field(default_factory=list)
    published: list[e.Publish] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    dead: bool = True
    boots: int = 0

    def __post_init__(self) -> None:
        self.state = blank(SPEAKER, ROOT_KEY)
        self.loaded: dict[int, e.SoundPlan] = {}
        self.playing: tuple[int, e.SoundPlan, int] | None = None
        self.queue: list[tuple[int, int, Callable[[], object]]] = []
        self.order_of_events = 0
        self.wake: int | None = None
        self.retained: dict[str, bytes] = {}

    # The machine

    def feed(self, event_type: Any, **fields: Any) -> list[e.Effect]:
        event = event_type(at_us=self.utc + self.wall_error_us, mono_us=self.mono, **fields)
        before = self.state
        self.state, effects = decide(before, event)
        assert decide(before, event) == (self.state, effects)
        self.effects += effects
        for effect in effects:
            self._do(effect)
        return effects

    def _do(self, effect: e.Effect) -> None:
        match effect:
            case e.Persist(entries):
                self.disk += entries
            case e.Load(ticket, plan):
                self.loaded[ticket] = plan
                self.later(self.load_us, lambda: self._load(ticket, plan))
            case e.Play(ticket):
                self._play(ticket)
            case e.Stop(ticket):
                self.loaded.pop(ticket, None)
                if self.playing and self.playing[0] == ticket:
                    self._silence()
            case e.WakeSpeakerAt(mono_us):
                self.wake = mono_us
            case e.Publish():
                self.published.append(effect)
                if effect.topic.endswith("/hello") and self.answers_hello and self.connected:
                    self._answer(decode_hello(effect.payload))
            case _:
                pass

    def _answer(self, nonce: str) -> None:
        answer = sign(HelloAnswer(nonce, self.utc, self.versions), CLOCK)
        self.later(0, lambda: self.message(hello_answer_topic(SPEAKER), answer))

    # The loudspeaker

    def _load(self, ticket: int, plan: e.SoundPlan) -> None:
        if ticket not in self.loaded:
            return
        reason = next((self.failures[s.kind] for s in plan.segments if s.kind in self.failures), None)
        if reason is not None:
            self.loaded.pop(ticket)
            self.feed(e.SoundFailed, ticket=ticket, reason=reason)
            return
        ms = self._length_ms(plan)
        self.feed(e.SoundLoaded, ticket=ticket, ms=0 if self.measure_us != 0 else ms)
        if self.measure_us:
            self.later(self.measure_us, lambda: self.feed(e.SoundMeasured, ticket=ticket, ms=ms))

    def _length_ms(self, plan: e.SoundPlan) -> int:
        return self.lengths.get(plan.order.partition("/")[2], self.sound_ms)

    def _play(self, ticket: int) -> None:
        assert self.playing is None, "two sounds at once"
        plan = self.loaded.pop(ticket)
        self.playing = (ticket, plan, self.mono)
        self.later(0, lambda: self._if_playing(ticket, e.SoundBegan, mic_db=self.mic_db))
        ms = self._length_ms(plan)
        for percent in (20, 40, 60, 80):
            self.later(
                ms * percent * 10,
                lambda percent=percent: self._if_playing(ticket, e.SoundProgress, percent=percent),  # type: ignore[misc]
            )
        self.later(ms * 1_000, lambda: self._end(ticket))

    def _if_playing(self, ticket: int, event_type: Any, **fields: Any) -> None:
        if self.playing and self.playing[0] == ticket:
            self.feed(event_type, ticket=ticket, **fields)

    def _end(self, ticket: int) -> None:
        if self.playing and self.playing[0] == ticket:
            ms = self._length_ms(self.playing[1])
            self._silence(to_end=True)
            self.feed(e.SoundEnded, ticket=ticket, ms=ms, mic_db=self.mic_db)

    def _silence(self, to_end: bool = False) -> None:
        assert self.playing is not None
        _, plan, at = self.playing
        self.playing = None
        order = plan.order.partition("/")[2]
        kinds = tuple(str(segment.kind) for segment in plan.segments)
        took = (self.mono - at) // 1_000
        self.heard.append(Heard(at - 5 * S, order, plan.use, plan.repeat, kinds, plan.volume, to_end, took))

    # Time

    def later(self, after_us: int, action: Callable[[], object]) -> None:
        self.order_of_events += 1
        heapq.heappush(self.queue, (self.mono + after_us, self.order_of_events, action))

    def advance(self, seconds: float) -> World:
        until = self.mono + round(seconds * S)
        while True:
            due = self.queue[0][0] if self.queue else until + 1
            wake = self.wake if self.wake is not None and not self.dead else until + 1
            at = min(due, wake)
            if at > until:
                break
            self._move(at)
            if due <= wake:
                heapq.heappop(self.queue)[2]()
            else:
                self.wake = None
                self.feed(e.Tick)
        self._move(until)
        return self

    def _move(self, mono: int) -> None:
        if mono > self.mono:
            self.utc += mono - self.mono
            self.mono = mono

    # Life

    def boot(self, cached: tuple[str, ...] = ()) -> World:
        self.boots += 1
        self.dead = False
        self.state = blank(SPEAKER, ROOT_KEY)
        image = e.Image(self.journal, tuple(self.disk))
        self.feed(e.Booted, image=image, seed=f"seed-{self.boots}", cached=cached)
        return self

    def crash(self) -> World:
        """The power fails: only the disk is left."""
        self.dead, self.connected, self.wake, self.queue = True, False, None, []
        self.loaded = {}
        if self.playing:
            self._silence()
        return self

    def wipe(self, journal: str) -> World:
        self.disk, self.journal = [], journal
        return self

    def connect(self) -> World:
        self.feed(e.Connecting)
        self.connected = True
        self.feed(e.Connected)
        for topic, payload in tuple(self.retained.items()):
            self.message(topic, payload, retain=True)
        self.advance(0)
        return self

    def disconnect(self) -> World:
        self.connected = False
        self.feed(e.Disconnected)
        return self

    def up(self) -> World:
        """Booted, connected, with keys, config and a verified clock."""
        self.retained |= {KEYS_TOPIC: sign(KEYS, ROOT), config_topic(SPEAKER): sign(SETUP, CONFIG)}
        return self.boot().connect()

    # The dispatcher

    def message(self, topic: str, payload: bytes, retain: bool = False) -> World:
        if self.connected:
            self.feed(e.Message, topic=topic, payload=payload, retain=retain)
        return self

    def publish(self, topic: str, payload: bytes) -> World:
        """Retained at the broker, and delivered when the link is up."""
        self.retained[topic] = payload
        return self.message(topic, payload)

    def manifest(
        self,
        *orders: Order,
        area: str = CITY,
        use: str = "actual",
        issuer: str = "city",
        signer: SigningKey | None = None,
        **changes: Any,
    ) -> bytes:
        topic = manifest_topic(area, use, issuer)
        version = max(self.versions.get(topic, 0) + 1, self.utc // 1_000)
        manifest = Manifest(topic, version, self.utc, self.utc + 600 * S, "head-1", orders, audio_base=BASE)
        manifest = replace(manifest, **changes)
        self.versions[topic] = manifest.version
        default = {"actual": ACTUAL, "exercise": EXERCISE}[use]
        return sign(manifest, signer or (DISTRICT_ACTUAL if issuer == "district" else default))

    def order(self, *orders: Order, **how: Any) -> World:
        """Publish a manifest of these orders on the stream that `how` names."""
        raw = self.manifest(*orders, **how)
        topic = manifest_topic(how.get("area", CITY), how.get("use", "actual"), how.get("issuer", "city"))
        return self.publish(topic, raw)

    # What can be seen from outside

    @property
    def receipts(self) -> list[Receipt]:
        found = [decode_receipt(p.payload) for p in self.published if p.topic.endswith("/receipt")]
        return list({(r.journal, r.seq): r for r in found}.values())

    def steps(self, order: str) -> list[str]:
        """The steps of an order as "kind" or "kind:reason", in the order said."""
        said = (step for receipt in self.receipts if receipt.order == order for step in receipt.steps)
        return [step.kind + (f":{step.reason}" if step.reason else "") for step in said]

    def step(self, order: str, kind: str) -> Step:
        return next(s for r in self.receipts if r.order == order for s in r.steps if s.kind == kind)

    @property
    def refusals(self) -> list[tuple[str, int, str]]:
        return [(r.stream, r.version, r.steps[0].reason) for r in self.receipts if r.stream]

    def sounding_order(self) -> str:
        """The order that sounds now, "" in silence."""
        return self.playing[1].order.partition("/")[2] if self.playing else ""

    def sounds(self) -> list[str]:
        """What was heard, as "order#repeat", with "…" behind what was cut."""
        return [f"{h.order}#{h.repeat}" + ("" if h.to_end else "…") for h in self.heard]
