"""Tells the engine when the broker ends a connection of this gateway for another client under the same id.

Brokers of MQTT 5 may say so as they end it. One that only hangs up is believed to have done it for that reason when it
does it again and again to one account, and lets this gateway in at once each time. One that is restarted again and
again cuts every connection of the gateway at the same moments; then the broker is at fault, and nobody is accused.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence

import structlog

from ..domain.refusals import NotFound
from ..engine.air import accounts
from ..engine.engine import Engine
from ..engine.events import AccountTaken
from ..engine.ports import Store

log = structlog.get_logger(__name__)


CUTS = 3
CUTS_WITHIN_S = 60.0
BEFORE_S, AFTER_S = 10.0, 2.0
"""The same moment: an account may still be on its way back from a cut of a while before, and another may notice the cut
a little later."""
MOMENTS_MAX = 32


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
        accounts: Sequence[str],
        mono_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`count` is told of every loss by account, `wake` has `step` called soon; `accounts` are all of this gateway
        whose cuts are told."""
        self._store, self._engine = store, engine
        self._gateway, self._owner = gateway, owner
        self._count, self._wake = count, wake
        self._noting = threading.Lock()
        self._mono_s = mono_s
        self._cuts: dict[str, deque[float]] = {}
        self._accounts = tuple(accounts)
        self._moments = {account: deque[float](maxlen=MOMENTS_MAX) for account in accounts}
        self._suspected_s: dict[str, float] = {}
        self._lost: dict[str, bool] = {}
        self._said: set[str] = set()

    def cut(self, account: str) -> None:
        """The connection of this account has ended, for whatever reason. Called by any thread."""
        with self._noting:
            self._moments[account].append(self._mono_s())

    def lost(self, account: str, said: bool) -> None:
        """Another client has connected under this account: the broker has `said` so, or it has only hung up and let us
        in again. Called by any thread."""
        with self._noting:
            if said:
                self._lost[account] = True
            elif self._cut_too_often(account):
                # Judged once the others of this gateway have had the time to notice the same cut; cuts that come
                # meanwhile put nothing off.
                self._suspected_s.setdefault(account, self._mono_s())
            else:
                return
        self._wake()

    def _cut_too_often(self, account: str) -> bool:
        now_s = self._mono_s()
        cuts = self._cuts.setdefault(account, deque(maxlen=CUTS))
        cuts.append(now_s)
        return len(cuts) == CUTS and now_s - cuts[0] <= CUTS_WITHIN_S

    def _judge(self) -> None:
        """Whether those that were cut too often were taken by somebody, or cut together with all others."""
        now_s = self._mono_s()
        for account, since_s in [(name, s) for name, s in self._suspected_s.items() if s + AFTER_S <= now_s]:
            del self._suspected_s[account]
            if self._all_cut_with(account, since_s):
                log.warning("the broker has cut all our connections again and again: it fails or is restarted")
            else:
                self._lost.setdefault(account, False)

    def _all_cut_with(self, account: str, since_s: float) -> bool:
        """Whether the cuts that made this account suspected, at `since_s`, were cuts of all others, too."""
        others = [self._moments[name] for name in self._accounts if name != account]
        mine = [at_s for at_s in self._moments[account] if at_s <= since_s][-CUTS:]
        return bool(others and mine) and all(
            any(at_s - BEFORE_S <= other_s <= at_s + AFTER_S for other_s in moments)
            for moments in others
            for at_s in mine
        )

    def step(self) -> None:
        """Commit what was noted. Raises StoreUnavailable, and does it then the next time."""
        with self._noting:
            self._judge()
            lost = dict(self._lost)
        for account, said in sorted(lost.items()):
            self._tell(account, said)
            with self._noting:
                self._lost.pop(account, None)

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
