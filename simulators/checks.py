"""What may be heard: watches every start of sound and every document a speaker obeys; laws 1, 2, 3, 5 and 7.

It asks the engine and the machine nothing that they could have got wrong: what people really did, what really burned
and what was really signed comes from the world.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from devices.protocols.documents import Order, OrderClass, OrderState, Phase
from devices.protocols.gb26875 import Frame
from devices.protocols.jws import header
from devices.protocols.refusals import Refusal
from devices.protocols.selector import matches
from devices.protocols.speaker_link import KEYS_TOPIC, digest, parse_manifest_topic, reaches, whereabouts
from devices.speaker.events import SegmentKind
from devices.speaker.state import State
from services.dispatcher.domain.broadcasts import Act, Broadcast, Release, content_hash
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.places import Speaker
from services.dispatcher.domain.signals import Signal, Use
from services.dispatcher.engine.rows import Asset, Wording
from simulators.attacker import EVIL
from simulators.city import Genuine, Keys
from simulators.clock import VirtualClock
from simulators.database import Database
from simulators.dispatcher import Disk
from simulators.endpoint import Heard, SimulatedSpeaker
from simulators.precedence import ends_drills, must_wait
from simulators.sources import Fire
from simulators.voice import STARTS_PER_HOUR_MAX

HOUR_US = 3_600_000_000
SLACK_US = 20_000_000
JUST_NOW_US = 5_000_000
TROUBLED_US = 300_000_000
HEARD_PERCENT = 80
HELLO_WAIT_US = 30_000_000


@dataclass(frozen=True, slots=True)
class Violation:
    """A law that did not hold: its number in the design, of what or whom, and one sentence."""

    law: int
    subject: str
    sentence: str
    at_us: int


@dataclass(frozen=True, slots=True)
class Stolen:
    """Where a thief put an order of his own, and under which key of the dispatcher's."""

    stream: str
    kid: str


@dataclass(slots=True)
class Truth:
    """What the world knows for certain. `pressed` holds (person, broadcast, content) of every release asked for,
    `unknown` the orders that speakers were made to say they play, `stolen` those that somebody with a key gave out."""

    clock: VirtualClock
    database: Database
    keys: Keys
    disk: Disk
    fires: Callable[[], Iterable[Fire]]
    lost: list[Database] = field(default_factory=list)
    pressed: set[tuple[str, str, str]] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)
    stolen: dict[str, Stolen] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    violations: list[Violation] = field(default_factory=list)
    error_us_max: int = 0

    def broken(self, law: int, subject: str, sentence: str) -> None:
        self.violations.append(Violation(law, subject, sentence, self.clock.us))

    def databases(self) -> list[Database]:
        """The one in use first, then those given up by a restore, the latest first."""
        return [self.database, *reversed(self.lost)]

    @property
    def slack_us(self) -> int:
        """How far a speaker's clock may be off: by as much as the dispatcher's ever was, and a slow answer."""
        return 2 * self.error_us_max + SLACK_US


@dataclass(frozen=True, slots=True)
class Signed:
    """By whom something was said: the public half of the key, the area that it had, the stream, and of an order its
    level."""

    x: str
    area: str
    stream: str
    level: int = 0


@dataclass(slots=True)
class _Obeyed:
    """What one journal of a speaker took in: per topic and key the version, and every manifest; per order the newest
    revision; what came; and by whom each revision was listed last while it was the newest. `maybe_by` is the same of
    the messages over which the speaker died: it may have written them down."""

    versions: dict[str, dict[Signed, int]] = field(default_factory=dict)
    accepted: dict[str, set[bytes]] = field(default_factory=dict)
    newest: dict[str, Order] = field(default_factory=dict)
    came: dict[tuple[str, int], Order] = field(default_factory=dict)
    listed_by: dict[tuple[str, int], Signed] = field(default_factory=dict)
    maybe_by: dict[tuple[str, int], Signed] = field(default_factory=dict)

    def newest_by(self, key: str) -> Signed | None:
        """By whom the newest revision of an order is listed."""
        return self.listed_by.get((key, self.newest[key].rev)) if key in self.newest else None


class Ears:
    """Listens at every speaker."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._obeyed: dict[str, _Obeyed] = {}
        self._by_digest: dict[bytes, Genuine] = {}
        self._frames: dict[tuple[str, int, bytes], frozenset[str]] = {}

    # Sound

    def began(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        """A speaker starts a repeat of an order."""
        plan, truth = heard.plan, self._truth
        use, _, name = plan.order.partition("/")
        if name.startswith(EVIL):
            truth.broken(5, speaker.id, f"{speaker.id} plays {name}, which the attacker made")
            return
        if name in truth.stolen:
            self._stolen(speaker, name, heard)
            return
        truth.counts[f"sound.{use}"] += 1
        self._released(speaker, name, heard)
        self._drill(speaker, name, heard)
        self._obeys(speaker, name, heard)
        self._once(speaker, heard)
        self._limited(speaker, heard)
        self._first(speaker, heard)

    def _stolen(self, speaker: SimulatedSpeaker, name: str, heard: Heard) -> None:
        """What somebody with a key gave out sounds until a key that is listed has spoken without it."""
        self._truth.counts["sound.stolen"] += 1
        newest = self._of(heard.journal).newest.get(heard.plan.order)
        if newest is not None and newest.state is OrderState.WITHDRAWN:
            kid = self._truth.stolen[name].kid
            self._truth.broken(5, speaker.id, f"{speaker.id} plays {name}, and {kid} has been removed")

    def _rows(self, name: str) -> list[tuple[Database, Broadcast]]:
        found = [(db, db.rows(Broadcast).get(name)) for db in self._truth.databases()]
        return [(db, row) for db, row in found if row is not None]

    def _released(self, speaker: SimulatedSpeaker, name: str, heard: Heard) -> None:
        rows = self._rows(name)
        reasons = [self.unreleased(db, row) for db, row in rows]
        # An order that a restored database took over may be rendered in that one, and be released in the lost one.
        released = {row.content for (_, row), why in zip(rows, reasons, strict=True) if not why}
        same = [(db, row) for db, row in rows if row.content in released and content_hash(row) == row.content]
        others = [self._other_words(db, row, heard) for db, row in same]
        if all(others):
            why = next(filter(None, [*others, *reasons]), "no database ever knew it")
            self._truth.broken(1, name, f"{speaker.id} plays {name}, but {why}")

    def unreleased(self, db: Database, row: Broadcast) -> str:
        """Why the database does not show a true release of exactly this content; empty when it does."""
        if content_hash(row) != row.content:
            return "its content is not what its hash says"
        rows = [r for r in db.rows(Release).values() if r.broadcast == row.id and r.content == row.content]
        people = {r.person for r in rows if r.act is Act.RELEASE}
        if any(r.act is Act.STANDING and r.rule for r in rows):
            return self._uncovered(db, row)
        invented = [p for p in sorted(people) if (p, row.id, row.content) not in self._truth.pressed]
        if invented:
            return f"{invented[0]} never released it"
        if not people:
            return "there is no release of it"
        if len(people) < 2 and row.phase is Phase.ALERT and row.level <= 2:
            return f"it is of level {row.level} and one person alone released it"
        return ""

    def _uncovered(self, db: Database, row: Broadcast) -> str:
        """A standing order needs two devices of panels at that venue, in that use, that may act automatically."""
        incident = db.rows(Incident).get(row.incident)
        venue = incident.venue if incident is not None else None
        mine = [f for f in self._truth.fires() if f.panel.venue == venue and f.panel.use is row.use]
        fires = [f for f in mine if f.automatic]
        detectors = {f.device for f in fires if not f.call_point}
        if len(detectors) >= 2 or (detectors and any(f.call_point for f in fires)):
            return ""
        return "its standing order does not cover what was reported"

    def _other_words(self, db: Database, row: Broadcast, heard: Heard) -> str:
        # What a content's hash leaves out: that the recordings are of its words.
        said_by = {row.wordings.get(lang): text for lang, text in row.texts.items()}
        rendered = {w.id for w in db.rows(Wording).values() if said_by.get(w.id) == w.text}
        assets = {asset.sha256 for asset in db.rows(Asset).values() if asset.id in rendered}
        for segment in heard.plan.segments:
            said = {
                SegmentKind.SAY: row.texts.values(),
                SegmentKind.AUDIO: assets,
                SegmentKind.PHRASE: (row.event_code,),
            }.get(segment.kind)
            if said is not None and segment.value not in said:
                return f"it says {segment.value[:40]!r}, which nobody released"
        return ""

    def _drill(self, speaker: SimulatedSpeaker, name: str, heard: Heard) -> None:
        plan = heard.plan
        uses = {row.use for _, row in self._rows(name)}
        if Use.EXERCISE in uses and plan.use != "exercise":
            self._truth.broken(2, name, f"{speaker.id} plays the exercise {name} as {plan.use}")
        if plan.use != "actual" and plan.segments[0].kind is not SegmentKind.PREFACE:
            self._truth.broken(2, name, f"{speaker.id} plays the exercise {name} without the drill preface")

    def _obeys(self, speaker: SimulatedSpeaker, name: str, heard: Heard) -> None:
        plan, obeyed = heard.plan, self._of(heard.journal)
        order = obeyed.came.get((plan.order, plan.rev))
        if order is None:
            self._truth.broken(5, speaker.id, f"{speaker.id} plays {name} at revision {plan.rev}, which never came")
            return
        newest = obeyed.newest.get(plan.order, order)
        # What a speaker wrote down before it died over the message may be newer than what it was seen to obey.
        ended = newest.rev == plan.rev and newest.state is OrderState.WITHDRAWN
        if newest.rev > plan.rev or ended or order.state is OrderState.WITHDRAWN:
            self._truth.broken(5, speaker.id, f"{speaker.id} plays {name} at {plan.rev}, but holds {newest.rev}")
        if self._truth.clock.us > order.expires + self._truth.slack_us and not self._on_its_own(speaker, order):
            self._truth.broken(5, speaker.id, f"{speaker.id} starts {name} after it expired")

    def _on_its_own(self, speaker: SimulatedSpeaker, order: Order) -> bool:
        """Whom nobody has answered since its boot cannot know how long it was dead: the time goes on from the disk.

        "An accepted order stays in force from the journal until withdrawn or expired, also when the link is down." What
        it cannot have forgotten is when it last began a sound before that boot, by a time that was verified.
        """
        waited_us = self._truth.clock.us - speaker.booted_us
        before = [
            h.began_us
            for h in speaker.heard
            if h.timed and h.began_us < speaker.booted_us and h.journal == speaker.disk.journal
        ]
        known_us = max(before, default=0) + waited_us
        alone = not speaker.state.clock.verified and waited_us >= HELLO_WAIT_US
        alone = alone and known_us <= order.expires + self._truth.slack_us
        self._truth.counts["late.on_its_own"] += alone
        return alone

    def _once(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        """At most once heard: a repeat comes again only when the earlier one was cut, or broke off before 80 %."""
        plan = heard.plan
        if speaker.sounding is not None and speaker.sounding.ended_us == 0:
            self._truth.broken(7, speaker.id, f"{speaker.id} plays two sounds at once")
        for before in speaker.heard[:-1]:
            if (before.journal, before.plan.order, before.plan.repeat) != (heard.journal, plan.order, plan.repeat):
                continue
            broke = before.end in ("crash", "failed") and before.durable < HEARD_PERCENT
            if before.end == "crash":
                self._truth.counts["sound.after_crash"] += 1
            if before.end != "cut" and not broke:
                how = f"{plan.order} again: ended by {before.end} at {before.durable} %"
                self._truth.broken(7, speaker.id, f"{speaker.id} plays repeat {plan.repeat} of {how}")

    def _limited(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        """Not more alerts of at least this severity begin in an hour than the config allows."""
        order = self._of(heard.journal).came.get((heard.plan.order, heard.plan.rev))
        if order is None or order.phase is not Phase.ALERT:
            return
        firsts: dict[str, Heard] = {}
        for each in speaker.heard:
            if each.journal == heard.journal:
                firsts.setdefault(each.plan.order, each)
        if firsts[heard.plan.order] is not heard:
            return
        since_us = heard.began_us - HOUR_US + self._truth.slack_us
        recent = [h for h in firsts.values() if h.began_us > since_us and self._uses_up(speaker, h, order)]
        recent = [h for h in recent if self._of(h.journal).came[h.plan.order, h.plan.rev].phase is Phase.ALERT]
        if len(recent) > STARTS_PER_HOUR_MAX:
            self._truth.broken(5, speaker.id, f"{speaker.id} begins {len(recent)} alerts in an hour")

    def held_back(self, speaker: SimulatedSpeaker, key: str, rev: int) -> None:
        """A speaker says that its rate limit holds an alert back: so many orders have begun here, and still count."""
        order = self._of(speaker.disk.journal).came.get((key, rev))
        if order is None:
            return
        self._truth.counts["limit.checked"] += 1
        if not self.limit_reached(speaker, order, HOUR_US + self._truth.slack_us):
            said = f"{speaker.id} holds {order.id} back by its rate limit, which is not reached"
            self._truth.broken(5, speaker.id, said)

    def limit_reached(self, speaker: SimulatedSpeaker, order: Order, within_us: int) -> bool:
        """Whether as many orders may have begun here as the config allows. A new revision may be a new start: what was
        stopped and comes back counts again. A start that was written down in front of a crash made no sound, and may
        have become new by it."""
        crashes, since_us = max(speaker.boots - 1, 0), self._truth.clock.us - within_us
        mine = [h for h in speaker.heard if h.journal == speaker.disk.journal and (crashes or h.began_us > since_us)]
        begun = {(h.plan.order, h.plan.rev) for h in mine if self._uses_up(speaker, h, order)}
        return len(begun) + crashes >= STARTS_PER_HOUR_MAX

    def _uses_up(self, speaker: SimulatedSpeaker, heard: Heard, order: Order) -> bool:
        """Whether a start counts against an alert: it is as grave, and not surely of a key that may not sign it now. Of
        whom it is may be unknown, where the speaker died over the message; then it counts."""
        obeyed, said_by = self._of(heard.journal), (heard.plan.order, heard.plan.rev)
        said = obeyed.came.get(said_by)
        by = [each for of in (obeyed.listed_by, obeyed.maybe_by) if (each := of.get(said_by)) is not None]
        counts = not by or any(may_sign(speaker.state, each) for each in by)
        return said is not None and counts and _as_grave(said, order)

    # The order of sounds

    def _first(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        """What begins goes before nothing that must go first: what has not begun here, or was interrupted."""
        obeyed, now_us = self._of(heard.journal), self._truth.clock.us
        order = obeyed.came.get((heard.plan.order, heard.plan.rev))
        troubled = speaker.sound_failed_us > now_us - TROUBLED_US or not speaker.state.clock.verified
        if order is None or troubled or speaker.moved_us > now_us - HOUR_US:
            return
        ends = {h.plan.order: h.end for h in speaker.heard if h.journal == heard.journal}
        for key, other in obeyed.newest.items():
            waits = ends.get(key, "cut") == "cut"
            if key == heard.plan.order or not waits or not self._may_sound(speaker, obeyed, other):
                continue
            why = must_wait(order, other)
            self._truth.counts["order.compared"] += 1
            if why:
                said = f"{speaker.id} begins {order.id}, and {other.id} is to be heard"
                self._truth.broken(5, speaker.id, f"{said}: {why}")

    def _may_sound(self, speaker: SimulatedSpeaker, obeyed: _Obeyed, order: Order) -> bool:
        """Whether an order surely may sound here now, when it has not begun or was interrupted."""
        config, now_us, margin_us = speaker.state.papers.config, self._truth.clock.us, 2 * self._truth.error_us_max
        if config is None or order.state is OrderState.WITHDRAWN or order.order_class is not OrderClass.EMERGENCY:
            return False
        if not order.start_at + margin_us + JUST_NOW_US < now_us < order.expires - margin_us - SLACK_US:
            return False
        journal, key = speaker.disk.journal, f"{order.status}/{order.id}"
        if not matches(order.selector, whereabouts(config)) or said_limited(speaker, order.id):
            return False
        if any(other.corrects == order.id or order.id in other.supersedes for other in obeyed.newest.values()):
            return False
        if order.status == "exercise" and any(ends_drills(other) for other in obeyed.newest.values()):
            return False
        heard = [h for h in speaker.heard if h.journal == journal]
        if order.phase is not Phase.ALERT:
            return any(h.plan.order == f"{order.status}/{order.corrects}" for h in heard) and len(speaker.journals) == 1
        return not any(h.plan.order == key and h.plan.repeat >= order.repeat and h.end != "cut" for h in heard)

    # Documents

    def took(self, speaker: SimulatedSpeaker, topic: str, payload: bytes, before: State, whole: bool) -> None:
        """A speaker has had a message; `whole` is False when it died over it."""
        obeyed = self._of(speaker.disk.journal)
        keys = self._truth.keys
        genuine = keys.genuine.get(payload) or keys.stolen.get(payload)
        if genuine is not None and genuine.manifest.stream == topic:
            self._by_digest.setdefault(digest(payload), genuine)
            by = None if whole else signed_by(speaker.state, genuine)
            for order in genuine.manifest.orders:
                said = f"{order.status}/{order.id}", order.rev
                obeyed.came[said] = order
                if by is not None:
                    obeyed.maybe_by[said] = replace(by, level=order.level)
        streams = speaker.state.papers.streams
        if not whole or before.papers.streams is streams:
            return
        for name in before.papers.streams:
            if name not in streams:
                # It has moved off the chain, or nobody who is listed has ever spoken there.
                obeyed.versions.pop(name, None)
                obeyed.accepted.pop(name, None)
        for name, held in streams.items():
            old = before.papers.streams.get(name)
            if old is not None and old.digest == held.digest:
                continue
            if held.digest in obeyed.accepted.get(name, set()) and topic == KEYS_TOPIC:
                self._truth.counts["version.fell_back"] += 1
            else:
                self._accepted(speaker, name, held.digest, obeyed)

    def _accepted(self, speaker: SimulatedSpeaker, topic: str, found: bytes, obeyed: _Obeyed) -> None:
        truth, genuine = self._truth, self._by_digest.get(found)
        if genuine is None or genuine.manifest.stream != topic:
            truth.broken(5, speaker.id, f"{speaker.id} obeys a manifest on {topic} that nobody signed for it")
            return
        manifest = genuine.manifest
        truth.counts["manifest.accepted"] += 1
        by, state = signed_by(speaker.state, genuine), speaker.state
        if by is None or not may_sign(state, by):
            truth.broken(5, speaker.id, f"{speaker.id} obeys a manifest on {topic}, and its key may not sign there")
            return
        versions = obeyed.versions.setdefault(topic, {})
        if manifest.version <= max((v for signed, v in versions.items() if may_sign(state, signed)), default=0):
            truth.broken(5, speaker.id, f"{speaker.id} goes back to version {manifest.version} on {topic}")
        if truth.clock.us > manifest.fresh_until + truth.slack_us:
            truth.broken(5, speaker.id, f"{speaker.id} obeys version {manifest.version} on {topic}, which is stale")
        versions[by] = manifest.version
        obeyed.accepted.setdefault(topic, set()).add(found)
        for order in manifest.orders:
            key = f"{order.status}/{order.id}"
            before = obeyed.newest_by(key)
            if before is None or obeyed.newest[key].rev < order.rev or not may_sign(state, before):
                obeyed.newest[key], before = order, None
            if obeyed.newest[key].rev == order.rev and (before is None or before.stream == topic):
                obeyed.listed_by[key, order.rev] = replace(by, level=order.level)
        listed = {f"{order.status}/{order.id}" for order in manifest.orders}
        for key, order in obeyed.newest.items():
            before = obeyed.newest_by(key)
            if before is None or before.stream != topic or key in listed:
                continue
            if order.start_at < manifest.swept:
                truth.counts["order.swept"] += 1
                obeyed.newest[key] = replace(order, state=OrderState.WITHDRAWN)
            elif not may_sign(state, before):
                truth.counts["order.taken_back"] += order.state is OrderState.IN_FORCE
                obeyed.newest[key] = replace(order, state=OrderState.WITHDRAWN)

    def _of(self, journal: str) -> _Obeyed:
        return self._obeyed.setdefault(journal, _Obeyed())

    def held(self, journal: str, key: str) -> Order | None:
        """The newest revision of an order that this journal's speaker obeyed."""
        return self._of(journal).newest.get(key)

    def every(self, journal: str) -> Iterable[Order]:
        """The newest revisions of all orders that this journal's speaker obeyed."""
        return self._of(journal).newest.values()

    # Fire panels

    def confirmed(self, panel: str, frame: Frame, signals: Sequence[Signal]) -> None:
        """A panel's frame is confirmed: it must be safe by now, and its repeats must be the same signals."""
        truth = self._truth
        safe = {*truth.database.rows("signal"), *(signal.key for signal in truth.disk.journal)}
        truth.counts["panel.confirmed"] += 1
        for signal in signals:
            if not safe & {signal.key, signal.other_key}:
                why = f"was confirmed before {signal.key} was safe"
                truth.broken(7, panel, f"the frame {frame.serial} of {panel} {why}")
        # A signal that is kept under both its names has become two; one that a restore lost may come back by another.
        keys = safe & {key for signal in signals for key in (signal.key, signal.other_key)}
        name = (panel, frame.serial, frame.unit)
        if safe & self._frames.get(name, frozenset()) - keys or len(keys) > len(signals):
            truth.broken(7, panel, f"a repeat of frame {frame.serial} of {panel} became another signal")
        self._frames[name] = frozenset(keys)


def signed_by(state: State, genuine: Genuine) -> Signed | None:
    """By whom a manifest is signed, by the key document that a speaker holds; None where that does not list its key."""
    keys, kid = state.papers.keys, header(genuine.raw).kid
    key = None if keys is None else next((key for key in keys.keys if key.kid == kid), None)
    return Signed(key.x, key.area, genuine.manifest.stream) if key is not None else None


def may_sign(state: State, by: Signed) -> bool:
    """Whether the key may sign on that stream, and an order of that level, by the papers that a speaker holds now."""
    keys, config, stream = state.papers.keys, state.papers.config, parse_manifest_topic(by.stream)
    key = None if keys is None else next((key for key in keys.keys if key.x == by.x), None)
    if key is None or (key.use, key.issuer) != (stream.use, stream.issuer):
        return False
    there = config is None or key.area == by.area or reaches(key.area, stream, config)
    return there and (not by.level or by.level in key.levels)


def _as_grave(said: Order, order: Order) -> bool:
    """Whether one alert's start counts against another's: it is as grave, by class, use and level, and no exercise
    counts against what is actual."""
    if said.order_class is not order.order_class:
        grave = said.order_class is OrderClass.EMERGENCY
    else:
        grave = said.status != order.status or said.level <= order.level
    return grave and (said.status == "actual" or order.status == "exercise")


def said_limited(speaker: SimulatedSpeaker, order: str) -> bool:
    """Whether the speaker said that its rate limit holds this order back."""
    return any(Refusal.RATE_LIMITED in text for text in said_of(speaker, order))


def said_of(speaker: SimulatedSpeaker, order: str) -> list[str]:
    """The receipts about an order that its journal holds, and the steps that will stand in the next one."""
    facts = speaker.disk.facts.items()
    return [
        text
        for (kind, key), text in facts
        if (kind == "receipt" and f'"{order}"' in text) or (kind == "draft" and key.endswith(f"/{order}"))
    ]


def enrolled(db: Database, speaker: str) -> bool:
    row = db.rows(Speaker).get(speaker)
    return row is not None and row.enrolled
