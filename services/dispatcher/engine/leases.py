"""Leases: a name is held by one process at a time, and is free again when its holder no longer renews."""

from __future__ import annotations

from .ports import Lease, Store


def held_until_us(store: Store, name: str) -> int:
    """Until when somebody has held this name, µs UTC; 0 for never."""
    with store.read() as read:
        lease = read.get(Lease, name)
    return 0 if lease is None else lease.until_us


def hold(store: Store, name: str, holder: str, lease_us: int) -> bool:
    """Take or renew a name; False while somebody else holds it."""
    with store.write() as tx:
        tx.lock(f"lease/{name}")
        now_us = tx.now_us()
        lease = tx.get_locked(Lease, name)
        if lease is not None and lease.holder != holder and lease.until_us > now_us:
            return False
        tx.put(Lease(name, holder, now_us + lease_us))
        return True
