"""What people at the desk do that is no event of an incident, a task or a broadcast. Each is one transaction."""

from __future__ import annotations

from dataclasses import replace

from ..domain.effects import Record
from ..domain.refusals import NotFound
from ..domain.signals import Feed, Panel, Sensor
from . import streams
from .ports import BrokerAccount, Store


def adopt_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take over what the broker holds on a stream that this database does not know; `version` is the manifest's that
    the person has read. Raises NotFound, or ChangedOnAir when it is another by now."""
    with store.write() as tx:
        streams.check_unknown(tx, topic, version)
        streams.adopt(tx, topic, person)


def withdraw_stream(store: Store, topic: str, person: str, version: int | None = None) -> None:
    """Take off the air what the broker holds on a stream and this database does not know; `version` and refusals as in
    `adopt_stream`."""
    with store.write() as tx:
        streams.check_unknown(tx, topic, version)
        streams.withdraw_unknown(tx, topic, person)


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
