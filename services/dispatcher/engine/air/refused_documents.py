"""What speakers refuse of what was given out here: noted at each speaker, counted per topic, and a red incident where
many do. `domain/refused_documents` says what counts.

A speaker's row holds a few topics at most, whatever it says; an incident never drafts anything.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from devices.protocols.documents import KeyUse, Receipt
from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic
from devices.protocols.topics import StreamKind, parse_manifest_topic

from ...domain import refused_documents
from ...domain.effects import Record, Timer, WakeAt
from ...domain.incidents import USELESS_NEVER_US, Incident
from ...domain.places import Speaker
from ...domain.planning import City, in_service
from ...domain.refused_documents import (
    ALL_CONFIGS,
    AWAY_US,
    DOCUMENTS_REFUSED,
    LEVEL_REFUSED,
    NONE_GIVEN,
    SETTLES_US,
    RefusedDocument,
    RefusedTopic,
    headline,
    kind_of,
    many_of,
    use_of,
    waits_us,
    what_to_do,
)
from ..clock import SPEAKER_SILENT_US, lately
from ..ports import Page, Read, Tx
from ..rows import NEVER_US, Live
from ..tasks.own_incidents import OPEN, join_own, open_own, own_signal
from ..transaction import Work
from .given_out import GivenOut, version_held
from .speaker_oddities import tell

TOPICS_MAX = 16
"""How many topics one speaker's refusals are kept of: its area chain twice, its own, keys and config are fewer."""
LIVE_ROWS_MAX = 200_000
SAID_BY_MAX = 8
OPEN_MAX = 8
"""Beyond so many open incidents of this kind, what is refused further joins the newest."""
INCIDENTS_LOOKED_AT = 64
"""Among how many of the newest incidents of this kind the one about a topic is sought."""
LOOK_EVERY_US = 30_000_000


def note(tx: Tx, said: Sequence[tuple[str, Receipt]]) -> Counter[str]:
    """Take in receipts of refused documents; how often each reason was given. The log has one line an hour of each
    speaker and reason."""
    now_us = tx.now_us()
    counted: Counter[str] = Counter()
    by_speaker: dict[str, list[Receipt]] = defaultdict(list)
    for speaker, receipt in said:
        by_speaker[speaker].append(receipt)
    given_out = GivenOut(tx)
    due_us: list[int] = []
    # In the order of their ids, so that two transactions never wait for each other in a circle.
    for speaker in sorted(by_speaker):
        live = tx.get_locked(Live, speaker) or Live(speaker, False, 0, "", 0, 0, 0, "", 0, "", NEVER_US)
        for receipt in by_speaker[speaker]:
            reason = next((step.reason for step in receipt.steps if step.reason), "refused")
            kind = kind_of(reason)
            counted[kind] += 1
            facts: dict[str, object] = {"stream": receipt.stream, "version": receipt.version}
            live = tell(tx, live, Record("speaker.refuses", speaker, reason, facts=facts), now_us, kind)
            before = live
            live = _refusing(live, receipt, kind, given_out.newest(receipt.stream, speaker), now_us)
            due_us += [now_us + waits_us(kind)] if live is not before else []
        tx.put(live)
    if due_us:
        _wake(tx, min(due_us))
    return counted


def _refusing(live: Live, receipt: Receipt, kind: str, ours: int, now_us: int) -> Live:
    """The row with what it refuses of ours; as it was where that is nothing of ours, or where it holds ours."""
    topic = receipt.stream
    before = live.refused.get(topic)
    fresh = RefusedDocument(kind, receipt.version, ours, now_us)
    if before is not None:
        fresh = replace(fresh, since_us=before.since_us, from_us=before.from_us)
    if not ours or receipt.version > ours or fresh.answered(version_held(live, topic), ours):
        return live
    others = {name: refused for name, refused in live.refused.items() if name != topic}
    return replace(live, refused=dict([*others.items(), (topic, fresh)][-TOPICS_MAX:]))


def heard(read: Read, live: Live, before: Live | None, given_out: GivenOut, city: City | None) -> tuple[Live, bool]:
    """The speaker as its state leaves it: without the refusals that the state has answered, and with what it stays
    behind of what was given out. And whether that has to be looked at soon: it is new, or comes online with it."""
    now_us = read.now_us()
    left = {
        topic: _time_anew(refused, topic, live, before, now_us)
        for topic, refused in live.refused.items()
        if not refused.answered(version_held(live, topic), given_out.newest(topic, live.id))
    }
    known = len(left)
    for topic, ours in given_out.behind(live, city) if live.online and city is not None else ():
        left.setdefault(topic, RefusedDocument(NONE_GIVEN, 0, ours, now_us))
    news = len(left) > known or before is None or not before.online
    return replace(live, refused=dict([*left.items()][-TOPICS_MAX:])), live.online and bool(left) and news


def look_soon(tx: Tx) -> None:
    """Have what speakers refuse looked at once it could have mended. The last thing that a transaction does: everybody
    sets this timer, and nobody may wait for anything else while holding it."""
    _wake(tx, tx.now_us() + SETTLES_US)


def _time_anew(refused: RefusedDocument, topic: str, live: Live, before: Live | None, now_us: int) -> RefusedDocument:
    """A speaker that holds another version than before, or was offline for long, has the time to mend anew."""
    if before is None or not live.online:
        return refused
    away = not before.online and now_us - before.heard_us > AWAY_US
    moved = version_held(before, topic) != version_held(live, topic)
    return replace(refused, from_us=now_us) if away or moved else refused


@dataclass(slots=True)
class _Count:
    version: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    said_by: list[str] = field(default_factory=list)
    since_us: list[int] = field(default_factory=list)


def refused_now(read: Read, city: City | None) -> tuple[RefusedTopic, ...]:
    """What speakers that are in service and online refuse, and had time to mend, by topic."""
    return () if city is None else _counted(_refusing_now(read, city), city, read.now_us())


def _refusing_now(read: Read, city: City) -> list[Live]:
    """The enrolled speakers that are online and refuse anything."""
    rows = read.find(Live, Page(limit=LIVE_ROWS_MAX), refuses=True)
    return [live for live in rows if live.online and live.id in city.speakers and city.speakers[live.id].enrolled]


def _counted(refusing: Sequence[Live], city: City, now_us: int) -> tuple[RefusedTopic, ...]:
    if not refusing:
        return ()
    serving = {s.id: s for s in in_service([s for s in city.speakers.values() if s.enrolled], now_us)}
    counts: dict[str, _Count] = defaultdict(_Count)
    for live in refusing:
        speaker = serving.get(live.id)
        if speaker is None or not lately(live.heard_us, now_us, SPEAKER_SILENT_US):
            continue
        for topic, refused in live.refused.items():
            if refused.stands(now_us, live.heard_us) and _is_for(topic, speaker, city):
                count = counts[ALL_CONFIGS if topic == config_topic(live.id) else topic]
                count.version = max(count.version, 0 if topic == config_topic(live.id) else refused.ours)
                count.reasons[refused.reason] += 1
                count.said_by.append(live.id)
                count.since_us.append(refused.since_us)
    per_area = _meant(serving, city) if counts else Counter()
    return tuple(
        _told(topic, count, _meant_by(topic, per_area, len(serving))) for topic, count in sorted(counts.items())
    )


def _told(topic: str, count: _Count, meant: int) -> RefusedTopic:
    """One topic as it is told; where many refuse it, since when they are many: a few that are broken date nothing."""
    since_us = sorted(count.since_us)[: many_of(meant)][-1]
    said_by = tuple(count.said_by[:SAID_BY_MAX])
    return RefusedTopic(topic, use_of(topic), count.version, meant, count.reasons, said_by, since_us)


def _is_for(topic: str, speaker: Speaker, city: City) -> bool:
    """Whether a topic concerns this speaker; it may have moved, or lie."""
    if topic in (KEYS_TOPIC, config_topic(speaker.id)):
        return True
    try:
        where = parse_manifest_topic(topic)
    except LinkRefused:
        return False
    if where.kind is StreamKind.SPEAKER:
        return where.name == speaker.id
    return where.name in city.tree.chain(speaker.area).all


def _meant(serving: Mapping[str, Speaker], city: City) -> Counter[str]:
    """How many speakers in service each area's streams are for."""
    per_area = Counter(s.area for s in serving.values())
    meant: Counter[str] = Counter()
    for area, speakers in per_area.items():
        for name in city.tree.chain(area).all:
            meant[name] += speakers
    return meant


def _meant_by(topic: str, meant: Counter[str], everybody: int) -> int:
    if topic in (KEYS_TOPIC, ALL_CONFIGS):
        return everybody
    where = parse_manifest_topic(topic)
    return 1 if where.kind is StreamKind.SPEAKER else meant[where.name]


def look(work: Work) -> None:
    """A timer of refusals is due: where many speakers refuse something actual, a red incident says so, once for each
    topic, version and reason. Looked at again while anybody who is enrolled and online refuses anything: who comes
    online has it looked at anew."""
    tx = work.tx
    now_us, refusing = tx.now_us(), _refusing_now(tx, work.city)
    for refused in _counted(refusing, work.city, now_us):
        if refused.many and refused.use == KeyUse.ACTUAL:
            _tell(work, refused)
    if refusing:
        stand_us = (each.stands_us for live in refusing for each in live.refused.values())
        next_look_us = min((at_us for at_us in stand_us if at_us > now_us), default=now_us + LOOK_EVERY_US)
        _wake(tx, min(next_look_us, now_us + LOOK_EVERY_US))


def _tell(work: Work, refused: RefusedTopic) -> None:
    tx = work.tx
    english, chinese = headline(refused)
    key = f"refused/{refused.topic}@{refused.version}/{refused.reason}"
    told = tx.signal_incident(key)
    newest = _newest(tx, refused, told or "")
    if newest is not None and newest.state not in OPEN and refused.since_us > newest.last_signal_us:
        # They have become many since then: this is another outbreak, though it looks the same.
        key = f"{key}/{refused.since_us}"
        told = tx.signal_incident(key)
    if told is not None:
        _count_again(tx, newest.id if newest is not None else told, refused)
        return
    now_us = tx.now_us()
    signal = own_signal(key, DOCUMENTS_REFUSED, LEVEL_REFUSED, _area(refused, work.city), chinese, english, now_us)
    facts: dict[str, object] = {"topic": refused.topic, "version": refused.version, "said_by": list(refused.said_by)}
    tx.record(Record("refused.alarm", refused.topic, signal.description, facts=facts))
    begins = refused_documents.begins_zh(refused)
    joined = join_own(work, signal, OPEN_MAX, lambda each: each.headline.startswith(begins))
    if joined is not None:
        _count_again(tx, joined.id, refused)
        return
    do, do_zh = what_to_do(refused)
    said_by = ", ".join(refused.said_by)
    question = {
        "zh": f"{chinese}。{do_zh}最先报告的终端：{said_by}。",
        "en": f"{english}. {do} First said by: {said_by}.",
    }
    open_own(work, signal, question, facts)


def _newest(tx: Tx, refused: RefusedTopic, told: str) -> Incident | None:
    """The newest incident about this topic, or the one that was told of it."""
    begins = refused_documents.begins_zh(refused)
    newest = tx.find(Incident, Page(limit=INCIDENTS_LOOKED_AT, order="-opened_us"), hazard=DOCUMENTS_REFUSED)
    return next((each for each in newest if each.headline.startswith(begins)), tx.get(Incident, told) if told else None)


def _count_again(tx: Tx, id: str, refused: RefusedTopic) -> None:
    """An open incident about this topic says how many there are now."""
    english, chinese = headline(refused)
    incident = tx.get_locked(Incident, id)
    mine = incident is not None and incident.headline.startswith(refused_documents.begins_zh(refused))
    if incident is not None and incident.state in OPEN and mine and incident.headline != chinese:
        tx.put(replace(incident, headline=chinese, reasons=(f"{english}.",)))


def _area(refused: RefusedTopic, city: City) -> str:
    """Where its office is sought."""
    if refused.topic in (KEYS_TOPIC, ALL_CONFIGS):
        return city.code
    where = parse_manifest_topic(refused.topic)
    if where.kind is StreamKind.SPEAKER:
        return city.speakers[where.name].area
    return where.name if where.name in city.tree.areas else city.code


def _wake(tx: Tx, due_us: int) -> None:
    """Look then, or sooner where that is due already. One timer serves everybody: a refusal that comes meanwhile puts
    nothing off, and a crowd that refuses sets no more."""
    tx.wake_at(WakeAt(Timer.REFUSED, "all", due_us, due_us + USELESS_NEVER_US, only_sooner=True))
