"""A speaker whose city's signing key was stolen: key documents, configs and manifests as both sides would sign them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from devices.protocols.documents import KeyDocument, KeyUse, Order
from devices.protocols.jws import SigningKey
from devices.protocols.speaker_link import KEYS_TOPIC, manifest_topic, sign
from tests.devices.speaker.world import (
    ACTUAL,
    CITY,
    CONFIG,
    KEYS,
    ROOT,
    SETUP,
    T0,
    World,
    key,
    link_key,
)

LIE = {"zh": "警报已经解除，请回家。"}
STREAM = manifest_topic(CITY, "actual", "city")
SECOND, THIRD = key("city-actual-2"), key("city-actual-3")
AHEAD_MS = 590_000
REV_MAX = 2**53 - 1

Restart = Callable[[World], World]


def stays_up(world: World) -> World:
    return world


def restarts(world: World) -> World:
    return world.crash().boot().connect()


either = pytest.mark.parametrize("between", [stays_up, restarts])


def keys(version: int, *signers: SigningKey) -> bytes:
    """The key document with these keys for the city's actual orders, oldest first."""
    others = tuple(k for k in KEYS.keys if k.kid != ACTUAL.kid)
    return sign(KeyDocument(version, T0, (*others, *(link_key(s, KeyUse.ACTUAL) for s in signers))), ROOT)


def stolen(*orders: Order, first: Order | None = None) -> World:
    """A speaker with two listed keys; whoever stole the first has published these orders ten minutes ahead."""
    world = World().up()
    if first is not None:
        world.order(first).advance(1)
    world.publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND))
    ahead = world.utc // 1_000 + AHEAD_MS
    world.message(STREAM, world.manifest(*orders, version=ahead)).advance(1)
    assert world.state.papers.streams[STREAM].version == ahead
    world.versions[STREAM] = 0
    return world


def narrowed(version: int, **limit: Any) -> bytes:
    """The key document in which the stolen key may do less than before, and its successor everything."""
    others = tuple(k for k in KEYS.keys if k.kid != ACTUAL.kid)
    less = replace(link_key(ACTUAL, KeyUse.ACTUAL), **limit)
    return sign(KeyDocument(version, T0, (*others, less, link_key(SECOND, KeyUse.ACTUAL))), ROOT)


def two_keys() -> World:
    """A speaker that holds both keys, the one that will be stolen and its successor."""
    return World().up().publish(KEYS_TOPIC, keys(2, ACTUAL, SECOND)).advance(1)


def by_the_thief(world: World, *orders: Order, **changes: Any) -> World:
    """A manifest under the stolen key, a little further ahead than the one before."""
    ahead = max(world.utc // 1_000 + 100_000, world.versions.get(STREAM, 0) + 1)
    return world.message(STREAM, world.manifest(*orders, version=ahead, **changes))


def removed(world: World, version: int = 3) -> World:
    """The stolen key is listed no longer. Ours goes on below the thief's version."""
    world.versions[STREAM] = 0
    return world.publish(KEYS_TOPIC, keys(version, SECOND)).advance(1)


def reasons(world: World) -> list[str]:
    return [reason for _, _, reason in world.refusals]


OTHER_CONFIG = key("config-2")


def config_keys(version: int, *signers: SigningKey) -> bytes:
    others = tuple(k for k in KEYS.keys if k.kid != CONFIG.kid)
    return sign(KeyDocument(version, T0, (*others, *(link_key(s, KeyUse.CONFIG) for s in signers))), ROOT)


def config(signer: SigningKey, **changes: Any) -> bytes:
    return sign(replace(SETUP, **changes), signer)
