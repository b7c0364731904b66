"""The newest versions that were given out here, and who stays behind them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from devices.protocols.speaker_link import KEYS_TOPIC, config_topic
from devices.protocols.topics import parse_manifest_topic

from ...domain.places import Speaker
from ...domain.planning import City
from ...domain.refused_documents import SETTLES_US
from ...domain.signing_keys import KeyState
from ..ports import Page, Read
from ..rows import BrokerCopy, CitySettings, Live, Stream
from .broker_copies import STREAMS_MAX
from .streams import REFRESH_US

KEYS_MAX = 1_000


def held(live: Live, topic: str) -> int:
    """The version that a speaker says it holds of a topic, 0 for none."""
    if topic == KEYS_TOPIC:
        return live.keys_version
    return live.config_version if topic == config_topic(live.id) else live.streams.get(topic, 0)


class GivenOut:
    """The newest version that was given out here on a topic, 0 for none; each is looked up once in a transaction."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._known: dict[str, int] = {}
        self._out: dict[str, list[tuple[str, int]]] | None = None

    def version(self, topic: str, speaker: str) -> int:
        if topic not in self._known:
            self._known[topic] = self._look(topic, speaker)
        return self._known[topic]

    def behind(self, live: Live, city: City) -> Iterator[tuple[str, int]]:
        """What this speaker should hold and does not, with our version: the occupied streams that the broker holds as
        signed, the key document, and its config."""
        speaker = city.speakers.get(live.id)
        if speaker is None or not speaker.enrolled:
            return
        for topic, ours in self._meant_for(speaker, city):
            if held(live, topic) < ours:
                yield topic, ours

    def _meant_for(self, speaker: Speaker, city: City) -> Iterator[tuple[str, int]]:
        if self._out is None:
            self._out = self._occupied()
        if self._out:
            for name in (speaker.id, *city.tree.chain(speaker.area).all):
                yield from self._out.get(name, ())
        yield KEYS_TOPIC, self.version(KEYS_TOPIC, speaker.id)
        # A config's version changes without the city.
        row = self._read.get(Speaker, speaker.id)
        if row is not None and row.config_digest:
            yield config_topic(row.id), row.config_version

    def _occupied(self) -> dict[str, list[tuple[str, int]]]:
        """The occupied streams of ours by area or speaker, with the version that the broker was seen to hold and that
        every speaker has had the time to report."""
        now_us, settings = self._read.now_us(), self._read.get(CitySettings, "city")
        found: dict[str, list[tuple[str, int]]] = defaultdict(list)
        for copy in self._read.find(BrokerCopy, Page(limit=STREAMS_MAX)):
            stream = self._read.get(Stream, copy.id)
            if stream is None or settings is None or stream.issuer != settings.issuer:
                continue
            signed_us = stream.refresh_us - REFRESH_US
            if copy.confirmed_us >= signed_us and now_us - signed_us >= SETTLES_US:
                found[parse_manifest_topic(stream.id).name].append((stream.id, stream.manifest_version))
        return found

    def _look(self, topic: str, speaker: str) -> int:
        if topic == KEYS_TOPIC:
            keys = self._read.find(KeyState, Page(limit=KEYS_MAX))
            return max((at.document for key in keys for at in key.gateways.values()), default=0)
        if topic == config_topic(speaker):
            row = self._read.get(Speaker, speaker)
            return row.config_version if row is not None else 0
        stream, settings = self._read.get(Stream, topic), self._read.get(CitySettings, "city")
        ours = stream is not None and settings is not None and stream.issuer == settings.issuer
        return stream.manifest_version if stream is not None and ours else 0
