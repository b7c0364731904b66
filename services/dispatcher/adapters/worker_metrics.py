"""What Prometheus sees of the workers, summed over the processes that do the tasks.

prometheus_client decides at its first import whether its numbers are shared between processes, by an environment
variable; so this module is imported only once that is set.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector

from .metrics import JUMP, JUMP_WORDS

BUCKETS_S = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class WorkerMetrics:
    """The workers' counts and times. Every process writes its own numbers to files that all of them share."""

    def __init__(self) -> None:
        own = CollectorRegistry()
        self.rendered = Counter("tocsin_audio_rendered", "Wordings rendered.", ["spoken"], registry=own)
        self.render_s = Histogram(
            "tocsin_audio_render_seconds", "Time to render a wording.", buckets=BUCKETS_S, registry=own
        )
        self.polls = Counter("tocsin_polls", "Errands to polled feeds.", ["result"], registry=own)
        self.canaries = Counter("tocsin_worker_canaries", "Canary tasks answered.", registry=own)
        self.jump_s = Gauge(JUMP, JUMP_WORDS, registry=own, multiprocess_mode="livemostrecent")


def serve(port: int, host: str) -> None:
    """Answer scrapes with the sums over all processes, those that have ended included."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    start_http_server(port, host, registry)
