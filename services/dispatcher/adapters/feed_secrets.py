"""Secrets that must be read again, sealed for the database: AES-256-GCM under one key in a file of its owner alone.

A sealed secret belongs to one feed: moved to another feed's row it does not open. Who has the database alone has none.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from ..domain.refusals import Refused

KEY_BYTES = 32
NONCE_BYTES = 12


class FeedKeyFileBroken(Refused):
    """The file with the key of the feeds' secrets is not there or is not readable."""

    code = "feed_key_file_broken"


class FeedSecrets:
    """Seals and opens; `path` is read when it is first needed, so that it may be made while others run."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cipher: AESGCM | None = None

    def seal(self, feed_id: str, secret: str) -> str:
        """The secret as it may stand in the database; makes the key file when there is none.

        Raises FeedKeyFileBroken.
        """
        if not self._path.exists():
            self._make()
        nonce = os.urandom(NONCE_BYTES)
        sealed = nonce + self._key().encrypt(nonce, secret.encode(), feed_id.encode())
        return base64.b64encode(sealed).decode()

    def opened(self, feed_id: str, sealed: str) -> str:
        """The secret. Raises FeedKeyFileBroken, also for what was sealed under another key or for another feed."""
        try:
            raw = base64.b64decode(sealed, validate=True)
            return self._key().decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], feed_id.encode()).decode()
        except (binascii.Error, ValueError, InvalidTag) as broken:
            raise FeedKeyFileBroken(f"the secret of feed {feed_id[:64]} does not open") from broken

    def _key(self) -> AESGCM:
        if self._cipher is None:
            try:
                key = bytes.fromhex(self._path.read_text("ascii").strip())
                if len(key) != KEY_BYTES:
                    raise ValueError
            except (OSError, ValueError) as broken:
                raise FeedKeyFileBroken(self._path.name) from broken
            self._cipher = AESGCM(key)
        return self._cipher

    def _make(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(os.urandom(KEY_BYTES).hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
