"""Leases: a name is held by one process at a time, and is free again when its holder no longer renews."""

from __future__ import annotations

from .clock import APART_US
from .ports import Store
from .rows import Lease
from .writing import write

GATEWAY_PREFIX = "gw-"
"""The client ids of gateways, which are the names of their leases, begin with it."""
GATEWAY_LEASE_US = 3_000_000
"""How long a gateway holds its client id without renewing."""


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


def held_until_us(store: Store, name: str) -> int:
    """Until when somebody has held this name, µs UTC; 0 for never."""
    with store.read() as read:
        lease = read.get(Lease, name)
    return 0 if lease is None else lease.until_us


def hold(store: Store, name: str, holder: str, lease_us: int) -> bool:
    """Take or renew a name; False while somebody else holds it."""
    with write(store) as tx:
        tx.lock(f"lease/{name}")
        now_us = tx.now_us()
        lease = tx.get_locked(Lease, name)
        if lease is not None and lease.holder != holder and is_held(lease, now_us, lease_us):
            return False
        tx.put(Lease(name, holder, now_us + lease_us))
        return True
