"""A simulated gateway's two connections to the virtual broker: the link that says, and the inlet that takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from devices.protocols.canary import ALL_CANARIES
from services.dispatcher.adapters.manifests import Spreads
from services.dispatcher.adapters.mqtt_wire import Published
from services.dispatcher.engine.ports import StoreUnavailable
from services.dispatcher.engine.relay import CarryFailed, Finish
from simulators.network import Broker, Connection, NotTaken

STARTS_PER_HOUR_MAX = 3
CANARIES = ALL_CANARIES.removesuffix("+")
Boundary = Callable[[str], None]
"""A place, named for the account, at which the process may be killed."""


def spreads() -> Spreads:
    """The product's, with so few starts an hour that speakers come to the end of them."""
    return Spreads(starts_per_hour_max=STARTS_PER_HOUR_MAX)


class VirtualLink:
    """The link that `manifests.BrokerLink` asks for. `connection` is the gateway's present one; the process may be
    killed before each message and before each acknowledgement is taken, but not over a canary, of which there are so
    many that it would die of nothing else."""

    def __init__(self, broker: Broker, boundary: Boundary) -> None:
        self._broker, self._boundary = broker, boundary
        self.connection: Connection | None = None

    @property
    def connected(self) -> bool:
        return self.connection is not None

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        self.publish_soon(topic, payload, retain=retain)()

    def publish_soon(self, topic: str, payload: bytes, *, retain: bool = False) -> Finish:
        boundary = self._boundary if not topic.startswith(CANARIES) else lambda where: None
        boundary("before publish")
        if self.connection is None:
            raise CarryFailed("the broker is not connected")
        not_taken: NotTaken | None = None
        try:
            self.connection.publish_and_wait(topic, payload, retain)
        except NotTaken as failed:
            not_taken = failed

        def finish() -> None:
            if not_taken is not None:
                raise CarryFailed(str(not_taken)) from not_taken
            boundary("after publish")

        return finish

    def held(self, topics: Sequence[str]) -> dict[str, bytes]:
        if self.connection is None or not self.connection.passes:
            raise CarryFailed("the broker went while it was asked")
        retained = self._broker.retained
        return {topic: retained[topic] for topic in topics if topic in retained}


class VirtualInlet:
    """The inlet that `intake.SpeakerIntake` asks for: what is taken stays until it is acknowledged, so that a batch
    that could not be kept is taken again."""

    def __init__(self, boundary: Boundary) -> None:
        self._boundary = boundary
        self._waiting: list[tuple[Published, Callable[[], None]]] = []

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def came(self, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        """A message of a speaker's, which `ack` acknowledges to the broker."""
        self._waiting.append((Published(topic, payload, len(self._waiting) + 1, retain), ack))

    def take(self, messages_max: int, wait_s: float, gather_s: float) -> list[Published]:
        return [message for message, _ in self._waiting[:messages_max]]

    def acknowledge(self, taken: Sequence[Published]) -> None:
        done, self._waiting = self._waiting[: len(taken)], self._waiting[len(taken) :]
        self._boundary("before ack")
        for _, ack in done:
            ack()
            self._boundary("between acks")

    def rest(self, wait_s: float) -> None:
        """Nobody can wait in one moment of virtual time: the step ends here, and comes again."""
        raise StoreUnavailable("the database is away")
