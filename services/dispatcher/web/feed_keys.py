"""The feed behind a request: its key, the key before it while that still opens, and the signature of the request.

Keys are checked with argon2 once, then by digest in bounded memory, so that a busy feed costs no more than a lookup.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ..domain.refusals import Refused
from ..domain.signals import Feed
from ..engine import enrolment
from ..feeds import request_hmac
from .deps import WebDeps
from .feed_replays import Replays
from .problems import (
    FeedDisabled,
    FeedKeyWrong,
    RequestNotInTime,
    RequestSignatureWrong,
    SecretUnavailable,
    TooManyTries,
)
from .tries import Tries

log = logging.getLogger(__name__)

KEY_CHARS_MAX = 256
KNOWN_KEYS_MAX = 4_096
WINDOW_US = 60_000_000
WRONG_KEYS_MAX = 10
KEYS_PER_ADDRESS_MAX = 300
"""Each costs an argon2. Many feeds may come through one proxy, and all show their keys anew after a restart."""


@dataclass(frozen=True, slots=True)
class SignedBy:
    """What a request says of its own signature; empty texts where it says nothing."""

    time: str = ""
    signature: str = ""


def key_digest(feed_id: str, key: str) -> bytes:
    """What stands for a feed's key in memory."""
    return hashlib.sha256(f"{feed_id}\n{key}".encode()).digest()


class FeedKeys:
    """Finds the feed behind an id and a key. A key that was right once is known by its digest under that very hash."""

    def __init__(self, deps: WebDeps) -> None:
        self._deps = deps
        self._wrong = Tries(deps.clock.mono_us, WRONG_KEYS_MAX, WINDOW_US)
        self._new = Tries(deps.clock.mono_us, KEYS_PER_ADDRESS_MAX, WINDOW_US)
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str, bytes], None] = OrderedDict()
        self._replays = Replays(deps.clock.mono_us)

    def feed(self, feed_id: str, key: str, address: str) -> tuple[Feed, int]:
        """The feed, when the key is its own, and the store's time in µs UTC.

        Raises FeedKeyWrong, also for an unknown id, TooManyTries, or FeedDisabled.
        """
        with self._deps.store.read() as read:
            feed, now_us = read.get(Feed, feed_id) if len(feed_id) <= KEY_CHARS_MAX else None, read.now_us()
        try:
            opened = self._check(feed, feed_id, key, address, now_us)
        except (FeedKeyWrong, TooManyTries) as refused:
            self._deps.counts.feed_keys.labels(refused.code).inc()
            raise
        assert feed is not None
        self._deps.counts.feed_keys.labels("right" if opened == feed.key_hash else "old").inc()
        if opened == feed.key_hash and feed.old_key_hash and feed.old_key_until_us is None:
            # The sender has the new key now; the other web processes learn of it from the row.
            enrolment.end_old_key(self._deps.store, feed.id, feed.key_hash)
        if not feed.enabled:
            raise FeedDisabled
        return feed, now_us

    @contextmanager
    def signed(self, feed: Feed, path: str, by: SignedBy, body: bytes, now_us: int) -> Iterator[None]:
        """Hold a request to the signature that its feed signs with. A request that then fails may be sent again as it
        was. Raises RequestSignatureWrong, RequestNotInTime, RequestReplayed or SecretUnavailable."""
        if not by.signature and not feed.hmac_required:
            yield
            return
        if not feed.hmac_secret:
            raise RequestSignatureWrong("this feed has no secret to sign with")
        at_s = request_hmac.time_of(by.time)
        secret = self._secret(feed)
        if at_s is None or not request_hmac.holds(by.signature, secret, "POST", path, at_s, body):
            raise RequestSignatureWrong
        if not request_hmac.in_window(at_s, now_us):
            raise RequestNotInTime(f"{request_hmac.WINDOW_S} s")
        self._replays.remember(feed.id, by.signature)
        try:
            yield
        except BaseException:
            self._replays.forget(feed.id, by.signature)
            raise

    def _secret(self, feed: Feed) -> str:
        try:
            return self._deps.open_secret(feed.id, feed.hmac_secret)
        except Refused as refused:
            log.error("a feed's secret can't be opened feed=%s reason=%s", feed.id, refused.sentence)
            raise SecretUnavailable from refused

    def _check(self, feed: Feed | None, feed_id: str, key: str, address: str, now_us: int) -> str:
        """The hash that the key opened."""
        hashes = _hashes(feed, now_us) if feed is not None else [self._deps.passwords.nobody]
        digest = key_digest(feed_id, key)
        for hashed in hashes:
            if self._is_known((feed_id, hashed, digest)):
                return hashed
        if not 0 < len(key) <= KEY_CHARS_MAX:
            raise FeedKeyWrong
        # By feed, so that guesses at one keep no other out that comes from the same address.
        guess = (address, feed.id if feed is not None else "")
        self._new.count((address,))
        self._wrong.count(guess)
        opened = next((hashed for hashed in hashes if self._deps.passwords.matches(hashed, key)), None)
        if opened is None or feed is None:
            raise FeedKeyWrong
        self._wrong.forget(guess)
        with self._lock:
            self._known[feed_id, opened, digest] = None
            if len(self._known) > KNOWN_KEYS_MAX:
                self._known.popitem(last=False)
        return opened

    def _is_known(self, proof: tuple[str, str, bytes]) -> bool:
        with self._lock:
            if proof not in self._known:
                return False
            self._known.move_to_end(proof)
            return True


def _hashes(feed: Feed, now_us: int) -> list[str]:
    """The key's hash, and the old key's while it still opens."""
    until_us = feed.old_key_until_us
    if feed.old_key_hash and (until_us is None or now_us < until_us):
        return [feed.key_hash, feed.old_key_hash]
    return [feed.key_hash]
