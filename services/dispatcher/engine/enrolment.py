"""Enrolment: who may connect, report and be polled. Each function is one transaction; only hashes of secrets come here.
What a name, an address or a hazard may look like is checked by whoever asks (`processes/enrolment`)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..domain.effects import Record, Sleep, Timer, WakeAt
from ..domain.places import Area, Speaker, Venue
from ..domain.polling import USELESS_AFTER_US, Poll
from ..domain.refusals import NotFound, Refused
from ..domain.signals import Feed, Panel, Sensor
from .air import receipts
from .leases import GATEWAY_PREFIX
from .ports import Page, Store, Tx
from .rows import BrokerAccount, Stranger
from .sources.maintenance import carried_over
from .writing import write


class SpeakerRefused(Refused):
    """A speaker can't be enrolled under this id: ids with this beginning are gateways'."""

    code = "speaker_refused"


class FeedRefused(Refused):
    """A feed can't be enrolled like this."""

    code = "feed_refused"


class PanelRefused(Refused):
    """A panel can't be enrolled like this."""

    code = "panel_refused"


class PollRefused(Refused):
    """A feed can't be polled like this."""

    code = "poll_refused"


class SensorRefused(Refused):
    """A sensor can't be enrolled like this."""

    code = "sensor_refused"


class UseDiffers(Refused):
    """What is enrolled keeps its use for good: enrol it under another id."""

    code = "use_differs"


T = TypeVar("T")
NAMES: Mapping[type[object], str] = {
    Feed: "feed", Panel: "panel", Sensor: "sensor", BrokerAccount: "account", Poll: "poll"
}  # fmt: skip


def _enrolled(tx: Tx, kind: type[T], id: str) -> T:
    """The row, held. Raises NotFound."""
    row = tx.get_locked(kind, id)
    if row is None:
        raise NotFound(f"{NAMES[kind]} {id}")
    return row


def _keep_use(before: Feed | Panel | Sensor | None, after: Feed | Panel | Sensor) -> None:
    """A drill must never become an alarm by enrolling again. Raises UseDiffers."""
    if before is not None and before.use is not after.use:
        raise UseDiffers(f"{before.id} is enrolled for {before.use}")


def enrol_account(store: Store, name: str, secret_hash: str, by: str) -> None:
    """A broker account with a new secret; an old one stops working."""
    with write(store) as tx:
        _give_account(tx, name, secret_hash, by)


def _give_account(tx: Tx, name: str, secret_hash: str, by: str) -> None:
    tx.put(BrokerAccount(name, secret_hash))
    tx.record(Record("account.enrolled", name, "a new broker secret", by))


def enrol_speakers(store: Store, hashes: Mapping[str, str], by: str) -> None:
    """New secrets for many speakers of the city at once, hashes by id. Raises NotFound for one that the city does not
    have, and SpeakerRefused for an id under which the broker would let it do what gateways may."""
    for name in hashes:
        if name.startswith(GATEWAY_PREFIX):
            raise SpeakerRefused(name)
    with write(store) as tx:
        for name, secret_hash in hashes.items():
            if tx.get(Speaker, name) is None:
                raise NotFound(f"speaker {name}")
            tx.put(BrokerAccount(name, secret_hash))
            receipts.enrolled_anew(tx, name)
        whose = next(iter(hashes)) if len(hashes) == 1 else "speakers"
        tx.record(Record("speakers.enrolled", whose, f"{len(hashes)} secrets", by))


def enrol_feeds(store: Store, feeds: Sequence[Feed], by: str, areas: Collection[str] = ()) -> None:
    """Feeds with new keys, all or none; old keys stop working. Raises FeedRefused for one of `areas`, codes, that the
    city does not have, and UseDiffers for a feed that is enrolled for another use."""
    with write(store) as tx:
        for code in areas:
            if tx.get(Area, code) is None:
                raise FeedRefused(f"area {code[:64]}: the imported city has none such")
        for feed in feeds:
            _keep_use(tx.get(Feed, feed.id), feed)
            tx.put(feed)
            tx.record(Record("feed.enrolled", feed.id, f"{feed.name}, {feed.use}", by))


def renew_feed_key(store: Store, id: str, key_hash: str, keep_old_until_us: int | None, by: str) -> None:
    """Give a feed a new key; the old one opens until this time, µs UTC, or until the new one is first used where that
    is None. Raises NotFound."""
    with write(store) as tx:
        feed = _enrolled(tx, Feed, id)
        tx.put(replace(feed, key_hash=key_hash, old_key_hash=feed.key_hash, old_key_until_us=keep_old_until_us))
        facts: dict[str, object] = {"old_key_until_us": keep_old_until_us}
        tx.record(Record("feed.key_renewed", id, "a new key; the old one still opens for a while", by, facts))


def end_old_key(store: Store, id: str, key_hash: str) -> None:
    """The key of this hash is in use, so the one before it ends, where it was kept for that long."""
    with write(store) as tx:
        feed = tx.get_locked(Feed, id)
        if feed is None or feed.key_hash != key_hash or not feed.old_key_hash or feed.old_key_until_us is not None:
            return
        tx.put(replace(feed, old_key_hash=""))
        tx.record(Record("feed.old_key_ended", id, "the new key was used"))


def set_feed_secret(store: Store, id: str, sealed: str, required: bool, by: str) -> None:
    """Give a feed the secret that it signs requests with, sealed; empty takes it away. Raises NotFound."""
    with write(store) as tx:
        feed = _enrolled(tx, Feed, id)
        tx.put(replace(feed, hmac_secret=sealed, hmac_required=required))
        why = "signs its requests" if sealed else "signs its requests no longer"
        tx.record(Record("feed.signing", id, why, by, {"required": required}))


def enrol_poll(store: Store, feed_id: str, url: str, every_s: int, by: str, *, plain_http: bool = False) -> None:
    """Have an enrolled feed fetched from `url` every so many seconds, first at once; what was taken before stays taken.
    Raises NotFound for a feed that is not enrolled, and PollRefused where its rhythm is too short for it."""
    with write(store) as tx:
        feed = tx.get(Feed, feed_id)
        if feed is None:
            raise NotFound(f"feed {feed_id}")
        if 0 < feed.rhythm_s < 2 * every_s:
            raise PollRefused(f"its rhythm of {feed.rhythm_s} s is shorter than two polls: it would seem silent")
        before = tx.get_locked(Poll, feed_id)
        seen = before.seen if before is not None else ()
        now_us = tx.now_us()
        tx.put(Poll(feed_id, url, every_s, next_due_us=now_us, seen=seen, plain_http=plain_http))
        tx.wake_at(WakeAt(Timer.POLL, feed_id, now_us, now_us + USELESS_AFTER_US))
        tx.record(Record("feed.polled", feed_id, f"{url} every {every_s} s", by))


def stop_poll(store: Store, feed_id: str, by: str) -> None:
    """Have a feed polled no more. Raises NotFound where it is not."""
    with write(store) as tx:
        _enrolled(tx, Poll, feed_id)
        tx.delete(Poll, feed_id)
        tx.sleep(Sleep(Timer.POLL, feed_id))
        tx.record(Record("feed.polled_no_more", feed_id, "taken off", by))


def enrol_panel(store: Store, panel: Panel, by: str) -> None:
    """Enrol a panel by its source address; it is a stranger no longer, and stays under the maintenance it is under.

    Raises NotFound for a venue that the city does not have, PanelRefused for an address that is another panel's: its
    fires would be told of the wrong place; UseDiffers for a panel that is enrolled for another use.
    """
    with write(store) as tx:
        others = [other.id for other in tx.find(Panel, address=panel.address) if other.id != panel.id]
        if others:
            raise PanelRefused(f"{panel.address} is the address of {others[0]}")
        before = tx.get_locked(Panel, panel.id)
        _keep_use(before, panel)
        if tx.get(Venue, panel.venue) is None:
            raise NotFound(f"venue {panel.venue}")
        tx.put(carried_over(before, panel))
        tx.delete(Stranger, panel.address)
        tx.record(Record("panel.enrolled", panel.id, f"{panel.name} at {panel.venue}, {panel.use}", by))


def enrol_sensor(store: Store, sensor: Sensor, gateway_hash: str, by: str) -> bool:
    """Enrol an MQTT sensor; it stays under the maintenance it is under. Whether its gateway device had no broker
    account: that has one now, with this hash.

    Raises NotFound for a venue that the city does not have; SensorRefused for a place on its gateway device that is
    taken, or a gateway device with a speaker's name; UseDiffers for a sensor that is enrolled for another use.
    """
    with write(store) as tx:
        if tx.get(Venue, sensor.venue) is None:
            raise NotFound(f"venue {sensor.venue}")
        if any(other.id != sensor.id for other in tx.find(Sensor, gateway=sensor.gateway, device=sensor.device)):
            raise SensorRefused(f"{sensor.gateway}/{sensor.device} is enrolled already, under another id")
        before = tx.get_locked(Sensor, sensor.id)
        _keep_use(before, sensor)
        if tx.get(Speaker, sensor.gateway) is not None:
            raise SensorRefused(f"{sensor.gateway} is the name of a speaker")
        tx.put(carried_over(before, sensor))
        tx.record(Record("sensor.enrolled", sensor.id, f"{sensor.kind} at {sensor.venue}, {sensor.use}", by))
        if tx.get(BrokerAccount, sensor.gateway) is not None:
            return False
        _give_account(tx, sensor.gateway, gateway_hash, by)
        return True


def renew_gateway_device(store: Store, name: str, secret_hash: str, by: str) -> None:
    """A new secret for a gateway device; the old one stops working. Raises NotFound for one that no sensor has."""
    with write(store) as tx:
        if not tx.find(Sensor, Page(limit=1), gateway=name):
            raise NotFound(f"gateway device {name}")
        _give_account(tx, name, secret_hash, by)


Switched = type[Feed] | type[Panel] | type[Sensor] | type[BrokerAccount]


def switch(store: Store, kind: Switched, id: str, enabled: bool, by: str) -> None:
    """Switch an enrolled source or broker account off, or on again with its old secret. Raises NotFound."""
    with write(store) as tx:
        tx.put(replace(_enrolled(tx, kind, id), enabled=enabled))
        done, why = ("enabled", "switched on") if enabled else ("disabled", "switched off")
        tx.record(Record(f"{NAMES[kind]}.{done}", id, why, by))
