"""Signatures of the speaker link: compact JWS (RFC 7515) with a fixed header and one algorithm per key.

`joserfc` signs and verifies; what a general JWS reader tolerates and this link does not is refused before it:
other header members, repeated members, padding, loose base64url bits, another algorithm than the key's.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from devices.protocols import strict_json
from devices.protocols.documents import KeyUse, LinkKey
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.topics import NAME

ALGORITHM = "Ed25519"
"""RFC 9864 clause 2.2: the fully specified name; the older "EdDSA" is refused."""

_COMPACT = re.compile(rb"([A-Za-z0-9_-]{1,400})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{86})")
"""86 characters are the 64 bytes of an Ed25519 signature."""


class Typ(StrEnum):
    """The kind of a signed document (RFC 7515 clause 4.1.9); a document of one kind is never read as another."""

    KEYS = "tocsin-keys+jws"
    MANIFEST = "tocsin-manifest+jws"
    CONFIG = "tocsin-config+jws"
    HELLO = "tocsin-hello+jws"
    CANARY = "tocsin-canary+jws"


class Header(NamedTuple):
    """The three header members there are."""

    alg: str
    kid: str
    typ: str


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key and its name. Where it is kept is the owner's business; it never prints."""

    kid: str
    private: Ed25519PrivateKey = field(repr=False)

    def __post_init__(self) -> None:
        if not NAME.fullmatch(self.kid):
            raise ValueError(f"{self.kid!r} is not a key name of 1 to 32 characters a-z, 0-9 and hyphen")

    @classmethod
    def generate(cls, kid: str) -> SigningKey:
        """A new key from the operating system's randomness."""
        return cls(kid, Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, kid: str, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed (RFC 8032 clause 5.1.5). Raises ValueError for another length."""
        return cls(kid, Ed25519PrivateKey.from_private_bytes(seed))

    def public_link_key(self, use: KeyUse, issuer: str, area: str, levels: Iterable[int], not_after: int) -> LinkKey:
        """The public half with its scope, as the key document lists it; `not_after` in µs UTC."""
        x = encode_base64url(self.private.public_key().public_bytes_raw())
        return LinkKey(self.kid, ALGORITHM, x, use, issuer, area, tuple(sorted(set(levels))), not_after)


def sign(payload: bytes, typ: Typ, key: SigningKey) -> bytes:
    """The compact JWS of the payload; the same payload and key always give the same bytes."""
    header = {"alg": ALGORITHM, "kid": key.kid, "typ": str(typ)}
    return jws.serialize_compact(header, payload, OKPKey.import_key(key.private), [ALGORITHM]).encode("ascii")


def header(raw: bytes) -> Header:
    """The header as it stands, not verified. Raises LinkRefused: EMPTY_PAYLOAD, MALFORMED or HEADER."""
    return _split(raw)[0]


def payload_unverified(raw: bytes, typ: Typ, bytes_max: int) -> bytes:
    """The payload of a document that is verified and kept. Raises LinkRefused as `verify` does, without a key."""
    return _cut(raw, typ, bytes_max)[1]


def verify(raw: bytes, typ: Typ, bytes_max: int, key_named: Callable[[str], LinkKey | None]) -> tuple[bytes, LinkKey]:
    """The payload and the key that signed it; `bytes_max` limits the whole message.

    Raises LinkRefused: EMPTY_PAYLOAD, OVER_CAP, MALFORMED, HEADER, WRONG_TYPE, UNKNOWN_KEY or BAD_SIGNATURE, tested in
    that order. The key's use, scope and expiry are not looked at.
    """
    head, payload = _cut(raw, typ, bytes_max)
    key = key_named(head.kid)
    if key is None:
        raise LinkRefused(Refusal.UNKNOWN_KEY, head.kid)
    if head.alg != ALGORITHM or key.alg != head.alg:
        raise LinkRefused(Refusal.HEADER, f"alg {head.alg[:16]!r}")
    try:
        jws.deserialize_compact(raw, _public(key.x), [ALGORITHM])
    except JoseError as error:
        raise LinkRefused(Refusal.BAD_SIGNATURE, head.kid) from error
    return payload, key


def encode_base64url(data: bytes) -> str:
    """Base64url without padding (RFC 7515 clause 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def decode_base64url(text: str) -> bytes:
    """Strict: alphabet, no padding, unused bits zero. Raises ValueError."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode_base64url(data) != text:
        raise ValueError("not canonical base64url")
    return data


def _cut(raw: bytes, typ: Typ, bytes_max: int) -> tuple[Header, bytes]:
    if len(raw) > bytes_max:
        raise LinkRefused(Refusal.OVER_CAP, f"{len(raw)} bytes, limit {bytes_max}")
    head, payload = _split(raw)
    if head.typ != typ:
        raise LinkRefused(Refusal.WRONG_TYPE, f"typ {head.typ[:32]!r}")
    return head, payload


def _split(raw: bytes) -> tuple[Header, bytes]:
    if not raw:
        raise LinkRefused(Refusal.EMPTY_PAYLOAD)
    parts = _COMPACT.fullmatch(raw)
    if parts is None:
        raise LinkRefused(Refusal.MALFORMED, "not a compact JWS")
    try:
        head, payload, _ = (decode_base64url(part.decode("ascii")) for part in parts.groups())
    except ValueError as error:
        raise LinkRefused(Refusal.MALFORMED, "not canonical base64url") from error
    return _header(head), payload


def _header(encoded: bytes) -> Header:
    try:
        members = strict_json.loads(encoded)
    except LinkRefused as error:
        raise LinkRefused(Refusal.HEADER, "not strict JSON") from error
    match members:
        case {"alg": str(alg), "kid": str(kid), "typ": str(typ), **other} if not other and NAME.fullmatch(kid):
            return Header(alg, kid, typ)
    raise LinkRefused(Refusal.HEADER, "not exactly alg, kid and typ")


@lru_cache(maxsize=256)
def _public(x: str) -> OKPKey:
    return OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": x})
