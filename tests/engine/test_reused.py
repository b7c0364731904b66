"""One identifier, two reports: the first stands, the second is kept and shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from services.dispatcher.domain.signals import BY_HAND, Evidence, Problem, Signal, SignalKind, Use
from services.dispatcher.engine.events import Outcome, SignalArrived
from services.dispatcher.engine.signals.identifiers import BY_SENDER
from services.dispatcher.engine.signals.scope import FROM_FEEDS
from services.dispatcher.feeds import FEEDS
from tests import builders
from tests.builders import NOON_US, SECOND_US, Town, storm_signal


@pytest.fixture
def town() -> Town:
    return builders.town()


def deliver(town: Town, *signals: Signal) -> Outcome:
    return town.engine.handle([SignalArrived(signal) for signal in signals])


def unread(town: Town) -> list[tuple[str, str, str]]:
    with town.store.read() as read:
        return [(row.wire, row.source, row.reason) for row in read.unread()]


@pytest.mark.parametrize(
    "changes",
    [
        {"headline": "暴雨蓝色预警"},
        {"claimed_level": 4},
        {"hazard": "fire"},
        {"kind": SignalKind.CANCEL},
        {"expires_us": NOON_US},
        {"references": ("cap/weather/0",)},
    ],
)
def test_other_content_under_a_known_identifier_is_kept_as_unread_and_stands_in_the_log(
    town: Town, changes: dict[str, Any]
) -> None:
    incident = town.signal(storm_signal())
    again = storm_signal(**changes)
    done = deliver(town, again)
    assert (done.created, done.repeated, done.incidents, done.reused) == ([], 1, [], [again])
    assert unread(town) == [("engine", "feed/weather", "identifier_reused")]
    with town.store.read() as read:
        assert json.loads(read.unread()[0].raw)["key"] == again.key
        assert read.signal(again.key) == storm_signal()
    assert town.kinds(incident).count("signal.identifier_reused") == 1
    assert town.incident(incident).signal_count == 1


def test_what_the_time_or_the_enrolment_made_of_the_same_report_is_no_other_content(town: Town) -> None:
    town.signal(storm_signal())
    late = storm_signal(
        received_us=NOON_US + SECOND_US,
        observed_us=NOON_US + SECOND_US,
        kind=SignalKind.INFO,
        use=Use.EXERCISE,
        evidence=Evidence.PERSON,
        signature="valid",
        problems=(Problem("warning", "expired_on_arrival", "", "late"),),
    )
    assert (deliver(town, late).reused, unread(town)) == ([], [])


@pytest.mark.parametrize("before", [{"use": Use.EXERCISE}, {"kind": SignalKind.INFO}])
def test_what_was_an_exercise_or_information_and_is_meant_now_is_no_repetition(
    town: Town, before: dict[str, Any]
) -> None:
    deliver(town, storm_signal(**before))
    assert deliver(town, storm_signal()).reused == [storm_signal()]
    assert unread(town) == [("engine", "feed/weather", "identifier_reused")]


def test_what_a_person_handed_in_and_its_department_sends_as_well_is_the_departments_word_once(town: Town) -> None:
    handed_in = Problem("warning", BY_HAND, "", "Li handed this in.")
    incident = town.signal(storm_signal(evidence=Evidence.PERSON, problems=(handed_in,)))
    for _ in range(2):
        assert deliver(town, storm_signal()).repeated == 1
    assert [w.evidence for w in town.incident(incident).witnesses] == [Evidence.PERSON, Evidence.AUTHORITY]
    assert town.incident(incident).signal_count == 2
    deliver(town, storm_signal("c", kind=SignalKind.CANCEL, references=("cap/weather/1",)), storm_signal())
    assert town.incident(incident).witnesses == ()


def test_the_same_mistake_again_is_told_again_and_kept_once(town: Town) -> None:
    town.signal(storm_signal())
    again = storm_signal(headline="other", received_us=NOON_US + SECOND_US)
    assert [len(deliver(town, again).reused) for _ in range(3)] == [1, 1, 1]
    assert len(unread(town)) == 1
    assert (len(deliver(town, storm_signal(headline="third")).reused), len(unread(town))) == (1, 2)


def test_the_first_of_a_group_stands(town: Town) -> None:
    done = deliver(town, storm_signal(), storm_signal(headline="other"), storm_signal())
    assert (done.created, done.repeated, [s.headline for s in done.reused]) == (["cap/weather/1"], 2, ["other"])


def test_an_alert_whose_key_is_made_of_its_labels_may_change_its_words(town: Town) -> None:
    town.signal(storm_signal("alertmanager/weather/a@1"))
    assert deliver(town, storm_signal("alertmanager/weather/a@1", headline="86 %")).reused == []


def test_every_format_is_named() -> None:
    assert {f"{format}/" for format in FEEDS} - {"atom/"} == set(FROM_FEEDS)
    assert set(FROM_FEEDS) - set(BY_SENDER) == {"alertmanager/"}
