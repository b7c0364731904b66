"""What the API is given: the parts it works with and its settings. Built in `processes/`, never at import."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from ..domain.signals import Feed
from ..engine.engine import Engine
from ..engine.people import Passwords
from ..engine.ports import Clock, Store
from .counts import Counts


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`secure_cookie` is off only where the console is reached over plain HTTP on the same machine. For so long the
    same answer about health is given to everybody, and the same word on how full the streams are."""

    token_lifetime_s: int = 12 * 3_600
    secure_cookie: bool = True
    health_kept_s: float = 1.0
    room_kept_s: float = 10.0


class SignatureJudged(Protocol):
    """What the XML signature of a message proves, and one sentence about it."""

    @property
    def state(self) -> str: ...
    @property
    def sentence(self) -> str: ...


def _no_certificates(feed: Feed, raw: bytes, at: datetime) -> SignatureJudged | None:
    assert not feed.certificates and not feed.signature_required, "who enrols certificates must pass what checks them"
    return None


def _no_secrets(feed_id: str, sealed: str) -> str:
    raise AssertionError("who enrols signing feeds must pass what opens their secrets")


@dataclass(frozen=True, slots=True)
class WebDeps:
    """`audio` is the router that serves audio by hash; `registry` is what `/metrics` shows. One app per registry.

    `verify` checks XML signatures against what is registered for a feed at a time, None where nothing is. `open_secret`
    opens a feed's sealed secret by the feed's id.
    """

    store: Store
    engine: Engine
    passwords: Passwords
    clock: Clock
    registry: CollectorRegistry
    audio: APIRouter | None = None
    verify: Callable[[Feed, bytes, datetime], SignatureJudged | None] = _no_certificates
    open_secret: Callable[[str, str], str] = _no_secrets
    settings: WebSettings = field(default_factory=WebSettings)
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counts(self.registry))
