"""Signed documents as they arrive: which are accepted, which wait for a key, config or clock, and which are refused.

The newest bytes of a refused document are kept, because it may be good once its key or the clock arrives.
"""

from __future__ import annotations

from dataclasses import replace

from devices.protocols import jws
from devices.protocols.documents import (
    CONFIG_BYTES_MAX,
    MANIFEST_BYTES_MAX,
    LinkKey,
    Manifest,
    SpeakerConfig,
)
from devices.protocols.refusals import LinkRefused, Refusal
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    StreamKind,
    area_manifests,
    ask_topic,
    config_topic,
    digest,
    freshness_refusal,
    hello_answer_topic,
    parse_manifest_topic,
    read_config,
    read_keys,
    read_manifest,
    roots_after,
    speaker_manifests,
    version_refusal,
)
from devices.speaker import events as e
from devices.speaker import hello, receipts
from devices.speaker.claims import Claim, HeldManifest, Papers, held_text, held_with, highest, packed, recounted, stands
from devices.speaker.standing import retarget, take, take_back
from devices.speaker.state import STREAMS_MAX, without
from devices.speaker.turn import Turn

_HELLO_REASONS = {Refusal.STALE, Refusal.VERSION_BACK, Refusal.VERSION_AHEAD}


def filters(speaker: str, config: SpeakerConfig | None) -> tuple[str, ...]:
    """What a speaker subscribes to: its own branches and, once it knows them, the streams of its areas."""
    own = (
        KEYS_TOPIC,
        config_topic(speaker),
        hello_answer_topic(speaker),
        ask_topic(speaker),
        speaker_manifests(speaker),
    )
    return own + (() if config is None else tuple(area_manifests(area) for area in config.area_chain + config.overlay))


def take_keys(t: Turn, raw: bytes) -> None:
    """A key document: the newest one that the root signed is held, and everything is read again with it. No claim of a
    key that may not make it any more stands from now on."""
    papers = t.papers
    if not raw:
        return receipts.refuse_document(t, KEYS_TOPIC, 0, Refusal.EMPTY_PAYLOAD)
    found = digest(raw)
    if found == papers.keys_digest:
        return None
    try:
        keys = read_keys(raw, papers.root, papers.next_root, t.now_us if t.clock.verified else None)
    except LinkRefused as refused:
        return receipts.refuse_document(t, KEYS_TOPIC, 0, refused.reason)
    held = papers.keys.version if papers.keys else None
    refusal = version_refusal(keys.version, found, held, papers.keys_digest)
    if refusal is not None:
        return receipts.refuse_document(t, KEYS_TOPIC, keys.version, refusal)
    root, next_root = roots_after(raw, keys, papers.root, papers.next_root)
    t.papers = recounted(replace(papers, root=root, next_root=next_root, keys=keys, keys_digest=found))
    t.fact("doc", "keys", raw.decode())
    t.fact("doc", "roots", packed([_plain(root), _plain(next_root) if next_root else None]))
    receipts.refusals_settled(t, KEYS_TOPIC)
    receipts.state_changed(t)
    if not t.clock.verified:
        hello.soon(t)
    reread(t)
    return None


def take_config(t: Turn, raw: bytes) -> None:
    """The speaker's own config; it waits when its key is not there yet."""
    if not raw:
        return receipts.refuse_document(t, config_topic(t.speaker), 0, Refusal.EMPTY_PAYLOAD)
    if len(raw) > CONFIG_BYTES_MAX:
        return receipts.refuse_document(t, config_topic(t.speaker), 0, Refusal.OVER_CAP)
    if digest(raw) == t.papers.config_digest:
        t.papers = replace(t.papers, config_waiting=b"")
        return None
    t.papers = replace(t.papers, config_waiting=raw)
    if _read_config(t):
        _reread_manifests(t)
    return None


def take_manifest(t: Turn, topic: str, raw: bytes) -> None:
    """A manifest of one stream. Freshness is tested now, and again only if it was refused."""
    try:
        parse_manifest_topic(topic)
    except LinkRefused:
        return None  # No stream of ours can have this name; the subscription's wildcard let it through.
    if not raw:
        return receipts.refuse_document(t, topic, 0, Refusal.EMPTY_PAYLOAD)
    if len(raw) > MANIFEST_BYTES_MAX:
        return receipts.refuse_document(t, topic, 0, Refusal.OVER_CAP)
    held = t.papers.streams.get(topic)
    if held is not None and held.digest == digest(raw) and held.raw:
        t.papers = replace(t.papers, waiting=without(t.papers.waiting, topic))
        return None
    known = t.papers.waiting.get(topic) == raw
    waiting = {**without(t.papers.waiting, topic), topic: raw}
    if len(waiting) > STREAMS_MAX:
        waiting = without(waiting, next(iter(waiting)))
    t.papers = replace(t.papers, waiting=waiting)
    # The same stale bytes once more are no news: the hello that they asked for has gone out.
    if _read_manifest(t, topic, known) in _HELLO_REASONS and not known:
        hello.doubted(t)
    return None


def reread(t: Turn) -> None:
    """Keys, config or clock changed: what was refused is read again, and authority over orders is judged again."""
    _read_config(t)
    _reread_manifests(t)


def _reread_manifests(t: Turn) -> None:
    for topic in tuple(t.papers.waiting):
        _read_manifest(t, topic)
    for topic, held in t.papers.streams.items():
        if held.raw:
            _claim_again(t, topic, held)
    take_back(t)


def _claim_again(t: Turn, topic: str, held: HeldManifest) -> None:
    """An order that its stream had no right to change may be its to change under the new keys or config."""
    papers = t.papers
    if papers.keys is None or papers.config is None:
        return
    try:
        manifest = read_manifest(held.raw, topic, papers.keys, papers.config, None)
    except LinkRefused:
        return  # The key has lost its right to this stream since; the orders stand until withdrawn or expired.
    _take_orders(t, manifest, held.claim._replace(scope=_signer(t, held.raw).area))


def _read_config(t: Turn) -> bool:
    papers = t.papers
    raw, topic = papers.config_waiting, config_topic(t.speaker)
    if not raw or papers.keys is None:
        return False
    try:
        config = read_config(raw, t.speaker, papers.keys, t.now_us if t.clock.verified else None, _judge(papers))
    except LinkRefused as refused:
        receipts.refuse_document(t, topic, 0, refused.reason)
        return False
    held = highest(papers, papers.configs)
    refusal = version_refusal(
        config.version, digest(raw), held.version if held else None, held.digest if held else None
    )
    if refusal is not None:
        receipts.refuse_document(t, topic, config.version, refusal)
        return False
    before = filters(t.speaker, papers.config)
    signer = _signer(t, raw)
    configs = held_with(
        papers, papers.configs, HeldManifest(Claim(signer.x, "", signer.area), config.version, digest(raw))
    )
    taken = replace(papers, config=config, config_digest=digest(raw), config_waiting=b"", configs=configs)
    t.papers = recounted(taken)
    t.fact("doc", "config", raw.decode())
    t.fact("doc", "configs", held_text(configs))
    _move(t, before, filters(t.speaker, config))
    receipts.refusals_settled(t, topic)
    receipts.state_changed(t)
    retarget(t)
    return True


def _judge(papers: Papers) -> SpeakerConfig | None:
    """The config that says where this speaker is. One whose claim does not stand judges none: its key may have been
    stolen, and then the city's next config is to put the speaker back where it stands."""
    held = next((held for held in papers.configs if held.digest == papers.config_digest), None)
    return papers.config if held is not None and stands(papers, held.claim) else None


def _move(t: Turn, before: tuple[str, ...], after: tuple[str, ...]) -> None:
    """Streams off the new chain are forgotten; the orders that they brought are kept by id."""
    gone = tuple(topic for topic in before if topic not in after)
    new = tuple(topic for topic in after if topic not in before)
    if t.mail.connected:
        if gone:
            t.effect(e.Unsubscribe(gone))
        if new:
            t.effect(e.Subscribe(new))
    assert t.papers.config is not None
    areas = t.papers.config.area_chain + t.papers.config.overlay
    off = [topic for topic in (*t.papers.accepted, *t.papers.waiting) if not _on_chain(topic, areas)]
    for topic in off:
        accepted, waiting = without(t.papers.accepted, topic), without(t.papers.waiting, topic)
        t.papers = recounted(replace(t.papers, accepted=accepted, waiting=waiting))
        t.fact("stream", topic, None)
        receipts.refusals_settled(t, topic)


def _on_chain(topic: str, areas: tuple[str, ...]) -> bool:
    stream = parse_manifest_topic(topic)
    return stream.kind is StreamKind.SPEAKER or stream.name in areas


def _read_manifest(t: Turn, topic: str, known: bool = True) -> Refusal | None:
    """Try the waiting bytes of a stream. They stay waiting unless accepted; None also while something is missing.

    A clock that no hello has verified in this run judges nothing: the answer is a moment away while the link is up.
    """
    papers, now_us = t.papers, t.now_us
    raw = papers.waiting[topic]
    if papers.keys is None or papers.config is None or now_us is None or not t.clock.verified:
        return None
    held = papers.streams.get(topic)
    try:
        manifest = read_manifest(raw, topic, papers.keys, papers.config, now_us)
    except LinkRefused as refused:
        return _refused(t, topic, 0, refused.reason)
    if not known:
        hello.issued_ahead(t, manifest.issued)
    refusal = freshness_refusal(
        manifest, now_us, held.version if held else None, held.digest if held else None, digest(raw)
    )
    if refusal is not None:
        return _refused(t, topic, manifest.version, refusal)
    if topic not in papers.accepted and not _room(t):
        return _refused(t, topic, manifest.version, Refusal.OVER_CAP)
    _accept(t, topic, raw, manifest)
    return None


def _room(t: Turn) -> bool:
    """Whether one more stream may be held. One on which only removed keys have spoken gives way."""
    accepted = t.papers.accepted
    gone = next((topic for topic in accepted if topic not in t.papers.streams), None)
    if len(accepted) >= STREAMS_MAX and gone is not None:
        t.papers = replace(t.papers, accepted=without(accepted, gone))
        t.fact("stream", gone, None)
    return len(t.papers.accepted) < STREAMS_MAX


def _refused(t: Turn, topic: str, version: int, reason: Refusal) -> Refusal:
    receipts.refuse_document(t, topic, version, reason)
    return reason


def _accept(t: Turn, topic: str, raw: bytes, manifest: Manifest) -> None:
    signer = _signer(t, raw)
    held = HeldManifest(Claim(signer.x, topic, signer.area), manifest.version, digest(raw), manifest.chain_head, raw)
    of_stream = held_with(t.papers, t.papers.accepted.get(topic, ()), held)
    accepted, waiting = {**t.papers.accepted, topic: of_stream}, without(t.papers.waiting, topic)
    t.papers = recounted(replace(t.papers, accepted=accepted, waiting=waiting))
    t.fact("stream", topic, held_text(of_stream))
    receipts.refusals_settled(t, topic)
    receipts.state_changed(t)
    _take_orders(t, manifest, held.claim)


def _take_orders(t: Turn, manifest: Manifest, claim: Claim) -> None:
    for refusal in take(t, manifest, claim):
        receipts.refuse_document(t, manifest.stream, manifest.version, refusal)


def _signer(t: Turn, raw: bytes) -> LinkKey:
    """The key that `read_manifest` has just verified these bytes with."""
    assert t.papers.keys is not None
    kid = jws.header(raw).kid
    return next(key for key in t.papers.keys.keys if key.kid == kid)


def _plain(key: LinkKey) -> dict[str, object]:
    return {name: getattr(key, name) for name in key.__slots__}
