"""Last words of every source, and the incident that one makes by saying nothing (the switch is `domain/rhythm`).

Sources of one use that fall silent in one area within an hour share an incident: when a street loses its line, its
office gets one question and not five hundred. No playbook is asked, so that nothing of it can ever be aired.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ...domain import rhythm
from ...domain.effects import Record, Sleep, WakeAt
from ...domain.incidents import Close, Incident, SignalJoined
from ...domain.places import OfficeKind
from ...domain.planning import City
from ...domain.polling import PollAnswered
from ...domain.rhythm import Heard, RhythmEvent, SourceKind, Spoke
from ...domain.signals import Evidence, Feed, Panel, Place, Sensor, Signal, SignalKind, Use
from ..clock import lately
from ..events import Event, PollTold, SignalArrived, SourceHeard, UnreadArrived
from ..ports import Page, Store
from ..rows import TimerRow
from ..signals import incidents
from ..tasks.own_incidents import OPEN, open_asked
from ..transaction import Work
from ..writing import write

TOGETHER_WITHIN_US = 3_600_000_000
OPEN_MAX = 100
WATCH_MAX = 500
SOURCES_MAX = 200_000
_KINDS: dict[SourceKind, type[Feed] | type[Panel] | type[Sensor]] = {
    SourceKind.FEED: Feed,
    SourceKind.PANEL: Panel,
    SourceKind.SENSOR: Sensor,
}
_WORDS = {SourceKind.FEED: "信源", SourceKind.PANEL: "消防主机", SourceKind.SENSOR: "传感器"}
_WIRES = {"gb26875": SourceKind.PANEL, "mqtt": SourceKind.SENSOR}
_FEED = rhythm.source_id(SourceKind.FEED, "")


@dataclass(frozen=True, slots=True)
class _Source:
    """What silence needs to know of a feed, a panel or a sensor."""

    id: str
    name: str
    use: Use
    place: Place
    excuse: str
    department: str = ""


def spoken(events: Iterable[Event]) -> dict[str, Spoke]:
    """Which sources these events were heard from. What can't be read is no silence either; what people hand in for a
    department says nothing of the department's wire."""
    found: dict[str, Spoke] = {}
    for event in events:
        match event:
            case SourceHeard(source, at_us, state):
                id, spoke = source, Spoke(at_us, state)
            case SignalArrived(signal) if not signal.by_hand:
                kind = _WIRES.get(signal.key.partition("/")[0], SourceKind.FEED)
                id, spoke = rhythm.source_id(kind, signal.reporter), Spoke(signal.received_us)
            case PollTold(poll, at_us, PollAnswered(status=200 | 304)):
                # It answers as it should, whether or not it has anything new to say.
                id, spoke = rhythm.source_id(SourceKind.FEED, poll), Spoke(at_us)
            case UnreadArrived(unread) if unread.wire == "http" and unread.source.startswith(_FEED):
                id, spoke = unread.source, Spoke(unread.at_us)
            case _:
                continue
        before = found.get(id, spoke)
        found[id] = Spoke(max(before.at_us, spoke.at_us), spoke.state or before.state)
    return found


def hear(work: Work, said: Mapping[str, Spoke]) -> None:
    """Write down who was heard. In the order of their names, so that two transactions never wait in a circle."""
    for id in sorted(said):
        wire = rhythm.Listening(said[id].at_us) if id == rhythm.SENSORS_WIRE else None
        _decide(work, work.tx.get_locked(Heard, id) or Heard(id), wire or said[id])


def watch(store: Store, rhythms: Mapping[str, int]) -> int:
    """Have the sources of this mapping (rhythm in s by `source_id`) watched by it; how many were not yet."""
    ids = sorted(rhythms)
    changed = 0
    for start in range(0, len(ids), WATCH_MAX):
        some = tuple(ids[start : start + WATCH_MAX])
        with store.read() as read:
            there = {h.id: h.rhythm_s for h in read.find(Heard, Page(limit=WATCH_MAX), id=some)}
        new = [id for id in some if there.get(id, 0) != rhythms[id]]
        if new:
            changed += len(new)
            with write(store) as tx:
                for id in new:
                    heard = tx.get_locked(Heard, id) or Heard(id)
                    after, effects = rhythm.decide(heard, rhythm.RhythmExpected(rhythms[id]), tx.now_us())
                    tx.put(after)
                    for effect in effects:
                        if isinstance(effect, WakeAt):
                            tx.wake_at(effect)
                        elif isinstance(effect, Sleep):
                            tx.sleep(effect)
    return changed


def due(work: Work, timer: TimerRow, missed: str) -> None:
    """A source's timer is due. One that is not enrolled any more is forgotten."""
    heard = work.tx.get_locked(Heard, timer.subject)
    if heard is None:
        return
    source = _source(work, heard.id)
    if source is None:
        work.tx.delete(Heard, heard.id)
        return
    listening_us, deaf = _listening(work, heard.id)
    _decide(work, heard, rhythm.SilenceDue(source.excuse, missed or deaf, listening_us))


def _listening(work: Work, id: str) -> tuple[int, str]:
    """Since when this system could hear such a source, µs UTC, and why it can't now."""
    wire = work.tx.get(Heard, rhythm.SENSORS_WIRE) if rhythm.source_of(id)[0] is SourceKind.SENSOR else None
    if wire is None:
        return 0, ""
    deaf = not lately(wire.heard_us, work.tx.now_us(), rhythm.DEAF_US)
    return wire.from_us, "the sensors' broker is away" if deaf else ""


def _decide(work: Work, heard: Heard, event: RhythmEvent) -> None:
    after, effects = rhythm.decide(heard, event, work.tx.now_us())
    if after != heard:
        work.tx.put(after)
    work.run(effects)


def _source(work: Work, id: str) -> _Source | None:
    kind, name = rhythm.source_of(id)
    row = work.tx.get(_KINDS[kind], name)
    if row is None:
        return None
    if not row.enabled:
        excuse = "it is switched off"
    elif not isinstance(row, Feed) and (row.maintenance_until_us or 0) > work.tx.now_us():
        excuse = "it is under maintenance"
    else:
        excuse = ""
    if isinstance(row, Feed):
        return _Source(id, row.name, row.use, Place(areas=(row.area,)), excuse, row.department)
    return _Source(id, row.name or row.id, row.use, Place(venue=row.venue), excuse)


def raise_case(work: Work, id: str) -> None:
    """A source's silence becomes an incident: a new one, or that of its neighbours."""
    heard, source = work.tx.get_locked(Heard, id), _source(work, id)
    assert heard is not None and source is not None
    work.tx.put(replace(heard, incident=_raised(work, heard, source)))


def _raised(work: Work, heard: Heard, source: _Source) -> str:
    tx, now_us = work.tx, work.tx.now_us()
    area = _area(source.place, work.city)
    tx.lock(f"join/{source.use}/{rhythm.SOURCE_SILENT}/{area}")
    signal = _signal(heard, source, now_us)
    tx.record(Record("source.silent", source.id, signal.description, facts={"since_us": heard.heard_us}))
    newest = Page(limit=OPEN_MAX, order="-opened_us")
    for found in tx.find(Incident, newest, use=source.use, hazard=rhythm.SOURCE_SILENT, state=OPEN):
        if found.area == area and now_us - found.opened_us <= TOGETHER_WITHIN_US:
            incident = tx.get_locked(Incident, found.id)
            if incident is None or incident.state not in OPEN:
                continue
            tx.add_signal(signal, incident.id)
            incidents.decide(work, incident, SignalJoined(signal, None, incident.place))
            return incident.id
    return _opened(work, signal, source, area).id


def _opened(work: Work, signal: Signal, source: _Source, area: str) -> Incident:
    question = {
        "zh": f"{signal.headline}。请核查设备、电源和线路，并确认：是否确已中断？",
        "en": f"{signal.description} Check the device, its power and its line: is it out of order?",
    }
    first = _departments_duty(work.city, source.department)
    return open_asked(work, signal, area, first, question, {"use": str(source.use)})


def end_case(work: Work, incident_id: str) -> None:
    """The last one that speaks again closes the incident."""
    # Locked first: of two that speak again at once, the second must see the first.
    incident = work.tx.get_locked(Incident, incident_id)
    if incident is None or not incident.open or work.tx.find(Heard, Page(limit=1), incident=incident_id):
        return
    incidents.tell(work, incident_id, Close("", "every source of it speaks again"))


def closed(work: Work, incident_id: str) -> None:
    """People closed an incident: whose silence it was about is watched again."""
    for heard in work.tx.find(Heard, Page(limit=SOURCES_MAX), incident=incident_id):
        held = work.tx.get_locked(Heard, heard.id)
        if held is not None and held.incident == incident_id:
            _decide(work, held, rhythm.CaseClosed())


def _signal(heard: Heard, source: _Source, now_us: int) -> Signal:
    kind, name = rhythm.source_of(source.id)
    named = f"{_WORDS[kind]}“{source.name}”"
    if heard.heard_us:
        zh, en = rhythm.span_words((now_us - heard.heard_us) // 1_000_000)
        headline, sentence = f"{named}已{zh}没有任何消息", f"The {kind} {source.name} has said nothing for {en}."
    else:
        headline, sentence = f"{named}登记后从未有消息", f"The {kind} {source.name} has never said anything."
    return Signal(
        key=f"silence/{source.id}/{heard.heard_us}/{now_us}",
        reporter=name,
        use=source.use,
        kind=SignalKind.ALERT,
        evidence=Evidence.SYSTEM,
        hazard=rhythm.SOURCE_SILENT,
        event_code="",
        place=source.place,
        observed_us=now_us,
        received_us=now_us,
        claimed_level=rhythm.LEVEL_SILENT,
        headline=headline,
        description=sentence,
    )


def _area(place: Place, city: City) -> str:
    venue = city.venues.get(place.venue) if place.venue else None
    if venue is not None:
        return venue.area
    known = [code for code in place.areas if code in city.tree.areas]
    return known[0] if known else city.code


def _departments_duty(city: City, department: str) -> tuple[str, ...]:
    """The duty rooms of a department: offices of that kind whose name begins with the department's."""
    if not department:
        return ()
    rooms = (office for office in city.offices if office.kind is OfficeKind.DEPARTMENT)
    return tuple(office.id for office in rooms if office.name.startswith(department))
