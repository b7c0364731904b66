"""Polled feeds in the store: a due timer becomes a saved errand, and what came of it moves the feed's row on.

The row is the errand's result: `Poll.asked` holds until the server's answer is settled, or is known not to come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace

from ...domain import polling
from ...domain.effects import Save
from ...domain.polling import Poll, PollEffect
from ...domain.signals import Feed
from ..events import PollTold
from ..transaction import Work


def due(work: Work, id: str) -> None:
    """Time to ask. A feed that is switched off is not asked, and stands in line all the same."""
    poll = work.tx.get_locked(Poll, id)
    feed = work.tx.get(Feed, id)
    if poll is None or feed is None:
        return
    after, effects = polling.decide(poll, polling.PollDue(draw(id, work.tx.now_us())), work.tx.now_us())
    if not feed.enabled:
        after = replace(after, asked=False)
        effects = [effect for effect in effects if not isinstance(effect, Save)]
    _put(work, after, effects)


def told(work: Work, event: PollTold) -> None:
    """What the worker found out."""
    poll = work.tx.get_locked(Poll, event.poll)
    if poll is not None:
        _put(work, *polling.decide(poll, event.event, work.tx.now_us()))


def _put(work: Work, poll: Poll, effects: Iterable[PollEffect]) -> None:
    work.tx.put(poll)
    work.run(effects)


def draw(id: str, now_us: int) -> float:
    """A number from 0 to 1 that spreads the feeds; decisions draw nothing by chance."""
    return int.from_bytes(hashlib.sha256(f"{id}/{now_us}".encode()).digest()[:4]) / 2**32
