"""Whether the database can be written, for health: it may answer every question while each write waits or fails.

A gateway that renews its lease has just committed, so that nothing is tried while one runs. Without such a proof one
tiny write is tried, by a thread of its own: health waits for it a moment, and there is never a second one beside it,
however long it hangs. PostgreSQL also says who waits for a lock on what no gateway writes every second.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..engine.leases import prove_write
from ..engine.ports import Clock, Store, StoreUnavailable

WAIT_S = 1.0
PROOF_LASTS_US = 10_000_000
"""For how long after its end what a try came to is good."""
WAITED_US_MAX = 2_000_000
"""How long a transaction may wait for another one."""
WAITED_LASTS_US = 10_000_000
"""For how long one that waited longer is shown: each gives up after 5 s, and is tried again."""


@dataclass(slots=True)
class _Try:
    """One try of a write; `ended_us` and `fault` are read once it has `ended`."""

    begun_us: int
    ended: threading.Event = field(default_factory=threading.Event)
    ended_us: int = 0
    fault: str = ""


class WriteProof:
    """Looks whether something was committed lately, or commits something. Called by one thread at a time."""

    def __init__(self, store: Store, clock: Clock, wait_s: float = WAIT_S) -> None:
        self._store, self._clock, self._wait_s = store, clock, wait_s
        self._trying: _Try | None = None
        self._proved_us = -PROOF_LASTS_US
        self._waited: tuple[int, int] | None = None

    def fault(self, *, committed: bool, waited_us: int = 0) -> str:
        """Why something can't be written now, "" where it can; `committed` says that a gateway has just done so,
        `waited_us` how long a transaction waits for another one's lock."""
        now_us = self._clock.mono_us()
        if waited_us > WAITED_US_MAX:
            self._waited = now_us, waited_us
        if self._waited is not None and now_us - self._waited[0] < WAITED_LASTS_US:
            return f"it answers, but a write has waited for {self._waited[1] // 1_000_000} s for another's lock"
        if committed:
            # What an earlier try came to says nothing of now. One that still hangs is kept until it ends, so that
            # nothing is tried beside it.
            if self._trying is not None and self._trying.ended.is_set():
                self._trying = None
            return ""
        if self._trying is None and now_us - self._proved_us < PROOF_LASTS_US:
            return ""
        trying = self._tried_lately(now_us)
        if not trying.ended.wait(self._wait_s):
            return f"it answers, but a write has waited for {(self._clock.mono_us() - trying.begun_us) // 1_000_000} s"
        self._trying = None
        if trying.fault:
            return f"it answers, but can't be written: {trying.fault}"
        self._proved_us = trying.ended_us
        return ""

    def _tried_lately(self, now_us: int) -> _Try:
        """The try that is under way, or ended lately; another one where the last one ended too long ago to say
        anything of now."""
        trying = self._trying
        if trying is None or (trying.ended.is_set() and now_us - trying.ended_us >= PROOF_LASTS_US):
            trying = self._trying = _Try(now_us)
            threading.Thread(target=self._write, args=(trying,), name="write proof", daemon=True).start()
        return trying

    def _write(self, trying: _Try) -> None:
        try:
            prove_write(self._store)
        except StoreUnavailable as away:
            trying.fault = str(away)
        except Exception as broken:
            trying.fault = f"{type(broken).__name__}: {broken}"
            raise
        finally:
            trying.ended_us = self._clock.mono_us()
            trying.ended.set()
