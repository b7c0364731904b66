"""Reads for the console and its API: pages of rows, and what belongs to one incident or broadcast. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from itertools import islice
from typing import Generic, TypeVar

from devices.protocols import document_json
from devices.protocols.documents import Order, Phase
from devices.protocols.topics import parse_manifest_topic

from ..domain.broadcasts import Broadcast, BroadcastState, Release
from ..domain.incidents import Incident
from ..domain.panels import PanelRequest
from ..domain.places import Speaker
from ..domain.planning import City, Coverage
from ..domain.refusals import NotFound
from ..domain.refused_documents import RefusedTopic
from ..domain.rhythm import Heard, SourceKind, source_id
from ..domain.signals import Panel, Sensor, Signal
from ..domain.verification import Task, TaskState
from .air.drafts import follower
from .air.endings import no_room
from .air.refused_documents import refused_now
from .air.room import Room, measure
from .air.streams import taken
from .clock import SPEAKER_SILENT_US, lately
from .ports import Page, Read
from .rows import Expected, Live, LogRow, OnLadder, PanelLive, Person, Stream

T = TypeVar("T")
D = TypeVar("D", Panel, Sensor)

PAGE_ROWS_MAX = 200
PAGES_MAX = 50
SPEAKERS_PAGE_MAX = 2_000
BEHIND_PER_QUERY = 1_000
TASKS_OF_INCIDENT_MAX = 500
LOG_OF_INCIDENT_MAX = 1_000
STREAMS_MAX = 5_000
RELEASES_MAX = 500
SIGNALS_MAX = 200
SEQ_MAX = 2**62
PANELS_MAX = 50_000
SENSORS_MAX = 200_000
LIVE_MAX = 10_000
NOTHING = Room(0, ())


@dataclass(frozen=True, slots=True)
class Rows(Generic[T]):
    """One page of rows; `more` says whether another page follows."""

    rows: tuple[T, ...]
    more: bool


def page_of(read: Read, kind: type[T], page: int, size: int, **fields: object) -> Rows[T]:
    """Page 1, 2, … of the rows with these fields, newest first; ids sort by time."""
    rows = read.find(kind, _page(page, size, "-id"), **fields)
    return Rows(tuple(rows[:size]), len(rows) > size)


def _page(page: int, size: int, order: str) -> Page:
    """One row more than the page has, which says whether another follows."""
    return Page(limit=size + 1, order=order, skip=(page - 1) * size)


def one(read: Read, kind: type[T], id: str) -> T:
    """The row under that id. Raises NotFound."""
    row = read.get(kind, id)
    if row is None:
        raise NotFound(f"{kind.__name__.lower()} {id}")
    return row


@dataclass(frozen=True, slots=True)
class IncidentStory:
    """An incident with everything that belongs to it; the log runs from old to new."""

    incident: Incident
    signals: tuple[Signal, ...]
    tasks: tuple[Task, ...]
    broadcasts: tuple[Broadcast, ...]
    log: tuple[LogRow, ...]


def incident_story(read: Read, id: str) -> IncidentStory:
    """Everything of one incident. Raises NotFound."""
    incident = one(read, Incident, id)
    tasks = read.find(Task, Page(limit=TASKS_OF_INCIDENT_MAX, order="id"), incident=id)
    broadcasts = read.find(Broadcast, Page(limit=PAGE_ROWS_MAX, order="id"), incident=id)
    logs = [read.log_of(subject) for subject in (id, *(t.id for t in tasks), *(b.id for b in broadcasts))]
    return IncidentStory(
        incident,
        tuple(read.signals_of(id, SIGNALS_MAX)),
        tuple(tasks),
        tuple(broadcasts),
        tuple(islice(merge(*logs, key=lambda row: row.seq), LOG_OF_INCIDENT_MAX)),
    )


@dataclass(frozen=True, slots=True)
class BroadcastStory:
    """A broadcast with its releases, its counts and, for an alert, the prepared followers. `no_room` says what fills
    the stream so that a draft can't be released, "" when it can."""

    broadcast: Broadcast
    releases: tuple[Release, ...]
    coverage: Coverage
    correction: Broadcast | None
    all_clear: Broadcast | None
    no_room: str = ""


def broadcast_story(read: Read, id: str) -> BroadcastStory:
    """Everything of one broadcast but its expected rows. Raises NotFound."""
    b = one(read, Broadcast, id)
    alert = b.phase is Phase.ALERT
    return BroadcastStory(
        b,
        tuple(read.find(Release, Page(limit=RELEASES_MAX, order="id"), broadcast=id)),
        read.coverage(id),
        follower(read, id, Phase.CORRECTION) if alert else None,
        follower(read, id, Phase.ALL_CLEAR) if alert else None,
        no_room(read, b) if alert and b.state is BroadcastState.DRAFT else "",
    )


def expected_page(read: Read, broadcast: str, after: str, size: int, *, silent_only: bool) -> Rows[Expected]:
    """Expected rows by speaker id, behind `after`. Reads every row of the order, so nobody polls it."""
    one(read, Broadcast, broadcast)
    rows = [row for row in read.expected(broadcast, silent_only=silent_only) if row.speaker > after]
    return Rows(tuple(rows[:size]), len(rows) > size)


def tasks_of_office(read: Read, office: str, states: tuple[TaskState, ...], page: int, size: int) -> Rows[Task]:
    """Tasks with this office on their ladder, newest first."""
    fields: dict[str, object] = {"state": states} if states else {}
    mine = read.find(OnLadder, _page(page, size, "-task"), office=office, **fields)
    shown = tuple(row.task for row in mine[:size])
    return Rows(tuple(read.find(Task, Page(limit=size, order="-id"), id=shown)), len(mine) > size)


@dataclass(frozen=True, slots=True)
class SpeakerNow:
    """A speaker with what is last known of it. `silent` when it is not online or was not heard for 15 minutes."""

    speaker: Speaker
    live: Live | None
    silent: bool
    out_of_service: bool


def speakers_page(read: Read, city: City, after: str, size: int, *, venue: str = "") -> Rows[SpeakerNow]:
    """Enrolled speakers by id, behind `after`; of one venue when that is given."""
    wanted = sorted(
        s.id for s in city.speakers.values() if s.enrolled and s.id > after and (not venue or s.venue == venue)
    )
    ids = tuple(wanted[:size])
    lives = {live.id: live for live in read.find(Live, Page(limit=size), id=ids)} if ids else {}
    # As the database has them now: a config's version changes without the city.
    rows = {row.id: row for row in read.find(Speaker, Page(limit=size), id=ids)} if ids else {}
    now_us = read.now_us()
    return Rows(tuple(_now(rows[i], lives.get(i), now_us) for i in ids if i in rows), len(wanted) > size)


def speaker_now(read: Read, id: str) -> SpeakerNow:
    """One speaker as the database has it now. Raises NotFound."""
    return _now(one(read, Speaker, id), read.get(Live, id), read.now_us())


def _now(speaker: Speaker, live: Live | None, now_us: int) -> SpeakerNow:
    out = speaker.out_of_service is not None and speaker.out_of_service.until_us > now_us
    heard = live is not None and live.online and lately(live.heard_us, now_us, SPEAKER_SILENT_US)
    return SpeakerNow(speaker, live, not heard, out)


@dataclass(frozen=True, slots=True)
class PanelNow:
    """An enrolled fire panel, when it was last heard, and its newest requests."""

    panel: Panel
    live: PanelLive | None
    requests: tuple[PanelRequest, ...] = ()


def panels_page(read: Read, after: str, size: int, *, venue: str = "") -> Rows[PanelNow]:
    """Enrolled panels by id, behind `after`; of one venue when that is given."""
    found = _devices(read, Panel, PANELS_MAX, after, size, venue)
    ids = tuple(p.id for p in found.rows)
    lives = {live.id: live for live in read.find(PanelLive, Page(limit=size), id=ids)} if ids else {}
    return Rows(tuple(PanelNow(p, lives.get(p.id)) for p in found.rows), found.more)


def _devices(read: Read, kind: type[D], most: int, after: str, size: int, venue: str) -> Rows[D]:
    """So many enrolled devices behind an id, of one venue when that is given."""
    fields: dict[str, object] = {"venue": venue} if venue else {}
    wanted = [device for device in read.find(kind, Page(limit=most), **fields) if device.id > after]
    return Rows(tuple(wanted[:size]), len(wanted) > size)


def panel_now(read: Read, id: str, requests: int = 20) -> PanelNow:
    """One panel with its newest requests first. Raises NotFound."""
    newest = Page(limit=requests, order="-asked_us")
    found = tuple(read.find(PanelRequest, newest, panel=id))
    return PanelNow(one(read, Panel, id), read.get(PanelLive, id), found)


@dataclass(frozen=True, slots=True)
class SensorNow:
    """An enrolled MQTT sensor, and when it was last heard and in which state."""

    sensor: Sensor
    heard: Heard | None

    @property
    def heard_us(self) -> int | None:
        return self.heard.heard_us or None if self.heard else None


def sensors_page(read: Read, after: str, size: int, *, venue: str = "") -> Rows[SensorNow]:
    """Enrolled sensors by id, behind `after`; of one venue when that is given."""
    found = _devices(read, Sensor, SENSORS_MAX, after, size, venue)
    ids = tuple(_sensor_source(s.id) for s in found.rows)
    heard = {row.id: row for row in read.find(Heard, Page(limit=size), id=ids)} if ids else {}
    return Rows(tuple(SensorNow(s, heard.get(_sensor_source(s.id))) for s in found.rows), found.more)


def sensor_now(read: Read, id: str) -> SensorNow:
    """One sensor. Raises NotFound."""
    return SensorNow(one(read, Sensor, id), read.get(Heard, _sensor_source(id)))


def _sensor_source(id: str) -> str:
    return source_id(SourceKind.SENSOR, id)


@dataclass(frozen=True, slots=True)
class StreamNow:
    """A stream with the orders that a newer verified manifest on the broker holds and this database does not, how full
    it is, and who refuses what is on it, None for nobody."""

    stream: Stream
    unknown_on_air: tuple[Order, ...]
    unknown_version: int
    room: Room
    refused: RefusedTopic | None = None


def streams_now(read: Read, city: City | None) -> tuple[StreamNow, ...]:
    """Every stream of this dispatcher."""
    rooms = rooms_in_use(read)
    refused = {each.topic: each for each in refused_now(read, city)}
    found = (_stream_now(s, rooms.get(s.id, NOTHING)) for s in read.find(Stream, Page(limit=STREAMS_MAX)))
    return tuple(replace(now, refused=refused.get(now.stream.id)) for now in found)


def rooms_in_use(read: Read) -> dict[str, Room]:
    """How full each stream is on which something is on air or stopped."""
    live = read.find(
        Broadcast, Page(limit=LIVE_MAX, order="-id"), state=(BroadcastState.ON_AIR, BroadcastState.STOPPED)
    )
    return {topic: measure(taken(read, topic)) for topic in sorted({b.stream for b in live})}


def fullest_percent(read: Read) -> int:
    """How full the fullest stream is. Takes about a millisecond for each alert on air."""
    return max((room.percent for room in rooms_in_use(read).values()), default=0)


def _stream_now(stream: Stream, room: Room) -> StreamNow:
    if not stream.foreign:
        return StreamNow(stream, (), 0, room)
    manifest = document_json.decode_manifest(stream.foreign)
    # Once something newer was signed here, what was found is decided about or has run out, unless it was only carried
    # along.
    if manifest.version <= stream.manifest_version and not stream.carried:
        return StreamNow(stream, (), 0, room)
    return StreamNow(stream, manifest.orders, manifest.version, room)


def speakers_behind(read: Read, city: City, topic: str, after: str, size: int) -> Rows[tuple[str, int]]:
    """Enrolled speakers that a stream is for and that hold an older version than the one signed last, with theirs; by
    id, behind `after`. No row is read behind the page. Raises NotFound."""
    stream = one(read, Stream, topic)
    where = parse_manifest_topic(topic)
    wanted = sorted(
        s.id
        for s in city.speakers.values()
        if s.enrolled and s.id > after and where.name in (s.id, *city.tree.chain(s.area).all)
    )
    found: list[tuple[str, int]] = []
    for start in range(0, len(wanted), BEHIND_PER_QUERY):
        some = wanted[start : start + BEHIND_PER_QUERY]
        found += read.behind(topic, stream.manifest_version, some, after, size + 1 - len(found))
        if len(found) > size:
            break
    return Rows(tuple(found[:size]), len(found) > size)


def names_of(read: Read, people: Iterable[str]) -> dict[str, str]:
    """The names behind people's ids; an id that is nobody's is left out."""
    found = ((id, read.get(Person, id)) for id in sorted(set(people) - {""}))
    return {id: person.name for id, person in found if person is not None}


def log_people(rows: Sequence[LogRow]) -> set[str]:
    """Who appears in these lines."""
    return {row.person for row in rows if row.person}


def last_seq(read: Read, subject: str | None, known: int = 0) -> int:
    """The number of the newest line of a subject, `known` or 0 when there is none behind that.

    Gallops and halves: about forty small reads at first, two when `known` is the newest one.
    """
    if not read.log_of(subject, known, 1):
        return known
    step = 1
    while known + step < SEQ_MAX and read.log_of(subject, known + step, 1):
        known, step = known + step, step * 2
    low, high = known, known + step
    while high - low > 1:
        middle = (low + high) // 2
        if read.log_of(subject, middle, 1):
            low = middle
        else:
            high = middle
    return high


def newest_lines(read: Read, subject: str | None, size: int) -> list[LogRow]:
    """The newest lines of all, or of one subject, in their order."""
    rows = read.log_of(subject, 0, size)
    if len(rows) < size:
        return rows
    low, high = 0, last_seq(read, subject)
    # Numbers may have gaps, and one subject's lines lie among others: halve to the last place with enough behind it.
    while high - low > 1:
        middle = (low + high) // 2
        if len(read.log_of(subject, middle, size)) == size:
            low = middle
        else:
            high = middle
    return read.log_of(subject, low, size)
