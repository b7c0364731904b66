"""What the rows say of the other parts: whether each was seen lately, and how many speakers are online."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ..domain.effects import Carry
from ..domain.planning import City, in_service
from ..domain.retries import RETRIES
from .air.speaker_oddities import CLONED
from .clock import APART_US, SPEAKER_SILENT_US, lately
from .leases import GATEWAY_LEASE_US, GATEWAY_PREFIX
from .ports import Page, Read
from .queries import last_seq
from .rows import ClockState, EffectRow, Lease, Live

CLONED_SAID_MAX = 5
LIVE_ROWS_MAX = 200_000


@dataclass(frozen=True, slots=True)
class Health:
    """Whether each part was seen lately; times are µs UTC, 0 for never."""

    clock: ClockState
    city: str
    gateway_until_us: int
    worker_seq: int
    worker_seen_us: int
    worker_silent: bool
    effects_open: int
    effects_late: int

    @property
    def now_us(self) -> int:
        return self.clock.trusted_us


EFFECT_LATE_US = 30_000_000


def worker_seen(read: Read, known: int = 0) -> tuple[int, int, bool]:
    """The number of the newest line about the workers, when a canary last came back, and whether the newest one could
    not even be sent."""
    newest = last_seq(read, "worker", known)
    for row in read.log_of("worker", newest - 1, 1) if newest else []:
        silent = row.kind != "worker.alive"
        return newest, json.loads(row.body)["facts"]["seen_us"] if silent else row.at_us, silent
    return newest, 0, False


def _late(effect: EffectRow, now_us: int) -> bool:
    """Whether an effect has been wanted for longer than its kind may take, however often it was tried since."""
    return now_us - effect.wanted_us > (RETRIES[Carry(effect.carry)].late_us or EFFECT_LATE_US)


@dataclass(frozen=True, slots=True)
class SpeakersOnline:
    """How many speakers are in service, and how many of those are online and were heard lately. `cloned` are a few of
    those whose id two devices claim."""

    in_service: int
    online: int
    cloned: tuple[str, ...] = ()


def speakers_online(read: Read, city: City | None) -> SpeakersOnline:
    """The two counts for the whole city; none without a city."""
    if city is None:
        return SpeakersOnline(0, 0)
    now_us = read.now_us()
    serving = {s.id for s in in_service([s for s in city.speakers.values() if s.enrolled], now_us)}
    heard = [live for live in read.find(Live, Page(limit=LIVE_ROWS_MAX)) if live.id in serving and live.online]
    lately_heard = [live for live in heard if lately(live.heard_us, now_us, SPEAKER_SILENT_US)]
    cloned = sorted(live.id for live in lately_heard if live.oddity == CLONED)
    return SpeakersOnline(len(serving), len(lately_heard), tuple(cloned[:CLONED_SAID_MAX]))


def health(read: Read, city: str, worker_seq: int = 0) -> Health:
    """What the rows say of the other processes. `worker_seq` is the newest line of the worker known so far."""
    moment = read.moment()
    now_us = moment.now_us
    # Nobody holds a lease for longer: what says so was written by a wrong clock.
    latest_us = now_us + GATEWAY_LEASE_US + APART_US
    leases = [
        lease
        for lease in read.find(Lease, Page(limit=100))
        if lease.id.startswith(GATEWAY_PREFIX) and lease.until_us <= latest_us
    ]
    newest, seen_us, silent = worker_seen(read, worker_seq)
    effects = read.open_effects()
    return Health(
        clock=moment.state,
        city=city,
        gateway_until_us=max((lease.until_us for lease in leases if lease.holder), default=0),
        worker_seq=newest,
        worker_seen_us=seen_us,
        worker_silent=silent,
        effects_open=len(effects),
        effects_late=sum(1 for effect in effects if _late(effect, now_us)),
    )
