"""Speakers' messages on their way from the wire to rows: sorted, committed, and only then acknowledged."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import pytest

from devices.protocols.asking import SpeakerAnswer, encode_answer
from devices.protocols.speaker_link import (
    Receipt,
    SpeakerState,
    Step,
    StepKind,
    answer_topic,
    encode_hello,
    encode_receipt,
    encode_state,
    hello_topic,
    receipt_topic,
    state_topic,
)
from services.dispatcher.adapters import intake
from services.dispatcher.adapters.intake import SpeakerIntake
from services.dispatcher.adapters.memory import MemoryStore
from services.dispatcher.adapters.mqtt_wire import Published
from services.dispatcher.domain.planning import City
from services.dispatcher.domain.refusals import NotFound
from services.dispatcher.engine.ports import Conflict, StoreUnavailable, Tx
from services.dispatcher.engine.rows import Live
from tests.builders import NOON_US, Town, town


class Broker:
    """What speakers said and which of it was acknowledged, by topic; and an inlet that takes it all at once."""

    def __init__(self, at: Town) -> None:
        self.town = at
        self.waiting: list[Published] = []
        self.acknowledged: list[str] = []
        self.rested = 0

    def take(self, messages_max: int, wait_s: float, gather_s: float) -> list[Published]:
        taken, self.waiting = self.waiting[:messages_max], self.waiting[messages_max:]
        return taken

    def acknowledge(self, taken: Sequence[Published]) -> None:
        self.acknowledged += [message.topic for message in taken]

    def rest(self, wait_s: float) -> None:
        self.rested += 1

    def receipt(self, speaker: str, seq: int = 1) -> Published:
        said = Receipt("journal", seq, "order", 1, (Step(StepKind.ACCEPTED, NOON_US),))
        return Published(receipt_topic(speaker), encode_receipt(said), seq)


class LookedAt:
    """The city, and how often somebody looked."""

    def __init__(self, city: City | None) -> None:
        self.city, self.times = city, 0

    def __call__(self) -> City:
        self.times += 1
        if self.city is None:
            raise NotFound("no city has been imported")
        return self.city


class AwayAtFirst(MemoryStore):
    """A store that can't be written to for the first few times."""

    away = 0

    @contextmanager
    def write(self) -> Iterator[Tx]:
        if self.away:
            self.away -= 1
            raise StoreUnavailable("away")
        with super().write() as tx:
            yield tx


@pytest.fixture
def broker(monkeypatch: pytest.MonkeyPatch) -> Broker:
    monkeypatch.setattr(intake, "PAUSE_S", 0.0)
    at = town()
    alert = at.on_air()
    with at.store.write() as tx:
        tx.put(replace(alert, id="order", version=0))
        tx.plan_expected("order", ["square-1", "square-2", "mall-1"])
    return Broker(at)


def taking(
    broker: Broker,
    city: Callable[[], City],
    *said: Published,
    answer_hello: Callable[[str, str], None] = lambda speaker, nonce: None,
) -> SpeakerIntake:
    broker.waiting += said
    return SpeakerIntake(broker.town.store, broker, city, answer_hello, broker.town.clock.now_us)


def test_what_the_broker_kept_is_no_sign_of_life_and_what_comes_beside_it_is(broker: Broker) -> None:
    said = encode_state(SpeakerState(True, 1, {}, 1, 1, "journal", 0, 80, "mains", (), ""))
    kept = [Published(state_topic(name), said, n, retained=True) for n, name in enumerate(("mall-1", "square-1"), 1)]
    taking(broker, broker.town.engine.read_city, *kept, Published(state_topic("square-1"), said, 3)).run()
    heard = {name: broker.town.get(Live, name).heard_us for name in ("mall-1", "square-1")}
    assert heard == {"mall-1": 0, "square-1": NOON_US}


def accepted(broker: Broker) -> list[str]:
    with broker.town.store.read() as read:
        return [row.speaker for row in read.expected("order") if row.accepted_us is not None]


def unread(broker: Broker) -> list[tuple[str, str]]:
    with broker.town.store.read() as read:
        return [(row.source, row.reason) for row in read.unread()]


def test_one_look_at_the_city_serves_a_whole_batch(broker: Broker) -> None:
    city = LookedAt(broker.town.engine.read_city())
    assert taking(broker, city, *map(broker.receipt, ("square-1", "square-2", "mall-1"))).run() == 3
    assert (city.times, accepted(broker)) == (1, ["mall-1", "square-1", "square-2"])


def test_speaker_that_is_not_enrolled_is_kept_unread_and_acknowledged(broker: Broker) -> None:
    here = broker.town.engine.read_city()
    struck_off = {**here.speakers, "mall-1": replace(here.speakers["mall-1"], enrolled=False)}
    city = LookedAt(replace(here, speakers=struck_off))
    taking(broker, city, broker.receipt("mall-1"), broker.receipt("stranger")).run()
    assert accepted(broker) == []
    assert sorted(unread(broker)) == [
        (receipt_topic("mall-1"), "speaker_not_enrolled"),
        (receipt_topic("stranger"), "speaker_not_enrolled"),
    ]
    assert broker.acknowledged == [receipt_topic("mall-1"), receipt_topic("stranger")]


def test_nobody_is_enrolled_before_a_city_is_imported(broker: Broker) -> None:
    taking(broker, LookedAt(None), broker.receipt("mall-1")).run()
    assert unread(broker) == [(receipt_topic("mall-1"), "speaker_not_enrolled")]


def test_batch_waits_for_the_database_and_is_acknowledged_once_it_is_stored(broker: Broker) -> None:
    store = AwayAtFirst(broker.town.clock)
    broker.town = town(store)
    order = broker.town.on_air()
    with store.write() as tx:
        tx.put(replace(order, id="order", version=0))
        tx.plan_expected("order", ["mall-1"])
    store.away = 3
    city = LookedAt(broker.town.engine.read_city())
    taking(broker, city, broker.receipt("mall-1")).run()
    assert (store.away, broker.rested) == (0, 3)
    assert (accepted(broker), broker.acknowledged) == (["mall-1"], [receipt_topic("mall-1")])


def test_batch_whose_city_cannot_be_read_yet_is_not_lost(broker: Broker) -> None:
    here, answers = broker.town.engine.read_city(), [False, False, True]

    def city() -> City:
        if not answers.pop(0):
            raise StoreUnavailable("away")
        return here

    taking(broker, city, broker.receipt("mall-1")).run()
    assert (accepted(broker), broker.acknowledged) == (["mall-1"], [receipt_topic("mall-1")])


def test_hello_that_meets_a_database_that_is_away_does_not_hold_up_the_receipts_beside_it(broker: Broker) -> None:
    def answer(speaker: str, nonce: str) -> None:
        raise StoreUnavailable("away")

    hello = Published(hello_topic("mall-1"), encode_hello("n" * 22), 1)
    taking(broker, broker.town.engine.read_city, hello, broker.receipt("mall-1", 2), answer_hello=answer).run()
    assert (accepted(broker), len(broker.acknowledged)) == (["mall-1"], 2)


def test_batch_that_lost_a_race_is_written_again_at_once(broker: Broker) -> None:
    here, answers = broker.town.engine.read_city(), [False, True]

    def city() -> City:
        if not answers.pop(0):
            raise Conflict("another was first")
        return here

    taking(broker, city, broker.receipt("mall-1")).run()
    assert (accepted(broker), broker.rested) == (["mall-1"], 0)


def test_topic_that_no_speaker_has_is_kept_unread_and_acknowledged(broker: Broker) -> None:
    strange = Published("tocsin/v1/speaker/MALL 1/receipt", b"{}", 1)
    taking(broker, broker.town.engine.read_city, strange, broker.receipt("mall-1", 2)).run()
    assert (accepted(broker), unread(broker)) == (["mall-1"], [("tocsin/v1/speaker/MALL 1/receipt", "malformed")])
    assert broker.acknowledged == ["tocsin/v1/speaker/MALL 1/receipt", receipt_topic("mall-1")]


def test_receipt_that_cannot_be_read_is_kept_as_it_came(broker: Broker) -> None:
    taking(broker, broker.town.engine.read_city, Published(receipt_topic("mall-1"), b"\xff{", 1)).run()
    with broker.town.store.read() as read:
        assert [(row.source, row.reason, row.raw) for row in read.unread()] == [
            (receipt_topic("mall-1"), "malformed", b"\xff{")
        ]


def test_answer_is_taken_in_and_one_that_cannot_be_read_is_kept(broker: Broker) -> None:
    gone = Published(answer_topic("mall-1"), encode_answer(SpeakerAnswer("journal", gone=(1,))), 1)
    tested = Published(answer_topic("square-1"), b'{"journal":"j","volume":101}', 2)
    taking(broker, broker.town.engine.read_city, gone, tested).run()
    assert unread(broker) == [(answer_topic("square-1"), "malformed")]
    assert broker.acknowledged == [answer_topic("mall-1"), answer_topic("square-1")]


def test_nothing_is_written_and_nothing_acknowledged_while_nobody_speaks(broker: Broker) -> None:
    city = LookedAt(broker.town.engine.read_city())
    assert taking(broker, city).run() == 0
    assert (city.times, broker.acknowledged) == (0, [])
