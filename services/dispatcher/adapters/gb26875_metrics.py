"""Counters of the fire panel server, on the registry they are given."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from devices.protocols.gb26875 import Command

COMMIT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0)


class PanelMetrics:
    """One set per process and registry; a second set on the same registry is refused by the registry itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.connections = Gauge("tocsin_panel_connections", "Open fire panel connections.", registry=registry)
        self.refused = Counter("tocsin_panel_connections_refused", "Connections beyond the limit.", registry=registry)
        self.frames = Counter("tocsin_panel_frames", "Whole frames received.", registry=registry)
        self.signals = Counter("tocsin_panel_signals", "Signals read from frames.", registry=registry)
        self.unread = Counter("tocsin_panel_unread", "Input kept as unread.", ["reason"], registry=registry)
        self.answered = Counter("tocsin_panel_answers", "Answers sent after commit.", ["command"], registry=registry)
        self._answers = {int(each): self.answered.labels(each.name.lower()) for each in Command}
        self.commit_failures = Counter("tocsin_panel_commit_failures", "Groups that failed.", registry=registry)
        self.commit_s = Histogram(
            "tocsin_panel_commit_seconds", "Time of one group commit.", buckets=COMMIT_BUCKETS_S, registry=registry
        )

    def answer(self, command: int) -> None:
        """Count one answer."""
        self._answers[command].inc()
