"""The relay: carries saved effects out until they succeed or expire."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .engine import EVENTS_MAX, Engine
from .events import EffectGaveUp
from .ports import Clock, Conflict, EffectRow, Store

LEASE_US = 5_000_000
CLAIM_MAX = 500
"""Effects of one group, and so the most that are under way at once."""
GROUP_US = 500_000
"""How long effects are set under way before those that are get waited for."""
TRIES_MAX = 50
BACKOFF_MAX_US = 30_000_000
CONFLICT_WAIT_US = 5_000
CONFLICTS_MAX = 5


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


Finish = Callable[[], None]
"""Waits for an effect that is under way. It raises what a carrier raises."""

Carrier = Callable[[EffectRow], Finish | None]
"""Carries an effect out, or sets it under way and returns what to wait with. Raises CarryFailed, NotYet or Conflict."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How carrying an effect ended: carried out or given up, or to be tried again after `again_us`."""

    effect: EffectRow
    again_us: int | None = None
    reason: str = ""
    given_up: bool = False


def ended(effect: EffectRow, why: CarryFailed | NotYet | Conflict) -> Ended:
    """What becomes of an effect that was not carried out."""
    match why:
        case NotYet():
            return Ended(effect, why.after_us)
        case Conflict():
            return Ended(effect, CONFLICT_WAIT_US, "another transaction went first")
        case CarryFailed() if why.again and effect.tries + 1 < TRIES_MAX:
            return Ended(effect, min(BACKOFF_MAX_US, 100_000 << min(effect.tries, 12)), why.reason)
        case CarryFailed():
            return Ended(effect, reason=why.reason, given_up=True)


class Relay:
    """Claims effects of the kinds it has carriers for, by lease, and works through them in groups.

    A group's effects are set under way one after the other, then all are waited for, and one transaction notes how each
    ended. Whatever cuts this short, an effect that is not noted is carried again when its lease is over.
    """

    def __init__(self, store: Store, engine: Engine, carriers: Mapping[str, Carrier], owner: str, clock: Clock) -> None:
        self._store = store
        self._engine = engine
        self._carriers = dict(carriers)
        self._owner = owner
        self._clock = clock

    def run(self) -> int:
        """One pass; how many effects were claimed."""
        with self._store.write() as tx:
            claimed = tx.claim(tuple(self._carriers), self._owner, LEASE_US, CLAIM_MAX)
        claimed_us = self._clock.mono_us()
        left = deque(claimed)
        # What the lease is too short for is claimed anew, by whoever comes first.
        while left and (late_us := self._clock.mono_us() - claimed_us) < LEASE_US:
            self._group(left, late_us)
        return len(claimed)

    def waiting(self) -> bool:
        """Whether anything can be claimed now, without writing."""
        with self._store.read() as read:
            return read.claimable(tuple(self._carriers))

    def _group(self, left: deque[EffectRow], late_us: int) -> None:
        """Carry out the next effects of those claimed `late_us` ago; at least one."""
        under_way: deque[tuple[EffectRow, Finish]] = deque()
        ends: list[Ended] = []
        begun_us = self._clock.mono_us()
        try:
            while left and (spent_us := self._clock.mono_us() - begun_us) < GROUP_US:
                self._begin(left.popleft(), late_us + spent_us, under_way, ends)
            while under_way:
                effect, finish = under_way.popleft()
                ends.append(_finished(effect, finish))
        except Exception:
            # One that breaks must not have the others carried out again.
            self._settle(ends)
            raise
        self._settle(ends)

    def _begin(
        self, effect: EffectRow, late_us: int, under_way: deque[tuple[EffectRow, Finish]], ends: list[Ended]
    ) -> None:
        now_us = effect.leased_until_us - LEASE_US + late_us
        try:
            if effect.expires_us is not None and now_us > effect.expires_us:
                raise CarryFailed("its time ran out", again=False)
            finish = self._carriers[effect.carry](effect)
        except (NotYet, Conflict, CarryFailed) as why:
            ends.append(ended(effect, why))
            return
        if finish is None:
            ends.append(Ended(effect))
        else:
            under_way.append((effect, finish))

    def _settle(self, ends: Sequence[Ended]) -> None:
        """Note how a group's effects ended. First the events of those given up, so that a crash in between repeats
        them instead of losing them."""
        gave_up = [EffectGaveUp(end.effect.lane, end.reason) for end in ends if end.given_up]
        for start in range(0, len(gave_up), EVENTS_MAX):
            self._engine.handle(gave_up[start : start + EVENTS_MAX])
        # By lane, so that two writers hold rows in one order.
        in_order = sorted(ends, key=lambda end: end.effect.lane)
        for _ in range(CONFLICTS_MAX - 1):
            try:
                self._note(in_order)
            except Conflict:
                continue
            return
        self._note(in_order)

    def _note(self, ends: Sequence[Ended]) -> None:
        if not ends:
            return
        with self._store.write() as tx:
            tx.done(*(end.effect for end in ends if end.again_us is None))
            for end in ends:
                if end.again_us is not None:
                    tx.retry(end.effect, tx.now_us() + end.again_us, end.reason)


def _finished(effect: EffectRow, finish: Finish) -> Ended:
    try:
        finish()
    except (NotYet, Conflict, CarryFailed) as why:
        return ended(effect, why)
    return Ended(effect)
