"""City packs: a folder of tables that says what a city is, read and checked as one thing before any of it is used.

`read_city_pack` gives a whole pack or every problem in it, never a part. It writes nothing; an importer is one loop
over `CityPack.rows()`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TypeVar

from services.dispatcher.domain.nearness import distance_m
from services.dispatcher.domain.places import (
    Area,
    AreaTree,
    Office,
    OfficeKind,
    Speaker,
    Venue,
    VenueKind,
    tree_faults,
)

from . import city_pack_departments
from .city_pack_departments import Department, FeedWords, department
from .city_pack_rows import Columns, PackProblem, Problems, Row, read_table, shown
from .city_pack_settings import PackSettings, read_settings

__all__ = [
    "CityPack",
    "PackSettings",
    "Department",
    "FeedWords",
    "PackProblem",
    "PackRefused",
    "read_city_pack",
]

FILES = ("city.yaml", "areas.csv", "venues.csv", "offices.csv", "speakers.csv", city_pack_departments.FILE)
AREA_COLUMNS = Columns(
    required=("code", "name", "kind", "parent", "valid_from", "valid_to", "source"),
    optional=("overlay", "members", "synthetic", "sample", "centre_lat_e7", "centre_lon_e7", "radius_km"),
    rows_max=50_000,
)
VENUE_COLUMNS = Columns(
    required=("id", "name", "kind", "area", "lat_e7", "lon_e7", "people", "precision_m", "source"),
    optional=("sample",),
    rows_max=50_000,
)
OFFICE_COLUMNS = Columns(required=("id", "name", "kind", "area"), optional=("answers", "sample"), rows_max=50_000)
SPEAKER_COLUMNS = Columns(
    required=("id", "venue", "name"), optional=("lat_e7", "lon_e7", "volume_max", "microphone"), rows_max=200_000
)
LAT_E7_MAX = 900_000_000
LON_E7_MAX = 1_800_000_000
RADIUS_KM_MAX = 2_000
PRECISION_M_MAX = 5_000
PEOPLE_MAX = 1_000_000
SPEAKER_FROM_VENUE_M_MAX = 2_000
UNPLACED = 0  # the precision that a venue of unreadable position carries until its pack is refused
ANSWERS = ("verify", "ground", "source_control")

Thing = TypeVar("Thing")


@dataclass(frozen=True, slots=True)
class CityPack:
    """A whole checked city. Areas stand parents first, zones last; sources are sentences, not ids.

    Departments are no rows of the city: they are enrolled as feeds, each with a key of its own.
    """

    settings: PackSettings
    areas: tuple[Area, ...]
    venues: tuple[Venue, ...]
    offices: tuple[Office, ...]
    speakers: tuple[Speaker, ...]
    departments: tuple[Department, ...] = ()

    def rows(self) -> Iterator[Area | Venue | Office | Speaker]:
        """Everything to import, each row after those it refers to."""
        yield from self.areas
        yield from self.venues
        yield from self.offices
        yield from self.speakers


@dataclass(frozen=True, slots=True)
class PackRefused:
    """Why a folder is no city pack: problems in file and line order, and how many more were not kept."""

    problems: tuple[PackProblem, ...]
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class _Ground:
    """What rows are checked against; `settings` and `tree` are None while their files do not hold."""

    settings: PackSettings | None
    areas: Mapping[str, Area]
    tree: AreaTree | None
    on: date


def read_city_pack(folder: Path, on: date, words: FeedWords | None = None) -> CityPack | PackRefused:
    """Read and check a folder as it would be used on the day `on`; gives the pack, or every problem in it.

    With `words` the hazards and formats of departments are held against them; without, only their form.

    A file may be UTF-8 (with or without byte order mark) or GB18030. Nothing is read past the caps on file size,
    rows, cells and lists. Raises nothing for what stands in the folder.

    A row with a good id stands with blanks for its bad cells until the end, so that one mistake is reported once and
    not again by every row that refers to it; a pack with any problem is refused as a whole.
    """
    problems = Problems()
    settings = read_settings(folder / "city.yaml", problems)
    rows = read_table(folder / "areas.csv", AREA_COLUMNS, problems)
    areas = _by_id(rows, "code", lambda row, code: _area(row, code, settings))
    ground = _Ground(settings, areas, _tree(rows, areas, settings, problems), on)
    rows = read_table(folder / "venues.csv", VENUE_COLUMNS, problems)
    venues = _by_id(rows, "id", lambda row, venue: _venue(row, venue, ground))
    rows = read_table(folder / "offices.csv", OFFICE_COLUMNS, problems)
    offices = _by_id(rows, "id", lambda row, office: _office(row, office, ground))
    rows = read_table(folder / "speakers.csv", SPEAKER_COLUMNS, problems)
    speakers = _by_id(rows, "id", lambda row, speaker: _speaker(row, speaker, venues))
    departments = _departments(folder, words, ground, problems)
    if problems or settings is None or ground.tree is None:
        found = sorted(problems.found, key=lambda problem: (FILES.index(problem.file), problem.line))
        return PackRefused(tuple(found), problems.left_out)
    return CityPack(
        settings,
        _parents_first(areas.values(), ground.tree),
        tuple(venues.values()),
        tuple(offices.values()),
        tuple(speakers.values()),
        departments,
    )


def _departments(folder: Path, words: FeedWords | None, ground: _Ground, problems: Problems) -> tuple[Department, ...]:
    path = folder / city_pack_departments.FILE
    if not path.exists():
        return ()
    city = ground.settings.code if ground.settings else ""

    def standing(row: Row) -> str | None:
        area = _standing(row, ground, zones=True)
        return area.code if area else None

    rows = read_table(path, city_pack_departments.COLUMNS, problems)
    return tuple(_by_id(rows, "id", lambda row, id: department(row, id, words, city, standing)).values())


def _by_id(rows: Iterable[Row], column: str, make: Callable[[Row, str], Thing | None]) -> dict[str, Thing]:
    made: dict[str, Thing] = {}
    seen: set[str] = set()
    for row in rows:
        identity = row.area_code(column) if column == "code" else row.id(column)
        if identity is None:
            continue
        if identity in seen:
            row.refuse("duplicate_id", f"The {column} {shown(identity)} stands in this file already.")
            continue
        seen.add(identity)
        if (thing := make(row, identity)) is not None:
            made[identity] = thing
    return made


def _area(row: Row, code: str, settings: PackSettings | None) -> Area:
    kind = row.cells["kind"]
    if settings and kind not in settings.kinds:
        row.refuse("unknown_kind", f"The kind {shown(kind)} is not one that city.yaml names.")
    parent = row.area_code("parent") or (settings.code if settings else None) if row.given("parent") else None
    valid_from = row.day("valid_from") or ""
    valid_to = row.day("valid_to") if row.given("valid_to") else None
    if valid_to is not None and valid_to < valid_from:
        row.refuse("dates_reversed", f"The area ends on {valid_to}, before it begins on {valid_from}.")
    lat_e7, lon_e7, radius_km = _circle(row)
    return Area(
        code=code,
        name=row.name() or "",
        kind=kind,
        parent=parent,
        valid_from=valid_from,
        valid_to=valid_to,
        overlay=row.flag("overlay"),
        members=row.area_codes("members"),
        synthetic=row.flag("synthetic"),
        sample=row.flag("sample"),
        centre_lat_e7=lat_e7,
        centre_lon_e7=lon_e7,
        radius_km=radius_km,
        source=_source(row, settings),
    )


def _circle(row: Row) -> tuple[int | None, int | None, int | None]:
    given = [row.given(column) for column in ("centre_lat_e7", "centre_lon_e7", "radius_km")]
    if not any(given):
        return None, None, None
    if not all(given):
        row.refuse("centre_incomplete", "An area's centre needs centre_lat_e7, centre_lon_e7 and radius_km together.")
        return None, None, None
    lat_e7 = row.integer("centre_lat_e7", -LAT_E7_MAX, LAT_E7_MAX)
    lon_e7 = row.integer("centre_lon_e7", -LON_E7_MAX, LON_E7_MAX)
    radius_km = row.integer("radius_km", 1, RADIUS_KM_MAX)
    if lat_e7 is None or lon_e7 is None or radius_km is None:
        return None, None, None
    return lat_e7, lon_e7, radius_km


def _tree(
    rows: Sequence[Row], areas: Mapping[str, Area], settings: PackSettings | None, problems: Problems
) -> AreaTree | None:
    if not areas:
        problems.add("areas.csv", 0, "no_areas", "This file holds no readable area.")
        return None
    lines = {row.cells["code"]: row.line for row in reversed(rows)}
    faults = tree_faults(areas.values())
    for fault in faults:
        problems.add("areas.csv", lines.get(fault.area, 0), fault.code, fault.message)
    if faults:
        return None
    tree = AreaTree.of(areas.values())
    if settings is None:
        return tree
    if tree.root != settings.code:
        said = f"The top area is {tree.root}, but city.yaml is about {settings.code}."
        problems.add("areas.csv", lines[tree.root], "city_code_differs", said)
    for code in areas:
        depth = len(tree.chain(code).codes)
        if depth > len(settings.depth_labels) and not areas[code].overlay:
            said = f"The area {code} lies at level {depth}, which city.yaml has no depth label for."
            problems.add("areas.csv", lines[code], "depth_unlabelled", said)
    return tree


def _parents_first(areas: Collection[Area], tree: AreaTree) -> tuple[Area, ...]:
    def height(area: Area) -> tuple[bool, int]:
        steps, above = 0, area.parent
        while above is not None:
            steps, above = steps + 1, tree.area(above).parent
        return area.overlay, steps

    return tuple(sorted(areas, key=height))


def _venue(row: Row, venue: str, ground: _Ground) -> Venue:
    area = _standing(row, ground, zones=False)
    lat_e7 = row.integer("lat_e7", -LAT_E7_MAX, LAT_E7_MAX)
    lon_e7 = row.integer("lon_e7", -LON_E7_MAX, LON_E7_MAX)
    precision_m = row.integer("precision_m", 1, PRECISION_M_MAX)
    placed = lat_e7 is not None and lon_e7 is not None and precision_m is not None
    if area and lat_e7 is not None and lon_e7 is not None and precision_m is not None:
        _check_inside(row, ground, area.code, (lat_e7, lon_e7), precision_m)
    return Venue(
        id=venue,
        name=row.name() or "",
        kind=row.word_of("kind", VenueKind) or VenueKind.SQUARE,
        area=area.code if area else "",
        lat_e7=lat_e7 or 0,
        lon_e7=lon_e7 or 0,
        people=row.integer("people", 0, PEOPLE_MAX) or 0,
        source=_source(row, ground.settings),
        precision_m=precision_m if placed and precision_m else UNPLACED,
        sample=row.flag("sample"),
    )


def _check_inside(row: Row, ground: _Ground, code: str, point: tuple[int, int], precision_m: int) -> None:
    """Refuse a venue outside the circle of its area or of any area above it; without boundaries this is the most
    that can be said, and it catches swapped or foreign coordinates."""
    if ground.tree is None:
        return
    for step in reversed(ground.tree.chain(code).codes):
        area = ground.areas[step]
        if area.centre_lat_e7 is None or area.centre_lon_e7 is None or area.radius_km is None:
            continue
        away_m = distance_m(*point, area.centre_lat_e7, area.centre_lon_e7)
        if away_m > area.radius_km * 1000 + precision_m:
            said = f"The venue lies {away_m / 1000:.0f} km from the middle of {area.name}, radius {area.radius_km} km."
            row.refuse("outside_area", said)
            return


def _office(row: Row, office: str, ground: _Ground) -> Office:
    area = _standing(row, ground, zones=True)
    answers = row.words("answers")
    for answer in answers:
        if answer not in ANSWERS:
            row.refuse("unknown_word", f"The answers hold {shown(answer)}, not one of {', '.join(ANSWERS)}.")
    return Office(
        id=office,
        name=row.name() or "",
        kind=row.word_of("kind", OfficeKind) or OfficeKind.DUTY,
        area=area.code if area else "",
        answers=answers or ANSWERS[:2],
        sample=row.flag("sample"),
    )


def _speaker(row: Row, speaker: str, venues: Mapping[str, Venue]) -> Speaker | None:
    """A speaker without a position of its own stands where its venue does, and is no more precise than that."""
    venue = venues.get(name) if (name := row.id("venue")) else None
    if name and venue is None:
        row.refuse("unknown_venue", f"The venue {shown(name)} is not in venues.csv.")
    label = row.name()
    volume_max = row.integer("volume_max", 1, 100) if row.given("volume_max") else 100
    microphone = row.flag("microphone")
    point = _own_point(row, venue) if row.given("lat_e7") or row.given("lon_e7") else None
    if venue is None or label is None or volume_max is None:
        return None
    lat_e7, lon_e7 = point or (venue.lat_e7, venue.lon_e7)
    return Speaker(speaker, venue.id, venue.area, label, lat_e7, lon_e7, volume_max, microphone)


def _own_point(row: Row, venue: Venue | None) -> tuple[int, int] | None:
    lat_e7 = row.integer("lat_e7", -LAT_E7_MAX, LAT_E7_MAX)
    lon_e7 = row.integer("lon_e7", -LON_E7_MAX, LON_E7_MAX)
    if lat_e7 is None or lon_e7 is None:
        return None
    if venue and venue.precision_m != UNPLACED:
        away_m = distance_m(lat_e7, lon_e7, venue.lat_e7, venue.lon_e7)
        if away_m > SPEAKER_FROM_VENUE_M_MAX + venue.precision_m:
            row.refuse("outside_venue", f"The speaker lies {away_m / 1000:.0f} km from its venue {venue.id}.")
    return lat_e7, lon_e7


def _standing(row: Row, ground: _Ground, *, zones: bool) -> Area | None:
    code = row.area_code("area")
    if code is None:
        return None
    area = ground.areas.get(code)
    if area is None:
        row.refuse("unknown_area", f"The area {code} is not in areas.csv.")
    elif area.synthetic:
        row.refuse("area_synthetic", f"The area {code} is a synthetic row, hidden from people; name a real one.")
    elif area.overlay and not zones:
        row.refuse("area_is_zone", f"The area {code} is a zone beside the tree; name the node that the place lies in.")
    elif not (ground.tree.stands(code, ground.on) if ground.tree else area.in_force(ground.on)):
        row.refuse("area_not_in_force", f"The area {code}, or one above it, is not in force on {ground.on}.")
    else:
        return area
    return None


def _source(row: Row, settings: PackSettings | None) -> str:
    source = row.cells["source"]
    if settings and source not in settings.sources:
        row.refuse("unknown_source", f"The source {shown(source)} is not one that city.yaml lists.")
    return settings.sources.get(source, "") if settings else ""
