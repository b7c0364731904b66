"""Requests signed by a secret that a feed and the dispatcher share: HMAC-SHA256 (RFC 2104) over what was asked. Pure.

Signed are, one a line: the method, the path `/api/feeds/<feed>/<format>`, the time in whole seconds since 1970, and the
SHA-256 of the body in hexadecimal. The headers are `X-Tocsin-Time` and `X-Tocsin-Signature: sha256=<hexadecimal>`.
"""

from __future__ import annotations

import hashlib
import hmac

WINDOW_S = 300
TIME_DIGITS_MAX = 12
_SCHEME = "sha256="


def signature(secret: str, method: str, path: str, at_s: int, body: bytes) -> str:
    """The value of `X-Tocsin-Signature` for a request."""
    said = f"{method}\n{path}\n{at_s}\n{hashlib.sha256(body).hexdigest()}".encode()
    return _SCHEME + hmac.new(secret.encode(), said, hashlib.sha256).hexdigest()


def time_of(text: str) -> int | None:
    """Seconds since 1970 as `X-Tocsin-Time` says them; None for anything else."""
    return int(text) if 0 < len(text) <= TIME_DIGITS_MAX and text.isascii() and text.isdigit() else None


def in_window(at_s: int, now_us: int) -> bool:
    """Whether a request's time is near enough to now for it not to be an old one sent again."""
    return abs(at_s * 1_000_000 - now_us) <= WINDOW_S * 1_000_000


def holds(given: str, secret: str, method: str, path: str, at_s: int, body: bytes) -> bool:
    """Whether a signature was made with this secret over this request; in constant time."""
    return hmac.compare_digest(given.encode(), signature(secret, method, path, at_s, body).encode())
