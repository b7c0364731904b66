"""Somebody with the key that signs now: publishes ahead of the time, with an order of his own, until people revoke it.

His order is a daily one, which gives way to every alert, so that what people give out meanwhile can still be judged.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from devices.protocols.documents import Manifest, Order, OrderClass, OrderState, Phase
from devices.protocols.jws import SigningKey
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import manifest_topic, next_version, sign
from simulators.checks import Stolen, Truth
from simulators.city import CITY, ISSUER, Genuine, Keys
from simulators.network import Broker

AHEAD_MS = 300_000
"""With a clock of the dispatcher's that is as wrong as it may be, speakers still take it."""
FRESH_US = 3_600_000_000
STOLEN = "stolen-"


class Thief:
    """Steals one key of the dispatcher's after the other. `Truth.stolen` learns what was made with it."""

    def __init__(self, truth: Truth, broker: Broker, keys: Keys, count: Callable[[str], None]) -> None:
        self._truth, self._broker, self._keys, self._count = truth, broker, keys, count

    def steal(self, rng: Random) -> str:
        """Take the key of a use and publish with it; the id of the thief's order."""
        use = rng.choice(("actual", "exercise"))
        key, now_us = self._keys.private[use], self._truth.clock.us
        held = [g for raw in self._broker.retained.values() if (g := self._keys.genuine.get(raw)) is not None]
        mine = sorted((g.manifest for g in held if f"/manifest/{use}/" in g.manifest.stream), key=lambda m: m.stream)
        empty = Manifest(manifest_topic(CITY, use, ISSUER), 0, now_us, now_us + FRESH_US, "0" * 64, ())
        base = rng.choice(mine) if mine else empty
        order = Order(
            id=f"{STOLEN}{len(self._truth.stolen) + 1}", rev=1, status=use, order_class=OrderClass.DAILY, level=4,
            event_code="99A01", phase=Phase.ALERT, texts={"zh": "全城撤离。"}, audio=(), selector=Selector(), volume=80,
            repeat=40, gap_s=5, start_at=now_us, expires=now_us + FRESH_US, state=OrderState.IN_FORCE,
        )  # fmt: skip
        self._truth.stolen[order.id] = Stolen(base.stream, key.kid)
        self._truth.unknown.add(order.id)
        self._publish(base, order, key)
        return order.id

    def _publish(self, base: Manifest, order: Order, key: SigningKey) -> None:
        now_us = self._truth.clock.us
        version = next_version(base.version, now_us) + AHEAD_MS
        orders = (*(o for o in base.orders if o.expires > now_us), order)[-16:]
        manifest = Manifest(
            base.stream, version, now_us, now_us + FRESH_US, "0" * 64, orders, audio_base=base.audio_base
        )
        raw = sign(manifest, key)
        self._keys.stolen[raw] = Genuine(raw, manifest)
        self._count("key.stolen")
        self._broker.publish(base.stream, raw, True)
