"""Planning: the expected set of an order, the stream it goes out on, and what coverage then counts. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from operator import attrgetter
from typing import Literal

from devices.protocols.selector import Selector, Whereabouts, matches
from devices.protocols.selector import refusal as selector_refusal

from .places import AreaTree, Office, Speaker, Venue
from .playbook import Playbook, Target
from .refusals import NoTargets, OverCap
from .signals import Place

Group = tuple[Literal["venue", "area"], str]
"""Speakers that stand together: those of one venue, or those of one area itself."""


@dataclass(frozen=True, slots=True)
class City:
    """The city as planning needs it; `version` changes with any speaker, venue or area. Made without speakers, it
    gets them by `with_rows`: they are indexed by venue and by area, and of each such group a digest of all that
    planning reads of it is kept.
    """

    code: str
    issuer: str
    version: int
    tree: AreaTree
    venues: dict[str, Venue] = field(default_factory=dict)
    speakers: dict[str, Speaker] = field(default_factory=dict)
    offices: tuple[Office, ...] = ()
    _groups: dict[Group, tuple[Speaker, ...]] = field(default_factory=dict, repr=False)
    _digests: dict[Group, str] = field(default_factory=dict, repr=False)

    def with_rows(self, version: int, venues: Iterable[Venue], speakers: Iterable[Speaker]) -> City:
        """The city after these rows have changed; all else, and what is known of it, stays."""
        new_venues, new_speakers = {v.id: v for v in venues}, {s.id: s for s in speakers}
        old = [self.speakers[id] for id in new_speakers if id in self.speakers]
        joined: dict[Group, list[Speaker]] = {group: [] for speaker in old for group in _groups_of(speaker)}
        for speaker in new_speakers.values():
            for group in _groups_of(speaker):
                joined.setdefault(group, []).append(speaker)
        groups, digests = self._groups.copy(), self._digests.copy()
        for group, added in joined.items():
            stay = [speaker for speaker in groups.get(group, ()) if speaker.id not in new_speakers]
            members = sorted([*stay, *(s for s in added if s.enrolled)], key=attrgetter("id"))
            groups[group] = tuple(members)
            digests.pop(group, None)
        for venue in new_venues:
            for group in {each for s in groups.get(("venue", venue), ()) for each in _groups_of(s)}:
                digests.pop(group, None)
        after = replace(self, version=version, venues=self.venues | new_venues, speakers=self.speakers | new_speakers)
        return replace(after, _groups=groups, _digests=digests)

    def changed_venues(self, known: City | None) -> list[str]:
        """The venues that may differ in themselves or in their speakers from a city that was known before."""
        if known is None or known.tree is not self.tree:
            return list(self.venues)
        return [
            id for id, venue in self.venues.items()
            if known.venues.get(id) is not venue or known.at_venue(id) is not self.at_venue(id)
        ]  # fmt: skip

    def at_venue(self, venue: str) -> tuple[Speaker, ...]:
        """The enrolled speakers of a venue, in the order of their ids."""
        return self._groups.get(("venue", venue), ())

    def members(self, group: Group) -> tuple[Speaker, ...]:
        """The enrolled speakers of a group."""
        return self._groups.get(group, ())

    def digest(self, group: Group) -> str:
        """Tells two states of a group apart by all that planning reads of its speakers."""
        found = self._digests.get(group)
        if found is None:
            said = [(s.area, self.tree.chain(s.area).codes, self.whereabouts(s)) for s in self.members(group)]
            found = self._digests[group] = hashlib.sha256(repr(said).encode()).hexdigest()
        return found

    def whereabouts(self, speaker: Speaker) -> Whereabouts:
        """What the speaker's signed config says of it: the same facts its own selector test uses."""
        chain = self.tree.chain(speaker.area).all
        kind = str(self.venues[speaker.venue].kind)
        return Whereabouts(speaker.id, chain, speaker.venue, kind, speaker.lat_e7, speaker.lon_e7)


def _groups_of(speaker: Speaker) -> tuple[Group, Group]:
    return ("venue", speaker.venue), ("area", speaker.area)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who an order of one playbook for one place reaches, kept ahead of need and referred to by id. `digest` tells what
    it was made of: the playbook, the speakers that were looked at and the names of the place."""

    id: str
    playbook: str
    digest: str
    selector: Selector
    stream_area: str
    speakers: tuple[str, ...]
    place_names: dict[str, str]
    version: int = 0

    def fits(self, playbook: Playbook, venue: str | None, place: Place, city: City) -> bool:
        """A release may only use a plan that would be made the same today."""
        asked = _asked(playbook, venue, place)
        return self.digest == _digest(playbook, asked, _looked_at(asked, city), place_names(self.selector, city), city)


def plan_id(playbook: Playbook, venue: str | None, place: Place) -> str:
    """One id per playbook and place."""
    if playbook.target is Target.VENUE and venue is not None:
        return f"{playbook.id}/{venue}"
    where = json.dumps([sorted(place.areas), [asdict(s) for s in place.shapes]], sort_keys=True)
    return f"{playbook.id}/{hashlib.sha256(where.encode()).hexdigest()[:16]}"


def make_plan(playbook: Playbook, venue: str | None, place: Place, city: City) -> Plan:
    """Plan an order. Raises NoTargets or OverCap."""
    asked = _asked(playbook, venue, place)
    groups = _looked_at(asked, city)
    looked_at = [speaker for group in groups for speaker in city.members(group)]
    targets = [s for s in looked_at if matches(asked, city.whereabouts(s))]
    selector = asked
    if asked.shapes and selector_refusal(asked) is not None:
        # Too many corners for the link: the venues inside the shape stand for it.
        selector = Selector(venues=tuple(sorted({s.venue for s in targets})))
        targets = [s for s in looked_at if matches(selector, city.whereabouts(s))]
    code = selector_refusal(selector)
    if code is not None:
        raise OverCap(code)
    if not targets:
        raise NoTargets
    names = place_names(selector, city)
    return Plan(
        id=plan_id(playbook, venue, place),
        playbook=playbook.id,
        digest=_digest(playbook, asked, groups, names, city),
        selector=selector,
        stream_area=city.tree.lowest_common(sorted({s.area for s in targets})),
        speakers=tuple(sorted(s.id for s in targets)),
        place_names=names,
    )


def plan_digest(playbook: Playbook, venue: str, place: Place, city: City) -> str:
    """The digest of a venue's plan as it would be made now; it costs no plan."""
    asked = _asked(playbook, venue, place)
    return _digest(playbook, asked, _looked_at(asked, city), place_names(asked, city), city)


def _asked(playbook: Playbook, venue: str | None, place: Place) -> Selector:
    if playbook.target is Target.VENUE and venue is not None:
        return Selector(venues=(venue,))
    if place.shapes:
        return Selector(shapes=place.shapes)
    if place.areas:
        return Selector(areas=tuple(sorted(place.areas)))
    return Selector(venues=(venue,)) if venue is not None else Selector(areas=())


def _looked_at(asked: Selector, city: City) -> list[Group]:
    """Where the speakers are of which some may match; nobody else does."""
    if asked.venues is not None:
        return [("venue", venue) for venue in asked.venues]
    with_speakers = [code for code in sorted(city.tree.areas) if city.members(("area", code))]
    if asked.areas is not None:
        with_speakers = [code for code in with_speakers if not set(asked.areas).isdisjoint(city.tree.chain(code).all)]
    return [("area", code) for code in with_speakers]


def _digest(playbook: Playbook, asked: Selector, groups: Sequence[Group], names: dict[str, str], city: City) -> str:
    made_of = [playbook.id, playbook.version, asked, [(group, city.digest(group)) for group in groups], names]
    return hashlib.sha256(repr(made_of).encode()).hexdigest()


def place_names(selector: Selector, city: City) -> dict[str, str]:
    """The place in words, as the confirm sentence and the spoken text say it."""
    if selector.venues is not None:
        names = [city.venues[v].name for v in selector.venues if v in city.venues]
    elif selector.areas is not None:
        names = [city.tree.area(code).name for code in selector.areas]
    else:
        names = [f"{city.tree.area(city.code).name}划定区域"]
    shown = "、".join(names[:3]) + (f"等{len(names)}处" if len(names) > 3 else "")
    return {"zh": shown}


@dataclass(frozen=True, slots=True)
class Coverage:
    """The four counts of an order, always all four, and those out of service beside them; `after_stop` are speakers
    that said they sounded it after it was taken off the air."""

    targeted: int
    online: int
    playing: int
    proved: int
    finished: int
    refused: int
    failed: int
    out_of_service: int
    after_stop: int = 0


@dataclass(frozen=True, slots=True)
class SilentVenue:
    """A venue where targeted speakers have not shown that they play, with the people at risk there."""

    venue: str
    area: str
    people: int
    speakers: tuple[str, ...]


def silent_venues(silent: Iterable[str], city: City, now_us: int) -> list[SilentVenue]:
    """One row per venue, most people at risk first; speakers out of service are people's work too."""
    by_venue: dict[str, list[str]] = {}
    for speaker_id in silent:
        speaker = city.speakers.get(speaker_id)
        if speaker is not None:
            by_venue.setdefault(speaker.venue, []).append(speaker_id)
    rows = [
        SilentVenue(v, city.venues[v].area, city.venues[v].people, tuple(sorted(ids))) for v, ids in by_venue.items()
    ]
    return sorted(rows, key=lambda row: (-row.people, row.venue))


def in_service(speakers: Sequence[Speaker], now_us: int) -> list[Speaker]:
    """Speakers not marked out of service now."""
    return [s for s in speakers if s.out_of_service is None or s.out_of_service.until_us <= now_us]
