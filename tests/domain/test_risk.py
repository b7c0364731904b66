from __future__ import annotations

from typing import Any

import pytest

from services.dispatcher.domain.playbook import Corroboration
from services.dispatcher.domain.risk import Rating, Witness, corroborations, rate
from services.dispatcher.domain.signals import Evidence
from tests.builders import fire_playbook, storm_playbook


def witness(device: str = "smoke-1", evidence: Evidence = Evidence.DETECTOR, **changes: Any) -> Witness:
    return Witness(**{"reporter": "panel", "device": device, "evidence": evidence, "automatic": True, **changes})


CALL_POINT = witness("button", Evidence.CALL_POINT)
PANEL = witness("1-1", Evidence.PANEL)


@pytest.mark.parametrize(
    ("witnesses", "found"),
    [
        ((), ()),
        ((witness(),), ()),
        ((witness(), witness()), ()),
        ((witness(), witness("smoke-2")), (Corroboration.TWO_DETECTORS,)),
        ((witness(), witness(reporter="other")), (Corroboration.TWO_DETECTORS,)),
        ((CALL_POINT,), ()),
        ((CALL_POINT, witness("button-2", Evidence.CALL_POINT)), ()),
        ((witness(), CALL_POINT), (Corroboration.DETECTOR_AND_CALL_POINT,)),
        ((PANEL,), ()),
        ((PANEL, witness()), ()),
        ((PANEL, CALL_POINT), ()),
        ((PANEL, witness("2-1", Evidence.PANEL)), ()),
        ((witness("bureau", Evidence.AUTHORITY),), (Corroboration.AUTHORITY,)),
        ((witness("guard", Evidence.PERSON),), (Corroboration.PERSON,)),
    ],
)
def test_what_corroborates(witnesses: tuple[Witness, ...], found: tuple[Corroboration, ...]) -> None:
    assert corroborations(witnesses) == found


def test_one_detector_alone_stays_a_suspicion() -> None:
    assert rate((witness(),), fire_playbook()) == Rating(3, ("1 witness (detector): not corroborated",), (), ())


def test_a_panel_repeating_its_detector_stays_a_suspicion() -> None:
    rating = rate((witness(), PANEL), fire_playbook())
    assert rating == Rating(3, ("2 witnesses (detector, panel): not corroborated",), (), ())


def test_two_detectors_raise_the_level_and_may_act_alone() -> None:
    rating = rate((witness(), witness("smoke-2")), fire_playbook())
    two = (Corroboration.TWO_DETECTORS,)
    assert rating == Rating(2, ("2 witnesses: two different detectors",), two, two)


def test_a_witness_that_is_not_automatic_counts_for_people_alone() -> None:
    rating = rate((witness(), witness("smoke-2", automatic=False)), fire_playbook())
    assert (rating.level, rating.corroborated, rating.automatic) == (2, (Corroboration.TWO_DETECTORS,), ())
    assert rating.reasons[-1].endswith("never releases by itself")


def test_two_automatic_witnesses_are_enough_beside_one_that_is_not() -> None:
    witnesses = (witness(), witness("smoke-2"), witness("smoke-3", automatic=False))
    assert rate(witnesses, fire_playbook()).automatic == (Corroboration.TWO_DETECTORS,)


def test_what_the_playbook_does_not_count_does_not_count() -> None:
    playbook = fire_playbook(corroborated_by=(Corroboration.DETECTOR_AND_CALL_POINT,))
    rating = rate((witness(), witness("smoke-2")), playbook)
    assert (rating.level, rating.corroborated, rating.automatic) == (3, (), ())


def test_an_authority_may_claim_a_graver_level_and_nobody_else_may() -> None:
    playbook = storm_playbook(level_suspected=3, level_corroborated=3)
    bureau = witness("bureau", Evidence.AUTHORITY, claimed_level=1)
    guard = witness("guard", Evidence.PERSON, claimed_level=1)
    assert rate((bureau,), playbook).level == 1
    assert rate((guard,), playbook).level == 3


def test_an_authority_never_claims_a_level_down() -> None:
    playbook = storm_playbook(level_corroborated=2)
    assert rate((witness("bureau", Evidence.AUTHORITY, claimed_level=4),), playbook).level == 2


@pytest.mark.parametrize(("claimed", "level"), [(None, 3), (1, 1), (4, 4)])
def test_without_a_playbook_people_decide(claimed: int | None, level: int) -> None:
    rating = rate((witness("bureau", Evidence.AUTHORITY, claimed_level=claimed),), None)
    assert rating == Rating(
        level, ("no playbook for this hazard and place: people decide",), (Corroboration.AUTHORITY,), ()
    )
