"""What Prometheus sees of this road, on one registry per process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..domain.refused_documents import RefusedTopic
from ..domain.signals import Use
from ..engine.air.broker_copies import SAME
from ..engine.air.receipts import Counted
from ..engine.air.signing_keys import KeyReport
from ..engine.clock import GuardedClock

JUMP = "tocsin_clock_jump_seconds"
JUMP_WORDS = "How far the clock is ahead of the trusted time; 0 while it is in order."
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def shadow_counter(registry: CollectorRegistry) -> Callable[[str], None]:
    """Counts, by hazard, incidents that the shadow rules rate differently; nothing is ever done by those."""
    counter = Counter(
        "tocsin_shadow_differs", "Incidents that shadow rules rate differently.", ["hazard"], registry=registry
    )
    return lambda hazard: counter.labels(hazard).inc()


def jump_gauge(registry: CollectorRegistry, clock: GuardedClock) -> None:
    """How far the clock is ahead of the time that this process trusts, in s; 0 while it is in order."""
    gauge = Gauge(JUMP, JUMP_WORDS, registry=registry)
    gauge.set_function(lambda: clock.jump_us / 1e6)


class GatewayMetrics:
    """The gateway's counts and times."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.receipts = Counter("tocsin_receipts", "Receipts taken in.", ["result"], registry=registry)
        self.doubted = Counter(
            "tocsin_receipts_doubted", "Steps of receipts that were not believed.", ["reason"], registry=registry
        )
        self.refused = Counter(
            "tocsin_documents_refused", "Documents that speakers refused.", ["reason"], registry=registry
        )
        self.refusing_now = Gauge(
            "tocsin_speakers_refusing", "Speakers that refuse the most refused topic.", ["use"], registry=registry
        )
        self.taken = Counter(
            "tocsin_gateway_account_taken", "Connections lost to another client.", ["account"], registry=registry
        )
        self.odd = Counter(
            "tocsin_speaker_connections_odd", "Connection numbers that can't be right.", ["what"], registry=registry
        )
        self.effects = Counter("tocsin_effects", "Effects carried out.", ["carry", "result"], registry=registry)
        self.carry_s = Histogram(
            "tocsin_effect_seconds", "Time to carry an effect out.", ["carry"], buckets=BUCKETS_S, registry=registry
        )
        self.timers = Counter("tocsin_timers_due", "Timer rows that came due.", registry=registry)
        self.chained = Counter("tocsin_log_rows_chained", "Log rows linked into the hash chain.", registry=registry)
        self.duties = Gauge("tocsin_duty_held", "1 while this gateway has the duty.", ["duty"], registry=registry)
        self.broker = Gauge("tocsin_broker_connected", "1 while the broker is connected.", registry=registry)
        self.sensors = Counter("tocsin_sensor_messages", "Messages of MQTT sensors.", ["result"], registry=registry)
        self.watched = Gauge("tocsin_sources_watched", "Sources whose silence would be noticed.", registry=registry)
        self.journal = Counter("tocsin_intake_journal_signals", "Signals kept in the journal.", registry=registry)
        self.unknown_streams = Gauge(
            "tocsin_streams_unknown_on_air", "Streams whose broker copy this database does not know.", registry=registry
        )

    def counted(self, counted: Counted) -> None:
        self.receipts.labels("stored").inc(counted.stored)
        self.receipts.labels("unknown_order").inc(counted.unknown)
        self.receipts.labels("number_reused").inc(counted.reused)
        for reason, times in counted.refused.items():
            self.refused.labels(reason).inc(times)
        for reason, times in counted.doubted.items():
            self.doubted.labels(reason).inc(times)

    def duty_held(self, duty: str, held: bool) -> None:
        self.duties.labels(duty).set(held)

    def refusing(self, found: Sequence[RefusedTopic]) -> None:
        """How many speakers refuse what is on the topic of each use that most of them refuse."""
        for use in Use:
            most = max((refused.speakers for refused in found if refused.use == use), default=0)
            self.refusing_now.labels(str(use)).set(most)

    def connections_odd(self, odd: Mapping[str, int]) -> None:
        for what, times in odd.items():
            self.odd.labels(what).inc(times)


def _age_s(since_s: float) -> float:
    return time.monotonic() - since_s


class KeyMetrics:
    """Canaries, keys and the broker's copies, as this gateway finds them."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.age_s = Gauge(
            "tocsin_canary_age_seconds", "Since a key's canary came home; -1 for never.", ["kid"], registry=registry
        )
        self.took_s = Gauge("tocsin_canary_seconds", "How long the newest canary took.", ["kid"], registry=registry)
        self.expiry_s = Gauge(
            "tocsin_key_not_after_seconds", "When a key expires, seconds since 1970.", ["kid", "use"], registry=registry
        )
        self.usable = Gauge("tocsin_key_usable", "1 when a key was tried here and signs.", ["kid"], registry=registry)
        self.failures = Counter("tocsin_canary_failures", "Canaries that failed.", ["reason"], registry=registry)
        self.confirmed = Gauge(
            "tocsin_streams_confirmed", "Occupied streams that the broker holds as stored.", registry=registry
        )
        self.unconfirmed = Gauge("tocsin_streams_unconfirmed", "Occupied streams that it does not.", registry=registry)

    def keys(self, found: Sequence[KeyReport]) -> None:
        """What was found now of every listed key; others are shown no more. An age goes on growing by itself, so that a
        gateway that no longer looks shows it."""
        now_s = time.monotonic()
        for gauge in (self.age_s, self.took_s, self.expiry_s, self.usable):
            gauge.clear()
        for key in found:
            kid, ago_us = key.key.id, key.home_ago_us
            if ago_us is None:
                self.age_s.labels(kid).set(-1)
            else:
                self.age_s.labels(kid).set_function(partial(_age_s, now_s - ago_us / 1_000_000))
            self.took_s.labels(kid).set(key.took_us / 1_000_000)
            self.expiry_s.labels(kid, key.key.use).set(key.key.not_after_us / 1_000_000)
            self.usable.labels(kid).set(0 if key.fault else 1)

    def copies(self, found: Mapping[str, str]) -> None:
        """What a comparison with the broker's copies found, by topic."""
        confirmed = sum(1 for what in found.values() if what == SAME)
        self.confirmed.set(confirmed)
        self.unconfirmed.set(len(found) - confirmed)
