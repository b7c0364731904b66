"""The broker's copies of occupied streams, asked for afresh every minute: what it really holds now, and not what it was
once seen to take. What is lost or another is published again at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from devices.protocols import speaker_link

from ..engine.air import broker_copies
from ..engine.air.broker_copies import SAME
from ..engine.ports import Clock, Store
from ..engine.relay import CarryFailed
from ..engine.rows import Stream
from .manifests import BrokerLink, LinkSigner, SpeakerSide

log = structlog.get_logger(__name__)

EVERY_S = 60.0
AGAIN_US = 2_000_000
NOT_CONNECTED = "not_connected"
MISSING = "missing"
ANOTHER = "another"


class BrokerCopies:
    """Compares the retained bytes of every occupied stream, and of the key document, with the stored ones.

    `every_s` seconds lie between two comparisons, `AGAIN_US` after one that found a fault. `told` gets what each
    comparison found, by topic.
    """

    def __init__(
        self,
        store: Store,
        side: SpeakerSide,
        signer: LinkSigner,
        link: BrokerLink,
        gateway: str,
        clock: Clock,
        told: Callable[[Mapping[str, str]], None] = lambda found: None,
        every_s: float = EVERY_S,
    ) -> None:
        self._store, self._side, self._signer, self._link = store, side, signer, link
        self._gateway, self._clock, self._told, self._every_us = gateway, clock, told, round(every_s * 1_000_000)
        self._at_us = clock.mono_us() + min(self._every_us, AGAIN_US)

    def step(self) -> bool:
        """Compare when it is time to. One step of a loop."""
        if self._clock.mono_us() < self._at_us or not self._side.reconciled or self._side.behind():
            return False
        found = self.compare()
        mended = {MISSING, ANOTHER} & set(found.values())
        self._at_us = self._clock.mono_us() + (AGAIN_US if mended else self._every_us)
        return False

    def compare(self) -> dict[str, str]:
        """Ask, compare, mend and write down; what was found of each occupied stream."""
        with self._store.read() as read:
            wanted = {topic: row for topic, row in broker_copies.occupied(read).items() if row is not None}
        try:
            answers = self._link.held([*wanted, speaker_link.KEYS_TOPIC])
        except CarryFailed:
            compared = dict.fromkeys(wanted, NOT_CONNECTED)
        else:
            compared = {topic: self._mended(stream, answers.get(topic)) for topic, stream in wanted.items()}
            self._keys(answers.get(speaker_link.KEYS_TOPIC))
        with self._store.read() as read:
            found = broker_copies.judged(read, compared)
        broker_copies.note(self._store, self._gateway, found)
        self._told(found)
        return found

    def _mended(self, stream: Stream, raw: bytes | None) -> str:
        """Compare one stream, and put right what is wrong; what was found."""
        with self._store.read() as read:
            stored = read.get(Stream, stream.id) or stream
        try:
            if raw is None:
                log.warning("the broker no longer holds a manifest: published again", stream=stream.id)
                self._side.say_again(stored)
                return MISSING
            if raw not in (stored.signed, stream.signed):
                log.warning("the broker holds another manifest than the one signed here", stream=stream.id)
                self._side.compare(stream.id, raw)
                return ANOTHER
        except CarryFailed:
            return NOT_CONNECTED
        return self._taken(stored)

    def _taken(self, stream: Stream) -> str:
        """Whether a speaker that boots now would take what is stored; what it would not take is signed anew."""
        now_us = self._clock.now_us()
        try:
            manifest = speaker_link.read_manifest(stream.signed, stream.id, self._signer.document, None, now_us)
        except speaker_link.LinkRefused as refused:
            reason = str(refused.reason)
        else:
            if now_us <= manifest.fresh_until:
                return SAME
            reason = str(speaker_link.Refusal.STALE)
        if stream.orders:
            log.warning("speakers would refuse a stored manifest: it is signed anew", stream=stream.id, reason=reason)
            broker_copies.sign_again(self._store, stream.id, self._signer.document.version)
        return reason

    def _keys(self, raw: bytes | None) -> None:
        """The key document has no row: what the broker holds is compared with the file's."""
        if raw is None:
            self._side.lost(speaker_link.KEYS_TOPIC)
        else:
            self._side.seen(speaker_link.KEYS_TOPIC, raw)
        try:
            self._side.publish_keys()
        except CarryFailed:
            log.warning("the key document could not be published again")
