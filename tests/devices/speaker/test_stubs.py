"""Withdrawn orders as stubs: what a speaker takes from one, and what a manifest sweeps away."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.documents import Order, OrderState, Phase, stub
from devices.protocols.selector import Selector
from devices.speaker import events as e
from tests.devices.speaker.world import BASE, DISTRICT, HOUR, T0, S, World, an_audio, an_order, withdrawn


def held(world: World, id: str = "o-1") -> Order:
    return world.state.orders[f"actual/{id}"].order


def test_a_stub_takes_the_order_off_the_air_and_the_words_stay() -> None:
    order = an_order(repeat=3)
    world = World().up().order(order).advance(3).order(withdrawn(order)).advance(60)
    assert world.steps("o-1")[-1] == "superseded:withdrawn"
    assert held(world) == replace(order, rev=2, state=OrderState.WITHDRAWN)


def test_a_stub_may_bring_another_end() -> None:
    order = an_order()
    ended = replace(withdrawn(order), expires=T0 + 60 * S)
    assert held(World().up().order(order).advance(3).order(ended)).expires == T0 + 60 * S


def test_a_stopped_order_that_comes_back_sounds_again() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(withdrawn(order)).advance(5)
    world.order(replace(order, rev=3)).advance(60)
    assert world.sounds() == ["o-1#1…", "o-1#1", "o-1#2"]


def test_words_held_survive_the_restart_after_a_stub() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(withdrawn(order)).advance(5).crash().boot()
    assert held(world) == replace(order, rev=2, state=OrderState.WITHDRAWN)


def test_a_stub_of_an_order_never_held_is_kept_without_words_through_a_restart() -> None:
    gone = withdrawn(an_order())
    world = World().up().order(gone).advance(3)
    assert held(world) == stub(gone)
    world.crash().boot().advance(60)
    assert (held(world), world.sounds()) == (stub(gone), [])


@pytest.mark.parametrize("listed", [{"level": 1}, {"selector": Selector(areas=())}, {"expires": T0 + 2 * HOUR}])
def test_the_same_revision_with_other_content_is_a_conflict(listed: dict[str, object]) -> None:
    order = an_order()
    world = World().up().order(order).advance(3).order(withdrawn(order)).advance(1)
    before = held(world)
    world.order(replace(withdrawn(order), **listed)).advance(1)  # type: ignore[arg-type]
    assert held(world) == before
    assert world.refusals[-1][2] == "version_conflict"


def test_a_stub_at_the_revision_in_force_is_a_conflict_and_the_order_goes_on() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(replace(order, state=OrderState.WITHDRAWN)).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]
    assert [reason for _, _, reason in world.refusals] == ["version_conflict"]


def test_a_correction_finds_its_targets_in_the_stub() -> None:
    # The speaker has lost its journal, so that only the stub says whom the original was for.
    elsewhere = withdrawn(an_order(selector=Selector(areas=("210203000000",))))
    correction = an_order("c-1", phase=Phase.CORRECTION, corrects="o-1", start_at=T0, selector=Selector())
    world = World().up().order(elsewhere, correction).advance(30)
    assert world.sounds() == []


# What is no longer listed


def test_an_order_that_is_swept_is_withdrawn() -> None:
    order = an_order(repeat=9)
    world = World().up().order(order).advance(3).order(swept=order.start_at + 1).advance(60)
    assert world.sounds() == ["o-1#1…"]
    assert world.steps("o-1")[-1] == "superseded:withdrawn"


def test_a_speaker_that_was_away_for_the_stub_learns_of_it_by_the_sweep() -> None:
    order = an_order(repeat=200, expires=T0 + HOUR)
    world = World().up().order(order).advance(3).disconnect().advance(120)
    world.order(swept=order.start_at + 1)
    heard = len(world.sounds())
    world.connect().advance(120)
    assert world.sounds()[heard:] in ([], [f"o-1#{heard + 1}…"])


def test_an_order_that_is_only_missing_stays_in_force() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(swept=order.start_at).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_a_listed_order_is_never_swept() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(order, swept=order.start_at + 1).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_another_stream_sweeps_nothing_of_this_one() -> None:
    order = an_order(repeat=2)
    world = World().up().order(order).advance(3).order(area=DISTRICT, swept=order.start_at + 1).advance(60)
    assert world.sounds() == ["o-1#1", "o-1#2"]


def test_what_is_swept_stays_so_after_a_restart() -> None:
    order = an_order(repeat=9)
    world = World().up().order(order).advance(3).order(swept=T0 + 1).advance(5).crash().boot().connect().advance(60)
    assert world.sounds() == ["o-1#1…"]


def test_recordings_are_fetched_from_where_the_stream_says_now() -> None:
    audio = an_audio()
    order = an_order(audio=(audio,), start_at=T0 + HOUR, expires=T0 + 2 * HOUR)
    world = World().up().order(order).advance(3)
    world.feed(e.AudioFailed, sha256=audio.sha256, reason="http_500", again=True)
    world.order(order, audio_base="http://127.0.0.2/audio").advance(60)
    fetched = [effect.url for effect in world.effects if isinstance(effect, e.Fetch)]
    assert fetched == [f"{BASE}/{audio.sha256}", f"http://127.0.0.2/audio/{audio.sha256}"]
