"""Whether a use of keys works, and whether a release can be signed: pure decisions on what gateways report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.signing_keys import (
    CANARY_AGE_US_MAX,
    EXPIRY_WARNED_US,
    KeyAtGateway,
    KeyProblem,
    KeyState,
    KeyTrouble,
    judge_use,
    unusable_for,
    words,
)

NOW_US = 1_800_000_000_000_000
S = 1_000_000
DAY_US = 86_400 * S
CITY, DISTRICT = "210200000000", "210202000000"


def view(fault: str = "", home_s: int | None = 1, **changes: Any) -> KeyAtGateway:
    """What a gateway knows of a key whose canary came home `home_s` seconds ago."""
    home_us = 0 if home_s is None else NOW_US - home_s * S
    return replace(KeyAtGateway(fault, NOW_US, home_us, 2_000), **changes)


def key(kid: str = "actual-1", days: int = 365, area: str = CITY, **gateways: KeyAtGateway) -> KeyState:
    seen = {name.replace("_", "-"): at for name, at in gateways.items()} or {"gw-0": view()}
    return KeyState(kid, "actual", "city", area, (1, 2, 3, 4), NOW_US + days * DAY_US, seen)


def troubles(*keys: KeyState, gateways: tuple[str, ...] = ("gw-0",)) -> list[tuple[str, str]]:
    return [(p.kid, str(p.trouble)) for p in judge_use("actual", keys, gateways, NOW_US).problems]


def test_a_key_whose_canary_came_home_is_well() -> None:
    health = judge_use("actual", [key()], ["gw-0"], NOW_US)
    assert (health.well, health.home_us, health.expires) == (True, NOW_US - S, ())


@pytest.mark.parametrize("fault", ["empty", "damaged", "foreign", "unreadable", "missing", "no_document", "absent"])
def test_a_key_that_does_not_sign_is_no_key_whatever_its_canary_did(fault: str) -> None:
    assert troubles(key(gw_0=view(fault))) == [("actual-1", fault)]


def test_a_canary_counts_for_ninety_seconds() -> None:
    limit_s = CANARY_AGE_US_MAX // S
    assert troubles(key(gw_0=view(home_s=limit_s))) == []
    assert troubles(key(gw_0=view(home_s=limit_s + 1))) == [("actual-1", "late")]
    assert troubles(key(gw_0=view(home_s=None))) == [("actual-1", "never_home")]


def test_a_canary_from_the_future_is_an_error() -> None:
    assert troubles(key(gw_0=view(home_s=-5))) == []
    assert troubles(key(gw_0=view(home_s=-6))) == [("actual-1", "ahead")]
    assert troubles(key(gw_0=view(failed="ahead", failed_us=NOW_US))) == [("actual-1", "ahead")]


def test_a_canary_that_speakers_would_refuse_is_an_error_until_one_comes_home_for_a_while() -> None:
    refused = view(failed="unknown_key", failed_us=NOW_US - 90 * S)
    assert troubles(key(gw_0=refused)) == [("actual-1", "refused")]
    assert troubles(key(gw_0=replace(refused, failed_us=NOW_US - 91 * S))) == []


def test_an_expired_key_is_no_key_and_a_successor_stands_in_for_it() -> None:
    assert troubles(key(days=-1)) == [("actual-1", "expired")]
    assert troubles(key(days=-1), key("actual-2")) == []


def test_a_broken_key_is_shown_although_another_of_its_scope_works() -> None:
    assert troubles(key(gw_0=view("empty")), key("actual-2")) == [("actual-1", "empty")]
    assert troubles(key(gw_0=view("absent", home_s=None)), key("actual-2")) == []


def test_a_scope_whose_keys_are_kept_elsewhere_is_left_out_only_where_another_works() -> None:
    elsewhere = key("actual-d", area=DISTRICT, gw_0=view("absent", home_s=None))
    assert troubles(key(), elsewhere) == []
    assert troubles(elsewhere) == [("actual-d", "absent")]


def test_every_gateway_that_runs_must_be_able_to_sign() -> None:
    both = key(gw_0=view(), gw_1=view("empty"))
    assert troubles(both, gateways=("gw-0",)) == []
    assert troubles(both, gateways=("gw-0", "gw-1")) == [("actual-1", "empty")]
    assert troubles(key(), gateways=("gw-0", "gw-1")) == [("actual-1", "absent")]


def test_without_keys_or_gateways_nothing_is_well() -> None:
    assert troubles() == [("", "no_key")]
    assert troubles(key(), gateways=()) == [("", "no_gateway")]


def test_expiry_is_a_warning_from_thirty_days_ahead_and_not_where_a_successor_is() -> None:
    days = EXPIRY_WARNED_US // DAY_US
    near, far = key(days=days - 1), key(days=days)
    assert [p.kid for p in judge_use("actual", [near], ["gw-0"], NOW_US).expires] == ["actual-1"]
    assert judge_use("actual", [near], ["gw-0"], NOW_US).well
    assert judge_use("actual", [far], ["gw-0"], NOW_US).expires == ()
    assert judge_use("actual", [near, key("actual-2")], ["gw-0"], NOW_US).expires == ()


def test_a_release_asks_only_that_some_gateway_can_sign() -> None:
    late = key(gw_0=view("empty"), gw_1=view(home_s=None))
    assert unusable_for([late], "actual", (CITY, DISTRICT), 1, NOW_US) == ()
    assert unusable_for([key(days=-1)], "actual", (CITY,), 1, NOW_US) == (
        KeyProblem(KeyTrouble.EXPIRED, "actual-1", at_us=NOW_US - DAY_US),
    )
    assert [p.trouble for p in unusable_for([key(gw_0=view("empty"))], "actual", (CITY,), 1, NOW_US)] == ["empty"]


def test_a_key_that_may_not_speak_there_or_at_that_level_does_not_count() -> None:
    nothing = (KeyProblem(KeyTrouble.NO_KEY),)
    assert unusable_for([key(area=DISTRICT)], "actual", (CITY,), 1, NOW_US) == nothing
    assert unusable_for([replace(key(), levels=(3, 4))], "actual", (CITY,), 1, NOW_US) == nothing
    assert unusable_for([key()], "exercise", (CITY,), 1, NOW_US) == nothing


@pytest.mark.parametrize("trouble", list(KeyTrouble))
def test_every_trouble_has_words_in_both_languages(trouble: KeyTrouble) -> None:
    english, chinese = words(KeyProblem(trouble, "actual-1", "gw-0", "unknown_key", NOW_US))
    assert english != chinese
    assert "{" not in english + chinese


def test_a_gateway_whose_key_document_is_older_than_another_ever_had_is_told_to_copy_it() -> None:
    both = key(gw_0=view(document=8), gw_1=view(document=7))
    assert troubles(both, gateways=("gw-0", "gw-1")) == [("", "older_document")]
    # Also when the other has died, or knows another key alone.
    assert troubles(both, gateways=("gw-1",)) == [("", "older_document")]
    other = replace(key("clock-1", gw_0=view(document=8)), use="clock")
    assert troubles(key(gw_1=view(document=7)), other, gateways=("gw-1",)) == [("", "older_document")]
    english, chinese = words(KeyProblem(KeyTrouble.OLDER_DOCUMENT, gateway="gw-1"))
    assert ("copy the folder of keys" in english, "(gw-1)" in english, "gw-1" in chinese) == (True, True, True)


@pytest.mark.parametrize(
    ("now", "there", "covers"),
    [
        ({}, True, True),
        ({"levels": (1, 2, 3, 4)}, True, True),
        ({"not_after_us": NOW_US}, True, True),
        ({}, False, False),
        ({"levels": (1, 2)}, True, False),
        ({"use": "exercise"}, True, False),
        ({"issuer": "coast"}, True, False),
        ({"x": "another"}, True, False),
    ],
)
def test_a_key_covers_what_it_could_sign_before(now: dict[str, Any], there: bool, covers: bool) -> None:
    before = replace(key(), levels=(2, 3))
    assert replace(before, **now).covers(before, there) is covers
