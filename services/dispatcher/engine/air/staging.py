"""Staging: plans, words and audio of standing orders are made ahead, so that an alarm finds them ready."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import NamedTuple

from devices.protocols.documents import STAGED_MAX, Audio
from devices.protocols.selector import Selector

from ...domain.effects import Carry, Record, Save
from ...domain.places import Speaker, Venue
from ...domain.planning import City, Plan, make_plan, place_names, plan_digest, plan_id
from ...domain.playbook import Playbook, Target
from ...domain.refusals import NoTargets, OverCap
from ...domain.signals import Place, Use
from ...domain.wordings import filled, unfilled
from ..cities import city_changed
from ..configs import newer_version
from ..ports import Page, Read, Store, Tx
from ..rows import Asset, Wording
from ..writing import write
from .drafts import wire_audio, wording_for

PLANS_A_BITE = 25
VENUES_A_BITE = 25
SPEAKERS_A_BITE = 100
ASSETS_A_READ = 500


@dataclass(frozen=True, slots=True)
class Staged:
    """What one bite has done: plans made, venues whose audio changed; `more` while something waits."""

    plans: int = 0
    venues: int = 0
    more: bool = False


class Staging:
    """Keeps every plan ready that a standing order may need, asks for the audio of its alert in both uses, and tells
    the speakers of each venue which audio to hold ready.

    Each step is one bite and one short transaction, so that an alarm never waits for this. A plan is made anew when
    what it was made of has changed. Nothing rests on this: whoever drafts or releases looks at the plan again.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._city: City | None = None
        self._playbooks: tuple[Playbook, ...] = ()
        self._made: dict[str, str] = {}
        """The digest of each plan that is known to be stored, or not to be possible."""
        self._plans: dict[tuple[str, str], None] = {}
        self._venues: dict[str, None] = {}
        self._unready: set[str] = set()

    def step(self, city: City, playbooks: Sequence[Playbook]) -> Staged:
        """Do the next bite for the city and the playbooks as they are now."""
        self._follow(city, tuple(playbooks))
        if self._plans:
            made = self._stage_plans(city, list(islice(self._plans, PLANS_A_BITE)))
            return Staged(plans=made, more=bool(self._plans or self._venues))
        changed = self._stage_audio(city, list(islice(self._venues, VENUES_A_BITE)))
        return Staged(venues=changed, more=bool(self._venues))

    def look_again(self, *, everywhere: bool = False) -> None:
        """Look for audio again where some was not rendered yet; or at every venue, because audio was replaced."""
        again = self._unready if self._city is None or not everywhere else self._city.venues
        self._venues |= dict.fromkeys(sorted(again))

    def _follow(self, city: City, playbooks: tuple[Playbook, ...]) -> None:
        """Note what is to be looked at because the city or the playbooks have changed."""
        if city is self._city and playbooks == self._playbooks:
            return
        known = self._city if playbooks == self._playbooks else None
        changed = sorted(city.changed_venues(known))
        self._plans |= {
            (playbook.id, venue): None for playbook in playbooks for venue in changed if _covers(playbook, city, venue)
        }
        self._venues |= dict.fromkeys(changed)
        self._city, self._playbooks = city, playbooks

    def _stage_plans(self, city: City, bite: Sequence[tuple[str, str]]) -> int:
        """Make those of these plans that do not fit any more; how many."""
        playbooks = {playbook.id: playbook for playbook in self._playbooks}
        wanted: dict[str, _Wanted] = {}
        for playbook_id, venue in bite:
            playbook = playbooks.get(playbook_id)
            if playbook is not None and _covers(playbook, city, venue):
                place = Place(venue=venue)
                id, digest = plan_id(playbook, venue, place), plan_digest(playbook, venue, place, city)
                if self._made.get(id) != digest:
                    wanted[id] = _Wanted(playbook, venue, digest)
        made = self._make_missing(city, wanted) if wanted else 0
        self._made.update((id, one.digest) for id, one in wanted.items())
        for each in bite:
            del self._plans[each]
        return made

    def _make_missing(self, city: City, wanted: Mapping[str, _Wanted]) -> int:
        with self._store.read() as read:
            fitting = _fitting(read, wanted)
        if len(fitting) == len(wanted):
            return 0
        with write(self._store) as tx:
            fitting = _fitting(tx, wanted)
            return _make(tx, city, [one for id, one in wanted.items() if id not in fitting])

    def _stage_audio(self, city: City, bite: Sequence[str]) -> int:
        """Tell the speakers of these venues which rendered audio to hold ready for their standing orders; how many
        venues changed. A venue waits until all its words are rendered, so that its speakers take one new config and
        not several."""
        words = {venue: standing_words(city, self._playbooks, venue) for venue in bite if venue in city.venues}
        with self._store.read() as read:
            assets = _assets(read, sorted({wording.id for wanted in words.values() for wording in wanted}))
        changed: dict[str, tuple[Audio, ...]] = {}
        looked_at: list[str] = []
        told = 0
        for venue, wanted in words.items():
            found = [assets[wording.id] for wording in wanted if wording.id in assets]
            audio = tuple(wire_audio(asset) for asset in found[:STAGED_MAX])
            if len(found) == len(wanted) and audio != city.venues[venue].staged:
                told += len(city.at_venue(venue))
                if changed and told > SPEAKERS_A_BITE:
                    break
                changed[venue] = audio
            (self._unready.add if len(found) < len(wanted) else self._unready.discard)(venue)
            looked_at.append(venue)
        done = 0
        if changed:
            with write(self._store) as tx:
                done = _hold_ready(tx, city, changed)
        for venue in (*looked_at, *(set(bite) - words.keys())):
            del self._venues[venue]
        return done


class _Wanted(NamedTuple):
    """A plan that may have to be made, and the digest of what it would be made of."""

    playbook: Playbook
    venue: str
    digest: str


def _covers(playbook: Playbook, city: City, venue: str) -> bool:
    """Whether a standing order of this playbook may act at a venue."""
    if playbook.standing is None or playbook.target is not Target.VENUE or venue not in city.venues:
        return False
    return playbook.venue_kinds is None or str(city.venues[venue].kind) in playbook.venue_kinds


def _fitting(read: Read, wanted: Mapping[str, _Wanted]) -> set[str]:
    """Which of these plans are stored as they would be made now."""
    rows = read.find(Plan, Page(limit=len(wanted)), id=tuple(wanted))
    return {row.id for row in rows if row.digest == wanted[row.id].digest}


def _make(tx: Tx, city: City, wanted: Sequence[_Wanted]) -> int:
    """Make these plans, and ask for those of their words that are not rendered; how many could be made."""
    plans: list[Plan] = []
    words: dict[str, Wording] = {}
    for one in wanted:
        try:
            plan = make_plan(one.playbook, one.venue, Place(venue=one.venue), city)
        except (NoTargets, OverCap):
            # A venue without speakers, or beyond the link: an incident there says so when its order is drafted.
            continue
        plans.append(plan)
        words.update((wording.id, wording) for wording in _words(one.playbook, plan.place_names))
    rendered = _assets(tx, sorted(words))
    missing = [words[id] for id in sorted(words.keys() - rendered.keys())]
    tx.put(*sorted(plans, key=lambda plan: plan.id), *missing)
    for wording in missing:
        tx.save(Save(Carry.RENDER_AHEAD, wording.id))
    return len(plans)


def _words(playbook: Playbook, names: dict[str, str]) -> list[Wording]:
    """What the playbook's alert says at a place of this name, in both uses; actual first, Chinese first."""
    said = filled(playbook.spoken.alert, names).items()
    texts = sorted(said, key=lambda said: (not said[0].startswith("zh"), said))
    return [
        wording_for(lang, text, str(use), "alert", playbook.level_corroborated, playbook.event_code)
        for use in (Use.ACTUAL, Use.EXERCISE)
        for lang, text in texts
        if not unfilled(text)
    ]


def standing_words(city: City, playbooks: Iterable[Playbook], venue: str) -> list[Wording]:
    """What the standing orders of a venue say, the gravest first; none where no standing order covers it."""
    names = place_names(Selector(venues=(venue,)), city)
    gravest_first = sorted(playbooks, key=lambda playbook: (playbook.level_corroborated, playbook.id))
    return [w for playbook in gravest_first if _covers(playbook, city, venue) for w in _words(playbook, names)]


def said(city: City, playbooks: Iterable[Playbook]) -> set[tuple[str, str]]:
    """Every (language, text) that a standing order of some venue says."""
    return {
        words
        for playbook in playbooks
        for venue in city.venues.values()
        if _covers(playbook, city, venue.id)
        for words in filled(playbook.spoken.alert, {"zh": venue.name}).items()
    }


def _assets(read: Read, ids: Sequence[str]) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for start in range(0, len(ids), ASSETS_A_READ):
        some = tuple(ids[start : start + ASSETS_A_READ])
        found.update((asset.id, asset) for asset in read.find(Asset, Page(limit=ASSETS_A_READ), id=some))
    return found


def _hold_ready(tx: Tx, city: City, wanted: Mapping[str, tuple[Audio, ...]]) -> int:
    """How many venues changed; what another gateway has told their speakers meanwhile is not told again."""
    venues = [venue for id in sorted(wanted) if (venue := tx.get_locked(Venue, id)) is not None]
    changed = {
        venue.id: replace(venue, staged=wanted[venue.id]) for venue in venues if venue.staged != wanted[venue.id]
    }
    told = sorted(speaker.id for venue in changed for speaker in city.at_venue(venue))
    speakers = [speaker for id in told if (speaker := tx.get_locked(Speaker, id)) is not None]
    for speaker in speakers:
        version = newer_version(speaker.config_version, tx.now_us())
        tx.put(replace(speaker, config_version=version, config_digest=""))
        tx.save(Save(Carry.PUBLISH_CONFIG, speaker.id))
    if changed:
        tx.put(*changed.values())
        city_changed(tx, venues=changed.keys(), speakers=told)
        facts: dict[str, object] = {"venues": sorted(changed), "speakers": len(speakers)}
        tx.record(Record("audio.staged", city.code, "audio of standing orders lies ready on its speakers", facts=facts))
    return len(changed)
