from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dispatcher.domain.playbook import Corroboration, Playbook, Target
from services.dispatcher.domain.risk import Circumstances, History, Rating, Witness, corroborations, may_draft, rate
from services.dispatcher.domain.rules import CircumstanceRule, ReliabilityRule, Rules
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


# History and circumstances


RULES = Rules(
    version="r1",
    circumstances=(
        CircumstanceRule("by day underground", ("fire",), ("underground",), (7, 22), corroborated_only=True, gravest=1),
    ),
    reliability=ReliabilityRule(seen_min=4, doubtful_below=0.3, doubtful_lowers=True),
)
NIGHT_US, DAY_US = 18 * 3_600_000_000, 2 * 3_600_000_000
"""02:00 and 10:00 where the clocks are eight hours ahead."""
TWO = (witness(), witness("smoke-2"))
BAD = {"panel": History("actual/panel", 1, 9)}


def around(**changes: Any) -> Circumstances:
    known: dict[str, Any] = {"hazard": "fire", "venue_kind": "underground", "at_us": DAY_US}
    return Circumstances(RULES, **{**known, **changes})


def test_the_hour_is_the_citys_own() -> None:
    assert (RULES.local_hour(NIGHT_US), RULES.local_hour(DAY_US)) == (2, 10)


@pytest.mark.parametrize(
    ("witnesses", "changes", "level"),
    [
        (TWO, {}, 1),
        (TWO, {"at_us": NIGHT_US}, 2),
        (TWO, {"venue_kind": "square"}, 2),
        (TWO, {"hazard": "gas"}, 2),
        (TWO[:1], {}, 3),
    ],
    ids=["by day", "by night", "elsewhere", "another hazard", "not corroborated"],
)
def test_place_and_time_weigh_what_is_corroborated(
    witnesses: tuple[Witness, ...], changes: dict[str, Any], level: int
) -> None:
    rating = rate(witnesses, fire_playbook(), around(**changes))
    assert rating.level == level
    assert ("by day underground: one level graver" in rating.reasons) is (level == 1)


def test_circumstances_weigh_one_level_and_never_past_what_the_rule_says() -> None:
    twice = replace(RULES, circumstances=RULES.circumstances * 2)
    assert rate(TWO, fire_playbook(level_corroborated=4), replace(around(), rules=twice)).level == 3
    mild = replace(RULES, circumstances=(replace(RULES.circumstances[0], gravest=2),))
    assert rate(TWO, fire_playbook(level_corroborated=2), replace(around(), rules=mild)).level == 2


def test_hours_may_go_over_midnight() -> None:
    late = replace(RULES, circumstances=(replace(RULES.circumstances[0], hours=(22, 6)),))
    assert rate(TWO, fire_playbook(), replace(around(at_us=NIGHT_US), rules=late)).level == 1
    assert rate(TWO, fire_playbook(), replace(around(), rules=late)).level == 2


def test_a_reporters_history_stands_in_the_reasons() -> None:
    rating = rate(TWO[:1], fire_playbook(), around(histories={"panel": History("actual/panel", 12, 3)}))
    assert rating.reasons[-1] == "this reporter: 12 confirmed, 3 refuted of 15"
    assert rating.level == 3


def test_a_doubtful_reporters_lone_suspicion_counts_less_and_says_so() -> None:
    rating = rate(TWO[:1], fire_playbook(), around(histories=BAD))
    assert (rating.level, rating.reasons[-1][-14:]) == (4, "one level less")


@pytest.mark.parametrize(
    ("witnesses", "playbook"),
    [(TWO, fire_playbook()), (TWO[:1], fire_playbook(level_suspected=1))],
    ids=["corroborated", "red"],
)
def test_no_history_lowers_what_is_corroborated_or_red(witnesses: tuple[Witness, ...], playbook: Playbook) -> None:
    night = around(at_us=NIGHT_US, histories=BAD)
    assert rate(witnesses, playbook, night).level == rate(witnesses, playbook).level


def test_a_history_is_counted_smoothly_and_moves_with_the_verdict() -> None:
    assert History("x").reliability == 0.5
    assert History("x").judged("confirmed") == History("x", 1, 0)
    assert History("x", 1, 0).judged("refuted", "confirmed") == History("x", 0, 1)
    assert History("x", 7, 1).reliability == 0.8


# A single detector


MACHINES = st.sampled_from([Evidence.DETECTOR, Evidence.PANEL])
ANYBODY = st.builds(
    Witness,
    reporter=st.sampled_from(["panel", "weather"]),
    device=st.sampled_from(["smoke-1", "smoke-2", ""]),
    evidence=st.sampled_from(Evidence),
    automatic=st.booleans(),
    claimed_level=st.none() | st.integers(1, 4),
)
PLAYBOOKS = st.builds(
    fire_playbook,
    target=st.sampled_from(Target),
    level_suspected=st.integers(1, 4),
    level_corroborated=st.integers(1, 4),
    corroborated_by=st.lists(st.sampled_from(Corroboration), min_size=1, unique=True).map(tuple),
)
ALL_RULES = st.builds(
    Rules,
    circumstances=st.lists(
        st.builds(
            CircumstanceRule, reason=st.just("always"), corroborated_only=st.booleans(), gravest=st.integers(1, 4)
        )
    ).map(tuple),
    reliability=st.builds(ReliabilityRule, doubtful_lowers=st.booleans(), seen_min=st.integers(1, 3)),
)
HISTORIES = st.dictionaries(
    st.sampled_from(["panel", "weather"]), st.builds(History, st.just("x"), st.integers(0, 50), st.integers(0, 50))
)


@given(
    st.lists(st.builds(witness, evidence=MACHINES, automatic=st.booleans()), min_size=1, max_size=6).map(tuple),
    PLAYBOOKS,
    ALL_RULES,
    HISTORIES,
)
def test_a_single_detector_never_starts_a_broadcast_beyond_its_venue(
    witnesses: tuple[Witness, ...], playbook: Playbook, rules: Rules, histories: dict[str, History]
) -> None:
    rating = rate(witnesses, playbook, Circumstances(rules, histories, "fire", "underground", DAY_US))
    assert (rating.corroborated, rating.automatic) == ((), ())
    assert not may_draft(witnesses, playbook, None, confirmed=False)
    assert may_draft(witnesses, playbook, "mall", confirmed=False) is (playbook.target is Target.VENUE)
    assert may_draft(witnesses, playbook, None, confirmed=True)


@pytest.mark.parametrize(
    "other",
    [witness("smoke-2"), CALL_POINT, witness("guard", Evidence.PERSON), witness("bureau", Evidence.AUTHORITY)],
    ids=["a second detector", "a call point", "a person", "an authority"],
)
def test_a_further_witness_starts_it(other: Witness) -> None:
    assert may_draft((witness(), other), storm_playbook(), None, confirmed=False)


@given(st.lists(ANYBODY, max_size=6).map(tuple), PLAYBOOKS, ALL_RULES, HISTORIES)
def test_history_and_circumstances_never_change_what_may_act_by_itself_nor_lower_a_red(
    witnesses: tuple[Witness, ...], playbook: Playbook, rules: Rules, histories: dict[str, History]
) -> None:
    plain = rate(witnesses, playbook)
    weighed = rate(witnesses, playbook, Circumstances(rules, histories, "fire", "", DAY_US))
    assert (weighed.automatic, weighed.corroborated) == (plain.automatic, plain.corroborated)
    assert 1 <= weighed.level <= 4
    if plain.level == 1:
        assert weighed.level == 1
    if weighed.level > plain.level:
        assert weighed.reasons[-1].endswith("one level less")
