"""Enrolment: everybody and everything gets a name and a secret of its own. Secrets are shown once and kept hashed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from devices.protocols.speaker_link import LinkKey

from ..adapters.broker import BrokerLogin, gateway_login, hash_secret, new_secret, speaker_login
from ..adapters.passwords import Argon2Passwords
from ..domain.effects import Record
from ..domain.places import Speaker, Venue
from ..domain.planning import City
from ..domain.refusals import NotFound
from ..domain.signals import Feed, Panel, Use
from ..engine.ports import BrokerAccount, Page, Store

ACCOUNTS_MAX = 200_000
GATEWAY_PREFIX = "gw-"


@dataclass(frozen=True, slots=True)
class Broker:
    """Where speakers find the broker."""

    host: str
    port: int


def enrol_account(store: Store, name: str, by: str) -> str:
    """A broker account with a new secret of its own; the secret, which is not kept. An old one stops working."""
    secret = new_secret()
    with store.write() as tx:
        tx.put(BrokerAccount(name, hash_secret(secret)))
        tx.record(Record("account.enrolled", name, "a new broker secret", by))
    return secret


def enrol_speakers(store: Store, names: list[str], by: str) -> dict[str, str]:
    """New secrets for many speakers of the city at once. Raises NotFound for one that the city does not have."""
    secrets = {name: new_secret() for name in names}
    with store.write() as tx:
        for name, secret in secrets.items():
            if tx.get(Speaker, name) is None:
                raise NotFound(f"speaker {name}")
            tx.put(BrokerAccount(name, hash_secret(secret)))
        tx.record(Record("speakers.enrolled", names[0] if len(names) == 1 else "speakers", f"{len(names)} secrets", by))
    return secrets


def speaker_settings(name: str, secret: str, root: LinkKey, broker: Broker, folder: Path) -> dict[str, object]:
    """The settings file of one speaker agent."""
    return {
        "id": name,
        "secret": secret,
        "root_kid": root.kid,
        "root_key": root.x,
        "broker_host": broker.host,
        "broker_port": broker.port,
        "store": str(folder / name),
    }


def broker_logins(store: Store, city: City) -> list[BrokerLogin]:
    """Every login the broker must know: gateways, and enrolled speakers with their own area chain."""
    with store.read() as read:
        accounts = [a for a in read.find(BrokerAccount, Page(limit=ACCOUNTS_MAX)) if a.enabled]
    logins = []
    for account in accounts:
        speaker = city.speakers.get(account.id)
        if account.id.startswith(GATEWAY_PREFIX):
            logins.append(gateway_login(account.id, account.password_hash))
        elif speaker is not None and speaker.enrolled:
            logins.append(speaker_login(account.id, account.password_hash, city.tree.chain(speaker.area).all))
    return logins


def enrol_feed(store: Store, feed_id: str, name: str, department: str, use: Use, area: str, by: str) -> str:
    """A department feed with a new key; the key, which is not kept."""
    key = new_secret()
    feed = Feed(feed_id, name, department, "cap", use, Argon2Passwords().hash(key), area)
    with store.write() as tx:
        tx.put(feed)
        tx.record(Record("feed.enrolled", feed_id, f"{name}, {use}", by))
    return key


def enrol_panel(store: Store, panel: Panel, by: str) -> None:
    """A fire panel by its source address. Raises NotFound for a venue that the city does not have."""
    with store.write() as tx:
        if tx.get(Venue, panel.venue) is None:
            raise NotFound(f"venue {panel.venue}")
        tx.put(panel)
        tx.record(Record("panel.enrolled", panel.id, f"{panel.name} at {panel.venue}, {panel.use}", by))
