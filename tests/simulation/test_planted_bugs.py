"""Each law with a bug planted against it: a real part is wrapped, and the simulation must name the law that it breaks.

Without these, checks that look at nothing would pass as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import pytest

from devices.protocols.documents import Manifest, Order, OrderClass, OrderState
from devices.protocols.jws import Typ, decode_base64url
from devices.protocols.jws import sign as sign_bytes
from devices.protocols.speaker_link import KEYS_TOPIC, Phase
from devices.speaker import events as e
from devices.speaker import papers
from devices.speaker.events import SegmentKind
from devices.speaker.machine import decide
from devices.speaker.state import State, recounted
from services.dispatcher.domain.broadcasts import (
    Act,
    Broadcast,
    BroadcastState,
    Declined,
    Release,
    ReleaseGiven,
    StandingGiven,
    Stopped,
    sentences,
    wire_order,
)
from services.dispatcher.domain.effects import Sleep, Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.refusals import OverCap, UnknownOnAir
from services.dispatcher.domain.sightings import Sighting
from services.dispatcher.domain.signals import SignalKind, Use
from services.dispatcher.domain.verification import Task, TaskState
from services.dispatcher.engine.air import endings, room, sighted, signing_keys, streams
from services.dispatcher.engine.air.receipts import Arrived, Counted, keep_receipts
from services.dispatcher.engine.air.sighted import Seen
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.clock import ClockReading, ClockVerdict, GuardedClock
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, Event, SignalArrived, TimerDue
from services.dispatcher.engine.ports import (
    ClockState,
    Conflict,
    EffectRow,
    LogRow,
    Moment,
    Outcome,
    Page,
    Store,
    Stream,
)
from services.dispatcher.engine.relay import CarryFailed, Ended, NotYet, Relay
from services.dispatcher.engine.timers import TimerPass
from simulators import city
from simulators.checks import HOUR_US, Violation
from simulators.city import CITY, KEY_LOST, START_US, Keys
from simulators.dispatcher import Parts
from simulators.ending import Ending
from simulators.endpoint import Decide, Heard, SimulatedSpeaker
from simulators.faults import EVERY_FAULT, Fault
from simulators.offices import DUTY, PEOPLE, Temper
from simulators.sources import SMOKE, Fire
from simulators.world import Run, World

SEEDS = range(100, 112)
Machine = Callable[[State, e.Event], tuple[State, list[e.Effect]]]


def found(
    parts: Parts | None = None,
    machine: Decide = decide,
    faults: Sequence[Fault] = EVERY_FAULT,
    seeds: range = SEEDS,
    rough_s: int = 1_800,
    prepare: Callable[[World], None] = lambda world: None,
) -> tuple[Violation, ...]:
    """What the first violating seed breaks; empty when none does."""
    for seed in seeds:
        world = World(Run(seed, tuple(faults), rough_s, 1_260), parts, machine)
        prepare(world)
        outcome = world.run()
        if outcome.violations:
            return outcome.violations
    return ()


def laws_broken(*parts: Any, **how: Any) -> set[int]:
    """The laws that the first violating seed breaks."""
    return {violation.law for violation in found(*parts, **how)}


# Law 1: nothing sounds without a release


def test_law_1_catches_a_signer_that_skips_the_release() -> None:
    def sign_drafts_too(tx: Any, topic: str, signer: Any, city: Any, base: str) -> streams.Signed:
        """Puts every draft of the stream on the air, as if the last check were not there."""
        signed = streams.sign_stream(tx, topic, signer, city, base)
        drafts = tx.find(Broadcast, Page(limit=16), stream=topic, state=BroadcastState.DRAFT, phase=Phase.ALERT)
        now_us = tx.now_us()
        orders = [
            replace(wire_order(b), rev=1, start_at=now_us, expires=now_us + 600_000_000) for b in drafts if b.rev == 0
        ]
        if not orders:
            return signed
        version = signed.version + 1
        manifest = Manifest(topic, version, now_us, now_us + 600_000_000, "0" * 64, tuple(orders))
        raw = signer.sign_manifest(manifest, city.tree.chain(city.code).all)
        signer.heads.pop()
        return streams.Signed(topic, version, raw, fresh=True)

    assert laws_broken(Parts(sign_stream=sign_drafts_too)) == {1}


def test_law_1_catches_a_release_by_somebody_who_never_pressed_the_button() -> None:
    class Forges(Engine):
        """Writes a release of its own beside every draft, and lets one person's release count for two."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            outcome = super().handle(events)
            with self._store.write() as tx:
                for b in tx.find(Broadcast, Page(limit=100), state=BroadcastState.DRAFT, phase=Phase.ALERT):
                    if b.released_by and len(b.released_by) < b.people_needed:
                        tx.put(Release(self._ids.new(), b.id, Act.RELEASE, "ghost", b.content, "", "", tx.now_us()))
                        tx.put(replace(b, released_by=("ghost",), approved=True, people_needed=1))
            return outcome

    assert 1 in laws_broken(Parts(engine=Forges))


def test_law_1_catches_a_no_that_is_not_recorded() -> None:
    class Forgets(Engine):
        """Takes a decision not to broadcast, and keeps no row of it."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            outcome = super().handle(events)
            for event in events:
                if isinstance(event, BroadcastAct) and isinstance(event.act, Declined):
                    with self._store.write() as tx:
                        for row in tx.find(Release, Page(limit=100), broadcast=event.broadcast):
                            tx.delete(Release, row.id)
            return outcome

    assert laws_broken(Parts(engine=Forgets)) == {1}


def test_law_1_catches_an_altered_line_of_the_log() -> None:
    def alter(world: World) -> None:
        def change() -> None:
            log = world._database.rows("log")
            row: LogRow = log[3]
            log[3] = replace(row, person="nobody")

        world.clock.at(world.clock.us + 1_900_000_000, change)

    assert laws_broken(faults=(), prepare=alter) == {1}


# Law 2: a drill is always a drill


def test_law_2_catches_a_speaker_that_drops_the_preface() -> None:
    def no_preface(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [_bare(effect) for effect in effects]

    assert laws_broken(machine=no_preface) == {2}


def test_law_2_catches_a_speaker_that_plays_a_drill_as_actual() -> None:
    def always_actual(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [
            replace(each, plan=replace(each.plan, use="actual")) if isinstance(each, e.Load) else each
            for each in effects
        ]

    assert laws_broken(machine=always_actual) == {2}


def _bare(effect: e.Effect) -> e.Effect:
    if not isinstance(effect, e.Load):
        return effect
    kept = tuple(s for s in effect.plan.segments if s.kind is not SegmentKind.PREFACE)
    return replace(effect, plan=replace(effect.plan, segments=kept))


# Law 4: correction and all-clear


def test_law_4_catches_an_alert_without_its_followers() -> None:
    class Bare(Engine):
        """Drafts alerts and throws their correction and all-clear away."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            outcome = super().handle(events)
            with self._store.write() as tx:
                for b in tx.find(Broadcast, Page(limit=200), state=BroadcastState.DRAFT):
                    if b.original:
                        tx.delete(Broadcast, b.id)
            return outcome

    assert laws_broken(Parts(engine=Bare), faults=()) == {4}


def test_law_4_catches_a_correction_that_no_speaker_plays() -> None:
    def only_alerts(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Takes the start of whatever was on air for not heard, so that nothing is left to correct."""
        marks = {key: replace(mark, started_us=0) for key, mark in state.marks.items()}
        return decide(replace(state, marks=marks), event)

    assert laws_broken(machine=only_alerts, faults=()) == {4}


def test_law_8_catches_a_speaker_that_does_not_notice_that_the_clock_was_put_forward() -> None:
    def unhurried(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Asks for the time when it is due, whatever a manifest says."""
        after, effects = decide(state, event)
        if isinstance(event, e.Message) and "/manifest/" in event.topic:
            after = replace(after, clock=state.clock)
            effects = [x for x in effects if not (isinstance(x, e.Publish) and x.topic.endswith("/hello"))]
        return after, effects

    def forward(world: World) -> None:
        for second in range(300, 1_800, 300):
            put_by(world, second, 230)
            put_by(world, second + 150, -230)

    assert laws_broken(machine=unhurried, faults=(), prepare=forward) & {4, 8}


# Law 5: only what was signed, for here, now


@dataclass(frozen=True)
class Gullible:
    """Believes whatever claims to be signed: it signs it again with the real key before it looks."""

    keys: Keys

    def __call__(self, state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        if isinstance(event, e.Message) and "/manifest/" in event.topic and event.payload.count(b".") == 2:
            try:
                body = decode_base64url(event.payload.split(b".")[1].decode())
            except ValueError:
                return decide(state, event)
            use = event.topic.split("/")[5]
            event = replace(event, payload=sign_bytes(body, Typ.MANIFEST, self.keys.private[use]))
        return decide(state, event)


def test_law_5_catches_a_speaker_that_does_not_check_signatures() -> None:
    machine = Swappable()
    faults = (Fault.ATTACK,)
    laws = laws_broken(machine=machine, faults=faults, prepare=lambda w: machine.become(Gullible(w._keys)))
    assert laws == {5}


def put_by(world: World, second: int, by_s: int) -> None:
    """The dispatcher's clock is put by so much, and an administrator confirms it a moment later."""
    world.clock.later(second * 1_000_000, lambda: world.jump(by_s * 1_000_000))
    world.clock.later((second + 2) * 1_000_000, world.confirm_time)


class Swappable:
    """A machine that is chosen once the world with its keys stands."""

    def __init__(self) -> None:
        self._machine: Machine = decide

    def become(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        return self._machine(state, event)


def replay_after(*seconds: int, streams_max: int = 16) -> Callable[[World], None]:
    """An attacker who sends the first manifest of every stream, the oldest before the others, again at these times."""

    def prepare(world: World) -> None:
        def replay() -> None:
            first: dict[str, bytes] = {}
            for genuine in world._keys.genuine.values():
                first.setdefault(genuine.manifest.stream, genuine.raw)
            for stream, raw in list(first.items())[:streams_max]:
                world.broker.publish(stream, raw, False)

        for second in seconds:
            world.clock.later(second * 1_000_000, replay)

    return prepare


def test_law_5_catches_a_speaker_that_goes_back_to_older_versions() -> None:
    def forgets_versions(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        if isinstance(event, e.Message) and event.topic in state.papers.streams:
            held = replace(state.papers.streams[event.topic], version=0)
            papers = replace(state.papers, streams={**state.papers.streams, event.topic: held})
            state = replace(state, papers=papers)
        return decide(state, event)

    assert laws_broken(machine=forgets_versions, faults=(), prepare=replay_after(600, 1_000, 1_400)) == {5}


def test_law_5_catches_a_speaker_that_ignores_freshness() -> None:
    def timeless(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Lives in the second after the manifest was signed, and has forgotten which one it held."""
        offset_us = state.clock.offset_us
        if not isinstance(event, e.Message) or "/manifest/" not in event.topic or offset_us is None:
            return decide(state, event)
        issued = json.loads(decode_base64url(event.payload.split(b".")[1].decode()))["issued"]
        clock = replace(state.clock, offset_us=issued + 1_000_000 - event.mono_us)
        held = {topic: stream for topic, stream in state.papers.streams.items() if topic != event.topic}
        then = replace(state, clock=clock, papers=replace(state.papers, streams=held))
        after, effects = decide(then, event)
        return replace(after, clock=replace(after.clock, offset_us=offset_us)), effects

    broken = found(machine=timeless, faults=(), rough_s=7_200, prepare=replay_after(7_000, streams_max=1))
    assert any(violation.law == 5 and violation.sentence.endswith("which is stale") for violation in broken)


def test_law_5_catches_a_speaker_without_rate_limit() -> None:
    def tireless(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        return decide(replace(state, starts=()), event)

    faults = (Fault.ROUGH_PEOPLE, Fault.TEST_BITS)
    assert laws_broken(machine=tireless, faults=faults, rough_s=9_000, seeds=range(100, 140)) == {5}


def test_law_5_catches_a_speaker_that_ages_its_starts_by_its_own_clock() -> None:
    def believes_itself(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        if isinstance(event, e.Booted):
            recent = tuple(s for s in after.starts if event.at_us - s.at_us < HOUR_US)
            after = replace(after, starts=recent)
        return after, effects

    def power_cuts_two_hours_ahead(world: World) -> None:
        for speaker in world.speakers:
            speaker.trouble.wall_error_us = 2 * HOUR_US
            for second in range(600, 9_000, 600):
                world.clock.later(second * 1_000_000, speaker.power_off)
                world.clock.later((second + 30) * 1_000_000, speaker.boot)

    faults = (Fault.ROUGH_PEOPLE, Fault.TEST_BITS)
    broken = found(
        machine=believes_itself, faults=faults, rough_s=9_000, seeds=range(100, 140), prepare=power_cuts_two_hours_ahead
    )
    assert {violation.law for violation in broken} == {5}
    assert any(violation.sentence.endswith("alerts in an hour") for violation in broken)


def test_law_5_catches_a_speaker_that_believes_the_time_it_stored() -> None:
    def believes_itself(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        if isinstance(event, e.Booted) and after.clock.offset_us is not None:
            after = replace(after, clock=replace(after.clock, verified=True))
        return after, effects

    def cut_in_the_first_repeat(world: World) -> None:
        began = world.began

        def cut(speaker: SimulatedSpeaker, heard: Heard) -> None:
            began(speaker, heard)
            if len(speaker.heard) == 1:
                speaker.trouble.wall_error_us = -1_000 * HOUR_US
                world.clock.later(5_000_000, speaker.power_off)
                world.clock.later(HOUR_US // 2, speaker.boot)

        world.began = cut  # type: ignore[method-assign]

    broken = found(
        machine=believes_itself,
        faults=(),
        rough_s=3_600,
        seeds=range(102, 112),
        prepare=cut_in_the_first_repeat,
    )
    assert {violation.law for violation in broken} == {5}
    assert any(violation.sentence.endswith("after it expired") for violation in broken)


def a_theft(world: World) -> None:
    """Somebody has a key after five minutes, and people revoke it two minutes later."""

    def steal() -> None:
        order = world.steal_key(Random("theft"))
        world.clock.later(120_000_000, lambda: world.revoke_key(order))

    world.clock.later(300_000_000, steal)


def test_law_5_catches_a_speaker_that_keeps_the_version_of_a_removed_key() -> None:
    def keeps_versions(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Holds what a removed key signed as if the newest key had signed it."""
        after, effects = decide(state, event)
        if not isinstance(event, e.Message) or event.topic != KEYS_TOPIC or after.papers.keys is state.papers.keys:
            return after, effects
        assert after.papers.keys is not None
        newest = after.papers.keys.keys[-1].x
        highest = {topic: max(of.values(), key=lambda h: h.version) for topic, of in after.papers.accepted.items()}
        accepted = {topic: {newest: held} for topic, held in highest.items()}
        return replace(after, papers=recounted(replace(after.papers, accepted=accepted))), effects

    broken = found(machine=keeps_versions, faults=(), rough_s=600, prepare=a_theft)
    assert {violation.law for violation in broken} == {5}
    assert "still holds version" in broken[0].sentence


def test_law_5_catches_a_gateway_that_signs_nothing_anew_when_a_key_is_removed() -> None:
    known: dict[str, KeyReport] = {}

    def forgets_no_key(store: Store, gateway: str, found: Sequence[KeyReport], document: int) -> None:
        listed = {each.key.id for each in found}
        known.update({each.key.id: each for each in found})
        gone = [replace(each, fault="absent") for id, each in known.items() if id not in listed]
        signing_keys.report(store, gateway, [*found, *gone], document)

    broken = found(Parts(report_keys=forgets_no_key), faults=(), rough_s=600, prepare=a_theft)
    assert {violation.law for violation in broken} == {5}
    assert "has been removed" in broken[0].sentence


# Law 5: the order of sounds


def on_air_now(world: World, hazard: str, use: Use, level: int) -> str:
    """Everybody at once: an authority warns the whole city, and officers release it in the same moment."""
    bureau = world._programme._waterworks
    bureau._deliver(bureau._signal(f"cap/now/{hazard}", hazard, use, level, (CITY,), SignalKind.ALERT))
    with world.web()[0].read() as read:
        drafts = read.find(Broadcast, Page(limit=500), phase=Phase.ALERT, state=BroadcastState.DRAFT)
    made = next(b for b in drafts if (b.hazard, b.use) == (hazard, use))
    for person in ("li", "zhao")[: made.people_needed]:
        given = ReleaseGiven(person, PEOPLE[person], made.content, sentences(made)["zh"])
        world._desk.ask(person, BroadcastAct(made.id, given))
    return made.id


def when_first(world: World, begins: Callable[[Heard], bool], action: Callable[[], object]) -> None:
    """Do it two seconds after the first such sound anywhere has begun."""
    began, done = world.began, list[Heard]()

    def watched(speaker: SimulatedSpeaker, heard: Heard) -> None:
        began(speaker, heard)
        if not done and begins(heard):
            done.append(heard)
            world.clock.later(2_000_000, action)

    world.began = watched  # type: ignore[method-assign]


def notice_during_a_drill(world: World) -> None:
    def burn() -> None:
        for device in (b"1", b"2"):
            world._panels["x-metro"].report(device, SMOKE)

    world.clock.later(120_000_000, burn)
    when_first(world, lambda h: h.plan.use == "exercise", lambda: on_air_now(world, "notice", Use.ACTUAL, 4))


def gale_during_an_all_clear(world: World) -> None:
    released: list[str] = []
    world.clock.later(120_000_000, lambda: released.append(on_air_now(world, "rainstorm", Use.ACTUAL, 1)))
    world.clock.later(200_000_000, lambda: world._officers._follow(released[0], Phase.ALL_CLEAR))
    when_first(
        world,
        lambda h: h.plan.phase == "all_clear" and h.plan.use == "actual",
        lambda: on_air_now(world, "gale", Use.ACTUAL, 4),
    )


def test_law_5_catches_a_daily_item_that_ends_a_drill() -> None:
    def all_are_emergencies(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        return decide(_changed(state, lambda o: replace(o, order_class=OrderClass.EMERGENCY)), event)

    broken = found(machine=all_are_emergencies, faults=(), prepare=notice_during_a_drill)
    assert {violation.law for violation in broken} == {5}
    assert any(violation.sentence.endswith("a daily item goes before an emergency") for violation in broken)
    assert found(faults=(), seeds=range(100, 103), prepare=notice_during_a_drill) == ()


def test_law_5_catches_an_all_clear_that_holds_a_newer_alert_back() -> None:
    def never_gives_way(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Takes every all-clear for a correction."""
        taken = {Phase.ALL_CLEAR: Phase.CORRECTION}
        return decide(_changed(state, lambda o: replace(o, phase=taken.get(o.phase, o.phase))), event)

    broken = found(machine=never_gives_way, faults=(), prepare=gale_during_an_all_clear)
    assert {violation.law for violation in broken} == {5}
    assert any(violation.sentence.endswith("an all-clear holds a newer alert back") for violation in broken)
    assert found(faults=(), seeds=range(100, 103), prepare=gale_during_an_all_clear) == ()


def test_law_5_catches_a_correction_that_gives_way_to_a_newer_alert() -> None:
    def gives_way(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        """Takes every correction for an all-clear."""
        taken = {Phase.CORRECTION: Phase.ALL_CLEAR}
        return decide(_changed(state, lambda o: replace(o, phase=taken.get(o.phase, o.phase))), event)

    def gale_during_a_correction(world: World) -> None:
        released: list[str] = []
        world.clock.later(120_000_000, lambda: released.append(on_air_now(world, "rainstorm", Use.ACTUAL, 1)))
        world.clock.later(200_000_000, lambda: world._officers._follow(released[0], Phase.CORRECTION))
        when_first(
            world,
            lambda h: h.plan.use == "actual" and h.plan.event_code == "11B03" and bool(released),
            lambda: world.clock.later(80_000_000, lambda: on_air_now(world, "gale", Use.ACTUAL, 4)),
        )

    broken = found(machine=gives_way, faults=(), prepare=gale_during_a_correction)
    assert {violation.law for violation in broken} == {5}
    assert any(violation.sentence.endswith("a correction gives way to a newer alert") for violation in broken)
    assert found(faults=(), seeds=range(100, 103), prepare=gale_during_a_correction) == ()


def _changed(state: State, change: Callable[[Order], Order]) -> State:
    """The speaker's book with every order changed."""
    orders = {key: replace(standing, order=change(standing.order)) for key, standing in state.orders.items()}
    return replace(state, orders=orders)


# Law 7: acknowledge after commit, at most once heard


def test_law_7_catches_a_frame_confirmed_before_its_commit() -> None:
    assert laws_broken(Parts(confirms_first=True), faults=()) == {7}


def test_law_7_catches_a_repeated_frame_that_is_taken_for_another_report() -> None:
    class KnowsOneName(Engine):
        """Knows a report by the minute in which it came, and not by the minute before."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            return super().handle(
                [
                    replace(x, signal=replace(x.signal, other_key="")) if isinstance(x, SignalArrived) else x
                    for x in events
                ]
            )

    def repeats_over_the_minute(world: World) -> None:
        """Fires just before the minute turns, from panels without a clock; the gateway dies before the repeat."""
        world.panels_lose(40, -90 * 60_000_000)
        panel = next(iter(world._panels.values()))
        for minute in range(5, 25):
            turn_s = minute * 60
            world.clock.later((turn_s - 4) * 1_000_000, lambda: panel.report(b"1", 40))
            world.clock.later((turn_s - 3) * 1_000_000, lambda: world.kill_gateway(None))

    broken = found(Parts(engine=KnowsOneName), faults=(), prepare=repeats_over_the_minute)
    assert {violation.law for violation in broken} == {7}
    assert any(violation.sentence.endswith("became another signal") for violation in broken)
    assert found(faults=(), seeds=range(100, 102), prepare=repeats_over_the_minute) == ()


def test_law_7_catches_a_speaker_that_forgets_what_it_has_played() -> None:
    def forgetful(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        if isinstance(event, e.Booted):
            facts = tuple(entry for entry in event.image.entries if entry.kind != "mark")
            event = replace(event, image=replace(event.image, entries=facts))
        return decide(state, event)

    assert laws_broken(machine=forgetful, faults=(Fault.SPEAKER_CRASH,)) == {7}


def test_law_7_catches_repeats_that_are_never_finished() -> None:
    def one_is_enough(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        marks = {key: replace(m, heard=9) if m.heard else m for key, m in state.marks.items()}
        return decide(replace(state, marks=marks), event)

    assert laws_broken(machine=one_is_enough, faults=()) == {7}


def test_law_7_catches_a_repeat_that_is_taken_for_the_whole_order() -> None:
    def forgets_of_how_many(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        return after, [_without_count(effect) for effect in effects]

    faults = (Fault.ROUGH_PEOPLE, Fault.TEST_BITS)
    broken = found(machine=forgets_of_how_many, faults=faults)
    assert {violation.law for violation in broken} == {7}
    assert any(violation.sentence.endswith("and it has not") for violation in broken)


def _without_count(effect: e.Effect) -> e.Effect:
    """The effect without "of" in the evidence of its receipts."""
    if isinstance(effect, e.Publish) and effect.seq:
        return replace(effect, payload=_COUNT.sub(b"", effect.payload))
    if isinstance(effect, e.Persist):
        entries = tuple(
            replace(entry, value=_COUNT.sub(b"", entry.value.encode()).decode())
            if entry.kind == "receipt" and entry.value is not None
            else entry
            for entry in effect.entries
        )
        return replace(effect, entries=entries)
    return effect


_COUNT = re.compile(rb'"of":[0-9]+,')


# Law 8: no deadline and no effect is lost


def test_law_8_catches_a_relay_that_ticks_off_before_it_has_published() -> None:
    class Hasty(Relay):
        """Marks an effect done and then carries it out."""

        def _begin(self, effect: EffectRow, *group: Any) -> None:
            with self._store.write() as tx:
                tx.done(effect)
            super()._begin(effect, *group)

    assert 8 in laws_broken(Parts(relay=Hasty), faults=(Fault.GATEWAY_KILLED, Fault.BROKER_DOWN))


class CountsHandOns(Relay):
    """Takes looking again at what was handed on for a failed try, and gives up whatever has failed often enough."""

    def _ended(self, effect: EffectRow, why: CarryFailed | NotYet | Conflict, late_us: int) -> Ended:
        end = super()._ended(effect, why, late_us)
        if isinstance(why, NotYet):
            return replace(end, failed=effect.tries + 1, told=False)
        return replace(end, told=end.told or end.failed > 8)

    def _after_telling(self, end: Ended, tried_on: set[str]) -> Ended:
        return replace(end, again_us=None)


def backlog_and_a_blip(world: World) -> None:
    """The workers are ten minutes behind from the start; then the queue is away for a few seconds."""
    world.workers_behind(True)
    for second in range(600, 900, 60):
        world.clock.later(second * 1_000_000, lambda: world.queue_away(True))
        world.clock.later((second + 40) * 1_000_000, lambda: world.queue_away(False))
    world.clock.later(900_000_000, lambda: world.workers_behind(False))


def test_law_8_catches_a_relay_that_counts_what_it_has_handed_on_as_failed() -> None:
    broken = found(Parts(relay=CountsHandOns), faults=(), prepare=backlog_and_a_blip)
    assert {violation.law for violation in broken} == {8}
    assert any("nobody renders its" in violation.sentence for violation in broken)
    assert found(faults=(), seeds=range(100, 103), prepare=backlog_and_a_blip) == ()


def test_law_8_catches_a_timer_pass_that_takes_timers_before_it_acts() -> None:
    class Loses(TimerPass):
        """Removes a due timer in a transaction of its own, and acts in the next."""

        def run(self) -> int:
            with self._store.write() as tx:
                due = tx.due_timers(tx.now_us(), 10)
                for timer in due:
                    if timer.timer == Timer.RUNG:
                        tx.sleep(Sleep(Timer.RUNG, timer.subject))
            return super().run()

    assert 8 in laws_broken(Parts(timers=Loses), faults=())


def test_law_8_catches_a_broadcast_that_is_not_published() -> None:
    def says_nothing(tx: Any, topic: str, signer: Any, city: Any, base: str) -> streams.Signed:
        """Takes an order on air without a word to the speakers."""
        tx.delete(Stream, topic)
        return streams.Signed(topic, 1, b"", fresh=False)

    assert 8 in laws_broken(Parts(sign_stream=says_nothing), faults=())


def test_law_8_catches_a_signer_that_gives_up_while_the_broker_holds_what_is_unknown_here() -> None:
    def gives_up(tx: Any, topic: str, signer: Any, city: Any, base: str) -> streams.Signed:
        """Leaves a stream alone until a person has decided, also when there is something new to say."""
        stream = tx.get(Stream, topic)
        if stream is not None and streams.unknown_on_air(stream):
            raise UnknownOnAir(topic)
        return streams.sign_stream(tx, topic, signer, city, base)

    faults = (Fault.RESTORE, Fault.GATEWAY_KILLED, Fault.ROUGH_PEOPLE)
    assert 8 in laws_broken(Parts(sign_stream=gives_up), faults=faults, rough_s=5_400)


# Law 10: where nobody answers


def test_law_10_catches_a_ladder_that_does_not_climb() -> None:
    class Patient(Engine):
        """Asks the same rung again and again."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            before = {}
            with self._store.read() as read:
                for task in read.find(Task, Page(limit=500)):
                    before[task.id] = task.rung
            outcome = super().handle(events)
            if any(isinstance(event, TimerDue) for event in events):
                with self._store.write() as tx:
                    for task in tx.find(Task, Page(limit=500)):
                        if task.state is TaskState.ASKED and task.rung != before.get(task.id, task.rung):
                            tx.put(replace(task, rung=before[task.id]))
            return outcome

    assert laws_broken(Parts(engine=Patient), faults=()) == {10}


class Eager(Engine):
    """Releases at the end of every ladder, whatever the playbook says and however late it is."""

    def handle(self, events: Sequence[Event]) -> Outcome:
        outcome = super().handle(events)
        for event in events:
            if isinstance(event, TimerDue) and event.timer.timer == Timer.RUNG:
                self._release_for(event.timer.subject)
        return outcome

    def _release_for(self, task_id: str) -> None:
        with self._store.read() as read:
            task = read.get(Task, task_id)
            incident = read.get(Incident, task.incident) if task is not None else None
            alert = read.get(Broadcast, incident.alert) if incident is not None else None
        if task is not None and task.state is TaskState.UNANSWERED and alert is not None:
            super().handle([BroadcastAct(alert.id, StandingGiven("because nobody answered"))])


def test_law_10_catches_a_release_that_the_playbook_does_not_allow() -> None:
    broken = found(Parts(engine=Eager), faults=(), prepare=nobody_answers)
    assert any(v.law == 10 and v.sentence.endswith("but its playbook holds") for v in broken)


class TrustsTheClock(GuardedClock):
    """Takes whatever the clock shows for the time."""

    def look(self, seen: ClockReading, kept: ClockState | None, newest_us: Callable[[], int]) -> Moment:
        shown = ClockState("clock", seen.raw_us, seen.raw_us, seen.host_us, seen.mono_to_us)
        self._state = shown
        return Moment(shown, ClockVerdict.IN_ORDER)


def test_a_dispatcher_that_trusts_a_clock_that_jumped_is_caught_because_nothing_sounds() -> None:
    def two_hours_ahead_for_two_minutes(world: World) -> None:
        for second in range(200, 1_700, 300):
            world.clock.later(second * 1_000_000, lambda: world.jump(7_200_000_000))
            world.clock.later((second + 120) * 1_000_000, lambda: world.jump(-7_200_000_000))

    broken = found(Parts(guard=TrustsTheClock), faults=(), prepare=two_hours_ahead_for_two_minutes)
    assert broken and all("has not begun" in v.sentence for v in broken)
    assert found(faults=(), seeds=range(100, 102), prepare=two_hours_ahead_for_two_minutes) == ()


class ForgetsTheJump(GuardedClock):
    """Notices a jump while it runs, and knows nothing of one that it finds when it starts."""

    def look(self, seen: ClockReading, kept: ClockState | None, newest_us: Callable[[], int]) -> Moment:
        return super().look(seen, None, lambda: 0)


def test_law_8_catches_a_gateway_that_starts_by_a_clock_that_had_jumped() -> None:
    broken = found(Parts(guard=ForgetsTheJump), faults=(Fault.CLOCK_JUMPS, Fault.GATEWAY_KILLED))
    assert {v.law for v in broken} == {8}
    assert any(v.sentence.endswith("60 s after its release") for v in broken)


class Silent(Temper):
    """Offices that never answer."""

    def of(self, rough: int, calm: int) -> int:
        return 100


class EagerAtTheHub(Eager):
    """Releases where the playbook allows it, and asks nobody how late it is."""

    def _release_for(self, task_id: str) -> None:
        with self._store.read() as read:
            task = read.get(Task, task_id)
            incident = read.get(Incident, task.incident) if task is not None else None
        if incident is not None and incident.playbook == "hub-fire":
            super()._release_for(task_id)


def nobody_answers(world: World) -> None:
    """Detectors have gone off everywhere, and the offices say nothing."""
    for panel in world._panels.values():
        panel.fires += [Fire(world.clock.us, panel.panel, device, False, True) for device in (b"1", b"2")]
    world.clock.later(1_000_000, lambda: setattr(world._offices, "temper", Silent()))


def test_law_10_catches_a_release_by_a_timer_that_came_too_late() -> None:
    def away_and_silent(world: World) -> None:
        nobody_answers(world)
        for second in range(100, 1_700, 200):
            world.clock.later(second * 1_000_000, lambda: world.database_away(True))
            world.clock.later((second + 150) * 1_000_000, lambda: world.database_away(False))

    broken = found(Parts(engine=EagerAtTheHub), faults=(), prepare=away_and_silent)
    assert {v.law for v in broken} == {10}
    assert any("s late released" in v.sentence for v in broken)


def test_law_10_catches_a_release_by_a_timer_while_the_clock_is_off() -> None:
    def off_and_silent(world: World) -> None:
        nobody_answers(world)
        world.clock.later(50_000_000, lambda: world.jump(230_000_000))
        for second in range(100, 1_700, 200):
            # What comes in late releases nothing by itself, so that a ladder is what is left.
            world.clock.later(second * 1_000_000, lambda: world.database_away(True))
            world.clock.later((second + 100) * 1_000_000, lambda: world.database_away(False))

    broken = found(Parts(engine=EagerAtTheHub), faults=(), prepare=off_and_silent)
    assert {v.law for v in broken} == {10}
    assert any(v.sentence.endswith("though the clock had jumped") for v in broken)


# Law 11: nothing claims more than was proved


KEYS_BREAK = (Fault.KEY_LOST, Fault.KEY_EXPIRED)


def test_law_11_catches_health_that_says_well_though_the_key_can_not_sign() -> None:
    def tried_at_start_alone(store: Store, gateway: str, reports: Sequence[KeyReport], document: int) -> None:
        """Says of every key what held when the process started."""
        far_us = START_US + 10**15
        whole = [replace(r, key=replace(r.key, not_after_us=far_us), fault="", home_ago_us=0) for r in reports]
        signing_keys.report(store, gateway, whole, document)

    broken = found(Parts(report_keys=tried_at_start_alone), faults=KEYS_BREAK)
    assert {v.law for v in broken} == {11}
    assert any(v.sentence.startswith("health says that keys for") for v in broken)


def test_law_11_catches_health_that_is_red_for_a_key_that_signs() -> None:
    def never_home(store: Store, gateway: str, reports: Sequence[KeyReport], document: int) -> None:
        signing_keys.report(store, gateway, [replace(r, home_ago_us=None) for r in reports], document)

    broken = found(Parts(report_keys=never_home), faults=())
    assert {v.law for v in broken} == {11}
    assert any("of the whole key" in v.sentence for v in broken)


def test_law_11_catches_a_release_that_is_taken_though_nothing_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    def lost_for_long(world: World) -> None:
        for use in ("actual", "exercise"):
            world.clock.later(100_000_000, lambda use=use: world.break_key(use, KEY_LOST))  # type: ignore[misc]

    monkeypatch.setattr(signing_keys, "check_release", lambda tx, b, event, city: None)
    broken = found(faults=(), prepare=lost_for_long)
    assert {v.law for v in broken} == {11}
    assert any(v.sentence.endswith("signs") for v in broken)


def test_law_8_catches_a_broker_that_lost_what_is_on_air_and_was_never_asked_again() -> None:
    assert 8 in laws_broken(Parts(looks_afresh=False), faults=(Fault.COPY_LOST,))


# Law 1 and 11: what speakers say is judged


def test_law_1_catches_an_intake_that_raises_nothing_about_orders_nobody_gave_out() -> None:
    def shrugs(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        with store.read() as read:
            given = [a for a in arrived if not a.receipt.order or read.get(Broadcast, a.receipt.order) is not None]
        return keep_receipts(store, given, *rest)

    broken = found(Parts(keep_receipts=shrugs), faults=(Fault.UNKNOWN_ORDER,), rough_s=3_600)
    assert {v.law for v in broken} == {1}
    assert all("no red incident says so" in v.sentence for v in broken)


def test_law_1_catches_an_alarm_about_what_was_given_out_here() -> None:
    def panics(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        """Takes every order that plays for one that nobody gave out."""
        counted = keep_receipts(store, arrived, *rest)
        with store.write() as tx:
            orders = [a for a in arrived if a.receipt.order]
            rows = [Sighting(f"order/{a.receipt.order}", order=a.receipt.order, rev=2**40) for a in orders]
            sighted.note(tx, [Seen(row, a.speaker) for row, a in zip(rows, orders, strict=True)])
        return counted

    broken = found(Parts(keep_receipts=panics), faults=())
    assert {v.law for v in broken} == {1}
    assert all(v.sentence.endswith("is an alarm, and it was given out here") for v in broken)


def signed_by_a_stranger(world: World) -> None:
    """What the dispatcher signs for actual orders soon bears a key that no speaker knows; its canary does not tell."""
    keys = world._keys
    mine, own = keys.private["actual"], keys.sign_manifest

    def sign(manifest: Manifest, area_chain: tuple[str, ...]) -> bytes:
        keys.private["actual"] = keys.private["stranger"]
        try:
            return own(manifest, area_chain)
        finally:
            keys.private["actual"] = mine

    world.clock.later(120_000_000, lambda: setattr(keys, "sign_manifest", sign))


def test_law_11_catches_an_intake_that_shrugs_at_what_speakers_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    def shrugs(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        return keep_receipts(store, [a for a in arrived if a.receipt.order], *rest)

    # That nothing sounds is another law's; here it is asked who says so.
    for check in ("sounded", "stopped", "followed"):
        monkeypatch.setattr(Ending, check, lambda *_: None)
    broken = found(Parts(keep_receipts=shrugs), faults=(), prepare=signed_by_a_stranger)
    assert {v.law for v in broken} == {11}
    assert all("no red incident says so" in v.sentence for v in broken)
    assert 11 not in laws_broken(faults=(), prepare=signed_by_a_stranger)


def test_law_11_catches_an_intake_that_believes_every_microphone() -> None:
    def trusts(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        return keep_receipts(store, [replace(a, microphone=True) for a in arrived], *rest)

    broken = found(Parts(keep_receipts=trusts), faults=(Fault.SPEAKER_LIES,), rough_s=3_600)
    assert {v.law for v in broken} == {11}


def test_law_7_catches_an_intake_that_believes_every_time() -> None:
    def trusts(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        """Puts the time of receipt where a speaker states one that can't be."""
        timeless = []
        for a in arrived:
            steps = tuple(replace(step, at=0) for step in a.receipt.steps)
            timeless.append(replace(a, receipt=replace(a.receipt, steps=steps)))
        return keep_receipts(store, timeless, *rest)

    broken = found(Parts(keep_receipts=trusts), faults=(Fault.SPEAKER_LIES,), rough_s=3_600)
    assert 7 in {v.law for v in broken}
    assert any("too much" in v.sentence for v in broken)


# A full stream


def test_law_4_catches_an_all_clear_that_is_refused_because_its_stream_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(tx: Any, joining: Broadcast, person: str) -> list[Any]:
        """Counts orders, whoever they belong to."""
        if len(streams.taken(tx, joining.stream).families) >= 4:
            raise OverCap("four orders")
        return []

    monkeypatch.setattr(endings, "make_room", refuses)
    assert 4 in laws_broken(faults=(Fault.CROWDED,), rough_s=3_600)


def sweeps_at_once(
    orders: Sequence[Order], ours: Collection[str], keep: Collection[str], swept_us: int
) -> tuple[list[Order], int]:
    """Lists no stub but of what may come back, as if others always needed the room."""
    gone = [o for o in orders if o.state is OrderState.WITHDRAWN and o.id not in keep]
    shown = [o for o in orders if o not in gone]
    return shown, max([swept_us, *(o.start_at + 1 for o in gone)])


def test_law_5_catches_a_speaker_that_goes_on_with_what_was_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    # Long orders, so that a speaker that slept through a stop still has something to say when it wakes.
    long = tuple(replace(playbook, repeat=20, gap_s=20) for playbook in city.playbooks())
    monkeypatch.setattr(city, "playbooks", lambda: long)
    monkeypatch.setattr(room, "listed", sweeps_at_once)

    def asleep_over_the_stop(world: World) -> None:
        released: list[str] = []

        def stop() -> None:
            for speaker in world.speakers:
                speaker.power_off()
            world._desk.ask("wang", BroadcastAct(released[0], Stopped("wang", DUTY, "wait")))

        world.clock.later(120_000_000, lambda: released.append(on_air_now(world, "rainstorm", Use.ACTUAL, 1)))
        world.clock.later(160_000_000, stop)
        for speaker in world.speakers:
            world.clock.later(260_000_000, speaker.boot)

    assert found(faults=(), seeds=range(100, 102), prepare=asleep_over_the_stop) == ()
    monkeypatch.setattr(papers, "sweep", lambda t, manifest, signer: None)
    assert 5 in laws_broken(faults=(), prepare=asleep_over_the_stop)
