"""A signer with real keys for the small city, and what a speaker of it would hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from devices.protocols import speaker_link
from devices.protocols.documents import KeyDocument, KeyUse, LinkKey, Manifest
from devices.protocols.jws import SigningKey
from services.dispatcher.domain.refusals import NoKey
from services.dispatcher.engine.air import streams
from services.dispatcher.engine.air.streams import Signed
from tests.builders import CITY, NOON_US, Town

FAR_US = NOON_US * 2


@dataclass(slots=True)
class Keys:
    """One key per use, both of the city, and the version of the key document that lists them."""

    uses: tuple[KeyUse, ...] = (KeyUse.ACTUAL, KeyUse.EXERCISE)
    version: int = 1
    private: dict[KeyUse, SigningKey] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.private = {use: SigningKey.generate(f"{use}-city-1") for use in self.uses}

    @property
    def document(self) -> KeyDocument:
        return KeyDocument(self.version, NOON_US, tuple(self._public(use) for use in self.uses))

    def _public(self, use: KeyUse) -> LinkKey:
        return self.private[use].public_link_key(use, "city", CITY, (1, 2, 3, 4), FAR_US)

    def signs(self, use: str, area_chain: tuple[str, ...]) -> bool:
        return KeyUse(use) in self.private and CITY in area_chain

    def sign_manifest(self, manifest: Manifest, area_chain: tuple[str, ...]) -> bytes:
        use = KeyUse(speaker_link.parse_manifest_topic(manifest.stream).use)
        if not self.signs(use, area_chain):
            raise NoKey(use)
        return speaker_link.sign(manifest, self.private[use])


def sign(town: Town, topic: str, keys: Keys) -> Signed:
    """What the gateway does with the effect of a stream."""
    with town.store.write() as tx:
        return streams.sign_stream(tx, topic, keys, town.engine.read_city())


def read(signed: Signed, keys: Keys) -> Manifest:
    """The manifest as a speaker verifies it."""
    return speaker_link.read_manifest(signed.raw, signed.topic, keys.document, None, None)


def states(manifest: Manifest) -> dict[str, tuple[int, str]]:
    """Revision and state of every order."""
    return {order.id: (order.rev, str(order.state)) for order in manifest.orders}
