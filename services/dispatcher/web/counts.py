"""Counters of the API, on the registry they are given."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter


class Counts:
    """One set per process and registry; a second set on the same registry is refused by the registry itself."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("tocsin_web_requests", "Answers by class of status.", ["status"], registry=registry)
        self.logins = Counter("tocsin_web_logins", "Attempts to log in.", ["outcome"], registry=registry)
        self.feed_keys = Counter("tocsin_feed_keys", "Feed keys shown.", ["outcome"], registry=registry)
        self.feed_signals = Counter("tocsin_feed_signals", "Signals from feeds.", ["outcome"], registry=registry)
        self.feed_unread = Counter("tocsin_feed_unread", "Feed messages kept as unread.", ["reason"], registry=registry)
