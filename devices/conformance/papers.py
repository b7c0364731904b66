"""What the runner signs: a root and keys of its own, a config for the device, and manifests, good ones and bad ones.

Only exercise keys sign orders, so that nothing a device may sound can be taken for an alarm.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from devices.protocols import speaker_link as link
from devices.protocols.jws import SigningKey
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import (
    KeyDocument,
    KeyUse,
    Manifest,
    Order,
    OrderClass,
    OrderState,
    Phase,
    SpeakerConfig,
)

CHAIN = ("990000000000", "990100000000", "990101000000", "990101001000")
ZONE, ELSEWHERE = "zone-bench", "990200000000"
ISSUER = "bench"
S = 1_000_000
HOUR = 3_600 * S
DAY = 24 * HOUR
LEVELS = (1, 2, 3, 4)


def now_us() -> int:
    return time.time_ns() // 1_000


def root_in(file: Path) -> SigningKey:
    """The runner's root, made and written to the file when there is none: another run then needs no other root."""
    if file.exists():
        kept = json.loads(file.read_text("utf-8"))
        return SigningKey.from_seed(kept["root_kid"], bytes.fromhex(kept["root_seed"]))
    seed = os.urandom(32)
    root = SigningKey.from_seed("bench-root", seed)
    x = root.public_link_key(KeyUse.ROOT, ISSUER, CHAIN[0], (), 0).x
    written = {"root_kid": root.kid, "root_key": x, "root_seed": seed.hex()}
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as made:
        json.dump(written, made, indent=1)
    return root


def root_x(root: SigningKey) -> str:
    """The root's public half as a device is given it."""
    return root.public_link_key(KeyUse.ROOT, ISSUER, CHAIN[0], (), 0).x


@dataclass
class BenchPapers:
    """All documents for one device. Versions are ms of this machine's clock and grow from run to run.

    `held` is what the device must hold of each stream: the version of the last good manifest. What the main stream
    does not list and began before `swept` (µs UTC, 0 for never) is withdrawn.
    """

    speaker: str
    root: SigningKey
    keys: dict[str, SigningKey] = field(default_factory=dict)
    versions: dict[str, int] = field(default_factory=dict)
    orders: dict[str, dict[str, Order]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    swept: int = 0

    def __post_init__(self) -> None:
        until = now_us() + 30 * DAY
        scopes: dict[str, tuple[KeyUse, str, str, tuple[int, ...], int]] = {
            "exercise": (KeyUse.EXERCISE, ISSUER, CHAIN[0], LEVELS, until),
            "stolen": (KeyUse.EXERCISE, ISSUER, CHAIN[0], LEVELS, until),
            "config": (KeyUse.CONFIG, ISSUER, CHAIN[0], (), until),
            "clock": (KeyUse.CLOCK, ISSUER, CHAIN[0], (), until),
            "elsewhere": (KeyUse.EXERCISE, "bench-elsewhere", ELSEWHERE, LEVELS, until),
            "low": (KeyUse.EXERCISE, "bench-low", CHAIN[0], (4,), until),
            "old": (KeyUse.EXERCISE, "bench-old", CHAIN[0], LEVELS, now_us() - HOUR),
        }
        self.keys = {name: SigningKey.generate(f"bench-{name}") for name in (*scopes, "stranger")}
        listed = tuple(self.keys[name].public_link_key(*scope) for name, scope in scopes.items())
        self.document = KeyDocument(self.version(link.KEYS_TOPIC), now_us(), listed)
        self.config = SpeakerConfig(
            speaker=self.speaker, version=self.version("config"), area_chain=CHAIN, overlay=(ZONE,), venue="bench",
            venue_kind="laboratory", lat_e7=388_800_000, lon_e7=1_215_900_000, volume_max=60, reconnect_spread_s=1,
            fetch_spread_s=0, accepted_spread_ms=500, starts_per_hour_max=1_000,
        )  # fmt: skip

    def version(self, name: str) -> int:
        self.versions[name] = max(self.versions.get(name, 0) + 1, now_us() // 1_000)
        return self.versions[name]

    def signed_keys(self) -> bytes:
        return link.sign(self.document, self.root)

    def remove_key(self, name: str) -> bytes:
        """The next key document, which no longer lists this key."""
        kept = tuple(key for key in self.document.keys if key.kid != self.keys[name].kid)
        self.document = replace(self.document, version=self.version(link.KEYS_TOPIC), issued=now_us(), keys=kept)
        return self.signed_keys()

    def signed_config(self) -> bytes:
        return link.sign(self.config, self.keys["config"])

    def limit_starts(self, starts_per_hour_max: int) -> bytes:
        """The next config, with another rate limit."""
        version = self.version("config")
        self.config = replace(self.config, version=version, starts_per_hour_max=starts_per_hour_max)
        return self.signed_config()

    def streams(self) -> tuple[str, ...]:
        """Every stream of the runner's issuer that a device must follow."""
        areas = (link.manifest_topic(area, KeyUse.EXERCISE, ISSUER) for area in (*CHAIN, ZONE))
        return (*areas, link.speaker_manifest_topic(self.speaker, KeyUse.EXERCISE, ISSUER))

    @property
    def main(self) -> str:
        """The stream that the good orders go out on: the device's own area."""
        return link.manifest_topic(CHAIN[-1], KeyUse.EXERCISE, ISSUER)

    def manifest(self, topic: str, orders: Iterable[Order] = (), **changes: int) -> Manifest:
        """The next manifest of a stream; it is fresh for five minutes."""
        issued = now_us()
        made = Manifest(topic, self.version(topic), issued, issued + 300 * S, "bench", tuple(orders))
        return replace(made, **changes)  # type: ignore[arg-type]

    def signed(self, topic: str) -> bytes:
        """All orders of a stream as they stand now."""
        manifest = self.manifest(topic, self.orders.get(topic, {}).values(), swept=self.swept)
        self.held[topic] = manifest.version
        return link.sign(manifest, self.keys["exercise"])

    def order(self, id: str, **changes: object) -> Order:
        """An exercise for this device alone, of three characters, for the next quarter of an hour."""
        now = now_us()
        made = Order(
            id=id, rev=1, status="exercise", order_class=OrderClass.EMERGENCY, level=4, event_code="bench",
            phase=Phase.ALERT, texts={"zh": "测试。"}, audio=(), selector=Selector(speakers=(self.speaker,)),
            volume=20, repeat=1, gap_s=0, start_at=now, expires=now + 900 * S, state=OrderState.IN_FORCE,
        )  # fmt: skip
        return replace(made, **changes)  # type: ignore[arg-type]

    def put(self, *orders: Order) -> bytes:
        """The main stream with these orders new or changed."""
        self.orders.setdefault(self.main, {}).update({order.id: order for order in orders})
        return self.signed(self.main)


def withdrawn(order: Order) -> Order:
    """The next revision of an order, which ends it."""
    return replace(order, rev=order.rev + 1, state=OrderState.WITHDRAWN)
