"""Enrolment: everybody and everything gets a name and a secret of its own. Secrets are made here, shown once and kept
hashed; `engine/enrolment` stores what is enrolled."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding

from devices.protocols.speaker_link import LinkKey
from devices.protocols.topics import NAME

from ..adapters import sensor_intake
from ..adapters.broker import BrokerLogin, gateway_login, hash_secret, new_secret, sensor_gateway_login, speaker_login
from ..adapters.city_pack import Department
from ..adapters.feed_secrets import FeedSecrets
from ..adapters.intake import TOPICS
from ..adapters.passwords import Argon2Passwords
from ..adapters.signatures import CERTIFICATES_MAX, BadCertificate, certificate
from ..domain.planning import City
from ..domain.signals import REQUESTS_PER_MINUTE, SIGNALS_PER_MINUTE, Datum, Evidence, Feed, Panel, Sensor, Use
from ..engine import enrolment
from ..engine.enrolment import FeedRefused, PanelRefused
from ..engine.leases import GATEWAY_PREFIX, gateway_client
from ..engine.ports import Page, Store
from ..engine.rows import BrokerAccount
from ..feeds import FEEDS
from ..feeds.hazards import BY_NAME, OTHER

ACCOUNTS_MAX = 200_000
RHYTHM_S_MAX = 31_622_400
FEED_AREAS_MAX = 100
ALIASES_MAX = 500
ALIAS_CHARS_MAX = 64
GATEWAYS_MAX = 100
LIMIT_MAX = 1_000_000
RECEIPTS_ACCOUNT = f"{GATEWAY_PREFIX}receipts"
SENSORS_ACCOUNT = f"{GATEWAY_PREFIX}sensors"
INTAKE_TOPICS = {RECEIPTS_ACCOUNT: TOPICS, SENSORS_ACCOUNT: sensor_intake.TOPICS}
"""What the accounts of an intake hear. Each is also a client id, with one session for the whole city: whichever gateway
has the duty connects by it, and finds there what the one before it has not acknowledged."""


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where speakers find the broker."""

    host: str
    port: int


def enrol_account(store: Store, name: str, by: str) -> str:
    """A broker account with a new secret of its own; the secret, which is not kept. An old one stops working."""
    secret = new_secret()
    enrolment.enrol_account(store, name, hash_secret(secret), by)
    return secret


def enrol_gateways(store: Store, numbers: Iterable[int], by: str) -> dict[str, str]:
    """New secrets of these gateways and of both intakes, by account; old ones stop working."""
    names = [*map(gateway_client, numbers), *INTAKE_TOPICS]
    return {name: enrol_account(store, name, by) for name in names}


def enrol_speakers(store: Store, names: list[str], by: str) -> dict[str, str]:
    """New secrets for many speakers of the city at once. Raises NotFound for one that the city does not have, and
    SpeakerRefused for an id under which the broker would let it do what gateways may."""
    secrets = {name: new_secret() for name in names}
    enrolment.enrol_speakers(store, {name: hash_secret(secret) for name, secret in secrets.items()}, by)
    return secrets


def speaker_settings(name: str, secret: str, root: LinkKey, broker: BrokerAddress, folder: Path) -> dict[str, object]:
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


def intake_login(name: str, password_hash: str) -> BrokerLogin:
    """The login of an intake: hears what speakers or sensors say, and says nothing."""
    return BrokerLogin(name, password_hash, read=INTAKE_TOPICS[name])


def broker_logins(store: Store, city: City) -> list[BrokerLogin]:
    """Every login the broker must know: gateways, enrolled speakers with their own area chain, sensors' gateways."""
    with store.read() as read:
        accounts = [a for a in read.find(BrokerAccount, Page(limit=ACCOUNTS_MAX)) if a.enabled]
        sensor_gateways = {s.gateway for s in read.find(Sensor, Page(limit=ACCOUNTS_MAX))}
    logins = []
    for account in accounts:
        speaker = city.speakers.get(account.id)
        if account.id in INTAKE_TOPICS:
            logins.append(intake_login(account.id, account.password_hash))
        elif account.id.startswith(GATEWAY_PREFIX):
            logins.append(gateway_login(account.id, account.password_hash))
        elif speaker is not None and speaker.enrolled:
            logins.append(speaker_login(account.id, account.password_hash, city.tree.chain(speaker.area).all))
        elif account.id in sensor_gateways:
            logins.append(sensor_gateway_login(account.id, account.password_hash))
    return logins


@dataclass(frozen=True, slots=True)
class FeedSignature:
    """Whose XML signatures count on a feed, certificates in PEM, and how much they matter."""

    certificates: tuple[bytes, ...] = ()
    required: bool = False
    weak_allowed: bool = False


@dataclass(frozen=True, slots=True)
class FeedShare:
    """How much a feed may send to one web process."""

    requests_per_minute: int = REQUESTS_PER_MINUTE
    signals_per_minute: int = SIGNALS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class KeepOld:
    """How long a feed's old key still opens: so many seconds, or until the new one is first used where None."""

    for_s: int | None


def enrol_feed(
    store: Store,
    feed_id: str,
    name: str,
    department: str,
    use: Use,
    area: str,
    by: str,
    *,
    format: str = "cap",
    hazards: tuple[str, ...] | None = None,
    areas: tuple[str, ...] = (),
    datum: Datum = Datum.WGS84,
    rhythm_s: int = 0,
    evidence: Evidence = Evidence.AUTHORITY,
    aliases: Mapping[str, str] | None = None,
    signed: FeedSignature | None = None,
    limits: FeedShare | None = None,
) -> str:
    """A department feed with a new key; the key, which is not kept. An old one stops working.

    `hazards` None means every hazard; `areas` are codes it may speak for beside `area`; `aliases` are words of its own
    by hazard. Raises FeedRefused for a format, a hazard, an area or a rhythm that there is not, and for what is no
    certificate; UseDiffers for a feed that is enrolled for another use.
    """
    key = new_secret()
    feed = Feed(feed_id, name, department, format, use, Argon2Passwords().hash(key), area, hazards)
    own = tuple(sorted((aliases or {}).items()))
    feed = replace(feed, areas=areas, datum=datum, rhythm_s=rhythm_s, evidence=evidence, aliases=own)
    feed = _limited(_certified(feed, signed or FeedSignature()), limits or FeedShare())
    _check_feed(feed)
    enrolment.enrol_feeds(store, [feed], by, areas)
    return key


def _certified(feed: Feed, signed: FeedSignature) -> Feed:
    if not signed.certificates and (signed.required or signed.weak_allowed):
        raise FeedRefused("a feed whose signatures count needs a certificate to check them with")
    if len(signed.certificates) > CERTIFICATES_MAX:
        raise FeedRefused(f"at most {CERTIFICATES_MAX} certificates")
    try:
        pems = [certificate(pem).public_bytes(Encoding.PEM).decode() for pem in signed.certificates]
    except BadCertificate as bad:
        raise FeedRefused(str(bad)) from bad
    return replace(
        feed,
        certificates=tuple(dict.fromkeys(pems)),
        signature_required=signed.required,
        weak_signatures=signed.weak_allowed,
    )


def _limited(feed: Feed, limits: FeedShare) -> Feed:
    if not (0 < limits.requests_per_minute <= LIMIT_MAX and 0 < limits.signals_per_minute <= LIMIT_MAX):
        raise FeedRefused(f"a limit is 1 to {LIMIT_MAX} a minute")
    return replace(feed, requests_per_minute=limits.requests_per_minute, signals_per_minute=limits.signals_per_minute)


def renew_feed_key(store: Store, feed_id: str, keep_old: KeepOld, by: str) -> str:
    """A new key for a feed; the key, which is not kept. The old one goes on for as long as `keep_old` says.

    Raises NotFound."""
    key = new_secret()
    until_us = None
    if keep_old.for_s is not None:
        with store.read() as read:
            until_us = read.now_us() + keep_old.for_s * 1_000_000
    enrolment.renew_feed_key(store, feed_id, Argon2Passwords().hash(key), until_us, by)
    return key


def sign_requests(store: Store, secrets: FeedSecrets, feed_id: str, required: bool, by: str) -> str:
    """A new secret by which a feed signs its requests; the secret, which is kept sealed. Raises NotFound."""
    secret = new_secret()
    enrolment.set_feed_secret(store, feed_id, secrets.seal(feed_id, secret), required, by)
    return secret


def department_feeds(departments: Sequence[Department], use: Use) -> dict[str, tuple[Feed, str]]:
    """(feed, key) by id for the departments of a city pack, nothing of it stored yet. Raises FeedRefused."""
    made: dict[str, tuple[Feed, str]] = {}
    for each in departments:
        key = new_secret()
        feed = Feed(each.id, each.name, each.name, each.format, use, Argon2Passwords().hash(key), each.area)
        feed = replace(feed, hazards=each.hazards, datum=each.datum, rhythm_s=each.rhythm_s, evidence=each.evidence)
        _check_feed(feed)
        made[each.id] = (feed, key)
    return made


def _check_feed(feed: Feed) -> None:
    if not NAME.fullmatch(feed.id):
        raise FeedRefused(f"{feed.id[:40]!r} is not an id of 1 to 32 characters a-z, 0-9 and hyphen")
    if feed.format not in FEEDS:
        raise FeedRefused(f"the format is one of {', '.join(FEEDS)}")
    for hazard in (*(feed.hazards or ()), *(hazard for _, hazard in feed.aliases)):
        if hazard not in BY_NAME and hazard != OTHER:
            raise FeedRefused(f"there is no hazard {hazard[:ALIAS_CHARS_MAX]}")
    if not 0 <= feed.rhythm_s <= RHYTHM_S_MAX:
        raise FeedRefused(f"the rhythm is 0 to {RHYTHM_S_MAX} s")
    if len(feed.areas) > FEED_AREAS_MAX or len(feed.aliases) > ALIASES_MAX:
        raise FeedRefused(f"at most {FEED_AREAS_MAX} areas and {ALIASES_MAX} aliases")
    if any(not 0 < len(word) <= ALIAS_CHARS_MAX for word, _ in feed.aliases):
        raise FeedRefused(f"a word of an alias has 1 to {ALIAS_CHARS_MAX} characters")


def enrol_panel(store: Store, panel: Panel, by: str) -> None:
    """A fire panel by its source address. Raises PanelRefused for an id that is none, and what the engine refuses."""
    if not NAME.fullmatch(panel.id):
        raise PanelRefused(f"{panel.id[:40]!r} is not an id of 1 to 32 characters a-z, 0-9 and hyphen")
    enrolment.enrol_panel(store, panel, by)
