"""What a feed may speak for, held against the city: venues and drawn shapes, which a format can't judge without a map.

Codes and hazards are judged where a message is read. A shape reaches whoever stands in it, so it counts as within a
feed's areas only while every speaker in it stands there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from devices.protocols.selector import inside

from ...domain.planning import City
from ...domain.signals import Feed, Problem, Signal, SignalKind
from ..events import Event, SignalArrived
from ..ports import Read

FROM_FEEDS = ("cap/", "alert12379/", "ebd/", "plain/", "table/", "alertmanager/")
"""How the keys of signals begin that a feed reported. Panels and sensors are enrolled for one venue each."""


def held(read: Read, city: City, events: Sequence[Event]) -> list[Event]:
    """The events, with every signal of a feed held to what the feed is enrolled for."""
    feeds: dict[str, Feed | None] = {}
    kept: list[Event] = []
    for event in events:
        if isinstance(event, SignalArrived) and event.signal.key.startswith(FROM_FEEDS):
            reporter = event.signal.reporter
            if reporter not in feeds:
                feeds[reporter] = read.get(Feed, reporter)
            feed = feeds[reporter]
            kept.append(SignalArrived(within(event.signal, feed, city)) if feed is not None else event)
        else:
            kept.append(event)
    return kept


def within(signal: Signal, feed: Feed, city: City) -> Signal:
    """The signal with a place that the feed may speak for; information only where it may speak for none of it.

    A cancel stays as it is: what it names is the feed's own.
    """
    scope = {code for code in (feed.area, *feed.areas) if code}
    if not scope or city.code in scope or signal.kind is SignalKind.CANCEL:
        return signal
    place = signal.place
    venue = city.venues.get(place.venue) if place.venue else None
    if venue is not None:
        return signal if _lies(venue.area, scope, city) else _lowered(signal, f"The venue {venue.id}")
    if place.shapes:
        reached = {
            s.area
            for s in city.speakers.values()
            if s.enrolled and any(inside(shape, s.lat_e7, s.lon_e7) for shape in place.shapes)
        }
        own = {area for area in reached if _lies(area, scope, city)}
        if own == reached:
            return signal
        if not own:
            return _lowered(signal, "What is drawn")
        said = "What is drawn reaches beyond what the feed speaks for; the areas that it speaks for stand instead."
        codes = place.areas or tuple(sorted(scope))
        return _marked(replace(signal, place=replace(place, areas=codes, shapes=())), "area_narrowed", said)
    if not place.areas and place.venue is None:
        return replace(signal, place=replace(place, areas=tuple(sorted(scope))))
    return signal


def _lies(area: str, scope: set[str], city: City) -> bool:
    return not scope.isdisjoint(city.tree.chain(area).all)


def _lowered(signal: Signal, what: str) -> Signal:
    said = f"{what} lies outside what the feed is enrolled for; nothing is aired upon it."
    return _marked(replace(signal, kind=SignalKind.INFO), "area_not_enrolled", said)


def _marked(signal: Signal, code: str, said: str) -> Signal:
    if any(problem.code == code and problem.message == said for problem in signal.problems):
        return signal
    return replace(signal, problems=(*signal.problems, Problem("warning", code, "", said)))
