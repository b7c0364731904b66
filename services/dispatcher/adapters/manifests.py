"""What the gateway says to speakers: manifests, configs, keys, hello answers; and the broker's copies compared.

It knows no socket, thread or clock of its own: the simulation runs it on virtual time.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from devices.protocols import asking, speaker_link
from devices.protocols.asking import Ask, AskKind
from devices.protocols.speaker_link import HelloAnswer, SpeakerConfig

from ..domain.broadcasts import Broadcast
from ..domain.places import Speaker
from ..domain.planning import City
from ..domain.refusals import NoKey, OlderKeyDocument, Refused, UnknownOnAir
from ..engine import configs
from ..engine.air import foreign, publishing, receipts
from ..engine.air.listed_keys import ListedKeys
from ..engine.air.listing import ON_AIR_STATES
from ..engine.air.streams import Signed
from ..engine.ports import Clock, Conflict, Page, Signer, Store
from ..engine.relay import LEASE_US, CarryFailed, Finish
from ..engine.rows import EffectRow, Stream

log = structlog.get_logger(__name__)

STREAMS_MAX = 10_000
CONFIGS_AT_ONCE = 100
"""Whose versions are settled in one transaction, so that an alarm never waits long for it."""
ARRIVED_SETTLE_US = 300_000
RECONCILE_WAIT_S = 3.0
"""Shorter than the lease of an effect, so that it can still be said why nothing was published."""


class BrokerLink(Protocol):
    """The connection to the broker: `mqtt.MqttLink`, which says what each of these does, or the simulation's."""

    @property
    def connected(self) -> bool: ...
    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None: ...
    def publish_soon(self, topic: str, payload: bytes, *, retain: bool = False) -> Finish: ...
    def held(self, topics: Sequence[str]) -> dict[str, bytes]: ...


class LinkSigner(Signer, Protocol):
    """Signs whatever speakers are told: `keystore.KeySigner`, which says what each of these does."""

    signed_document: bytes

    def outdated_by(self, raw: bytes) -> bool: ...
    def config_kid(self, area_chain: tuple[str, ...]) -> str: ...
    def config_kids(self) -> tuple[str, ...]: ...
    def sign_config(self, config: SpeakerConfig) -> bytes: ...
    def sign_hello(self, answer: HelloAnswer) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Spreads:
    """How speakers spread themselves: reconnecting and fetching in seconds, accepting in ms; starts an hour at most."""

    reconnect_s: int = 20
    fetch_s: int = 10
    accepted_ms: int = 2_000
    starts_per_hour_max: int = 60


class SpeakerSide:
    """Everything the gateway says to speakers. `unknown` gets the number of streams that wait for a person, whenever
    they were compared; `sign` is `publishing.sign`; a stream waits `compare_wait_s` for the first comparison."""

    def __init__(
        self,
        store: Store,
        signer: LinkSigner,
        link: BrokerLink,
        city: Callable[[], City],
        clock: Clock,
        spreads: Spreads,
        audio_base: str = "",
        unknown: Callable[[int], object] = lambda streams: None,
        sign: Callable[[Store, str, LinkSigner, City, str], Signed] = publishing.sign,
        compare_wait_s: float = RECONCILE_WAIT_S,
    ) -> None:
        self._store, self._signer, self._link, self._city, self._clock = store, signer, link, city, clock
        self._spreads, self._audio_base = spreads, audio_base
        self._unknown, self._sign_and_note, self._compare_wait_s = unknown, sign, compare_wait_s
        self._seen: dict[str, bytes] = {}
        self._arrived: dict[str, int] = {}
        self._looked: tuple[int, City] | None = None
        self._versions: dict[tuple[str, str], int] = {}
        self._ids: tuple[City, list[str]] | None = None
        self._config_basis: object = None
        self._lock = threading.Lock()
        self._reconciled = threading.Event()
        self._behind = False

    def behind(self) -> bool:
        """Whether another gateway that runs has a newer key document: that one compares, and signs what it can. The
        database is asked anew only while it was so."""
        return self._behind and self.looks_behind()

    def looks_behind(self) -> bool:
        """The same, asked anew."""
        with self._store.read() as read:
            self._behind = ListedKeys(read).newer_runs(self._signer.document.version)
        return self._behind

    def publish_stream(self, effect: EffectRow) -> Finish | None:
        """Sign what is in force and put it on the broker. Waits for the first comparison with the broker's copies, so
        that a restored database never speaks over what is on air."""
        if not self._reconciled.wait(self._compare_wait_s):
            raise CarryFailed("the broker's copies have not been compared yet")
        try:
            signed = self._sign(effect.subject)
        except UnknownOnAir as unknown:
            # Whoever adopts or withdraws it saves this effect anew.
            log.warning("nothing is published over what is unknown here", reason=unknown.sentence)
            return None
        return partial(self._published_stream, signed, self._link.publish_soon(signed.topic, signed.raw, retain=True))

    def _published_stream(self, signed: Signed, finish: Finish) -> None:
        finish()
        self._publish_newer(signed.topic, signed.version)

    def _publish_newer(self, topic: str, version: int) -> None:
        """Another gateway, or thread, may have signed in between, and ours reached the broker after its own."""
        while True:
            with self._store.read() as read:
                stream = read.get(Stream, topic)
            if stream is None or stream.manifest_version <= version or not stream.orders:
                return
            self._link.publish(topic, stream.signed, retain=True)
            version = stream.manifest_version

    def _sign(self, topic: str) -> Signed:
        try:
            signed = self._sign_and_note(self._store, topic, self._signer, self._city(), self._audio_base)
        except UnknownOnAir:
            raise
        except OlderKeyDocument as older:
            self._behind = True
            raise Conflict(older.sentence) from older
        except Refused as refused:
            raise CarryFailed(refused.sentence) from refused
        except speaker_link.LinkRefused as refused:
            raise CarryFailed(f"speakers would refuse it: {refused.reason}") from refused
        for order in signed.refused:
            log.critical("not signed: no valid release shows for it", order=order, stream=topic)
        return signed

    def publish_config(self, effect: EffectRow) -> Finish:
        """The speaker's signed config, retained."""
        city = self._city_since(effect)
        if self._behind:
            raise CarryFailed(OlderKeyDocument(effect.subject).sentence)
        speaker = city.speakers.get(effect.subject)
        if speaker is None or not speaker.enrolled:
            raise CarryFailed("no such speaker is enrolled", again=False)
        try:
            raw = self._signer.sign_config(self._config(speaker, city, self._config_version(speaker, city)))
        except Refused as refused:
            raise CarryFailed(refused.sentence) from refused
        except speaker_link.LinkRefused as refused:
            raise CarryFailed(f"the speaker would refuse it: {refused.reason}", again=False) from refused
        return self._link.publish_soon(speaker_link.config_topic(speaker.id), raw, retain=True)

    def _city_since(self, effect: EffectRow) -> City:
        """The city as it was after this effect was claimed: one look serves all that were claimed together, because
        whoever changes it later asks for the configs again."""
        claimed_us = effect.leased_until_us - LEASE_US
        if self._looked is None or not effect.leased_until_us or self._looked[0] <= claimed_us:
            with self._store.read() as read:
                now_us = read.now_us()
                self._behind = ListedKeys(read).newer_runs(self._signer.document.version)
            self._looked = (now_us, self._city())
            self._versions = {}
        return self._looked[1]

    def _config_version(self, speaker: Speaker, city: City) -> int:
        """The version of a config with what it says now; those after it in the order of ids come soon, too, and share
        the transaction. Raises NoKey."""
        kid = self._signer.config_kid(city.tree.chain(speaker.area).codes)
        if (speaker.id, kid) not in self._versions:
            ids = self._enrolled(city)
            at = bisect_left(ids, speaker.id)
            self._versions |= self._settled(ids[at : at + CONFIGS_AT_ONCE], city)
        return self._versions[speaker.id, kid]

    def _enrolled(self, city: City) -> list[str]:
        """The ids of the enrolled speakers in order; worked out once for a city."""
        if self._ids is None or self._ids[0] is not city:
            self._ids = city, sorted(s.id for s in city.speakers.values() if s.enrolled)
        return self._ids[1]

    def _settled(self, ids: Sequence[str], city: City) -> dict[tuple[str, str], int]:
        """The versions of these speakers' configs by speaker and signing key; without those that no key may sign."""
        kids: dict[str, str] = {}
        digests: dict[str, str] = {}
        for id in ids:
            config = self._config(city.speakers[id], city, 0)
            try:
                kids[id] = self._signer.config_kid(config.area_chain)
            except NoKey:
                continue
            digests[id] = configs.content_digest(config, kids[id])
        return {(id, kids[id]): version for id, version in configs.settle_versions(self._store, digests).items()}

    def _publish_changed_configs(self) -> None:
        """Every config says what this gateway's settings say, signed by the key that signs now; looked at when it
        starts, and when the keys that may sign configs change."""
        basis = self._signer.config_kids()
        if basis == self._config_basis or not basis or self.looks_behind():
            return
        city = self._city()
        ids = self._enrolled(city)
        for start in range(0, len(ids), CONFIGS_AT_ONCE):
            self._settled(ids[start : start + CONFIGS_AT_ONCE], city)
        self._config_basis = basis

    def publish_keys(self) -> None:
        """The key document, retained, when the broker's copy is another and not a newer one."""
        with self._lock:
            held = self._seen.get(speaker_link.KEYS_TOPIC)
        if held != self._signer.signed_document and not self._signer.outdated_by(held or b""):
            self._link.publish(speaker_link.KEYS_TOPIC, self._signer.signed_document, retain=True)

    def ask_missing(self, effect: EffectRow) -> Finish | None:
        """Ask a speaker for the receipts that never came."""
        missing = receipts.missing(self._store, effect.subject)
        if not missing:
            return None
        ask = asking.encode_ask(Ask(AskKind.RECEIPTS, missing))
        return self._link.publish_soon(speaker_link.ask_topic(effect.subject), ask)

    def answer_hello(self, speaker_id: str, nonce: str) -> None:
        """The signed clock and the current version of each stream of this speaker. Raises CarryFailed or NoKey."""
        speaker = self._city().speakers.get(speaker_id)
        if speaker is None:
            return
        chain = self._city().tree.chain(speaker.area).all
        with self._store.read() as read:
            now_us = read.now_us()
            rows = read.find(Stream, Page(limit=STREAMS_MAX), area=chain)
        versions = {s.id: s.manifest_version for s in rows if s.signed}
        answer = self._signer.sign_hello(HelloAnswer(nonce, now_us, versions))
        self._link.publish_soon(speaker_link.hello_answer_topic(speaker_id), answer)

    def seen(self, topic: str, raw: bytes) -> None:
        """The broker holds these bytes on this topic; of a config only that it is there is kept."""
        with self._lock:
            self._seen[topic] = b"" if topic.endswith("/config") else raw
            if "/manifest/" in topic:
                self._arrived[topic] = self._clock.mono_us()

    def lost(self, topic: str) -> None:
        """The broker was asked and holds nothing on this topic."""
        with self._lock:
            self._seen.pop(topic, None)

    def broker_copy(self, topic: str) -> bytes | None:
        """What the broker is known to hold on this topic."""
        with self._lock:
            return self._seen.get(topic)

    @property
    def reconciled(self) -> bool:
        """Whether the broker's copies have been compared since this process started."""
        return self._reconciled.is_set()

    def say_again(self, stream: Stream) -> None:
        """Put what is stored of a stream on the broker again. Raises CarryFailed."""
        self._link.publish(stream.id, stream.signed, retain=True)
        self._publish_newer(stream.id, stream.manifest_version)

    def forget_seen(self) -> None:
        """A new connection: what the broker holds is told again."""
        with self._lock:
            self._seen.clear()
            self._arrived.clear()

    def compare_arrived(self) -> None:
        """Compare what has just come with the rows: what somebody else puts on the air is known before speakers say
        so. Our own manifests come back, too, and are the same."""
        settled_us = self._clock.mono_us() - ARRIVED_SETTLE_US
        with self._lock:
            topics = [topic for topic, at in self._arrived.items() if at <= settled_us]
        self._compare_each(topics)

    def _compare_each(self, topics: Iterable[str]) -> None:
        """Compare each of these. What could not be compared stays arrived and is compared again, and keeps nothing
        else from being compared. Raises the first CarryFailed, and StoreUnavailable at once."""
        failed = None
        for topic in sorted(topics):
            with self._lock:
                raw, arrived_at = self._seen.get(topic), self._arrived.get(topic)
            if raw is None:
                continue
            try:
                self.compare(topic, raw)
            except CarryFailed as reason:
                failed = failed or reason
                continue
            with self._lock:
                if self._arrived.get(topic) == arrived_at:
                    self._arrived.pop(topic, None)
        if failed is not None:
            raise failed

    def reconcile(self) -> None:
        """Compare every stream with the broker's copy: republish ours where it is missing or older, and show a person
        where the broker holds a newer one that we do not know."""
        with self._lock:
            seen = dict(self._seen)
        self._compare_each(topic for topic in seen if "/manifest/" in topic)
        with self._store.read() as read:
            rows = read.find(Stream, Page(limit=STREAMS_MAX))
            on_air = {b.stream for b in read.find(Broadcast, Page(limit=STREAMS_MAX), state=ON_AIR_STATES)}
        for stream in sorted(rows, key=lambda stream: stream.id not in on_air):
            if stream.signed and stream.id not in seen and not foreign.unknown_on_air(stream):
                log.warning("the broker had lost a manifest: published again", stream=stream.id)
                self.say_again(stream)
        self._unknown(sum(1 for stream in rows if foreign.waits(stream)))
        self.publish_keys()
        self._reconciled.set()
        # What is on air goes first.
        self._publish_lost_configs(seen)
        self._publish_changed_configs()

    def _publish_lost_configs(self, seen: dict[str, bytes]) -> None:
        """A broker that lost its retained messages gets every config again, through the relay."""
        lost = [name for name in self._enrolled(self._city()) if speaker_link.config_topic(name) not in seen]
        for start in range(0, len(lost), CONFIGS_AT_ONCE):
            configs.publish_again(self._store, lost[start : start + CONFIGS_AT_ONCE])

    def compare(self, topic: str, raw: bytes) -> None:
        """Act on what the broker holds of a stream where it is not what is stored. Raises CarryFailed."""
        document = self._signer.document
        with self._store.read() as read:
            stream = read.get(Stream, topic)
        if (stream is not None and stream.signed == raw) or self.looks_behind():
            return
        try:
            manifest = speaker_link.read_manifest(raw, topic, document, None, None)
        except speaker_link.LinkRefused as refused:
            log.warning("the broker holds a manifest that is not ours", stream=topic, reason=str(refused.reason))
            if stream is not None and stream.signed:
                self.say_again(stream)
            return
        at_start = not self.reconciled
        try:
            verdict = publishing.compare(self._store, topic, raw, manifest, document.version, at_start=at_start)
        except OlderKeyDocument:
            # Somebody who can judge it does so.
            return
        # What is to be published over has saved the effect that signs and publishes.
        if verdict == "not ours":
            log.critical("the broker held our version with other bytes: somebody has a key of ours", stream=topic)
        if verdict == "unknown here":
            log.warning("on air but unknown here: adopt or withdraw", stream=topic, version=manifest.version)
            with self._store.read() as read:
                self._unknown(len(foreign.unknown_topics(read)))

    def _config(self, speaker: Speaker, city: City, version: int) -> SpeakerConfig:
        chain, staged = city.tree.chain(speaker.area), city.venues[speaker.venue].staged
        return SpeakerConfig(
            speaker=speaker.id, version=version, area_chain=chain.codes, overlay=chain.zones, venue=speaker.venue,
            venue_kind=str(city.venues[speaker.venue].kind), lat_e7=speaker.lat_e7, lon_e7=speaker.lon_e7,
            volume_max=speaker.volume_max, reconnect_spread_s=self._spreads.reconnect_s,
            fetch_spread_s=self._spreads.fetch_s, accepted_spread_ms=self._spreads.accepted_ms,
            starts_per_hour_max=self._spreads.starts_per_hour_max, staged=staged,
            audio_base=self._audio_base if staged else "",
        )  # fmt: skip
