"""The transactions around what a gateway puts on the broker: one before a manifest goes out, one for what is found."""

from __future__ import annotations

from devices.protocols import jws
from devices.protocols.speaker_link import Manifest

from ...domain.planning import City
from ..ports import Signer, Store
from ..writing import write
from . import compared, sighted, streams
from .streams import Signed


def sign(store: Store, topic: str, signer: Signer, city: City, audio_base: str) -> Signed:
    """The newest signed manifest of a stream; raises what `streams.sign_stream` raises."""
    with write(store) as tx:
        return streams.sign_stream(tx, topic, signer, city, audio_base)


def compare(store: Store, topic: str, raw: bytes, manifest: Manifest, document: int, *, at_start: bool) -> str:
    """Compare the broker's copy of a stream, verified with this version of the key document, with the row, and write
    down what it proves; verdict and errors of `compared.found_on_broker`. `at_start` is explained at `sighted.found`.
    """
    with write(store) as tx:
        verdict = compared.found_on_broker(tx, topic, raw, manifest, jws.header(raw).kid, document)
        sighted.found(tx, manifest, verdict, at_start=at_start)
    return verdict
