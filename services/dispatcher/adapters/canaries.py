"""Canaries: every signing key of this gateway signs a small document every 30 s, and it must come back.

It is signed by that very key, goes to the broker, comes to this gateway's own subscription, and is verified as a
speaker would verify it: against the key document that the broker holds, under the root that speakers are given. Its
nonce is timed on the monotonic clock of the gateway that sent it. What is found goes to one row per key and never to
the log. Nothing here waits: the simulation runs it on virtual time.
"""

from __future__ import annotations

import queue
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import structlog

from devices.protocols import speaker_link
from devices.protocols.canary import Canary, canary_topic, read_canary
from devices.protocols.speaker_link import KeyDocument, LinkKey

from ..domain.refusals import NoKey
from ..domain.signing_keys import CANARY_AHEAD_US_MAX, CANARY_EVERY_US, KeyState, KeyTrouble, TriedKey
from ..engine.air import signing_keys
from ..engine.air.signing_keys import KeyReport
from ..engine.ports import Clock, Store
from ..engine.relay import CarryFailed
from .manifests import BrokerLink, SpeakerSide
from .metrics import KeyMetrics

log = structlog.get_logger(__name__)

EVERY_S = CANARY_EVERY_US / 1_000_000
HOME_WITHIN_US = 5_000_000
HEARD_MAX = 10_000
NONCE_BYTES = 16
LATE_ROUNDS = 3
"""A canary that comes home after so many rounds is no longer waited for."""
LOST = "lost"
NOT_SENT = "not_sent"


@dataclass(slots=True)
class _Flight:
    """One canary on its way: the key, its bytes, when it was sent by the monotonic clock, and whether it has been on
    its way for longer than one that is well takes."""

    kid: str
    raw: bytes
    sent_us: int
    lost: bool = False


@dataclass(slots=True)
class _Known:
    """What this process knows of one key's canaries; times of the monotonic clock."""

    home_us: int | None = None
    took_us: int = 0
    failed: str = ""
    failed_us: int | None = None


class TryingSigner(Protocol):
    """Tries every key, and signs with each: `keystore.KeySigner`, which says what each of these does."""

    document: KeyDocument
    signed_document: bytes
    root: LinkKey
    tried: tuple[TriedKey, ...]

    def changed(self) -> bool: ...
    def look_again(self) -> None: ...
    def sign_canary(self, kid: str, gateway: str, nonce: str) -> bytes: ...


class Canaries:
    """One gateway's. `heard` runs in the network thread and only queues; `step` is one step of a loop of its own.

    `every_s` seconds lie between two rounds; a changed key file is noticed at the next step, and starts one at once.
    """

    def __init__(
        self,
        store: Store,
        signer: TryingSigner,
        side: SpeakerSide,
        link: BrokerLink,
        gateway: str,
        clock: Clock,
        metrics: KeyMetrics,
        every_s: float = EVERY_S,
        nonce: Callable[[int], str] = secrets.token_urlsafe,
        report: Callable[[Store, str, Sequence[KeyReport], int], None] = signing_keys.report,
    ) -> None:
        self._store, self._signer, self._side, self._link = store, signer, side, link
        self._gateway, self._clock, self._metrics = gateway, clock, metrics
        self._every_us = round(every_s * 1_000_000)
        self._nonce, self._report_keys = nonce, report
        self._try_at_us = self._round_at_us = 0
        self._keys_sent_us: int | None = None
        self._unreported = True
        self._heard: queue.Queue[tuple[str, bytes, int]] = queue.Queue(HEARD_MAX)
        self._out: dict[str, _Flight] = {}
        self._over: set[str] = set()
        self._known: dict[str, _Known] = {}

    def heard(self, topic: str, raw: bytes) -> None:
        """A canary came, ours or another gateway's; more than can be read is as good as none."""
        try:
            self._heard.put_nowait((topic, raw, self._clock.mono_us()))
        except queue.Full:
            return

    def step(self) -> bool:
        """Try changed keys at once, start a round when it is time to, and write down what is new once no canary of the
        round is still waited for."""
        now_us, changed = self._clock.mono_us(), self._signer.changed()
        if changed or now_us >= self._try_at_us:
            self._try_at_us = now_us + self._every_us
            self._signer.look_again()
            self._unreported = True
        if changed:
            self._round_at_us, self._keys_sent_us = now_us, None
        # Before the first comparison with the broker's copies its key document may be an older one.
        ready = self._link.connected and self._side.reconciled
        if not ready:
            self._keys_sent_us = None
        elif now_us >= self._round_at_us and self._keys_out(now_us):
            self._round_at_us, self._keys_sent_us = now_us + self._every_us, None
            self._send(now_us)
            self._unreported = True
        self._unreported |= self._take_in()
        self._lose(now_us)
        if self._unreported and not self.under_way:
            self._report()
            self._unreported = False
        return False

    @property
    def under_way(self) -> bool:
        """Whether the round's key document or canaries may still come home in time."""
        return self._keys_sent_us is not None or any(not flight.lost for flight in self._out.values())

    def _keys_out(self, now_us: int) -> bool:
        """A changed key document reaches speakers before anything is signed with its keys: whether the broker holds
        ours, or has had time enough."""
        if self._broker_keys() == self._signer.signed_document:
            return True
        if self._keys_sent_us is None:
            try:
                self._side.publish_keys()
            except CarryFailed as failed:
                log.warning("the key document could not be published", reason=failed.reason)
                return True
            self._keys_sent_us = now_us
        return now_us - self._keys_sent_us >= HOME_WITHIN_US

    def _send(self, now_us: int) -> None:
        for nonce in [n for n, x in self._out.items() if now_us - x.sent_us > LATE_ROUNDS * self._every_us]:
            del self._out[nonce]
        self._over = set()
        for key in self._signer.tried:
            if key.fault is None:
                self._send_one(key.listed.kid)

    def _send_one(self, kid: str) -> None:
        nonce = self._nonce(NONCE_BYTES)
        try:
            raw = self._signer.sign_canary(kid, self._gateway, nonce)
            self._out[nonce] = _Flight(kid, raw, self._clock.mono_us())
            self._link.publish_soon(canary_topic(kid), raw)
        except NoKey:
            # It has expired; its row says so by its own date.
            return
        except CarryFailed:
            del self._out[nonce]
            self._metrics.failures.labels(NOT_SENT).inc()

    def _lose(self, now_us: int) -> None:
        """Say of each canary once that it has not come home in time."""
        for flight in self._out.values():
            if not flight.lost and now_us - flight.sent_us > HOME_WITHIN_US:
                flight.lost = True
                self._metrics.failures.labels(LOST).inc()
                log.warning("a canary did not come home", key=flight.kid, gateway=self._gateway)

    def _take_in(self) -> bool:
        """Judge what was heard; whether any of it was news of a key."""
        news = False
        while True:
            try:
                topic, raw, came_us = self._heard.get_nowait()
            except queue.Empty:
                return news
            news |= self._judge(topic, raw, came_us)

    def _judge(self, topic: str, raw: bytes, came_us: int) -> bool:
        """One canary. What is not signed by a key of the document accuses no key: anybody with an account could send
        it. It is counted."""
        kid = topic.rpartition("/")[2]
        now_us = self._clock.now_us()
        mine = next((nonce for nonce, flight in self._out.items() if flight.raw == raw), None)
        flight = self._out.pop(mine) if mine is not None else None
        try:
            canary = read_canary(raw, topic, self._document(), now_us)
        except speaker_link.LinkRefused as refused:
            self._metrics.failures.labels(str(refused.reason)).inc()
            certain = flight is not None or refused.reason is speaker_link.Refusal.KEY_EXPIRED
            return certain and self._failed(kid, str(refused.reason))
        if canary.utc > now_us + CANARY_AHEAD_US_MAX:
            self._metrics.failures.labels(str(KeyTrouble.AHEAD)).inc()
            return self._failed(kid, str(KeyTrouble.AHEAD))
        if flight is not None:
            return self._home(canary, flight, came_us)
        if canary.gateway == self._gateway and canary.nonce not in self._over:
            # Signed by our key and not sent by this process: an old one that somebody sends again.
            self._metrics.failures.labels(str(speaker_link.Refusal.WRONG_NONCE)).inc()
        return False

    def _home(self, canary: Canary, flight: _Flight, came_us: int) -> bool:
        known = self._known.setdefault(canary.kid, _Known())
        self._over.add(canary.nonce)
        known.home_us, known.took_us = came_us, came_us - flight.sent_us
        if known.failed:
            log.info("a canary comes home again", key=canary.kid, gateway=self._gateway)
        known.failed, known.failed_us = "", None
        return True

    def _failed(self, kid: str, reason: str) -> bool:
        if kid not in {key.listed.kid for key in self._signer.tried}:
            return False
        known = self._known.setdefault(kid, _Known())
        if known.failed != reason:
            log.error("a canary would be refused", key=kid, reason=reason, gateway=self._gateway)
        known.failed, known.failed_us = reason, self._clock.mono_us()
        return True

    def _document(self) -> KeyDocument:
        """The key document as the broker holds it. Raises the link's Refused."""
        raw = self._broker_keys()
        if raw is None:
            raise speaker_link.LinkRefused(speaker_link.Refusal.NO_KEYS)
        return _read_keys(raw, self._signer.root)

    def _broker_keys(self) -> bytes | None:
        return self._side.broker_copy(speaker_link.KEYS_TOPIC)

    def _report(self) -> None:
        now_us = self._clock.mono_us()
        found = [self._of(key, now_us) for key in self._signer.tried]
        self._known = {key.key.id: self._known[key.key.id] for key in found if key.key.id in self._known}
        self._report_keys(self._store, self._gateway, found, self._signer.document.version)
        self._metrics.keys(found)

    def _of(self, key: TriedKey, now_us: int) -> KeyReport:
        listed, known = key.listed, self._known.get(key.listed.kid, _Known())
        state = KeyState(
            listed.kid, str(listed.use), listed.issuer, listed.area, tuple(listed.levels), listed.not_after, x=listed.x
        )
        return KeyReport(
            state, str(key.fault or ""), _ago_us(known.home_us, now_us), known.took_us, known.failed,
            _ago_us(known.failed_us, now_us),
        )  # fmt: skip


@lru_cache(maxsize=4)
def _read_keys(raw: bytes, root: LinkKey) -> KeyDocument:
    return speaker_link.read_keys(raw, root)


def _ago_us(then_us: int | None, now_us: int) -> int | None:
    return None if then_us is None else now_us - then_us
