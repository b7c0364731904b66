"""Staging: plans, words and audio of standing orders are made ahead, so that an alarm finds them ready."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from devices.protocols.documents import STAGED_MAX, Audio
from devices.protocols.selector import Selector

from ...domain.effects import Carry, Record, Save
from ...domain.places import Speaker, Venue
from ...domain.planning import City, Plan, make_plan, place_names, plan_id
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

VENUES_A_PASS = 100
ASSETS_A_READ = 500


def stage(store: Store, city: City, playbooks: Iterable[Playbook]) -> int:
    """Make every plan that a standing order may need, and ask for the audio of its alert in both uses. How many plans
    were made or made anew. One transaction a venue, so that an alarm never waits for this."""
    made = 0
    for playbook in playbooks:
        for venue in _covered(playbook, city):
            with write(store) as tx:
                made += _stage_venue(tx, city, playbook, venue)
    return made


def _covered(playbook: Playbook, city: City) -> Iterator[Venue]:
    """The venues where a standing order of this playbook may act."""
    if playbook.standing is None or playbook.target is not Target.VENUE:
        return
    for venue in city.venues.values():
        if playbook.venue_kinds is None or str(venue.kind) in playbook.venue_kinds:
            yield venue


def _stage_venue(tx: Tx, city: City, playbook: Playbook, venue: Venue) -> bool:
    place = Place(venue=venue.id)
    kept = tx.get(Plan, plan_id(playbook, venue.id, place))
    if kept is not None and kept.fits(playbook, city, tx.now_us()):
        return False
    try:
        plan = make_plan(playbook, venue.id, place, city, tx.now_us())
    except (NoTargets, OverCap):
        # A venue without speakers, or beyond the link: an incident there says so when its order is drafted.
        return False
    tx.put(plan)
    for wording in _words(playbook, plan.place_names):
        if tx.get(Asset, wording.id) is None:
            tx.put(wording)
            tx.save(Save(Carry.RENDER_AHEAD, wording.id))
    return True


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


def standing_words(city: City, playbooks: Iterable[Playbook]) -> dict[str, list[Wording]]:
    """What the standing orders of every venue say, the gravest first; none for a venue that no standing order covers.
    It takes seconds for a large city, and holds until the city changes."""
    words: dict[str, list[Wording]] = {venue: [] for venue in city.venues}
    for playbook in sorted(playbooks, key=lambda playbook: (playbook.level_corroborated, playbook.id)):
        for venue in _covered(playbook, city):
            words[venue.id] += _words(playbook, place_names(Selector(venues=(venue.id,)), city))
    return words


def said(city: City, playbooks: Iterable[Playbook]) -> set[tuple[str, str]]:
    """Every (language, text) that a standing order of some venue says."""
    return {
        words
        for playbook in playbooks
        for venue in _covered(playbook, city)
        for words in filled(playbook.spoken.alert, {"zh": venue.name}).items()
    }


def stage_audio(store: Store, city: City, words: Mapping[str, Sequence[Wording]]) -> int:
    """Tell the speakers of each venue which rendered audio to hold ready for these words of its standing orders; how
    many venues changed. A venue waits until all its words are rendered, so that its speakers take one new config and
    not several."""
    with store.read() as read:
        assets = _assets(read, sorted({wording.id for wanted in words.values() for wording in wanted}))
    changed: dict[str, tuple[Audio, ...]] = {}
    for venue_id, wanted in words.items():
        found = [assets[wording.id] for wording in wanted if wording.id in assets]
        audio = tuple(wire_audio(asset) for asset in found[:STAGED_MAX])
        if len(found) == len(wanted) and audio != city.venues[venue_id].staged and len(changed) < VENUES_A_PASS:
            changed[venue_id] = audio
    if changed:
        with write(store) as tx:
            _hold_ready(tx, city, changed)
    return len(changed)


def _assets(read: Read, ids: Sequence[str]) -> dict[str, Asset]:
    found: dict[str, Asset] = {}
    for start in range(0, len(ids), ASSETS_A_READ):
        some = tuple(ids[start : start + ASSETS_A_READ])
        found.update((asset.id, asset) for asset in read.find(Asset, Page(limit=ASSETS_A_READ), id=some))
    return found


def _hold_ready(tx: Tx, city: City, changed: Mapping[str, tuple[Audio, ...]]) -> None:
    for venue_id, audio in changed.items():
        venue = tx.get_locked(Venue, venue_id)
        if venue is not None:
            tx.put(replace(venue, staged=audio))
    told = sorted(s.id for s in city.speakers.values() if s.enrolled and s.venue in changed)
    for speaker_id in told:
        speaker = tx.get_locked(Speaker, speaker_id)
        if speaker is not None:
            version = newer_version(speaker.config_version, tx.now_us())
            tx.put(replace(speaker, config_version=version, config_digest=""))
            tx.save(Save(Carry.PUBLISH_CONFIG, speaker_id))
    city_changed(tx)
    facts: dict[str, object] = {"venues": sorted(changed), "speakers": len(told)}
    tx.record(Record("audio.staged", city.code, "audio of standing orders lies ready on its speakers", facts=facts))
