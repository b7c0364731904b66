"""Drafts: an incident's alert with its correction and all-clear, planned and worded before anybody releases it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace

from devices.protocols.speaker_link import Audio, OrderClass, Phase
from devices.protocols.topics import manifest_topic

from ...domain import broadcasts
from ...domain.broadcasts import Broadcast, BroadcastState, content_hash, people_needed
from ...domain.effects import Carry, Effect, Record, Save
from ...domain.incidents import Incident, IncidentState
from ...domain.planning import City, Plan, make_plan, plan_id
from ...domain.playbook import Playbook
from ...domain.wordings import filled
from ..ports import Ids, Page, Read, Tx
from ..rows import Asset, Wording

REDRAFTABLE = (BroadcastState.DRAFT, BroadcastState.HELD)


def ask_plan(tx: Tx, playbook: Playbook, incident: Incident) -> Callable[[], list[Plan]]:
    """The plan kept for this playbook and place, on its way."""
    return tx.asked(Plan, Page(limit=1), id=plan_id(playbook, incident.venue, incident.place))


def current_plan(
    tx: Tx, playbook: Playbook, incident: Incident, city: City, asked: Callable[[], list[Plan]] | None = None
) -> Plan:
    """The plan kept for this playbook and place, made again when it no longer fits. Raises NoTargets or OverCap."""
    for kept in (asked or ask_plan(tx, playbook, incident))():
        if kept.fits(playbook, incident.venue, incident.place, city):
            return kept
    plan = make_plan(playbook, incident.venue, incident.place, city)
    tx.put(plan)
    return plan


def written(tx: Tx, incident: Incident) -> dict[Phase, Broadcast]:
    """The incident's alert that is written anew, held until the end, with its followers; none for a new one."""
    if not incident.alert:
        return {}
    followers = tx.asked(Broadcast, Page(order="-id"), original=incident.alert)
    alert = tx.get_locked(Broadcast, incident.alert)
    if alert is None or alert.state not in REDRAFTABLE:
        return {}
    return {**{b.phase: b for b in reversed(followers())}, Phase.ALERT: alert}


def draft(
    tx: Tx, incident: Incident, playbook: Playbook, plan: Plan, city: City, ids: Ids, kept: dict[Phase, Broadcast]
) -> tuple[Broadcast, list[Effect]]:
    """Write or rewrite the incident's alert and its two followers, of which `kept` were `written` before; releases
    given to other content expire. Raises PlaceholderLeft when one of the three could not be spoken, and then writes
    none of them."""
    old = kept.get(Phase.ALERT)
    alert_id = old.id if old else ids.new()
    alert = _broadcast(alert_id, incident, playbook, plan, city, Phase.ALERT, "")
    bodies = [alert]
    for phase in (Phase.CORRECTION, Phase.ALL_CLEAR):
        before = kept.get(phase)
        body = _broadcast(before.id if before else ids.new(), incident, playbook, plan, city, phase, alert_id)
        bodies.append(replace(body, version=before.version if before else 0))
    for body in bodies:
        broadcasts.check_spoken(body)
    (alert, *prepared), effects = _worded(tx, bodies)
    if old is not None:
        alert, changed = _carry_releases(old, alert)
        if changed:
            effects.append(Record("broadcast.release_expired", alert.id, changed, facts={"content": alert.content}))
    tx.put(alert)
    if old is None or old.plan != plan.id or old.planned != plan.digest:
        tx.plan_expected(alert.id, plan.speakers, early=False)
    tx.put(*prepared)
    effects.append(
        Record(
            "broadcast.drafted", alert.id, f"{playbook.id} for {incident.id}",
            facts={"incident": incident.id, "content": alert.content, "speakers": alert.speakers, "plan": plan.id},
        )
    )  # fmt: skip
    return alert, effects


def follower(read: Read, original: str, phase: Phase) -> Broadcast | None:
    """The prepared correction or all-clear of an alert."""
    found = read.find(Broadcast, Page(limit=1, order="-id"), original=original, phase=phase)
    return found[0] if found else None


def _broadcast(
    broadcast_id: str, incident: Incident, playbook: Playbook, plan: Plan, city: City, phase: Phase, original: str
) -> Broadcast:
    texts = {
        Phase.ALERT: playbook.spoken.alert,
        Phase.CORRECTION: playbook.spoken.correction,
        Phase.ALL_CLEAR: playbook.spoken.all_clear,
    }[phase]
    body = Broadcast(
        id=broadcast_id,
        incident=incident.id,
        use=incident.use,
        phase=phase,
        original=original,
        playbook=playbook.id,
        state=BroadcastState.DRAFT,
        hazard=incident.hazard,
        hazard_names=playbook.hazard_names,
        event_code=incident.event_code or playbook.event_code,
        level=incident.level,
        order_class=OrderClass(playbook.order_class),
        place_names=plan.place_names,
        texts=filled(texts, plan.place_names),
        selector=plan.selector,
        stream=manifest_topic(plan.stream_area, str(incident.use), city.issuer),
        speakers=len(plan.speakers),
        plan=plan.id,
        planned=plan.digest,
        verdict="confirmed" if incident.state is IncidentState.CONFIRMED else "unverified",
        volume=playbook.volume,
        repeat=playbook.repeat if phase is Phase.ALERT else min(2, playbook.repeat),
        gap_s=playbook.gap_s,
        valid_s=playbook.valid_s,
        prove_within_s=playbook.prove_within_s,
        people_needed=people_needed(incident.level, phase),
    )
    return replace(body, content=content_hash(body))


def _carry_releases(old: Broadcast, new: Broadcast) -> tuple[Broadcast, str]:
    """Keep what people have released while the content is the same; else say what changed."""
    new = replace(new, version=old.version)
    if old.content == new.content:
        return replace(new, released_by=old.released_by, approved=old.approved), ""
    if not old.released_by:
        return new, ""
    return new, f"{'; '.join(_changes(old, new))}: {', '.join(old.released_by)} must confirm again"


def _changes(old: Broadcast, new: Broadcast) -> list[str]:
    """What of the content changed, in words; where a value is short, from what to what."""
    said = [
        f"{name} changed from {getattr(old, name)} to {getattr(new, name)}"
        for name in ("hazard", "level", "use", "verdict")
        if getattr(old, name) != getattr(new, name)
    ]
    if (old.selector, old.stream) != (new.selector, new.stream):
        said.append(f"area changed from {old.place_names.get('zh', '')} to {new.place_names.get('zh', '')}")
    if old.texts != new.texts:
        said.append("the words changed")
    return said or ["how it is played changed"]


def _worded(tx: Tx, bodies: Sequence[Broadcast]) -> tuple[list[Broadcast], list[Effect]]:
    """Give each text its wording and the audio there is; the effects ask for what is not rendered yet."""
    wordings = [{lang: wording_of(b, lang) for lang in b.texts} for b in bodies]
    every = {wording.id: wording for each in wordings for wording in each.values()}
    known = tx.asked(Wording, id=tuple(every))
    assets = {asset.id: asset for asset in tx.find(Asset, id=tuple(every))}
    silent = [wording for id, wording in every.items() if id not in assets]
    there = {wording.id for wording in known()}
    tx.put(*(wording for wording in silent if wording.id not in there))
    worded = [
        replace(
            b,
            wordings={lang: w.id for lang, w in each.items()},
            audio=tuple(wire_audio(assets[w.id]) for w in each.values() if w.id in assets),
        )
        for b, each in zip(bodies, wordings, strict=True)
    ]
    return worded, [Save(Carry.RENDER_AUDIO, wording.id) for wording in silent]


def wording_of(b: Broadcast, lang: str) -> Wording:
    """The words of one language of a broadcast."""
    return wording_for(lang, b.texts[lang], str(b.use), str(b.phase), b.level, b.event_code)


def wording_for(lang: str, text: str, use: str, phase: str, level: int, event_code: str) -> Wording:
    """Words with all that shapes their sound; the same words have the same id."""
    parts = [lang, text, use, phase, level, event_code]
    name = hashlib.sha256(json.dumps(parts, ensure_ascii=False).encode()).hexdigest()[:32]
    return Wording(name, lang, text, use, phase, level, event_code)


def wire_audio(asset: Asset) -> Audio:
    """An asset as an order carries it."""
    return Audio(asset.lang, asset.sha256, asset.codec, asset.ms, asset.bytes)
