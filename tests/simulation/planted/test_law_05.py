"""Planted against law 5: a speaker obeys only what is signed, fresh and in its turn."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from random import Random

import pytest

from devices.protocols.documents import Order, OrderClass, OrderState
from devices.protocols.jws import Typ, decode_base64url
from devices.protocols.jws import sign as sign_bytes
from devices.protocols.speaker_link import KEYS_TOPIC, Phase
from devices.speaker import events as e
from devices.speaker import limits, standing
from devices.speaker.claims import recounted
from devices.speaker.machine import decide
from devices.speaker.state import State
from services.dispatcher.domain.broadcasts import (
    Broadcast,
    BroadcastState,
    ReleaseGiven,
    Stopped,
    sentences,
)
from services.dispatcher.domain.signals import SignalKind, Use
from services.dispatcher.engine.air import room, signing_keys
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.events import BroadcastAct
from services.dispatcher.engine.ports import Page, Store
from simulators import city
from simulators.checks import HOUR_US
from simulators.city import CITY, Keys
from simulators.dispatcher import Parts
from simulators.endpoint import Heard, SimulatedSpeaker
from simulators.faults import Fault
from simulators.offices import DUTY, PEOPLE
from simulators.sources import SMOKE
from simulators.world import World
from tests.simulation.planted.planting import found, laws_broken

Machine = Callable[[State, e.Event], tuple[State, list[e.Effect]]]


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
        highest = {topic: max(of, key=lambda h: h.version) for topic, of in after.papers.accepted.items()}
        ours = {topic: replace(held, claim=held.claim._replace(x=newest)) for topic, held in highest.items()}
        papers = replace(after.papers, accepted={topic: (held,) for topic, held in ours.items()})
        return replace(after, papers=recounted(papers)), effects

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


def test_law_5_catches_an_all_clear_that_holds_a_newer_alert_back(monkeypatch: pytest.MonkeyPatch) -> None:
    # Gaps too short to lend, so that who waits is heard to wait.
    close = tuple(replace(playbook, gap_s=2) for playbook in city.playbooks())
    monkeypatch.setattr(city, "playbooks", lambda: close)

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


def sweeps_at_once(
    orders: Sequence[Order], ours: Collection[str], keep: Collection[str], swept_us: int, now_us: int
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
    monkeypatch.setattr(standing, "_sweep", lambda t, manifest, claim, listed: None)
    assert 5 in laws_broken(faults=(), prepare=asleep_over_the_stop)


def test_law_5_catches_a_speaker_that_counts_every_start_twice() -> None:
    def twice(state: State, event: e.Event) -> tuple[State, list[e.Effect]]:
        after, effects = decide(state, event)
        new = [start for start in after.starts if start not in state.starts]
        return replace(after, starts=(*after.starts, *new)), effects

    faults = (Fault.ROUGH_PEOPLE, Fault.TEST_BITS)
    broken = found(machine=twice, faults=faults, rough_s=3_600, seeds=range(100, 110))
    assert {violation.law for violation in broken} == {5}
    assert broken[0].sentence.endswith("by its rate limit, which is not reached")


def test_law_5_catches_a_speaker_on_which_a_thief_uses_up_the_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    def thefts(world: World) -> None:
        """Somebody's orders begin one after the other; the key is revoked, and then a notice of ours is due."""
        stolen: list[str] = []
        for second in (300, 330, 360):
            world.clock.later(second * 1_000_000, lambda: stolen.append(world.steal_key(Random("theft"))))
        world.clock.later(420_000_000, lambda: world.revoke_key(stolen[0]))
        world.clock.later(450_000_000, lambda: on_air_now(world, "notice", Use.ACTUAL, 4))

    assert found(faults=(), seeds=range(100, 102), rough_s=600, prepare=thefts) == ()
    monkeypatch.setattr(limits, "stands", lambda papers, claim: True)
    broken = found(faults=(), seeds=range(100, 104), rough_s=600, prepare=thefts)
    assert {violation.law for violation in broken} == {5}
    assert broken[0].sentence.endswith("by its rate limit, which is not reached")
