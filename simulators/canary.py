"""The canaries of a simulated gateway: signed with the real key, read back with the key document that the broker holds.

They take no virtual time and no throw of chance, so that a run with them is the same run. Two things are left out: the
way over the network, which decides only whether the connection passes, and other gateways' canaries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from devices.protocols.canary import Canary, canary_topic, read_canary, sign_canary
from devices.protocols.documents import LinkKey
from devices.protocols.refusals import Refused
from devices.protocols.speaker_link import KEYS_TOPIC, read_keys
from services.dispatcher.domain.signing_keys import CANARY_AHEAD_US_MAX, CANARY_EVERY_US, KeyState, KeyTrouble
from services.dispatcher.engine.air.signing_keys import KeyReport
from services.dispatcher.engine.leases import hold
from services.dispatcher.engine.ports import Clock, Store
from simulators.city import Keys
from simulators.network import Broker

LEASE_US = 15_000_000
Report = Callable[[Store, str, Sequence[KeyReport], int], None]


class SimulatedCanaries:
    """One gateway's. What it writes is no commit of the engine's, and nobody can be killed in it."""

    def __init__(self, store: Store, keys: Keys, broker: Broker, wall: Clock, gateway: str, report: Report) -> None:
        self._store, self._keys, self._broker, self._wall = store, keys, broker, wall
        self._gateway, self._report = gateway, report
        self._numbers = count()
        self._at_us = 0
        self._home_us: dict[str, int] = {}
        self._failed: dict[str, tuple[str, int]] = {}

    def step(self, connected: bool) -> None:
        """Renew the lease; and every 30 s send a canary by every key and report what came of it."""
        hold(self._store, self._gateway, self._gateway, LEASE_US)
        mono_us = self._wall.mono_us()
        if mono_us < self._at_us:
            return
        self._at_us = mono_us + CANARY_EVERY_US
        document = self._keys.document
        found = [self._tried(key, mono_us, connected) for key in document.keys]
        self._report(self._store, self._gateway, found, document.version)

    def round_now(self) -> None:
        """The files of the keys have changed: they are tried at the next step."""
        self._at_us = 0

    def _tried(self, listed: LinkKey, mono_us: int, connected: bool) -> KeyReport:
        lost = KeyTrouble.EMPTY if self._keys.lost(listed.use) else ""
        fault = KeyTrouble.ABSENT if listed.kid not in self._keys.own_kids else lost
        not_after_us = self._keys.not_after_us(listed, self._wall.now_us())
        if not fault and connected and self._wall.now_us() <= not_after_us:
            self._fly(listed, mono_us)
        key = KeyState(listed.kid, str(listed.use), listed.issuer, listed.area, listed.levels, not_after_us, x=listed.x)
        reason, failed_us = self._failed.get(listed.kid, ("", 0))
        home_us = self._home_us.get(listed.kid)
        return KeyReport(
            key, str(fault), None if home_us is None else mono_us - home_us, 1_000, reason,
            mono_us - failed_us if reason else None,
        )  # fmt: skip

    def _fly(self, listed: LinkKey, mono_us: int) -> None:
        now_us, topic = self._wall.now_us(), canary_topic(listed.kid)
        canary = Canary(listed.kid, listed.use, self._gateway, f"{next(self._numbers):022}", now_us)
        raw = sign_canary(canary, self._keys.private[str(listed.use)])
        try:
            held = read_keys(self._broker.retained.get(KEYS_TOPIC, b""), self._keys.root)
            came = read_canary(raw, topic, held, self._wall.now_us())
        except Refused as refused:
            self._failed[listed.kid] = str(refused.reason), mono_us
            return
        if came == canary and came.utc <= self._wall.now_us() + CANARY_AHEAD_US_MAX:
            self._home_us[listed.kid] = mono_us
            self._failed.pop(listed.kid, None)
