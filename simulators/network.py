"""A virtual MQTT 5 broker and its connections: retained messages, sessions, wills, QoS 1, and all that may go wrong.

Messages of one topic keep their order on a live connection (MQTT 5.0 clause 4.6); topics overtake each other. What is
lost is lost by a connection that ends; what was not acknowledged in a session comes again when the client is back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from random import Random
from typing import Protocol

from simulators.clock import VirtualClock

QUEUE_MAX = 10_000
AUTOSAVE_US = 60_000_000
NOTICE_US = (500_000, 30_000_000)


class NotTaken(Exception):
    """The broker did not acknowledge a message; it may hold it all the same."""


class Receiver(Protocol):
    """The client's side of a connection."""

    def received(self, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None: ...
    def lost(self) -> None: ...


@dataclass(slots=True)
class Weather:
    """How the network is now: µs from, µs to, per cent of the messages that take up to `slow_us`, or come twice."""

    fast_us: tuple[int, int] = (1_000, 40_000)
    slow_percent: int = 0
    slow_us: int = 3_000_000
    twice_percent: int = 0
    lost_ack_percent: int = 0


@dataclass(slots=True)
class _Session:
    """What the broker keeps for a client name. `unacked` by packet number, oldest first."""

    clean: bool
    filters: dict[str, None] = field(default_factory=dict)
    unacked: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    queue: list[tuple[str, bytes]] = field(default_factory=list)

    def copy(self) -> _Session:
        return _Session(self.clean, dict(self.filters), dict(self.unacked), list(self.queue))


class Connection:
    """One connection of one client. `cut` is a broken network that neither side has noticed yet."""

    def __init__(
        self, broker: Broker, client: str, receiver: Receiver, will: tuple[str, bytes] | None, clean: bool
    ) -> None:
        self.broker, self.client, self.receiver, self.will, self.clean = broker, client, receiver, will, clean
        self.open = True
        self.cut = False
        self._out_us: dict[str, int] = {}
        self._in_us: dict[str, int] = {}

    @property
    def passes(self) -> bool:
        return self.open and not self.cut

    def publish(self, topic: str, payload: bytes, retain: bool, acked: Callable[[], None]) -> None:
        """Send towards the broker; `acked` is called when its PUBACK comes back."""

        def arrive() -> None:
            if self.passes:
                self.broker.publish(topic, payload, retain)
                self.broker.clock.later(self.broker.delay_us(), lambda: acked() if self.passes else None)

        self.broker.clock.at(self._in_order(self._out_us, topic), arrive)

    def publish_and_wait(self, topic: str, payload: bytes, retain: bool) -> None:
        """Publish and have the acknowledgement, all in one moment. Raises NotTaken, with the message taken or not."""
        if not self.passes:
            raise NotTaken("the connection is broken")
        self.broker.publish(topic, payload, retain)
        if self.broker.chance(self.broker.weather.lost_ack_percent):
            raise NotTaken("the acknowledgement was lost")

    def subscribe(self, filters: tuple[str, ...]) -> None:
        """Subscribe in one moment; the retained messages that fit follow."""
        if not self.passes:
            return
        session = self.broker.sessions[self.client]
        for each in filters:
            session.filters[each] = None
        self.broker.routes.clear()
        for topic, payload in list(self.broker.retained.items()):
            if any(fits(each, topic) for each in filters):
                self.deliver(topic, payload, retain=True)

    def unsubscribe(self, filters: tuple[str, ...]) -> None:
        if self.passes:
            for each in filters:
                self.broker.sessions[self.client].filters.pop(each, None)
            self.broker.routes.clear()

    def deliver(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Send towards the client; what it does not acknowledge comes again in its session."""
        session = self.broker.sessions[self.client]
        number = next(self.broker.numbers)
        if not self.clean:
            session.unacked[number] = (topic, payload)

        def ack() -> None:
            if self.passes:
                session.unacked.pop(number, None)

        def arrive() -> None:
            if self.passes:
                self.receiver.received(topic, payload, retain, ack)

        at_us = self._in_order(self._in_us, topic)
        self.broker.clock.at(at_us, arrive)
        if self.broker.chance(self.broker.weather.twice_percent):
            self.broker.clock.at(at_us, arrive)

    def close(self) -> None:
        """Disconnect in good order: no will."""
        self.will = None
        self.end()

    def end(self) -> None:
        """The connection is over, and the broker knows: the will goes out. The client is not told."""
        if not self.open:
            return
        self.open = False
        self.broker.ended(self)

    def break_off(self) -> None:
        """The network breaks; each side notices in its own time."""
        if not self.passes:
            return
        self.cut = True
        broker = self.broker
        broker.clock.later(broker.rng.randint(*NOTICE_US), self.end)
        broker.clock.later(broker.rng.randint(*NOTICE_US), self.receiver.lost)

    def _in_order(self, last_us: dict[str, int], topic: str) -> int:
        at_us = max(self.broker.clock.us + self.broker.delay_us(), last_us.get(topic, 0))
        last_us[topic] = at_us
        return at_us


class Broker:
    """The broker. `rng` decides delays; `heard` is told of every message that it takes."""

    def __init__(self, clock: VirtualClock, rng: Random) -> None:
        self.clock, self.rng = clock, rng
        self.weather = Weather()
        self.up = True
        self.retained: dict[str, bytes] = {}
        self.sessions: dict[str, _Session] = {}
        self.routes: dict[str, tuple[str, ...]] = {}
        self.numbers = count(1)
        self.heard: Callable[[str, bytes, bool], None] = lambda topic, payload, retain: None
        self._connections: dict[str, Connection] = {}
        self._saved: tuple[dict[str, bytes], dict[str, _Session]] = ({}, {})

    def connect(
        self, client: str, receiver: Receiver, will: tuple[str, bytes] | None = None, *, clean: bool = True
    ) -> Connection | None:
        """A new connection, or None while the broker is down. An older one under this name ends."""
        if not self.up:
            return None
        before = self._connections.get(client)
        if before is not None:
            before.end()
        connection = Connection(self, client, receiver, will, clean)
        self._connections[client] = connection
        if clean or client not in self.sessions:
            self.sessions[client] = _Session(clean)
            self.routes.clear()
        else:
            self._resume(connection)
        return connection

    def _resume(self, connection: Connection) -> None:
        session = self.sessions[connection.client]
        again = [*session.unacked.values(), *session.queue]
        session.unacked, session.queue = {}, []
        for topic, payload in again:
            connection.deliver(topic, payload)

    def publish(self, topic: str, payload: bytes, retain: bool) -> None:
        """Take a message in: an empty retained one takes away what is retained."""
        if not self.up:
            return
        self.heard(topic, payload, retain)
        if retain and payload:
            self.retained[topic] = payload
        elif retain:
            self.retained.pop(topic, None)
        for client in self._route(topic):
            connection, session = self._connections.get(client), self.sessions[client]
            if connection is not None and connection.open:
                connection.deliver(topic, payload)
            elif len(session.queue) < QUEUE_MAX:
                session.queue.append((topic, payload))

    def _route(self, topic: str) -> tuple[str, ...]:
        """Who has subscribed to it, worked out once until a subscription changes."""
        found = self.routes.get(topic)
        if found is None:
            found = tuple(
                client
                for client, session in self.sessions.items()
                if any(fits(each, topic) for each in session.filters)
            )
            self.routes[topic] = found
        return found

    def ended(self, connection: Connection) -> None:
        if self._connections.get(connection.client) is connection:
            del self._connections[connection.client]
            if connection.clean:
                self.sessions.pop(connection.client, None)
                self.routes.clear()
        if connection.will is not None:
            self.publish(*connection.will, True)

    def autosave(self) -> None:
        """Write down what a restart with persistence would bring back."""
        sessions = {name: session.copy() for name, session in self.sessions.items() if not session.clean}
        self._saved = (dict(self.retained), sessions)

    def fall(self, keeps: str) -> None:
        """The broker dies. `keeps` says what it will still have: "all", "saved" (the last autosave) or "nothing"."""
        connections = list(self._connections.values())
        self.up = False
        self._connections = {}
        for connection in connections:
            connection.open = False
            self.clock.later(self.rng.randint(1_000, 500_000), connection.receiver.lost)
        if keeps == "saved":
            self.retained, sessions = dict(self._saved[0]), self._saved[1]
            self.sessions = {name: session.copy() for name, session in sessions.items()}
        elif keeps == "nothing":
            self.retained, self.sessions = {}, {}
        self.sessions = {name: session for name, session in self.sessions.items() if not session.clean}
        self.routes.clear()

    def rise(self) -> None:
        self.up = True

    def connection_of(self, client: str) -> Connection | None:
        return self._connections.get(client)

    def clients(self) -> tuple[str, ...]:
        return tuple(self._connections)

    def delay_us(self) -> int:
        if self.weather.slow_percent and self.chance(self.weather.slow_percent):
            return self.rng.randint(self.weather.fast_us[1], self.weather.slow_us)
        return self.rng.randint(*self.weather.fast_us)

    def chance(self, percent: int) -> bool:
        return percent > 0 and self.rng.randrange(100) < percent


@lru_cache(maxsize=65_536)
def fits(topic_filter: str, topic: str) -> bool:
    """Whether a topic filter with `+` matches a topic."""
    wanted, given = topic_filter.split("/"), topic.split("/")
    return len(wanted) == len(given) and all(w in ("+", g) for w, g in zip(wanted, given, strict=True))
