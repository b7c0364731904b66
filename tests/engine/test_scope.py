"""A feed speaks for its own areas, whatever a message names or draws."""

from __future__ import annotations

from typing import Any

import pytest

from devices.protocols.selector import Circle
from services.dispatcher.domain.signals import Feed, Place, Signal, SignalKind
from services.dispatcher.engine.events import SignalArrived
from services.dispatcher.engine.ports import Read
from tests import builders
from tests.builders import CITY, MALL, OTHER_STREET, SQUARE, STREET, Town, storm_signal

AT_SQUARE = Circle(389_000_000, 1_216_000_000, 500)
AT_MALL = Circle(389_200_000, 1_216_000_000, 500)
AT_BOTH = Circle(389_100_000, 1_216_000_000, 5_000)


def town_with(**changes: Any) -> Town:
    town = builders.town()
    with town.store.write() as tx:
        tx.put(builders.feed("hash", **changes))
    return town


def stored(town: Town, place: Place, **changes: Any) -> Signal:
    town.engine.handle([SignalArrived(storm_signal(place=place, **changes))])
    with town.store.read() as read:
        return found(read)


def found(read: Read) -> Signal:
    signal = read.signal("cap/weather/1")
    assert signal is not None
    return signal


@pytest.mark.parametrize(
    ("place", "kind", "kept", "codes"),
    [
        (Place(shapes=(AT_SQUARE,)), SignalKind.ALERT, Place(shapes=(AT_SQUARE,)), []),
        (Place(shapes=(AT_MALL,)), SignalKind.INFO, Place(shapes=(AT_MALL,)), ["area_not_enrolled"]),
        (Place(shapes=(AT_BOTH,)), SignalKind.ALERT, Place(areas=(STREET,)), ["area_narrowed"]),
        (Place(venue=SQUARE), SignalKind.ALERT, Place(venue=SQUARE), []),
        (Place(venue=MALL), SignalKind.INFO, Place(venue=MALL), ["area_not_enrolled"]),
        (Place(), SignalKind.ALERT, Place(areas=(STREET,)), []),
        (Place(areas=(STREET,)), SignalKind.ALERT, Place(areas=(STREET,)), []),
    ],
)
def test_a_feed_of_one_street_reaches_nobody_in_another(
    place: Place, kind: SignalKind, kept: Place, codes: list[str]
) -> None:
    signal = stored(town_with(area=STREET), place)
    assert (signal.kind, signal.place, [p.code for p in signal.problems]) == (kind, kept, codes)


def test_what_is_drawn_within_two_enrolled_streets_stays_drawn() -> None:
    signal = stored(town_with(area=STREET, areas=(OTHER_STREET,)), Place(shapes=(AT_BOTH,)))
    assert (signal.place, signal.problems) == (Place(shapes=(AT_BOTH,)), ())


def test_a_feed_of_the_city_is_asked_nothing() -> None:
    assert stored(town_with(area=CITY), Place(shapes=(AT_BOTH,))).place == Place(shapes=(AT_BOTH,))


def test_a_cancel_takes_back_what_it_names_wherever_it_says_it_is() -> None:
    signal = stored(town_with(area=STREET), Place(shapes=(AT_MALL,)), kind=SignalKind.CANCEL)
    assert (signal.kind, signal.problems) == (SignalKind.CANCEL, ())


def test_a_reporter_that_is_no_feed_is_not_asked() -> None:
    town = builders.town()
    assert stored(town, Place(venue=MALL)).kind is SignalKind.ALERT
    with town.store.read() as read:
        assert read.get(Feed, "weather") is None
