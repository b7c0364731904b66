"""The newest key document, as gateways have reported it: which manifests and versions count under it, and whether a
gateway with an older one may speak.

A document only goes forward. What the newest one no longer lists is gone for good, also when the gateway that brought
it has died; but a dead gateway keeps no other from signing by a key that is listed still.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from devices.protocols import document_json, jws
from devices.protocols.documents import MANIFEST_BYTES_MAX, Manifest
from devices.protocols.topics import StreamKind, parse_manifest_topic

from ...domain.places import Area, AreaTree, Speaker
from ...domain.signing_keys import KeyState
from ..leases import GATEWAY_PREFIX
from ..ports import Page, Read
from ..rows import CitySettings, Lease, Stream

KEYS_MAX = 1_000
AREAS_MAX = 200_000


def live_gateways(read: Read) -> tuple[str, ...]:
    """The gateways that hold their lease, by name."""
    now_us = read.now_us()
    leases = read.find(Lease, Page(limit=KEYS_MAX))
    return tuple(sorted(x.id for x in leases if x.id.startswith(GATEWAY_PREFIX) and x.until_us > now_us))


class ListedKeys:
    """The keys of the newest document, those stored or, while a report is taken in, the ones that it lists. One
    transaction's."""

    def __init__(self, read: Read, listed: Iterable[KeyState] | None = None) -> None:
        self._read = read
        rows = read.find(KeyState, Page(limit=KEYS_MAX)) if listed is None else listed
        self.keys = {key.id: key for key in rows}
        self._alive = live_gateways(read)
        self._tree: AreaTree | None = None

    def newest(self, besides: str = "") -> int:
        """The version of the newest key document that any gateway has reported, besides this one."""
        views = (view for key in self.keys.values() for view in key.gateways.items())
        return max((at.document for name, at in views if name != besides), default=0)

    def counts(self, kid: str, topic: str, levels: Collection[int] = ()) -> bool:
        """Whether speakers count what this key signs on a stream, and obey orders of these levels there."""
        return kid in self.keys and self._may_sign(self.keys[kid], topic, levels)

    def vouches(self, kid: str, manifest: Manifest) -> bool:
        """Whether this key may sign all that a manifest says."""
        return self.counts(kid, manifest.stream, {order.level for order in manifest.orders})

    def disowns(self, kid: str, manifest: Manifest, document: int) -> bool:
        """Whether a newer document than this version of it takes a manifest from the key that signs it."""
        return document < self.newest() and not self.vouches(kid, manifest)

    def outlived(self, stream: Stream) -> bool:
        """Whether a stream was last signed, or is held by the broker as unknown here, under a key that may not sign
        that any more."""
        signed, found = b"", stream.foreign if stream.foreign_kid else b""
        if stream.orders and stream.signed:
            signed = jws.payload_unverified(stream.signed, jws.Typ.MANIFEST, MANIFEST_BYTES_MAX)
        both = ((stream.foreign_kid, found), (stream.signed_by, signed))
        return any(said and not self.vouches(kid, document_json.decode_manifest(said)) for kid, said in both)

    def newer_runs(self, document: int, topic: str = "") -> bool:
        """Whether a gateway that runs has a newer key document than this version of it, and can sign this stream where
        one is named."""
        return any(
            view.document > document and self.runs(name) and not (topic and view.fault)
            for key in self.keys.values()
            if not topic or self._may_sign(key, topic)
            for name, view in key.gateways.items()
        )

    def runs(self, gateway: str) -> bool:
        """Whether a gateway holds its lease; while none does, all are taken to run."""
        return not self._alive or gateway in self._alive

    def reaches(self, top: str, area: str) -> bool:
        """Whether a key for the area `top` is one for this area."""
        if top == area:
            return True
        city = self._read.get(CitySettings, "city")
        if city is None or top == city.code:
            return city is not None
        if self._tree is None:
            self._tree = AreaTree.of(self._read.find(Area, Page(limit=AREAS_MAX, order="code")))
        return area in self._tree.areas and top in self._tree.chain(area).all

    def _may_sign(self, key: KeyState, topic: str, levels: Collection[int] = ()) -> bool:
        where = parse_manifest_topic(topic)
        area = where.name
        if where.kind is StreamKind.SPEAKER:
            speaker = self._read.get(Speaker, where.name)
            area = speaker.area if speaker is not None else ""
        return key.issuer == where.issuer and key.may_sign(where.use, self.reaches(key.area, area), levels)
