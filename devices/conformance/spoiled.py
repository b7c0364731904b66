"""Documents of every bad kind that a device must refuse, each with the code that it must say."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from devices.conformance.papers import CHAIN, HOUR, ISSUER, ZONE, BenchPapers, S, now_us
from devices.protocols import document_json, jws, strict_json
from devices.protocols import speaker_link as link
from devices.protocols.documents import MANIFEST_BYTES_MAX
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import KeyUse, Manifest


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One bad document. `orders` are the ids in it, of which no receipt may speak."""

    name: str
    section: str
    code: str
    topic: str
    raw: bytes
    orders: tuple[str, ...] = ()


def spoiled(papers: BenchPapers) -> list[Spoiled]:
    """Every kind once; streams that already hold something keep it."""
    key = papers.keys
    area = {number: link.manifest_topic(code, KeyUse.EXERCISE, ISSUER) for number, code in enumerate(CHAIN)}
    zone = link.manifest_topic(ZONE, KeyUse.EXERCISE, ISSUER)
    actual = link.manifest_topic(CHAIN[-1], KeyUse.ACTUAL, ISSUER)
    own = link.speaker_manifest_topic(papers.speaker, KeyUse.EXERCISE, ISSUER)
    made: list[Spoiled] = []

    def manifest(id: str, topic: str, **changes: int) -> Manifest:
        return papers.manifest(topic, [papers.order(id)], **changes)

    def add(name: str, section: str, code: str, topic: str, raw: bytes, *orders: str) -> None:
        made.append(Spoiled(name, section, code, topic, raw, orders))

    def signed(document: Manifest, signer: SigningKey, typ: Typ = Typ.MANIFEST) -> bytes:
        return jws.sign(document_json.encode(document), typ, signer)

    forger = SigningKey(key["exercise"].kid, key["stranger"].private)
    good = signed(manifest("spoiled-signature", area[0]), forger)
    add("another's signature under a good key's name", "2", "bad_signature", area[0], good, "spoiled-signature")
    raw = signed(manifest("spoiled-stranger", area[1]), key["stranger"])
    add("a key that is not listed", "2", "unknown_key", area[1], raw, "spoiled-stranger")
    raw = _with_header(manifest("spoiled-header", area[2]), key["exercise"], {"alg": "EdDSA"})
    add("another algorithm's name", "2", "header", area[2], raw, "spoiled-header")
    raw = signed(manifest("spoiled-type", area[3]), key["exercise"], Typ.CONFIG)
    add("a manifest signed as a config", "2", "wrong_type", area[3], raw, "spoiled-type")
    members = json.loads(document_json.encode(manifest("spoiled-member", zone)))
    raw = jws.sign(strict_json.canonical(members | {"urgent": True}), Typ.MANIFEST, key["exercise"])
    add("a member that it does not know", "2", "malformed", zone, raw, "spoiled-member")
    add("a manifest of 16,385 bytes", "7", "over_cap", own, good + b"A" * (MANIFEST_BYTES_MAX + 1 - len(good)))
    add("an empty retained message", "1", "empty_payload", area[0], b"")
    raw = signed(manifest("spoiled-use", area[1]), key["config"])
    add("a key of another use", "2 Manifest", "key_use", area[1], raw, "spoiled-use")
    nobody = papers.order("spoiled-actual", status="actual", selector=Selector(speakers=()))
    raw = signed(papers.manifest(actual, [nobody]), key["exercise"])
    add("an exercise key on an actual stream", "2 Manifest", "key_use", actual, raw, "spoiled-actual")
    raw = signed(manifest("spoiled-issuer", area[2]), key["low"])
    add("another issuer's key", "2 Manifest", "not_issuer", area[2], raw, "spoiled-issuer")
    topic = link.manifest_topic(CHAIN[-1], KeyUse.EXERCISE, "bench-elsewhere")
    raw = signed(manifest("spoiled-area", topic), key["elsewhere"])
    add("a key of another area", "2 Manifest", "key_area", topic, raw, "spoiled-area")
    topic = link.manifest_topic(CHAIN[-1], KeyUse.EXERCISE, "bench-low")
    raw = signed(papers.manifest(topic, [papers.order("spoiled-level", level=1)]), key["low"])
    add("a level that the key may not sign", "2 Manifest", "key_level", topic, raw, "spoiled-level")
    topic = link.manifest_topic(CHAIN[-1], KeyUse.EXERCISE, "bench-old")
    raw = signed(manifest("spoiled-expired", topic), key["old"])
    add("a key past its end", "2 Keys", "key_expired", topic, raw, "spoiled-expired")
    raw = signed(manifest("spoiled-stream", area[0]), key["exercise"])
    add("a manifest of another stream", "2 Manifest", "stream_mismatch", area[3], raw, "spoiled-stream")
    wrong = papers.order("spoiled-status", status="actual", selector=Selector(speakers=()))
    raw = signed(papers.manifest(zone, [wrong]), key["exercise"])
    add("an actual order on an exercise stream", "2 Manifest", "status_mismatch", zone, raw, "spoiled-status")
    raw = signed(manifest("spoiled-ahead", area[1], version=(now_us() + HOUR) // 1_000), key["exercise"])
    add("a version an hour ahead", "2 Manifest", "version_ahead", area[1], raw, "spoiled-ahead")
    past = manifest("spoiled-stale", area[2])
    raw = signed(replace(past, issued=past.issued - 60 * S, fresh_until=past.issued - 30 * S), key["exercise"])
    add("a manifest that is no longer fresh", "2 Manifest", "stale", area[2], raw, "spoiled-stale")
    held = papers.held
    raw = signed(manifest("spoiled-back", area[3], version=held[area[3]] - 1), key["exercise"])
    add("a version that goes back", "2 Manifest", "version_back", area[3], raw, "spoiled-back")
    raw = signed(manifest("spoiled-conflict", own, version=held[own]), key["exercise"])
    add("a version that stands for other bytes", "2 Manifest", "version_conflict", own, raw, "spoiled-conflict")
    older = link.sign(replace(papers.document, version=papers.document.version - 1), papers.root)
    add("an older key document", "2 Keys", "version_back", link.KEYS_TOPIC, older)
    usurped = link.sign(replace(papers.document, version=papers.document.version + 1), key["stranger"])
    add("a key document that its root did not sign", "2 Keys", "unknown_key", link.KEYS_TOPIC, usurped)
    config = link.config_topic(papers.speaker)
    add("another speaker's config", "2 Config", "stream_mismatch", config, link.sign(
        replace(papers.config, speaker="another", version=papers.config.version + 1), key["config"]
    ))  # fmt: skip
    add("a config signed by an order key", "2 Config", "key_use", config, link.sign(
        replace(papers.config, version=papers.config.version + 1), key["exercise"]
    ))  # fmt: skip
    return made


def _with_header(document: Manifest, signer: SigningKey, changes: dict[str, str]) -> bytes:
    """A valid signature over a header that the link does not admit."""
    header = {"alg": jws.ALGORITHM, "kid": signer.kid, "typ": str(Typ.MANIFEST)} | changes
    parts = strict_json.canonical(header), document_json.encode(document)
    head = ".".join(jws.encode_base64url(part) for part in parts)
    return f"{head}.{jws.encode_base64url(signer.private.sign(head.encode()))}".encode()
