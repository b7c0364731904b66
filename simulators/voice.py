"""What the simulated gateway says to speakers: the gateway's speaker side with its network replaced, rule for rule."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from devices.protocols import asking, speaker_link
from devices.protocols.asking import Ask, AskKind
from devices.protocols.speaker_link import HelloAnswer, SpeakerConfig
from services.dispatcher.domain.planning import City
from services.dispatcher.domain.refusals import Refused, UnknownOnAir
from services.dispatcher.engine import configs
from services.dispatcher.engine.air import broker_copies, foreign, publishing, receipts, streams
from services.dispatcher.engine.ports import Page
from services.dispatcher.engine.relay import CarryFailed
from services.dispatcher.engine.rows import EffectRow, Stream
from simulators.city import Keys
from simulators.database import Process

STARTS_PER_HOUR_MAX = 3
STREAMS_MAX = 1_000


class Send(Protocol):
    """Publish until the broker has it. Raises CarryFailed."""

    def __call__(self, topic: str, payload: bytes, retain: bool = False) -> None: ...


class Voice:
    """One gateway's. `soon` sends without waiting; `sign_stream` is the engine's."""

    def __init__(
        self,
        store: Process,
        keys: Keys,
        city: Callable[[], City],
        send: Send,
        soon: Callable[[str, bytes], None],
        sign_stream: Callable[..., streams.Signed],
        audio_base: str,
    ) -> None:
        self._store, self._keys, self._city, self._send, self._soon = store, keys, city, send, soon
        self._sign_stream = sign_stream
        self._audio_base = audio_base
        self._seen: dict[str, bytes] = {}
        self._arrived: set[str] = set()
        self.compared = False

    def publish_stream(self, effect: EffectRow) -> None:
        if not self.compared:
            raise CarryFailed("the broker's copies have not been compared yet")
        try:
            with self._store.write() as tx:
                signed = self._sign_stream(tx, effect.subject, self._keys, self._city(), self._audio_base)
        except UnknownOnAir:
            # Whoever adopts or withdraws it saves this effect anew.
            return
        except Refused as refused:
            raise CarryFailed(refused.sentence) from refused
        self._send(signed.topic, signed.raw, retain=True)

    def publish_config(self, effect: EffectRow) -> None:
        city = self._city()
        speaker = city.speakers.get(effect.subject)
        if speaker is None or not speaker.enrolled:
            raise CarryFailed("no such speaker is enrolled", again=False)
        chain, staged = city.tree.chain(speaker.area), city.venues[speaker.venue].staged
        config = SpeakerConfig(
            speaker=speaker.id, version=0, area_chain=chain.codes, overlay=chain.zones,
            venue=speaker.venue, venue_kind=str(city.venues[speaker.venue].kind), lat_e7=speaker.lat_e7,
            lon_e7=speaker.lon_e7, volume_max=speaker.volume_max, reconnect_spread_s=20, fetch_spread_s=10,
            accepted_spread_ms=2_000, starts_per_hour_max=STARTS_PER_HOUR_MAX,
            staged=staged, audio_base=self._audio_base if staged else "",
        )  # fmt: skip
        digest = configs.content_digest(config, self._keys.config_kid(config.area_chain))
        config = replace(config, version=configs.settle_versions(self._store, {speaker.id: digest})[speaker.id])
        self._send(speaker_link.config_topic(speaker.id), self._keys.sign_config(config), retain=True)

    def ask_missing(self, effect: EffectRow) -> None:
        missing = receipts.missing(self._store, effect.subject)
        if missing:
            self._send(speaker_link.ask_topic(effect.subject), asking.encode_ask(Ask(AskKind.RECEIPTS, missing)))

    def answer_hello(self, speaker_id: str, nonce: str) -> None:
        """The signed clock and the current version of each stream of this speaker."""
        city = self._city()
        speaker = city.speakers.get(speaker_id)
        if speaker is None:
            return
        chain = set(city.tree.chain(speaker.area).all)
        with self._store.read() as read:
            now_us = read.now_us()
            rows = read.find(Stream, Page(limit=STREAMS_MAX))
        versions = {s.id: s.manifest_version for s in rows if s.area in chain and s.signed}
        answer = self._keys.sign_hello(HelloAnswer(nonce, now_us, versions))
        self._soon(speaker_link.hello_answer_topic(speaker_id), answer)

    def seen(self, topic: str, raw: bytes) -> None:
        """The broker holds these bytes on this topic; of a config only that it is there is kept."""
        self._seen[topic] = b"" if topic.endswith("/config") else raw
        if "/manifest/" in topic:
            self._arrived.add(topic)

    def forget_seen(self) -> None:
        self._seen, self._arrived = {}, set()

    def compare_arrived(self) -> None:
        """Compare what has just come with the rows, once the copies have been compared as a whole."""
        if not self.compared:
            return
        arrived, self._arrived = sorted(self._arrived), set()
        for topic in arrived:
            self._compare(topic, self._seen[topic])

    def reconcile(self) -> None:
        """Compare every stream with the broker's copy, and publish what it has lost."""
        seen, self._arrived = dict(self._seen), set()
        for topic, raw in sorted(seen.items()):
            if "/manifest/" in topic:
                self._compare(topic, raw)
        with self._store.read() as read:
            rows = read.find(Stream, Page(limit=STREAMS_MAX))
        for stream in rows:
            if stream.signed and stream.id not in seen and not foreign.unknown_on_air(stream):
                self._send(stream.id, stream.signed, retain=True)
        self._publish_lost_configs(seen)
        if seen.get(speaker_link.KEYS_TOPIC) != self._keys.signed_document:
            self.publish_keys()
        self.compared = True

    def publish_keys(self) -> None:
        self._send(speaker_link.KEYS_TOPIC, self._keys.signed_document, retain=True)

    def look(self, holds: Callable[[str], bytes | None]) -> dict[str, str]:
        """Ask the broker afresh what it holds of every occupied stream, and mend what is lost or another; what was
        found."""
        with self._store.read() as read:
            wanted = {topic: row for topic, row in broker_copies.occupied(read).items() if row is not None}
        compared = {topic: self._mended(stream, holds(topic)) for topic, stream in wanted.items()}
        with self._store.read() as read:
            return broker_copies.judged(read, compared)

    def _mended(self, stream: Stream, raw: bytes | None) -> str:
        if raw is None:
            self._send(stream.id, stream.signed, retain=True)
            return "missing"
        if raw != stream.signed:
            self._compare(stream.id, raw)
            return "another"
        return broker_copies.SAME

    def _publish_lost_configs(self, seen: dict[str, bytes]) -> None:
        enrolled = [s.id for s in self._city().speakers.values() if s.enrolled]
        lost = [name for name in enrolled if speaker_link.config_topic(name) not in seen]
        if lost:
            configs.publish_again(self._store, lost)

    def _compare(self, topic: str, raw: bytes) -> None:
        with self._store.read() as read:
            stream = read.get(Stream, topic)
        if stream is not None and stream.signed == raw:
            return
        try:
            manifest = speaker_link.read_manifest(raw, topic, self._keys.document, None, None)
        except speaker_link.Refused:
            if stream is not None and stream.signed:
                self._send(topic, stream.signed, retain=True)
            return
        version = self._keys.document.version
        publishing.compare(self._store, topic, raw, manifest, version, at_start=not self.compared)
