"""Sightings of what nobody here gave out, and the red incident that one makes; nothing of it can ever be aired.

Speakers' reports and the broker's copies are only written down here, in the transactions that take them in, and a timer
looks at each sighting a moment later: by then the database knows what explains it, if anything does. Ten thousand
speakers that say the same make one row and one incident.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from devices.protocols import document_json
from devices.protocols.documents import Manifest
from devices.protocols.refusals import Refused
from devices.protocols.topics import StreamKind, parse_manifest_topic

from ..domain import sightings
from ..domain.broadcasts import Broadcast
from ..domain.effects import Record, WakeAt
from ..domain.incidents import USELESS_NEVER_US, Incident, IncidentState, SignalJoined
from ..domain.places import OfficeKind
from ..domain.planning import City
from ..domain.risk import Witness
from ..domain.sightings import MANY, SAID_BY_MAX, UNKNOWN_SOUNDS, UNREAD_MAX, Sighting, order_id, stream_id
from ..domain.signals import Evidence, Place, Signal, SignalKind, Unread, Use
from .ports import CitySettings, Live, Page, Stream, Tx
from .streams import AHEAD
from .work import Work

SETTLED_US = 3_000_000
"""How long after the first report a sighting is looked at: the broker's copy has been compared by then."""
UNSETTLED_US = 20_000_000
"""The same while this gateway has not compared the broker's copies yet."""
RECOUNT_US = 10_000_000
KEPT_US = 30 * 86_400_000_000
LISTED_MAX = 500
OPEN_MAX = 8
"""Beyond so many open incidents of this kind, further sightings join the newest."""
TOGETHER_WITHIN_US = 60_000_000
VERSIONS_MAX = 10_000
_OPEN = (IncidentState.SUSPECTED, IncidentState.VERIFYING)
_OTHERS = 2**62


@dataclass(frozen=True, slots=True)
class Seen:
    """One speaker's report of something that nobody here gave out; `raw` is what it sent, empty for a state."""

    sighting: Sighting
    speaker: str
    raw: bytes = b""


def of_order(order: str, rev: int, known: Broadcast | None) -> Sighting:
    """The sighting of an order, or of a revision that a known order never had."""
    if known is None or known.rev == 0:
        return Sighting(order_id(order), order=order, rev=rev)
    return Sighting(order_id(order, rev), order=order, rev=rev)


def of_stream(stream: str, version: int) -> Sighting:
    """The sighting of a version of a stream."""
    return Sighting(stream_id(stream, version), stream=stream, version=version)


def note(tx: Tx, seen: Sequence[Seen], settled_us: int = SETTLED_US) -> None:
    """Write down what speakers say: a row and a timer for each sighting, and a few of their messages as unread."""
    by_id: dict[str, list[Seen]] = defaultdict(list)
    for each in seen:
        by_id[each.sighting.id].append(each)
    now_us, listed = tx.now_us(), _Listed(tx, LISTED_MAX)
    # In the order of their ids, so that two transactions never wait for each other in a circle.
    for id in sorted(by_id):
        said = by_id[id]
        row = tx.get_locked(Sighting, id) or listed.new(said[0].sighting, now_us)
        said_by = tuple(dict.fromkeys((*row.said_by, *(each.speaker for each in said))))[:SAID_BY_MAX]
        kept = [each for each in said if each.raw][: max(0, UNREAD_MAX - row.unread)]
        tx.add_unread([Unread("mqtt", f"receipt/{e.speaker}", "receipt_unknown_order", e.raw, now_us) for e in kept])
        look_us = row.look_us
        if not row.excuse:
            look_us = min(row.look_us, now_us + RECOUNT_US) if row.look_us else now_us + settled_us
        after = replace(
            row, said_by=said_by, said=row.said + len(said), unread=row.unread + len(kept), last_us=now_us,
            look_us=look_us,
        )  # fmt: skip
        tx.put(after)
        if look_us != row.look_us:
            _wake(tx, after)


def found(tx: Tx, manifest: Manifest, verdict: str, *, at_start: bool) -> None:
    """Write down what a comparison with the broker's copy came to. What a gateway finds `at_start` is the sign of a
    restored backup, which the desk is shown as unknown on air; found later, somebody else has put it there."""
    if verdict not in ("unknown here", "another issuer's", AHEAD):
        return
    excuse, whole = "another issuer's", ""
    if verdict in ("unknown here", AHEAD):
        # A version ahead of the time is the sign of a stolen key or of a clock that was wrong, also at a start.
        excuse = "shown as unknown on air since a gateway started" if at_start and verdict != AHEAD else ""
        whole = stream_id(manifest.stream, manifest.version)
    # Whoever signed these holds a key: no flood of speakers' reports crowds them out.
    now_us, listed = tx.now_us(), _Listed(tx, 2 * LISTED_MAX)
    rows = [Sighting(whole, stream=manifest.stream, version=manifest.version)] if whole else []
    unknown = [(order, tx.get(Broadcast, order.id)) for order in manifest.orders]
    new = [of_order(o.id, o.rev, known) for o, known in unknown if known is None or known.rev < o.rev]
    rows += [replace(s, stream=manifest.stream, version=manifest.version, part_of=whole) for s in new]
    ids = tuple(s.order for s in new)
    for row in sorted(rows, key=lambda s: s.id):
        kept = tx.get_locked(Sighting, row.id)
        if kept is not None and (kept.excuse or kept.incident):
            continue
        fresh = kept or listed.new(row, now_us)
        if fresh.id != row.id:
            continue
        fresh = replace(fresh, stream=row.stream, version=row.version, part_of=row.part_of, excuse=excuse)
        fresh = replace(fresh, last_us=now_us, look_us=now_us + KEPT_US if excuse else now_us)
        if row.id == whole:
            fresh = replace(fresh, orders=ids)
        tx.put(fresh)
        _wake(tx, fresh)


def versions_above(tx: Tx, states: Iterable[tuple[str, dict[str, int]]], given_out: dict[str, int]) -> list[Seen]:
    """Versions that speakers hold and that were never signed here. `given_out` is the highest known one by stream; the
    database is asked for more. A gateway commits a version before it publishes it, so that this transaction sees
    every version that a speaker can have."""
    seen: list[Seen] = []
    looked: dict[str, int] = {}
    for speaker, streams in states:
        for stream, version in streams.items():
            if version <= given_out.get(stream, 0):
                continue
            if stream not in looked:
                looked[stream] = _given_out(tx, stream)
            if version > looked[stream]:
                seen.append(Seen(of_stream(stream, version), speaker))
    if len(given_out) + len(looked) > VERSIONS_MAX:
        given_out.clear()
    given_out.update((stream, version) for stream, version in looked.items() if version)
    return seen


def _given_out(tx: Tx, stream: str) -> int:
    """The highest version of a stream that was signed here; without end for what is no stream of this issuer."""
    settings = tx.get(CitySettings, "city")
    try:
        where = parse_manifest_topic(stream)
    except Refused:
        return _OTHERS
    if settings is None or where.issuer != settings.issuer:
        return _OTHERS
    row = tx.get(Stream, stream)
    return row.manifest_version if row is not None else 0


def look(work: Work, id: str) -> None:
    """A sighting's timer is due: it is explained, or it is an incident, or the speakers are counted again."""
    tx, now_us = work.tx, work.tx.now_us()
    row = tx.get_locked(Sighting, id)
    if row is None:
        return
    if row.look_us > now_us:
        _wake(tx, row)
        return
    if now_us - row.last_us >= KEPT_US:
        tx.delete(Sighting, id)
        return
    after = row if row.excuse else _counted(work, row if row.incident else _judged(work, row))
    # Counted again while more of them say so, and forgotten a month after the last one did.
    counting = after.speakers != row.speakers or not row.incident
    again_us = RECOUNT_US if counting and not after.excuse else KEPT_US
    after = replace(after, look_us=now_us + again_us)
    tx.put(after)
    _wake(tx, after)


class _Listed:
    """How many sightings are listed; looked up once in a transaction, when the first new one comes."""

    def __init__(self, tx: Tx, listed_max: int) -> None:
        self._tx, self._max = tx, listed_max
        self._room: int | None = None

    def new(self, seen: Sighting, now_us: int) -> Sighting:
        """The first row of its kind; when too many are listed, the one under which the others are counted."""
        if self._room is None:
            self._room = self._max - len(self._tx.find(Sighting, Page(limit=self._max)))
        if self._room <= 0:
            return self._tx.get_locked(Sighting, MANY) or Sighting(MANY, first_us=now_us)
        self._room -= 1
        return replace(seen, first_us=now_us)


def _wake(tx: Tx, row: Sighting) -> None:
    tx.wake_at(WakeAt(*_timer(row.id), row.look_us, row.look_us + USELESS_NEVER_US))


def _timer(id: str) -> tuple[str, str, str]:
    kind, name = sightings.TIMER
    return kind, id, name


def _judged(work: Work, row: Sighting) -> Sighting:
    """The sighting with its excuse, or with the incident that it is or belongs to."""
    tx = work.tx
    excuse = _excuse(tx, row)
    if excuse:
        tx.record(Record("sighting.excused", row.id, excuse, facts={"said_by": list(row.said_by)}))
        return replace(row, excuse=excuse)
    whole = tx.get_locked(Sighting, row.part_of or _stream_of(tx, row))
    if whole is not None and whole.id != row.id:
        if not whole.excuse and not whole.incident:
            whole = _judged(work, whole)
            tx.put(whole)
        return replace(row, part_of=whole.id, excuse=whole.excuse, incident=whole.incident)
    row = replace(row, speakers=_speakers(tx, row))
    return replace(row, incident=_raised(work, row))


def _excuse(tx: Tx, row: Sighting) -> str:
    """Why a sighting is no alarm: the database knows by now, or people are shown the broker's copy already."""
    if row.order:
        known = tx.get(Broadcast, row.order)
        return "it was given out here" if known is not None and known.rev >= max(row.rev, 1) else ""
    stream = tx.get(Stream, row.stream) if row.stream else None
    if stream is None:
        return ""
    if stream.manifest_version >= row.version:
        return "it was signed here"
    if not stream.foreign:
        return ""
    there = document_json.decode_manifest(stream.foreign).version
    shown = tx.get(Sighting, stream_id(row.stream, there))
    return shown.excuse if shown is not None and row.version <= there else ""


def _stream_of(tx: Tx, row: Sighting) -> str:
    """The sighting of the stream that may have brought an order: one that a speaker of it holds."""
    for speaker in row.said_by if row.order else ():
        live = tx.get(Live, speaker)
        for stream, version in live.streams.items() if live is not None else ():
            seen = tx.get(Sighting, stream_id(stream, version))
            # What excuses a stream excuses the orders that its manifest names, and no other.
            if seen is not None and not seen.excuse and not _excuse(tx, seen):
                return stream_id(stream, version)
    return ""


def _speakers(tx: Tx, row: Sighting) -> int:
    """How many speakers hold or play it, by what each said last."""
    orders = (row.order,) if row.order else row.orders
    saying = max((tx.count_saying(order) for order in orders), default=0)
    holding = tx.count_holding(row.stream, row.version) if row.stream and not row.order else 0
    return max(saying, holding, len(row.said_by))


def _raised(work: Work, row: Sighting) -> str:
    """The incident of a sighting: a new one, or one that is open already and about the same or too much else."""
    tx, city = work.tx, work.city
    tx.lock(f"join/{UNKNOWN_SOUNDS}")
    open_now = tx.find(Incident, Page(limit=OPEN_MAX, order="-opened_us"), hazard=UNKNOWN_SOUNDS, state=_OPEN)
    signal = _signal(row, city, tx.now_us())
    tx.record(Record("sighting.alarm", row.id, signal.description, facts={"said_by": list(row.said_by)}))
    for each in open_now:
        if len(open_now) < OPEN_MAX and not _same_cause(tx, each, row):
            continue
        incident = tx.get_locked(Incident, each.id)
        if incident is not None and incident.state in _OPEN:
            tx.add_signal(signal, incident.id)
            work.decide_incident(incident, SignalJoined(signal, None, incident.place))
            return incident.id
    return _opened(work, row, signal).id


def _same_cause(tx: Tx, incident: Incident, row: Sighting) -> bool:
    """Whether an incident opened a moment ago is about an order, of no known stream, which the same speakers play."""
    if not row.stream or tx.now_us() - incident.opened_us > TOGETHER_WITHIN_US:
        return False
    others = tx.find(Sighting, Page(limit=SAID_BY_MAX), incident=incident.id)
    return any(not other.stream and not set(other.said_by).isdisjoint(row.said_by) for other in others)


def _opened(work: Work, row: Sighting, signal: Signal) -> Incident:
    tx, city = work.tx, work.city
    (area,) = signal.place.areas
    incident = Incident(
        id=work.ids.new(), use=Use.ACTUAL, hazard=UNKNOWN_SOUNDS, event_code="", playbook="",
        state=IncidentState.VERIFYING, level=sightings.LEVEL_UNKNOWN_SOUNDS, reasons=(signal.description,),
        place=signal.place, venue=None, area=area, cell=f"area/{area}", lat_e7=None, lon_e7=None,
        opened_us=tx.now_us(), last_signal_us=signal.received_us, signal_count=1, headline=signal.headline,
        witnesses=(Witness(signal.reporter, "", Evidence.SYSTEM, False, sightings.LEVEL_UNKNOWN_SOUNDS),),
    )  # fmt: skip
    tx.put(incident)
    tx.add_signal(signal, incident.id)
    facts: dict[str, object] = {"hazard": UNKNOWN_SOUNDS, "area": area, "sighting": row.id}
    tx.record(Record("incident.opened", incident.id, signal.headline, facts=facts))
    said_by = "、".join(row.said_by) or "无"
    question = {
        "zh": f"{signal.headline}。最先报告的终端：{said_by}。请立即到现场或电话核实：是否真的在播放？播放什么？",
        "en": f"{signal.description} First said by: {', '.join(row.said_by) or 'nobody'}. Go or call at once: does "
        "anything sound there, and what?",
    }
    duty = tuple(o.id for o in city.offices if o.kind is OfficeKind.DUTY and o.area in city.tree.chain(area).all)
    task = work.open_source_task(incident, duty, question)
    if task is not None:
        incident = replace(incident, task=task)
        tx.put(incident)
    return incident


def _counted(work: Work, row: Sighting) -> Sighting:
    """The sighting with its speakers counted again; its incident says how many, and the log when they have doubled."""
    if row.excuse or row.part_of:
        return row
    tx = work.tx
    speakers = _speakers(tx, row)
    if speakers == row.speakers:
        return row
    counted = replace(row, speakers=speakers)
    words = sightings.headline(counted)
    incident = tx.get_locked(Incident, row.incident)
    mine = incident is not None and incident.open and incident.headline == sightings.headline(row)["zh"]
    if incident is not None and mine:
        tx.put(replace(incident, headline=words["zh"], reasons=(words["en"],)))
    if speakers >= 2 * row.speakers:
        tx.record(Record("incident.spreads", row.incident, words["en"], facts={"speakers": speakers}))
    return counted


def _signal(row: Sighting, city: City, now_us: int) -> Signal:
    words = sightings.headline(row)
    return Signal(
        key=f"sighting/{row.id}/{now_us}",
        reporter="dispatcher",
        use=Use.ACTUAL,
        kind=SignalKind.ALERT,
        evidence=Evidence.SYSTEM,
        hazard=UNKNOWN_SOUNDS,
        event_code="",
        place=Place(areas=(_area(row, city),)),
        observed_us=now_us,
        received_us=now_us,
        claimed_level=sightings.LEVEL_UNKNOWN_SOUNDS,
        headline=words["zh"],
        description=f"{words['en']}.",
    )


def _area(row: Sighting, city: City) -> str:
    """Where its office is sought: the stream's area, or that of the first speaker."""
    first = row.said_by[0] if row.said_by else ""
    if row.stream:
        where = parse_manifest_topic(row.stream)
        if where.kind is StreamKind.AREA and where.name in city.tree.areas:
            return where.name
        first = first or where.name
    speaker = city.speakers.get(first)
    return speaker.area if speaker is not None else city.code
