"""Spots: where a signal happened, resolved against the city, with every guess and every gap said. Pure.

A code that no longer stands gives way to what took its name, else to the lowest place above it that stands. A name
counts only where nothing else is understood, and only when it is one place's alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from devices.protocols.selector import Circle

from .nearness import SMALL_SHAPE, WIDE_SHAPE, point_cells, shape_cells
from .places import AreaTree, code_head
from .planning import City
from .refusals import NotFound
from .rules import Areas, Rules
from .signals import Place, Signal

AREAS_INDEXED_MAX = 64
NAMES_SHOWN_MAX = 5
FINE_LOCKS_M_MAX = 1_000
"""Beyond it, cells of a kilometre would be too many to lock one by one."""


@dataclass(frozen=True, slots=True)
class Note:
    """One thing that people should know of how a place was understood; `kind` is that of its log line."""

    kind: str
    why: str


@dataclass(frozen=True, slots=True)
class Spot:
    """`area` is where its office is sought. `line` holds every area that the spot names and all above them.

    `by_name` is set where a name alone said where it is: people may act on that, nothing else does.
    """

    place: Place
    venue: str | None
    area: str
    line: tuple[str, ...]
    lat_e7: int | None = None
    lon_e7: int | None = None
    notes: tuple[Note, ...] = ()
    not_understood: str = ""
    by_name: bool = False

    @property
    def cell(self) -> str:
        """The one cell that names it: its venue's, else its area's."""
        return venue_cell(self.venue) if self.venue else f"area/{self.area}"


def spot_of(signal: Signal, city: City, rules: Rules) -> Spot:
    """Where the signal is; the city itself when nothing of its place is understood."""
    try:
        return _spot(signal, city, _day(signal.observed_us, rules))
    except NotFound:
        return Spot(Place(names=signal.place.names), None, city.code, (city.code,))


def _spot(signal: Signal, city: City, on: date) -> Spot:
    said = signal.place
    notes: list[Note] = []
    areas: dict[str, None] = {}
    unknown: list[str] = []
    for code in said.areas:
        stands = _standing(code, city, on, notes)
        if stands is None:
            unknown.append(code)
        else:
            areas[stands] = None
    venue = city.venues.get(said.venue) if said.venue else None
    if said.venue and venue is None:
        unknown.append(said.venue)
    by_name = False
    if venue is None and not areas and not said.shapes and said.names:
        venue_id, area = _named(said.names, city, on, notes)
        venue = city.venues[venue_id] if venue_id else None
        areas.update(dict.fromkeys((area,) if area else ()))
        by_name = venue is not None or area is not None
    known = tuple(areas)
    if venue is not None:
        area = venue.area
    else:
        area = city.tree.lowest_common(known) if known else city.code
    named = dict.fromkeys(step for code in (known or (area,)) for step in city.tree.chain(code).all)
    place = Place(venue.id if venue else None, known, said.shapes, said.names)
    lat_e7, lon_e7 = (venue.lat_e7, venue.lon_e7) if venue else (None, None)
    missing = ", ".join(unknown)
    if missing:
        notes.insert(0, Note("incident.place_unknown", f"not understood: {missing}"))
    return Spot(place, place.venue, area, tuple(named), lat_e7, lon_e7, tuple(notes), missing, by_name)


def _day(at_us: int, rules: Rules) -> date:
    local = datetime.fromtimestamp(0, UTC) + timedelta(microseconds=at_us, minutes=rules.utc_offset_min)
    return local.date()


def _standing(code: str, city: City, on: date, notes: list[Note]) -> str | None:
    """The node that a code means on that day, None when the code is of no place here."""
    tree = city.tree
    area = tree.areas.get(code)
    if area is not None and (area.overlay or tree.area(tree.resolve(code)).in_force(on)):
        return tree.resolve(code)
    above = _above(code, city, on)
    if area is not None:
        heirs = [
            other.code
            for other in tree.areas.values()
            if (other.name, other.parent) == (area.name, area.parent) and other.in_force(on) and other.code != code
        ]
        if len(heirs) == 1:
            notes.append(Note("incident.place_revoked", f"{code} {area.name} does not stand; it is {heirs[0]} now"))
            return heirs[0]
    if above is None:
        return None
    name = tree.area(above).name
    kind = "incident.place_revoked" if area is not None else "incident.place_widened"
    what = f"{area.name} does not stand on that day" if area is not None else "is no place known here"
    notes.append(Note(kind, f"{code} {what}; taken as {above} {name}, which holds it"))
    return above


def _above(code: str, city: City, on: date) -> str | None:
    """The lowest place below the city that stands and holds the code by its digits."""
    area = city.tree.areas.get(code)
    for digits in (12, 9, 6):
        head = code[:digits].ljust(12, "0")
        above = city.tree.areas.get(head)
        holds = above is not None and code.startswith(code_head(head)) and head not in (code, city.code)
        if above is not None and holds and not above.synthetic and above.in_force(on):
            return head
    return city.code if area is not None else None


def _named(
    names: tuple[str, ...], city: City, on: date, notes: list[Note]
) -> tuple[str | None, str | None]:  # fmt: skip
    """The one venue or area that bears one of these names; the ambiguity is said, and nothing chosen."""
    wanted = {_plain(name) for name in names}
    found = [(v.id, v.name, True) for v in city.venues.values() if _plain(v.name) in wanted]
    known = _areas_by_name(city.tree)
    found += [
        (code, city.tree.area(code).name, False)
        for name in sorted(wanted)
        for code in known.get(name, ())
        if city.tree.stands(code, on)
    ]
    if len(found) > 1:
        shown = ", ".join(f"{name} ({id})" for id, name, _ in sorted(found)[:NAMES_SHOWN_MAX])
        more = f" and {len(found) - NAMES_SHOWN_MAX} more" if len(found) > NAMES_SHOWN_MAX else ""
        notes.append(Note("incident.place_ambiguous", f"the name could be {shown}{more}; none was chosen"))
    if len(found) != 1:
        return None, None
    id, name, is_venue = found[0]
    notes.append(Note("incident.place_by_name", f"placed by its name alone: {name} ({id})"))
    return (id, None) if is_venue else (None, id)


@lru_cache(maxsize=2)
def _areas_by_name(tree: AreaTree) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for area in tree.areas.values():
        if not area.synthetic:
            name = _plain(area.name)
            found[name] = (*found.get(name, ()), area.code)
    return found


def _plain(name: str) -> str:
    return "".join(name.split()).casefold()


def venue_cell(venue: str) -> str:
    """The cell under which everything at a venue is listed."""
    return f"venue/{venue}"


def look_cells(spot: Spot, rules: Rules, hazard: str) -> tuple[str, ...]:
    """The cells under which an incident that this spot may belong to is listed."""
    rule = rules.join(hazard)
    if spot.lat_e7 is not None and spot.lon_e7 is not None:
        near = point_cells(spot.lat_e7, spot.lon_e7, rule.distance_m)
        if rule.areas is not Areas.OVERLAP:
            return near
        here = shape_cells((Circle(spot.lat_e7, spot.lon_e7, 1),), 0)
        return (*near, *(f"area/{code}" for code in spot.line), *here, WIDE_SHAPE)
    found = [f"area/{code}" for code in spot.line] if spot.place.areas or not spot.place.shapes else []
    if rule.areas is Areas.OVERLAP:
        found += [f"under/{code}" for code in spot.place.areas[:AREAS_INDEXED_MAX]]
    if spot.place.shapes:
        drawn = shape_cells(spot.place.shapes, rule.distance_m)
        found += [*drawn, SMALL_SHAPE if drawn == (WIDE_SHAPE,) else WIDE_SHAPE]
        point = _point_of(spot)
        found += point_cells(point.lat_e7, point.lon_e7, rule.distance_m) if point is not None else ()
    return tuple(dict.fromkeys(found))


def lock_cells(spot: Spot, rules: Rules, hazard: str) -> tuple[str, ...]:
    """What two signals that may join have at least one of in common, and no more than a few of each."""
    rule = rules.join(hazard)
    point = _point_of(spot)
    wide = [cell for cell in look_cells(spot, rules, hazard) if cell.startswith(("area/", "under/", "grid/"))]
    lat_e7, lon_e7 = (point.lat_e7, point.lon_e7) if point is not None else (spot.lat_e7, spot.lon_e7)
    if lat_e7 is None or lon_e7 is None:
        return tuple(wide)
    if rule.distance_m <= FINE_LOCKS_M_MAX:
        return (*wide, *point_cells(lat_e7, lon_e7, rule.distance_m))
    return (*wide, *(f"round/{cell}" for cell in shape_cells((Circle(lat_e7, lon_e7, 1),), rule.distance_m)))


def _point_of(spot: Spot) -> Circle | None:
    """The point that a report without a venue is about, when it draws one circle and nothing else."""
    first = spot.place.shapes[0] if len(spot.place.shapes) == 1 else None
    return first if isinstance(first, Circle) else None


def listed_cells(place: Place, venue: str | None, area: str, lat_e7: int | None, lon_e7: int | None,
                 city: City) -> tuple[str, ...]:  # fmt: skip
    """The cells under which an incident at this place is found: its point, its areas and those above, its shapes."""
    found: list[str] = []
    if venue is not None and lat_e7 is not None and lon_e7 is not None:
        found += [venue_cell(venue), point_cells(lat_e7, lon_e7, 0)[0]]
        found += [f"under/{code}" for code in city.tree.chain(area).all]
        return tuple(found)
    named = place.areas if len(place.areas) <= AREAS_INDEXED_MAX else ()
    named = tuple(code for code in named if code in city.tree.areas)
    if not named and (place.areas or not place.shapes):
        named = (area,)
    above = dict.fromkeys(step for code in (named or (area,)) for step in city.tree.chain(code).all)
    found += [f"area/{code}" for code in named]
    found += [f"under/{code}" for code in above if code not in named]
    if place.shapes:
        drawn = shape_cells(place.shapes, 0)
        found += drawn if drawn == (WIDE_SHAPE,) else (*drawn, SMALL_SHAPE)
    return tuple(dict.fromkeys(found))
