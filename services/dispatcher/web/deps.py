"""What the API is given: the parts it works with and its settings. Built in `processes/`, never at import."""

from __future__ import annotations

from dataclasses import dataclass, field

from fastapi import APIRouter
from prometheus_client import CollectorRegistry

from ..engine.engine import Engine
from ..engine.people import Passwords
from ..engine.ports import Clock, Store
from .counts import Counts


@dataclass(frozen=True, slots=True)
class WebSettings:
    """`secure_cookie` is off only where the console is reached over plain HTTP on the same machine."""

    token_lifetime_s: int = 12 * 3_600
    secure_cookie: bool = True


@dataclass(frozen=True, slots=True)
class WebDeps:
    """`audio` is the router that serves audio by hash; `registry` is what `/metrics` shows. One app per registry."""

    store: Store
    engine: Engine
    passwords: Passwords
    clock: Clock
    registry: CollectorRegistry
    audio: APIRouter | None = None
    settings: WebSettings = field(default_factory=WebSettings)
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "counts", Counts(self.registry))
