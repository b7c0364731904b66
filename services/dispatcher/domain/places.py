"""Places: the administrative tree, venues, offices and speakers as the city pack states them. Pure.

Nothing here assumes a depth: a city may have districts, towns and communities under it, or communities alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from devices.protocols.documents import Audio

from .refusals import NotFound

AREA_DEPTH_MAX = 8


class VenueKind(StrEnum):
    """What sort of place a venue is; speakers carry it in their signed config."""

    SQUARE = "square"
    TRANSPORT_HUB = "transport_hub"
    PUBLIC_BUILDING = "public_building"
    UNDERGROUND = "underground"
    PARK = "park"
    COMMUNITY = "community"


class OfficeKind(StrEnum):
    """Which door an office is: 镇街值守, 社区值守, 部门值班, 综治中心."""

    TOWN = "town"
    COMMUNITY = "community"
    DEPARTMENT = "department"
    GOVERNANCE_CENTRE = "governance_centre"
    DUTY = "duty"


@dataclass(frozen=True, slots=True)
class Area:
    """One node of the administrative tree (区划), or an overlay zone (功能区) when `overlay` is set.

    `code` has 12 digits (统计用区划代码); `valid_from` and `valid_to` are ISO dates, both of them days in force,
    `valid_to` None while in force. A node marked `synthetic` (the 198 row of a city without towns) is hidden from
    people and from routing. The centre (WGS-84, 1e-7 degree) and `radius_km` are a generous circle round the area,
    for catching misplaced venues; they are all None where the pack states none, and never a boundary.
    """

    code: str
    name: str
    kind: str
    parent: str | None
    valid_from: str
    valid_to: str | None = None
    overlay: bool = False
    members: tuple[str, ...] = ()
    synthetic: bool = False
    sample: bool = False
    centre_lat_e7: int | None = None
    centre_lon_e7: int | None = None
    radius_km: int | None = None
    source: str = ""

    def in_force(self, on: date) -> bool:
        """Whether the code stands on that day."""
        day = on.isoformat()
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True, slots=True)
class Venue:
    """A square, station, building or underground space (场所). Position WGS-84, integers of 1e-7 degree.

    `staged` is the audio of its standing orders, which its speakers hold ready.
    """

    id: str
    name: str
    kind: VenueKind
    area: str
    lat_e7: int
    lon_e7: int
    people: int
    source: str
    precision_m: int
    sample: bool = False
    staged: tuple[Audio, ...] = ()


@dataclass(frozen=True, slots=True)
class Office:
    """Who answers for an area (值守). `answers` lists what it may be asked: verify, ground, source_control."""

    id: str
    name: str
    kind: OfficeKind
    area: str
    answers: tuple[str, ...] = ("verify", "ground")
    sample: bool = False


@dataclass(frozen=True, slots=True)
class OutOfService:
    """A speaker taken out of the targeted count, by whom, why, and until when (µs UTC)."""

    author: str
    reason: str
    until_us: int


@dataclass(frozen=True, slots=True)
class Speaker:
    """A loudspeaker endpoint (终端) at a venue; `config_version` is the newest signed config made for it, and
    `config_digest` tells what was said under it, "" before anything was."""

    id: str
    venue: str
    area: str
    name: str
    lat_e7: int
    lon_e7: int
    volume_max: int = 100
    microphone: bool = False
    config_version: int = 1
    config_digest: str = ""
    enrolled: bool = True
    out_of_service: OutOfService | None = None


@dataclass(frozen=True, slots=True)
class AreaChain:
    """Where an area stands: `codes` from the city down to itself, synthetic nodes left out; `zones` that hold it."""

    codes: tuple[str, ...]
    zones: tuple[str, ...]

    @property
    def all(self) -> tuple[str, ...]:
        """What a speaker there answers to: the line of codes, then the zones."""
        return self.codes + self.zones


@dataclass(frozen=True, slots=True)
class TreeFault:
    """Why a list of areas is no tree: the row's own code, a machine-readable `code` and one sentence."""

    area: str
    code: str
    message: str


class BrokenAreaTree(ValueError):
    """These areas do not make one tree."""

    def __init__(self, faults: tuple[TreeFault, ...]) -> None:
        self.faults = faults
        super().__init__("; ".join(fault.message for fault in faults[:5]))


@dataclass(frozen=True, slots=True, eq=False)
class AreaTree:
    """The areas of one city by code, with their children and zones worked out. Build it with `AreaTree.of`.

    It keeps expired areas, so that a revoked code in an old record still resolves. Every method that takes a
    code raises `NotFound` for one that is not here.
    """

    root: str
    areas: Mapping[str, Area]
    _children: Mapping[str, tuple[str, ...]]
    _zones_of: Mapping[str, tuple[str, ...]]
    _chains: dict[str, AreaChain] = field(default_factory=dict)

    @classmethod
    def of(cls, areas: Iterable[Area]) -> AreaTree:
        """Build the tree; raises `BrokenAreaTree` with every fault when the areas do not make one."""
        listed = tuple(areas)
        faults = tree_faults(listed)
        if faults:
            raise BrokenAreaTree(faults)
        children: dict[str, list[str]] = {}
        zones_of: dict[str, list[str]] = {}
        root = ""
        for area in sorted(listed, key=lambda a: a.code):
            for member in area.members:
                zones_of.setdefault(member, []).append(area.code)
            if area.overlay:
                continue
            if area.parent is None:
                root = area.code
            else:
                children.setdefault(area.parent, []).append(area.code)
        return cls(
            root,
            {area.code: area for area in listed},
            {code: tuple(codes) for code, codes in children.items()},
            {code: tuple(codes) for code, codes in zones_of.items()},
        )

    def area(self, code: str) -> Area:
        """The area with that code, in force or not."""
        found = self.areas.get(code)
        if found is None:
            raise NotFound(code)
        return found

    def chain(self, code: str) -> AreaChain:
        """The line from the city down to `code`, with the zones that hold any node of it, broadest member first.

        A zone's line is that of the lowest node that holds all its members, and it is its own zone.
        """
        found = self._chains.get(code)
        if found is None:
            found = self._chains[code] = self._chain(code)
        return found

    def resolve(self, code: str) -> str:
        """The node people see for `code`: itself, or for a synthetic node the one above it."""
        return code if self.area(code).overlay else self.chain(code).codes[-1]

    def children(self, code: str) -> tuple[str, ...]:
        """The nodes directly below, in code order; a synthetic child gives way to its own. A zone's: its members."""
        area = self.area(code)
        if area.overlay:
            return tuple(sorted(area.members))
        below: list[str] = []
        for child in self._children.get(code, ()):
            below.extend(self.children(child) if self.areas[child].synthetic else (child,))
        return tuple(sorted(below))

    def is_within(self, code: str, ancestor: str) -> bool:
        """Whether `code` is `ancestor` or lies in it. A zone lies in a place when all its members do."""
        inner, outer = self.area(code), self.area(ancestor)
        if code == ancestor:
            return True
        if inner.overlay:
            return all(self.is_within(member, ancestor) for member in inner.members)
        if outer.overlay:
            return any(self.is_within(code, member) for member in outer.members)
        return ancestor in self._line(code)

    def lowest_common(self, codes: Iterable[str]) -> str:
        """The lowest visible node that holds all of `codes` (a zone counts as its members); ValueError for none."""
        lines = [self.chain(code).codes for code in codes]
        if not lines:
            raise ValueError("no area codes were given")
        shared = self.root
        for level in zip(*lines, strict=False):
            if len(set(level)) > 1:
                break
            shared = level[0]
        return shared

    def in_force(self, on: date) -> tuple[Area, ...]:
        """The visible areas and zones that stand on that day with everything above them, in code order."""
        return tuple(self.areas[code] for code in sorted(self.areas) if self.stands(code, on))

    def stands(self, code: str, on: date) -> bool:
        """Whether people may use this code on that day: visible, in force, and so is every node above it."""
        area = self.area(code)
        if area.synthetic or not area.in_force(on):
            return False
        above = (area.parent,) if area.overlay and area.parent else self._line(code)
        return all(self.areas[step].in_force(on) for step in above)

    def climb(self, code: str) -> Iterator[str]:
        """The places that answer for `code`, lowest first up to the city; a zone comes right after its member."""
        seen: set[str] = set()
        if self.area(code).overlay:
            seen.add(code)
            yield code
        for step in reversed(self._line(self._stem(code))):
            if not self.areas[step].synthetic:
                yield step
            for zone in self._zones_of.get(step, ()):
                if zone not in seen:
                    seen.add(zone)
                    yield zone

    def _chain(self, code: str) -> AreaChain:
        if self.area(code).overlay:
            return AreaChain(self.chain(self._stem(code)).codes, (code,))
        line = self._line(code)
        zones = dict.fromkeys(zone for step in line for zone in self._zones_of.get(step, ()))
        return AreaChain(tuple(step for step in line if not self.areas[step].synthetic), tuple(zones))

    def _stem(self, code: str) -> str:
        area = self.area(code)
        return self.lowest_common(area.members) if area.overlay else code

    def _line(self, code: str) -> tuple[str, ...]:
        line = [code]
        while (parent := self.area(line[-1]).parent) is not None:
            line.append(parent)
        return tuple(reversed(line))


def offices_above(tree: AreaTree, offices: Iterable[Office], area_code: str) -> tuple[Office, ...]:
    """The offices that answer for an area, lowest first up to the city; synthetic nodes have none.

    Within one place: town or community, then 综治中心, then duty, then departments, each in the order given.
    """
    by_area: dict[str, list[Office]] = {}
    for office in offices:
        by_area.setdefault(office.area, []).append(office)
    ladder: list[Office] = []
    for place in tree.climb(area_code):
        ladder.extend(sorted(by_area.get(place, ()), key=lambda office: _DOORS.index(office.kind)))
    return tuple(ladder)


_DOORS = (
    OfficeKind.COMMUNITY,
    OfficeKind.TOWN,
    OfficeKind.GOVERNANCE_CENTRE,
    OfficeKind.DUTY,
    OfficeKind.DEPARTMENT,
)


def tree_faults(areas: Iterable[Area]) -> tuple[TreeFault, ...]:
    """Every reason why these areas are not one tree with zones beside it; empty when they are.

    The codes: duplicate_id, no_root, root_synthetic, two_roots, unknown_parent, parent_is_zone,
    code_not_under_parent, cycle, too_deep, zone_without_members, members_without_zone, unknown_member, member_is_zone.
    """
    listed = tuple(areas)
    by_code = {area.code: area for area in listed}
    faults: list[TreeFault] = []
    if len(by_code) < len(listed):
        counted: set[str] = set()
        for area in listed:
            if area.code in counted:
                faults.append(TreeFault(area.code, "duplicate_id", f"The area code {area.code} stands here twice."))
            counted.add(area.code)
    roots = [area for area in listed if area.parent is None and not area.overlay]
    if not roots:
        faults.append(TreeFault("", "no_root", "No area is without a parent, so there is no city at the top."))
    elif roots[0].synthetic:
        faults.append(TreeFault(roots[0].code, "root_synthetic", f"The city {roots[0].code} is marked synthetic."))
    for extra in roots[1:]:
        said = f"The area {extra.code} has no parent, but {roots[0].code} is the city."
        faults.append(TreeFault(extra.code, "two_roots", said))
    for area in listed:
        faults.extend(_parent_faults(area, by_code))
        faults.extend(_member_faults(area, by_code))
    return tuple(faults)


def _parent_faults(area: Area, by_code: Mapping[str, Area]) -> Iterator[TreeFault]:
    if area.parent is None:
        return
    parent = by_code.get(area.parent)
    if parent is None:
        yield TreeFault(area.code, "unknown_parent", f"The parent {area.parent} of {area.code} is not in this list.")
        return
    if parent.overlay:
        yield TreeFault(area.code, "parent_is_zone", f"The parent {parent.code} of {area.code} is a zone, not a node.")
    elif not area.overlay and not area.code.startswith(code_head(parent.code)):
        said = f"The code {area.code} does not begin like its parent {parent.code}."
        yield TreeFault(area.code, "code_not_under_parent", said)
    seen = {area.code}
    above: Area | None = parent
    while above is not None and len(seen) <= AREA_DEPTH_MAX:
        if above.code in seen:
            yield TreeFault(area.code, "cycle", f"The line above {area.code} comes back to {above.code}.")
            return
        seen.add(above.code)
        above = by_code.get(above.parent) if above.parent is not None else None
    if len(seen) > AREA_DEPTH_MAX:
        yield TreeFault(area.code, "too_deep", f"The area {area.code} lies deeper than {AREA_DEPTH_MAX} levels.")


def _member_faults(area: Area, by_code: Mapping[str, Area]) -> Iterator[TreeFault]:
    if area.overlay and not area.members:
        yield TreeFault(area.code, "zone_without_members", f"The zone {area.code} names no members.")
    if area.members and not area.overlay:
        yield TreeFault(area.code, "members_without_zone", f"The area {area.code} names members but is no zone.")
    for member in area.members:
        found = by_code.get(member)
        if found is None:
            yield TreeFault(area.code, "unknown_member", f"The member {member} of {area.code} is not in this list.")
        elif found.overlay:
            yield TreeFault(area.code, "member_is_zone", f"The member {member} of {area.code} is itself a zone.")


def code_head(code: str) -> str:
    """The part of a 12-digit code that everything below it repeats: 2, 4, 6, 9 or 12 digits."""
    for digits in (2, 4, 6, 9):
        if not code[digits:].strip("0"):
            return code[:digits]
    return code
