"""Planted against law 11: what the screen says is so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import Manifest
from services.dispatcher.engine.air import refused_documents, signing_keys
from services.dispatcher.engine.air.receipts import Arrived, Counted, keep_receipts
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.ports import Store
from simulators.city import KEY_LOST, START_US
from simulators.dispatcher import Parts
from simulators.ending import Ending
from simulators.faults import Fault
from simulators.world import World
from tests.simulation.planted.planting import found

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


def test_law_11_catches_a_dispatcher_that_shrugs_at_what_speakers_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    # That nothing sounds is another law's; here it is asked who says so.
    for check in ("sounded", "stopped", "followed", "_heard_all"):
        monkeypatch.setattr(Ending, check, lambda *_: None)
    assert found(faults=(), seeds=range(100, 102), prepare=signed_by_a_stranger) == ()
    monkeypatch.setattr(refused_documents, "look", lambda work: None)
    broken = found(faults=(), seeds=range(100, 102), prepare=signed_by_a_stranger)
    assert {v.law for v in broken} == {11}
    assert all("no red incident says so" in v.sentence for v in broken)


def test_law_11_catches_an_intake_that_believes_every_microphone() -> None:
    def trusts(store: Any, arrived: Sequence[Arrived], *rest: Any) -> Counted:
        return keep_receipts(store, [replace(a, microphone=True) for a in arrived], *rest)

    broken = found(Parts(keep_receipts=trusts), faults=(Fault.SPEAKER_LIES,), rough_s=3_600)
    assert {v.law for v in broken} == {11}
