"""Argon2id hashes of passwords and feed keys (RFC 9106). The only module that knows argon2."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

MEMORY_KIB = 19_456
PASSES = 2
AT_ONCE_MAX = 4


class Argon2Passwords:
    """Hashes and checks, a few at once: each check takes 19 MiB, and strangers choose how often they try."""

    def __init__(self, passes: int = PASSES, memory_kib: int = MEMORY_KIB) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._room = threading.BoundedSemaphore(AT_ONCE_MAX)
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))

    @property
    def nobody(self) -> str:
        """The hash of a secret that was thrown away."""
        return self._nobody

    def hash(self, secret: str) -> str:
        """The encoded hash with its own salt and parameters."""
        with self._room:
            return self._hasher.hash(secret)

    def matches(self, hashed: str, secret: str) -> bool:
        """Whether the secret is the one behind the hash; False for what is no argon2 hash."""
        with self._room:
            try:
                return self._hasher.verify(hashed, secret)
            except (VerifyMismatchError, VerificationError, InvalidHashError):
                return False
