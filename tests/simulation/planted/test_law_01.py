"""Planted against law 1: nothing sounds without a release."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from devices.protocols.documents import Manifest
from devices.protocols.speaker_link import Phase
from services.dispatcher.domain.broadcasts import (
    Act,
    Broadcast,
    BroadcastState,
    Declined,
    Release,
    wire_order,
)
from services.dispatcher.domain.sightings import Sighting
from services.dispatcher.engine.air import publishing, sighted
from services.dispatcher.engine.air.receipts import Arrived, Counted, keep_receipts
from services.dispatcher.engine.air.sighted import Seen
from services.dispatcher.engine.air.streams import Signed
from services.dispatcher.engine.engine import Engine
from services.dispatcher.engine.events import BroadcastAct, Event, Outcome
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import LogRow
from services.dispatcher.engine.writing import write
from simulators.dispatcher import Parts
from simulators.faults import Fault
from simulators.world import World
from tests.simulation.planted.planting import found, laws_broken


def test_law_1_catches_a_signer_that_skips_the_release() -> None:
    def sign_drafts_too(store: Any, topic: str, signer: Any, city: Any, base: str) -> Signed:
        """Puts every draft of the stream on the air, as if the last check were not there."""
        signed = publishing.sign(store, topic, signer, city, base)
        with store.read() as read:
            drafts = read.find(Broadcast, Page(limit=16), stream=topic, state=BroadcastState.DRAFT, phase=Phase.ALERT)
            now_us = read.now_us()
        orders = [
            replace(wire_order(b), rev=1, start_at=now_us, expires=now_us + 600_000_000) for b in drafts if b.rev == 0
        ]
        if not orders:
            return signed
        version = signed.version + 1
        manifest = Manifest(topic, version, now_us, now_us + 600_000_000, "0" * 64, tuple(orders))
        raw = signer.sign_manifest(manifest, city.tree.chain(city.code).all)
        signer.heads.pop()
        return Signed(topic, version, raw, fresh=True)

    assert laws_broken(Parts(sign=sign_drafts_too)) == {1}


def test_law_1_catches_a_release_by_somebody_who_never_pressed_the_button() -> None:
    class Forges(Engine):
        """Writes a release of its own beside every draft, and lets one person's release count for two."""

        def handle(self, events: Sequence[Event]) -> Outcome:
            outcome = super().handle(events)
            with write(self._store) as tx:
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
                    with write(self._store) as tx:
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
