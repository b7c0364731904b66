"""Versions of speakers' configs: two documents with other content, or signed by another key, never have one version.

A speaker that holds a version refuses other bytes under it. What a config says depends on more than the speaker's row:
on its venue, the settings of the gateway and the key that signs. So the row keeps a digest of what was said last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace

from devices.protocols import document_json
from devices.protocols.documents import SpeakerConfig

from ..domain.effects import Carry, Record, Save
from ..domain.places import Speaker
from .ports import Store, Tx
from .rows import Live
from .writing import write

AHEAD_MS_MAX = 10 * 365 * 86_400_000
"""A speaker that says it holds a version further ahead of the time is broken, and is not followed there."""


def newer_version(version: int, now_us: int) -> int:
    """The next version of a config: milliseconds, so that a restored backup does not make versions that speakers have
    left behind, and always above the last, whatever became of the clock."""
    return max(version + 1, now_us // 1_000)


def content_digest(config: SpeakerConfig, kid: str) -> str:
    """What tells two configs of a speaker apart, whatever their versions: the content and the key that signs it."""
    return hashlib.sha256(document_json.encode(replace(config, version=0)) + kid.encode()).hexdigest()


def settle_versions(store: Store, digests: Mapping[str, str]) -> dict[str, int]:
    """The version under which each speaker is told what its digest stands for. Where it was told something else under
    its present version, that is a new one, and it is asked for to be published."""
    versions: dict[str, int] = {}
    with write(store) as tx:
        now_us = tx.now_us()
        # In the order of their ids, so that two transactions never wait for each other in a circle.
        for id in sorted(digests):
            row = tx.get_locked(Speaker, id)
            if row is None:
                continue
            if row.config_digest != digests[id]:
                if row.config_digest:
                    row = replace(row, config_version=newer_version(row.config_version, now_us))
                    tx.save(Save(Carry.PUBLISH_CONFIG, id))
                tx.put(replace(row, config_digest=digests[id]))
            versions[id] = row.config_version
    return versions


def publish_again(store: Store, speakers: Iterable[str]) -> None:
    """Ask for these speakers' configs to be published: the broker has lost them."""
    with write(store) as tx:
        for id in sorted(speakers):
            tx.save(Save(Carry.PUBLISH_CONFIG, id))


def compare_with_held(tx: Tx, live: Live) -> None:
    """Ask for a speaker's config to be published where it holds another version. One that was never given out here is
    from a time that this database has lost, and ours goes above it: the speaker takes nothing older."""
    speaker = tx.get(Speaker, live.id)
    if speaker is None or live.config_version == speaker.config_version:
        return
    if live.config_version > speaker.config_version:
        if live.config_version > tx.now_us() // 1_000 + AHEAD_MS_MAX:
            return
        row = tx.get_locked(Speaker, live.id)
        assert row is not None
        above = newer_version(max(row.config_version, live.config_version), tx.now_us())
        tx.put(replace(row, config_version=above, config_digest=""))
        why = "it holds a config that was never given out here: a newer one is published"
        tx.record(Record("speaker.config_unknown", live.id, why, facts={"held": live.config_version, "config": above}))
    tx.save(Save(Carry.PUBLISH_CONFIG, live.id))
