"""The relay: carries saved effects out until they succeed or expire."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .engine import Engine
from .events import EffectGaveUp
from .ports import Conflict, EffectRow, Store

LEASE_US = 5_000_000
CLAIM_MAX = 100
TRIES_MAX = 50
BACKOFF_MAX_US = 30_000_000
CONFLICT_WAIT_US = 5_000


class CarryFailed(Exception):
    """An effect could not be carried out. `again` says whether trying again makes sense."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


class NotYet(Exception):
    """The effect was handed on, and is done only when its result is in the database: look again after `after_us`."""

    def __init__(self, after_us: int) -> None:
        super().__init__(f"{after_us} µs")
        self.after_us = after_us


Carrier = Callable[[EffectRow], None]


class Relay:
    """Claims effects of the kinds it has carriers for, by lease, and works through them in lane order."""

    def __init__(self, store: Store, engine: Engine, carriers: Mapping[str, Carrier], owner: str) -> None:
        self._store = store
        self._engine = engine
        self._carriers = dict(carriers)
        self._owner = owner

    def run(self) -> int:
        """One pass; how many effects were claimed."""
        with self._store.write() as tx:
            claimed = tx.claim(tuple(self._carriers), self._owner, LEASE_US, CLAIM_MAX)
        for effect in claimed:
            self._carry(effect)
        return len(claimed)

    def waiting(self) -> bool:
        """Whether anything can be claimed now, without writing."""
        with self._store.read() as read:
            return read.claimable(tuple(self._carriers))

    def _carry(self, effect: EffectRow) -> None:
        with self._store.read() as read:
            now_us = read.now_us()
        if effect.expires_us is not None and now_us > effect.expires_us:
            self._give_up(effect, "its time ran out")
            return
        try:
            self._carriers[effect.carry](effect)
        except NotYet as later:
            with self._store.write() as tx:
                tx.retry(effect, tx.now_us() + later.after_us, "")
            return
        except Conflict:
            with self._store.write() as tx:
                tx.retry(effect, tx.now_us() + CONFLICT_WAIT_US, "another transaction went first")
            return
        except CarryFailed as failed:
            if not failed.again or effect.tries + 1 >= TRIES_MAX:
                self._give_up(effect, failed.reason)
                return
            with self._store.write() as tx:
                wait_us = min(BACKOFF_MAX_US, 100_000 << min(effect.tries, 12))
                tx.retry(effect, tx.now_us() + wait_us, failed.reason)
            return
        with self._store.write() as tx:
            tx.done(effect)

    def _give_up(self, effect: EffectRow, reason: str) -> None:
        """First the event, so that a crash in between repeats it instead of losing it."""
        self._engine.handle([EffectGaveUp(effect.lane, reason)])
        with self._store.write() as tx:
            tx.done(effect)
