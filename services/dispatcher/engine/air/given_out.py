"""The newest versions that were given out here: who holds another, and who stays behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from devices.protocols.refusals import LinkRefused
from devices.protocols.speaker_link import KEYS_TOPIC, config_topic
from devices.protocols.topics import parse_manifest_topic

from ...domain.places import Speaker
from ...domain.planning import City
from ...domain.refused_documents import SETTLES_US
from ..ports import Page, Read
from ..rows import BrokerCopy, CitySettings, Live, Stream
from .broker_copies import STREAMS_MAX, STREAMS_PER_QUERY
from .listed_keys import ListedKeys
from .sighted import Seen, of_stream
from .streams import REFRESH_US

VERSIONS_MAX = 10_000
OCCUPIED_FOR_US = 10_000_000
"""How long the streams that are occupied are remembered: who stays behind one has longer than that to catch up."""
_OTHERS = 2**62


def version_held(live: Live, topic: str) -> int:
    """The version that a speaker says it holds of a topic, 0 for none."""
    if topic == KEYS_TOPIC:
        return live.keys_version
    return live.config_version if topic == config_topic(live.id) else live.streams.get(topic, 0)


@dataclass(slots=True)
class Remembered:
    """What one thread remembers from transaction to transaction: the highest version of streams that it has seen to be
    signed here, without end for those of others; and since `looked_us` which streams are occupied, with their versions,
    by area or speaker."""

    highest: dict[str, int] = field(default_factory=dict)
    occupied: Mapping[str, list[tuple[str, int]]] = field(default_factory=dict)
    looked_us: int = 0


class GivenOut:
    """Versions that were given out here, as one transaction sees them; each is looked up once in it. A gateway commits
    a version before it publishes it, so that this sees every version that a speaker can have."""

    def __init__(self, read: Read, remembered: Remembered | None = None) -> None:
        self._read = read
        self._remembered = remembered if remembered is not None else Remembered()
        self._rows: dict[str, int | None] = {}
        self._keys: int | None = None

    def newest(self, topic: str, speaker: str) -> int:
        """The newest version on a topic that is for this speaker, 0 for none and for what is no topic of ours."""
        if topic == KEYS_TOPIC:
            if self._keys is None:
                self._keys = ListedKeys(self._read).newest()
            return self._keys
        if topic == config_topic(speaker):
            row = self._read.get(Speaker, speaker)
            return row.config_version if row is not None else 0
        signed = self._signed(topic)
        return 0 if signed == _OTHERS else signed or 0

    def never_here(self, states: Iterable[tuple[str, Mapping[str, int]]]) -> list[Seen]:
        """The versions of our streams that speakers hold and that were never signed here. The database is asked where
        no higher one is remembered."""
        return [
            Seen(of_stream(topic, version), speaker)
            for speaker, streams in states
            for topic, version in streams.items()
            if version > self._remembered.highest.get(topic, 0) and version > (self._signed(topic) or 0)
        ]

    def unknown(self, live: Live, city: City) -> set[str]:
        """The streams of ours that a speaker names, that are for it, of which the database knows nothing, and on which
        no version of a listed key counts for it. Where one does, what the broker holds is looked at, and people decide.
        """
        speaker = city.speakers.get(live.id)
        if speaker is None or not speaker.enrolled:
            return set()
        strange = {t for t, version in live.streams.items() if not version and t not in self._remembered.highest}
        strange = {topic for topic in strange if self._signed(topic) is None}
        return {topic for topic in strange if parse_manifest_topic(topic).name in _names(speaker, city)}

    def _signed(self, topic: str) -> int | None:
        """The highest version of a stream that was signed here; None where there is no row of it."""
        if topic not in self._rows:
            self._rows[topic] = self._look(topic)
            if len(self._remembered.highest) > VERSIONS_MAX:
                self._remembered.highest.clear()
            if self._rows[topic]:
                self._remembered.highest[topic] = self._rows[topic] or 0
        return self._rows[topic]

    def _look(self, topic: str) -> int | None:
        settings = self._read.get(CitySettings, "city")
        try:
            where = parse_manifest_topic(topic)
        except LinkRefused:
            return _OTHERS
        if settings is None or where.issuer != settings.issuer:
            return _OTHERS
        stream = self._read.get(Stream, topic)
        return stream.manifest_version if stream is not None else None

    def behind(self, live: Live, city: City) -> Iterator[tuple[str, int]]:
        """What this speaker should hold and does not, with our version: the occupied streams that the broker holds as
        signed, the key document, and its config."""
        speaker = city.speakers.get(live.id)
        if speaker is None or not speaker.enrolled:
            return
        for topic, ours in self._meant_for(speaker, city):
            if version_held(live, topic) < ours:
                yield topic, ours

    def _meant_for(self, speaker: Speaker, city: City) -> Iterator[tuple[str, int]]:
        now_us, known = self._read.now_us(), self._remembered
        if not 0 <= now_us - known.looked_us < OCCUPIED_FOR_US:
            known.occupied, known.looked_us = self._occupied(now_us), now_us
        if known.occupied:
            for name in _names(speaker, city):
                yield from known.occupied.get(name, ())
        yield KEYS_TOPIC, self.newest(KEYS_TOPIC, speaker.id)
        # A config's version changes without the city.
        row = self._read.get(Speaker, speaker.id)
        if row is not None and row.config_digest:
            yield config_topic(row.id), row.config_version

    def _occupied(self, now_us: int) -> Mapping[str, list[tuple[str, int]]]:
        """The occupied streams of ours by area or speaker, with the version that the broker was seen to hold and that
        every speaker has had the time to report."""
        settings = self._read.get(CitySettings, "city")
        copies = {copy.id: copy.confirmed_us for copy in self._read.find(BrokerCopy, Page(limit=STREAMS_MAX))}
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        topics = sorted(copies)
        for start in range(0, len(topics), STREAMS_PER_QUERY):
            few = tuple(topics[start : start + STREAMS_PER_QUERY])
            for stream in self._read.find(Stream, Page(limit=len(few)), id=few):
                signed_us = stream.refresh_us - REFRESH_US
                ours = settings is not None and stream.issuer == settings.issuer
                if ours and copies[stream.id] >= signed_us and now_us - signed_us >= SETTLES_US:
                    found[parse_manifest_topic(stream.id).name].append((stream.id, stream.manifest_version))
        return found


def _names(speaker: Speaker, city: City) -> tuple[str, ...]:
    """The areas whose streams are for a speaker, and the speaker itself."""
    return speaker.id, *city.tree.chain(speaker.area).all
