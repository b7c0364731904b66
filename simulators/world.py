"""One run of the simulated city: a seed in, what happened and what was violated out. Nothing else matters."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Never

import structlog

from devices.protocols.documents import Phase
from devices.protocols.gb26875 import Frame
from devices.protocols.speaker_link import decode_receipt, parse_manifest_topic
from devices.speaker.machine import decide
from devices.speaker.state import State
from services.dispatcher.domain.broadcasts import Broadcast, ReleaseGiven
from services.dispatcher.domain.refusals import Refused
from services.dispatcher.domain.sightings import Sighting
from services.dispatcher.domain.signals import Signal
from services.dispatcher.domain.signing_keys import words
from services.dispatcher.engine import clock as clocks
from services.dispatcher.engine.air import broker_copies, signing_keys
from services.dispatcher.engine.cities import import_city
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import AudioRendered, BroadcastAct, Event
from services.dispatcher.engine.ports import StoreUnavailable
from services.dispatcher.engine.rows import Asset, ClockState, Wording
from simulators import city
from simulators.attacker import Attacker
from simulators.books import Books
from simulators.checks import Ears, Truth, Violation
from simulators.city import START_US, Keys, SeededIds
from simulators.clock import DispatcherClock, VirtualClock
from simulators.database import Database, Process, Tables
from simulators.dispatcher import Disk, Gateway, Parts, make_engine
from simulators.ending import ALARM_US, FOLLOW_US, SOUND_US, STOP_US, Ending
from simulators.endpoint import Decide, Heard, SimulatedSpeaker, Trouble
from simulators.faults import EVERY_FAULT, JUMPED_US_MAX, Fault, Faults
from simulators.liars import Liars
from simulators.network import AUTOSAVE_US, Broker, Weather
from simulators.obedience import Obedience
from simulators.offices import Desk, Officers, Offices, Temper
from simulators.sources import Bureau, Events, Fire, FirePanel, Programme
from simulators.thief import Thief

S = 1_000_000
FAULTS_FROM_S = 90
LOOK_S = 5
BACKUP_S = 400
LAST_S = 10
CALM_EVENTS_S = 420
STEADY_US = 65 * S
WELL_US = 45 * S
COPIES_US = 130 * S
KEYS_SEEN_US = 200 * S
"""Longer than a canary counts, a round, and the time in which a key document that was overwritten is put back."""
TAKEN_BACK_US = 90 * S
LINES_MAX = 200_000


def _left_out(logger: object, level: str, line: object) -> Never:
    raise structlog.DropEvent


@dataclass(frozen=True, slots=True)
class Run:
    """How to run: `rough_s` virtual seconds with faults, then `calm_s` without."""

    seed: int
    faults: tuple[Fault, ...] = EVERY_FAULT
    rough_s: int = 5_400
    calm_s: int = 1_800


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `lines` is the whole account; `counts` says how often each situation came about."""

    run: Run
    violations: tuple[Violation, ...]
    counts: Counter[str]
    lines: tuple[str, ...] = field(repr=False)

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()


class World:
    """The city with everything in it. Make one, and `run` it once."""

    def __init__(self, run: Run, parts: Parts | None = None, machine: Decide = decide) -> None:
        self._run, self._parts = run, parts or Parts()
        self.clock = VirtualClock(START_US)
        self._wall = DispatcherClock(self.clock)
        self._keys = Keys(self._chance("keys"))
        self._ids = SeededIds(self._chance("ids"))
        self._disk = Disk()
        self._lines: list[str] = []
        database = Database(self._wall)
        self._database = database
        self.broker = Broker(self.clock, self._chance("network"))
        self._truth = Truth(self.clock, database, self._keys, self._disk, self._fires)
        self._ears = Ears(self._truth)
        self._playbooks = city.playbooks()
        self._books = Books(self._truth, self._ears, {p.id: p for p in self._playbooks})
        self.speakers = tuple(
            SimulatedSpeaker(
                s.id, s.microphone, self._keys.root, self.clock, self.broker, self, machine, self._chance(s.id)
            )
            for s in city.speakers()
        )
        self._ending = Ending(self._truth, self._ears, self.broker, self.speakers)
        self._obedience = Obedience(self._truth, self.speakers, self._ending.reachable)
        self._gateways: list[Gateway] = []
        self._down = 0
        self._disturbed_us = START_US
        self._up_us = START_US
        self._rough = True
        self._deaths = self._chance("deaths")
        self._unlike: dict[str, int] = {}
        self._web = self._new_web()
        self._backups: list[tuple[Tables, int]] = []
        self._rendering: set[str] = set()
        self._queue_away = self._workers_behind = False
        self._receipts: set[bytes] = set()
        self._renderer = self._chance("renderer")
        desk = Desk(self, self.clock)
        self._desk = desk
        self._offices = Offices(self, desk, self.clock, self._chance("offices"))
        self._officers = Officers(self, desk, self.clock, self._chance("officers"))
        self._panels = {p.id: FirePanel(p, self.clock, self, self._chance(p.id)) for p in city.panels()}
        bureau = Bureau(desk, self.clock, self, self._chance("bureau"))
        test_bits = Fault.TEST_BITS in run.faults
        self._events = Events(self._panels, bureau, self.clock, self._chance("events"), test_bits)
        waterworks = Bureau(desk, self.clock, self, self._chance("waterworks"), "waterworks")
        self._programme = Programme(waterworks, self.clock, self._chance("programme"))
        names = tuple(s.id for s in self.speakers)
        self._liars = Liars(self._truth, self.broker, self.speakers, self.count)
        self._thief = Thief(self._truth, self.broker, self._keys, self.count)
        self._attacker = Attacker(self.broker, self._keys, self.clock, self, names, self._chance("attacker"))

    def _chance(self, name: str) -> Random:
        """A stream of chance of its own for everybody, so that one more throw here moves nothing there."""
        return Random(f"{self._run.seed}/{name}")

    def _fires(self) -> list[Fire]:
        return [fire for panel in self._panels.values() for fire in panel.fires]

    # The run

    def run(self) -> Outcome:
        """Play it to its end, or to the first violation. What the product's parts would log is left out: the account
        says it, by virtual time."""
        before = structlog.get_config()
        structlog.configure([_left_out], structlog.make_filtering_bound_logger(logging.CRITICAL))
        try:
            return self._play()
        finally:
            structlog.configure(**before)

    def _play(self) -> Outcome:
        run = self._run
        calm_us = START_US + run.rough_s * S
        end_us = calm_us + run.calm_s * S
        self._begin()
        self._events.plan(calm_us + CALM_EVENTS_S * S)
        self._programme.plan(calm_us + CALM_EVENTS_S * S)
        faults = Faults(self, run.faults, run.seed)
        self.clock.at(START_US + FAULTS_FROM_S * S, lambda: faults.plan(calm_us))
        self.clock.at(calm_us + 1, self._heal)
        self.clock.run(end_us, self._halted)
        for _ in range(LAST_S):
            # What somebody asked for in the last moment has its second too.
            if not self._ending.open_effects():
                break
            end_us += S
            self.clock.run(end_us, self._halted)
        if not self._halted():
            self._ending.converged()
            self._books.chained(tuple(self._keys.heads))
        for violation in self._truth.violations:
            self.say("VIOLATION", f"law {violation.law}: {violation.sentence}")
        return Outcome(run, tuple(self._truth.violations), self._truth.counts, tuple(self._lines))

    def _begin(self) -> None:
        rows = [*city.areas(), *city.venues(), *city.offices(), *city.speakers()]
        with self._database.write() as tx:
            tx.put(*city.panels())
            import_city(tx, city.settings(), rows, "sun")
        self.broker.heard = self._on_broker
        rough = Fault.ROUGH_PEOPLE in self._run.faults
        self._offices.temper = self._officers.temper = Temper(calm=not rough)
        self._start_gateway("gw-0")
        for speaker in self.speakers:
            self.clock.later(self._deaths.randrange(20 * S), speaker.boot)
        self._every(LOOK_S * S, self._look)
        self._every(BACKUP_S * S, self._back_up)
        self._every(AUTOSAVE_US, self.broker.autosave)

    def _every(self, us: int, action: Callable[[], None]) -> None:
        def again() -> None:
            action()
            self.clock.later(us, again)

        self.clock.later(us, again)

    def _halted(self) -> bool:
        return bool(self._truth.violations)

    def _heal(self) -> None:
        """All faults end: from now on everything works, and people are careful."""
        self.say("world", "all faults are over")
        self._rough = False
        self.broker.weather = Weather()
        self.broker.rise()
        self._database.away = False
        self.clock_returns()
        self._queue_away = self._workers_behind = False
        for gateway in self._gateways[1:]:
            gateway.kill("no longer needed")
        if not self._gateways:
            self._start_gateway("gw-0")
        for process in (self._gateways[0].process, self._web[0]):
            process.spare()
        for speaker in self.speakers:
            speaker.spare()
            speaker.trouble = Trouble(wall_error_us=speaker.trouble.wall_error_us)
            speaker.boot()
        for use in tuple(self._keys.broken):
            self.mend_key(use)
        for order in self._unrevoked():
            self.revoke_key(order)
        self.panels_lose(0, 0)
        self._offices.temper = self._officers.temper = Temper(calm=True)
        self.disturb()

    # What everybody tells the world

    def say(self, subject: str, words: str) -> None:
        if len(self._lines) < LINES_MAX:
            self._lines.append(f"{(self.clock.us - START_US) / S:>10.3f}  {subject}: {words}")

    def count(self, what: str) -> None:
        self._truth.counts[what] += 1

    def disturb(self) -> None:
        self._disturbed_us = self.clock.us

    def began(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        plan = heard.plan
        kinds = " ".join(str(segment.kind) for segment in plan.segments)
        self.say(speaker.id, f"plays {plan.order} repeat {plan.repeat} at revision {plan.rev} ({kinds})")
        self._ears.began(speaker, heard)

    def ended(self, speaker: SimulatedSpeaker, heard: Heard) -> None:
        self.count(f"sound.{heard.end}")
        self.say(speaker.id, f"ends {heard.plan.order} repeat {heard.plan.repeat}: {heard.end} at {heard.durable} %")

    def took(self, speaker: SimulatedSpeaker, topic: str, payload: bytes, before: State, whole: bool) -> None:
        self._ears.took(speaker, topic, payload, before, whole)

    def held_back(self, speaker: SimulatedSpeaker, order: str, rev: int) -> None:
        self._ears.held_back(speaker, order, rev)

    def confirmed(self, panel: str, frame: Frame, signals: Sequence[Signal]) -> None:
        self.say(panel, f"frame {frame.serial} is confirmed")
        self._ears.confirmed(panel, frame, signals)

    def _on_broker(self, topic: str, payload: bytes, retain: bool) -> None:
        if topic.endswith("/task"):
            self.clock.later(50_000, lambda: self._offices.heard(topic, payload))
        elif topic.endswith("/receipt"):
            self._receipt(payload)
        elif "/manifest/" in topic:
            genuine = self._keys.genuine.get(payload)
            said = [f"{o.id}@{o.rev}:{o.state}" for o in genuine.manifest.orders] if genuine else "not genuine"
            self.say("broker", f"takes {topic} {genuine.manifest.version if genuine else ''} {said}")

    def _receipt(self, payload: bytes) -> None:
        """Count what receipts say, each receipt once."""
        if payload in self._receipts:
            return
        self._receipts.add(payload)
        receipt = decode_receipt(payload)
        for step in receipt.steps:
            self.count(f"step.{step.kind}" + (f".{step.reason}" if step.reason else ""))

    def wants_audio(self, wording: str) -> bool:
        """A worker renders it after a while; in rough times it may forget, and is asked again. What no worker comes to
        in time expires in the queue. False while the queue is away."""
        if self._queue_away:
            return False
        late = self._workers_behind or (self._rough and self._renderer.randrange(100) < 30)
        if wording not in self._rendering and not late:
            self._rendering.add(wording)
            self.clock.later(self._renderer.randint(1, 15) * S, lambda: self._rendered(wording))
        return True

    def workers_behind(self, behind: bool) -> None:
        self.say("workers", "have a backlog" if behind else "have caught up")
        self._workers_behind = behind

    def queue_away(self, away: bool) -> None:
        self.say("queue", "is away" if away else "is back")
        self._queue_away = away

    def _rendered(self, wording: str) -> None:
        self._rendering.discard(wording)
        found = self._database.rows(Wording).get(wording)
        if found is None or self._database.rows(Asset).get(wording) is not None:
            return
        sha256 = hashlib.sha256(wording.encode()).hexdigest()
        asset = Asset(wording, found.lang, "opus", sha256, 2_000 + 150 * len(found.text), 20_000, True)
        self._desk.ask("worker", AudioRendered(asset), lambda: self.count("audio.rendered"))

    def handling(self, event: Event, mono_us: int) -> None:
        self._books.handling(event)

    def handled(self, whole: bool) -> None:
        self._books.handled(whole)

    def passes(self, client: str) -> None:
        error_us = self._trusted_error_us()
        self._books.passes(client, error_us, off_us=self._wall.error_us - error_us)

    def committed(self) -> None:
        log = self._database.rows("log")
        for seq in range(self._said + 1, len(log) + 1):
            row = log[seq]
            if not row.kind.startswith("speaker."):
                self.say(row.subject, f"{row.kind} {row.person}")
        news = self._said < len(log)
        self._said = len(log)
        self._books.committed()
        look_us = min((s.look_us for s in self._database.rows(Sighting).values()), default=0)
        looks, self._look_us = look_us != self._look_us, look_us
        if news or looks or self._database.wanted():
            for gateway in self._gateways:
                gateway.wake()
        for due_us, checks, check in (
            (FOLLOW_US, self._books.followed, self._ending.followed),
            (STOP_US, self._books.stopped, self._ending.stopped),
            (SOUND_US, self._books.released, self._ending.sounded),
        ):
            for name, since_us in checks:
                self.clock.later(due_us, lambda n=name, s=since_us, c=check: self._if_well(n, s, c))  # type: ignore[misc]
            checks.clear()

    _struck_us = START_US
    _keys_changed_us = START_US
    _said = 0
    _look_us = 0
    _looked_at = -1

    def _if_well(self, name: str, since_us: int, check: Callable[[str, int], None]) -> None:
        if self._well(self.clock.us - since_us + WELL_US):
            check(name, since_us)

    # Gateways and the web

    def _start_gateway(self, client: str) -> None:
        process = self.own_process(client)
        gateway = Gateway(
            self._parts, process, self._disk, self.clock, self.broker, self._keys, self._ids,
            self._playbooks, self, Random(f"{self._run.seed}/{client}/{self.clock.us}"), client,
        )  # fmt: skip
        self._gateways.append(gateway)
        self.disturb()
        gateway.start()

    def gateway(self) -> Gateway | None:
        return self._gateways[0] if self._gateways else None

    def gateway_died(self, gateway: Gateway, why: str) -> None:
        self.say(gateway.client, f"dies: {why}")
        self.count(f"gateway.died_{why.replace(' ', '_')}")
        self.disturb()
        self._gateways = [g for g in self._gateways if g is not gateway]
        if gateway.client == "gw-0":
            wait_us = self._deaths.randint(3 * S, 60 * S)
            self.clock.later(wait_us, self._revive)

    def _revive(self) -> None:
        if not any(g.client == "gw-0" for g in self._gateways):
            self._start_gateway("gw-0")

    def kill_gateway(self, after: int | None) -> None:
        for gateway in self._gateways[:1]:
            if after is None:
                gateway.kill("from outside")
            else:
                gateway.process.die_after(after)

    def start_second(self) -> None:
        if not any(g.client == "gw-1" for g in self._gateways):
            self._start_gateway("gw-1")

    def _new_web(self) -> tuple[Process, Engine]:
        process = self.own_process("web")
        return process, make_engine(self._parts, process, self._ids, self._playbooks, lambda: None)

    def web(self) -> tuple[Process, Engine]:
        if not self._web[0].alive:
            self._web = self._new_web()
        return self._web

    def own_process(self, name: str) -> Process:
        return Process(self._database, name, self._parts.guard(self._wall), self.committed)

    def kill_request(self) -> None:
        self.web()[0].die_after(self._deaths.randrange(2))

    def refused(self, act: BroadcastAct, code: str) -> None:
        self._books.refused(act, code)

    def acted(self, person: str, act: BroadcastAct, done: bool) -> None:
        if isinstance(act.act, ReleaseGiven) and not done:
            self._truth.pressed.add((person, act.broadcast, act.act.content))
        if done:
            self._books.acted(person, act)
            if isinstance(act.act, ReleaseGiven):
                self._released(act)

    # The database

    def database_away(self, away: bool) -> None:
        self.say("database", "is away" if away else "is back")
        self._database.away = away
        self.disturb()
        if not away:
            for gateway in self._gateways:
                gateway.wake()

    def _back_up(self) -> None:
        self._backups = [*self._backups[-2:], (self._database.backup(), len(self._keys.heads))]

    def restore(self) -> None:
        """Everything stops, an older database is put in, and everything starts again."""
        if not self._backups:
            return
        for gateway in tuple(self._gateways):
            gateway.kill("for the restore")
        backup, heads = self._backups.pop(self._deaths.randrange(len(self._backups)))
        self._backups = []
        self.count("restore")
        self.say("database", "is restored from an older backup")
        self._truth.lost.append(self._database.restore(backup))
        del self._keys.heads[heads:]
        self._said = len(self._database.rows("log"))
        self._books.restored()
        self._officers.forget()
        self._web = self._new_web()
        self.disturb()

    # Time, attack, panels

    def jump(self, by_us: int) -> None:
        """The clock of the dispatcher's machine and its database jumps. Only who looks at health should notice."""
        self.say("clock", f"jumps by {by_us // S} s")
        self._wall.error_us += by_us
        for gateway in self._gateways:
            gateway.wake()

    def clock_returns(self) -> None:
        """The clock shows the time again that is trusted, to a few seconds."""
        self.jump(self._trusted_error_us() - self._wall.error_us)

    def confirm_time(self) -> None:
        """An administrator says that the clock is right, whether it is or not, within what speakers bear."""
        if abs(self._wall.error_us) > JUMPED_US_MAX // 2:
            self.clock_returns()
            return
        process = self.own_process("administrator")
        try:
            with process.read() as read:
                row = read.get(ClockState, clocks.ROW)
            clocks.confirm(process, row.serial if row is not None else 0, "administrator", "by the radio's time signal")
        except (Refused, StoreUnavailable):
            return
        self.count("clock.confirmed")
        self._truth.error_us_max = max(self._truth.error_us_max, abs(self._wall.error_us))
        self.disturb()
        for gateway in self._gateways:
            gateway.wake()

    def _trusted_error_us(self) -> int:
        """How wrong the time is that the dispatcher trusts."""
        return self._database.now_us() - self.clock.us

    def strike(self) -> None:
        self._struck_us = self.clock.us
        self._attacker.strike()

    def lie(self, rng: Random) -> None:
        self._liars.lie(rng)

    def play_unknown(self, rng: Random) -> None:
        order, since_us = self._liars.rogue(rng), self.clock.us
        self.say("speakers", f"play {order}, which nobody gave out")
        self.clock.later(ALARM_US, lambda: self._if_well(order, since_us, self._ending.alarmed))

    def crowd(self) -> None:
        """More is reported for one place within minutes than one stream has room for."""
        self._events.crowd()

    def panels_lose(self, percent: int, clock_error_us: int) -> None:
        for panel in self._panels.values():
            panel.loses_percent, panel.clock_error_us = percent, clock_error_us

    # Signing keys, and what the broker holds

    def break_key(self, use: str, why: str) -> None:
        """The key of this use signs nothing from now on."""
        if use in self._keys.broken:
            return
        self.say("keys", f"the key for {use} is {why}")
        self._keys.broken[use] = (why, self.clock.us)
        self._keys_changed_us = self.clock.us

    def mend_key(self, use: str) -> None:
        if self._keys.broken.pop(use, None) is not None:
            self.say("keys", f"the key for {use} signs again")
            self._keys_changed_us = self.clock.us
            for gateway in self._gateways:
                gateway.wake()

    def steal_key(self, rng: Random) -> str:
        """Somebody has a key of the dispatcher's and a place at the broker; the id of his order."""
        order = self._thief.steal(rng)
        self.say("thief", f"publishes {order} on {self._truth.stolen[order].stream}")
        self.disturb()
        return order

    def revoke_key(self, order: str) -> None:
        """People make the key's successor and take the key out of the key document, unless that was done already."""
        where = self._truth.stolen[order]
        use = str(parse_manifest_topic(where.stream).use)
        if self._keys.private[use].kid == where.kid:
            self._keys.revoke(use, self.clock.us)
            self.say("keys", f"{where.kid} has been revoked")
            self._keys_changed_us = self.clock.us
            for gateway in self._gateways:
                gateway.keys_changed()
        self.disturb()
        since_us = self.clock.us
        self.clock.later(TAKEN_BACK_US, lambda: self._if_steady(order, since_us))

    def _if_steady(self, order: str, since_us: int) -> None:
        if self._steady(self.clock.us - since_us - S) and self._struck_us < since_us:
            self._ending.taken_back(order, since_us)

    def _unrevoked(self) -> list[str]:
        """The thief's orders whose key is listed still."""
        listed = {key.kid for key in self._keys.document.keys}
        return [order for order, where in self._truth.stolen.items() if where.kid in listed]

    def stolen(self, kid: str) -> bool:
        """Whether people know that somebody else has this key."""
        return any(where.kid == kid for where in self._truth.stolen.values())

    def lose_copy(self, rng: Random) -> None:
        """The broker loses what it held of an occupied stream, and tells nobody."""
        chance = rng.random()
        with self._database.read() as read:
            topics = [topic for topic in broker_copies.occupied(read) if topic in self.broker.retained]
        if topics:
            topic = topics[int(chance * len(topics))]
            del self.broker.retained[topic]
            self.count("copy.lost")
            self.say("broker", f"loses {topic}")

    def _watch_keys(self) -> None:
        """Law 11: health claims no more than was proved. What is known to be broken for long is red, what is whole for
        long is not."""
        if self._database.away:
            return
        for gateway in self._gateways:
            gateway.watch_keys()
        since_us = self.clock.us - KEYS_SEEN_US
        if not self._steady(KEYS_SEEN_US) or self._struck_us > since_us or self._keys_changed_us > since_us:
            return
        with self._database.read() as read:
            uses = signing_keys.health(read).uses
        for use in uses:
            why, broken_us = self._keys.broken.get(use.use, ("", 0))
            if why and use.well:
                age_s = (self.clock.us - broken_us) // S
                said = f"health says that keys for {use.use} are well, but the key is {why} since {age_s} s"
                self._truth.broken(11, use.use, said)
            elif not why and not use.well:
                said = "; ".join(words(problem)[0] for problem in use.problems)
                self._truth.broken(11, use.use, f"health says of the whole key for {use.use}: {said}")
            self.count("key.seen_red" if why else "key.seen_well")

    def _watch_copies(self) -> None:
        """Law 8: what is in force stays on the broker; what was lost or replaced there is back within two looks."""
        if self._database.away or not self._well(COPIES_US):
            self._unlike = {}
            return
        with self._database.read() as read:
            wanted = broker_copies.occupied(read)
        unlike = {
            topic
            for topic, stream in wanted.items()
            if stream is not None and self.broker.retained.get(topic) != stream.signed
        }
        self._unlike = {topic: self._unlike.get(topic, self.clock.us) for topic in unlike}
        for topic, since_us in self._unlike.items():
            if self.clock.us - since_us > COPIES_US:
                self._truth.broken(8, topic, f"the broker has not held what is in force on {topic} for long")

    def _released(self, act: BroadcastAct) -> None:
        """Law 11: no person's release is taken as on air when it is known that nothing can be signed for it."""
        b = self._database.rows(Broadcast)[act.broadcast]
        since_us = self.clock.us - KEYS_SEEN_US
        if b.phase is Phase.ALERT and b.use in self._keys.broken and self._steady(KEYS_SEEN_US):
            if self._keys_changed_us < since_us and self._struck_us < since_us:
                self._truth.broken(11, b.id, f"the release of {b.id} was taken, but no key for {b.use} signs")

    # Now and then

    def _look(self) -> None:
        self._watch_keys()
        self._watch_copies()
        if self._database.commits != self._looked_at:
            self._looked_at = self._database.commits
            self._officers.look()
        if self._well(STEADY_US):
            self._books.look()
            self._obedience.look(self.clock.us)
        else:
            self._obedience.forget()

    def _well(self, for_us: int) -> bool:
        """Whether everything has worked for as long, signing keys included."""
        whole = not self._keys.broken and not self._unrevoked() and self._keys_changed_us < self.clock.us - for_us
        return whole and self._steady(for_us)

    def _steady(self, for_us: int) -> bool:
        up = bool(self._gateways) and self.broker.up and not self._database.away
        return up and self.broker.weather == Weather() and self._disturbed_us < self.clock.us - for_us
