"""Enrolment of sources that are polled, and of sensors with the gateway devices that speak for them."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from devices.protocols.sensor_mqtt import SensorKind
from devices.protocols.topics import NAME

from ..adapters.broker import hash_secret, new_secret
from ..adapters.http_poll import URL_CHARS_MAX
from ..domain.polling import EVERY_S_MIN
from ..domain.signals import Sensor
from ..engine import enrolment
from ..engine.enrolment import PollRefused, SensorRefused
from ..engine.leases import GATEWAY_PREFIX
from ..engine.ports import Store
from ..feeds.hazards import BY_NAME, OTHER
from .enrolment import RHYTHM_S_MAX

EVERY_S_MAX = 86_400


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
    enrolment.enrol_poll(store, feed_id, url, every_s, by, plain_http=plain_http)


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
    secret = new_secret()
    return secret if enrolment.enrol_sensor(store, sensor, hash_secret(secret), by) else None


def renew_gateway_device(store: Store, name: str, by: str) -> str:
    """A new secret for a gateway device; the old one stops working. Raises NotFound for one that no sensor has."""
    secret = new_secret()
    enrolment.renew_gateway_device(store, name, hash_secret(secret), by)
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
