"""The duties of one gateway: loops of which one gateway at a time does the work, and the others wait for it."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from ..engine.leases import LOOK_EVERY_US, Duty, DutyLease, DutyLost
from ..engine.ports import Clock, Store, StoreUnavailable

log = structlog.get_logger(__name__)


class Duties:
    """The leases of one process, `holder`, by duty. `told` is told of each duty whether it is held now; `wait` lets so
    many seconds pass."""

    def __init__(
        self,
        store: Store,
        holder: str,
        clock: Clock,
        told: Callable[[Duty, bool], None],
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._leases = {duty: DutyLease(store, duty, holder, clock) for duty in Duty}
        self._told, self._wait = told, wait
        self._waits_for: dict[Duty, str] = {}

    def holds(self, duty: Duty) -> bool:
        """Whether this process had the duty when its loop last looked. May be asked by any thread."""
        return self._leases[duty].held

    def step(
        self,
        duty: Duty,
        step: Callable[[], object],
        able: Callable[[], bool] = lambda: True,
        taken: Callable[[int], None] = lambda before_us: None,
        lost: Callable[[], None] = lambda: None,
        away: Callable[[], None] = lambda: None,
    ) -> bool:
        """One step of the duty's loop, when this process has the duty; whether the next should follow at once.

        `able` says whether this process can do it now: another one that can takes it then. `taken` is told that the
        duty has just been taken, and until when another process had it, µs UTC, 0 for nobody ever; `lost` that it has
        gone to another one; `away` that the database could not be asked. Raises StoreUnavailable."""
        lease = self._leases[duty]
        had = lease.held
        try:
            if lease.hold(able=able()):
                if not had:
                    self._taken(duty)
                    taken(lease.before_us)
                had = True
                with lease.fenced():
                    return bool(step())
        except DutyLost as gone:
            log.debug("nothing was committed", reason=str(gone))
        except StoreUnavailable:
            away()
            raise
        if had:
            log.warning("this gateway has lost a duty to another one", duty=duty.value)
            self._told(duty, False)
            lost()
        self._say_who_has(duty)
        self._wait(LOOK_EVERY_US / 1_000_000)
        return False

    def _taken(self, duty: Duty) -> None:
        log.info("this gateway takes up a duty", duty=duty.value)
        self._waits_for.pop(duty, None)
        self._told(duty, True)

    def _say_who_has(self, duty: Duty) -> None:
        holder = self._leases[duty].holder
        if holder and self._waits_for.get(duty) != holder:
            log.info("this gateway waits for a duty", duty=duty.value, held_by=holder)
            self._waits_for[duty] = holder

    def finish(self, duty: Duty, last: Callable[[], object]) -> None:
        """Do a last thing if this process has the duty or nobody has."""
        lease = self._leases[duty]
        if lease.hold():
            with lease.fenced():
                last()

    def let_go(self) -> None:
        """Others may take every duty at once; call it when no loop runs any more."""
        try:
            for lease in self._leases.values():
                lease.let_go()
        except StoreUnavailable as away:
            log.info("the duties are free when their leases run out", reason=str(away))
