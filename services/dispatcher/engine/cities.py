"""The city in memory: areas, venues, offices and speakers, brought up to date whenever their version changes."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from ..domain.effects import Carry, Record, Save
from ..domain.places import Area, AreaTree, Office, OutOfService, Speaker, Venue
from ..domain.planning import City
from ..domain.refusals import NotFound, WrongState
from .configs import newer_version
from .events import ServiceChanged
from .ports import Page, Read, Store, Tx
from .rows import CityChange, CitySettings
from .writing import write

T = TypeVar("T")
ROWS_MAX = 200_000
CHANGES_KEPT = 1_000
CHANGES_FOLLOWED_MAX = 200
"""Changes after which the city is rather read as a whole."""
IDS_A_READ = 500


class CityInMemory:
    """Keeps one city, and reads only what has changed since; cheap to ask inside every transaction."""

    def __init__(self) -> None:
        self._city: City | None = None
        # A process has many threads, and one of them reads for all.
        self._reading = threading.Lock()

    def get(self, read: Read) -> City:
        """The city as of this transaction. Raises NotFound before a city pack is imported."""
        asked = read.asked(CitySettings, Page(limit=1), id="city")
        # Every transaction wants the time as well; asked here, it costs no trip of its own.
        read.moment()
        found = asked()
        if not found:
            raise NotFound("no city has been imported")
        settings = found[0]
        with self._reading:
            known = self._city
            if known is None or known.version != settings.version or known.code != settings.code:
                known = (_caught_up(read, known, settings) if known is not None else None) or _load(read, settings)
                self._city = known
            return known


def _load(read: Read, settings: CitySettings) -> City:
    everything = Page(limit=ROWS_MAX, order="id")
    tree = AreaTree.of(read.find(Area, Page(limit=ROWS_MAX, order="code")))
    empty = City(settings.code, settings.issuer, 0, tree, offices=tuple(read.find(Office, everything)))
    return empty.with_rows(settings.version, read.find(Venue, everything), read.find(Speaker, everything))


def _caught_up(read: Read, known: City, settings: CitySettings) -> City | None:
    """The known city with every row that has changed since; None where it must be read as a whole."""
    versions = range(known.version + 1, settings.version + 1)
    if known.code != settings.code or not 0 < len(versions) <= CHANGES_FOLLOWED_MAX:
        return None
    changes = _rows(read, CityChange, map(_change_id, versions))
    if len(changes) < len(versions):
        return None
    venues = _rows(read, Venue, (id for change in changes for id in change.venues))
    speakers = _rows(read, Speaker, (id for change in changes for id in change.speakers))
    return known.with_rows(settings.version, venues, speakers)


def _rows(read: Read, kind: type[T], ids: Iterable[str]) -> list[T]:
    wanted = sorted(set(ids))
    found: list[T] = []
    for start in range(0, len(wanted), IDS_A_READ):
        found += read.find(kind, Page(limit=IDS_A_READ), id=tuple(wanted[start : start + IDS_A_READ]))
    return found


def _change_id(version: int) -> str:
    return f"{version:016}"


def set_service(tx: Tx, change: ServiceChanged) -> None:
    """Take a speaker out of service with author, reason and end, or put it back. Raises NotFound."""
    speaker = tx.get_locked(Speaker, change.speaker)
    if speaker is None:
        raise NotFound(f"speaker {change.speaker}")
    out = None if change.until_us is None else OutOfService(change.person, change.reason, change.until_us)
    tx.put(replace(speaker, out_of_service=out))
    city_changed(tx, speakers=(speaker.id,))
    kind = "speaker.out_of_service" if out else "speaker.in_service"
    tx.record(Record(kind, speaker.id, change.reason, change.person, {"until_us": change.until_us}))


def put_in(store: Store, settings: CitySettings, rows: Sequence[object], person: str) -> int:
    """Import a checked city pack; the city's new version. Raises WrongState where the city here is another one."""
    with write(store) as tx:
        return import_city(tx, settings, rows, person)


def begin_world(store: Store, rows: Sequence[object]) -> None:
    """Put the rows that a replay begins with into an empty store."""
    with write(store) as tx:
        assert tx.get(CitySettings, "city") is None, "a replay must never write where a city lives"
        tx.put(*rows)


def import_city(tx: Tx, settings: CitySettings, rows: Sequence[object], person: str) -> int:
    """Put a whole checked city pack in; speakers no longer named are struck off, offices no longer named are not asked
    again, and what is out of service or staged stays so. Configs of all speakers are published anew. The city's new
    version."""
    before = tx.get_locked(CitySettings, "city")
    if before is not None and before.code != settings.code:
        raise WrongState(f"the city here is {before.code}")
    version = (before.version if before else 0) + 1
    named = {row.id for row in rows if isinstance(row, Speaker)}
    before_rows = tx.find(Speaker, Page(limit=ROWS_MAX))
    for old in before_rows:
        if old.id not in named and old.enrolled:
            tx.put(replace(old, enrolled=False))
    now_us = tx.now_us()
    known = {old.id: old for old in before_rows}
    staged = {old.id: old.staged for old in tx.find(Venue, Page(limit=ROWS_MAX))}
    fresh: list[object] = []
    for row in rows:
        match row:
            case Speaker():
                old_row = known.get(row.id)
                version_now = newer_version(old_row.config_version if old_row else 0, now_us)
                service = old_row.out_of_service if old_row else None
                row = replace(row, config_version=version_now, config_digest="", out_of_service=service)
            case Venue():
                row = replace(row, staged=staged.get(row.id, ()))
        fresh.append(row)
    offices = {row.id for row in rows if isinstance(row, Office)}
    for office in tx.find(Office, Page(limit=ROWS_MAX)):
        if office.id not in offices:
            tx.delete(Office, office.id)
    tx.put(replace(settings, version=version), *fresh)
    for speaker_id in sorted(named):
        tx.save(Save(Carry.PUBLISH_CONFIG, speaker_id))
    facts: dict[str, object] = {"version": version, "rows": len(rows), "speakers": len(named)}
    tx.record(Record("city.imported", settings.code, settings.name, person, facts))
    return version


def city_changed(tx: Tx, *, venues: Collection[str] = (), speakers: Collection[str] = ()) -> int:
    """Note that these rows of the city changed, any of them where none are named; the new version."""
    settings = tx.get_locked(CitySettings, "city")
    if settings is None:
        raise NotFound("no city has been imported")
    version = settings.version + 1
    tx.put(replace(settings, version=version))
    if venues or speakers:
        tx.put(CityChange(_change_id(version), tuple(sorted(venues)), tuple(sorted(speakers))))
    tx.delete(CityChange, _change_id(version - CHANGES_KEPT))
    return version
