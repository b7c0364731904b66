"""Speaker link, version 1: what is signed, who may have signed it, what is fresh. Sends nothing.

This is the module that dispatcher and speaker import; the documents, topics, refusals, JSON and the order of sounds
stand in files beside it. Every reader raises LinkRefused and reads no clock: the caller passes the time in µs UTC, or
None when it has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from devices.protocols import document_json, jws
from devices.protocols.documents import (
    CONFIG_BYTES_MAX,
    HELLO_ANSWER_BYTES_MAX,
    KEYS_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    MANIFEST_ORDERS_MAX,
    TEXT_CHARS_MAX,
    VERSION_AHEAD_MS_MAX,
    Audio,
    HelloAnswer,
    KeyDocument,
    KeyUse,
    LinkKey,
    Manifest,
    Order,
    OrderClass,
    OrderState,
    Phase,
    Receipt,
    SpeakerConfig,
    SpeakerState,
    Step,
    StepKind,
    as_listed,
    stub,
    whereabouts,
)
from devices.protocols.jws import SigningKey, Typ
from devices.protocols.refusals import SENTENCES, LinkRefused, Refusal
from devices.protocols.report_json import (
    decode_hello,
    decode_receipt,
    decode_state,
    encode_hello,
    encode_receipt,
    encode_state,
)
from devices.protocols.selector import SELECTOR_SPEAKERS_MAX, SELECTOR_VERTICES_MAX
from devices.protocols.topics import (
    ALL_ANSWERS,
    ALL_AREA_MANIFESTS,
    ALL_HELLOS,
    ALL_RECEIPTS,
    ALL_SPEAKER_MANIFESTS,
    ALL_STATES,
    KEYS_TOPIC,
    StreamKind,
    StreamName,
    answer_topic,
    area_manifests,
    ask_topic,
    config_topic,
    hello_answer_topic,
    hello_topic,
    manifest_topic,
    parse_manifest_topic,
    parse_speaker_topic,
    receipt_topic,
    speaker_manifest_topic,
    speaker_manifests,
    state_topic,
)

__all__ = [
    "ALL_ANSWERS",
    "ALL_AREA_MANIFESTS",
    "ALL_HELLOS",
    "ALL_RECEIPTS",
    "ALL_SPEAKER_MANIFESTS",
    "ALL_STATES",
    "KEYS_TOPIC",
    "MANIFEST_BYTES_MAX",
    "MANIFEST_ORDERS_MAX",
    "SELECTOR_SPEAKERS_MAX",
    "SELECTOR_VERTICES_MAX",
    "SENTENCES",
    "TEXT_CHARS_MAX",
    "AreaContains",
    "Audio",
    "HelloAnswer",
    "KeyDocument",
    "LinkKey",
    "Manifest",
    "Order",
    "OrderClass",
    "OrderState",
    "Phase",
    "Receipt",
    "Refusal",
    "LinkRefused",
    "SigningKey",
    "SpeakerConfig",
    "SpeakerState",
    "Step",
    "StepKind",
    "StreamName",
    "StreamKind",
    "KeyUse",
    "answer_topic",
    "area_height",
    "area_manifests",
    "as_listed",
    "ask_topic",
    "config_topic",
    "decode_hello",
    "decode_receipt",
    "decode_state",
    "digest",
    "encode_hello",
    "encode_receipt",
    "encode_state",
    "freshness_refusal",
    "hello_answer_topic",
    "hello_topic",
    "manifest_topic",
    "next_version",
    "parse_manifest_topic",
    "parse_speaker_topic",
    "reaches",
    "read_accepted_config",
    "read_config",
    "read_hello_answer",
    "read_keys",
    "read_manifest",
    "receipt_topic",
    "roots_after",
    "sign",
    "speaker_manifest_topic",
    "speaker_manifests",
    "state_topic",
    "stub",
    "version_refusal",
    "whereabouts",
]

SIGNATURE_ROOM_BYTES = 600
"""Header and signature of a compact JWS, with room for a long key id."""

AreaContains = Callable[[str, StreamName], bool]
"""(top of the key's subtree, stream) -> whether the stream's area or speaker lies in that subtree."""


def sign(document: KeyDocument | Manifest | SpeakerConfig | HelloAnswer, private_key: SigningKey) -> bytes:
    """The document as signed bytes: canonical JSON in a compact JWS; the same input always gives the same bytes.

    Raises LinkRefused when a speaker would refuse the form of the result: what is signed can be read.
    """
    payload = document_json.encode(document)
    match document:
        case KeyDocument():
            typ, bytes_max = Typ.KEYS, KEYS_BYTES_MAX
            document_json.decode_keys(payload)
        case Manifest():
            typ, bytes_max = Typ.MANIFEST, MANIFEST_BYTES_MAX
            _check_status(document_json.decode_manifest(payload))
        case SpeakerConfig():
            typ, bytes_max = Typ.CONFIG, CONFIG_BYTES_MAX
            document_json.decode_config(payload)
        case HelloAnswer():
            typ, bytes_max = Typ.HELLO, HELLO_ANSWER_BYTES_MAX
            document_json.decode_hello_answer(payload)
    signed = jws.sign(payload, typ, private_key)
    if len(signed) > bytes_max:
        raise LinkRefused(Refusal.OVER_CAP, f"{len(signed)} bytes, limit {bytes_max}")
    return signed


def digest(raw: bytes) -> bytes:
    """SHA-256 of a signed document: tells two documents of one version apart."""
    return hashlib.sha256(raw).digest()


def read_keys(raw: bytes, root: LinkKey, next_root: LinkKey | None = None, now_us: int | None = None) -> KeyDocument:
    """The key document, signed by the held root or by the next one that the held root has announced.

    Raises LinkRefused. Whether its version goes back, `version_refusal` says; what to hold afterwards, `roots_after`.
    """
    roots = {held.kid: held for held in (next_root, root) if held is not None}
    payload, key = jws.verify(raw, Typ.KEYS, KEYS_BYTES_MAX, roots.get)
    _check_use(key, KeyUse.ROOT)
    _check_expiry(key, now_us)
    return document_json.decode_keys(payload)


def roots_after(
    raw: bytes, document: KeyDocument, root: LinkKey, next_root: LinkKey | None
) -> tuple[LinkKey, LinkKey | None]:
    """(root, next root) to hold once `read_keys` has accepted these bytes.

    The old root is given up only when the new one has signed: until then a restart must still read the old document.
    """
    if next_root is not None and jws.header(raw).kid == next_root.kid:
        return next_root, document.root
    return root, document.root


def read_manifest(
    raw: bytes,
    topic: str,
    keys: KeyDocument,
    config: SpeakerConfig | None,
    now_us: int | None,
    contains: AreaContains | None = None,
) -> Manifest:
    """The manifest that arrived on `topic`, when its key may speak for that stream.

    A speaker passes its config, and with it the area chain that decides what the key's area contains. The dispatcher
    passes None and its own `contains`; with neither, areas are not compared. Without a time the key's expiry is not
    tested. Freshness and version are `freshness_refusal`'s. Raises LinkRefused.
    """
    payload, key = jws.verify(raw, Typ.MANIFEST, MANIFEST_BYTES_MAX, _named(keys))
    manifest = document_json.decode_manifest(payload)
    if manifest.stream != topic:
        raise LinkRefused(Refusal.STREAM_MISMATCH, manifest.stream)
    stream = parse_manifest_topic(topic)
    _check_use(key, stream.use)
    if key.issuer != stream.issuer:
        raise LinkRefused(Refusal.NOT_ISSUER, f"{key.kid} belongs to {key.issuer}")
    _check_expiry(key, now_us)
    _check_status(manifest)
    if any(order.level not in key.levels for order in manifest.orders):
        raise LinkRefused(Refusal.KEY_LEVEL, key.kid)
    if config is not None:
        if not _is_mine(stream, config):
            raise LinkRefused(Refusal.AREA_NOT_MINE, stream.name)
        if not reaches(key.area, stream, config):
            raise LinkRefused(Refusal.KEY_AREA, f"{key.kid} speaks for {key.area}")
    if contains is not None and not contains(key.area, stream):
        raise LinkRefused(Refusal.KEY_AREA, f"{key.kid} speaks for {key.area}")
    return manifest


def read_config(
    raw: bytes, speaker: str, keys: KeyDocument, now_us: int | None = None, held: SpeakerConfig | None = None
) -> SpeakerConfig:
    """The speaker's config. Raises LinkRefused.

    The key's area must lie on the chain that it signs and, when the speaker holds a config already, on that one too:
    a district's key moves a speaker within the district, never in or out of it. So the chain down to the key's area
    must be the one held.
    """
    payload, key = jws.verify(raw, Typ.CONFIG, CONFIG_BYTES_MAX, _named(keys))
    config = document_json.decode_config(payload)
    if config.speaker != speaker:
        raise LinkRefused(Refusal.STREAM_MISMATCH, config.speaker)
    _check_use(key, KeyUse.CONFIG)
    _check_expiry(key, now_us)
    if key.area not in config.area_chain or (held is not None and _down_to(key, held) != _down_to(key, config)):
        raise LinkRefused(Refusal.KEY_AREA, f"{key.kid} speaks for {key.area}")
    return config


def _down_to(key: LinkKey, config: SpeakerConfig) -> tuple[str, ...]:
    """The chain down to the key's area, () where that is not on it."""
    chain = config.area_chain
    return chain[: chain.index(key.area) + 1] if key.area in chain else ()


def read_accepted_config(raw: bytes, speaker: str) -> SpeakerConfig:
    """The config in bytes that `read_config` accepted once and that this speaker has kept: no key is asked again, so
    that it outlives the key that signed it. Never for bytes off the wire. Raises LinkRefused."""
    config = document_json.decode_config(jws.payload_unverified(raw, Typ.CONFIG, CONFIG_BYTES_MAX))
    if config.speaker != speaker:
        raise LinkRefused(Refusal.STREAM_MISMATCH, config.speaker)
    return config


def read_hello_answer(raw: bytes, nonce: str, keys: KeyDocument) -> HelloAnswer:
    """The answer to the hello with this nonce; the key must be valid at the time that it states. Raises LinkRefused."""
    payload, key = jws.verify(raw, Typ.HELLO, HELLO_ANSWER_BYTES_MAX, _named(keys))
    answer = document_json.decode_hello_answer(payload)
    _check_use(key, KeyUse.CLOCK)
    _check_expiry(key, answer.utc)
    if answer.nonce != nonce:
        raise LinkRefused(Refusal.WRONG_NONCE)
    return answer


def version_refusal(
    version: int, bytes_digest: bytes, held_version: int | None, held_digest: bytes | None
) -> Refusal | None:
    """Whether a version goes back or stands already for other bytes; for keys, config and manifests alike."""
    if held_version is None or version > held_version:
        return None
    if version < held_version:
        return Refusal.VERSION_BACK
    return Refusal.VERSION_CONFLICT if held_digest is not None and held_digest != bytes_digest else None


def freshness_refusal(
    manifest: Manifest,
    now_us: int | None,
    held_version: int | None,
    held_digest: bytes | None,
    bytes_digest: bytes,
) -> Refusal | None:
    """Whether a verified manifest may replace what is held of its stream, tested once, when it arrives.

    The same bytes that are held already are fresh for ever. Without a time nothing new is fresh.
    """
    refusal = version_refusal(manifest.version, bytes_digest, held_version, held_digest)
    if refusal is not None or manifest.version == held_version:
        return refusal
    if now_us is None:
        return Refusal.NO_CLOCK
    if manifest.version > now_us // 1_000 + VERSION_AHEAD_MS_MAX:
        return Refusal.VERSION_AHEAD
    return Refusal.STALE if now_us > manifest.fresh_until else None


def next_version(last: int, now_us: int) -> int:
    """The version after `last`: milliseconds of database time, never going back. `last` is 0 for a new stream."""
    return max(last + 1, now_us // 1_000)


def area_height(config: SpeakerConfig, stream: StreamName) -> int:
    """How high above the speaker a stream speaks: its own area 0, the one above 1; an overlay zone 0, the speaker -1.

    Raises ValueError for an area that the speaker does not belong to.
    """
    if stream.kind is StreamKind.SPEAKER:
        return -1
    if stream.name in config.overlay:
        return 0
    return len(config.area_chain) - 1 - config.area_chain.index(stream.name)


def _named(keys: KeyDocument) -> Callable[[str], LinkKey | None]:
    return lambda kid: next((key for key in keys.keys if key.kid == kid), None)


def _check_use(key: LinkKey, use: KeyUse) -> None:
    if key.use is not use:
        raise LinkRefused(Refusal.KEY_USE, f"{key.kid} is for {key.use}, not {use}")


def _check_expiry(key: LinkKey, now_us: int | None) -> None:
    if now_us is not None and now_us > key.not_after:
        raise LinkRefused(Refusal.KEY_EXPIRED, key.kid)


def _check_status(manifest: Manifest) -> None:
    use = parse_manifest_topic(manifest.stream).use
    for order in manifest.orders:
        if order.status != use:
            raise LinkRefused(Refusal.STATUS_MISMATCH, order.id)


def _is_mine(stream: StreamName, config: SpeakerConfig) -> bool:
    if stream.kind is StreamKind.SPEAKER:
        return stream.name == config.speaker
    return stream.name in config.area_chain or stream.name in config.overlay


def reaches(key_area: str, stream: StreamName, config: SpeakerConfig) -> bool:
    """Whether the key's subtree contains the stream, as far as the speaker's own chain shows."""
    chain = config.area_chain
    if stream.kind is StreamKind.SPEAKER:
        return key_area in chain or key_area in config.overlay
    if stream.name in chain:
        return key_area in chain[: chain.index(stream.name) + 1]
    # An overlay zone may cross districts: only its own key or one for the whole tree surely contains it.
    return key_area in (stream.name, chain[0])
