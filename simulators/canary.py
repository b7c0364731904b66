"""The key files of a simulated gateway, as its canaries try them: `canaries.TryingSigner` over the city's keys."""

from __future__ import annotations

from dataclasses import replace

from devices.protocols.canary import Canary, sign_canary
from devices.protocols.documents import LinkKey
from services.dispatcher.domain.refusals import NoKey
from services.dispatcher.domain.signing_keys import KeyTrouble, TriedKey
from services.dispatcher.engine.ports import Clock
from simulators.city import Keys


class VirtualKeyFiles:
    """One gateway's. An expired key is known by its date alone, as it is in a real key document."""

    def __init__(self, keys: Keys, clock: Clock) -> None:
        self._keys, self._clock = keys, clock
        self.root = keys.root
        self.look_again()

    def changed(self) -> bool:
        return self._stamp() != self._read

    def look_again(self) -> None:
        self._read = self._stamp()
        self.document, self.signed_document = self._keys.document, self._keys.signed_document
        self.tried = tuple(self._tried(listed) for listed in self.document.keys)

    def sign_canary(self, kid: str, gateway: str, nonce: str) -> bytes:
        now_us = self._clock.now_us()
        for key in map(self._tried, self.document.keys):
            if key.listed.kid == kid and key.fault is None and now_us <= key.listed.not_after:
                canary = Canary(kid, key.listed.use, gateway, nonce, now_us)
                return sign_canary(canary, self._keys.private[str(key.listed.use)])
        raise NoKey(kid)

    def _stamp(self) -> tuple[int, dict[str, tuple[str, int]]]:
        return self._keys.document.version, dict(self._keys.broken)

    def _tried(self, listed: LinkKey) -> TriedKey:
        lost = KeyTrouble.EMPTY if self._keys.lost(listed.use) else None
        fault = lost if listed.kid in self._keys.own_kids else KeyTrouble.ABSENT
        return TriedKey(replace(listed, not_after=self._keys.not_after_us(listed, self._clock.now_us())), fault)
