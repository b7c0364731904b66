"""Somebody with access to the broker and one stolen district key: forges, replays, erases, and answers hellos.

Orders that it makes up have ids that begin with `evil-`, so that whoever hears one knows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Protocol

from devices.protocols.documents import HelloAnswer, Manifest, Order, OrderClass, OrderState, Phase
from devices.protocols.jws import SigningKey
from devices.protocols.selector import Selector
from devices.protocols.speaker_link import (
    KEYS_TOPIC,
    config_topic,
    hello_answer_topic,
    manifest_topic,
    next_version,
    sign,
)
from simulators.city import CITY, HARBOUR, HILLS, ISSUER, MARKET, QUAY, Keys
from simulators.clock import VirtualClock
from simulators.network import Broker

FRESH_US = 3_600_000_000
EVIL = "evil-"


class Victim(Protocol):
    """What the attacker needs to know."""

    def say(self, subject: str, words: str) -> None: ...
    def count(self, what: str) -> None: ...


class Attacker:
    """Publishes on the broker whatever it can make. It holds no key of the dispatcher's."""

    def __init__(
        self, broker: Broker, keys: Keys, clock: VirtualClock, victim: Victim, speakers: tuple[str, ...], rng: Random
    ) -> None:
        self._broker, self._keys, self._clock, self._victim = broker, keys, clock, victim
        self._speakers, self._rng = speakers, rng
        self._number = 0
        self._tricks: dict[str, Callable[[], tuple[str, bytes]]] = {
            "garbage": self._garbage,
            "forged": self._forged,
            "unknown_key": self._unknown_key,
            "replayed": self._replayed,
            "misplaced": self._misplaced,
            "altered": self._altered,
            "erased": self._erased,
            "stolen_area": self._stolen_area,
            "stolen_level": self._stolen_level,
            "stolen_issuer": self._stolen_issuer,
            "wrong_use": self._wrong_use,
            "bad_config": self._bad_config,
            "bad_hello": self._bad_hello,
            "bad_keys": self._bad_keys,
        }

    def strike(self) -> None:
        """One trick, chosen by the seed."""
        name = self._rng.choice(tuple(self._tricks))
        topic, payload = self._tricks[name]()
        self._victim.count(f"attack.{name}")
        self._victim.say("attacker", f"{name} on {topic}")
        self._broker.publish(topic, payload, True)

    def _stream(self) -> str:
        used = sorted({genuine.manifest.stream for genuine in self._keys.genuine.values()})
        made = [manifest_topic(area, "actual", ISSUER) for area in (CITY, HARBOUR, HILLS, QUAY, MARKET)]
        return self._rng.choice(used + made)

    def _manifest(self, stream: str, level: int = 1) -> Manifest:
        self._number += 1
        now_us = self._clock.us
        order = Order(
            id=f"{EVIL}{self._number}", rev=1, status=stream.split("/")[5], order_class=OrderClass.EMERGENCY,
            level=level, event_code="11B03", phase=Phase.ALERT, texts={"zh": "全城撤离。"}, audio=(),
            selector=Selector(), volume=100, repeat=3, gap_s=1, start_at=now_us, expires=now_us + FRESH_US,
            state=OrderState.IN_FORCE,
        )  # fmt: skip
        version = next_version(0, now_us) + self._rng.choice((0, 1, 100_000))
        return Manifest(stream, version, now_us, now_us + FRESH_US, "0" * 64, (order,))

    def _signed(self, stream: str, key: SigningKey, level: int = 1) -> tuple[str, bytes]:
        return stream, sign(self._manifest(stream, level), key)

    def _garbage(self) -> tuple[str, bytes]:
        return self._stream(), self._rng.choice((b"{}", b"\x00\xff", b"a.b.c", b"x" * 20_000))

    def _forged(self) -> tuple[str, bytes]:
        """The attacker's own key under the name of the real one."""
        stream = self._stream()
        use = stream.split("/")[5]
        return self._signed(stream, SigningKey(f"{use}-1", self._keys.private["stranger"].private))

    def _unknown_key(self) -> tuple[str, bytes]:
        return self._signed(self._stream(), self._keys.private["stranger"])

    def _recorded(self) -> tuple[str, bytes] | None:
        recorded = sorted(self._keys.genuine.values(), key=lambda g: (g.manifest.version, g.manifest.stream))
        if not recorded:
            return None
        chosen = self._rng.choice(recorded)
        return chosen.manifest.stream, chosen.raw

    def _replayed(self) -> tuple[str, bytes]:
        """An earlier manifest of the dispatcher's, on its own stream."""
        return self._recorded() or self._garbage()

    def _misplaced(self) -> tuple[str, bytes]:
        """A real manifest on another stream: an exercise where the actual ones go, or another area's."""
        found = self._recorded()
        if found is None:
            return self._garbage()
        swapped = found[0].replace("/exercise/", "/actual/") if "/exercise/" in found[0] else self._stream()
        return (swapped, found[1]) if swapped != found[0] else self._garbage()

    def _altered(self) -> tuple[str, bytes]:
        found = self._recorded()
        if found is None:
            return self._garbage()
        head, body, mark = found[1].split(b".")
        place = self._rng.randrange(len(body))
        other = b"A" if body[place : place + 1] != b"A" else b"B"
        return found[0], b".".join((head, body[:place] + other + body[place + 1 :], mark))

    def _erased(self) -> tuple[str, bytes]:
        return self._stream(), b""

    def _stolen_area(self) -> tuple[str, bytes]:
        """The harbour's key speaks for the hills, under its own name."""
        return self._signed(manifest_topic(HILLS, "actual", "district"), self._keys.private["district"], 3)

    def _stolen_level(self) -> tuple[str, bytes]:
        """The harbour's key may sign yellow and blue, and signs red."""
        return self._signed(manifest_topic(HARBOUR, "actual", "district"), self._keys.private["district"], 1)

    def _stolen_issuer(self) -> tuple[str, bytes]:
        return self._signed(manifest_topic(HARBOUR, "actual", ISSUER), self._keys.private["district"], 3)

    def _wrong_use(self) -> tuple[str, bytes]:
        """The district's key for actual orders signs an exercise."""
        return self._signed(manifest_topic(HARBOUR, "exercise", "district"), self._keys.private["district"], 3)

    def _bad_config(self) -> tuple[str, bytes]:
        return config_topic(self._rng.choice(self._speakers)), b"x.y.z"

    def _bad_hello(self) -> tuple[str, bytes]:
        """A clock ten years off, signed by nobody."""
        answer = HelloAnswer("0" * 32, self._clock.us // 2, {})
        stranger = SigningKey("clock-1", self._keys.private["stranger"].private)
        return hello_answer_topic(self._rng.choice(self._speakers)), sign(answer, stranger)

    def _bad_keys(self) -> tuple[str, bytes]:
        """A key document of the attacker's making, under the root's name."""
        root = SigningKey("root-1", self._keys.private["stranger"].private)
        document = replace(self._keys.document, version=self._keys.document.version + 1)
        return KEYS_TOPIC, sign(document, root)
