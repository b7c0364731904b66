"""What signed documents claim, and whether it still stands: the one place that asks what a key may sign.

Values only. Whatever a claim causes keeps it, and asks `stands` again whenever it is to count.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from devices.protocols.documents import KeyDocument, KeyUse, LinkKey, SpeakerConfig
from devices.protocols.speaker_link import reaches
from devices.protocols.topics import parse_manifest_topic


class Claim(NamedTuple):
    """Who says something, and about what: the public half of the signing key, the stream ("" for a config), the area
    that the key covered when it signed, and of one order its level and its name in the book. Everything that a claim
    causes keeps it, so that `stands` can take all of it back when the key may not sign that any more."""

    x: str
    stream: str = ""
    scope: str = ""
    level: int = 0
    order: str = ""


@dataclass(frozen=True, slots=True)
class HeldManifest:
    """The highest manifest of a stream, or the highest config, that was accepted under one key. `raw` is only there for
    the manifest that was accepted last on its stream, and not after a restart: its orders are in the journal."""

    claim: Claim
    version: int
    digest: bytes
    chain_head: str = ""
    raw: bytes = b""


@dataclass(frozen=True, slots=True)
class Papers:
    """The signed documents: accepted ones, and the newest bytes of those that cannot be accepted yet.

    `accepted` holds per stream the highest manifest of each key. `streams` follows from it and from `keys`: per stream
    the highest one whose claim stands. `configs` holds the highest config of each key. `said` holds per topic the
    (version, reason) pairs whose refusal has been receipted.
    """

    root: LinkKey
    next_root: LinkKey | None = None
    keys: KeyDocument | None = None
    keys_digest: bytes = b""
    config: SpeakerConfig | None = None
    config_digest: bytes = b""
    config_waiting: bytes = b""
    configs: tuple[HeldManifest, ...] = ()
    accepted: dict[str, tuple[HeldManifest, ...]] = field(default_factory=dict)
    streams: dict[str, HeldManifest] = field(default_factory=dict)
    waiting: dict[str, bytes] = field(default_factory=dict)
    said: dict[str, tuple[tuple[int, str], ...]] = field(default_factory=dict)


def stands(papers: Papers, claim: Claim) -> bool:
    """Whether a claim still counts under the papers held: its key is listed, for this stream, and for orders of this
    level on it. A key that was narrowed or moved stands no longer behind what it may not sign now.

    A key that is past its `not_after` is listed still, so that nothing falls back when a key expires. A key that still
    covers the area that it covered when it signed stands, wherever the speaker has moved since.
    """
    keys, config = papers.keys, papers.config
    key = None if keys is None else next((key for key in keys.keys if key.x == claim.x), None)
    if key is None:
        return False
    if not claim.stream:
        wider = config is not None and contains(config, key.area, claim.scope)
        return key.use is KeyUse.CONFIG and (key.area == claim.scope or wider)
    stream = parse_manifest_topic(claim.stream)
    there = config is None or key.area == claim.scope or reaches(key.area, stream, config)
    return (
        there
        and (key.use, key.issuer) == (stream.use, stream.issuer)
        and (not claim.level or claim.level in key.levels)
    )


def contains(config: SpeakerConfig | None, outer: str, inner: str) -> bool:
    """Whether area `outer` contains area `inner`, as far as the speaker's own chain shows."""
    if config is None or outer == inner:
        return outer == inner
    chain = config.area_chain
    if outer not in chain:
        return False
    if inner in config.overlay:
        return outer == chain[0]
    return inner in chain and chain.index(outer) <= chain.index(inner)


def recounted(papers: Papers) -> Papers:
    """The papers after `keys`, `config` or `accepted` changed: no version counts whose claim does not stand."""
    found = {topic: highest(papers, of) for topic, of in papers.accepted.items()}
    return replace(papers, streams={topic: held for topic, held in found.items() if held is not None})


def highest(papers: Papers, documents: Iterable[HeldManifest]) -> HeldManifest | None:
    """The highest of these that stands, None where none does."""
    return max((h for h in documents if stands(papers, h.claim)), key=lambda h: h.version, default=None)


def held_with(papers: Papers, documents: tuple[HeldManifest, ...], new: HeldManifest) -> tuple[HeldManifest, ...]:
    """What is kept when another document is accepted: the highest version under each listed key, and the highest under
    a removed one, which counts again if that key was removed by mistake and is listed once more."""
    others = [replace(h, raw=b"") for h in documents if h.claim.x != new.claim.x]
    removed = sorted((h for h in others if not stands(papers, h.claim)), key=lambda h: h.version)[:-1]
    return (*(h for h in others if h not in removed), new)


def held_text(documents: tuple[HeldManifest, ...]) -> str:
    """A fact: claim, version, digest and chain head under each key."""
    return packed([[h.claim, h.version, h.digest.hex(), h.chain_head] for h in documents])


def held_of(text: str) -> tuple[HeldManifest, ...]:
    """Raises ValueError, TypeError or AttributeError when the fact is in another form, as the readers below."""
    found = json.loads(text)
    return tuple(
        HeldManifest(claim_of(claim), int(version), bytes.fromhex(d), str(head)) for claim, version, d, head in found
    )


def claim_of(members: Any) -> Claim:
    """A claim as JSON holds it."""
    x, stream, scope, level, order = members
    if stream:
        parse_manifest_topic(stream)
    return Claim(str(x), str(stream), str(scope), int(level), str(order))


_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def packed(value: object) -> str:
    """A JSON text in one form, so that equal values are equal bytes."""
    return _encode(value)
