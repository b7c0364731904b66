"""What people at the desk do that is no event of an incident, a task or a broadcast. Each is one transaction."""

from __future__ import annotations

from dataclasses import replace

from ..domain.effects import Record
from ..domain.refusals import NotFound
from ..domain.signals import Feed, Panel, Sensor
from .air import compared
from .ports import Store
from .rows import BrokerAccount


def adopt_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take over what the broker holds on a stream that this database does not know; `version` is the manifest's that
    the person has read. Raises NotFound, or ChangedOnAir when it is another by now."""
    with store.write() as tx:
        compared.check_unknown(tx, topic, version)
        compared.adopt(tx, topic, person)


def withdraw_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take off the air what the broker holds on a stream and this database does not know; `version` and refusals as in
    `adopt_stream`."""
    with store.write() as tx:
        compared.check_unknown(tx, topic, version)
        compared.withdraw_unknown(tx, topic, person)


def renew_feed_key(store: Store, id: str, key_hash: str, keep_old_until_us: int | None, by: str) -> None:
    """Give a feed a new key; the old one opens until this time, µs UTC, or until the new one is first used where that
    is None. Raises NotFound."""
    with store.write() as tx:
        feed = tx.get_locked(Feed, id)
        if feed is None:
            raise NotFound(f"feed {id}")
        tx.put(replace(feed, key_hash=key_hash, old_key_hash=feed.key_hash, old_key_until_us=keep_old_until_us))
        facts: dict[str, object] = {"old_key_until_us": keep_old_until_us}
        tx.record(Record("feed.key_renewed", id, "a new key; the old one still opens for a while", by, facts))


def end_old_key(store: Store, id: str, key_hash: str) -> None:
    """The key of this hash is in use, so the one before it ends, where it was kept for that long."""
    with store.write() as tx:
        feed = tx.get_locked(Feed, id)
        if feed is None or feed.key_hash != key_hash or not feed.old_key_hash or feed.old_key_until_us is not None:
            return
        tx.put(replace(feed, old_key_hash=""))
        tx.record(Record("feed.old_key_ended", id, "the new key was used"))


def set_feed_secret(store: Store, id: str, sealed: str, required: bool, by: str) -> None:
    """Give a feed the secret that it signs requests with, sealed; empty takes it away. Raises NotFound."""
    with store.write() as tx:
        feed = tx.get_locked(Feed, id)
        if feed is None:
            raise NotFound(f"feed {id}")
        tx.put(replace(feed, hmac_secret=sealed, hmac_required=required))
        why = "signs its requests" if sealed else "signs its requests no longer"
        tx.record(Record("feed.signing", id, why, by, {"required": required}))


def record_upload(store: Store, feed: str, signals: int, by: str, facts: dict[str, object]) -> None:
    """A person handed in a file for a feed, and it was taken."""
    with store.write() as tx:
        tx.record(Record("upload.taken", feed, f"{signals} signals from a file", by, facts))


Switched = type[Feed] | type[Panel] | type[Sensor] | type[BrokerAccount]


def switch(store: Store, kind: Switched, id: str, enabled: bool, by: str) -> None:
    """Switch an enrolled source or broker account off, or on again with its old secret. Raises NotFound."""
    name = {Feed: "feed", Panel: "panel", Sensor: "sensor", BrokerAccount: "account"}[kind]
    with store.write() as tx:
        row = tx.get_locked(kind, id)
        if row is None:
            raise NotFound(f"{name} {id}")
        tx.put(replace(row, enabled=enabled))
        done, why = ("enabled", "switched on") if enabled else ("disabled", "switched off")
        tx.record(Record(f"{name}.{done}", id, why, by))
