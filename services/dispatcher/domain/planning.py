"""Planning: the expected set of an order, the stream it goes out on, and what coverage then counts. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from devices.protocols.selector import Selector, Whereabouts, matches
from devices.protocols.selector import refusal as selector_refusal

from .places import AreaTree, Office, Speaker, Venue
from .playbook import Playbook, Target
from .refusals import NoTargets, OverCap
from .signals import Place

PLAN_AGE_MAX_US = 24 * 3_600_000_000


@dataclass(frozen=True, slots=True)
class City:
    """The city as planning needs it; `version` changes with any speaker, venue or area."""

    code: str
    issuer: str
    version: int
    tree: AreaTree
    venues: dict[str, Venue]
    speakers: dict[str, Speaker]
    offices: tuple[Office, ...] = ()

    def whereabouts(self, speaker: Speaker) -> Whereabouts:
        """What the speaker's signed config says of it: the same facts its own selector test uses."""
        chain = self.tree.chain(speaker.area).all
        kind = str(self.venues[speaker.venue].kind)
        return Whereabouts(speaker.id, chain, speaker.venue, kind, speaker.lat_e7, speaker.lon_e7)


@dataclass(frozen=True, slots=True)
class Plan:
    """Who an order of one playbook for one place reaches, kept ahead of need and referred to by id."""

    id: str
    playbook: str
    playbook_version: str
    city_version: int
    made_us: int
    selector: Selector
    stream_area: str
    speakers: tuple[str, ...]
    place_names: dict[str, str]
    version: int = 0

    def fits(self, playbook: Playbook, city: City, now_us: int) -> bool:
        """A release may only use a plan made for this playbook, this city and not long ago."""
        return (
            self.playbook_version == playbook.version
            and self.city_version == city.version
            and now_us - self.made_us <= PLAN_AGE_MAX_US
        )


def plan_id(playbook: Playbook, venue: str | None, place: Place) -> str:
    """One id per playbook and place."""
    if playbook.target is Target.VENUE and venue is not None:
        return f"{playbook.id}/{venue}"
    where = json.dumps([sorted(place.areas), [asdict(s) for s in place.shapes]], sort_keys=True)
    return f"{playbook.id}/{hashlib.sha256(where.encode()).hexdigest()[:16]}"


def make_plan(playbook: Playbook, venue: str | None, place: Place, city: City, now_us: int) -> Plan:
    """Plan an order. Raises NoTargets or OverCap."""
    selector = _selector(playbook, venue, place, city)
    code = selector_refusal(selector)
    if code is not None:
        raise OverCap(code)
    targets = [s for s in city.speakers.values() if s.enrolled and matches(selector, city.whereabouts(s))]
    if not targets:
        raise NoTargets
    return Plan(
        id=plan_id(playbook, venue, place),
        playbook=playbook.id,
        playbook_version=playbook.version,
        city_version=city.version,
        made_us=now_us,
        selector=selector,
        stream_area=city.tree.lowest_common(sorted({s.area for s in targets})),
        speakers=tuple(sorted(s.id for s in targets)),
        place_names=place_names(selector, city),
    )


def _selector(playbook: Playbook, venue: str | None, place: Place, city: City) -> Selector:
    if playbook.target is Target.VENUE and venue is not None:
        return Selector(venues=(venue,))
    if place.shapes:
        drawn = Selector(shapes=place.shapes)
        if selector_refusal(drawn) is None:
            return drawn
        # Too many corners for the link: the venues inside the shape stand for it.
        inside = [s.venue for s in city.speakers.values() if matches(drawn, city.whereabouts(s))]
        return Selector(venues=tuple(sorted(set(inside))))
    if place.areas:
        return Selector(areas=tuple(sorted(place.areas)))
    return Selector(venues=(venue,)) if venue is not None else Selector(areas=())


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
