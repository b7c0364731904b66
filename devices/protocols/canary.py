"""The canary of a signing key: a small signed document that goes the road of a manifest and that no speaker obeys.

A speaker subscribes to no canary topic, and a canary's `typ` is its own, so that a canary that is moved to another
topic is refused there as `wrong_type`. Times are integer µs UTC; how long a canary took is the sender's business, by
its own monotonic clock and the nonce.
"""

from __future__ import annotations

from dataclasses import dataclass

from devices.protocols import document_json, jws, strict_json
from devices.protocols.documents import KeyDocument, KeyUse, LinkKey
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.strict_json import Members, malformed
from devices.protocols.topics import NAME, ROOT

CANARY_BYTES_MAX = 1_024
ALL_CANARIES = f"{ROOT}/canary/+"
USES = (KeyUse.ACTUAL, KeyUse.EXERCISE, KeyUse.CONFIG, KeyUse.CLOCK)


@dataclass(frozen=True, slots=True)
class Canary:
    """One canary: the key that signs it and that key's use, the gateway that sent it, its nonce and the time there."""

    kid: str
    use: KeyUse
    gateway: str
    nonce: str
    utc: int


def canary_topic(kid: str) -> str:
    """The topic of one key's canaries. Raises ValueError for what is no name of a key."""
    if not NAME.fullmatch(kid):
        raise ValueError(f"{kid!r} is not a name of 1 to 32 characters a-z, 0-9 and hyphen")
    return f"{ROOT}/canary/{kid}"


def sign_canary(canary: Canary, key: SigningKey) -> bytes:
    """The canary as a compact JWS. Raises LinkRefused when its form is not one that `read_canary` takes."""
    payload = strict_json.canonical(document_json.plain(canary))
    _decode(payload)
    return jws.sign(payload, Typ.CANARY, key)


def read_canary(raw: bytes, topic: str, keys: KeyDocument, now_us: int | None) -> Canary:
    """The canary that arrived on `topic`, tested as a speaker tests a manifest: form, type, key, signature, topic, use
    and expiry. Without a time the key's expiry is not tested. Raises LinkRefused."""
    payload, key = jws.verify(raw, Typ.CANARY, CANARY_BYTES_MAX, lambda kid: _named(keys, kid))
    canary = _decode(payload)
    if canary.kid != key.kid or topic != canary_topic(canary.kid):
        raise LinkRefused(Refusal.STREAM_MISMATCH, canary.kid)
    if canary.use is not key.use:
        raise LinkRefused(Refusal.KEY_USE, f"{key.kid} is for {key.use}, not {canary.use}")
    if now_us is not None and now_us > key.not_after:
        raise LinkRefused(Refusal.KEY_EXPIRED, key.kid)
    return canary


def _named(keys: KeyDocument, kid: str) -> LinkKey | None:
    return next((key for key in keys.keys if key.kid == kid), None)


def _decode(payload: bytes) -> Canary:
    members = Members(strict_json.loads(payload), "canary")
    kid, use = members.match("kid", NAME), members.take("use")
    if use not in USES:
        raise malformed("canary.use")
    canary = Canary(
        kid, KeyUse(str(use)), members.match("gateway", NAME), members.match("nonce", document_json.NONCE),
        members.integer("utc"),
    )  # fmt: skip
    members.done()
    return canary
