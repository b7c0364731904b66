"""Canaries: every signing key of this gateway signs a small document every 30 s, and it must come back.

It is signed by that very key, goes to the broker, comes to this gateway's own subscription, and is verified as a
speaker would verify it: against the key document that the broker holds, under the root that speakers are given. Its
nonce is timed on the monotonic clock of the gateway that sent it. What is found goes to one row per key and never to
the log.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import structlog

from devices.protocols import speaker_link
from devices.protocols.canary import Canary, canary_topic, read_canary
from devices.protocols.speaker_link import KeyDocument, LinkKey

from ..domain.refusals import NoKey
from ..domain.signing_keys import CANARY_AHEAD_US_MAX, CANARY_EVERY_US, KeyState, KeyTrouble
from ..engine.air import signing_keys
from ..engine.air.signing_keys import KeyReport
from ..engine.ports import Store
from ..engine.relay import CarryFailed
from .keystore import KeySigner, TriedKey
from .manifests import SpeakerSide
from .metrics import KeyMetrics
from .mqtt import MqttLink

log = structlog.get_logger(__name__)

EVERY_S = CANARY_EVERY_US / 1_000_000
HOME_WITHIN_S = 5.0
HEARD_MAX = 10_000
LATE_ROUNDS = 3
"""A canary that comes home after so many rounds is no longer waited for."""
LOST = "lost"
NOT_SENT = "not_sent"


@dataclass(slots=True)
class _Flight:
    """One canary on its way: the key, its bytes, and when it was sent by the monotonic clock."""

    kid: str
    raw: bytes
    sent_s: float


@dataclass(slots=True)
class _Known:
    """What this process knows of one key's canaries; times of the monotonic clock."""

    home_s: float | None = None
    took_us: int = 0
    failed: str = ""
    failed_s: float | None = None


class Canaries:
    """One gateway's. `heard` runs in the network thread and only queues; `step` is one step of a loop of its own.

    `every_s` seconds lie between two rounds; a changed key file is noticed at the next step, and starts one at once.
    """

    def __init__(
        self,
        store: Store,
        signer: KeySigner,
        side: SpeakerSide,
        link: MqttLink,
        gateway: str,
        now_us: Callable[[], int],
        metrics: KeyMetrics,
        every_s: float = EVERY_S,
    ) -> None:
        self._store = store
        self._signer = signer
        self._side = side
        self._link = link
        self._gateway = gateway
        self._now_us = now_us
        self._metrics = metrics
        self._every_s = every_s
        self._try_at_s = self._round_at_s = 0.0
        self._unreported = True
        self._heard: queue.Queue[tuple[str, bytes]] = queue.Queue(HEARD_MAX)
        self._out: dict[str, _Flight] = {}
        self._over: set[str] = set()
        self._known: dict[str, _Known] = {}
        self._arrived = threading.Event()

    def heard(self, topic: str, raw: bytes) -> None:
        """A canary came, ours or another gateway's; more than can be read is as good as none."""
        try:
            self._heard.put_nowait((topic, raw))
        except queue.Full:
            return
        self._arrived.set()

    def step(self) -> bool:
        """Try changed keys at once, start a round when it is time to, and write down what is new."""
        now_s, changed = time.monotonic(), self._signer.changed()
        if changed or now_s >= self._try_at_s:
            self._try_at_s = now_s + self._every_s
            self._signer.look_again()
            self._unreported = True
        # Before the first comparison with the broker's copies its key document may be an older one.
        ready = self._link.connected and self._side.reconciled
        if ready and (changed or now_s >= self._round_at_s):
            self._round_at_s = now_s + self._every_s
            self._publish_keys()
            self._wait(self._send())
            self._unreported = True
        if self._take_in() or self._unreported:
            self._unreported = True
            self._report()
            self._unreported = False
        return False

    def _publish_keys(self) -> None:
        """A changed key document reaches speakers before anything is signed with its keys."""
        try:
            self._side.publish_keys()
        except CarryFailed as failed:
            log.warning("the key document could not be published", reason=failed.reason)
            return
        until_s = time.monotonic() + HOME_WITHIN_S
        while self._broker_keys() != self._signer.signed_document and time.monotonic() < until_s:
            time.sleep(0.01)

    def _send(self) -> set[str]:
        """Send one canary by every key that can sign; the nonces of those that went out."""
        now_s = time.monotonic()
        for nonce in [n for n, flight in self._out.items() if now_s - flight.sent_s > LATE_ROUNDS * self._every_s]:
            del self._out[nonce]
        self._over = set()
        good = [key.listed.kid for key in self._signer.tried if key.fault is None]
        return {nonce for kid in good if (nonce := self._send_one(kid))}

    def _send_one(self, kid: str) -> str:
        """The nonce of a canary that went out; "" when none did."""
        nonce = secrets.token_urlsafe(16)
        try:
            raw = self._signer.sign_canary(kid, self._gateway, nonce)
            self._out[nonce] = _Flight(kid, raw, time.monotonic())
            self._link.publish_soon(canary_topic(kid), raw)
        except NoKey:
            # It has expired; its row says so by its own date.
            return ""
        except CarryFailed:
            del self._out[nonce]
            self._metrics.failures.labels(NOT_SENT).inc()
            return ""
        return nonce

    def _wait(self, sent: set[str]) -> None:
        """Wait until every canary of the round is home, for as long as one that is well may take."""
        until_s = time.monotonic() + HOME_WITHIN_S
        while sent & self._out.keys() and (left_s := until_s - time.monotonic()) > 0:
            self._arrived.wait(left_s)
            self._arrived.clear()
            self._take_in()
        for nonce in sent & self._out.keys():
            self._metrics.failures.labels(LOST).inc()
            log.warning("a canary did not come home", key=self._out[nonce].kid, gateway=self._gateway)

    def _take_in(self) -> bool:
        """Judge what was heard; whether any of it was news of a key."""
        news = False
        while True:
            try:
                topic, raw = self._heard.get_nowait()
            except queue.Empty:
                return news
            news |= self._judge(topic, raw)

    def _judge(self, topic: str, raw: bytes) -> bool:
        """One canary. What is not signed by a key of the document accuses no key: anybody with an account could send
        it. It is counted."""
        kid = topic.rpartition("/")[2]
        now_us = self._now_us()
        mine = next((nonce for nonce, flight in self._out.items() if flight.raw == raw), None)
        flight = self._out.pop(mine) if mine is not None else None
        try:
            canary = read_canary(raw, topic, self._document(), now_us)
        except speaker_link.Refused as refused:
            self._metrics.failures.labels(str(refused.reason)).inc()
            certain = flight is not None or refused.reason is speaker_link.Refusal.KEY_EXPIRED
            return certain and self._failed(kid, str(refused.reason))
        if canary.utc > now_us + CANARY_AHEAD_US_MAX:
            self._metrics.failures.labels(str(KeyTrouble.AHEAD)).inc()
            return self._failed(kid, str(KeyTrouble.AHEAD))
        if flight is not None:
            return self._home(canary, flight)
        if canary.gateway == self._gateway and canary.nonce not in self._over:
            # Signed by our key and not sent by this process: an old one that somebody sends again.
            self._metrics.failures.labels(str(speaker_link.Refusal.WRONG_NONCE)).inc()
        return False

    def _home(self, canary: Canary, flight: _Flight) -> bool:
        known, now_s = self._known.setdefault(canary.kid, _Known()), time.monotonic()
        self._over.add(canary.nonce)
        known.home_s, known.took_us = now_s, round((now_s - flight.sent_s) * 1_000_000)
        if known.failed:
            log.info("a canary comes home again", key=canary.kid, gateway=self._gateway)
        known.failed, known.failed_s = "", None
        return True

    def _failed(self, kid: str, reason: str) -> bool:
        if kid not in {key.listed.kid for key in self._signer.tried}:
            return False
        known = self._known.setdefault(kid, _Known())
        if known.failed != reason:
            log.error("a canary would be refused", key=kid, reason=reason, gateway=self._gateway)
        known.failed, known.failed_s = reason, time.monotonic()
        return True

    def _document(self) -> KeyDocument:
        """The key document as the broker holds it. Raises the link's Refused."""
        raw = self._broker_keys()
        if raw is None:
            raise speaker_link.Refused(speaker_link.Refusal.NO_KEYS)
        return _read_keys(raw, self._signer.root)

    def _broker_keys(self) -> bytes | None:
        return self._side.broker_copy(speaker_link.KEYS_TOPIC)

    def _report(self) -> None:
        now_s = time.monotonic()
        found = [self._of(key, now_s) for key in self._signer.tried]
        self._known = {key.key.id: self._known[key.key.id] for key in found if key.key.id in self._known}
        signing_keys.report(self._store, self._gateway, found, self._signer.document.version)
        self._metrics.keys(found, now_s)

    def _of(self, key: TriedKey, now_s: float) -> KeyReport:
        listed, known = key.listed, self._known.get(key.listed.kid, _Known())
        state = KeyState(
            listed.kid, str(listed.use), listed.issuer, listed.area, tuple(listed.levels), listed.not_after, x=listed.x
        )
        return KeyReport(
            state, str(key.fault or ""), _ago_us(known.home_s, now_s), known.took_us, known.failed,
            _ago_us(known.failed_s, now_s),
        )  # fmt: skip


@lru_cache(maxsize=4)
def _read_keys(raw: bytes, root: LinkKey) -> KeyDocument:
    return speaker_link.read_keys(raw, root)


def _ago_us(then_s: float | None, now_s: float) -> int | None:
    return None if then_s is None else round((now_s - then_s) * 1_000_000)
