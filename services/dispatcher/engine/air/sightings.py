"""Sightings of what nobody here gave out, and the red incident that one makes; nothing of it can ever be aired.

`sighted` writes them down in the transactions that take them in, and a timer looks at each a moment later: by then the
broker's copies have been compared, which explain what a restored backup has lost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from devices.protocols.topics import StreamKind, parse_manifest_topic

from ...domain import sightings
from ...domain.effects import Record
from ...domain.incidents import Incident
from ...domain.judgement import Doubt
from ...domain.planning import City
from ...domain.sightings import SAID_BY_MAX, UNKNOWN_SOUNDS, Listing, Sighting, stream_id
from ...domain.signals import Signal
from ..ports import Page, Tx
from ..rows import Live, Stream
from ..tasks.own_incidents import join_own, open_own, own_signal
from ..transaction import Work
from .sighted import FOUND_AT_START, KEPT_US, RECOUNT_US, wake

OPEN_MAX = 8
"""Beyond so many open incidents of this kind, further sightings join the newest."""
TOGETHER_WITHIN_US = 60_000_000
ACCOUNT_AGAIN_US = 3_600_000_000
"""An account that goes on lying after people were done with it is an incident again after so long."""


def look(work: Work, id: str) -> None:
    """A sighting's timer is due: it is explained, or it is an incident, or the speakers are counted again."""
    tx, now_us = work.tx, work.tx.now_us()
    row = tx.get_locked(Sighting, id)
    if row is None:
        return
    if row.look_us > now_us:
        wake(tx, row)
        return
    if now_us - row.last_us >= KEPT_US:
        tx.delete(Sighting, id)
        return
    after = row
    if not row.excuse:
        after = _counted(work, _anew(work, row)) if row.incident else _judged(work, row)
    # Counted again while more of them say so, and forgotten a month after the last one did.
    counting = after.speakers != row.speakers or not row.incident
    again_us = RECOUNT_US if counting and not after.excuse else KEPT_US
    after = replace(after, look_us=now_us + again_us)
    tx.put(after)
    wake(tx, after)


def _judged(work: Work, row: Sighting) -> Sighting:
    """The sighting with its excuse, or with the incident that it is or belongs to."""
    tx = work.tx
    excuse = _excuse(tx, row)
    if excuse:
        tx.record(Record("sighting.excused", row.id, excuse, facts={"said_by": list(row.said_by)}))
        return replace(row, excuse=excuse)
    whole = tx.get_locked(Sighting, row.part_of or _stream_of(tx, row))
    # What excuses a stream excuses no order: those of its manifest were excused together with it.
    if whole is not None and whole.id != row.id and not whole.excuse:
        if not whole.incident:
            whole = _judged(work, whole)
            tx.put(whole)
        if whole.incident:
            return replace(row, part_of=whole.id, incident=whole.incident)
    return _raised(work, row)


def _excuse(tx: Tx, row: Sighting) -> str:
    """Why a sighting is no alarm: a restored backup has lost this version, and people are shown the broker's copy.

    Nothing else explains a row. What is given out here is committed before anybody can say that it has it, so that no
    act of ours after the first report makes it ours: whoever holds a key would only have to wait for our next one.
    """
    if row.on_broker or row.order or row.listing is not Listing.THING:
        return ""
    stream = tx.get(Stream, row.stream)
    return FOUND_AT_START if stream is not None and row.version <= stream.lost_until else ""


def _stream_of(tx: Tx, row: Sighting) -> str:
    """The sighting of the stream that may have brought an order: one that a speaker of it holds."""
    for speaker in row.said_by if row.order else ():
        live = tx.get(Live, speaker)
        for stream, version in live.streams.items() if live is not None else ():
            seen = tx.get(Sighting, stream_id(stream, version))
            if seen is not None and not seen.excuse and not _excuse(tx, seen):
                return stream_id(stream, version)
    return ""


def _speakers(tx: Tx, row: Sighting) -> int:
    """How many speakers hold or play it, by what each said last. Everybody is looked through only where more say so
    than the row can name."""
    few = len(row.said_by)
    if row.listing is not Listing.THING:
        return few
    if row.after_stop:
        # The row can name a few of them; who was cut off and could not know is among them, and sounded too.
        return few if few < SAID_BY_MAX else sum(e.doubted == Doubt.AFTER_STOP for e in tx.expected(row.order))
    saying = max((tx.count_saying(order) for order in ((row.order,) if row.order else row.orders)), default=0)
    holding = 0
    if row.stream and not row.order and few >= SAID_BY_MAX:
        holding = tx.count_holding(row.stream, row.version)
    return max(saying, holding, few)


def _anew(work: Work, row: Sighting) -> Sighting:
    """The sighting, raised again where it was said again after people were done with its incident: by more speakers
    than they were shown; by anybody, of what is only counted together; of an account not more often than is of use."""
    if not row.anew:
        return row
    tx, now_us = work.tx, work.tx.now_us()
    match row.listing:
        case Listing.THING:
            again = row.on_broker or _speakers(tx, row) > row.speakers
        case Listing.ACCOUNT:
            again = now_us - row.raised_us >= ACCOUNT_AGAIN_US
        case Listing.REST:
            again = True
        case _:
            assert_never(row.listing)
    row = replace(row, anew=False)
    return _raised(work, row) if again else row


def _raised(work: Work, row: Sighting) -> Sighting:
    """The sighting with its incident: a new one, or one that is open already and about the same or too much else."""
    tx, city = work.tx, work.city
    row = replace(row, speakers=len(row.said_by), raised_us=tx.now_us(), leads=False)
    joined = join_own(work, _signal(row, city, tx.now_us()), OPEN_MAX, lambda each: _same_cause(tx, each, row))
    if joined is None:
        # Only what leads an incident is counted: they are few, however many versions somebody signs.
        row = replace(row, speakers=_speakers(tx, row), leads=True)
    signal = _signal(row, city, tx.now_us())
    tx.record(Record("sighting.alarm", row.id, signal.description, facts={"said_by": list(row.said_by)}))
    return replace(row, incident=(joined or _opened(work, row, signal)).id)


def _same_cause(tx: Tx, incident: Incident, row: Sighting) -> bool:
    """Whether an incident opened a moment ago is about an order, of no known stream, which the same speakers play."""
    if not row.stream or tx.now_us() - incident.opened_us > TOGETHER_WITHIN_US:
        return False
    others = tx.find(Sighting, Page(limit=SAID_BY_MAX), incident=incident.id)
    return any(other.order and not other.stream and not set(other.said_by).isdisjoint(row.said_by) for other in others)


def _opened(work: Work, row: Sighting, signal: Signal) -> Incident:
    said_by = "、".join(row.said_by) or "无"
    question = {
        "zh": f"{signal.headline}。最先报告的终端：{said_by}。请立即到现场或电话核实：是否真的在播放？播放什么？",
        "en": f"{signal.description} First said by: {', '.join(row.said_by) or 'nobody'}. Go or call at once: does "
        "anything sound there, and what?",
    }
    return open_own(work, signal, question, {"sighting": row.id})


def _counted(work: Work, row: Sighting) -> Sighting:
    """The sighting with its speakers counted again; its incident says how many, and the log when they have doubled."""
    if not row.leads:
        return row
    tx = work.tx
    speakers = _speakers(tx, row)
    if speakers == row.speakers:
        return row
    counted = replace(row, speakers=speakers)
    words = sightings.headline(counted)
    incident = tx.get_locked(Incident, row.incident)
    mine = incident is not None and incident.open and incident.headline == sightings.headline(row)["zh"]
    if incident is not None and mine:
        tx.put(replace(incident, headline=words["zh"], reasons=(words["en"],)))
    if speakers >= 2 * row.speakers:
        tx.record(Record("incident.spreads", row.incident, words["en"], facts={"speakers": speakers}))
    return counted


def _signal(row: Sighting, city: City, now_us: int) -> Signal:
    words, key = sightings.headline(row), f"sighting/{row.id}/{now_us}"
    level = sightings.LEVEL_UNKNOWN_SOUNDS
    return own_signal(key, UNKNOWN_SOUNDS, level, _area(row, city), words["zh"], words["en"], now_us)


def _area(row: Sighting, city: City) -> str:
    """Where its office is sought: the stream's area, or that of the first speaker."""
    first = row.said_by[0] if row.said_by else ""
    if row.stream:
        where = parse_manifest_topic(row.stream)
        if where.kind is StreamKind.AREA and where.name in city.tree.areas:
            return where.name
        first = first or where.name
    speaker = city.speakers.get(first)
    return speaker.area if speaker is not None else city.code
