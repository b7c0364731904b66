"""Tells the engine when the broker ends a connection of this gateway for another client under the same id.

Brokers of MQTT 5 may say so as they end it. One that only hangs up is believed to have done it for that reason when it
does it again and again, and lets this gateway in at once each time: one that fails or is restarted does not.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

from ..domain.refusals import NotFound
from ..engine.air import accounts
from ..engine.engine import Engine
from ..engine.events import AccountTaken
from ..engine.ports import Store

log = structlog.get_logger(__name__)


CUTS = 3
CUTS_WITHIN_S = 60.0


class TakenAccounts:
    """Remembers lost accounts until they are committed; the network threads only note them."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        gateway: str,
        owner: str,
        count: Callable[[str], None],
        wake: Callable[[], None],
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count` is told of every loss by account, `wake` has `step` called soon."""
        self._store, self._engine = store, engine
        self._gateway, self._owner = gateway, owner
        self._count, self._wake = count, wake
        self._noting = threading.Lock()
        self._mono_s = mono_s
        self._cuts: dict[str, deque[float]] = {}
        self._lost: dict[str, bool] = {}
        self._said: set[str] = set()

    def lost(self, account: str, said: bool) -> None:
        """Another client has connected under this account: the broker has `said` so, or it has only hung up. Called by
        any thread."""
        with self._noting:
            if not said and not self._cut_too_often(account):
                return
            self._lost[account] = said or self._lost.get(account, False)
        self._wake()

    def _cut_too_often(self, account: str) -> bool:
        now_s = self._mono_s()
        cuts = self._cuts.setdefault(account, deque(maxlen=CUTS))
        cuts.append(now_s)
        return len(cuts) == CUTS and now_s - cuts[0] <= CUTS_WITHIN_S

    def step(self) -> bool:
        """Commit what was noted. Raises StoreUnavailable, and does it then the next time."""
        with self._noting:
            lost = dict(self._lost)
        for account, said in sorted(lost.items()):
            self._tell(account, said)
            with self._noting:
                self._lost.pop(account, None)
        return False

    def _tell(self, account: str, said: bool) -> None:
        with self._store.read() as read:
            ours = accounts.holds(read, self._gateway, self._owner)
        if not ours:
            log.warning("another gateway of ours has taken this client id up", client=account)
            return
        tell = log.debug if account in self._said else log.critical
        tell("somebody else uses this gateway's account at the broker: give it a new secret", client=account, said=said)
        self._said.add(account)
        self._count(account)
        try:
            self._engine.handle([AccountTaken(account, self._gateway, self._owner, said)])
        except NotFound as missing:
            log.warning("no incident can be opened", reason=str(missing))
