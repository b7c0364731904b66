"""Leases: a name is held by one process at a time, and is free again when its holder no longer renews.

A duty is a name under which one gateway at a time does something for the whole city. The loop that commits for a duty
renews its lease, and nobody else does; every commit of it checks the lease's fencing number, so that a gateway which
was frozen, and has lost the duty meanwhile, commits nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum

from .clock import APART_US
from .ports import Clock, Store, StoreUnavailable, Tx
from .rows import Lease
from .writing import checked, write

GATEWAY_PREFIX = "gw-"
"""The client ids of gateways, which are the names of their leases, begin with it; so do the accounts of duties."""
GATEWAY_LEASE_US = 3_000_000
"""How long a gateway holds its client id, and most duties, without renewing."""
SLOW_LEASE_US = 8_000_000
LOOK_EVERY_US = 250_000
"""How often a process that waits for a duty looks whether it is free."""


class Duty(StrEnum):
    """What one gateway at a time does, by the name of its lease."""

    RECEIPTS = "duty/receipts"
    SENSORS = "duty/sensors"
    TIMERS = "duty/timers"
    CHAINING = "duty/chaining"
    STAGING = "duty/staging"
    RECONCILING = "duty/reconciling"
    COMPARING = "duty/comparing"


SLOW = (Duty.STAGING, Duty.RECONCILING, Duty.COMPARING)
"""They work long between two commits, or wait for the broker, and nobody is in danger while they rest."""


class DutyLost(StoreUnavailable):
    """Another process holds this duty now: nothing was committed."""


def gateway_client(number: int) -> str:
    """The client id of one gateway."""
    return f"{GATEWAY_PREFIX}{number}"


WRITE_PROOF = "write-proof"
"""Held by nobody: whoever wants to know whether the database can be written writes this row."""


def prove_write(store: Store) -> None:
    """Commit something tiny. Raises StoreUnavailable when the database can't be written."""
    with write(store) as tx:
        tx.put(Lease(WRITE_PROOF, "", tx.now_us()))


def is_held(lease: Lease, now_us: int, lease_us: int = GATEWAY_LEASE_US) -> bool:
    """Whether somebody holds this name now. Nobody holds one for longer than a lease lasts: what says so was written
    by a wrong clock."""
    return 0 < lease.until_us - now_us <= lease_us + APART_US


def hold(store: Store, name: str, holder: str, lease_us: int) -> Lease:
    """Take or renew a name; its lease as it is then, which is somebody else's where another process holds the name."""
    with write(store) as tx:
        tx.lock(f"lease/{name}")
        now_us = tx.now_us()
        lease = tx.get_locked(Lease, name) or Lease(name, "", 0)
        if lease.holder != holder and is_held(lease, now_us, lease_us):
            return lease
        fence = lease.fence if lease.holder == holder else lease.fence + 1
        taken = Lease(name, holder, now_us + lease_us, fence)
        tx.put(taken)
        return taken


def give_back(store: Store, name: str, holder: str) -> Lease:
    """Others may take the name at once, if this process still holds it; its lease as it is then."""
    with write(store) as tx:
        lease = tx.get_locked(Lease, name) or Lease(name, "", 0)
        if lease.holder == holder:
            lease = replace(lease, until_us=tx.now_us())
            tx.put(lease)
        return lease


class DutyLease:
    """A duty, as one process has it or waits for it. One thread drives it: the loop that commits for the duty."""

    def __init__(self, store: Store, duty: Duty, holder: str, clock: Clock) -> None:
        """`holder` names the process; no other process has ever had this name."""
        self.duty = duty
        self.lease_us = SLOW_LEASE_US if duty in SLOW else GATEWAY_LEASE_US
        self._store, self._holder, self._clock = store, holder, clock
        self._lease = Lease(duty, "", 0)
        self._able = True
        self._again_us: int | None = None
        self.before_us = 0

    @property
    def held(self) -> bool:
        """Whether this process held the duty when it last looked. May be asked by any thread."""
        return self._lease.holder == self._holder

    @property
    def holder(self) -> str:
        """Who had the duty at the last look; empty for nobody."""
        return self._lease.holder

    def hold(self, *, able: bool = True) -> bool:
        """Take the duty if it is free, renew it if a third of its lease is over; whether this process has it.

        A process that is not `able` to do it now takes nothing, and keeps what it has until another one takes it.
        `before_us` is then until when another one had it before, µs UTC, 0 for nobody ever."""
        mono_us = self._clock.mono_us()
        if self._again_us is None or mono_us >= self._again_us or able is not self._able:
            self._able = able
            if not self.held:
                self._take_if_free()
            elif able:
                self._lease = hold(self._store, self.duty, self._holder, self.lease_us)
            else:
                self._lease = give_back(self._store, self.duty, self._holder)
            self._again_us = mono_us + (self.lease_us // 3 if self.held else LOOK_EVERY_US)
        return self.held

    def _take_if_free(self) -> None:
        with self._store.read() as read:
            self._lease = read.get(Lease, self.duty) or Lease(self.duty, "", 0)
            free = not is_held(self._lease, read.now_us(), self.lease_us)
        if free and self._able:
            self.before_us = self._lease.until_us
            self._lease = hold(self._store, self.duty, self._holder, self.lease_us)

    @contextmanager
    def fenced(self) -> Iterator[None]:
        """What this thread commits in the block is committed while this process has the duty, or raises DutyLost."""
        try:
            with checked(self._check):
                yield
        except DutyLost:
            self._lease, self._again_us = Lease(self.duty, "", 0), None
            raise

    def _check(self, tx: Tx) -> None:
        """Holds the row to the end of the transaction: nobody takes the duty before it is committed."""
        lease = tx.get_locked(Lease, self.duty)
        if lease is None or (lease.holder, lease.fence) != (self._holder, self._lease.fence):
            raise DutyLost(f"{self.duty} is held by {lease.holder if lease is not None else 'nobody'}")
        until_us = tx.now_us() + self.lease_us
        if self._able and until_us - lease.until_us >= self.lease_us // 3:
            tx.put(replace(lease, until_us=until_us))

    def let_go(self) -> None:
        """Others may take it at once, and this process forgets it. Raises StoreUnavailable."""
        if self.held:
            give_back(self._store, self.duty, self._holder)
        self._lease, self._again_us = Lease(self.duty, "", 0), None
