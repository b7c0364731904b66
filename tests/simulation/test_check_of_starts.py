"""The check of the rate limit itself: what counts as a start of a speaker's, and what a removed key has used up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from devices.protocols.documents import Manifest, Order
from devices.protocols.jws import SigningKey
from devices.protocols.speaker_link import digest, manifest_topic, sign
from devices.speaker.claims import Claim, HeldManifest
from devices.speaker.events import SoundPlan
from simulators.checks import Ears
from simulators.city import CITY, ISSUER, Genuine
from simulators.endpoint import Heard, SimulatedSpeaker
from simulators.voice import STARTS_PER_HOUR_MAX
from simulators.world import Run, World
from tests.devices.speaker.world import S, an_order

TOPIC = manifest_topic(CITY, "actual", ISSUER)


class Street:
    """A speaker of the simulated city, and what it takes and plays by hand."""

    def __init__(self) -> None:
        self.world = World(Run(1, (), 600, 60))
        self.ears, self.keys, self.truth = Ears(self.world._truth), self.world._keys, self.world._truth
        self.speaker: SimulatedSpeaker = self.world.speakers[0]
        self.version = 0
        self.now_us = self.world.clock.us

    def takes(self, *orders: Order, by: SigningKey | None = None, whole: bool = True) -> None:
        self.version += 1
        manifest = Manifest(TOPIC, self.version, self.now_us, self.now_us + 3_600 * S, "", orders)
        raw = sign(manifest, by or self.keys.private["actual"])
        self.keys.genuine[raw] = Genuine(raw, manifest)
        before = self.speaker.state
        held = HeldManifest(Claim(""), self.version, digest(raw))
        papers = replace(before.papers, keys=self.keys.document, streams={TOPIC: held})
        self.speaker.state = replace(before, papers=papers)
        self.ears.took(self.speaker, TOPIC, raw, before, whole)

    def plays(self, order: Order, after_s: int) -> None:
        plan = SoundPlan(f"actual/{order.id}", "actual", order.rev, 1, (), 60, 8_000, order.level, "alert", "11B03")
        heard = Heard(self.speaker.disk.journal, plan, self.now_us + after_s * S, 8_000)
        self.speaker.heard.append(heard)
        self.ears.began(self.speaker, heard)

    def says_limited(self, order: Order) -> None:
        self.ears.held_back(self.speaker, f"actual/{order.id}", order.rev)

    def revokes(self) -> None:
        """The key that signs is taken away. The speaker hears of it with the next manifest."""
        self.keys.revoke("actual", self.now_us)

    def broken(self, words: str) -> list[str]:
        return [v.sentence for v in self.truth.violations if v.law == 5 and words in v.sentence]


@pytest.fixture
def street() -> Iterator[Street]:
    yield Street()


def orders(count: int) -> list[Order]:
    return [an_order(f"o-{number}") for number in range(count)]


def test_more_starts_than_the_limit_are_too_many(street: Street) -> None:
    many = orders(STARTS_PER_HOUR_MAX + 1)
    street.takes(*many)
    for number, order in enumerate(many):
        assert street.broken("alerts in an hour") == []
        street.plays(order, number)
    assert len(street.broken("alerts in an hour")) == 1


def test_what_was_taken_over_a_power_cut_uses_up_starts_as_well(street: Street) -> None:
    many = orders(STARTS_PER_HOUR_MAX + 1)
    street.takes(*many, whole=False)
    for number, order in enumerate(many):
        street.plays(order, number)
    assert len(street.broken("alerts in an hour")) == 1


def test_what_a_removed_key_began_uses_up_nothing(street: Street) -> None:
    thiefs, ours = orders(STARTS_PER_HOUR_MAX), an_order("ours")
    street.takes(*thiefs)
    for number, order in enumerate(thiefs):
        street.plays(order, number)
    street.revokes()
    street.takes(ours)
    street.plays(ours, 60)
    assert street.broken("alerts in an hour") == []


def test_the_next_revision_of_an_order_that_a_removed_key_began_is_no_new_start(street: Street) -> None:
    long = an_order("long")
    street.takes(long)
    street.plays(long, 0)
    street.revokes()
    many = orders(STARTS_PER_HOUR_MAX)
    street.takes(*many, replace(long, rev=2))
    for number, order in enumerate(many):
        street.plays(order, 7_200 + number)
    street.plays(replace(long, rev=2), 7_300)
    assert street.broken("alerts in an hour") == []


def test_a_limit_that_is_not_reached_holds_nothing_back(street: Street) -> None:
    begun, ours = orders(STARTS_PER_HOUR_MAX), an_order("ours")
    street.takes(*begun, ours)
    for number, order in enumerate(begun):
        street.plays(order, number)
    street.says_limited(ours)
    assert street.broken("rate limit") == []
    street.revokes()
    street.takes(ours, begun[0])
    street.says_limited(ours)
    assert len(street.broken("rate limit")) == 1


def test_a_graver_alert_is_not_held_back_by_lesser_ones(street: Street) -> None:
    begun, red = orders(STARTS_PER_HOUR_MAX), an_order("red", level=1)
    street.takes(*begun, red)
    for number, order in enumerate(begun):
        street.plays(order, number)
    street.says_limited(red)
    assert len(street.broken("rate limit")) == 1
