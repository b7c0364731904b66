"""Whether the database can be written, for health: it may answer every question while each write waits or fails.

A gateway that renews its lease has just committed, so that nothing is tried while one runs. Without such a proof one
tiny write is tried, by a thread of its own: health waits for it a moment, and never for a second one.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from ..engine.leases import prove_write
from ..engine.ports import Clock, Store, StoreUnavailable

WAIT_S = 1.0
PROOF_LASTS_US = 10_000_000


@dataclass(slots=True)
class _Try:
    begun_us: int
    ended: threading.Event = field(default_factory=threading.Event)
    fault: str = ""


class WriteProof:
    """Looks whether something was committed lately, or commits something. Called by one thread at a time."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store, self._clock = store, clock
        self._trying: _Try | None = None
        self._proved_us = -PROOF_LASTS_US

    def fault(self, *, committed: bool) -> str:
        """Why nothing can be written now, "" where something was; `committed` says that a gateway has just done so."""
        now_us = self._clock.mono_us()
        if committed:
            # What an earlier try came to, or still comes to, says nothing of now.
            self._trying = None
            return ""
        trying = self._trying
        if trying is None:
            if now_us - self._proved_us < PROOF_LASTS_US:
                return ""
            trying = self._trying = _Try(now_us)
            threading.Thread(target=self._write, args=(trying,), name="write proof", daemon=True).start()
        if not trying.ended.wait(WAIT_S):
            return f"it answers, but a write has waited for {(self._clock.mono_us() - trying.begun_us) // 1_000_000} s"
        self._trying = None
        if trying.fault:
            return f"it answers, but can't be written: {trying.fault}"
        self._proved_us = now_us
        return ""

    def _write(self, trying: _Try) -> None:
        try:
            prove_write(self._store)
        except StoreUnavailable as away:
            trying.fault = str(away)
        except Exception as broken:
            trying.fault = f"{type(broken).__name__}: {broken}"
            raise
        finally:
            trying.ended.set()
