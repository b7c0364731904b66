"""The virtual broker keeps MQTT's promises, and breaks what MQTT lets break."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from simulators.clock import VirtualClock
from simulators.network import Broker, Connection, NotTaken, Weather, fits

SECOND_US = 1_000_000


class Inbox:
    """A client that keeps what it receives, and acknowledges it unless told not to."""

    def __init__(self, acknowledges: bool = True) -> None:
        self.acknowledges = acknowledges
        self.messages: list[tuple[str, bytes, bool]] = []
        self.losses = 0

    def received(self, topic: str, payload: bytes, retain: bool, ack: Callable[[], None]) -> None:
        self.messages.append((topic, payload, retain))
        if self.acknowledges:
            ack()

    def lost(self) -> None:
        self.losses += 1


def a_broker() -> tuple[VirtualClock, Broker]:
    clock = VirtualClock(0)
    return clock, Broker(clock, Random(1))


def pass_time(clock: VirtualClock, seconds: int = 60) -> None:
    clock.run(clock.us + seconds * SECOND_US, lambda: False)


def connected(broker: Broker, name: str, inbox: Inbox, *, clean: bool = True) -> Connection:
    connection = broker.connect(name, inbox, (f"will/{name}", b"gone"), clean=clean)
    assert connection is not None
    return connection


def test_a_subscriber_gets_what_is_retained_and_then_what_is_new() -> None:
    clock, broker = a_broker()
    broker.publish("a/1", b"old", True)
    inbox = Inbox()
    connected(broker, "one", inbox).subscribe(("a/+",))
    pass_time(clock)
    broker.publish("a/1", b"new", True)
    broker.publish("b/1", b"other", True)
    pass_time(clock)
    assert inbox.messages == [("a/1", b"old", True), ("a/1", b"new", False)]


def test_an_empty_retained_message_takes_the_retained_one_away() -> None:
    clock, broker = a_broker()
    broker.publish("a", b"old", True)
    broker.publish("a", b"", True)
    inbox = Inbox()
    connected(broker, "one", inbox).subscribe(("a",))
    pass_time(clock)
    assert (broker.retained, inbox.messages) == ({}, [])


def test_messages_of_one_topic_keep_their_order_whatever_the_weather() -> None:
    clock, broker = a_broker()
    broker.weather = Weather(slow_percent=50, slow_us=9 * SECOND_US)
    inbox = Inbox()
    connected(broker, "one", inbox).subscribe(("a",))
    sent = [str(number).encode() for number in range(40)]
    for payload in sent:
        broker.publish("a", payload, False)
    pass_time(clock)
    assert [payload for _, payload, _ in inbox.messages] == sent


def test_what_a_session_has_not_acknowledged_comes_again_in_order() -> None:
    clock, broker = a_broker()
    inbox = Inbox(acknowledges=False)
    connection = connected(broker, "gw", inbox, clean=False)
    connection.subscribe(("a",))
    broker.publish("a", b"1", False)
    pass_time(clock)
    connection.end()
    broker.publish("a", b"2", False)
    again = Inbox()
    connected(broker, "gw", again, clean=False)
    pass_time(clock)
    assert [payload for _, payload, _ in again.messages] == [b"1", b"2"]
    assert broker.sessions["gw"].unacked == {}


def test_a_clean_client_misses_what_came_while_it_was_away() -> None:
    clock, broker = a_broker()
    connection = connected(broker, "one", Inbox())
    connection.subscribe(("a",))
    connection.end()
    broker.publish("a", b"missed", False)
    inbox = Inbox()
    connected(broker, "one", inbox).subscribe(("a",))
    pass_time(clock)
    assert inbox.messages == []


def test_the_will_goes_out_when_a_connection_breaks_and_not_when_it_closes() -> None:
    clock, broker = a_broker()
    broken, closed = Inbox(), Inbox()
    connected(broker, "broken", broken).break_off()
    connected(broker, "closed", closed).close()
    pass_time(clock)
    assert broker.retained == {"will/broken": b"gone"}
    assert (broken.losses, closed.losses) == (1, 0)


def test_a_new_connection_under_the_same_name_ends_the_old_one() -> None:
    clock, broker = a_broker()
    first, second = Inbox(), Inbox()
    old = connected(broker, "one", first)
    old.subscribe(("a",))
    connected(broker, "one", second).subscribe(("a",))
    broker.publish("a", b"new", False)
    pass_time(clock)
    assert (old.open, first.messages, second.messages) == (False, [], [("a", b"new", False)])


def test_a_restart_without_persistence_forgets_and_one_with_it_goes_back_to_the_last_save() -> None:
    clock, broker = a_broker()
    broker.publish("a", b"saved", True)
    broker.autosave()
    broker.publish("a", b"later", True)
    broker.fall("saved")
    broker.rise()
    assert broker.retained == {"a": b"saved"}
    broker.fall("nothing")
    assert broker.connect("one", Inbox()) is None
    broker.rise()
    assert broker.retained == {}


def test_a_lost_acknowledgement_leaves_the_message_at_the_broker() -> None:
    clock, broker = a_broker()
    connection = connected(broker, "gw", Inbox())
    broker.weather = Weather(lost_ack_percent=100)
    with pytest.raises(NotTaken):
        connection.publish_and_wait("a", b"1", True)
    assert broker.retained == {"a": b"1"}


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [("a/+/c", "a/b/c", True), ("a/+/c", "a/b/d", False), ("a/+", "a/b/c", False), ("a/b", "a/b", True)],
)
def test_a_plus_stands_for_one_level(topic_filter: str, topic: str, expected: bool) -> None:
    assert fits(topic_filter, topic) is expected
