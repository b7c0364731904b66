"""What Prometheus sees of this road, on one registry per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from ..engine.receipts import Counted

BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def shadow_counter(registry: CollectorRegistry) -> Callable[[str], None]:
    """Counts, by hazard, incidents that the shadow rules rate differently; nothing is ever done by those."""
    counter = Counter(
        "tocsin_shadow_differs", "Incidents that shadow rules rate differently.", ["hazard"], registry=registry
    )
    return lambda hazard: counter.labels(hazard).inc()


class GatewayMetrics:
    """The gateway's counts and times."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.receipts = Counter("tocsin_receipts", "Receipts taken in.", ["result"], registry=registry)
        self.doubted = Counter(
            "tocsin_receipts_doubted", "Steps of receipts that were not believed.", ["reason"], registry=registry
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
        for reason, times in counted.doubted.items():
            self.doubted.labels(reason).inc(times)

    def connections_odd(self, odd: Mapping[str, int]) -> None:
        for what, times in odd.items():
            self.odd.labels(what).inc(times)
