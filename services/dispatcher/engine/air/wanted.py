"""Who still wants words rendered: broadcasts that may yet sound, and standing orders. Read once in a transaction."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...domain.broadcasts import Broadcast, BroadcastState
from ...domain.planning import City
from ...domain.playbook import Playbook
from ..ports import Page, Read
from ..rows import Wording
from . import staging

BROADCASTS_MAX = 1_000
MAY_SOUND = (BroadcastState.DRAFT, BroadcastState.HELD, BroadcastState.ON_AIR, BroadcastState.STOPPED)


@dataclass(frozen=True, slots=True)
class WantedWords:
    """`by` are the ids of the broadcasts that want a wording, `standing` the (language, text) of standing orders."""

    by: dict[str, tuple[str, ...]]
    standing: set[tuple[str, str]]

    def wanted(self, wording: Wording) -> bool:
        return wording.id in self.by or (wording.lang, wording.text) in self.standing


def wanted_words(read: Read, city: City, playbooks: Iterable[Playbook]) -> WantedWords:
    """What is wanted now."""
    by: dict[str, tuple[str, ...]] = {}
    found = {b.id: b for b in read.find(Broadcast, Page(limit=BROADCASTS_MAX, order="-id"), state=MAY_SOUND)}
    over = {original: _over(read, original) for original in {b.original for b in found.values()} - {*found, ""}}
    for b in found.values():
        if over.get(b.original) and not b.on_manifest:
            continue
        for wording in b.wordings.values():
            by[wording] = (*by.get(wording, ()), b.id)
    return WantedWords(by, staging.said(city, playbooks))


def _over(read: Read, alert: str) -> bool:
    """Whether an alert that may not sound any more is no longer held by speakers either, so that nobody waits for its
    correction or all-clear."""
    row = read.get(Broadcast, alert)
    return row is None or not row.on_manifest or row.expires_us <= read.now_us()
