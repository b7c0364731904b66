"""Enrolment of sources that are polled, and of sensors with the gateway devices that speak for them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from devices.protocols.sensor_mqtt import SensorKind
from devices.protocols.topics import NAME

from ..adapters.broker import hash_secret, new_secret
from ..adapters.http_poll import URL_CHARS_MAX
from ..domain.effects import Record, Sleep, Timer, WakeAt
from ..domain.places import Speaker, Venue
from ..domain.polling import EVERY_S_MIN, USELESS_AFTER_US, Poll
from ..domain.refusals import NotFound, Refused
from ..domain.signals import Feed, Sensor
from ..engine.leases import GATEWAY_PREFIX
from ..engine.ports import Page, Store
from ..engine.rows import BrokerAccount
from ..engine.sources.maintenance import carried_over
from ..feeds.hazards import BY_NAME, OTHER
from .enrolment import RHYTHM_S_MAX, keep_use

EVERY_S_MAX = 86_400


class PollRefused(Refused):
    """A feed can't be polled like this."""

    code = "poll_refused"


class SensorRefused(Refused):
    """A sensor can't be enrolled like this."""

    code = "sensor_refused"


def enrol_poll(
    store: Store, feed_id: str, url: str, every_s: int, by: str, *, plain_http: bool = False, loopback: bool = False
) -> None:
    """Have an enrolled feed fetched from `url` every so many seconds, first at once; what was taken before stays taken.

    Plain http only where somebody says so: whoever lies on the way can write what it brings. Raises NotFound for a feed
    that is not enrolled, and PollRefused.
    """
    _check_url(url, plain_http, loopback)
    if not EVERY_S_MIN <= every_s <= EVERY_S_MAX:
        raise PollRefused(f"it is asked every {EVERY_S_MIN} to {EVERY_S_MAX} s")
    with store.write() as tx:
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
    with store.write() as tx:
        if tx.get_locked(Poll, feed_id) is None:
            raise NotFound(f"poll {feed_id}")
        tx.delete(Poll, feed_id)
        tx.sleep(Sleep(Timer.POLL, feed_id))
        tx.record(Record("feed.polled_no_more", feed_id, "taken off", by))


def _check_url(url: str, plain_http: bool, loopback: bool) -> None:
    try:
        parts = urlsplit(url)
        bad = parts.port == 0 or not parts.hostname or "@" in parts.netloc
    except ValueError:
        raise PollRefused("this is no address") from None
    if bad or parts.scheme not in ("http", "https") or len(url) > URL_CHARS_MAX or not url.isprintable() or " " in url:
        raise PollRefused("the address is http or https, with a host and without a name or password")
    if parts.scheme == "http" and not plain_http:
        raise PollRefused("plain http needs --plain-http: whoever lies on the way can change what it brings")
    host = (parts.hostname or "").rstrip(".").lower()
    if loopback:
        return
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        inside = host == "localhost" or host.endswith(".localhost")
    else:
        inside = address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast
    if inside:
        raise PollRefused("the address is this machine's own or its network's, which no feed is fetched from")


def enrol_sensor(store: Store, sensor: Sensor, by: str) -> str | None:
    """An MQTT sensor. The new secret of its gateway device where that has no broker account yet, else None. One that is
    enrolled again stays under the maintenance it is under.

    Raises SensorRefused for a name, kind or hazard that there is not, or a place on its gateway that is taken; NotFound
    for a venue that the city does not have; UseDiffers for a sensor that is enrolled for another use.
    """
    _check_sensor(sensor)
    with store.write() as tx:
        if tx.get(Venue, sensor.venue) is None:
            raise NotFound(f"venue {sensor.venue}")
        if any(other.id != sensor.id for other in tx.find(Sensor, gateway=sensor.gateway, device=sensor.device)):
            raise SensorRefused(f"{sensor.gateway}/{sensor.device} is enrolled already, under another id")
        before = tx.get_locked(Sensor, sensor.id)
        keep_use(before, sensor.use)
        if tx.get(Speaker, sensor.gateway) is not None:
            raise SensorRefused(f"{sensor.gateway} is the name of a speaker")
        tx.put(carried_over(before, sensor))
        tx.record(Record("sensor.enrolled", sensor.id, f"{sensor.kind} at {sensor.venue}, {sensor.use}", by))
        if tx.get(BrokerAccount, sensor.gateway) is not None:
            return None
        secret = new_secret()
        tx.put(BrokerAccount(sensor.gateway, hash_secret(secret)))
        tx.record(Record("account.enrolled", sensor.gateway, "a new broker secret", by))
        return secret


def renew_gateway_device(store: Store, name: str, by: str) -> str:
    """A new secret for a gateway device; the old one stops working. Raises NotFound for one that no sensor has."""
    secret = new_secret()
    with store.write() as tx:
        if not tx.find(Sensor, Page(limit=1), gateway=name):
            raise NotFound(f"gateway device {name}")
        tx.put(BrokerAccount(name, hash_secret(secret)))
        tx.record(Record("account.enrolled", name, "a new broker secret", by))
    return secret


def _check_sensor(sensor: Sensor) -> None:
    for name in (sensor.id, sensor.gateway, sensor.device):
        if not NAME.fullmatch(name):
            raise SensorRefused(f"{name[:40]!r} is not a name of 1 to 32 characters a-z, 0-9 and hyphen")
    if sensor.gateway.startswith(GATEWAY_PREFIX):
        raise SensorRefused(f"names that begin with {GATEWAY_PREFIX} are the dispatcher's own")
    if sensor.kind not in tuple(SensorKind):
        raise SensorRefused(f"the kind is one of {', '.join(SensorKind)}")
    if sensor.hazard and sensor.hazard not in BY_NAME and sensor.hazard != OTHER:
        raise SensorRefused(f"there is no hazard {sensor.hazard[:64]}")
    if not 0 <= sensor.rhythm_s <= RHYTHM_S_MAX:
        raise SensorRefused(f"the rhythm is 0 to {RHYTHM_S_MAX} s")
