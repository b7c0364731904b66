"""Health of what was given out: whether speakers obey it, and whether our accounts at the broker are ours alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from devices.protocols.documents import KeyUse

from ..domain import taken_accounts
from ..domain.refused_documents import RefusedTopic, headline, what_to_do
from ..engine.air.accounts import AccountsHealth

TOPICS_SAID_MAX = 3


@dataclass(frozen=True, slots=True)
class Said:
    """What a part has to say: whether it is well, whether somebody is warned all the same, and the words."""

    well: bool
    warned: bool
    what: str
    what_zh: str
    do: str
    do_zh: str


def refused(found: Sequence[RefusedTopic], use: KeyUse) -> Said:
    """What speakers refuse of one use: many on one topic are red, a few are a warning. The worst topics are named."""
    mine = sorted((r for r in found if r.use == use), key=lambda r: (not r.many, -r.speakers, r.topic))
    named = mine[:TOPICS_SAID_MAX]
    more, more_zh = ("", "") if len(named) == len(mine) else (" and others", "等")
    words = [headline(r) for r in named]
    well = not any(r.many for r in mine)
    do, do_zh = what_to_do(mine[0]) if mine else ("", "")
    return Said(
        well,
        well and bool(mine),
        "; ".join(english for english, _ in words) + more,
        "；".join(chinese for _, chinese in words) + more_zh,
        do,
        do_zh,
    )


def accounts(found: AccountsHealth) -> Said:
    """Accounts of gateways that somebody else uses."""
    words = [taken_accounts.headline(row.id, row.said) for row in found.taken]
    do, do_zh = taken_accounts.WHAT_TO_DO
    english = "; ".join(english for english, _ in words)
    return Said(not words, False, english, "；".join(chinese for _, chinese in words), do, do_zh)
