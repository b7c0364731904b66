"""Signing keys in the store: what gateways report of them, what a release asks of them, and whether each use works.

One row per key, written over; nothing of it goes to the log.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from devices.protocols.documents import KeyUse, Phase
from devices.protocols.topics import StreamName, parse_manifest_topic

from ...domain.broadcasts import Broadcast, BroadcastEvent, ReleaseGiven, Resumed, StandingGiven, Stopped
from ...domain.effects import Record
from ...domain.planning import City
from ...domain.refusals import KeyEndsTooSoon, NoUsableKey
from ...domain.signing_keys import (
    KeyAtGateway,
    KeyState,
    KeyTrouble,
    UseHealth,
    behind_newest,
    ending_before,
    judge_use,
    unusable_for,
    words,
)
from ..ports import Page, Read, Store, Tx
from ..rows import CitySettings
from ..writing import write
from . import removed_keys
from .broker_copies import on_air
from .listed_keys import KEYS_MAX, ListedKeys, live_gateways

PROBLEMS_SAID_MAX = 3


@dataclass(frozen=True, slots=True)
class KeyReport:
    """What a gateway has found of one key just now. `home_ago_us` and `failed_ago_us` are ages by its monotonic clock,
    None for never, so that the rows are all told in the database's one clock."""

    key: KeyState
    fault: str
    home_ago_us: int | None = None
    took_us: int = 0
    failed: str = ""
    failed_ago_us: int | None = None


@dataclass(frozen=True, slots=True)
class KeysHealth:
    """Each use that is needed, and every key that is listed."""

    uses: tuple[UseHealth, ...]
    keys: tuple[KeyState, ...]


def report(store: Store, gateway: str, found: Sequence[KeyReport], document: int) -> None:
    """Write down what this gateway has found of every key that its key document of this version lists.

    The newest document that any gateway has reported decides: a key that it does not list is gone, whoever knew it, and
    an older document neither brings a key back nor changes its limits. What a key could sign that may not sign it any
    more is signed anew first.
    """
    mine = {each.key.id: each for each in found}
    with store.read() as read:
        limited = _limited(ListedKeys(read), gateway, {id: each.key for id, each in mine.items()}, document)
    if limited:
        removed_keys.take_back(store, limited, [each.key for each in found])
    with write(store) as tx:
        tx.lock("keys")
        before, now_us = ListedKeys(tx), tx.now_us()
        newest = document >= before.newest(gateway)
        listed = {id: each.key for id, each in mine.items()} if newest else before.keys
        for id in before.keys.keys() - listed.keys():
            tx.delete(KeyState, id)
        for id, key in listed.items():
            # A gateway that is gone and had an older document is heard of no more.
            views = before.keys[id].gateways.items() if id in before.keys else ()
            others = {name: at for name, at in views if before.runs(name) or at.document >= document}
            tx.put(replace(key, gateways={**others, gateway: _view(mine.get(id), document, now_us)}))
        behind = behind_newest(before.keys.values(), document)
        if document > before.newest():
            for name in sorted(filter(before.runs, behind - {gateway})):
                why = "another gateway has a newer key document: it signs only what that one can't"
                tx.record(Record("gateway.keys_behind", name, why))
    if newest and (limited or behind):
        # A gateway with an older document may have signed or compared, until it saw what stands here now or was gone.
        removed_keys.sign_outlived(store)


def nothing_signs(store: Store) -> None:
    """Write down that a gateway could not start, because it has no readable key document: no key that was known at a
    gateway that no longer runs can be relied on."""
    with write(store) as tx:
        tx.lock("keys")
        now_us, alive = tx.now_us(), live_gateways(tx)
        for row in tx.find(KeyState, Page(limit=KEYS_MAX)):
            unread = {
                name: KeyAtGateway(KeyTrouble.NO_DOCUMENT, now_us, document=view.document)
                for name, view in row.gateways.items()
                if name not in alive
            }
            tx.put(replace(row, gateways=row.gateways | unread))


def check_release(tx: Tx, b: Broadcast, event: BroadcastEvent, city: City) -> None:
    """Raise NoUsableKey for a person's release of an alert that no gateway can sign, and KeyEndsTooSoon where none
    could sign until the alert and a follower at its end are over. What else goes out or ends is never held up by that:
    corrections, all-clears, standing orders, stops and resumes are taken, and the log says so."""
    if not isinstance(event, ReleaseGiven | StandingGiven | Stopped | Resumed):
        return
    keys = _keys_for(tx, b.stream)
    if keys is None:
        return
    where, now_us = parse_manifest_topic(b.stream), tx.now_us()
    wanted = str(where.use), city.tree.chain(where.name).all, b.level, now_us
    by_person = isinstance(event, ReleaseGiven) and b.phase is Phase.ALERT
    problems = unusable_for(keys, *wanted)
    if problems:
        said = "; ".join(words(problem)[0] for problem in problems[:PROBLEMS_SAID_MAX])
        why = f"{where.use}: {said}. {_mending(where, city)}"
        if by_person:
            raise NoUsableKey(why)
        tx.record(Record("broadcast.no_usable_key", b.id, f"taken, but it can't be signed now: {why}"))
    elif by_person or isinstance(event, StandingGiven):
        # Its last follower may begin when it ends, and lasts as long.
        ending = ending_before(keys, *wanted, now_us + 2 * b.valid_s * 1_000_000)
        if ending is None:
            return
        why = f"{where.use}: {words(ending)[0]}. Make its successor: `{_make(where, city)}`"
        if by_person:
            raise KeyEndsTooSoon(why)
        tx.record(Record("broadcast.key_ends_early", b.id, f"taken, but its end may not be signed: {why}"))


def _make(where: StreamName, city: City) -> str:
    return f"tocsin keys make {where.use} --area {city.code} --issuer {where.issuer}"


def _mending(where: StreamName, city: City) -> str:
    """What to do about a use that nobody can sign for."""
    by_hand = ". Until then announce what is real by hand-held loudspeaker" if where.use is KeyUse.ACTUAL else ""
    return (
        "Put the saved .pem file back into the gateway's folder of keys; or, without one, "
        f"`{_make(where, city)}`, wait until `tocsin keys list` says that it signs here, then `tocsin keys revoke` "
        f"the broken one{by_hand}"
    )


def _keys_for(read: Read, stream: str) -> list[KeyState] | None:
    """The keys of a stream's issuer as the gateways that run know them; None while no gateway has ever said which keys
    it holds."""
    rows = read.find(KeyState, Page(limit=KEYS_MAX))
    if not rows:
        return None
    alive = live_gateways(read)
    mine = [key for key in rows if key.issuer == parse_manifest_topic(stream).issuer]
    return [_seen_by(key, alive) for key in mine] if alive else mine


def health(read: Read) -> KeysHealth:
    """Whether every use that is needed works: config and clock always, actual and exercise when a key of that use is
    listed or an order stands on one of its streams. Nothing while no gateway has ever run."""
    settings = read.get(CitySettings, "city")
    listed = read.find(KeyState, Page(limit=KEYS_MAX))
    alive = live_gateways(read)
    if not listed and not alive:
        return KeysHealth((), ())
    mine = [key for key in listed if settings is None or key.issuer == settings.issuer]
    needed = {str(KeyUse.CONFIG), str(KeyUse.CLOCK), *(key.use for key in mine)}
    needed |= {use for use in (KeyUse.ACTUAL, KeyUse.EXERCISE) if on_air(read, use)}
    now_us = read.now_us()
    uses = tuple(judge_use(use, mine, alive, now_us) for use in sorted(needed))
    return KeysHealth(uses, tuple(_seen_by(key, alive) for key in listed))


def _view(found: KeyReport | None, document: int, now_us: int) -> KeyAtGateway:
    """What a gateway knows of a key; None for one that its own document does not list."""
    if found is None:
        return KeyAtGateway(KeyTrouble.ABSENT, now_us, document=document)
    home_us = 0 if found.home_ago_us is None else now_us - found.home_ago_us
    failed_us = 0 if found.failed_ago_us is None else now_us - found.failed_ago_us
    return KeyAtGateway(found.fault, now_us, home_us, found.took_us, found.failed, failed_us, document)


def _limited(known: ListedKeys, gateway: str, found: Mapping[str, KeyState], document: int) -> list[KeyState]:
    """The keys that this report makes forgotten, and those that may no longer sign all that they could."""
    if document < known.newest(gateway):
        return []
    both = [(row, found.get(row.id)) for row in known.keys.values()]
    return [row for row, now in both if now is None or not now.covers(row, known.reaches(now.area, row.area))]


def _seen_by(key: KeyState, gateways: Collection[str]) -> KeyState:
    return replace(key, gateways={name: view for name, view in key.gateways.items() if name in gateways})
