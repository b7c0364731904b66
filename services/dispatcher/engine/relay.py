"""The relay: carries saved effects out, each as often and as long as the table of retries says for its kind."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..domain.effects import Carry
from ..domain.retries import RETRIES, Retry, failed_long_enough, late_enough
from .engine import EVENTS_MAX, Engine
from .events import EffectGaveUp
from .ports import Clock, Conflict, Store
from .rows import EffectRow
from .writing import write

LEASE_US = 5_000_000
CLAIM_MAX = 500
"""Effects of one group, and so the most that are under way at once."""
GROUP_US = 500_000
"""How long effects are set under way before those that are get waited for."""
CONFLICT_WAIT_US = 5_000
CONFLICTS_MAX = 5


class CarryFailed(Exception):
    """An effect could not be carried out. `again` says whether trying again makes sense."""

    def __init__(self, reason: str, *, again: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again


class NotYet(Exception):
    """The effect was handed on, and is done only when its result is in the database. That is no failed try: whoever
    has it may be slow, and is given it anew in time."""


Finish = Callable[[], None]
"""Waits for an effect that is under way. It raises what a carrier raises."""

Carrier = Callable[[EffectRow], Finish | None]
"""Carries an effect out, or sets it under way and returns what to wait with. Raises CarryFailed, NotYet or Conflict."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How carrying an effect ended: carried out, or not and to be tried again after `again_us` unless nobody wants it
    any more. `failed` counts failures in a row; `told` says that people are told, and the engine decides."""

    effect: EffectRow
    again_us: int | None = None
    reason: str = ""
    failed: int = 0
    told: bool = False


def ended(effect: EffectRow, why: CarryFailed | NotYet | Conflict, retry: Retry, now_us: int) -> Ended:
    """What becomes of an effect that was not carried out."""
    match why:
        case NotYet():
            assert retry.handed_on_us is not None, f"nobody takes {effect.carry} on"
            # Whatever it waited for since, it was not looked at after this.
            before_us = effect.not_before_us - retry.handed_on_us - effect.wanted_us
            wanted_us = now_us - effect.wanted_us
            reason = f"handed on, and not done {wanted_us // 1_000_000} s after it was wanted"
            return Ended(effect, retry.handed_on_us, reason, told=late_enough(retry, before_us, wanted_us))
        case Conflict():
            return Ended(effect, CONFLICT_WAIT_US, "another transaction went first", effect.tries)
        case CarryFailed() if why.again:
            failed = effect.tries + 1
            return Ended(effect, retry.backoff_us(failed), why.reason, failed, failed_long_enough(retry, failed))
        case CarryFailed():
            return Ended(effect, reason=why.reason, told=True)


class Relay:
    """Claims effects of the kinds it has carriers for, by lease, and works through them in groups.

    A group's effects are set under way one after the other, then all are waited for, and one transaction notes how each
    ended. Whatever cuts this short, an effect that is not noted is carried again when its lease is over.
    """

    def __init__(
        self,
        store: Store,
        engine: Engine,
        carriers: Mapping[str, Carrier],
        owner: str,
        clock: Clock,
        retries: Mapping[Carry, Retry] = RETRIES,
    ) -> None:
        self._retries = retries
        self._store = store
        self._engine = engine
        self._carriers = dict(carriers)
        self._owner = owner
        self._clock = clock

    def run(self) -> int:
        """One pass; how many effects were claimed."""
        with write(self._store) as tx:
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
                ends.append(self._finished(effect, finish, late_us + self._clock.mono_us() - begun_us))
        except Exception:
            # One that breaks must not have the others carried out again.
            self._settle(ends)
            raise
        self._settle(ends)

    def _begin(
        self, effect: EffectRow, late_us: int, under_way: deque[tuple[EffectRow, Finish]], ends: list[Ended]
    ) -> None:
        try:
            if effect.expires_us is not None and _now_us(effect, late_us) > effect.expires_us:
                raise CarryFailed("its time ran out", again=False)
            finish = self._carriers[effect.carry](effect)
        except (NotYet, Conflict, CarryFailed) as why:
            ends.append(self._ended(effect, why, late_us))
            return
        if finish is None:
            ends.append(Ended(effect))
        else:
            under_way.append((effect, finish))

    def _finished(self, effect: EffectRow, finish: Finish, late_us: int) -> Ended:
        """Wait for an effect that is under way and was claimed `late_us` ago."""
        try:
            finish()
        except (NotYet, Conflict, CarryFailed) as why:
            return self._ended(effect, why, late_us)
        return Ended(effect)

    def _ended(self, effect: EffectRow, why: CarryFailed | NotYet | Conflict, late_us: int) -> Ended:
        return ended(effect, why, self._retries[Carry(effect.carry)], _now_us(effect, late_us))

    def _after_telling(self, end: Ended, tried_on: set[str]) -> Ended:
        """What becomes of an effect that people were told of: what is still wanted is tried on, whatever its carrier
        thinks of that."""
        if end.effect.lane not in tried_on:
            return replace(end, again_us=None)
        wait_us = self._retries[Carry(end.effect.carry)].backoff_to_us
        return end if end.again_us is not None else replace(end, again_us=wait_us, failed=end.effect.tries + 1)

    def _settle(self, ends: Sequence[Ended]) -> None:
        """Note how a group's effects ended. First the events of those that people are told of, so that a crash in
        between repeats them instead of losing them."""
        told = [EffectGaveUp(end.effect.lane, end.reason, end.again_us is not None) for end in ends if end.told]
        tried_on: set[str] = set()
        for start in range(0, len(told), EVENTS_MAX):
            tried_on.update(self._engine.handle(told[start : start + EVENTS_MAX]).tried_on)
        ends = [self._after_telling(end, tried_on) if end.told else end for end in ends]
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
        with write(self._store) as tx:
            tx.done(*(end.effect for end in ends if end.again_us is None))
            for end in ends:
                if end.again_us is not None:
                    tx.retry(end.effect, tx.now_us() + end.again_us, end.reason, end.failed)


def _now_us(effect: EffectRow, late_us: int) -> int:
    """The store's time, `late_us` after the effect was claimed."""
    return effect.leased_until_us - LEASE_US + late_us
