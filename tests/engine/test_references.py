"""Updates and cancels: what they name, also when its time is wrong, when it comes later, and when it never comes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.dispatcher.domain.effects import Timer
from services.dispatcher.domain.incidents import Incident
from services.dispatcher.domain.signals import Place, Signal, SignalKind, Use
from services.dispatcher.engine.events import SignalArrived, TimerDue
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.rows import TimerRow, Withdrawal
from tests import builders
from tests.builders import NOON_US, OTHER_STREET, SECOND_US, STREET, StoppedClock, Town, storm_signal

SENT_S = 1_000
FIRST = f"cap/weather/bureau,a1,{SENT_S}"


@pytest.fixture
def town() -> Town:
    return builders.town()


def warning(identifier: str = "a1", sent_s: int = SENT_S, group: str = "", **changes: Any) -> Signal:
    """A message of the bureau; `sent_s` counts from nowhere in particular."""
    key = f"cap/weather/bureau,{identifier},{sent_s}{group}"
    observed_us = NOON_US - 3_600 * SECOND_US + sent_s
    return storm_signal(key, **{"observed_us": observed_us, **changes})


def cancel(*references: str, sent_s: int = 2_000, **changes: Any) -> Signal:
    return warning("c1", sent_s, kind=SignalKind.CANCEL, references=references, place=Place(), **changes)


def update(*references: str, identifier: str = "u1", sent_s: int = 1_500, **changes: Any) -> Signal:
    return warning(identifier, sent_s, kind=SignalKind.UPDATE, references=references, **changes)


def arrives(town: Town, *signals: Signal) -> list[str]:
    return town.engine.handle([SignalArrived(s) for s in signals]).incidents


def incidents(town: Town) -> list[Incident]:
    with town.store.read() as read:
        return read.find(Incident, Page())


def test_a_cancel_whose_reference_gives_a_wrong_time_finds_its_message_by_identifier(town: Town) -> None:
    incident = town.signal(warning())
    assert arrives(town, cancel("cap/weather/bureau,a1,999")) == [incident]
    assert town.alert(incident).state == "held"
    assert town.kinds(cancel().key) == ["signal.reference_loose"]


def test_a_wrong_reference_never_means_what_was_said_later(town: Town) -> None:
    incident = town.signal(warning(sent_s=3_000))
    assert arrives(town, cancel("cap/weather/bureau,a1,999")) == []
    assert town.alert(incident).state == "draft"


def test_a_right_reference_means_that_message_alone_where_an_identifier_is_used_twice(town: Town) -> None:
    first = town.signal(warning(place=Place(areas=(STREET,))))
    other = town.signal(warning(sent_s=1_200, place=Place(areas=(OTHER_STREET,))))
    assert other != first
    assert arrives(town, cancel(FIRST)) == [first]
    assert (town.alert(first).state, town.alert(other).state) == ("held", "draft")


def test_a_cancel_takes_back_every_hazard_of_the_message(town: Town) -> None:
    rain = town.signal(warning())
    wind = town.signal(warning(group="#typhoon-2", hazard="typhoon"))
    assert sorted(arrives(town, cancel(FIRST))) == sorted([rain, wind])
    assert (town.incident(rain).held, town.incident(wind).held) == (True, True)


def test_a_message_cancelled_before_it_came_opens_nothing_and_is_kept(town: Town) -> None:
    arrives(town, cancel(FIRST))
    assert arrives(town, warning()) == []
    assert incidents(town) == []
    assert town.kinds(FIRST) == ["signal.cancelled_before"]
    with town.store.read() as read:
        assert read.signal_incident(FIRST) == ""


def test_an_update_of_what_was_cancelled_later_revives_nothing(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, cancel(FIRST))
    assert arrives(town, update(FIRST)) == []
    assert town.alert(incident).state == "held"


def test_what_its_source_says_after_the_cancel_stands(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, cancel(FIRST))
    assert arrives(town, update(FIRST, sent_s=2_500)) == [incident]
    assert town.alert(incident).state == "draft"


def test_a_cancel_waits_only_so_long(town: Town) -> None:
    arrives(town, cancel(FIRST))
    late = replace(warning(), received_us=NOON_US + town.engine.rules.cancel_waits_s * SECOND_US)
    assert len(arrives(town, late)) == 1


def test_a_cancel_that_waited_is_forgotten_by_its_timer() -> None:
    clock = StoppedClock()
    town = builders.town(clock=clock)
    arrives(town, cancel(FIRST))
    with town.store.read() as read:
        assert len(read.find(Withdrawal, Page())) == 1
    clock.advance(town.engine.rules.cancel_waits_s)
    town.pass_timers()
    with town.store.read() as read:
        assert read.find(Withdrawal, Page()) == []


def test_nobody_cancels_for_another_reporter_nor_a_drill_for_the_real_thing(town: Town) -> None:
    incident = town.signal(warning())
    assert arrives(town, cancel(FIRST, reporter="stranger")) == []
    assert arrives(town, replace(cancel(FIRST), key="cap/drill/c", use=Use.EXERCISE)) == []
    assert town.alert(incident).state == "draft"


def test_an_update_whose_original_never_came_opens(town: Town) -> None:
    (incident,) = arrives(town, update("cap/weather/bureau,never,1"))
    assert town.alert(incident).state == "draft"


def test_an_update_moves_the_incident_it_refers_to_however_far(town: Town) -> None:
    incident = town.signal(warning(place=Place(areas=(STREET,))))
    assert arrives(town, update(FIRST, place=Place(areas=(OTHER_STREET,)))) == [incident]
    assert town.incident(incident).place.areas == (OTHER_STREET,)


def test_an_update_of_one_warning_leaves_the_area_of_another(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, warning("a2", place=Place(areas=(STREET,))))
    arrives(town, update(FIRST, place=Place(areas=(OTHER_STREET,))))
    assert set(town.incident(incident).place.areas) == {STREET, OTHER_STREET}


def test_a_second_warning_of_the_same_source_takes_nothing_from_the_first(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, warning("a2", place=Place(areas=(STREET,))))
    assert town.incident(incident).place.areas == (STREET, OTHER_STREET)


def test_cancelling_one_of_two_warnings_leaves_the_other_and_its_area(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, warning("a2", place=Place(areas=(STREET,))))
    arrives(town, cancel(FIRST))
    now = town.incident(incident)
    assert (now.held, now.place.areas, town.alert(incident).state) == (False, (STREET,), "draft")
    assert town.alert(incident).selector.areas == (STREET,)


def test_cancelling_the_first_message_cancels_what_updated_it(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, update(FIRST))
    arrives(town, cancel(FIRST))
    assert (town.incident(incident).held, town.alert(incident).state) == (True, "held")


def test_cancelling_the_first_message_cancels_the_last_of_a_chain_of_updates(town: Town) -> None:
    incident = town.signal(warning())
    arrives(town, update(FIRST))
    first_update = update().key
    arrives(town, update(first_update, identifier="u2", sent_s=1_700))
    arrives(town, cancel(FIRST))
    assert (town.incident(incident).held, town.alert(incident).state) == (True, "held")


def test_a_further_hazard_of_an_update_opens_its_own_incident(town: Town) -> None:
    rain = town.signal(warning())
    wind = update(FIRST, hazard="typhoon")
    wind = replace(wind, key=f"{wind.key}#typhoon-2")
    assert arrives(town, wind) != [rain]


def test_a_timer_of_a_withdrawal_that_is_gone_does_nothing(town: Town) -> None:
    town.engine.handle([TimerDue(TimerRow(Timer.WITHDRAWAL_END, "gone", 1, 2))])
