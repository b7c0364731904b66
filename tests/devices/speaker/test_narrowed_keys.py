"""A key that may sign less than before is taken back like a removed one wherever it may not sign any more."""

from __future__ import annotations

from dataclasses import replace

import pytest

from devices.protocols.documents import KeyDocument, KeyUse
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic, sign
from tests.devices.speaker.thief import (
    LIE,
    OTHER_CONFIG,
    SECOND,
    STREAM,
    Restart,
    by_the_thief,
    config,
    config_keys,
    either,
    narrowed,
    reasons,
    stolen,
    two_keys,
)
from tests.devices.speaker.world import CITY, CONFIG, DISTRICT, KEYS, ROOT, SETUP, SPEAKER, T0, S, an_order, link_key

LIMITS = [{"levels": (4,)}, {"area": DISTRICT}, {"use": KeyUse.EXERCISE}, {"issuer": "district"}]
limits = pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: next(iter(limit)))


@pytest.mark.parametrize("limit", LIMITS[1:], ids=lambda limit: next(iter(limit)))
@either
def test_its_version_counts_no_more_where_it_may_not_sign(between: Restart, limit: dict[str, object]) -> None:
    world = stolen(an_order("thiefs", level=1, repeat=99)).advance(2)
    between(world).publish(KEYS_TOPIC, narrowed(3, **limit))
    world.advance(1).order(an_order("ours"), signer=SECOND).advance(3)
    assert world.sounding_order() == "ours"


def test_its_version_counts_on_where_it_may_sign_other_levels() -> None:
    world = stolen(an_order("thiefs", level=1, repeat=99)).advance(2)
    world.publish(KEYS_TOPIC, narrowed(3, levels=(4,))).advance(1)
    world.order(an_order("ours"), signer=SECOND).advance(3)
    assert (world.sounding_order(), reasons(world)) == ("thiefs", ["version_back"])
    above = world.utc // 1_000 + 595_000
    world.message(STREAM, world.manifest(an_order("ours"), signer=SECOND, version=above)).advance(3)
    assert world.sounding_order() == "ours"


def test_it_vouches_for_no_order_of_a_level_that_it_may_not_sign() -> None:
    world = stolen(an_order("red", level=1, repeat=99), an_order("blue", level=4)).advance(2)
    world.publish(KEYS_TOPIC, narrowed(3, levels=(4,))).advance(1)
    world.message(STREAM, world.manifest(signer=SECOND, version=world.utc // 1_000 + 595_000)).advance(1)
    found = {key: str(standing.order.state) for key, standing in world.state.orders.items()}
    assert found == {"actual/red": "withdrawn", "actual/blue": "in_force"}


@limits
@either
def test_what_it_began_holds_nothing_back(between: Restart, limit: dict[str, object]) -> None:
    world = two_keys()
    world.order(*(an_order(f"thief-{n}", level=1, start_at=T0 + n) for n in range(SETUP.starts_per_hour_max)))
    between(world.advance(120)).publish(KEYS_TOPIC, narrowed(3, **limit)).advance(1)
    world.order(an_order("ours", level=1, start_at=T0 + 130 * S), signer=SECOND).advance(60)
    assert world.sounds()[-1] == "ours#1"


def test_what_it_may_still_sign_uses_up_a_start() -> None:
    world = two_keys()
    world.order(*(an_order(f"blue-{n}", level=4, start_at=T0 + n) for n in range(SETUP.starts_per_hour_max)))
    world.advance(120).publish(KEYS_TOPIC, narrowed(3, levels=(4,))).advance(1)
    world.order(an_order("ours", level=4, start_at=T0 + 130 * S), signer=SECOND).advance(60)
    assert world.steps("ours")[-1] == "refused:rate_limited"


@limits
@either
def test_words_of_a_level_that_it_may_not_sign_were_never_heard(between: Restart, limit: dict[str, object]) -> None:
    ours = an_order(level=1, start_at=T0 + 5 * S)
    world = by_the_thief(two_keys(), replace(ours, rev=2, texts=LIE)).advance(40)
    assert world.sounds() == ["o-1#1"]
    between(world).publish(KEYS_TOPIC, narrowed(3, **limit)).advance(1)
    world.message(STREAM, world.manifest(ours, signer=SECOND, version=world.versions[STREAM] + 1)).advance(60)
    assert world.state.orders["actual/o-1"].order.texts == ours.texts
    assert world.sounds() == ["o-1#1", "o-1#1"]


@limits
def test_its_words_are_cut_while_they_sound(limit: dict[str, object]) -> None:
    ours = an_order(level=1)
    world = two_keys()
    world.sound_ms = 600_000
    world.order(replace(ours, rev=2, texts=LIE)).advance(3).order(replace(ours, rev=3), signer=SECOND).advance(1)
    world.publish(KEYS_TOPIC, narrowed(3, **limit)).advance(3)
    assert world.sounds() == ["o-1#1…"]


@limits
@either
def test_what_it_superseded_comes_back(between: Restart, limit: dict[str, object]) -> None:
    ours = an_order("ours", level=1, repeat=9)
    world = two_keys().order(ours, signer=SECOND).advance(5)
    thiefs = an_order("thief", level=1, start_at=T0 + 3 * S, supersedes=("ours",))
    by_the_thief(world, ours, thiefs).advance(20)
    between(world).publish(KEYS_TOPIC, narrowed(3, **limit)).advance(1)
    world.message(STREAM, world.manifest(ours, signer=SECOND, version=world.versions[STREAM] + 1)).advance(5)
    assert world.sounding_order() == "ours"


@either
def test_a_config_of_a_key_that_was_moved_elsewhere_keeps_no_other_from_putting_the_speaker_back(
    between: Restart,
) -> None:
    world = two_keys().publish(KEYS_TOPIC, config_keys(3, CONFIG, OTHER_CONFIG)).advance(1)
    world.message(config_topic(SPEAKER), config(CONFIG, version=50, area_chain=(CITY, "elsewhere"))).advance(1)
    others = tuple(k for k in KEYS.keys if k.kid != CONFIG.kid)
    district = link_key(OTHER_CONFIG, KeyUse.CONFIG, area=DISTRICT)
    moved = link_key(CONFIG, KeyUse.CONFIG, area="another-city")
    between(world).publish(KEYS_TOPIC, sign(KeyDocument(4, T0, (*others, district, moved)), ROOT)).advance(1)
    world.message(config_topic(SPEAKER), config(OTHER_CONFIG, version=6)).advance(1)
    assert world.state.papers.config == replace(SETUP, version=6)
