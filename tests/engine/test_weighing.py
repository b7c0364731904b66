"""Who was right before, what a lone detector may start, and rules that are tried in the shadow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.incidents import Verdict
from services.dispatcher.domain.playbook import Target
from services.dispatcher.domain.risk import History
from services.dispatcher.domain.rules import CircumstanceRule, Rules
from services.dispatcher.domain.signals import Evidence, SignalKind, Use
from services.dispatcher.engine.engine import Engine
from tests import builders
from tests.builders import CountingIds, Town, fire_playbook, fire_signal, storm_signal

GRAVER = Rules(version="other", circumstances=(CircumstanceRule("always", corroborated_only=False, gravest=1),))


@pytest.fixture
def town() -> Town:
    return builders.town()


def history(town: Town, reporter: str = "mall-panel", use: Use = Use.ACTUAL) -> tuple[int, int]:
    with town.store.read() as read:
        found = read.get(History, f"{use}/{reporter}")
    return (0, 0) if found is None else (found.confirmed, found.refuted)


def test_an_offices_verdict_counts_once_for_every_reporter_of_the_incident(town: Town) -> None:
    incident = town.signal(fire_signal())
    town.signal(fire_signal("guard", reporter="hotline", evidence=Evidence.PERSON))
    town.answer(incident, Verdict.CONFIRM)
    town.answer(incident, Verdict.CONFIRM)
    assert (history(town), history(town, "hotline")) == ((1, 0), (1, 0))


def test_a_verdict_that_turns_moves_the_count(town: Town) -> None:
    incident = town.signal(fire_signal())
    town.answer(incident, Verdict.CONFIRM)
    town.answer(incident, Verdict.REFUTE)
    assert history(town) == (0, 1)


def test_not_knowing_counts_for_nothing_and_a_drill_for_drills(town: Town) -> None:
    town.answer(town.signal(fire_signal()), Verdict.UNSURE)
    drill = town.signal(fire_signal("drill", use=Use.EXERCISE))
    town.answer(drill, Verdict.REFUTE)
    assert (history(town), history(town, use=Use.EXERCISE)) == ((0, 0), (0, 1))


@pytest.mark.parametrize("hazard", ["source_silent", "unattended"])
def test_what_this_system_says_of_a_reporter_is_no_word_of_its_own(town: Town, hazard: str) -> None:
    town.answer(town.signal(fire_signal(hazard=hazard, evidence=Evidence.PANEL)), Verdict.REFUTE)
    assert history(town) == (0, 0)


def test_the_next_incident_says_how_often_its_reporter_was_right(town: Town) -> None:
    town.answer(town.signal(fire_signal()), Verdict.REFUTE)
    later = town.signal(fire_signal("gas", hazard="gas"))
    assert town.incident(later).reasons[-1] == "this reporter: 0 confirmed, 1 refuted of 1"


def test_an_incident_names_the_rules_it_was_rated_by(town: Town) -> None:
    incident = town.signal(fire_signal())
    assert town.incident(incident).rules == "built-in"
    with town.store.read() as read:
        (line,) = [row for row in read.log_of(incident) if row.kind == "incident.signal"]
    assert '"rules": "built-in"' in line.body


# A lone detector


@pytest.fixture
def wide() -> Town:
    """A town where fires are announced in places, not in the venue of the alarm alone."""
    return builders.town(playbooks=(fire_playbook(target=Target.PLACES, venue_kinds=None),))


def test_a_lone_detector_asks_people_and_drafts_nothing_beyond_its_venue(wide: Town) -> None:
    incident = wide.signal(fire_signal())
    wide.signal(fire_signal("again"))
    wide.signal(fire_signal("panel", device="1", evidence=Evidence.PANEL))
    assert (wide.incident(incident).alert, bool(wide.incident(incident).task)) == ("", True)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "smoke-2"},
        {"device": "button", "evidence": Evidence.CALL_POINT},
        {"reporter": "hotline", "evidence": Evidence.PERSON},
    ],
    ids=["a second detector", "a call point", "a person"],
)
def test_a_further_witness_drafts(wide: Town, changes: dict[str, Any]) -> None:
    incident = wide.signal(fire_signal())
    wide.signal(fire_signal("further", **changes))
    assert wide.alert(incident).state == "draft"


def test_an_office_that_confirms_drafts(wide: Town) -> None:
    incident = wide.signal(fire_signal())
    wide.answer(incident, Verdict.CONFIRM)
    assert wide.alert(incident).state == "draft"


def test_when_the_other_witness_takes_its_word_back_the_draft_is_held(wide: Town) -> None:
    incident = wide.signal(fire_signal())
    wide.signal(fire_signal("second", device="smoke-2"))
    wide.signal(fire_signal("back", device="smoke-2", kind=SignalKind.CANCEL, references=("second",)))
    assert wide.alert(incident).state == "held"
    wide.signal(fire_signal("third", device="smoke-3"))
    assert wide.alert(incident).state == "draft"


# Shadow


def shadowed(rules: Rules) -> tuple[Town, list[str]]:
    plain = builders.town()
    told: list[str] = []
    engine = Engine(
        plain.store, CountingIds(), (builders.storm_playbook(), fire_playbook()), shadow=rules, differs=told.append
    )
    return replace(plain, engine=engine), told


def test_shadow_rules_are_rated_beside_and_only_put_on_record(town: Town) -> None:
    other, told = shadowed(GRAVER)
    plain, tried = town.signal(fire_signal()), other.signal(fire_signal())
    assert other.incident(tried).level == town.incident(plain).level == 3
    (why,) = other.whys(tried, "incident.shadow")
    assert why.startswith("level 2 by other, 3 by built-in: 1 witness (detector): not corroborated")
    assert why.endswith("always: one level graver")
    assert told == ["fire"]
    assert [k for k in other.kinds(tried) if k != "incident.shadow"] == town.kinds(plain)


def test_a_difference_is_told_once_while_it_stays_the_same() -> None:
    town, told = shadowed(GRAVER)
    incident = town.signal(fire_signal())
    town.signal(fire_signal("again"))
    town.signal(fire_signal("second", device="smoke-2"))
    assert len(town.whys(incident, "incident.shadow")) == len(told) == 2


def test_rules_that_agree_say_nothing() -> None:
    town, told = shadowed(Rules(version="same"))
    incident = town.signal(storm_signal())
    assert (town.whys(incident, "incident.shadow"), told) == ([], [])
